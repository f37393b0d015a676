"""The gRPC side of the services: one handler a method around the answer, with errors, overload and counting.

No interceptors: each costs as much as an answer. Messages come and go as bytes (see `wire`).
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import grpc

from service.errors import Reason, RequestRefusedError, refusal, trailing_metadata
from service.exchange import Answer, Caller
from service.limits import CORRELATION_ID_MAX, IN_FLIGHT_MAX, PUSHBACK_MS
from service.metrics import Metrics
from service.services import Services

CORRELATION_KEY = "x-correlation-id"

_log = logging.getLogger(__name__)


class CountingPool(ThreadPoolExecutor):
    """A thread pool that knows how many of its tasks wait for a thread."""

    def __init__(self, threads: int) -> None:
        super().__init__(max_workers=threads, thread_name_prefix="pricegrid")
        self._count_lock = threading.Lock()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Tasks handed over and not begun."""
        return self._waiting

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `ThreadPoolExecutor.submit`."""
        with self._count_lock:
            self._waiting += 1
        return super().submit(self._begin, fn, *args, **kwargs)

    def _begin(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._count_lock:
            self._waiting -= 1
        return fn(*args, **kwargs)


class Handlers:
    """Answers the calls of `services`: for each service its methods, by name.

    When more than `in_flight_max` requests wait for a thread, those whose turn it is are sent away until the queue is
    short again: they have waited longest, and their callers are the likeliest to have given up.
    """

    def __init__(
        self,
        services: Services,
        metrics: Metrics,
        waiting: Callable[[], int],
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        self._services = services
        self._metrics = metrics
        self._waiting = waiting
        self._in_flight_max = in_flight_max

    def register(self, server: grpc.Server) -> None:
        """Adds the methods to a server."""
        for service, methods in self._services.items():
            handlers = {
                method: grpc.unary_unary_rpc_method_handler(self.call(service, method)) for method in methods
            }
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
            server.add_registered_method_handlers(service, handlers)  # type: ignore[attr-defined]

    def call(self, service: str, method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        """What gRPC calls for a method."""
        return partial(self._answer, method, self._services[service][method])

    def _answer(
        self,
        method: str,
        answer: Answer,
        raw: bytes,
        context: grpc.ServicerContext,
    ) -> bytes:
        started_s = time.perf_counter()
        correlation_id = correlation_id_of(context.invocation_metadata())
        try:
            if self._waiting() > self._in_flight_max:
                raise RequestRefusedError(
                    Reason.OVERLOADED, f"too many requests; ask again in {PUSHBACK_MS} ms"
                )
            answered = answer(raw, Caller(correlation_id, time_left=context.time_remaining))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller gets a status and we keep serving
            refused = refusal(error)
            if refused.reason is Reason.INTERNAL_ERROR:
                _log.exception("%s failed, correlation id %s", method, correlation_id)
            self._metrics.refused(method, refused.reason, time.perf_counter() - started_s)
            return abort(context, refused, correlation_id)
        self._metrics.answered(method, answered, time.perf_counter() - started_s)
        return answered.raw


def abort(context: grpc.ServicerContext, refused: RequestRefusedError, correlation_id: str) -> NoReturn:
    """Ends the call with the status of a refusal."""
    context.set_trailing_metadata(trailing_metadata(refused, correlation_id))
    context.abort(refused.code, refused.message)
    raise AssertionError("abort raises")


def correlation_id_of(metadata: Sequence[tuple[str, str | bytes]] | None) -> str:
    """The caller's correlation id, or a new one if there is none that is fit to be logged."""
    for key, value in metadata or ():
        if key == CORRELATION_KEY and isinstance(value, str) and 0 < len(value) <= CORRELATION_ID_MAX:
            if value.isascii() and value.isprintable():
                return value
            break
    return uuid.uuid4().hex
