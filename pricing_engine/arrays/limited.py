"""A snapshot's name table of customers, for a caller who may ask for some of them alone.

All other customers are unknown there, to kernels (by `customer_slots`) and to Python (by `LimitedNames`): a customer
who exists and one who does not go the very same way, so that neither bytes nor time tell them apart.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.names import TAG, Names, slots_for
from pricegrid.pricing_engine.arrays.matrix import CUSTOMER_PARENT, Matrix

_ORDINAL: Final = np.int64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class LimitedNames(Names):
    """Names of which only those of some ordinals are found; the others can still be read by ordinal."""

    known: NDArray[np.int64]
    """The ordinals that are found, sorted."""

    def ordinals(self) -> dict[str, int]:
        """Every name that is found with its ordinal."""
        return {self[ordinal]: ordinal for ordinal in self.known.tolist()}

    def find(self, name: str) -> int:
        """The ordinal of a name, -1 if it is none or not among those that are found."""
        wanted, known = name.encode(), self.known
        found = bisect.bisect_left(range(len(known)), wanted, key=lambda at: self.name(int(known[at])))
        return int(known[found]) if found < len(known) and self.name(int(known[found])) == wanted else -1

    def find_all(self, names: Sequence[bytes]) -> NDArray[np.int32]:
        """The ordinal of each name, -1 where it is none or not among those that are found; (names,) int32."""
        return np.fromiter(
            (self.find(name.decode("utf-8", "replace")) for name in names), np.int32, len(names)
        )


def limited_slots(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], known: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The probe table (`columnar.names`) of the names of some ordinals (sorted), as large as they need."""
    starts, lengths = offsets[known], offsets[known + 1] - offsets[known]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    places = np.arange(ends[-1], dtype=np.int64) + np.repeat(starts - ends[:-1], lengths)
    slots = slots_for(np.ascontiguousarray(text[places]), ends)
    taken = slots != 0
    slots[taken] = (slots[taken] & TAG) | (known[(slots[taken] & _ORDINAL) - 1] + 1)
    return slots


def customers_below(matrix: Matrix, roots: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ordinals (sorted) of some customers and of all who have one of them as an ancestor."""
    parents = matrix.customers[:, CUSTOMER_PARENT]
    is_below = np.zeros(len(parents) + 1, np.bool_)  # the last is the parent of who has none
    is_below[roots] = True
    while True:  # a load refuses cycles; each turn adds a generation
        wider = is_below | np.append(is_below[parents], False)
        if np.array_equal(wider, is_below):
            return np.flatnonzero(is_below[:-1])
        is_below = wider
