"""How much of its quotas a host wants: from what its accounts count."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricegrid.service.quota.kernel import (
    CALLS,
    CALLS_SHARE,
    CALLS_WANTED,
    KEY,
    LEAST_SHARE,
    LINES,
    LINES_SHARE,
    LINES_WANTED,
    WHOLE,
)
from pricegrid.service.quota.limits import SETTLED_NS, SMOOTHED_NS

_NS_A_US = 1_000
_LONGEST_US = 3_600_000_000
_MOST = 2
"""Whoever tries more than so many times the quota wants no more than that: the rest would only be remembered longer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the accounts of a host want."""

    places: NDArray[np.int64]
    """Where they are in the file, (n,)."""
    keys: NDArray[np.int64]
    """(n,)"""
    wanted: NDArray[np.int64]
    """Of calls and of lines, (n, 2), in 1/WHOLE of the quota, at most WHOLE."""
    shares: NDArray[np.int64]
    """As the file says them, (n, 2)."""


class Demand:
    """Follows the accounts of a file. For one thread."""

    def __init__(self, slots: NDArray[np.int64], now_ns: int) -> None:
        """`slots`: (m, SLOT_WORDS), which others change."""
        self._slots = slots
        self._now_ns = now_ns
        self._keys = slots[:, KEY].copy()
        self._tried = slots[:, [CALLS_WANTED, LINES_WANTED]]
        self._smooth = np.zeros(self._tried.shape, np.int64)

    def turn(self, now_ns: int) -> Wanted:
        """What is wanted now: the average of what was tried lately, or what the callers still owe if that is more.

        A request of many lines is tried once, and paid off for long.
        """
        passed_us = min(max((now_ns - self._now_ns) // _NS_A_US, 1), _LONGEST_US)
        self._now_ns = now_ns
        all_keys = self._slots[:, KEY].copy()
        self._tried[all_keys != self._keys] = self._smooth[all_keys != self._keys] = 0
        self._keys = all_keys
        places = np.flatnonzero(all_keys > 0)
        keys = all_keys[places]
        slots = self._slots[places]
        tried_us = np.clip(slots[:, [CALLS_WANTED, LINES_WANTED]] - self._tried[places], 0, None) // _NS_A_US
        self._tried[places] = slots[:, [CALLS_WANTED, LINES_WANTED]]
        lately = np.minimum(tried_us, _MOST * passed_us) * WHOLE // passed_us
        smooth = self._smooth[places]
        smooth += (lately - smooth) * passed_us // (passed_us + SMOOTHED_NS // _NS_A_US)
        self._smooth[places] = smooth

        shares = slots[:, [CALLS_SHARE, LINES_SHARE]]
        parts = np.where((shares >= LEAST_SHARE) & (shares < WHOLE), shares, WHOLE)
        owed_us = (np.maximum(slots[:, [CALLS, LINES]], now_ns) - now_ns) // _NS_A_US
        owed = np.minimum(owed_us, _LONGEST_US) * parts // (SETTLED_NS // _NS_A_US)
        return Wanted(places, keys, np.minimum(np.maximum(smooth, owed), WHOLE), shares)
