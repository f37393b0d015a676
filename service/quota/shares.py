"""How hosts share a quota: each gets what it wants as far as the whole goes, and none is cut for one that wants more.

That is max-min fairness, found by filling up: the host that wants least is given it, then the next, until the rest has
to be split equally. All in integers, in 1/WHOLE of the quota, and the same whichever host reckons.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.service.quota.kernel import LEAST_SHARE, WHOLE
from pricegrid.service.quota.limits import HOSTS_MAX

RESERVE: Final = 64
"""One in so many of a quota is for all hosts alike, however little they want: their callers' first calls."""
ROOM: Final = 64
"""A host gets one in so many more than it wants: else what comes unevenly would be refused."""

if WHOLE // (RESERVE * HOSTS_MAX) < LEAST_SHARE:
    raise ImportError("the share of a host that wants nothing is too small to be one")


def least_of(hosts: int) -> int:
    """What each of so many hosts gets at least."""
    return WHOLE // (RESERVE * hosts)


def equal_share(hosts: int) -> int:
    """What each gets of a quota that none is known to want."""
    return WHOLE // hosts


def shares_of(wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The shares (hosts, quotas) of 1..HOSTS_MAX hosts that want so much, in 1/WHOLE: above WHOLE counts as WHOLE.

    Those of a quota sum up to WHOLE, less one for each host at most. Who wants no more than an equal share gets it.
    """
    hosts = len(wanted)
    wanted = np.clip(wanted, 0, WHOLE)
    wanted = np.clip(wanted + wanted // ROOM, least_of(hosts), WHOLE)
    order = np.argsort(wanted, axis=0)
    filled = np.take_along_axis(wanted, order, axis=0)
    left = np.full(wanted.shape[1], WHOLE)
    level = left // hosts
    is_cut = np.zeros(wanted.shape[1], np.bool_)
    for at in range(hosts):
        level = np.where(is_cut, level, left // (hosts - at))
        is_cut |= filled[at] > level
        filled[at] = np.where(is_cut, level, filled[at])
        left = left - filled[at]
    shares = np.empty_like(filled)
    np.put_along_axis(shares, order, filled + left // hosts, axis=0)
    return shares
