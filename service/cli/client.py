"""What the asking commands share: where to ask, about which instant, and how a refusal is told."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pricegrid
from pricegrid.service.cli.health import NO_HEALTH_SERVICE, SERVING, health_of
from pricegrid.service.cli.text import UsageError, as_of_argument, seconds_argument

if TYPE_CHECKING:
    import grpc

    from pricegrid.pricing_engine.model import ExceptionPolicy

TIMEOUT_S = 30.0
TOKEN_FILE_VARIABLE: Final = "PRICEGRID_TOKEN_FILE"  # noqa: S105 -- a name
_RECONNECT_MS: Final = 500
"""How often a server that is awaited is tried."""
_HEALTH_S: Final = 0.1
_HEALTH_TIMEOUT_S: Final = 5.0
_READY: Final = frozenset({SERVING, NO_HEALTH_SERVICE})


def add_where_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to ask, how long to wait and how to print."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", metavar="HOST:PORT", help="ask the server there; or at unix:PATH")
    where.add_argument("--store", metavar="DIR", type=Path, help="answer from this store, without a server")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=TIMEOUT_S, help="seconds to wait for the server"
    )
    parser.add_argument(
        "--wait",
        metavar="S",
        type=seconds_argument,
        default=0.0,
        help="seconds to wait until a server that is starting is ready (default: do not wait)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_identity_arguments(parser)


def add_identity_arguments(parser: argparse.ArgumentParser) -> None:
    """Who asks a server, and how its own name is verified."""
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"who asks, with --address: a file that holds a bearer token (default: {TOKEN_FILE_VARIABLE})",
    )
    parser.add_argument(
        "--tls-ca",
        metavar="FILE",
        type=Path,
        help="use TLS, and verify the server's certificate with these (PEM)",
    )
    parser.add_argument("--tls-cert", metavar="FILE", type=Path, help="the client's own certificate (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", type=Path, help="the key of --tls-cert (PEM)")


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
    small: tuple[int, int | None] | None = None,
) -> Iterator[pricegrid.Client]:
    """A client of the server at `--address`, or of the store itself, with the exceptions that its options say.

    `small` is how many lines and branches (None: all) a question has that the references may answer: if they are few,
    it takes no kernels.
    """
    if args.address is not None:
        _refuse_options_of_a_server(args)
        with _server_client(args) as client:
            yield client
        return
    policy = policy_from(args) if policy_from else None
    if small is not None and getattr(args, "erp_config", None) is None:
        from pricegrid.pricing_engine.model import ExceptionPolicy
        from pricegrid.service.rpc.plain_store import is_small, plain_store_client

        if is_small(args.store, *small, args.snapshot_version):
            with plain_store_client(args.store, policy or ExceptionPolicy()) as client:
                yield client
            return
    with _store_client(args, policy=policy, warms_up=False) as client:
        yield client


@contextlib.contextmanager
def live_client(args: argparse.Namespace) -> Iterator[pricegrid.Client]:
    """A client of the server at `--address`, or of the store itself, that can change live state."""
    if args.address is not None:
        _refuse_options_of_a_server(args)
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
        with _awaited_client(args) as client:
            yield client
        return
    try:
        client = pricegrid.Client(args.address, token_file=token_file(args), **tls_settings(args))
    except ValueError as error:
        raise UsageError(str(error)) from None
    with client:
        yield client


def _awaited_client(args: argparse.Namespace) -> pricegrid.Client:
    """A client of a server that may still be starting, on the connection by which it was found to be ready.

    Each worker has a health of its own, so a new connection could meet one that is not ready yet. A server that
    accepts connections and does not become healthy in time is asked all the same: it answers prices.
    """
    import grpc

    from pricegrid.client import RECEIVE_BYTES_MAX

    until_s = time.monotonic() + args.wait
    channel = server_channel(args, [("grpc.max_receive_message_length", RECEIVE_BYTES_MAX)])
    ready = grpc.channel_ready_future(channel)
    try:
        ready.result(timeout=args.wait)
    except grpc.FutureTimeoutError:
        ready.cancel()
        channel.close()
        raise pricegrid.UnavailableError(
            f"no server at {args.address} within {args.wait:g} seconds (--wait)", reason="UNAVAILABLE"
        ) from None
    while health_of(channel, "", _HEALTH_TIMEOUT_S) not in _READY and time.monotonic() < until_s:
        time.sleep(_HEALTH_S)
    return pricegrid.Client(channel=channel)


def server_channel(args: argparse.Namespace, options: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
    """A channel to the server at `--address`, which tries often to connect, as who the arguments say."""
    from pricegrid.credentials import TokenFile, open_channel

    often = [("grpc.max_reconnect_backoff_ms", _RECONNECT_MS), ("grpc.initial_reconnect_backoff_ms", 100)]
    named = token_file(args)
    token = None if named is None else TokenFile(named)
    try:
        return open_channel(args.address, [*options, *often], token=token, **tls_settings(args))
    except ValueError as error:
        raise UsageError(str(error)) from None


def token_file(args: argparse.Namespace) -> str | None:
    """The file with the token to send; raises UsageError where it holds none."""
    from pricegrid.credentials import TokenFile

    named: str | None = args.token_file or os.environ.get(TOKEN_FILE_VARIABLE) or None
    if named is not None:
        try:
            TokenFile(named)()  # a mistake shows before anything is asked
        except ValueError as error:
            raise UsageError(str(error)) from None
    return named


def tls_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The certificates that a client is given; raises UsageError."""
    if (args.tls_cert is None) != (args.tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    settings: dict[str, Any] = {}
    try:
        if args.tls_ca is not None:
            settings["root_certificates"] = args.tls_ca.read_bytes()
        if args.tls_cert is not None:
            settings["client_certificate"] = (args.tls_cert.read_bytes(), args.tls_key.read_bytes())
    except OSError as error:
        raise UsageError(f"{error.filename} can't be read: {error.strerror}") from None
    return settings


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
