"""Group commit: requests that wait for the writer at the same time are made durable together.

    caller ─┐                    ┌─ round: each is worked out ─▶ one call of the cache ─▶ shown ─▶ each answered
    caller ─┼─ queue ─▶ leader ──┤
    caller ─┘                    └─ what met a conflict, or has to see others first: another round

The first that comes when nobody leads does: it takes all that wait, works until each has its answer or its refusal, and
lets the first of those that have come meanwhile lead. That one waits a moment for the others of the group before, as
long as they come; who has been alone waits for nobody.
A request is answered when its own change is durable, and refused by itself. What is worked out is worked out on what is
durable, less the stock that others of the same round take; changes that meet at a pair are one commit, since the later
one stands only if the earlier one does. Changes that don't meet are commits of their own: a conflict, or what becomes
of them when Redis fails over, concerns no other.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Final

from atp.rows import Pair
from service.errors import Reason, RequestRefusedError
from service.holding import Taken
from service.limits import COMMIT_TRIES_MAX, GATHER_S, GROUP_MAX, GROUP_PAIRS_MAX
from service.reserving import Worked

Lead = Callable[[list["Waiting"]], None]


class Waiting:
    """A request that waits for its answer."""

    __slots__ = ("_answer", "_error", "_wake", "name", "tries", "work")

    def __init__(self, name: Hashable, work: Callable[[Taken], Worked]) -> None:
        """`work` says what it comes to, behind what others take. Two of one `name` never go into the same round: the
        second has to see what became of the first."""
        self.name: Final = name
        self.work: Final = work
        self.tries = 0
        """Against other servers that were first."""
        self._wake = threading.Lock()
        self._wake.acquire()
        self._answer: Worked | None = None
        self._error: BaseException | None = None

    def may_try_again(self) -> bool:
        """Whether it may be worked out once more after another server was first; otherwise it is refused now."""
        self.tries += 1
        if self.tries >= COMMIT_TRIES_MAX:
            self.refuse(
                RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "others were faster each time; ask again")
            )
        return not self.is_done

    def wait(self) -> None:
        """Until it is done, or has to lead."""
        self._wake.acquire()

    def wake(self) -> None:
        """End its `wait`, now or when it comes to that."""
        self._wake.release()

    @property
    def is_done(self) -> bool:
        """Whether it has its answer or its refusal."""
        return self._answer is not None or self._error is not None

    def answer(self, worked: Worked) -> None:
        """It is done, and durable."""
        self._answer = worked

    def refuse(self, error: BaseException) -> None:
        """It is refused, or can't be done."""
        self._error = error

    def result(self) -> Worked:
        """The answer; raises what it was refused with."""
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise AssertionError("a leader leaves nobody without an answer")
        return self._answer


class Queue:
    """Requests in the order they came, and who leads them. `lock` guards what the leader works on."""

    def __init__(self, lock: "threading.RLock", lead: Lead) -> None:
        self._lock = lock
        self._lead = lead
        self._turn = threading.Lock()
        """Guards the two below."""
        self._waiting: deque[Waiting] = deque()
        self._is_led = False
        self._last = 0
        """How many were in the group before."""

    def run(self, waiting: Waiting) -> Worked:
        """Its answer, from whoever leads: perhaps this thread."""
        with self._turn:
            self._waiting.append(waiting)
            is_leader = not self._is_led
            self._is_led = True
        if not is_leader:
            waiting.wait()
        if not waiting.is_done:  # it is the first of those that wait
            self._lead_some()
        return waiting.result()

    def _lead_some(self) -> None:
        group: list[Waiting] = []
        try:
            self._let_others_come()
            with self._lock:
                with self._turn:
                    self._last = min(GROUP_MAX, len(self._waiting))
                    group += [self._waiting.popleft() for _ in range(self._last)]
                self._lead(group)
        except Exception as error:  # noqa: BLE001 -- each caller gets it
            _refuse_rest(group, error)
        finally:
            _refuse_rest(group, InterruptedError("the writer was stopped"))
            with self._turn:
                following = self._waiting[0] if self._waiting else None
                self._is_led = following is not None
            for each in group:
                each.wake()
            if following is not None:
                following.wake()

    def _let_others_come(self) -> None:
        """Those that were answered together are on their way with what they ask next: as long as any comes, the next
        is waited for, for a moment. Who has been alone waits for nobody."""
        seen = 0
        while seen < len(self._waiting) < self._last:
            seen = len(self._waiting)
            time.sleep(GATHER_S)


def _refuse_rest(group: Iterable[Waiting], error: BaseException) -> None:
    for each in group:
        if not each.is_done:
            each.refuse(error)


class Round:
    """The changes of a round, and what they take, as they are worked out one after the other."""

    def __init__(self) -> None:
        self.taken: Taken = {}
        self._names: set[Hashable] = set()
        self._pairs = 0
        self.changes: list[tuple[Waiting, Worked]] = []

    def is_too_early(self, waiting: Waiting) -> bool:
        """Whether it has to see what becomes of another of this round first."""
        return waiting.name in self._names

    def has_room(self, worked: Worked) -> bool:
        """Whether it may be made with this round: one always may."""
        return not self.changes or self._pairs + len(worked.touched) <= GROUP_PAIRS_MAX

    def add(self, waiting: Waiting, worked: Worked) -> None:
        """It is made with this round."""
        self._names.add(waiting.name)
        self._pairs += len(worked.touched)
        self.changes.append((waiting, worked))
        for pair, taken in worked.taken.items():
            self.taken.setdefault(pair, []).extend(taken)

    def that_meet(self) -> list[list[int]]:
        """The numbers of the changes, those together that stand or fall together."""
        return that_meet([(*worked.touched, *worked.behind) for _, worked in self.changes])


def that_meet(changes: Sequence[Collection[Pair]]) -> list[list[int]]:
    """The numbers of changes, those together that meet at a pair, directly or through others; all in order."""
    leader = list(range(len(changes)))

    def led_by(number: int) -> int:
        while leader[number] != number:
            number = leader[number]
        return number

    first_at: dict[Pair, int] = {}
    for number, pairs in enumerate(changes):
        for pair in pairs:
            one, other = sorted((led_by(first_at.setdefault(pair, number)), led_by(number)))
            leader[other] = one
    together: dict[int, list[int]] = {}
    for number in range(len(changes)):
        together.setdefault(led_by(number), []).append(number)
    return list(together.values())


def refuse_all(group: Iterable[Waiting], error: RequestRefusedError) -> None:
    """Refuse each, with an error of its own: each is raised in another thread."""
    for each in group:
        each.refuse(RequestRefusedError(error.reason, error.message, **error.metadata))
