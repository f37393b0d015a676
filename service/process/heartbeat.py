"""Heartbeats, by which processes know that another one makes progress and is not merely alive.

A thread of each process sends them. It goes silent when the process is stopped, when something holds the GIL, and when
the main loop no longer turns.
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
    """To the supervisor: this process makes progress."""

    is_live_proven: bool = True
    """Of a worker: its live positions are proven to be those of the writer."""


class Reporter:
    """The pipe to the supervisor; safe to use from several threads."""

    def __init__(self, supervisor: Connection) -> None:
        self._supervisor = supervisor
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Send a message; raises OSError when the supervisor is gone."""
        with self._lock:
            self._supervisor.send(message)

    def beat(self, beat: Beat) -> None:
        """Send a heartbeat. Raises OSError when the supervisor is gone."""
        self.tell(beat)

    def tell(self, message: object) -> None:
        """Send a message unless the pipe is full: a supervisor that hangs must not block this process. Raises OSError
        when the supervisor is gone."""
        with self._lock:
            if select.select([], [self._supervisor], [], 0)[1]:
                self._supervisor.send(message)


class Pulse:
    """The thread that sends heartbeats. The main loop calls `turn`, and `busy` around work of unknown length.

    At each beat `show` is called with the time of the loop's last turn, even while it is busy or hangs.
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
        """Note a turn of the loop."""
        self._turned_us = self._clock_us()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The loop does work of unknown length, which does not count as hanging."""
        self._is_busy = True
        try:
            yield
        finally:
            self.turn()
            self._is_busy = False

    def beat(self) -> None:
        """Send one heartbeat, unless the loop hangs."""
        self._show(self._turned_us)
        if self._is_busy or self._clock_us() - self._turned_us < self._stall_us:
            self._report()

    def _run(self) -> None:
        while not self._stopping.wait(self._beat_s):
            try:
                self.beat()
            except OSError:  # the supervisor is gone; the loop notices by itself
                return
