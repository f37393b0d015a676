"""A method that a server has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pricegrid.service.errors import RequestRefusedError
    from pricegrid.service.rpc.overload import Queue


@dataclass(frozen=True, slots=True, eq=False)
class ServedMethod:
    """A method, and how it is called."""

    path: str
    behavior: Callable[..., Any]
    on_loop: Callable[..., Any] | None
    """The same where nothing may wait."""
    refused_unread: Callable[[int], None] | None
    """To be told how many of its calls were refused by their headers."""
    pool: ThreadPoolExecutor
    takes_stream: bool
    gives_stream: bool
    calls_back: bool
    """Its stream needs no thread: it is given a function that sends."""
    decode: Callable[[bytes], Any] | None
    encode: Callable[[Any], bytes] | None


def busy(loop: Queue, method: ServedMethod) -> RequestRefusedError | None:
    """How a large request is refused that would wait for the loop, or for a thread of its method; None: it may come."""
    queues = (loop if method.on_loop is not None else None, getattr(method.pool, "queue", None))
    return next((found for queue in queues if queue is not None and (found := queue.refusal())), None)
