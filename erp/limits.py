"""Limits on the calls of the ERP: rate, concurrency and retries."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pricegrid.erp.protocol import ErpBusyError


class RateLimit:
    """A token bucket: calls per second, with a burst after a pause.

    Why not aiolimiter: the wait must be known beforehand, so that a caller that would wait beyond its deadline is
    refused at once.
    """

    def __init__(self, calls_per_s: int, burst: int, clock: Callable[[], float]) -> None:
        self._calls_per_s = calls_per_s
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at_s = clock()

    async def wait(self, deadline_s: float) -> None:
        """Waits for a token. Raises ErpBusyError if there will be none before the deadline."""
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._calls_per_s)
        self._at_s = now_s
        pause_s = max(0.0, (1.0 - self._tokens) / self._calls_per_s)
        if now_s + pause_s >= deadline_s:
            raise ErpBusyError("the rate limit allows no call before the deadline")
        self._tokens -= 1.0  # below 0: tokens that waiting callers have reserved
        if pause_s:
            await asyncio.sleep(pause_s)


class Bulkhead:
    """Limits the concurrent calls, and those that wait for a slot."""

    def __init__(self, concurrent_max: int, waiting_max: int, clock: Callable[[], float]) -> None:
        self._slots = asyncio.Semaphore(concurrent_max)
        self._concurrent_max = concurrent_max
        self._waiting_max = waiting_max
        self._clock = clock
        self._waiting = 0
        self.running = 0

    @property
    def has_room(self) -> bool:
        """Whether a low-priority call would not delay others."""
        return not self._waiting and self.running * 2 < self._concurrent_max

    @contextlib.asynccontextmanager
    async def slot(self, deadline_s: float) -> AsyncIterator[None]:
        """Holds a slot. Raises ErpBusyError if too many calls wait, or if none becomes free in time."""
        if self._slots.locked() and self._waiting >= self._waiting_max:
            raise ErpBusyError("too many calls wait for the ERP")
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock())):
                await self._slots.acquire()
        except TimeoutError:
            raise ErpBusyError("no slot became free before the deadline") from None
        finally:
            self._waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()


class RetryBudget:
    """Limits retries to a share of first calls, which bounds the amplification of an overload."""

    def __init__(self, retry_pct: int, saved_max: int = 10) -> None:
        self._retry_pct = retry_pct
        self._saved_max = 100 * saved_max
        self._saved = 0

    def first_call(self) -> None:
        """Note the first attempt of a call."""
        self._saved = min(self._saved_max, self._saved + self._retry_pct)

    def take(self) -> bool:
        """Takes a retry from the budget; returns whether there was one."""
        if self._saved < 100:
            return False
        self._saved -= 100
        return True
