"""The circuit breaker: closed, open after failures in a row, half open once a probe was answered.

Own code of a page: pybreaker wraps calls of threads and lets a caller be the probe; here calls are coroutines, a
time-out weighs more than an error, and nobody's request is spent on finding out that the ERP still hangs.
"""

from collections.abc import Callable

from pricegrid.erp.observe import BreakerState
from pricegrid.erp.protocol import CircuitOpenError


class Breaker:
    """Decides whether the ERP is asked. Used by one event loop, so nothing here is locked."""

    def __init__(self, failures_max: int, changed: Callable[[BreakerState], None]) -> None:
        self._failures_max = failures_max
        self._changed = changed
        self._failures = 0
        self._trial_running = False
        self.state = BreakerState.CLOSED
        self.trials_failed = 0
        """Trials in a row that failed after an answered probe."""

    def enter(self) -> bool:
        """Asks to make a call: whether it is the trial of a half-open breaker. Raises CircuitOpenError."""
        if self.state is BreakerState.CLOSED:
            return False
        if self.state is BreakerState.OPEN or self._trial_running:
            raise CircuitOpenError("the ERP did not answer lately; it is being probed")
        self._trial_running = True
        return True

    def succeeded(self, *, trial: bool) -> None:
        """A call was answered."""
        self._failures = 0
        if trial:
            self._trial_running = False
            self.trials_failed = 0
            self._become(BreakerState.CLOSED)

    def failed(self, *, trial: bool, alone: bool = False) -> None:
        """A call failed; `alone`: that is enough to open."""
        self._failures += 1
        if trial:
            self._trial_running = False
            self.trials_failed += 1
            self._become(BreakerState.OPEN)
        elif self.state is BreakerState.CLOSED and (alone or self._failures >= self._failures_max):
            self._become(BreakerState.OPEN)

    def abandoned(self, *, trial: bool) -> None:
        """A call ended without saying anything of the ERP."""
        if trial:
            self._trial_running = False

    def probe_answered(self) -> None:
        """The ERP answers again: one call may try."""
        if self.state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)

    def _become(self, state: BreakerState) -> None:
        if state is not self.state:
            self.state = state
            self._failures = 0
            self._changed(state)
