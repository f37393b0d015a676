"""Price sources: which prices of a response are the ERP's, and how old they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1


@dataclass(frozen=True, slots=True)
class LineSource:
    """The source of a line's price that is not from the matrices."""

    source: v1.PriceSource
    age_ms: int
    """Since the ERP's answer."""


PriceSources = Mapping[int, LineSource]
NO_PRICE_SOURCES: Final[PriceSources] = {}


def source_rows(sources: PriceSources, lines: int) -> NDArray[np.int64]:
    """The sources as `encode_kernel` takes them, (lines, 2): PriceSource, 0 for the matrices, and the age in ms, -1 for
    none; (0, 2) when all prices are from the matrices."""
    rows = np.zeros((lines if sources else 0, 2), np.int64)
    rows[:, 1] = -1
    for line, own in sources.items():
        rows[line] = own.source, own.age_ms
    return rows
