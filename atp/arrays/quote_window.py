"""The days of a quote's branches, as `atp.kernels.quote` takes them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.windows import Windows
from pricegrid.atp.model import PromisePolicy
from pricegrid.atp.rules.reference import USUAL_SUPPLY

_USUAL_PROMISE = PromisePolicy()


@dataclass(frozen=True, slots=True)
class QuoteWindow:
    """Holds for every instant of one second of UTC: no local day begins within one, and no cut-off passes."""

    window: NDArray[np.int64]
    """(quote_kernel.WINDOW_SIZE,)"""
    branches: int
    arrays: tuple[NDArray[np.generic], ...]
    """What its addresses lead to."""


def quote_window(windows: Windows, branches: tuple[int, ...], as_of_us: int) -> QuoteWindow:
    """The window of branches that exist, by ordinal in sourcing order."""
    supply = windows.supply(branches, as_of_us, USUAL_SUPPLY)
    transits = (0,) * len(branches)
    picks = windows.picks(branches, transits, as_of_us, supply.horizon_days, _USUAL_PROMISE)
    arrays: tuple[NDArray[np.generic], ...] = (supply.branch, supply.today, supply.usable, picks.next_pick)
    window = np.array(
        [
            len(branches),
            supply.horizon_days,
            supply.past_due_offset_days,
            supply.past_due_max_days,
            supply.min_confidence_micros,
            *(array.ctypes.data for array in arrays),
        ],
        dtype=np.int64,
    )
    return QuoteWindow(window, len(branches), arrays)
