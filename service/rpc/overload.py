"""What a call is refused for because of all others: too much waits for a pool, or a caller holds too many streams."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import IN_FLIGHT_MAX, PUSHBACK_MS

TARGET_S: Final = 0.005
"""How long a call may wait for a thread under overload: a quote of one line over gRPC takes a tenth of it."""
INTERVAL_S: Final = 0.1
"""How long nobody may have waited less before it is overload: longer than a burst of a page with many prices."""
ROOM: Final = 3
"""How many may wait for each thread, however long: a client that asks for a few pages at once is no overload."""
PUSHBACK_MIN_MS: Final = 10
"""Nobody comes back sooner: a round trip and a time slice of the scheduler."""
PUSHBACK_MAX_MS: Final = 5_000
"""Nobody stays away longer: a queue that long was emptied by refusing."""
_WEIGHT: Final = 1 / 32
"""Of the newest in a running mean."""
_BYTES_MIN: Final = 1_024
"""Of a request whose time says how long a byte takes: of a small one most is spent on the call itself."""
_EASE: Final = 1.001
"""How fast a least figure is forgotten, for each call."""


class _Turn(threading.local):
    waited_s = 0.0


class Queue:
    """The calls that wait for the threads of a pool, and which of them are refused when there is more to do than can be
    done. Safe to use from many threads: what they lose of each other's figures does no harm.

    The least wait of an interval tells a burst from overload (controlled delay, CoDel): after a burst somebody soon
    finds a free thread, under overload even the luckiest call has waited. While that is so, calls that have waited
    longer than the target are refused at their turn, which takes a fraction of what an answer takes, until no more
    than ROOM wait for each thread: on a machine that is busy with other things a call waits long though nobody is
    before it, and refusing it helps nobody. A call whose time is over, or too short for what it asks, is refused as
    well: nobody would read the answer.

    `room`, if it is given, stands for ROOM times the threads. `waiting` counts the calls that wait; beyond `most`, the
    call at the head is refused, which has waited longest. With `sheds` False they are refused for nothing else: a
    change is carried out though its caller may have gone, and to be told that it was not costs them more than to wait.
    """

    def __init__(
        self,
        waiting: Callable[[], int] = lambda: 0,
        threads: int = 1,
        *,
        most: int = IN_FLIGHT_MAX,
        room: int | None = None,
        sheds: bool = True,
        has_come: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.waiting = waiting
        """How many calls have no thread yet."""
        self._threads = threads
        self.room = ROOM * threads if room is None else room
        """While no more wait, none is refused for how long it has waited."""
        self._most = most
        self._sheds = sheds
        self.defers = False
        """Whether the pool takes a call to where big requests are answered (`Later`)."""
        self._has_come = has_come
        """To be told that the message of this thread's call is there."""
        self._clock_s = clock_s
        self._jitter = jitter
        self._turn = _Turn()
        self._least_wait_s = 0.0
        self._interval_ends_s = 0.0
        self._is_overloaded = False
        self._call_s = 0.0
        """The mean time of a call."""
        self._byte_s = 0.0
        """The least time of a call for each byte of its request."""

    def begin(self, arrived_s: float) -> None:
        """A call that came then has got its turn."""
        now_s = self._clock_s()
        waited_s = now_s - arrived_s
        self._turn.waited_s = waited_s
        if now_s < self._interval_ends_s:
            self._least_wait_s = min(self._least_wait_s, waited_s)
        else:
            # After a pause in which nobody asked, the interval before it says nothing.
            is_recent = now_s < self._interval_ends_s + INTERVAL_S
            self._is_overloaded = is_recent and self._least_wait_s > self.target_s
            self._interval_ends_s = now_s + INTERVAL_S
            self._least_wait_s = waited_s

    def sheds_now(self, arrived_s: float) -> bool:
        """Whether `check` would refuse a call that came then and has its turn now, since others wait as well."""
        waiting = self.waiting()
        if waiting <= self.room or not self._sheds:
            return waiting > self._most
        return waiting > self._most or (self._is_overloaded and self._clock_s() - arrived_s > self.target_s)

    def refusal(self) -> RequestRefusedError | None:
        """How a large request that comes now is refused before it is read; None: it may come. It would wait behind so
        many others that most of them are refused."""
        waiting = self.waiting()
        if waiting > self._most:
            return self.overloaded("queue")
        if self._sheds and self._is_overloaded and waiting > self.room:
            return self.overloaded("waiting")
        return None

    @property
    def target_s(self) -> float:
        """How long a call may wait under overload: where calls take long, as long as one takes."""
        return max(TARGET_S, self._call_s)

    def check(self, deadline_s: float | None, request_bytes: int) -> None:
        """Before a call is answered: raises OVERLOADED and DEADLINE_EXCEEDED. `deadline_s` is of the same clock."""
        self._has_come()
        waiting = self.waiting()
        if waiting > self._most:
            raise self.overloaded("queue")
        if not self._sheds:
            return
        if self._is_overloaded and waiting > self.room and self._turn.waited_s > self.target_s:
            raise self.overloaded("waiting")
        if deadline_s is None:
            return
        left_s = deadline_s - self._clock_s()
        if left_s <= self._byte_s * request_bytes:
            if (
                left_s > 0
            ):  # what was measured may have been of another kind: soon one is let in, and measured
                self._byte_s /= 2
            raise too_late()

    def answered(self, seconds: float, request_bytes: int) -> None:
        """A call was answered in that time."""
        self._call_s += (seconds - self._call_s) * _WEIGHT
        if request_bytes >= _BYTES_MIN:
            byte_s = seconds / request_bytes
            self._byte_s = min(byte_s, self._byte_s * _EASE or byte_s)

    def overloaded(self, limit: str) -> RequestRefusedError:
        """The refusal of a call because of how many others there are."""
        retry_ms = pushback_ms((self.waiting() + 1) * self._call_s / self._threads, self._jitter())
        return RequestRefusedError(
            Reason.OVERLOADED,
            f"too many requests; ask again in {retry_ms} ms",
            retry_ms=retry_ms,
            limit=limit,
        )


def pushback_ms(drain_s: float, jitter: float) -> int:
    """When to come back: when what waits now is done, and up to as much later, or all would come at once."""
    return min(max(round(drain_s * (1 + jitter) * 1_000), PUSHBACK_MIN_MS), PUSHBACK_MAX_MS)


def too_late() -> RequestRefusedError:
    """The refusal of a call that can't be answered before its deadline."""
    return RequestRefusedError(
        Reason.DEADLINE_EXCEEDED, "no answer was possible before the deadline", limit="deadline"
    )


class Slots:
    """Places for streams. A quarter of them is for callers who hold none yet: no caller shuts out all others."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._shared = places - places // 4
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hold(self, subject: str) -> Iterator[None]:
        """Holds a place for one stream of a caller, '' for one who is not known; raises TOO_MANY_STREAMS."""
        with self._lock:
            taken = self._held.total()
            is_first = bool(subject) and not self._held[subject]
            if taken >= (self._places if is_first or not subject else self._shared):
                raise RequestRefusedError(
                    Reason.TOO_MANY_STREAMS,
                    f"too many streams; ask again in {PUSHBACK_MS} ms",
                    limit="streams",
                )
            self._held[subject] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[subject] -= 1
                if not self._held[subject]:
                    del self._held[subject]
