"""Compiled: whether positions hold what the availability kernels take for granted.

As in `pricing_engine.kernels.verify`: each loop passes once over its arrays, reads only what was found in order before
it, and returns the number of the first row at fault, or SOUND. Its reference is in `atp.arrays.verify_reference`.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import (
    ALLOCATED,
    BLOCK_SHIFT,
    ERP_AS_OF,
    FLAGS,
    GAPS,
    ON_HAND,
    SAFETY,
    UNAVAILABLE,
    WMS_AS_OF,
)
from pricegrid.atp.live.layout import DEMAND_WORDS, RECEIPT_WORDS
from pricegrid.atp.model import MICROS, NO_INSTANT
from pricegrid.columnar.instants import DAY_US
from pricegrid.columnar.jit import compiled
from pricegrid.columnar.names import IN_ORDER

SOUND: Final = IN_ORDER
FIRST_INSTANT_US: Final = -62_135_596_800_000_000
LAST_INSTANT_US: Final = 253_402_300_799_999_999
"""The years 1 to 9999: instants outside of them can't be shown."""
SOURCE_BITS: Final = 7
MIN: Final = -(2**63)


class Lists(NamedTuple):
    """The rows of all pairs, as explanations read them."""

    receipt_start: NDArray[np.int64]
    receipt_at: NDArray[np.int64]
    receipt_quantity: NDArray[np.int64]
    receipt_confidence: NDArray[np.int32]
    demand_start: NDArray[np.int64]
    demand_at: NDArray[np.int64]
    demand_quantity: NDArray[np.int64]


@compiled
def rising_fault(starts: NDArray[np.int64], values: NDArray[np.int32]) -> int:
    """The first owner whose values `starts[owner]:starts[owner + 1]` do not ascend."""
    for owner in range(len(starts) - 1):
        for row in range(starts[owner] + 1, starts[owner + 1]):
            if values[row] <= values[row - 1]:
                return owner
    return SOUND


@compiled
def _is_instant(instant_us: int) -> bool:
    return instant_us == NO_INSTANT or FIRST_INSTANT_US <= instant_us <= LAST_INSTANT_US


@compiled
def record_fault(record: NDArray[np.int64]) -> int:
    """The first record with a figure that is out of range: what reduces a balance is no less than 0."""
    for pair in range(len(record)):
        if min(record[pair, UNAVAILABLE], record[pair, ALLOCATED], record[pair, SAFETY]) < 0:
            return pair
        if record[pair, ON_HAND] == MIN or record[pair, FLAGS] < 0:
            return pair
        if not _is_instant(record[pair, ERP_AS_OF]) or not _is_instant(record[pair, WMS_AS_OF]):
            return pair
        if record[pair, GAPS] < 0 or record[pair, GAPS] > SOURCE_BITS:
            return pair
    return SOUND


@compiled
def block_fault(record: NDArray[np.int64], blocks: NDArray[np.int64], lists: Lists) -> int:
    """The first pair whose block does not agree with its receipts and demands, or whose days do not ascend.

    A local day is that of its instant in UTC, the one before or the one after."""
    for pair in range(len(record)):
        at = record[pair, FLAGS] >> BLOCK_SHIFT
        before = np.int64(MIN)
        for row in range(lists.receipt_start[pair], lists.receipt_start[pair + 1]):
            day, quantity, confidence = blocks[at], blocks[at + 1], blocks[at + 2]
            if day < before or abs(day - lists.receipt_at[row] // DAY_US) > 1:
                return pair
            if quantity > lists.receipt_quantity[row] or confidence != lists.receipt_confidence[row]:
                return pair  # less of an order of which there are ship notices
            if quantity < 0 or confidence < 0 or confidence > MICROS:
                return pair
            before = day
            at += RECEIPT_WORDS
        before = np.int64(MIN)
        for row in range(lists.demand_start[pair], lists.demand_start[pair + 1]):
            day, net = blocks[at], blocks[at + 1]
            if day < before or abs(day - lists.demand_at[row] // DAY_US) > 1:
                return pair
            if net < 0 or net > lists.demand_quantity[row]:
                return pair
            before = day
            at += DEMAND_WORDS
    return SOUND
