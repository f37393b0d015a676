"""What an operator allows a load to change; apart from the gates, so that `--help` needs nothing else."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows, in per cent."""

    max_reject_pct: Decimal = Decimal(5)
    """Rejected rows of any table."""
    max_vanished_pct: Decimal = Decimal(20)
    """Rows of any table of the running snapshot that are gone."""
    max_change_pct: Decimal | None = None
    """How far the value of any entry may move; None: entries are not looked at."""
    max_sample_pct: Decimal = Decimal(5)
    """Sampled answers that may differ in one of the ways of `sample_change.KINDS`."""

    @property
    def sample_move_pct(self) -> Decimal:
        """How far a sampled price may move before it counts."""
        return SAMPLE_MOVE_PCT if self.max_change_pct is None else self.max_change_pct


SAMPLE_MOVE_PCT: Final = Decimal(50)
"""Unless the operator says how far a price may move."""

DEFAULT_LIMITS: Final = Limits()
