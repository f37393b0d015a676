"""The thread pools of a worker: reads, big reads, changes, and two kinds of streams, none of which delays another."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar, cast

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import (
    MUTATION_THREADS,
    PUBLISH_STREAMS_MAX,
    SPARE_THREADS,
    WATCHES_MAX,
)
from pricegrid.service.rpc.later import Later
from pricegrid.service.rpc.overload import Queue, Slots, pushback_ms
from pricegrid.service.rpc.unsent import Unsent

T = TypeVar("T")

OTHERS_THREADS: Final = 4
"""Of the health service, and of reflection: a check takes microseconds."""
_KINDS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
BIG_BYTES: Final = 32 * 1024
"""A request of more is big: some 1,400 lines, several milliseconds, twenty times what a small one takes."""
BIG_RUNNING: Final = 2
"""Big requests that a worker answers at a time: they compute without the interpreter's lock, each on a core."""
BIG_MOST: Final = 8
"""Big requests that run or wait."""

_log = logging.getLogger(__name__)


class CallPool(ThreadPoolExecutor):
    """A thread pool for calls of gRPC, which must send their message or make room for others (`Unsent`)."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(max_workers=threads, thread_name_prefix=name)
        self.unsent = Unsent(threads)

    def submit(self, task: Callable[..., T], /, *args: Any, **_: Any) -> "Future[T]":
        """As `ThreadPoolExecutor`, but for what it returns: a future costs a call as much as being looked up."""
        call = _Call(self, time.monotonic(), task, args)
        with self._shutdown_lock:
            if self._shutdown:
                raise RuntimeError("the pool is shut down")
            self._work_queue.put(cast("Any", call))
            self._adjust_thread_count()
        return cast("Future[T]", call)

    def begin(self, arrived_s: float) -> None:
        """A call that came then has got its thread."""


class CountingPool(CallPool):
    """A pool that knows how many of its calls wait for a thread, and how long they do."""

    def __init__(self, threads: int, *, sheds: bool = True) -> None:
        super().__init__(threads, "pricegrid")
        self.waiting: Callable[[], int] = self._work_queue.qsize
        """The number of calls that have no thread yet."""
        self.queue = Queue(self.waiting, threads, sheds=sheds, has_come=self.unsent.has_come)
        self.queue.defers = sheds
        self.begin = self.queue.begin  # type: ignore[method-assign]  # one function call less


class _Call:
    """A call in a pool, and what gRPC takes for the future of its task, of which it asks only to be told the end."""

    __slots__ = ("_args", "_arrived_s", "_callbacks", "_is_over", "_pool", "_task")

    def __init__(
        self, pool: CallPool, arrived_s: float, task: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self._pool = pool
        self._arrived_s = arrived_s
        self._task = task
        self._args = args
        self._callbacks: list[Callable[[Any], object]] = []
        self._is_over = False

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """As of a `Future`."""
        self._callbacks.append(callback)
        if self._is_over:
            self._tell()

    def run(self) -> None:
        """In its thread: waits for the message, then answers it."""
        pool = self._pool
        pool.begin(self._arrived_s)
        try:
            # as gRPC submits it: the function, the call, its state, the handler and what waits for the message
            if len(self._args) > 1 and isinstance(self._args[1], cygrpc.BaseEvent):
                pool.unsent.holds(self._args[1].call, self._arrived_s)
            self._task(*self._args)
        except Later as later:
            later.submit(partial(self._go_on, later))
            return
        except BaseException:  # noqa: BLE001 -- the thread goes on with other calls
            _log.exception("a call failed")
        finally:
            pool.unsent.has_come()
        self._end()

    def _go_on(self, later: Later) -> None:
        answer, event, state, _, _, *codecs = self._args
        try:
            self._task(answer, event, state, later.behavior, lambda: later.raw, *codecs)
        finally:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        self._tell()

    def _tell(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:  # the other thread told it
                return
            callback(self)


class BigRequests:
    """Answers big requests, a few at a time and in their order, so that small ones find threads and cores."""

    def __init__(
        self,
        running: int = BIG_RUNNING,
        most: int = BIG_MOST,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._pool = ThreadPoolExecutor(running, thread_name_prefix="pricegrid-big")
        self._running = running
        self._most = most
        self._jitter = jitter
        self._lock = threading.Lock()
        self._count = 0
        self._call_s = 0.0

    def enter(self) -> None:
        """Takes a place for a request that is submitted next. Raises OVERLOADED when there are too many already."""
        with self._lock:
            if self._count < self._most:
                self._count += 1
                return
        retry_ms = pushback_ms(self._count * self._call_s / self._running, self._jitter())
        raise RequestRefusedError(
            Reason.OVERLOADED,
            f"too many big requests; ask again in {retry_ms} ms",
            retry_ms=retry_ms,
            limit="big",
        )

    def submit(self, task: Callable[[], object]) -> None:
        """Runs the task of a request that has a place, at its turn."""
        try:
            self._pool.submit(self._run, task)
        except RuntimeError:  # no thread for it: that of its caller
            self._run(task)

    def _run(self, task: Callable[[], object]) -> None:
        began_s = time.monotonic()
        try:
            task()
        except BaseException:  # noqa: BLE001 -- as above
            _log.exception("a big request failed")
        finally:
            with self._lock:
                self._count -= 1
                self._call_s += (time.monotonic() - began_s - self._call_s) / 8


class PooledServer:
    """A server to whoever adds handlers of their own (health, reflection): each service has a pool of its own, so that
    streams that say nothing hold no thread of reads."""

    def __init__(self, server: grpc.Server, threads: int = OTHERS_THREADS) -> None:
        self._server = server
        self._threads = threads

    def add_generic_rpc_handlers(self, _: "Sequence[grpc.GenericRpcHandler[Any, Any]]") -> None:
        """Nothing: the same methods are registered by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds the methods of a service."""
        pool = CallPool(self._threads, service)
        pooled = {
            name: handler._replace(
                **{kind: _in_pool(pool, getattr(handler, kind)) for kind in _KINDS if getattr(handler, kind)}
            )
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, pooled)])
        self._server.add_registered_method_handlers(service, pooled)  # type: ignore[attr-defined]


def _in_pool(pool: CallPool, behavior: Callable[..., Any]) -> Any:
    """A behavior of gRPC that runs in a pool; one that needs no thread while it waits still needs none."""

    def call(*args: Any) -> Any:
        pool.unsent.has_come()
        return behavior(*args)

    pooled: Any = call
    pooled.experimental_thread_pool = pool
    pooled.experimental_non_blocking = getattr(behavior, "experimental_non_blocking", False)
    return pooled


class ThreadPools:
    """Thread pools apart from that of reads: neither a slow writer nor a watching caller delays a read."""

    def __init__(
        self,
        *,
        mutation_threads: int = MUTATION_THREADS,
        publish_streams: int = PUBLISH_STREAMS_MAX,
        watches: int = WATCHES_MAX,
    ) -> None:
        self.big = BigRequests()
        self.mutations = CountingPool(mutation_threads, sheds=False)
        # a stream holds a thread as long as it lasts; spare threads tell who finds no place
        self.publishing = ThreadPoolExecutor(publish_streams + SPARE_THREADS, "pricegrid-publish")
        self.publish_places = Slots(publish_streams)
        self.watching = CallPool(watches + SPARE_THREADS, "pricegrid-watch")
        self.watch_places = Slots(watches)
