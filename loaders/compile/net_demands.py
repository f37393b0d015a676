"""Demands of a load, net of what is allocated to their orders: `atp.rules.reference.net_demands` (A1) over columns."""

from collections.abc import Sequence
from typing import Final

import polars as pl

_ORDER: Final = ("key", "order_ref")
_ORDER_LINE: Final = ("key", "order_ref", "order_line")


def net_of_allocations(rows: pl.DataFrame, allocations: pl.DataFrame) -> pl.DataFrame:
    """Demands with `net`, as `atp.rules.reference.net_demands` has it: of the line, then of none, then of any."""
    total = pl.col("allocated_micros").cast(pl.Int128).sum()
    has_order = pl.col("order_ref").is_not_null() & (pl.col("order_ref") != "")
    line = pl.col("order_line").fill_null("")
    if allocations.is_empty():
        return rows.with_columns(net="quantity_micros", order_line=line.replace("", None))
    rows = rows.with_columns(order_line=line, net=pl.col("quantity_micros").cast(pl.Int128))
    given = allocations.filter(has_order).with_columns(order_line=line)
    by_line = given.filter(pl.col("order_line") != "").group_by(_ORDER_LINE).agg(cover=total)
    asked = rows.group_by(_ORDER_LINE).agg(asked=pl.col("net").sum())
    rest = by_line.join(asked, on=_ORDER_LINE, how="left").with_columns(
        cover=(pl.col("cover") - pl.col("asked").fill_null(0)).clip(lower_bound=0)
    )
    rows = _covered(rows, by_line, _ORDER_LINE, pl.lit(value=True))
    rows = _covered(
        rows, rest.group_by(_ORDER).agg(pl.col("cover").sum()), _ORDER, pl.col("order_line") == ""
    )
    unnamed = given.filter(pl.col("order_line") == "").group_by(_ORDER).agg(cover=total)
    rows = _covered(rows, unnamed, _ORDER, pl.lit(value=True))
    return rows.with_columns(pl.col("net").cast(pl.Int64), order_line=pl.col("order_line").replace("", None))


def _covered(rows: pl.DataFrame, cover: pl.DataFrame, by: Sequence[str], among: pl.Expr) -> pl.DataFrame:
    """Demands less what covers those of `among` that are alike in `by`, the first ones first."""
    if cover.is_empty():
        return rows
    net = pl.when(among).then(pl.col("net")).otherwise(0)
    before = net.cum_sum().over(by) - net
    covered = (pl.col("cover").fill_null(0) - before).clip(lower_bound=0)
    left = pl.when(among).then((pl.col("net") - covered).clip(lower_bound=0)).otherwise(pl.col("net"))
    return rows.join(cover, on=by, how="left", maintain_order="left").with_columns(net=left).drop("cover")
