"""The gRPC side of the services: one handler per method, which adds error mapping, load shedding and metrics.

No interceptors: each costs as much as answering a small request. Messages stay bytes here (see `service.codec`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import grpc

from pricegrid import v1
from pricegrid.service.errors import Reason, RequestRefusedError, refusal, trailing_metadata
from pricegrid.service.logs import of_exchange
from pricegrid.service.quota.lines import line_tag
from pricegrid.service.rpc.call import (
    AnyMethod,
    Caller,
    Ingest,
    Method,
    Mutation,
    Services,
    Watch,
    correlation_id_of,
    in_exchange,
)
from pricegrid.service.rpc.exchange_log import AccessLog, RefusalLog
from pricegrid.service.rpc.later import Later, NeedsThread
from pricegrid.service.rpc.metrics import Metrics
from pricegrid.service.rpc.overload import Queue, too_late
from pricegrid.service.rpc.pools import BIG_BYTES, CallPool, ThreadPools
from pricegrid.service.rpc.response import Response
from pricegrid.service.rpc.unread import UNREAD_MIN_BYTES, Unread

if TYPE_CHECKING:
    from pricegrid.service.identity.gate import Admission, Gate, Recheck
    from pricegrid.service.tracing.spans import Traces

PUBLISH_IDLE_S = 300.0
"""How long a publisher may be silent: no batch pauses that long, and a new stream is opened in no time."""
QUICK: Final = frozenset({(v1.PRICING_SERVICE, "PriceLines"), (v1.QUOTE_SERVICE, "QuoteLines")})
"""Methods whose fast path answers in microseconds."""
_FOREVER_S = 1e9  # gRPC reports at least this much where a call has no deadline

_log = logging.getLogger(__name__)


class Handlers:
    """Handles the calls of `services`: the methods of each service, by name.

    `queue` is that of the pool of reads: it says which calls are refused because of all others (`Queue`). `loop`: where
    a server answers what it can answer at once without a thread, its queue there and the pool of the rest.

    With a `gate`, a call is handled only for a caller whom it lets in; without one, for everybody. With `traces`, some
    calls have a span.
    """

    def __init__(
        self,
        services: Services,
        metrics: Metrics,
        queue: Queue,
        *,
        loop: "tuple[Queue, CallPool] | None" = None,
        pools: ThreadPools | None = None,
        gate: "Gate | None" = None,
        traces: "Traces | None" = None,
        publish_idle_s: float = PUBLISH_IDLE_S,
    ) -> None:
        self._services = services
        self._gate = gate
        self._traces = traces
        self._metrics = metrics
        self._queue = queue
        self._loop = loop
        self._publish_idle_s = publish_idle_s
        self._unread = Unread()
        self._refusals = RefusalLog()
        self._pools = pools or ThreadPools()
        self._stopping = threading.Event()
        self._tags = {
            (service, name): line_tag(service, name) for service in services for name in services[service]
        }

    def register(self, server: grpc.Server) -> None:
        """Adds the methods to a server."""
        for service, methods in self._services.items():
            handlers = {
                name: _method_handler(method, self.call(service, name)) for name, method in methods.items()
            }
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
            server.add_registered_method_handlers(service, handlers)  # type: ignore[attr-defined]

    def call(self, service: str, name: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        """What gRPC calls for a method; `experimental_thread_pool` tells gRPC of a method's own thread pool."""
        behavior: Any
        offered, behavior_of = self._services[service][name], partial(self._behavior, service, name)
        if self._traces is None:
            behavior = behavior_of(offered)
        else:
            from pricegrid.service.rpc.traced import traced_behavior

            path, tag = f"{service}/{name}", self._tags[service, name]
            behavior = traced_behavior(self._traces, path, tag, offered, behavior_of)
        return cast("Callable[[Any, grpc.ServicerContext], Any]", behavior)

    def _behavior(self, service: str, name: str, offered: AnyMethod) -> Any:
        behavior: Any
        admission = None if self._gate is None else self._gate.admission(service, name)
        tag = self._tags[service, name]
        match offered:
            case Mutation(method):
                method = in_exchange(method)
                queue = self._pools.mutations.queue
                behavior = partial(self._answer, name, method, admission, tag, queue, None)
                behavior.experimental_thread_pool = self._pools.mutations
            case Ingest(ingest):
                behavior = partial(self._ingest, name, in_exchange(ingest), admission, tag)
                behavior.experimental_thread_pool = self._pools.publishing
            case Watch() as watch:
                behavior = partial(self._watch, name, watch, admission, tag)
                behavior.experimental_thread_pool = self._pools.watching
            case method:
                if (service, name) not in QUICK:  # those say it themselves, once they are past the fast path
                    method = in_exchange(method)
                behavior = partial(self._answer, name, method, admission, tag, self._queue, None)
                if self._loop is not None and (service, name) in QUICK:
                    queue, rest = self._loop
                    behavior.on_loop = partial(self._answer, name, method, admission, tag, queue, rest)
                    behavior.refused_unread = partial(self._metrics.refused_unread, name)
        return behavior

    def end_watches(self) -> None:
        """Ends the watch streams; their callers are told to connect to another server."""
        self._stopping.set()
        for methods in self._services.values():
            for method in methods.values():
                if isinstance(method, Watch):
                    method.wake()

    def end_unread(self) -> None:
        """Ends calls whose answers their callers did not read for a minute; called from time to time."""
        ended = self._unread.end_old()
        if ended:
            _log.warning("%d calls ended, whose answers were not read", ended)

    def admit(self, admission: "Admission", name: str, context: grpc.ServicerContext) -> None:
        """Lets a call of another's handler in, or ends it."""
        started_s = time.perf_counter()
        caller = _caller(context)
        try:
            quota = _admitted(admission, caller, context).quota
            if quota is not None:
                quota.charge(b"", 0)
        except RequestRefusedError as error:
            self._refuse(name, error, started_s, context, caller)

    def _answer(
        self,
        name: str,
        method: Method,
        admission: "Admission | None",
        tag: int,
        queue: Queue,
        rest: CallPool | None,
        raw: bytes,
        context: grpc.ServicerContext,
    ) -> bytes:
        started_s = time.perf_counter()
        caller = _caller(context)
        if rest is not None:
            caller = caller._replace(may_wait=False)
        try:
            queue.check(caller.deadline_s, len(raw))
            if admission is not None:
                caller = _admitted(admission, caller, context)
                if caller.quota is not None:
                    caller.quota.charge(raw, tag)
            if self._unread.total:
                self._unread.check(caller.subject)
            if len(raw) > BIG_BYTES and queue.defers:
                self._pools.big.enter()
                raise Later(
                    self._pools.big.submit, partial(self._go_on, name, method, caller, None, started_s), raw
                )
            response = method(raw, caller)
        except NeedsThread as needs:
            assert rest is not None  # noqa: S101 -- or the caller might wait
            caller, method = caller._replace(may_wait=True), _the_rest(needs.go_on)
            raise Later(
                rest.submit, partial(self._go_on, name, method, caller, self._queue, started_s), raw
            ) from None
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller gets a status and we keep serving
            return self._refuse(name, error, started_s, context, caller)
        seconds = time.perf_counter() - started_s
        queue.answered(seconds, len(raw))
        return self._answered(name, response, raw, seconds, caller, context)

    def _go_on(
        self,
        name: str,
        method: Method,
        caller: Caller,
        queue: Queue | None,
        started_s: float,
        raw: bytes,
        context: grpc.ServicerContext,
    ) -> bytes:
        """Answers a request that was let in and goes on in another thread, at its turn among those of `queue`, or among
        big ones; all of it there, for kernels count the lines of each thread."""
        try:
            if queue is not None:
                queue.check(caller.deadline_s, len(raw))
            if caller.left_s() == 0.0 or not context.is_active():
                raise too_late()
            response = method(raw, caller)
        except Exception as error:  # noqa: BLE001 -- as above
            return self._refuse(name, error, started_s, context, caller)
        return self._answered(name, response, raw, time.perf_counter() - started_s, caller, context)

    def _answered(
        self,
        name: str,
        response: Response,
        raw: bytes,  # noqa: ARG002 -- of SampledHandlers
        seconds: float,
        caller: Caller,
        context: grpc.ServicerContext,
    ) -> bytes:
        self._metrics.answered(name, response, seconds)
        if len(response.raw) >= UNREAD_MIN_BYTES:
            self._unread.given(caller.subject, len(response.raw), context)
        return response.raw

    def _ingest(
        self,
        name: str,
        ingest: Callable[[Iterator[bytes], Caller], Response],
        admission: "Admission | None",
        tag: int,
        messages: Iterator[bytes],
        context: grpc.ServicerContext,
    ) -> bytes:
        started_s = time.perf_counter()
        caller = _caller(context)
        try:
            recheck = None
            if admission is not None:
                recheck = _recheck(admission, caller, context)
                caller = _admitted(admission, caller, context)
            with self._pools.publish_places.hold(caller.subject):
                arriving = _arriving(messages, recheck, self._publish_idle_s)
                paced = _paced(arriving, caller, tag, lambda: not context.is_active(), recheck)
                response = ingest(paced, caller)
        except CallerGoneError as gone:
            extra = of_exchange(caller.correlation_id, method=name)
            _log.info("%s: the caller went away", name, extra=extra)
            raise gone.error from None  # gRPC's own error: it logs nothing
        except Exception as error:  # noqa: BLE001 -- as above
            return self._refuse(name, error, started_s, context, caller)
        return self._answered(name, response, b"", time.perf_counter() - started_s, caller, context)

    def _watch(
        self,
        name: str,
        watch: Watch,
        admission: "Admission | None",
        tag: int,
        raw: bytes,
        context: grpc.ServicerContext,
    ) -> Iterator[bytes]:
        started_s = time.perf_counter()
        self._pools.watching.unsent.has_come()
        caller = _caller(context)
        recheck: Recheck | None = None

        def is_over() -> bool:
            return (
                self._stopping.is_set()
                or not context.is_active()
                or (recheck is not None and not recheck.still_holds())
            )

        try:
            if admission is not None:
                recheck = _recheck(admission, caller, context)
                caller = _admitted(admission, caller, context)
                if caller.quota is not None:
                    caller.quota.charge(raw, tag)
            with self._pools.watch_places.hold(caller.subject):
                context.add_callback(watch.wake)
                is_first = True
                for message in watch.responses(raw, caller, is_over):
                    if is_first:
                        seconds = time.perf_counter() - started_s
                        self._answered(name, Response(b""), raw, seconds, caller, context)
                        is_first = False
                    yield message
                if recheck is not None:
                    recheck.check()
                if self._stopping.is_set():
                    raise RequestRefusedError(Reason.SERVER_STOPPING, "the server stops; ask another one")
        except Exception as error:  # noqa: BLE001 -- as above
            self._refuse(name, error, started_s, context, caller)

    def _refuse(
        self,
        name: str,
        error: Exception,
        started_s: float,
        context: grpc.ServicerContext,
        caller: Caller,
    ) -> NoReturn:
        refused, correlation_id = refusal(error), caller.correlation_id
        if refused.reason is Reason.INTERNAL_ERROR:
            extra = of_exchange(correlation_id, method=name)
            _log.error("%s failed, correlation id %s", name, correlation_id, exc_info=error, extra=extra)
        else:
            self._refusals.refused(name, refused, caller)
        if self._traces is not None:
            self._traces.refused(refused, caller)
        self._metrics.refused(name, refused.reason, time.perf_counter() - started_s)
        if refused.limit:
            self._metrics.limited(refused.limit)
        abort(context, refused, correlation_id)


class SampledHandlers(Handlers):
    """Handlers that log one in so many answered calls; a class of its own, so that not to log costs nothing."""

    def __init__(
        self, services: Services, metrics: Metrics, queue: Queue, one_in: int, **options: Any
    ) -> None:
        super().__init__(services, metrics, queue, **options)
        self._access = AccessLog(one_in, {name: tag for (_, name), tag in self._tags.items()})

    def _answered(
        self,
        name: str,
        response: Response,
        raw: bytes,
        seconds: float,
        caller: Caller,
        context: grpc.ServicerContext,
    ) -> bytes:
        self._access.answered(name, response, raw, seconds, caller)
        return super()._answered(name, response, raw, seconds, caller, context)


class CallerGoneError(Exception):
    """The caller of a stream went away before its end; `error` is the one that gRPC raised."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__("the caller went away")
        self.error = error


def _arriving(messages: Iterator[bytes], recheck: "Recheck | None", idle_s: float) -> Iterator[bytes]:
    """The messages as they arrive; raises STREAM_IDLE, and CallerGoneError when gRPC says that the caller went away.

    gRPC offers no wait for a message that ends, so a thread of its own waits: for one message at a time, when it is
    asked for. It ends with the stream.
    """
    wanted, arrived = threading.Semaphore(0), SimpleQueue[bytes | BaseException | None]()
    is_over = threading.Event()

    def read() -> None:
        while wanted.acquire() and not is_over.is_set():
            try:
                arrived.put(next(messages, None))
            except BaseException as error:  # noqa: BLE001 -- it is the other thread's
                arrived.put(error)

    threading.Thread(target=read, name="pricegrid-arriving", daemon=True).start()
    try:
        while True:
            wanted.release()
            try:
                message = arrived.get(timeout=idle_s)
            except Empty:
                raise RequestRefusedError(
                    Reason.STREAM_IDLE, f"no message came for {idle_s:.0f} s; publish again", limit="idle"
                ) from None
            if message is None:
                return
            if isinstance(message, grpc.RpcError):
                raise CallerGoneError(message) from message
            if isinstance(message, BaseException):
                raise message
            if recheck is not None:
                recheck.check()
            yield message
    finally:
        is_over.set()
        wanted.release()


def _paced(
    messages: Iterator[bytes],
    caller: Caller,
    tag: int,
    is_over: Callable[[], bool],
    recheck: "Recheck | None",
) -> Iterator[bytes]:
    """The messages as their caller's quota allows; whether they still may send any is asked again after a pause."""
    for message in messages:
        if caller.quota is not None and not caller.quota.pace(message, tag, is_over):
            return  # whoever went away does not get for nothing what they would have waited for
        if recheck is not None:
            recheck.check()
        yield message


def _method_handler(method: AnyMethod, behavior: Callable[..., Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    match method:
        case Ingest():
            return grpc.stream_unary_rpc_method_handler(behavior)
        case Watch():
            return grpc.unary_stream_rpc_method_handler(behavior)
        case _:
            return grpc.unary_unary_rpc_method_handler(behavior)


def _the_rest(go_on: Callable[[Caller], Response]) -> Method:
    """What is left of a method that has read its request."""
    return lambda _, caller: go_on(caller)


def _caller(context: grpc.ServicerContext) -> Caller:
    left_s = context.time_remaining()
    deadline_s = time.monotonic() + left_s if left_s is not None and left_s < _FOREVER_S else None
    return Caller(correlation_id_of(context.invocation_metadata()), deadline_s=deadline_s)


def _admitted(admission: "Admission", caller: Caller, context: grpc.ServicerContext) -> Caller:
    return admission.admitted(caller, context.invocation_metadata() or (), context)


def _recheck(admission: "Admission", caller: Caller, context: grpc.ServicerContext) -> "Recheck":
    return admission.recheck(caller, context.invocation_metadata() or (), context)


def abort(context: grpc.ServicerContext, refused: RequestRefusedError, correlation_id: str) -> NoReturn:
    """Ends the call with the refusal's status."""
    context.set_trailing_metadata(trailing_metadata(refused, correlation_id))
    context.abort(refused.code, refused.message)
    raise AssertionError("abort raises")
