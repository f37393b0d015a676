"""What the asking commands share: where to ask, about which instant, and how a refusal is told."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pricegrid
from pricegrid.service.cli.text import UsageError, as_of_argument

if TYPE_CHECKING:
    from pricegrid.pricing_engine.model import ExceptionPolicy

TIMEOUT_S = 30.0
_RECONNECT_MS: Final = 500
"""How often a server that is awaited is tried."""


def add_where_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to ask, how long to wait and how to print."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", metavar="HOST:PORT", help="ask the server there")
    where.add_argument("--store", metavar="DIR", type=Path, help="answer from this store, without a server")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=TIMEOUT_S, help="seconds to wait for the server"
    )
    parser.add_argument(
        "--wait",
        metavar="S",
        type=_seconds,
        default=0.0,
        help="seconds to wait for a server that only starts (default: it must be there)",
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
def asking_client(
    args: argparse.Namespace,
    policy_from: Callable[[argparse.Namespace], ExceptionPolicy] | None = None,
    *,
    price_pairs: int | None = None,
) -> Iterator[pricegrid.Client]:
    """A client of the server at `--address`, or of the store itself, with the exceptions that its options say.

    `price_pairs` is how many lines times branches a question about prices has: a small one takes no kernels.
    """
    if args.address is not None:
        _refuse_options_of_a_server(args)
        with _server_client(args) as client:
            yield client
        return
    policy = policy_from(args) if policy_from else None
    if price_pairs is not None and getattr(args, "erp_config", None) is None:
        from pricegrid.pricing_engine.model import ExceptionPolicy
        from pricegrid.service.rpc.plain_store import is_small, plain_store_client

        if is_small(args.store, price_pairs):
            with plain_store_client(args.store, policy or ExceptionPolicy()) as client:
                yield client
            return
    with _store_client(args, policy=policy, warms_up=False) as client:
        yield client


@contextlib.contextmanager
def live_client(args: argparse.Namespace) -> Iterator[pricegrid.Client]:
    """A client of the server at `--address`, or of the store itself, that can change live state."""
    if args.address is not None:
        with _server_client(args) as client:
            yield client
        return
    with _store_client(args, changes_live_state=True, warms_up=False) as client:
        yield client


def _refuse_options_of_a_server(args: argparse.Namespace) -> None:
    """What the server decides can't be said by who asks it."""
    if getattr(args, "erp_config", None) is not None:
        raise UsageError("--erp-config goes with --store: which ERP is asked is the server's to say")
    named = ("exception_above", "exception_grace_days", "flag_customer", "flag_sku")
    for name in named:
        if getattr(args, name, None):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} goes with --store: which lines are exceptions is the server's to say")


@contextlib.contextmanager
def _server_client(args: argparse.Namespace) -> Iterator[pricegrid.Client]:
    if args.wait:
        _await_server(args.address, args.wait)
    with pricegrid.Client(args.address) as client:
        yield client


def _await_server(address: str, wait_s: float) -> None:
    """Waits until a server accepts connections: it does when all of its workers are ready."""
    import grpc

    options = [("grpc.max_reconnect_backoff_ms", _RECONNECT_MS), ("grpc.initial_reconnect_backoff_ms", 100)]
    with grpc.insecure_channel(address, options=options) as channel:
        ready = grpc.channel_ready_future(channel)
        try:
            ready.result(timeout=wait_s)
        except grpc.FutureTimeoutError:
            ready.cancel()
            raise pricegrid.UnavailableError(
                f"no server at {address} within {wait_s:g} seconds (--wait)", reason="UNAVAILABLE"
            ) from None


@contextlib.contextmanager
def _store_client(args: argparse.Namespace, **settings: Any) -> Iterator[pricegrid.Client]:
    from pricegrid.service.process.kernel_build import provide
    from pricegrid.service.process.kernel_cache import use_kernel_cache

    use_kernel_cache(os.environ)
    provide("quote", args.store, os.environ, sys.stderr)
    from pricegrid.erp.protocol import ErpConfigError
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.rpc.in_process import store_client

    policy = settings.pop("policy", None) or ExceptionPolicy()
    erp_config: Path | None = getattr(args, "erp_config", None)
    try:
        with store_client(args.store, policy, erp_config=erp_config, **settings) as client:
            yield client
    except ErpConfigError as error:
        raise UsageError(str(error)) from None


def answer(ask: Callable[[], int]) -> int:
    """Runs a command's question; a refusal, or a store that can't answer, is told and ends with 1."""
    from pricegrid.loaders.errors import SnapshotError

    try:
        return ask()
    except BrokenPipeError:
        raise
    except (SnapshotError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
    except pricegrid.PricegridError as error:
        tail = f" (correlation id {error.correlation_id})" if error.correlation_id else ""
        print(f"pricegrid: {error.reason}: {error}{tail}", file=sys.stderr)
    return 1


def freshness_json(freshness: pricegrid.Freshness | None) -> dict[str, object]:
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


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 to 86400")
    return found
