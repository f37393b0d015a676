"""How the processes of a server know of each other that they are at work, and not only alive.

A process beats from a thread of its own, which needs no more than a turn of the interpreter: it goes silent when the
process is stopped, when something keeps the interpreter, and when the loop that does the work no longer turns.
"""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Self

from pricegrid.service.clock import host_us
from pricegrid.service.limits import BEAT_S, STALL_S


@dataclass(frozen=True, slots=True)
class Beat:
    """To the supervisor: this process is at work."""

    is_live_proven: bool = True
    """Of a worker: live positions are those that the writer shows."""


class Reporter:
    """The way to the supervisor, for several threads."""

    def __init__(self, supervisor: Connection) -> None:
        self._supervisor = supervisor
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Tell something; raises OSError when the supervisor is gone."""
        with self._lock:
            self._supervisor.send(message)

    def beat(self, beat: Beat) -> None:
        """Tell that this process is at work, unless nobody listens: that must not stop it."""
        with self._lock:
            if select.select([], [self._supervisor], [], 0)[1]:
                self._supervisor.send(beat)


class Pulse:
    """The thread that beats. `turn` is called by the loop that does the work, `busy` while that can't turn.

    `show` is told at each beat when the loop last turned, whatever it does meanwhile.
    """

    def __init__(
        self,
        report: Callable[[], None],
        show: Callable[[int], None] = lambda _: None,
        *,
        clock_us: Callable[[], int] = host_us,
        beat_s: float = BEAT_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._report = report
        self._show = show
        self._clock_us = clock_us
        self._beat_s = beat_s
        self._stall_us = int(stall_s * 1_000_000)
        self._turned_us = clock_us()
        self._is_busy = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pricegrid-pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()

    def turn(self) -> None:
        """The loop turns."""
        self._turned_us = self._clock_us()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The loop does one thing that takes as long as it takes, and is at work all the same."""
        self._is_busy = True
        try:
            yield
        finally:
            self.turn()
            self._is_busy = False

    def beat(self) -> None:
        """One beat."""
        self._show(self._turned_us)
        if self._is_busy or self._clock_us() - self._turned_us < self._stall_us:
            self._report()

    def _run(self) -> None:
        while not self._stopping.wait(self._beat_s):
            try:
                self.beat()
            except OSError:  # the supervisor is gone, which the loop finds out by itself
                return
