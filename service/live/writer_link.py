"""The link between the workers of a host and its writer: mutations of live state go to one process, by a unix socket.

    caller ──▶ worker ──bytes, correlation id, time left──▶ writer ──▶ LiveApi
                  ◀──response, or the refusal unchanged──

Each message of PublishEvents is a call of its own, which gRPC encodes like a stream of one message. A worker waits in
the thread pool of mutations. If the caller goes away meanwhile, the writer still completes the call.
"""

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from pricegrid import v1
from pricegrid.errors import DETAILS_KEY, error_info
from pricegrid.service.clock import now_us
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import (
    RECEIVE_BYTES_MAX,
    SEND_BYTES_MAX,
    WRITER_THREADS,
    WRITER_TIMEOUT_S,
)
from pricegrid.service.live.api import LiveApi, PublishResult
from pricegrid.service.methods.live import (
    PUBLISH_EVENTS,
    decode_published,
    encode_published,
    live_methods,
    mutating_methods,
)
from pricegrid.service.rpc.call import CORRELATION_KEY, Caller, Method, Mutation, Services
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import Metrics, NoMetrics
from pricegrid.service.rpc.pools import ThreadPools
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.service.tracing.spans import Traces

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", SEND_BYTES_MAX),
    ("grpc.max_send_message_length", RECEIVE_BYTES_MAX),
    # A writer that died is back in a moment: reconnect soon and often.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class WriterLink:
    """A worker's client of the writer on `socket_path`; connects at the first call, and reconnects by itself."""

    def __init__(
        self,
        socket_path: Path,
        *,
        timeout_s: float = WRITER_TIMEOUT_S,
        headers: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """`headers` go with each call beside its id."""
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=_CHANNEL_OPTIONS)
        self._timeout_s = timeout_s
        self._headers = headers or dict
        self._publish = self._method(v1.INVENTORY_FEED_SERVICE, PUBLISH_EVENTS)

    def methods(self) -> Services:
        """All methods that change live state, each forwarded."""
        return mutating_methods(self._publish_one, self._forwarding)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _method(self, service: str, method: str) -> Any:
        return self._channel.unary_unary(f"/{service}/{method}")  # type: ignore[call-arg]

    def _forwarding(self, service: str, method: str) -> Method:
        call = self._method(service, method)
        return lambda raw, caller: Response(self._ask(call, raw, caller))

    def _publish_one(self, raw: bytes, caller: Caller) -> PublishResult:
        return decode_published(self._ask(self._publish, raw, caller))

    def _ask(self, call: Any, raw: bytes, caller: Caller) -> bytes:
        left_s = caller.left_s()
        timeout_s = self._timeout_s if left_s is None else min(left_s, self._timeout_s)
        try:
            metadata = ((CORRELATION_KEY, caller.correlation_id), *self._headers().items())
            answer: bytes = call(raw, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise _refused(error) from error
        return answer


def build_writer_server(
    live: LiveApi,
    socket_path: Path,
    metrics: Metrics | None = None,
    *,
    pools: ThreadPools | None = None,
    traces: "Traces | None" = None,
) -> grpc.Server:
    """The writer's server for the workers of this host, not started. Whoever may write the socket's directory may call.

    The caller must hold the writer lock: a socket that exists is taken over.
    """
    pools = pools or ThreadPools(mutation_threads=WRITER_THREADS)
    server = grpc.server(
        pools.mutations,
        options=[
            ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
            ("grpc.max_send_message_length", SEND_BYTES_MAX),
        ],
    )
    offered = {**live_methods(live, now_us), v1.INVENTORY_FEED_SERVICE: {PUBLISH_EVENTS: _one_message(live)}}
    handlers = Handlers(offered, metrics or NoMetrics(), pools.mutations.queue, pools=pools, traces=traces)
    handlers.register(server)
    server.add_insecure_port(f"unix:{socket_path}")
    socket_path.chmod(stat.S_IMODE(socket_path.stat().st_mode) & ~stat.S_IRWXO)
    return server


def _one_message(live: LiveApi) -> Mutation:
    def publish(raw: bytes, caller: Caller) -> Response:
        return Response(encode_published(live.publish(raw), caller.correlation_id))

    return Mutation(publish)


def _refused(error: grpc.RpcError) -> RequestRefusedError:
    """The writer's refusal, unchanged; or that the writer did not answer, so that the result is unknown."""
    call: Any = error
    trailing = dict(call.trailing_metadata() or ())
    reason, metadata = error_info(trailing.get(DETAILS_KEY))
    if reason in Reason.__members__:
        kept = {name: value for name, value in metadata.items() if name != "correlation_id"}
        refused = RequestRefusedError(Reason(reason), call.details() or "")
        refused.metadata = kept
        return refused
    is_late = call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return RequestRefusedError(
        Reason.LIVE_STATE_UNAVAILABLE,
        "the writer did not answer in time, the request may have been carried out; retry it unchanged"
        if is_late
        else "the writer can't be reached, the request may have been carried out; retry it unchanged",
    )
