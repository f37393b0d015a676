"""`pricegrid serve`: the gRPC server over a store."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pricegrid.service.cli.follow import add_follow_arguments, check_read_only, follow_from
from pricegrid.service.cli.logs import add_log_format
from pricegrid.service.cli.policy import add_policy_arguments, policy_from
from pricegrid.service.cli.redis_url import add_redis_url, redis_from
from pricegrid.service.cli.text import UsageError, seconds_argument
from pricegrid.service.cli.traces import add_trace_arguments, one_in, traces_from
from pricegrid.service.limits import GRACE_S, WORKER_THREADS
from pricegrid.service.logs import TEXT, LogOptions, begin_logging
from pricegrid.service.process.unix_socket import MODES, UnixSocket
from pricegrid.service.transport.choice import GRPCIO, HTTP2, TRANSPORTS, Transport

if TYPE_CHECKING:
    from pricegrid.service.identity.config import AuthConfig

TRANSPORT_VARIABLE: Final = "PRICEGRID_TRANSPORT"
HOST: Final = "127.0.0.1"
PORT: Final = 50051


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    parser.add_argument(
        "--store", metavar="DIR", type=Path, required=True, help="the store that `load` publishes to"
    )
    add_follow_arguments(parser)
    _add_place_arguments(parser)
    _add_trust_arguments(parser)
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_positive,
        help="processes (default: one a core; on a --socket of grpcio one)",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_positive,
        default=WORKER_THREADS,
        help="threads of each (default %(default)s)",
    )
    parser.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default=os.environ.get(TRANSPORT_VARIABLE, GRPCIO),
        help="what speaks HTTP/2: grpcio, or uvloop and libnghttp2, which answers small requests several times as fast "
        "(docs/transport.md; default %(default)s)",
    )
    parser.add_argument(
        "--cors-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let pages of this origin, such as https://shop.example, ask from a browser; may be given several times, "
        "takes --transport http2 (docs/http.md)",
    )
    _add_watch_arguments(parser)
    add_trace_arguments(parser)
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
    _add_shared_arguments(parser)
    parser.add_argument(
        "--wait",
        metavar="S",
        type=seconds_argument,
        default=0.0,
        help="seconds to wait for a first snapshot of the store (default: do not wait)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line when ready")
    add_policy_arguments(parser)


def _add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    add_redis_url(
        parser,
        "share live state with other hosts through this Redis: redis://, rediss://, redis+sentinel:// or "
        "redis+cluster://; docs/redis.md has the options",
    )
    parser.add_argument(
        "--events-stream",
        metavar="NAME",
        default="",
        help="take in inventory events from this stream of that Redis, as one of its consumer group 'pricegrid'",
    )


def _add_place_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help=f"address to listen on (default {HOST})")
    parser.add_argument("--port", type=_port, help=f"port; 0 picks a free one (default {PORT})")
    parser.add_argument(
        "--socket",
        metavar="PATH",
        type=Path,
        help="listen on this unix socket in place of a port; clients ask at unix:PATH (docs/operate.md)",
    )
    parser.add_argument(
        "--socket-mode",
        metavar="MODE",
        choices=MODES,
        help="who may connect to it: 0600 the server's user, 0660 their group too (default), 0666 every user of this "
        "machine",
    )


def _add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a --host that other machines can reach without --auth, or without TLS, and such a --metrics-host: "
        "a proxy sees to that",
    )
    parser.add_argument(
        "--auth",
        metavar="FILE",
        type=Path,
        help="who may call and ask what: TLS, token issuers, client certificates (docs/identity.md); without it the "
        "server listens on loopback or a --socket only",
    )
    parser.add_argument(
        "--snapshot-keys",
        metavar="FILE",
        type=Path,
        help="serve only snapshots that one of these keys has signed (JWKS; `load --sign-key`)",
    )


def _add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics-port",
        metavar="PORT",
        type=_port,
        help="serve Prometheus metrics, /healthz and /readyz on this port; 0 picks a free one",
    )
    parser.add_argument(
        "--metrics-host",
        metavar="HOST",
        default="127.0.0.1",
        help="address of the metrics port (default %(default)s); one that others reach takes --allow-remote",
    )
    add_log_format(parser, TEXT)
    parser.add_argument(
        "--access-log",
        metavar="N",
        type=one_in,
        default=0,
        help="log one in N answered calls: method, lines, milliseconds, caller and correlation id (default: none)",
    )


def _origins(args: argparse.Namespace) -> tuple[str, ...]:
    if not args.cors_origin:
        return ()
    from pricegrid.service.transport.cors import checked_origin

    if args.transport != HTTP2:
        raise UsageError("--cors-origin is for browsers, which --transport http2 answers")
    try:
        return tuple(checked_origin(each) for each in args.cors_origin)
    except ValueError as error:
        raise UsageError(f"--cors-origin: {error}") from None


def run_serve(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 1 when it can't start."""
    redis = redis_from(args)
    if args.events_stream and redis is None:
        raise UsageError("--events-stream names a stream of the Redis that --redis-url gives")
    from pricegrid.service.process import forker

    forker.context()  # begins to import what this process imports too, on another core
    from pricegrid.erp.adapters import check_config
    from pricegrid.erp.protocol import ErpConfigError
    from pricegrid.loaders.errors import LoadError
    from pricegrid.service.process.reach import ServeError
    from pricegrid.service.process.supervisor import Ready, ServeOptions, serve

    def announce(ready: Ready) -> None:
        if args.json:
            print(
                json.dumps({"address": ready.address, "pid": os.getpid(), **dataclasses.asdict(ready)}),
                flush=True,
            )
            return
        print(f"snapshot {ready.snapshot_version} on {ready.address}, {ready.workers} workers", flush=True)
        if ready.metrics_port is not None:
            host = f"[{options.metrics_host}]" if ":" in options.metrics_host else options.metrics_host
            print(f"metrics on http://{host}:{ready.metrics_port}/metrics", flush=True)

    unix_socket = _socket(args)
    logs = LogOptions(args.log_format, args.access_log)
    begin_logging("supervisor", logs.format)
    options = ServeOptions(
        store=args.store,
        host=HOST if args.host in (None, "localhost") else args.host,
        port=PORT if args.port is None else args.port,
        unix_socket=unix_socket,
        workers=args.workers or (1 if unix_socket is not None and args.transport == GRPCIO else _cores()),
        threads=args.threads,
        transport=Transport(args.transport, _origins(args)),
        policy=policy_from(args),
        metrics_port=args.metrics_port,
        metrics_host="127.0.0.1" if args.metrics_host == "localhost" else args.metrics_host,
        allow_remote=args.allow_remote,
        grace_s=args.grace,
        erp=args.erp_config,
        redis=redis,
        events_stream=args.events_stream,
        auth=_auth(args),
        snapshot_keys=args.snapshot_keys,
        follow=follow_from(args),
        is_read_only=check_read_only(args),
        logs=logs,
        traces=traces_from(args),
        wait_s=args.wait,
    )
    try:
        if args.erp_config is not None:
            check_config(args.erp_config)
        return serve(options, announce)
    except ErpConfigError as error:
        raise UsageError(str(error)) from None
    except (ServeError, LoadError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _socket(args: argparse.Namespace) -> UnixSocket | None:
    if args.socket is None:
        if args.socket_mode is not None:
            raise UsageError("--socket-mode says who may connect to a --socket, and none is given")
        return None
    if args.host is not None or args.port is not None:
        raise UsageError("--socket is listened on in place of --host and --port: give one of them")
    if args.transport == GRPCIO and args.workers not in (None, 1):
        raise UsageError(
            "--transport grpcio has one worker on a --socket: leave --workers out, or take http2"
        )
    return UnixSocket(args.socket.absolute(), MODES[args.socket_mode or "0660"])


def _auth(args: argparse.Namespace) -> AuthConfig | None:
    """Who may call; raises UsageError when that can't be read, and says when nobody is asked."""
    if args.auth is None:
        logging.getLogger(__name__).warning(
            "no --auth: whoever reaches the %s may ask and change everything%s",
            "port" if args.socket is None else "socket",
            "" if args.allow_remote or args.socket is not None else "; it listens on loopback only",
        )
        return None
    from pricegrid.service.identity.check import check_auth
    from pricegrid.service.identity.config import AuthConfigError, read_auth

    try:
        config = read_auth(args.auth)
        check_auth(config, args.store)
    except AuthConfigError as error:
        raise UsageError(str(error)) from None
    return config


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)
