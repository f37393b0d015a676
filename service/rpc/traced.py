"""A method of which some calls are traced: its behavior as gRPC has it, around two that differ in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pricegrid.service.rpc.call import AnyMethod, Caller, Ingest, Mutation, Watch
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.service.tracing.spans import Traces

_SAID = ("experimental_thread_pool", "refused_unread")
"""What a behavior says of itself."""


def traced_behavior(
    traces: Traces, path: str, tag: int, offered: AnyMethod, behavior_of: Callable[[AnyMethod], Any]
) -> Any:
    """The behavior of a method, by its path; `behavior_of` gives that of a method that nobody traces."""
    plain, told = behavior_of(offered), behavior_of(_told(traces, offered))
    is_stream = isinstance(offered, Watch)
    made: Any = traces.stream(path, plain, told) if is_stream else traces.unary(path, tag, plain, told)
    for name in _SAID:
        if hasattr(plain, name):
            setattr(made, name, getattr(plain, name))
    if hasattr(plain, "on_loop"):
        made.on_loop = traces.unary(path, tag, plain.on_loop, told.on_loop)
    return made


def _told(traces: Traces, offered: AnyMethod) -> AnyMethod:
    """The method, whose span is told who calls: that is known once they are let in."""
    match offered:
        case Watch(responses, wake):

            def watch(raw: bytes, caller: Caller, is_over: Callable[[], bool]) -> Iterator[bytes]:
                traces.is_of(caller)
                return responses(raw, caller, is_over)

            return Watch(watch, wake)
        case Ingest(call):
            return Ingest(_of_caller(traces, call))
        case Mutation(call):
            return Mutation(_of_caller(traces, call))
        case method:
            return _of_caller(traces, method)


def _of_caller(
    traces: Traces, method: Callable[[Any, Caller], Response]
) -> Callable[[Any, Caller], Response]:
    def call(raw: Any, caller: Caller) -> Response:
        traces.is_of(caller)
        return method(raw, caller)

    return call
