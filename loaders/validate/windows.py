"""Entries of one ladder that are in force together and have different breaks (P4): legal, and seldom meant."""

from typing import Final

import polars as pl

from pricegrid.columnar.decimals import decimal_text
from pricegrid.columnar.instants import instant_us_text
from pricegrid.loaders.validate.state import Validation
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US

_LADDER: Final = ("book_id", "sku", "product_group", "price_class", "branch", "uom")
_SHOWN: Final = 3


def warn_overlaps(state: Validation) -> None:
    """One warning for all ladders with two windows that overlap and have different breaks, with the first few."""
    frame = state.frames["price_entries"]
    window = ["valid_from_us", "valid_to_us"]
    is_dated = (pl.col("valid_from_us") != ALWAYS_US) | (pl.col("valid_to_us") != NEVER_US)
    if not frame.select(is_dated.any()).item():
        return
    dated = frame.filter(is_dated).select(_LADDER).unique()
    rows = frame.join(dated, on=_LADDER, how="semi", nulls_equal=True)
    windows = (
        rows.group_by(*_LADDER, *window)
        .agg(pl.col("min_quantity_micros").sort().alias("breaks"))
        .sort(*_LADDER, *window)
        .with_columns(pl.struct(_LADDER).rank("dense").alias("ladder"))
        .with_row_index("at")
    )
    latest_before = pl.col("valid_to_us").cum_max().shift(1).over("ladder")
    suspects = windows.filter((pl.col("valid_from_us") < latest_before).any().over("ladder"))
    pairs = suspects.join(suspects, on="ladder", suffix="_other").filter(
        (pl.col("at") < pl.col("at_other"))
        & (pl.col("valid_from_us_other") < pl.col("valid_to_us"))
        & (pl.col("breaks") != pl.col("breaks_other"))
    )
    first = pairs.sort("at", "at_other").unique("ladder", keep="first", maintain_order=True)
    if first.height:
        shown = "; ".join(map(_pair_text, first.head(_SHOWN).iter_rows(named=True)))
        more = "; ..." if first.height > _SHOWN else ""
        state.warnings.append(
            f"{state.raws['price_entries'].file}: {first.height} ladders have windows that overlap and differ in their "
            f"breaks, of which price_books.windows says which answers: {shown}{more}"
        )


def _pair_text(pair: dict[str, object]) -> str:
    names = [str(pair[name]) for name in _LADDER if pair[name] is not None]
    sides = (_window_text(pair, suffix) for suffix in ("", "_other"))
    return f"{' '.join(names)}: {' and '.join(sides)}"


def _window_text(pair: dict[str, object], suffix: str) -> str:
    breaks = ", ".join(decimal_text(each) for each in pair[f"breaks{suffix}"])  # type: ignore[attr-defined]
    start = _instant_text(pair[f"valid_from_us{suffix}"], "always")  # type: ignore[arg-type]
    end = _instant_text(pair[f"valid_to_us{suffix}"], "for ever")  # type: ignore[arg-type]
    return f"from {breaks} ({start} to {end})"


def _instant_text(instant_us: int, endless: str) -> str:
    if instant_us in (ALWAYS_US, NEVER_US):
        return endless
    return instant_us_text(instant_us, "minutes")
