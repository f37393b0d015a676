"""Unit factors and exchange rates as exact fractions in lowest terms (docs/pricing.md, "Numbers and time")."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import numpy as np
import polars as pl

from pricegrid.loaders.tables import RATE_DIGITS, Table
from pricegrid.pricing_engine.model import INT64_MAX

_ONE: Final = 10**RATE_DIGITS
RATIOS: Final[Mapping[str, tuple[str, str | None]]] = {
    "uoms": ("numerator_e12", "denominator_e12"),
    "exchange_rates": ("rate_e12", None),
}
"""The columns of a table that are one fraction; without the second the first is over 1."""


def with_ratios(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """Adds `numerator` and `denominator`, int64, in lowest terms, of the columns of RATIOS; null where one of those
    is, or isn't above zero, and where the fraction needs more than 63 bits."""
    top, bottom = RATIOS[table]
    over = frame[top]
    under = (
        pl.Series([_ONE], dtype=pl.Int128).new_from_index(0, frame.height)
        if bottom is None
        else frame[bottom]
    )
    known = over.is_not_null() & under.is_not_null() & (over > 0) & (under > 0)
    small = known & (over <= INT64_MAX) & (under <= INT64_MAX)
    numerator = np.ones(frame.height, dtype=np.int64)
    denominator = np.ones(frame.height, dtype=np.int64)
    fits = known.to_numpy().copy()
    at = small.fill_null(value=False).to_numpy()
    numerator[at] = over.filter(small).cast(pl.Int64).to_numpy()
    denominator[at] = under.filter(small).cast(pl.Int64).to_numpy()
    divisor = np.gcd(numerator, denominator)
    numerator, denominator = numerator // divisor, denominator // divisor
    wide = (known & ~small).arg_true().to_numpy()
    for row, one, other in zip(
        wide.tolist(), over.gather(wide).to_list(), under.gather(wide).to_list(), strict=True
    ):
        ratio = Fraction(one, other)
        fits[row] = max(ratio.numerator, ratio.denominator) <= INT64_MAX
        if fits[row]:
            numerator[row], denominator[row] = ratio.numerator, ratio.denominator
    mask = pl.Series(fits, dtype=pl.Boolean)
    return frame.with_columns(
        pl.select(
            numerator=pl.when(mask).then(pl.Series(numerator, dtype=pl.Int64)),
            denominator=pl.when(mask).then(pl.Series(denominator, dtype=pl.Int64)),
        ).get_columns()
    )


def normal_columns(table: Table) -> list[str]:
    """The columns of a table's normalised frame."""
    if table.name not in RATIOS:
        return [column.out for column in table.columns]
    rest = [column.out for column in table.columns if column.out not in RATIOS[table.name]]
    return [*rest, "numerator", "denominator"]
