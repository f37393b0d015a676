"""What the asking commands share: where to ask, about which instant, and how a refusal is told."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from pricegrid import Client, Freshness, PricegridError
from pricegrid.erp.protocol import ErpConfigError
from pricegrid.loaders.errors import SnapshotError
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.text import UsageError, as_of_argument

TIMEOUT_S = 30.0


def add_where_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to ask, how long to wait and how to print."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", metavar="HOST:PORT", help="ask the server there")
    where.add_argument("--store", metavar="DIR", type=Path, help="answer from this store, without a server")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=TIMEOUT_S, help="seconds to wait for the server"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_asking_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to ask, the instant, the snapshot, how long to wait and how to print."""
    add_where_arguments(parser)
    parser.add_argument(
        "--as-of", metavar="T", type=as_of_argument, help="date YYYY-MM-DD or RFC 3339 instant (default: now)"
    )
    parser.add_argument(
        "--snapshot-version", metavar="V", help="answer from this snapshot (default: the active one)"
    )


@contextlib.contextmanager
def asking_client(args: argparse.Namespace, policy: ExceptionPolicy | None = None) -> Iterator[Client]:
    """A client of the server at `--address`, or of the store itself."""
    policy = policy or ExceptionPolicy()
    erp_config: Path | None = getattr(args, "erp_config", None)
    if args.address is not None:
        if erp_config is not None:
            raise UsageError("which ERP is asked is the server's to say: --erp-config goes with --store")
        if policy != ExceptionPolicy():
            raise UsageError(
                "which lines are exceptions is the server's to say: those options go with --store"
            )
        with Client(args.address) as client:
            yield client
        return
    from pricegrid.service.rpc.in_process import store_client

    try:
        with store_client(args.store, policy, erp_config=erp_config) as client:
            yield client
    except ErpConfigError as error:
        raise UsageError(str(error)) from None


@contextlib.contextmanager
def live_client(args: argparse.Namespace) -> Iterator[Client]:
    """A client of the server at `--address`, or of the store itself, that can change live state."""
    if args.address is not None:
        with Client(args.address) as client:
            yield client
        return
    from pricegrid.service.rpc.in_process import store_client

    with store_client(args.store, ExceptionPolicy(), changes_live_state=True) as client:
        yield client


def answer(ask: Callable[[], int]) -> int:
    """Runs a command's question; a refusal, or a store that can't answer, is told and ends with 1."""
    try:
        return ask()
    except PricegridError as error:
        tail = f" (correlation id {error.correlation_id})" if error.correlation_id else ""
        print(f"pricegrid: {error.reason}: {error}{tail}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except (SnapshotError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
    return 1


def freshness_json(freshness: Freshness | None) -> dict[str, object]:
    """The states of the sources, and how old their data is in whole seconds; null where there is nothing to say."""
    if freshness is None:
        return {"freshness": None, "source_age_s": None}
    sources = {"erp": freshness.erp, "wms": freshness.wms, "transit": freshness.transit}
    return {
        "freshness": {name: source.state.value for name, source in sources.items()},
        "source_age_s": {
            name: None if source.age is None else source.age // timedelta(seconds=1)
            for name, source in sources.items()
        },
    }
