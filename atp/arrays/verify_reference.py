"""The loops of `atp.kernels.verify` in Python, one for one: slow, and what they must equal."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import BLOCK_SHIFT, FLAGS
from pricegrid.atp.kernels.verify import FIRST_INSTANT_US, LAST_INSTANT_US, MIN, SOUND, Lists
from pricegrid.atp.model import MICROS, NO_INSTANT
from pricegrid.columnar.instants import DAY_US

Rows = NDArray[Any]


def _first(rows: Iterable[int]) -> int:
    return next(iter(rows), SOUND)


def _is_strict(values: list[Any]) -> bool:
    return values == sorted(set(values))


def rising_fault(starts: Rows, values: Rows) -> int:
    """As the compiled loop."""
    runs = [values[start:end].tolist() for start, end in pairwise(starts.tolist())]
    return _first(owner for owner, run in enumerate(runs) if not _is_strict(run))


def record_fault(record: Rows) -> int:
    """As the compiled loop."""
    for pair, (on_hand, unavailable, allocated, safety, *instants, gaps, flags) in enumerate(record.tolist()):
        if on_hand == MIN or flags < 0 or min(unavailable, allocated, safety) < 0 or gaps not in range(8):
            return pair
        if any(at != NO_INSTANT and not FIRST_INSTANT_US <= at <= LAST_INSTANT_US for at in instants):
            return pair
    return SOUND


def block_fault(record: Rows, blocks: Rows, lists: Lists) -> int:
    """As the compiled loop."""
    for pair, flags in enumerate(record[:, FLAGS].tolist()):
        rows = slice(lists.receipt_start[pair], lists.receipt_start[pair + 1])
        receipts = lists.receipt_quantity[rows].tolist()
        first = flags >> BLOCK_SHIFT
        words = blocks[first : first + 3 * len(receipts)].reshape(-1, 3).tolist()
        instants, confidences = lists.receipt_at[rows].tolist(), lists.receipt_confidence[rows].tolist()
        if [confidence for _, _, confidence in words] != confidences:
            return pair
        if not all(0 <= word[1] <= quantity for word, quantity in zip(words, receipts, strict=True)):
            return pair
        if not all(0 <= each <= MICROS for each in confidences):
            return pair
        if not _are_days([word[0] for word in words], instants):
            return pair
        rows = slice(lists.demand_start[pair], lists.demand_start[pair + 1])
        demands, instants = lists.demand_quantity[rows].tolist(), lists.demand_at[rows].tolist()
        first += 3 * len(receipts)
        words = blocks[first : first + 2 * len(demands)].reshape(-1, 2).tolist()
        if not all(0 <= net <= quantity for (_, net), quantity in zip(words, demands, strict=True)):
            return pair
        if not _are_days([day for day, _ in words], instants):
            return pair
    return SOUND


def _are_days(days: list[int], instants: list[int]) -> bool:
    """Whether these days rise and are, somewhere on earth, those of the instants."""
    near = all(abs(day - instant // DAY_US) <= 1 for day, instant in zip(days, instants, strict=True))
    return near and days == sorted(days)
