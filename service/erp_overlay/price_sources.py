"""Price sources: which prices of a response are the ERP's, and how old they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pricegrid import v1


@dataclass(frozen=True, slots=True)
class LineSource:
    """The source of a line's price that is not from the matrices."""

    source: v1.PriceSource
    age_ms: int
    """Since the ERP's answer."""


PriceSources = Mapping[int, LineSource]
NO_PRICE_SOURCES: Final[PriceSources] = {}
