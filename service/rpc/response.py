"""What a method returns, and how its lines are counted."""

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
"""Rows of `Response.counts`."""


class Response(NamedTuple):
    """The bytes of a response, and the statuses of its lines for the metrics."""

    raw: bytes
    status: NDArray[np.integer[Any]] | None = None
    """`LineStatus` of each priced line."""
    availability: NDArray[np.integer[Any]] | None = None
    """`AvailabilityStatus` of each line with availability."""
    counts: NDArray[np.int64] | None = None
    """(2, COUNTS) when the kernel has counted the lines: the totals of the calling thread including this response, and
    how much of them the metrics show already. Both only grow."""
    events: Mapping[str, int] | None = None
    """Events of a publisher by outcome."""
