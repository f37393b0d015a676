"""The gRPC side of PricingService: one handler a method around the answer, with errors, overload and counting.

No interceptors: each costs as much as an answer. Messages come and go as bytes (see `wire`).
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn

import grpc

from pricegrid import v1
from service.errors import Reason, RequestRefusedError, refusal, trailing_metadata
from service.limits import CORRELATION_ID_MAX, IN_FLIGHT_MAX, PUSHBACK_MS
from service.metrics import Metrics
from service.pricing_service import Answered, Caller, PricingService

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


class PricingHandlers:
    """Answers the calls of `pricegrid.v1.PricingService`.

    When more than `in_flight_max` requests wait for a thread, those whose turn it is are sent away until the queue is
    short again: they have waited longest, and their callers are the likeliest to have given up.
    """

    def __init__(
        self,
        service: PricingService,
        metrics: Metrics,
        waiting: Callable[[], int],
        *,
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._waiting = waiting
        self._in_flight_max = in_flight_max

    def register(self, server: grpc.Server) -> None:
        """Adds the methods to a server."""
        handlers = {
            "PriceLines": grpc.unary_unary_rpc_method_handler(self.price_lines),
            "ExplainPrice": grpc.unary_unary_rpc_method_handler(self.explain_price),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(v1.PRICING_SERVICE, handlers)])
        server.add_registered_method_handlers(v1.PRICING_SERVICE, handlers)  # type: ignore[attr-defined]

    def price_lines(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        """The PriceLines call."""
        return self._answer("PriceLines", self._service.price_lines, raw, context)

    def explain_price(self, raw: bytes, context: grpc.ServicerContext) -> bytes:
        """The ExplainPrice call."""
        return self._answer("ExplainPrice", self._service.explain_price, raw, context)

    def _answer(
        self,
        method: str,
        answer: Callable[[bytes, Caller], Answered],
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
            answered = answer(raw, Caller(correlation_id))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller gets a status and we keep serving
            refused = refusal(error)
            if refused.reason is Reason.INTERNAL_ERROR:
                _log.exception("%s failed, correlation id %s", method, correlation_id)
            self._metrics.refused(method, refused.reason, time.perf_counter() - started_s)
            return abort(context, refused, correlation_id)
        self._metrics.answered(method, answered.status, time.perf_counter() - started_s)
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
