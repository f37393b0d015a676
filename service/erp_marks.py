"""The marks of lines that the ERP answered, for those who write answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pricegrid import v1


@dataclass(frozen=True, slots=True)
class PriceMark:
    """Where the price of one line comes from, if not from the matrices."""

    source: v1.PriceSource
    age_ms: int
    """Since the ERP said so."""


Marks = Mapping[int, PriceMark]
NO_MARKS: Final[Marks] = {}


def mark_results(results: Sequence[v1.PriceLineResult], marks: Marks) -> None:
    """Writes the marks into encoded lines."""
    for line, mark in marks.items():
        results[line].source = mark.source
        results[line].source_age_ms = mark.age_ms
