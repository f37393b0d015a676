"""The circuit breaker: closed, open after consecutive failures, half open after a successful probe.

Why not pybreaker: it wraps blocking calls and uses a caller's request as the probe. Here calls are coroutines, one
timeout weighs more than one error, and no request is spent on finding out that the ERP still hangs.
"""

from collections.abc import Callable

from pricegrid.erp.observe import BreakerState
from pricegrid.erp.protocol import CircuitOpenError


class Breaker:
    """Decides whether to call the ERP. Used by one event loop, so it needs no locks."""

    def __init__(self, failures_max: int, changed: Callable[[BreakerState], None]) -> None:
        self._failures_max = failures_max
        self._changed = changed
        self._failures = 0
        self._trial_running = False
        self.state = BreakerState.CLOSED
        self.trials_failed = 0
        """Consecutive trials that failed after a successful probe."""

    @property
    def lets_in(self) -> bool:
        """Whether the next call would be made."""
        return self.state is BreakerState.CLOSED or (
            self.state is BreakerState.HALF_OPEN and not self._trial_running
        )

    def enter(self) -> bool:
        """Call it before a call of the ERP; returns whether that is the trial of a half-open breaker. Raises
        CircuitOpenError."""
        if self.state is BreakerState.CLOSED:
            return False
        if not self.lets_in:
            raise CircuitOpenError("the circuit breaker is open; the ERP is being probed")
        self._trial_running = True
        return True

    def succeeded(self, *, trial: bool) -> None:
        """Note that a call succeeded."""
        self._failures = 0
        if trial:
            self._trial_running = False
            self.trials_failed = 0
            self._become(BreakerState.CLOSED)

    def failed(self, *, trial: bool, alone: bool = False) -> None:
        """Note that a call failed; `alone`: this failure alone opens the breaker."""
        self._failures += 1
        if trial:
            self._trial_running = False
            self.trials_failed += 1
            self._become(BreakerState.OPEN)
        elif self.state is BreakerState.CLOSED and (alone or self._failures >= self._failures_max):
            self._become(BreakerState.OPEN)

    def abandoned(self, *, trial: bool) -> None:
        """Note that a call ended without telling anything about the ERP."""
        if trial:
            self._trial_running = False

    def probe_answered(self) -> None:
        """Note that a probe succeeded: one call may try."""
        if self.state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)

    def _become(self, state: BreakerState) -> None:
        if state is not self.state:
            self.state = state
            self._failures = 0
            self._changed(state)
