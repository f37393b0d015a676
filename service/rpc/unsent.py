"""Calls that hold a thread of a pool and do not send their message.

gRPC gives a call its thread when the headers have come, and the thread waits for the message. A caller who sends
headers alone, or a byte a second, so takes a thread for as long as they like, and a few of them would take all. While
they hold half of a pool, those of them are ended that came `PATIENCE_S` ago; fewer are left alone.

A message that is there reaches its thread at once, unless this process gets no turn. So a call is late only when it was
seen without one `LOOKS` times: a process that gets no turn does not look either.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PATIENCE_S: Final = 1.0
"""A message comes with its headers or right behind them; a lost packet is sent again within this time."""
LOOK_S: Final = 0.05
LOOKS: Final = 4
REPEAT_LOG_S: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Held:
    call: Any
    arrived_s: float
    looks: int = 0


class Unsent:
    """The calls of a pool of so many threads whose message has not come. Safe to use from many threads."""

    def __init__(
        self,
        threads: int,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most = max(1, threads // 2)
        self._clock_s = clock_s
        self._sleep = sleep
        self._held: dict[int, _Held] = {}
        """By thread."""
        self._lock = threading.Lock()
        self._is_watched = False
        self._logged_s = -REPEAT_LOG_S

    def holds(self, call: Any, arrived_s: float) -> None:
        """This thread waits for the message of a call of gRPC, which has `cancel`; `arrived_s` is of the clock."""
        self._held[threading.get_ident()] = _Held(call, arrived_s)
        if len(self._held) >= self._most and not self._is_watched:
            self._watch()

    def has_come(self) -> None:
        """The message for which this thread waited is there, or the call is over."""
        self._held.pop(threading.get_ident(), None)

    def look(self) -> int:
        """Ends the calls whose time is over; returns how many."""
        now_s = self._clock_s()
        late = []
        for thread, each in list(self._held.items()):
            each.looks += 1
            if (
                each.looks >= LOOKS
                and now_s - each.arrived_s >= PATIENCE_S
                and self._held.get(thread) is each
            ):
                late.append((thread, each))
        for thread, each in late:
            if self._held.get(thread) is each:
                del self._held[thread]
            with contextlib.suppress(Exception):  # a call that is over already: the others are looked at
                each.call.cancel()
        if late and now_s - self._logged_s >= REPEAT_LOG_S:
            self._logged_s = now_s
            _log.warning("ended %d calls that held half of the threads and sent no message", len(late))
        return len(late)

    def _watch(self) -> None:
        with self._lock:
            if self._is_watched:
                return
            self._is_watched = True
        try:
            threading.Thread(target=self._run, name="pricegrid-unsent", daemon=True).start()
        except RuntimeError:  # no more threads: the next call tries again
            self._is_watched = False

    def _run(self) -> None:
        while len(self._held) >= self._most:
            self._sleep(LOOK_S)
            self.look()
        with self._lock:
            self._is_watched = False
        if len(self._held) >= self._most:  # one came since the last look
            self._watch()
