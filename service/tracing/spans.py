"""Spans of the calls of this process, made with OpenTelemetry's SDK where a call is traced, and only there.

gRPC's interceptor of OpenTelemetry costs a call that is not traced as much as answering a small one. So each method is
wrapped here, outside its handler: whoever is not traced pays for a look at their metadata and a draw.

A span has no token, no customer and no price: what was called, how long it took, how it ended, and the correlation id.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import rpc_attributes as rpc  # where they still are
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pricegrid.service.codec.request import top_level_tags
from pricegrid.service.logs import TRACE
from pricegrid.service.rpc.later import Later

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from pricegrid.service.errors import RequestRefusedError
    from pricegrid.service.rpc.call import Caller

CORRELATION_ID: Final = "pricegrid.correlation_id"
LINES: Final = "pricegrid.lines"
PARENT, STATE = "traceparent", "tracestate"
"""The headers of W3C's Trace Context."""
_FLAGS: Final = 54
"""Where in `PARENT` the digit is whose lowest bit says that the trace goes on."""
_UNSAMPLED: Final = frozenset("02468ace")
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Which statuses are errors of the server, by OpenTelemetry's conventions for RPC; others are the caller's."""
_NEW: Final[Context] = contexts.Context()
_END: Final = object()
_W3C: Final = TraceContextTextMapPropagator()
Metadata = Iterable[tuple[str, str | bytes]]
Behavior = Callable[..., Any]


class Sampling:
    """Decides which calls are traced."""

    def __init__(
        self, ratio: float, *, follows_caller: bool, chance: Callable[[], float] = random.random
    ) -> None:
        self._ratio = ratio
        self._follows_caller = follows_caller
        self._chance = chance

    def chosen(self, plain: Behavior, traced: Callable[[Context, Any, Any], Any]) -> Behavior:
        """`plain`, but for calls that have a span: `traced` carries those out, in the context of OpenTelemetry in which
        their span begins. Asked of each call, so all of it is in one function, and nothing is looked up twice."""
        ratio, chance, goes_on = self._ratio, self._chance, self._goes_on

        def call(raw: Any, context: Any) -> Any:
            metadata = context.invocation_metadata() or ()
            for key, value in metadata:
                if key == PARENT:
                    begun = goes_on(value, metadata)
                    break
            else:
                begun = _NEW if chance() < ratio else None
            return plain(raw, context) if begun is None else traced(begun, raw, context)

        return call

    def _goes_on(self, parent: str | bytes, metadata: Metadata) -> Context | None:
        if self._follows_caller and parent[_FLAGS : _FLAGS + 1] in _UNSAMPLED:
            return None  # most calls of who traces some: decided before anything is read
        carried = {key: str(value) for key, value in reversed(list(metadata)) if key in {PARENT, STATE}}
        found = _W3C.extract(carried, _NEW)
        is_known = trace.get_current_span(found).get_span_context().is_valid
        if not (is_known and self._follows_caller) and self._chance() >= self._ratio:
            return None
        return found


class Traces:
    """Makes the spans of this process."""

    def __init__(self, tracer: trace.Tracer, sampling: Sampling) -> None:
        self._tracer = tracer
        self._sampling = sampling

    def unary(self, name: str, tag: int, plain: Behavior, traced: Behavior) -> Behavior:
        """A behavior of gRPC with one response: `plain`, or `traced` in a span. `tag`: of the lines of its request, 0
        for none."""
        return self._sampling.chosen(plain, partial(self._run, name, tag, traced))

    def stream(self, name: str, plain: Behavior, traced: Behavior) -> Behavior:
        """A behavior with a stream of responses; its span ends with the first of them, for it may last for hours."""

        def run(begun: Context, raw: Any, context: Any) -> Iterator[bytes]:
            return self._stream(name, begun, traced(raw, context))

        return self._sampling.chosen(plain, run)

    def is_of(self, caller: Caller) -> None:
        """The call that this thread carries out is of this caller."""
        trace.get_current_span().set_attribute(CORRELATION_ID, caller.correlation_id)

    def refused(self, refused: RequestRefusedError, caller: Caller) -> None:
        """The call that this thread carries out ends so; its message may name what a span must not."""
        span = trace.get_current_span()
        self.is_of(caller)
        span.set_attribute(rpc.RPC_RESPONSE_STATUS_CODE, refused.code.name)
        span.set_attribute(ERROR_TYPE, str(refused.reason))
        if refused.code in _SERVER_FAULTS:
            span.set_status(StatusCode.ERROR)

    @contextlib.contextmanager
    def part(self, name: str, attributes: Mapping[str, str | int], kind: SpanKind) -> Iterator[Span]:
        """A span of a part of what this thread or task does for a traced call; of nothing, if it does that for none."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield trace.INVALID_SPAN
            return
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                span.set_attribute(ERROR_TYPE, type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def _run(self, name: str, tag: int, traced: Behavior, begun: Context, raw: Any, context: Any) -> Any:
        span = self._server_span(name, begun)
        if tag and isinstance(raw, bytes):
            span.set_attribute(LINES, sum(each == tag for each in top_level_tags(raw)))
        return self._within(span, traced, raw, context)

    def _within(self, span: Span, behavior: Behavior, raw: Any, context: Any) -> Any:
        """Carries a call out in its span, which ends with it, here or in another thread."""
        with _current(span):
            try:
                answer = behavior(raw, context)
            except Later as later:
                later.behavior = partial(self._within, span, later.behavior)
                context.add_callback(partial(_end, span))  # whoever leaves meanwhile is not answered at all
                raise
            except BaseException:
                _end(span)
                raise
        span.set_attribute(rpc.RPC_RESPONSE_STATUS_CODE, grpc.StatusCode.OK.name)
        _end(span)
        return answer

    def _stream(self, name: str, begun: Context, messages: Iterator[bytes]) -> Iterator[bytes]:
        span = self._server_span(name, begun)
        with _current(span):
            try:
                first = next(messages, _END)
            finally:
                _end(span)
        if first is not _END:
            yield first  # type: ignore[misc]  # it is one of them
            yield from messages

    def _server_span(self, name: str, begun: Context) -> Span:
        return self._tracer.start_span(
            name,
            context=begun,
            kind=SpanKind.SERVER,
            attributes={rpc.RPC_SYSTEM_NAME: "grpc", rpc.RPC_METHOD: name},
            record_exception=False,
            set_status_on_exception=False,
        )


def headers() -> dict[str, str]:
    """What tells another process which span its work belongs to; nothing outside a span."""
    carried: dict[str, str] = {}
    _W3C.inject(carried)
    return carried


@contextlib.contextmanager
def _current(span: Span) -> Iterator[None]:
    """In this thread: lines of the log name the trace, and spans that begin are parts of this one."""
    within = contexts.attach(trace.set_span_in_context(span, _NEW))
    logged = TRACE.set(trace.format_trace_id(span.get_span_context().trace_id))
    try:
        yield
    finally:
        TRACE.reset(logged)
        contexts.detach(within)


def _end(span: Span) -> None:
    if span.is_recording():
        span.end()
