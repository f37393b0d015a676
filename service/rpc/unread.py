"""Answers that callers do not read: gRPC keeps them in memory as long as the connection lives."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Protocol

from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import PUSHBACK_MS

UNREAD_MIN_BYTES: Final = 64 * 1024
"""Smaller answers are not counted: what a connection may have under way of them is bounded by its streams."""
UNREAD_CALLER_BYTES: Final = 64 * 1024 * 1024
"""Of one caller: as much as the largest answer."""
UNREAD_BYTES: Final = 256 * 1024 * 1024
"""Of all callers of a worker."""
UNREAD_S: Final = 60.0
"""How long an answer may take to be read: the largest at a megabyte a second."""


class Cancellable(Protocol):
    """The server's side of a call."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls `callback` at the end of the call; False if it has ended."""

    def cancel(self) -> object:
        """Ends the call."""


class Unread:
    """Big answers that were given and have not been read by their callers. Safe to use from many threads."""

    def __init__(
        self,
        *,
        caller_bytes: int = UNREAD_CALLER_BYTES,
        all_bytes: int = UNREAD_BYTES,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caller_bytes = caller_bytes
        self._all_bytes = all_bytes
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._held: dict[int, tuple[float, str, int, Any]] = {}
        """By a number that grows: (when it was given, to whom, bytes, its call)."""
        self._next = 0
        self._of: Counter[str] = Counter()
        self.total = 0
        """Bytes of all of them."""

    def check(self, subject: str) -> None:
        """Before a caller, '' for one not known, gets another answer: raises OVERLOADED while too much is unread."""
        if self.total > self._all_bytes or (subject and self._of[subject] > self._caller_bytes):
            raise RequestRefusedError(
                Reason.OVERLOADED,
                f"too many answers have not been read; read them, and ask again in {PUSHBACK_MS} ms",
                limit="unread",
            )

    def given(self, subject: str, size: int, context: Cancellable) -> None:
        """An answer of so many bytes is on its way to a caller, until the end of its call."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._held[number] = self._clock_s(), subject, size, context
            self._of[subject] += size
            self.total += size
        if not context.add_callback(lambda: self._ended(number)):
            self._ended(number)

    def end_old(self) -> int:
        """Ends the calls whose answers were not read for UNREAD_S; returns how many. Called from time to time."""
        before_s = self._clock_s() - UNREAD_S
        with self._lock:
            old = [(number, each[3]) for number, each in self._held.items() if each[0] < before_s]
        for number, context in old:
            context.cancel()
            self._ended(number)
        return len(old)

    def _ended(self, number: int) -> None:
        with self._lock:
            found = self._held.pop(number, None)
            if found is not None:
                _, subject, size, _ = found
                self.total -= size
                self._of[subject] -= size
                if not self._of[subject]:
                    del self._of[subject]
