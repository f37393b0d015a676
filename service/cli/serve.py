"""`pricegrid serve`: the gRPC server over a store."""

import argparse
import dataclasses
import json
import logging
import os
import sys
from pathlib import Path

from pricegrid.cache.redis_options import RedisOptions
from pricegrid.service.cli.policy import add_policy_arguments, policy_from
from pricegrid.service.cli.text import UsageError
from pricegrid.service.limits import GRACE_S, WORKER_THREADS


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    parser.add_argument(
        "--store", metavar="DIR", type=Path, required=True, help="the store that `load` publishes to"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=50051, help="port; 0 picks a free one (default %(default)s)"
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a --host that other machines can reach; there is no authentication, so put a proxy before it",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_positive,
        help="processes (default: one a core)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_positive,
        default=WORKER_THREADS,
        help="threads of each (default %(default)s)",
    )
    parser.add_argument(
        "--metrics-port",
        metavar="PORT",
        type=_port,
        help="serve Prometheus metrics on this port of 127.0.0.1",
    )
    parser.add_argument(
        "--grace",
        metavar="S",
        type=float,
        default=GRACE_S,
        help="seconds that requests in flight get to end at SIGTERM (default %(default)s)",
    )
    parser.add_argument(
        "--erp-config",
        metavar="FILE",
        type=Path,
        help="ask this ERP for exceptions and unknown stock, and compare ordinary prices with it (docs/erp.md)",
    )
    parser.add_argument(
        "--redis-url",
        metavar="URL",
        type=_redis,
        help="share live state with other hosts through this Redis: redis://, rediss://, redis+sentinel:// or "
        "redis+cluster://; docs/redis.md has the options",
    )
    parser.add_argument(
        "--events-stream",
        metavar="NAME",
        default="",
        help="take in inventory events from this stream of that Redis, as one of its consumer group 'pricegrid'",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready")
    add_policy_arguments(parser)


def run_serve(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 1 when it can't start."""
    if args.events_stream and args.redis_url is None:
        raise UsageError("--events-stream names a stream of the Redis that --redis-url gives")
    from pricegrid.erp.adapters import check_config
    from pricegrid.erp.protocol import ErpConfigError
    from pricegrid.loaders.errors import SnapshotError
    from pricegrid.service.process.supervisor import Ready, ServeError, ServeOptions, serve

    def announce(ready: Ready) -> None:
        if args.json:
            print(
                json.dumps({"address": ready.address, "pid": os.getpid(), **dataclasses.asdict(ready)}),
                flush=True,
            )
            return
        print(f"snapshot {ready.snapshot_version} on {ready.address}, {ready.workers} workers", flush=True)
        if ready.metrics_port is not None:
            print(f"metrics on http://127.0.0.1:{ready.metrics_port}/metrics", flush=True)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s supervisor %(message)s")
    options = ServeOptions(
        store=args.store,
        host="127.0.0.1" if args.host == "localhost" else args.host,
        port=args.port,
        workers=args.workers or _cores(),
        threads=args.threads,
        policy=policy_from(args),
        metrics_port=args.metrics_port,
        allow_remote=args.allow_remote,
        grace_s=args.grace,
        erp=args.erp_config,
        redis=args.redis_url,
        events_stream=args.events_stream,
    )
    try:
        if args.erp_config is not None:
            check_config(args.erp_config)
        return serve(options, announce)
    except ErpConfigError as error:
        raise UsageError(str(error)) from None
    except (ServeError, SnapshotError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _redis(text: str) -> RedisOptions:
    try:
        return RedisOptions.from_url(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"a file that the Redis URL names can't be read: {error}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)
