"""Gates between a compiled dataset and its publication, and the comparison of the entries of two snapshots.

The running snapshot stays when a limit is passed; every limit but that on single entries has a default. Percentages
are compared exactly, as integers. The gates that look at tables and at the sample are in `loaders.gates.tables`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import polars as pl

from pricegrid.columnar.decimals import decimal_text, per_text
from pricegrid.columnar.instants import instant_us_text
from pricegrid.loaders.gates.limits import Limits
from pricegrid.loaders.validate.tables import TableCounts
from pricegrid.pricing_engine.model import ALWAYS_US, MICROS, NEVER_US

ENTRY_KEY: Final = (
    "book_id",
    "sku",
    "product_group",
    "price_class",
    "branch",
    "uom",
    "min_quantity_micros",
    "valid_from_us",
    "valid_to_us",
)
"""What makes an entry of one snapshot the same as one of another."""

_CONTENT: Final = ("method", "value_micros", "price_per", "basis")

Decode = Callable[[Mapping[str, np.ndarray[Any, Any]]], pl.DataFrame]
"""Arrays of a snapshot to a frame of its entries: ENTRY_KEY, method, value_micros, price_per, basis, entry_id."""


def decode_running(arrays: Mapping[str, np.ndarray[Any, Any]]) -> pl.DataFrame:
    """The decoder of this repository's snapshots, imported only where entries are compared."""
    from pricegrid.loaders.compile.decode import decode_entries

    frame: pl.DataFrame = decode_entries(arrays)
    return frame


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict of one gate."""

    name: str
    passed: bool
    limit: str | None
    detail: str
    flag: str = "--force"
    """What tells the load to publish nevertheless."""


def gate_items(frames: Mapping[str, pl.DataFrame]) -> Gate:
    """A dataset without a single item is a failed export."""
    items = frames["items"].height
    return Gate("items", items > 0, None, f"{items} items")


def gate_rejects(counts: Mapping[str, TableCounts], limits: Limits) -> Gate:
    """Rejected rows of any table, over its rows."""
    limit, flag = limits.max_reject_pct, "--max-reject-pct"
    found = {name: count for name, count in counts.items() if count.rejected}
    if not found:
        return Gate("rejects", True, str(limit), "no rejected rows", flag)
    beyond = {name: c for name, c in found.items() if 100 * c.rejected > limit * c.rows}
    worst = max(found, key=lambda name: Decimal(found[name].rejected) / found[name].rows)
    shown = beyond or {worst: found[worst]}
    words = "; ".join(f"{c.rejected} of {c.rows} rows of {name} rejected" for name, c in shown.items())
    return Gate("rejects", not beyond, str(limit), words, flag)


def gate_change(old: pl.DataFrame, new: pl.DataFrame, limits: Limits) -> Gate:
    """Entries whose value moved by more than the limit, net ones by the price of one unit (P14); another method, or a
    value that was zero, is beyond any limit."""
    limit, flag = limits.max_change_pct, "--max-change-pct"
    if limit is None:
        return Gate("change", True, None, "single entries are not compared", flag)
    both = _per_one_unit(_matched(old, new))
    before = pl.col("_before")
    step = (pl.col("_after") - before).abs()
    limit_micros = int(limit * MICROS)
    far = step * pl.lit(100 * MICROS, pl.Int128) > before.abs() * pl.lit(limit_micros, pl.Int128)
    beyond = both.filter(far | (pl.col("method") != pl.col("method_new")))
    if beyond.is_empty():
        words = f"none of {both.height} entries moved by more than {limit} %"
        return Gate("change", True, str(limit), words, flag)
    row = beyond.sort(ENTRY_KEY).row(0, named=True)
    sides = [_content(row, suffix) for suffix in ("", "_new")]
    moved = " to ".join(
        f"{each['method']} {each['value']}{per_text(each['price_per'] or 1)}" for each in sides
    )
    where = f"book {row['book_id']}, {_target(row)}: {moved}"
    words = f"{beyond.height} of {both.height} entries moved too far, as {where}"
    return Gate("change", False, str(limit), words, flag)


def _per_one_unit(both: pl.DataFrame) -> pl.DataFrame:
    """With `_before` and `_after`: the values, times the product of both price units of a net price."""
    is_net = (pl.col("method") == "net") & (pl.col("method_new") == "net")
    return both.with_columns(
        (pl.col(value).cast(pl.Int128) * pl.when(is_net).then(other).otherwise(1).cast(pl.Int128)).alias(name)
        for name, value, other in (
            ("_before", "value_micros", "price_per_new"),
            ("_after", "value_micros_new", "price_per"),
        )
    )


def _matched(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    left, right = (frame.select(*ENTRY_KEY, *_CONTENT, "entry_id") for frame in (old, new))
    return left.join(right, on=ENTRY_KEY, how="inner", nulls_equal=True, suffix="_new")


def _target(row: Mapping[str, Any]) -> str:
    if row["sku"] is not None:
        return f"item {row['sku']}"
    return "every item" if row["product_group"] is None else f"group {row['product_group']}"


def compare(old: pl.DataFrame, new: pl.DataFrame, rows_max: int) -> dict[str, object]:
    """What differs between two frames of entries: counts, counts by book, and the first `rows_max` rows in the order of
    their keys, with decimals and instants as strings (JSON-able)."""
    added = new.join(old, on=ENTRY_KEY, how="anti", nulls_equal=True)
    removed = old.join(new, on=ENTRY_KEY, how="anti", nulls_equal=True)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name + "_new")) for name in _CONTENT)
    changed = _matched(old, new).filter(~same)
    kinds = {"added": added, "removed": removed, "changed": changed}
    books: dict[str, dict[str, int]] = {}
    for kind, frame in kinds.items():
        for book, count in frame.group_by("book_id").len().iter_rows():
            books.setdefault(book, dict.fromkeys(kinds, 0))[kind] = count
    rows = [row for kind, frame in kinds.items() for row in _shown(kind, frame, rows_max)]
    rows.sort(key=lambda row: (str(row["book_id"]), str(row["sku"] or ""), str(row["min_quantity"])))
    return {
        **{kind: frame.height for kind, frame in kinds.items()},
        "books": [{"book_id": book, **books[book]} for book in sorted(books)],
        "rows": rows[:rows_max],
    }


def _shown(kind: str, frame: pl.DataFrame, rows_max: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for row in frame.sort(ENTRY_KEY).head(rows_max).iter_rows(named=True):
        key = {name: row[name] for name in ENTRY_KEY[:6]}
        content = _content(row, "")
        after = _content(row, "_new") if kind == "changed" else content
        rows.append(
            {
                "change": kind,
                **key,
                "min_quantity": decimal_text(row["min_quantity_micros"]),
                "valid_from": edge_text(row["valid_from_us"]),
                "valid_to": edge_text(row["valid_to_us"]),
                "entry_id": row["entry_id"],
                "old": None if kind == "added" else content,
                "new": None if kind == "removed" else after,
            }
        )
    return rows


def _content(row: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    return {
        "method": row[f"method{suffix}"],
        "value": decimal_text(row[f"value_micros{suffix}"]),
        "price_per": row[f"price_per{suffix}"],
        "basis": row[f"basis{suffix}"],
    }


def edge_text(instant_us: int) -> str | None:
    """The begin or end of an interval as RFC 3339 in UTC; None where it is open."""
    if instant_us in (ALWAYS_US, NEVER_US):
        return None
    return instant_us_text(instant_us)
