"""The marks of lines that the ERP answered, for those who write answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1


@dataclass(frozen=True, slots=True)
class PriceMark:
    """Where the price of one line comes from, if not from the matrices."""

    source: v1.PriceSource
    age_ms: int
    """Since the ERP said so."""


Marks = Mapping[int, PriceMark]
NO_MARKS: Final[Marks] = {}


def mark_rows(marks: Marks, lines: int) -> NDArray[np.int64]:
    """The marks as `encode_kernel` takes them, (lines, 2): PriceSource, 0 for the matrices', and its age, -1 for none;
    (0, 2) where no line is marked."""
    rows = np.zeros((lines if marks else 0, 2), np.int64)
    rows[:, 1] = -1
    for line, mark in marks.items():
        rows[line] = mark.source, mark.age_ms
    return rows
