"""Breaker, limits, retry budget and coalescing, with a clock and chance of the test's own."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic

import pytest

from pricegrid.erp.batching import batches_of
from pricegrid.erp.breaker import Breaker
from pricegrid.erp.coalesce import Coalescer, Failure
from pricegrid.erp.guard import PROBE_SLOWER_MAX, Guard
from pricegrid.erp.limits import Bulkhead, RateLimit, RetryBudget
from pricegrid.erp.observe import BreakerState, CallOutcome, NoErpMetrics, Turned
from pricegrid.erp.protocol import (
    CircuitOpenError,
    ErpAnswerError,
    ErpBusyError,
    ErpRefusedError,
    ErpTimeoutError,
    ErpUnavailableError,
    Refusal,
)
from pricegrid.erp.settings import GuardSettings

QUICK = GuardSettings(timeout_ms=150, probe_ms=10, backoff_ms=1, calls_per_s=10_000, burst=10_000)
PATIENT = replace(QUICK, timeout_ms=30_000)


class Counting(NoErpMetrics):
    """Metrics that a test can inspect."""

    def __init__(self) -> None:
        self.calls: Counter[CallOutcome] = Counter()
        self.turned: Counter[Turned] = Counter()
        self.states: list[BreakerState] = []
        self.retries = 0
        self.joined = 0

    def called(self, outcome: CallOutcome, seconds: float) -> None:
        self.calls[outcome] += 1

    def turned_away(self, why: Turned) -> None:
        self.turned[why] += 1

    def breaker(self, state: BreakerState) -> None:
        self.states.append(state)

    def retried(self) -> None:
        self.retries += 1

    def coalesced(self, lines: int) -> None:
        self.joined += lines


async def nothing(_: float) -> None:
    """A ping that succeeds."""


async def refuse_ping(_: float) -> None:
    raise ErpUnavailableError("gone")


def raising(error: Exception) -> Callable[[float], Awaitable[None]]:
    async def work(_: float) -> None:
        raise error

    return work


def in_a(seconds: float) -> float:
    return monotonic() + seconds


def standing() -> float:
    """A clock of whoever gives time without losing some of it before the call."""
    return 0.0


def attempt(guard: Guard, work, seconds: float = 5.0):
    """The answer, or the error that came instead."""

    async def run():
        try:
            return await guard.call(work, in_a(seconds))
        except Exception as error:  # noqa: BLE001
            return error

    return run()


# breaker


def test_failures_in_a_row_open_it_a_success_between_does_not():
    states: list[BreakerState] = []
    breaker = Breaker(3, states.append)

    for succeeds in (False, False, True, False, False):
        trial = breaker.enter()
        (breaker.succeeded if succeeds else breaker.failed)(trial=trial)
    assert states == []
    breaker.failed(trial=breaker.enter())

    assert states == [BreakerState.OPEN]
    with pytest.raises(CircuitOpenError):
        breaker.enter()


def test_after_an_answered_probe_one_call_may_try():
    breaker = Breaker(1, lambda _: None)
    breaker.failed(trial=breaker.enter())
    breaker.probe_answered()

    assert breaker.enter() is True
    with pytest.raises(CircuitOpenError):
        breaker.enter()
    breaker.failed(trial=True)
    assert (breaker.state, breaker.trials_failed) == (BreakerState.OPEN, 1)
    breaker.probe_answered()
    breaker.succeeded(trial=breaker.enter())
    assert (breaker.state, breaker.trials_failed, breaker.enter()) == (BreakerState.CLOSED, 0, False)


def test_a_trial_that_says_nothing_leaves_room_for_the_next():
    breaker = Breaker(1, lambda _: None)
    breaker.failed(trial=breaker.enter())
    breaker.probe_answered()

    breaker.abandoned(trial=breaker.enter())

    assert breaker.enter() is True


# limits


def test_the_rate_limit_gives_a_burst_then_one_at_a_time_and_refuses_late_turns():
    now = [0.0]

    async def run() -> list[object]:
        limit = RateLimit(calls_per_s=10, burst=2, clock=lambda: now[0])
        outcomes: list[object] = []
        for _ in range(3):
            try:
                await limit.wait(deadline_s=0.05)
                outcomes.append("turn")
            except ErpBusyError:
                outcomes.append("refused")
        now[0] += 0.1
        await limit.wait(deadline_s=now[0] + 0.01)
        outcomes.append("turn")
        return outcomes

    assert asyncio.run(run()) == ["turn", "turn", "refused", "turn"]


def test_the_bulkhead_holds_so_many_and_lets_so_many_wait():
    async def run() -> list[str]:
        bulkhead = Bulkhead(concurrent_max=1, waiting_max=1, clock=monotonic)
        release = asyncio.Event()
        told: list[str] = []

        async def hold(name: str, seconds: float) -> None:
            try:
                async with bulkhead.slot(in_a(seconds)):
                    told.append(f"{name} in")
                    await release.wait()
            except ErpBusyError as error:
                told.append(f"{name} {error}")

        first = asyncio.create_task(hold("first", 5))
        await asyncio.sleep(0)
        second = asyncio.create_task(hold("second", 5))
        await asyncio.sleep(0)
        await hold("third", 5)
        release.set()
        await asyncio.gather(first, second)
        release.clear()
        late = asyncio.create_task(hold("late", 5))
        await asyncio.sleep(0)
        await hold("impatient", 0.01)
        release.set()
        await late
        return told

    assert asyncio.run(run()) == [
        "first in",
        "third too many calls wait for the ERP",
        "second in",
        "late in",
        "impatient no slot became free before the deadline",
    ]


@pytest.mark.parametrize("retry_pct", [0, 10, 20, 100])
def test_the_retry_budget_is_a_share_of_first_calls(retry_pct):
    budget = RetryBudget(retry_pct)
    taken = 0
    for number in range(1, 1001):
        budget.first_call()
        taken += budget.take()
        assert taken * 100 <= number * retry_pct
    assert taken == 10 * retry_pct


# guard


def test_a_retry_storm_is_amplified_by_a_fifth_at_most():
    metrics = Counting()
    made = [0]

    async def failing(_: float) -> None:
        made[0] += 1
        raise ErpUnavailableError("500")

    async def run() -> None:
        settings = GuardSettings(
            failures_max=10**9, retries_max=5, backoff_ms=0, calls_per_s=10**6, burst=10**6, waiting_max=10**6
        )
        guard = Guard(settings, nothing, metrics)
        await asyncio.gather(*(attempt(guard, failing) for _ in range(500)))

    asyncio.run(run())

    assert 500 < made[0] <= 600
    assert metrics.retries == made[0] - 500


def test_a_time_out_opens_the_breaker_alone_and_is_not_retried():
    metrics = Counting()

    async def hang(_: float) -> None:
        await asyncio.sleep(30)

    async def run() -> object:
        guard = Guard(QUICK, refuse_ping, metrics)
        error = await attempt(guard, hang)
        await guard.close()
        return error, guard.state

    error, state = asyncio.run(run())

    assert isinstance(error, ErpTimeoutError)
    assert state is BreakerState.OPEN
    assert metrics.calls == {CallOutcome.TIMEOUT: 1}


def test_with_the_limits_it_has_by_default_the_breaker_opens_in_a_second_and_the_erp_is_found_in_ten():
    limits = GuardSettings()
    rarest_probe_ms = limits.probe_ms * 2**PROBE_SLOWER_MAX * 1.25

    assert limits.timeout_ms < 1_000, "one call that hangs opens it"
    assert rarest_probe_ms + limits.timeout_ms < 10_000
    assert limits.retry_pct <= 20, "a storm is amplified by 1.2 at most"


def test_a_caller_with_little_time_says_nothing_of_the_erp():
    metrics = Counting()

    async def hang(_: float) -> None:
        await asyncio.sleep(30)

    async def run() -> BreakerState:
        guard = Guard(QUICK, nothing, metrics, clock=standing)
        for _ in range(5):
            with pytest.raises(ErpTimeoutError):
                await guard.call(hang, 0.01)
        return guard.state

    assert asyncio.run(run()) is BreakerState.CLOSED
    assert metrics.calls == {CallOutcome.ABANDONED: 5}


def test_an_attempt_gets_no_more_time_than_the_caller_has():
    async def run() -> list[float]:
        guard = Guard(QUICK, nothing, NoErpMetrics(), clock=standing)
        given: list[float] = []

        async def look(until_s: float) -> None:
            given.append(until_s)

        await guard.call(look, 0.05)
        await guard.call(look, 60)
        return given

    assert asyncio.run(run()) == [0.05, 0.15]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ErpUnavailableError("500"), BreakerState.OPEN),
        (ErpAnswerError(Refusal.SCHEMA, "no JSON"), BreakerState.OPEN),
        (ErpBusyError("429"), BreakerState.OPEN),
        (ErpRefusedError("no such item"), BreakerState.CLOSED),
    ],
)
def test_what_counts_against_the_erp(error, state):
    async def run() -> BreakerState:
        guard = Guard(QUICK, refuse_ping, NoErpMetrics())
        for _ in range(3):
            await attempt(guard, raising(error))
        await guard.close()
        return guard.state

    assert asyncio.run(run()) is state


def test_probes_find_the_erp_again_and_one_trial_closes_the_breaker():
    metrics, rooms = Counting(), list[bool]()

    async def run() -> tuple[object, object, BreakerState]:
        back = asyncio.Event()

        async def look(_: float) -> None:
            rooms.append(guard.has_room)

        async def ping(_: float) -> None:
            if not back.is_set():
                raise ErpUnavailableError("gone")

        guard = Guard(QUICK, ping, metrics, chance=lambda: 0.5)
        for _ in range(3):
            await attempt(guard, raising(ErpUnavailableError("500")))
        turned = await attempt(guard, nothing)
        await look(0)
        back.set()
        while guard.state is BreakerState.OPEN:
            await asyncio.sleep(0)
        await look(0)
        answer = await attempt(guard, look)
        return turned, answer, guard.state

    turned, answer, state = asyncio.run(run())

    assert isinstance(turned, CircuitOpenError)
    assert (answer, state) == (None, BreakerState.CLOSED)
    assert rooms == [False, True, False], "a comparison may be the trial, one that is no other's"
    assert [each.name for each in metrics.states] == ["CLOSED", "OPEN", "HALF_OPEN", "CLOSED"]
    assert metrics.turned == {Turned.CIRCUIT: 1}


def test_a_probe_that_breaks_is_one_without_an_answer():
    metrics = Counting()

    async def run() -> BreakerState:
        probes = [0]

        async def ping(_: float) -> None:
            probes[0] += 1
            if probes[0] == 1:
                raise KeyError("currency")  # an answer of which nobody thought

        guard = Guard(QUICK, ping, metrics)
        for _ in range(3):
            await attempt(guard, raising(ErpUnavailableError("500")))
        while guard.state is BreakerState.OPEN:
            await asyncio.wait_for(asyncio.sleep(0), 5)
            assert not guard._probing.done() or guard.state is not BreakerState.OPEN, "nobody probes any more"
        return guard.state

    assert asyncio.run(run()) is BreakerState.HALF_OPEN


# coalescing


class Asked:
    """An ERP that doubles numbers, refuses 13 with its whole batch, breaks its adapter at 17, and can be held."""

    def __init__(self, settings: GuardSettings = PATIENT) -> None:
        self.batches: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.metrics = Counting()
        self.coalescer = Coalescer[int, int, int | str](
            Guard(settings, nothing, self.metrics, clock=standing),
            self.metrics,
            self.parts,
            self.ask,
            self.settle,
        )

    def parts(self, numbers) -> list[list[int]]:
        return [list(range(start, min(start + 4, len(numbers)))) for start in range(0, len(numbers), 4)]

    async def ask(self, numbers, _: float) -> list[int]:
        self.batches.append(list(numbers))
        await self.go.wait()
        if 13 in numbers:
            raise ErpRefusedError("13")
        if 17 in numbers:
            raise KeyError("price")
        return [2 * number for number in numbers if number != 99]

    def settle(self, number: int, reply: int | ErpAnswerError) -> int | str:
        return reply.reason.value if isinstance(reply, ErpAnswerError) else reply

    async def answers(self, *numbers: int, seconds: float = 5.0) -> list[object]:
        found: list = [None] * len(numbers)
        await self.coalescer.answers([(n, n) for n in numbers], seconds, standing, found)
        return [str(type(each.error).__name__) if isinstance(each, Failure) else each for each in found]


def test_equal_questions_wait_for_one_call():
    async def run() -> Asked:
        asked = Asked()
        asked.go.clear()
        waiting = [asyncio.create_task(asked.answers(1, 2)), asyncio.create_task(asked.answers(2, 3, 2))]
        while len(asked.batches) < 2:
            await asyncio.sleep(0)
        asked.go.set()
        assert await asyncio.gather(*waiting) == [[2, 4], [4, 6, 4]]
        return asked

    asked = asyncio.run(run())

    assert asked.batches == [[1, 2], [3]]
    assert asked.metrics.joined == 2


def test_a_call_that_its_caller_has_left_still_answers_who_waits():
    async def run() -> tuple[list[object], list[object], list[list[int]]]:
        asked = Asked()
        asked.go.clear()
        patient = asyncio.create_task(asked.answers(1, seconds=5))
        while not asked.batches:
            await asyncio.sleep(0)
        impatient = await asked.answers(1, seconds=0.01)
        asked.go.set()
        return impatient, await patient, asked.batches

    assert asyncio.run(run()) == (["ErpTimeoutError"], [2], [[1]])


def test_who_joined_a_call_with_a_shorter_deadline_asks_again():
    async def run() -> tuple[list[object], list[object], int]:
        asked = Asked()
        asked.go.clear()
        impatient = asyncio.create_task(asked.answers(1, seconds=0.05))
        while not asked.batches:
            await asyncio.sleep(0)
        patient = asyncio.create_task(asked.answers(1, seconds=5))
        short = await impatient
        while len(asked.batches) < 2 and not patient.done():  # the first call may end after who asked it
            await asyncio.sleep(0)
        asked.go.set()
        return short, await patient, len(asked.batches)

    assert asyncio.run(run()) == (["ErpTimeoutError"], [2], 2)


def test_one_refused_line_does_not_spoil_its_batch():
    async def run() -> tuple[list[object], int]:
        asked = Asked(GuardSettings(retry_pct=100, calls_per_s=10**6, burst=10**6))
        for number in range(20, 30):  # calls that earn what halving spends
            await asked.answers(number)
        before = len(asked.batches)
        return await asked.answers(11, 12, 13, 14), len(asked.batches) - before

    assert asyncio.run(run()) == ([22, 24, "ErpRefusedError", 28], 5)


def test_fewer_answers_than_questions_are_none():
    async def run() -> list[object]:
        return await Asked().answers(1, 99)

    assert asyncio.run(run()) == ["SCHEMA", "SCHEMA"]


def test_an_answer_that_breaks_its_adapter_is_refused_and_counts_against_the_erp():
    async def run() -> tuple[list[object], Asked]:
        asked = Asked()
        return await asked.answers(16, 17), asked

    answers, asked = asyncio.run(run())

    assert answers == ["SCHEMA", "SCHEMA"]
    assert asked.metrics.calls == {CallOutcome.ANSWER: 1}


def test_no_item_is_asked_twice_in_a_call_and_many_lines_take_no_longer_each():
    assert batches_of(["k", "k", "k", "j", "k"], ["A", "B", "A", "A", "C"], 3) == [[0, 1, 4], [2], [3]]
    assert batches_of(["k"] * 5, ["A", "B", "C", "D", "E"], 2) == [[0, 1], [2, 3], [4]]
    assert batches_of([], [], 2) == []


def test_no_question_is_no_call():
    async def run() -> tuple[list[object], list[list[int]]]:
        asked = Asked()
        return await asked.answers(), asked.batches

    assert asyncio.run(run()) == ([], [])
