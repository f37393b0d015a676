"""The days of a quote's branches, worked out once for all its lines: for `atp.kernels.quote`, and for the engine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.windows import Windows
from pricegrid.atp.kernels.balance import Supply
from pricegrid.atp.kernels.promise import Picks
from pricegrid.atp.model import PromisePolicy
from pricegrid.atp.rules.reference import USUAL_SUPPLY

_USUAL_PROMISE = PromisePolicy()


@dataclass(frozen=True, slots=True)
class QuoteWindow:
    """Holds for every instant of one second of UTC: no local day begins within one, and no cut-off passes."""

    branches: tuple[bytes, ...]
    """The names of the branches, in sourcing order."""
    supply: Supply
    """Of some instant of the second."""
    picks: Picks
    window: NDArray[np.int64]
    """(quote_kernel.WINDOW_SIZE,), which has addresses of the arrays of both."""


def quote_window(
    windows: Windows, names: tuple[bytes, ...], branches: tuple[int, ...], as_of_us: int
) -> QuoteWindow:
    """The window of branches that exist, by name and ordinal in sourcing order."""
    supply = windows.supply(branches, as_of_us, USUAL_SUPPLY)
    transits = (0,) * len(branches)
    picks = windows.picks(branches, transits, as_of_us, supply.horizon_days, _USUAL_PROMISE)
    window = np.array(
        [
            len(branches),
            supply.horizon_days,
            supply.past_due_offset_days,
            supply.past_due_max_days,
            supply.min_confidence_micros,
            *(each.ctypes.data for each in (supply.branch, supply.today, supply.usable, picks.next_pick)),
        ],
        dtype=np.int64,
    )
    return QuoteWindow(names, supply, picks, window)
