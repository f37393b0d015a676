"""What `service.quota.kernel` says, in plain integers: an account of one caller, charged by one process."""

from dataclasses import dataclass

from pricegrid.service.quota.rules import LimitRule, Rate


@dataclass
class Account:
    rule: LimitRule
    calls_due_ns: int = 0
    lines_due_ns: int = 0

    def charge(self, lines: int, now_ns: int) -> int:
        """0, or after how many ns a call is not refused for its calls (above 0) or its lines (below 0)."""
        lines_due, lines_wait = due(self.rule.lines, self.lines_due_ns, lines, now_ns)
        if lines_wait:
            return -lines_wait
        calls_due, calls_wait = due(self.rule.calls, self.calls_due_ns, 1, now_ns)
        if calls_wait:
            return calls_wait
        self.lines_due_ns, self.calls_due_ns = lines_due, calls_due
        return 0


def due(rate: Rate | None, due_ns: int, count: int, now_ns: int) -> tuple[int, int]:
    """(when the next one would be due, 0) or (unchanged, how long to wait)."""
    if rate is None:
        return due_ns, 0
    count = min(count, rate.burst)
    begins_ns = max(due_ns, now_ns)
    ends_ns = begins_ns + count * rate.cost_ns
    if ends_ns > now_ns + rate.ahead_ns:
        return due_ns, ends_ns - now_ns - rate.ahead_ns
    return ends_ns, 0
