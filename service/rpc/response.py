"""What a method answers, and how its lines are counted."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.pricing_engine.model import LineStatus

STATUSES: Final = len(LineStatus)
COUNTS: Final = STATUSES + len(AvailabilityStatus)
"""Lines by `LineStatus`, then by `AvailabilityStatus`."""
COUNTED, SHOWN = range(2)
"""Rows of `Answered.counts`."""


class Answered(NamedTuple):
    """An answer and the statuses of its lines, for the counters."""

    raw: bytes
    status: NDArray[np.integer[Any]] | None = None
    """`LineStatus` of the lines that were priced."""
    availability: NDArray[np.integer[Any]] | None = None
    """`AvailabilityStatus` of the lines whose availability was asked."""
    counts: NDArray[np.int64] | None = None
    """(2, COUNTS), of an answer whose lines are counted already: all that its thread counted there, this one among
    them, and how much of that the counters show. Both only grow."""
    events: Mapping[str, int] | None = None
    """What became of the events of a publisher, by name."""
