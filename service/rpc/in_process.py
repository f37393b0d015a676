"""A gRPC channel without a network: the client calls the services in its own process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, Self, cast

import grpc

from pricegrid import Client
from pricegrid.service.errors import Reason, refusal, trailing_metadata
from pricegrid.service.rpc.call import Caller, Ingest, Method, Mutation, Services, Watch, correlation_id_of

if TYPE_CHECKING:
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.snapshots import LoadedSnapshot


class InProcessError(grpc.RpcError):
    """A refusal, with the status and metadata that it has over the network."""

    def __init__(self, code: grpc.StatusCode, message: str, trailing: Any = ()) -> None:
        super().__init__(message)
        self._code = code
        self._message = message
        self._trailing = trailing

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str:
        """The message."""
        return self._message

    def trailing_metadata(self) -> Any:
        """The trailing metadata."""
        return self._trailing


class InProcessStream:
    """The responses of a streaming call; ends as one over the network does."""

    def __init__(self, watch: Watch, raw: bytes, caller: Caller, read: Callable[[bytes], Any]) -> None:
        self._is_cancelled = False
        self._wake = watch.wake
        self._caller = caller
        self._responses = watch.responses(raw, caller, self._is_over)
        self._read = read

    def cancel(self) -> None:
        """Ends the stream; safe from another thread."""
        self._is_cancelled = True
        self._wake()

    def _is_over(self) -> bool:
        return self._is_cancelled or self._caller.left_s() == 0.0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        with _grpc_errors(self._caller):
            for raw in self._responses:
                return self._read(raw)
        if self._is_cancelled:
            raise InProcessError(grpc.StatusCode.CANCELLED, "the caller cancelled")
        raise InProcessError(grpc.StatusCode.DEADLINE_EXCEEDED, "the caller's time is over")


@contextlib.contextmanager
def _grpc_errors(caller: Caller) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        refused = refusal(error)
        if refused.reason is Reason.INTERNAL_ERROR:
            raise  # in the caller's own process the traceback of an unexpected error is worth more
        trailing = trailing_metadata(refused, caller.correlation_id)
        raise InProcessError(refused.code, refused.message, trailing) from error


class InProcessChannel(grpc.Channel):
    """Passes calls to the methods of `services`, with or without the service-desk right (P11)."""

    def __init__(self, services: Services, *, service_desk: bool) -> None:
        self._service_desk = service_desk
        self._methods = {
            f"/{service}/{name}": method
            for service, methods in services.items()
            for name, method in methods.items()
        }

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The call of one method."""
        write, read = _codec(request_serializer, response_deserializer)

        def call(request: Any, timeout: float | None = None) -> Any:
            offered = self._methods[method]
            run = cast("Method", offered.call if isinstance(offered, Mutation) else offered)
            caller = self._caller(timeout)
            with _grpc_errors(caller):
                return read(run(write(request), caller).raw)

        return call

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The call of a method that ingests a stream."""
        write, read = _codec(request_serializer, response_deserializer)

        def call(requests: Iterator[Any], timeout: float | None = None) -> Any:
            ingest = cast("Ingest", self._methods[method]).call
            caller = self._caller(timeout)
            with _grpc_errors(caller):
                return read(ingest(map(write, requests), caller).raw)

        return call

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The call of a method that streams responses."""
        write, read = _codec(request_serializer, response_deserializer)

        def call(request: Any, timeout: float | None = None) -> Any:
            watch = cast("Watch", self._methods[method])
            return InProcessStream(watch, write(request), self._caller(timeout), read)

        return call

    def _caller(self, timeout_s: float | None) -> Caller:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        return Caller(correlation_id_of(None), service_desk=self._service_desk, deadline_s=deadline_s)

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def stream_stream(self, *_: Any, **__: Any) -> Never:
        """Not offered."""
        raise NotImplementedError

    def subscribe(self, *_: Any, **__: Any) -> None:
        """It is always connected."""

    def unsubscribe(self, *_: Any, **__: Any) -> None:
        """It is always connected."""


def _codec(
    write: Callable[[Any], bytes] | None, read: Callable[[bytes], Any] | None
) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    assert write is not None  # noqa: S101 -- generated stubs always give both
    assert read is not None  # noqa: S101
    return write, read


@contextlib.contextmanager
def store_client(
    store: Path,
    policy: ExceptionPolicy,
    *,
    changes_live_state: bool = False,
    erp_config: Path | None = None,
    warms_up: bool = True,
) -> Iterator[Client]:
    """A client over the store itself, with the service-desk right (P11), and with an ERP if one is configured. Raises
    `SnapshotError` and `ErpConfigError`.

    If a server writes the store's live state, changes go to its writer; otherwise this process writes.
    Without `warms_up` a kernel is fetched when it is first needed: for a process that asks once.
    """
    from pricegrid.erp.dead_letters import DeadLetterFile
    from pricegrid.erp.operator_flags import OperatorFlags
    from pricegrid.service.clock import now_us
    from pricegrid.service.erp_overlay.flags import Flagging
    from pricegrid.service.erp_overlay.letters import ErpLetters
    from pricegrid.service.process.bootstrap import load_snapshot, open_snapshot_engines, version_opener
    from pricegrid.service.process.snapshots import SnapshotHolder
    from pricegrid.service.rpc.services import services

    if warms_up:
        active = load_snapshot(store, None, policy)
    else:
        active, _ = open_snapshot_engines(store, None, policy)
    open_version = version_opener(store, policy, lambda _: False)
    with contextlib.ExitStack() as stack:
        live = None
        if changes_live_state or (store / "live").exists():
            from pricegrid.service.live.reader import OnDemandReader, reading

            active, live = _with_live_state(store, active, stack)
            holder = SnapshotHolder(
                active, lambda version: reading(store, open_version(version), OnDemandReader)
            )
        else:
            holder = SnapshotHolder(active, open_version)
        erp = None
        if erp_config is not None:
            from pricegrid.erp.settings import read_settings
            from pricegrid.service.erp_overlay.fallback import open_erp

            erp = open_erp(read_settings(erp_config), store, now_us, sample=False)
            stack.callback(erp.close)
        letters = ErpLetters(
            DeadLetterFile(store), erp.gateway if erp else None, lambda: holder.active, now_us
        )
        flagging = Flagging(OperatorFlags(store))
        offered = services(holder, now_us, live=live, erp=erp, flagging=flagging, erp_letters=letters)
        yield stack.enter_context(Client(channel=InProcessChannel(offered, service_desk=True)))


def _with_live_state(
    store: Path, active: LoadedSnapshot, stack: contextlib.ExitStack
) -> tuple[LoadedSnapshot, Services | None]:
    """The snapshot with its live state, and the methods that change it; None when the snapshot has no positions or the
    store is read-only."""
    if active.availability is None:
        return active, None
    from pricegrid.atp.live.positions import LiveWriter
    from pricegrid.cache.embedded import EmbeddedStateCache
    from pricegrid.service.clock import now_us
    from pricegrid.service.limits import LIVE_PAIRS, LIVE_WORDS
    from pricegrid.service.live.files import (
        WriterBusyError,
        is_read_only,
        live_directory,
        socket_path,
        writer_lock,
    )
    from pricegrid.service.live.reader import OnDemandReader, reading
    from pricegrid.service.live.state import LiveState
    from pricegrid.service.live.writer_link import WriterLink
    from pricegrid.service.methods.live import live_methods

    try:
        stack.enter_context(writer_lock(store))
    except WriterBusyError:
        link = WriterLink(socket_path(store))
        stack.callback(link.close)
        return reading(store, active, OnDemandReader), link.methods()
    except OSError as error:
        if not is_read_only(error):
            raise
        return reading(store, active, OnDemandReader), None
    cache = EmbeddedStateCache(live_directory(store))
    stack.callback(cache.close)

    def make_writer(grown: int) -> LiveWriter:
        return LiveWriter.in_memory(LIVE_PAIRS << grown, LIVE_WORDS << grown)

    live = LiveState(cache, active.availability, active.version, active.created_at_us, make_writer, now_us)
    return active, live_methods(live, now_us)
