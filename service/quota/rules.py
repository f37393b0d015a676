"""What callers may use: the `[[limit]]` tables of the configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second, and so many at once after a pause."""

    per_s: int
    burst: int

    @property
    def cost_ns(self) -> int:
        """What one costs, so that no more come in a second."""
        return -(-1_000_000_000 // self.per_s)

    @property
    def ahead_ns(self) -> int:
        """How far ahead of their rate they may be: what a burst costs."""
        return self.burst * self.cost_ns


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A `[[limit]]`: what each caller of a role, one caller, or whoever no other rule is for may use."""

    role: str = ""
    subject: str = ""
    """As in `Identity.subject`."""
    calls: Rate | None = None
    lines: Rate | None = None
