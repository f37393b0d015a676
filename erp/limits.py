"""How much the ERP is asked: calls a second, calls at once, and calls made again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pricegrid.erp.protocol import ErpBusyError


class RateLimit:
    """So many calls a second, with a burst after a pause: a token bucket.

    Own code, because the wait must be known beforehand: who would wait beyond their deadline is refused at once
    (aiolimiter waits, whatever the deadline).
    """

    def __init__(self, calls_per_s: int, burst: int, clock: Callable[[], float]) -> None:
        self._calls_per_s = calls_per_s
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at_s = clock()

    async def wait(self, deadline_s: float) -> None:
        """Waits for a turn. Raises ErpBusyError when it would come after the deadline."""
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._calls_per_s)
        self._at_s = now_s
        pause_s = max(0.0, (1.0 - self._tokens) / self._calls_per_s)
        if now_s + pause_s >= deadline_s:
            raise ErpBusyError("the rate limit leaves no turn before the deadline")
        self._tokens -= 1.0  # below 0: turns that are given away already
        if pause_s:
            await asyncio.sleep(pause_s)


class Bulkhead:
    """So many calls at once, and so many that wait for a place."""

    def __init__(self, concurrent_max: int, waiting_max: int, clock: Callable[[], float]) -> None:
        self._places = asyncio.Semaphore(concurrent_max)
        self._concurrent_max = concurrent_max
        self._waiting_max = waiting_max
        self._clock = clock
        self._waiting = 0
        self.running = 0

    @property
    def has_room(self) -> bool:
        """Whether a call of little importance would be in nobody's way."""
        return not self._waiting and self.running * 2 < self._concurrent_max

    @contextlib.asynccontextmanager
    async def place(self, deadline_s: float) -> AsyncIterator[None]:
        """Holds a place. Raises ErpBusyError when too many wait, or none comes free in time."""
        if self._places.locked() and self._waiting >= self._waiting_max:
            raise ErpBusyError("too many calls wait for the ERP")
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock())):
                await self._places.acquire()
        except TimeoutError:
            raise ErpBusyError("no place came free before the deadline") from None
        finally:
            self._waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()


class RetryBudget:
    """Retries as a share of first calls: a storm is amplified by that share at most, however long it lasts."""

    def __init__(self, retry_pct: int, saved_max: int = 10) -> None:
        self._retry_pct = retry_pct
        self._saved_max = 100 * saved_max
        self._saved = 0

    def first_call(self) -> None:
        """A call was made for the first time."""
        self._saved = min(self._saved_max, self._saved + self._retry_pct)

    def take(self) -> bool:
        """Whether a call may be made again; it then counts."""
        if self._saved < 100:
            return False
        self._saved -= 100
        return True
