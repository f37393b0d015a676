"""The gRPC side of the services: one handler per method, which adds error mapping, load shedding and metrics.

No interceptors: each costs as much as answering a small request. Messages stay bytes here (see `service.codec`).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn, cast

import grpc

from pricegrid.service.errors import Reason, RequestRefusedError, refusal, trailing_metadata
from pricegrid.service.limits import (
    IN_FLIGHT_MAX,
    MUTATION_THREADS,
    PUBLISH_STREAMS_MAX,
    PUSHBACK_MS,
    SPARE_THREADS,
    WATCHES_MAX,
)
from pricegrid.service.rpc.call import AnyMethod, Caller, Ingest, Method, Mutation, Services, Watch
from pricegrid.service.rpc.correlation import correlation_id_of
from pricegrid.service.rpc.metrics import Metrics
from pricegrid.service.rpc.response import Response

_FOREVER_S = 1e9  # gRPC reports at least this much where a call has no deadline

_log = logging.getLogger(__name__)


class CountingPool(ThreadPoolExecutor):
    """A thread pool that knows how many of its tasks wait for a thread."""

    def __init__(self, threads: int) -> None:
        super().__init__(max_workers=threads, thread_name_prefix="pricegrid")
        self.waiting: Callable[[], int] = self._work_queue.qsize
        """The number of tasks submitted and not started."""


class StreamPool(ThreadPoolExecutor):
    """A thread pool for streams, each of which holds a thread as long as it lasts, with a limit on their number."""

    def __init__(self, streams: int, name: str) -> None:
        super().__init__(max_workers=streams + SPARE_THREADS, thread_name_prefix=name)
        self._free = threading.Semaphore(streams)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Holds a slot for one stream; raises TOO_MANY_STREAMS when all are taken."""
        if not self._free.acquire(blocking=False):
            raise RequestRefusedError(
                Reason.TOO_MANY_STREAMS, f"too many streams; ask again in {PUSHBACK_MS} ms"
            )
        try:
            yield
        finally:
            self._free.release()


class ThreadPools:
    """Thread pools apart from that of reads: neither a slow writer nor a watching caller delays a read."""

    def __init__(
        self,
        *,
        mutation_threads: int = MUTATION_THREADS,
        publish_streams: int = PUBLISH_STREAMS_MAX,
        watches: int = WATCHES_MAX,
    ) -> None:
        self.mutations = CountingPool(mutation_threads)
        self.publishing = StreamPool(publish_streams, "pricegrid-publish")
        self.watching = StreamPool(watches, "pricegrid-watch")


class Handlers:
    """Handles the calls of `services`: the methods of each service, by name.

    While more than `in_flight_max` requests wait for a thread, the request at the head of the queue is refused as
    OVERLOADED: it has waited longest, so its caller is the likeliest to have given up.
    """

    def __init__(
        self,
        services: Services,
        metrics: Metrics,
        waiting: Callable[[], int],
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
        pools: ThreadPools | None = None,
    ) -> None:
        self._services = services
        self._metrics = metrics
        self._waiting = waiting
        self._in_flight_max = in_flight_max
        self._pools = pools or ThreadPools()
        self._stopping = threading.Event()

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
        match self._services[service][name]:
            case Mutation(method):
                behavior = partial(self._mutate, name, method)
                behavior.experimental_thread_pool = self._pools.mutations
            case Ingest(ingest):
                behavior = partial(self._ingest, name, ingest)
                behavior.experimental_thread_pool = self._pools.publishing
            case Watch() as watch:
                behavior = partial(self._watch, name, watch)
                behavior.experimental_thread_pool = self._pools.watching
            case method:
                behavior = partial(self._answer, name, method)
        return cast("Callable[[Any, grpc.ServicerContext], Any]", behavior)

    def end_watches(self) -> None:
        """Ends the watch streams; their callers are told to connect to another server."""
        self._stopping.set()
        for methods in self._services.values():
            for method in methods.values():
                if isinstance(method, Watch):
                    method.wake()

    def _answer(self, name: str, method: Method, raw: bytes, context: grpc.ServicerContext) -> bytes:
        started_s = time.perf_counter()
        caller = _caller(context)
        try:
            if self._waiting() > self._in_flight_max:
                raise _overloaded()
            response = method(raw, caller)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller gets a status and we keep serving
            return self._refuse(name, error, started_s, context, caller.correlation_id)
        self._metrics.answered(name, response, time.perf_counter() - started_s)
        return response.raw

    def _mutate(self, name: str, method: Method, raw: bytes, context: grpc.ServicerContext) -> bytes:
        started_s = time.perf_counter()
        caller = _caller(context)
        try:
            if self._pools.mutations.waiting() > self._in_flight_max:
                raise _overloaded()
            response = method(raw, caller)
        except Exception as error:  # noqa: BLE001 -- as above
            return self._refuse(name, error, started_s, context, caller.correlation_id)
        self._metrics.answered(name, response, time.perf_counter() - started_s)
        return response.raw

    def _ingest(
        self,
        name: str,
        ingest: Callable[[Iterator[bytes], Caller], Response],
        messages: Iterator[bytes],
        context: grpc.ServicerContext,
    ) -> bytes:
        started_s = time.perf_counter()
        caller = _caller(context)
        try:
            with self._pools.publishing.slot():
                response = ingest(_received(messages), caller)
        except CallerGoneError as gone:
            _log.info("%s: the caller went away, correlation id %s", name, caller.correlation_id)
            raise gone.error from None  # gRPC's own error: it logs nothing
        except Exception as error:  # noqa: BLE001 -- as above
            return self._refuse(name, error, started_s, context, caller.correlation_id)
        self._metrics.answered(name, response, time.perf_counter() - started_s)
        return response.raw

    def _watch(self, name: str, watch: Watch, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        started_s = time.perf_counter()
        caller = _caller(context)

        def is_over() -> bool:
            return self._stopping.is_set() or not context.is_active()

        try:
            with self._pools.watching.slot():
                context.add_callback(watch.wake)
                is_first = True
                for message in watch.responses(raw, caller, is_over):
                    if is_first:
                        self._metrics.answered(name, Response(b""), time.perf_counter() - started_s)
                        is_first = False
                    yield message
                if self._stopping.is_set():
                    raise RequestRefusedError(Reason.SERVER_STOPPING, "the server stops; ask another one")
        except Exception as error:  # noqa: BLE001 -- as above
            self._refuse(name, error, started_s, context, caller.correlation_id)

    def _refuse(
        self,
        name: str,
        error: Exception,
        started_s: float,
        context: grpc.ServicerContext,
        correlation_id: str,
    ) -> NoReturn:
        refused = refusal(error)
        if refused.reason is Reason.INTERNAL_ERROR:
            _log.error("%s failed, correlation id %s", name, correlation_id, exc_info=error)
        self._metrics.refused(name, refused.reason, time.perf_counter() - started_s)
        abort(context, refused, correlation_id)


class CallerGoneError(Exception):
    """The caller of a stream went away before its end; `error` is the one that gRPC raised."""

    def __init__(self, error: grpc.RpcError) -> None:
        super().__init__("the caller went away")
        self.error = error


def _received(messages: Iterator[bytes]) -> Iterator[bytes]:
    """The messages as they arrive; raises CallerGoneError when gRPC says that the caller went away."""
    try:
        yield from messages
    except grpc.RpcError as error:
        raise CallerGoneError(error) from error


def _method_handler(method: AnyMethod, behavior: Callable[..., Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    match method:
        case Ingest():
            return grpc.stream_unary_rpc_method_handler(behavior)
        case Watch():
            return grpc.unary_stream_rpc_method_handler(behavior)
        case _:
            return grpc.unary_unary_rpc_method_handler(behavior)


def _overloaded() -> RequestRefusedError:
    return RequestRefusedError(Reason.OVERLOADED, f"too many requests; ask again in {PUSHBACK_MS} ms")


def _caller(context: grpc.ServicerContext) -> Caller:
    left_s = context.time_remaining()
    deadline_s = time.monotonic() + left_s if left_s is not None and left_s < _FOREVER_S else None
    return Caller(correlation_id_of(context.invocation_metadata()), deadline_s=deadline_s)


def abort(context: grpc.ServicerContext, refused: RequestRefusedError, correlation_id: str) -> NoReturn:
    """Ends the call with the refusal's status."""
    context.set_trailing_metadata(trailing_metadata(refused, correlation_id))
    context.abort(refused.code, refused.message)
    raise AssertionError("abort raises")
