"""The thread that talks to Redis. Callers submit work and wait on a future as long as they like.

A caller that gives up does not interrupt work that has begun; its result is dropped. Work that has not begun is
cancelled.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)

PAUSE_AFTER_ERROR_S: Final = 0.5


class Abandoned(Exception):  # noqa: N818 - it is not an error of the work
    """The caller's time budget ran out."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("begun" if begun else "not begun")
        self.begun = begun
        """Whether the work goes on, and may still take effect."""


class IoThread:
    """One thread that does work in the order of submission, and calls `idle` in between."""

    def __init__(self, name: str, idle: Callable[[], float]) -> None:
        """`idle` does periodic work and returns in how many seconds to call it again."""
        self._idle = idle
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._idle_at_s = 0.0
        self._woken = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Submit work."""
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise Abandoned(begun=False)
            self._work.append((future, work))
            self._wake.notify()
        return future

    def call(self, work: Callable[[], T], budget_s: float) -> T:
        """The result of work; raises Abandoned after the budget."""
        future = self.submit(work)
        try:
            return future.result(budget_s)
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()
            raise Abandoned(begun=not future.cancel()) from None

    def wake(self) -> None:
        """Call `idle` soon."""
        with self._wake:
            self._idle_at_s, self._woken = 0.0, True
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._work and not self._closed:
                    pause_s = self._idle_at_s - time.monotonic()
                    if pause_s <= 0:
                        break
                    self._wake.wait(pause_s)
                if self._closed and not self._work:
                    return
                item = self._work.popleft() if self._work else None
            # Callers come first, but must not starve the periodic work.
            if item is None or time.monotonic() > self._idle_at_s + PAUSE_AFTER_ERROR_S:
                self._do_idle()
            if item is not None:
                self._do(*item)

    def _do_idle(self) -> None:
        if self._closed:
            return
        self._woken = False
        try:
            pause_s = self._idle()
        except Exception:  # noqa: BLE001 -- whatever it is, the next turn may succeed
            _log.exception("unexpected error in the I/O thread")
            pause_s = PAUSE_AFTER_ERROR_S
        with self._wake:
            # If woken meanwhile, run again: the reason may have come too late for this run.
            self._idle_at_s = 0.0 if self._woken else time.monotonic() + pause_s

    @staticmethod
    def _do(future: "Future[Any]", work: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - passed on to the caller
            future.set_exception(error)

    def close(self, timeout_s: float) -> bool:
        """Finish the submitted work; returns whether that was possible in time."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
