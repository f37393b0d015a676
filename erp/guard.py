"""Guards the ERP and its callers: deadline, circuit breaker, rate limit, bulkhead, retries (docs/erp.md).

A call passes them in that order. It may take what is left of the caller's deadline, and `timeout_ms` at most.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, TypeVar

from pricegrid.erp.breaker import Breaker
from pricegrid.erp.limits import Bulkhead, RateLimit, RetryBudget
from pricegrid.erp.observe import BreakerState, CallOutcome, CallSpans, ErpMetrics, NoCallSpans, Turned
from pricegrid.erp.protocol import (
    CircuitOpenError,
    ErpAnswerError,
    ErpBusyError,
    ErpError,
    ErpRefusedError,
    ErpTimeoutError,
    ErpUnavailableError,
    UnauthorisedError,
)
from pricegrid.erp.settings import GuardSettings

_log = logging.getLogger(__name__)

T = TypeVar("T")

TELLING_MS: Final = 100
"""A timeout shorter than this tells nothing about the ERP."""
PROBE_SLOWER_MAX: Final = 2
"""How many times failed trials double the interval of probes: a recovered ERP is noticed within ten seconds."""


class Guard:
    """Makes the calls of one ERP. Made and used in one event loop."""

    def __init__(
        self,
        settings: GuardSettings,
        ping: Callable[[float], Awaitable[None]],
        metrics: ErpMetrics,
        *,
        spans: CallSpans | None = None,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._ping = ping
        self._metrics = metrics
        self._spans = spans or NoCallSpans()
        self._clock = clock
        self._chance = chance
        self._breaker = Breaker(settings.failures_max, self._breaker_changed)
        self._rate = RateLimit(settings.calls_per_s, settings.burst, clock)
        self._bulkhead = Bulkhead(settings.concurrent_max, settings.waiting_max, clock)
        self._budget = RetryBudget(settings.retry_pct)
        self._probing: asyncio.Task[None] | None = None
        metrics.breaker(self._breaker.state)

    @property
    def state(self) -> BreakerState:
        """The state of the circuit breaker."""
        return self._breaker.state

    @property
    def has_room(self) -> bool:
        """Whether a low-priority call would not delay others. It may be the trial of a half-open breaker: else an ERP
        of which no caller has asked since it came back would not be compared with any more."""
        return self._breaker.lets_in and self._bulkhead.has_room

    def may_repeat(self) -> bool:
        """Takes a call from the retry budget; returns whether there was one."""
        return self._settings.retries_max > 0 and self._budget.take()

    async def call(
        self, work: Callable[[float], Awaitable[T]], deadline_s: float, *, first: bool = True
    ) -> T:
        """Makes a call; `work` gets the deadline of the attempt. Raises `ErpError`.

        Retries only failures from which the ERP may recover at once. Timeouts are not retried, because the rest of the
        deadline belongs to the caller.
        """
        retries = 0
        while True:
            try:
                return await self._attempt(work, deadline_s, first=first and not retries)
            except (ErpTimeoutError, ErpBusyError, CircuitOpenError):
                raise
            except ErpUnavailableError:
                pause_s = self._settings.backoff_ms / 1000 * (0.5 + self._chance())
                in_time = self._clock() + pause_s < deadline_s
                if retries >= self._settings.retries_max or not in_time or not self._budget.take():
                    raise
                retries += 1
                self._metrics.retried()
                await asyncio.sleep(pause_s)

    async def _attempt(self, work: Callable[[float], Awaitable[T]], deadline_s: float, *, first: bool) -> T:
        if self._clock() >= deadline_s:
            self._metrics.turned_away(Turned.DEADLINE)
            raise ErpTimeoutError("the deadline passed before the call")
        try:
            trial = self._breaker.enter()
        except CircuitOpenError:
            self._metrics.turned_away(Turned.CIRCUIT)
            raise
        try:
            await self._limited(self._rate.wait(deadline_s), Turned.RATE)
            slot = self._bulkhead.slot(deadline_s)
            await self._limited(slot.__aenter__(), Turned.BULKHEAD)
        except BaseException:
            self._breaker.abandoned(trial=trial)
            raise
        try:
            if first:
                self._budget.first_call()
            with self._spans.calling() as ended:
                return await self._measured(work, deadline_s, ended, trial=trial)
        finally:
            await slot.__aexit__(None, None, None)

    async def _limited(self, waiting: Awaitable[None], why: Turned) -> None:
        try:
            await waiting
        except ErpBusyError:
            self._metrics.turned_away(why)
            raise

    async def _measured(
        self,
        work: Callable[[float], Awaitable[T]],
        deadline_s: float,
        ended: Callable[[CallOutcome], None],
        *,
        trial: bool,
    ) -> T:
        started_s = self._clock()
        whole_s = self._settings.timeout_ms / 1000
        given_s = min(whole_s, deadline_s - started_s)
        outcome = CallOutcome.ABANDONED
        try:
            async with asyncio.timeout(given_s):
                answer = await work(started_s + given_s)
            outcome = CallOutcome.OK
        except TimeoutError:
            outcome = _timeout(given_s)
            raise ErpTimeoutError(f"no answer within {given_s:.3f} s") from None
        except ErpTimeoutError:
            outcome = _timeout(given_s)
            raise
        except ErpError as error:
            outcome = _outcome(error)
            raise
        else:
            return answer
        finally:
            self._metrics.called(outcome, self._clock() - started_s)
            ended(outcome)
            self._judge(outcome, trial=trial, whole=given_s >= whole_s)

    def _judge(self, outcome: CallOutcome, *, trial: bool, whole: bool) -> None:
        if outcome is CallOutcome.ABANDONED:
            self._breaker.abandoned(trial=trial)
        elif outcome in {CallOutcome.OK, CallOutcome.REFUSED}:
            self._breaker.succeeded(trial=trial)
        else:
            self._breaker.failed(trial=trial, alone=outcome is CallOutcome.TIMEOUT and whole)

    def _breaker_changed(self, state: BreakerState) -> None:
        self._metrics.breaker(state)
        if state is BreakerState.OPEN and (self._probing is None or self._probing.done()):
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        while self._breaker.state is BreakerState.OPEN:
            slower = 2 ** min(self._breaker.trials_failed, PROBE_SLOWER_MAX)
            await asyncio.sleep(self._settings.probe_ms / 1000 * slower * (0.75 + self._chance() / 2))
            timeout_s = self._settings.timeout_ms / 1000
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ping(self._clock() + timeout_s)
            except (ErpError, TimeoutError):
                self._metrics.probed(answered=False)
            except Exception:  # noqa: BLE001 -- whatever is wrong with the answer, probing goes on
                _log.exception("the ERP could not be probed")
                self._metrics.probed(answered=False)
            else:
                self._metrics.probed(answered=True)
                self._breaker.probe_answered()

    async def close(self) -> None:
        """Stops probing."""
        if self._probing is not None:
            self._probing.cancel()


def _timeout(given_s: float) -> CallOutcome:
    return CallOutcome.TIMEOUT if given_s * 1000 >= TELLING_MS else CallOutcome.ABANDONED


def _outcome(error: ErpError) -> CallOutcome:
    match error:
        case ErpBusyError():
            return CallOutcome.BUSY
        case ErpAnswerError():
            return CallOutcome.ANSWER
        case UnauthorisedError():
            return CallOutcome.UNAVAILABLE
        case ErpRefusedError():
            return CallOutcome.REFUSED
        case _:
            return CallOutcome.UNAVAILABLE
