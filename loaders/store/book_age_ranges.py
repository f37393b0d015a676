"""The ranges in which books are counted by how long they are unchanged; imports nothing."""

from itertools import pairwise
from typing import Final

RANGE_ENDS_DAYS: Final = (1, 7, 30, 90, 365)
AGE_RANGES: Final = (
    *(f"{low}-{high} days" for low, high in pairwise((0, *RANGE_ENDS_DAYS))),
    f"over {RANGE_ENDS_DAYS[-1]} days",
    "unknown",
)
"""The shortest first; the last: the snapshot does not say."""
