"""Between the workers of a host and its writer: what changes live state goes to one process, over a unix socket.

    caller ──▶ worker ──bytes, correlation id, time left──▶ writer ──▶ LiveApi
                  ◀──answer, or the refusal word for word──

Each message of PublishEvents goes as a call of its own, which is the same on the wire as a stream of one. A worker
waits in a thread of its own lane. Its caller may go away meanwhile; what the writer was asked to do is done.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from pricegrid import v1
from pricegrid.service.clock import now_us
from pricegrid.service.codec.live import decode_published, encode_published
from pricegrid.service.errors import DETAILS_KEY, DOMAIN, Reason, RequestRefusedError
from pricegrid.service.limits import (
    RECEIVE_BYTES_MAX,
    SEND_BYTES_MAX,
    WRITER_THREADS,
    WRITER_TIMEOUT_S,
)
from pricegrid.service.live.api import LiveApi, PublishResult
from pricegrid.service.methods.live import PUBLISH_EVENTS, live_methods, mutating_methods
from pricegrid.service.rpc.call import Answer, Caller, Mutation, Services
from pricegrid.service.rpc.correlation import CORRELATION_KEY
from pricegrid.service.rpc.handlers import Handlers, Lanes
from pricegrid.service.rpc.metrics import Metrics, NoMetrics
from pricegrid.service.rpc.response import Answered

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", SEND_BYTES_MAX),
    ("grpc.max_send_message_length", RECEIVE_BYTES_MAX),
    # A writer that died is back in a moment: look for it soon, and as often.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class WriterLink:
    """A worker's way to the writer that listens on `socket_path`; connects when first asked, and again by itself."""

    def __init__(self, socket_path: Path, *, timeout_s: float = WRITER_TIMEOUT_S) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=_CHANNEL_OPTIONS)
        self._timeout_s = timeout_s
        self._publish = self._method(v1.INVENTORY_FEED_SERVICE, PUBLISH_EVENTS)

    def methods(self) -> Services:
        """All methods that change live state, each forwarded."""
        return mutating_methods(self._publish_one, self._forwarding)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _method(self, service: str, method: str) -> Any:
        return self._channel.unary_unary(f"/{service}/{method}")  # type: ignore[call-arg]

    def _forwarding(self, service: str, method: str) -> Answer:
        call = self._method(service, method)
        return lambda raw, caller: Answered(self._ask(call, raw, caller))

    def _publish_one(self, raw: bytes, caller: Caller) -> PublishResult:
        return decode_published(self._ask(self._publish, raw, caller))

    def _ask(self, call: Any, raw: bytes, caller: Caller) -> bytes:
        left_s = caller.left_s()
        timeout_s = self._timeout_s if left_s is None else min(left_s, self._timeout_s)
        try:
            answer: bytes = call(raw, timeout=timeout_s, metadata=((CORRELATION_KEY, caller.correlation_id),))
        except grpc.RpcError as error:
            raise _refused(error) from error
        return answer


def build_writer_server(
    live: LiveApi, socket_path: Path, metrics: Metrics | None = None, *, threads: int = WRITER_THREADS
) -> grpc.Server:
    """The writer's server, not started, for the workers of this host; who may write the socket's directory may ask it.

    The caller makes sure that no other writer listens there: a socket left behind is taken over.
    """
    lanes = Lanes(mutation_threads=threads)
    server = grpc.server(
        lanes.mutations,
        options=[
            ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
            ("grpc.max_send_message_length", SEND_BYTES_MAX),
        ],
    )
    offered = {**live_methods(live, now_us), v1.INVENTORY_FEED_SERVICE: {PUBLISH_EVENTS: _one_message(live)}}
    handlers = Handlers(offered, metrics or NoMetrics(), lanes.mutations.waiting, lanes=lanes)
    handlers.register(server)
    server.add_insecure_port(f"unix:{socket_path}")
    return server


def _one_message(live: LiveApi) -> Mutation:
    def publish(raw: bytes, caller: Caller) -> Answered:
        return Answered(encode_published(live.publish(raw), caller.correlation_id))

    return Mutation(publish)


def _refused(error: grpc.RpcError) -> RequestRefusedError:
    """What the writer said, word for word; or that it can't be reached, and whether it may have acted all the same."""
    call: Any = error
    trailing = dict(call.trailing_metadata() or ())
    for info in _error_infos(trailing.get(DETAILS_KEY)):
        metadata = {name: value for name, value in info.metadata.items() if name != "correlation_id"}
        return RequestRefusedError(Reason(info.reason), call.details() or "", **metadata)
    is_late = call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return RequestRefusedError(
        Reason.LIVE_STATE_UNAVAILABLE,
        "the writer did not answer in time; ask for the same again, it may have been carried out"
        if is_late
        else "the writer can't be reached; ask for the same again, it may have been carried out",
    )


def _error_infos(details: str | bytes | None) -> Iterator[error_details_pb2.ErrorInfo]:
    if not isinstance(details, bytes):
        return
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in Reason.__members__:
            yield info
