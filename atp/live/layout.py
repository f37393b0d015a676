"""The layout of the arrays of live positions (`atp.live.positions`)."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROW_WORDS: Final = 16
"""Words of a row; the first eight as the columns of `pair_record`."""
TRANSIT_AS_OF: Final = 8
"""The newest instant of a receipt or demand event; NO_INSTANT: there is none."""
VERSION: Final = 9
"""Odd while the row is written. A pair's rows are 2n and 2n + 1."""
BLOCK: Final = 10
"""The first word of the block: receipts, then demands, then reservations, then detail bytes."""
RECEIPTS: Final = 11
DEMANDS: Final = 12
HELD: Final = 13
DETAIL_BYTES: Final = 14

RECEIPT_WORDS: Final = 3
DEMAND_WORDS: Final = 2
HELD_WORDS: Final = 4

HEAD_WORDS: Final = 64
MAGIC: Final = 0
PAIRS: Final = 1
"""How many pairs are live."""
NEXT_WORD: Final = 2
"""Words of blocks in use, or used before."""
CHANGES: Final = 3
"""Grows with every change of any pair."""
LINK_LOST: Final = 4
"""Since when the shared side can't be reached, microseconds since the epoch; 0: it can."""
BEAT: Final = 5
"""When the writer was last seen at work, microseconds of the clock that all processes of the host share."""
RETIRED: Final = 6
"""Not 0: another file has taken the place of this one, and this one is not written any more."""
FREE: Final = 8
"""First of the lists of blocks to use again: list k links blocks of 2**k words by their first word, ended by 0."""
FREE_LISTS: Final = 40
SNAPSHOT: Final = 48
"""Which snapshot the pairs are of: a number made of its version."""
BOOT: Final = 49
"""On which host, and since which start of it, BEAT is counted: a number made of both."""

LIVE: Final = 1 << 40
"""A pair number from here on is LIVE + the row of a live pair; below, it is a pair of the snapshot."""


class LiveArrays(NamedTuple):
    """One-dimensional int64 each."""

    live_head: NDArray[np.int64]
    live_slots: NDArray[np.int64]
    """(key + 1, row) of each slot; 0: free."""
    live_rows: NDArray[np.int64]
    live_blocks: NDArray[np.int64]
    live_doubt: NDArray[np.int64]
    """One word of this process alone, not of the file. Not 0: it is not proven that what is read here is up to date,
    and everything counts as STALE (A11)."""


def _nothing(words: int) -> NDArray[np.int64]:
    return np.frombuffer(bytes(8 * words), dtype=np.int64)


NOTHING_LIVE: Final = LiveArrays(
    _nothing(HEAD_WORDS), _nothing(2), _nothing(ROW_WORDS), _nothing(1), _nothing(1)
)
"""No pair is live."""
