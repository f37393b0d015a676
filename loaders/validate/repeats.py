"""Rows of one table with the same key: repetitions count once, contradictions are all rejected."""

import polars as pl

from pricegrid.loaders.read.columns import ROW, decimal_text
from pricegrid.loaders.tables import RATE_DIGITS, Kind, Table
from pricegrid.loaders.validate.state import Validation
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US

_DIGITS = {Kind.DECIMAL: 6, Kind.RATE: RATE_DIGITS}


def settle_repeated(state: Validation, table: Table) -> None:
    """Keeps one of the rows that say the same; rejects all rows that have the same key and contradict each other."""
    frame = state.frames[table.name]
    values = [name for name in frame.columns if name != ROW]
    key = list(table.key) or values
    hashes = frame.select(key).hash_rows()
    if hashes.n_unique() == len(hashes):
        return
    ordered = hashes.sort()
    again = ordered.filter(ordered == ordered.shift(1)).unique()
    suspects = frame.filter(hashes.is_in(again.implode()))
    content = [name for name in values if name not in key and name not in table.free]
    differing = suspects.group_by(key, maintain_order=True).agg(
        pl.len().alias("_rows"), *(pl.col(name).n_unique().alias("~" + name) for name in content)
    )
    gone: list[pl.Series] = []
    if content:
        conflicts = differing.filter(pl.any_horizontal(pl.col("~" + name) > 1 for name in content))
        clashing = suspects.join(conflicts, on=key, how="inner", nulls_equal=True).rechunk()
        if clashing.height:
            state.log(table.name, _conflict_reasons(state, clashing, table, key, content))
            gone.append(clashing[ROW])
            suspects = suspects.join(conflicts, on=key, how="anti", nulls_equal=True)
    kept = suspects.sort(*table.free, ROW, nulls_last=True).unique(key, keep="first", maintain_order=True)
    dropped = suspects.join(kept, on=ROW, how="anti")[ROW]
    if len(dropped):
        state.repeated[table.name] += len(dropped)
        state.warn_rows(table.name, dropped, "rows repeat another row and count once")
        gone.append(dropped)
    if gone:
        state.frames[table.name] = frame.filter(~pl.col(ROW).is_in(pl.concat(gone).implode()))


def _conflict_reasons(
    state: Validation, clashing: pl.DataFrame, table: Table, key: list[str], content: list[str]
) -> pl.DataFrame:
    """Column: what differs. Reason: the key, and what stands here and in the first other line that differs."""
    ordered = clashing.sort(ROW).with_columns(
        state.raws[table.name].line_of(clashing[ROW].sort()).alias("_line")
    )
    shown = ordered.with_columns(_shown(table, name).alias(f"+{name}") for name in (*key, *content))
    differing = [(name, pl.col(f"~{name}") > 1) for name in content]
    names = pl.concat_str(
        (pl.when(differs).then(pl.lit(_written(table, name))) for name, differs in differing),
        separator=", ",
        ignore_nulls=True,
    )
    values = pl.concat_str(
        (pl.when(differs).then(pl.col(f"+{name}")) for name, differs in differing),
        separator=", ",
        ignore_nulls=True,
    )
    said = shown.with_columns(names.alias("_column"), values.alias("_values"))
    first = said.group_by(key, maintain_order=True).agg(
        pl.first("_line").alias("_first_line"),
        pl.first("_values").alias("_first_values"),
        pl.col("_line").filter(pl.col("_values") != pl.col("_values").first()).first().alias("_next_line"),
        pl.col("_values")
        .filter(pl.col("_values") != pl.col("_values").first())
        .first()
        .alias("_next_values"),
    )
    joined = said.join(first, on=key, how="left", nulls_equal=True, maintain_order="left").rechunk()
    like_first = pl.col("_values") == pl.col("_first_values")
    reason = pl.format(
        '"{}" is the {} of rows that differ in {} (here {}; line {}: {})',
        pl.concat_str((pl.col(f"+{name}") for name in key), separator=" ", ignore_nulls=True),
        pl.lit(", ".join(_written(table, name) for name in key)),
        "_column",
        "_values",
        pl.when(like_first).then("_next_line").otherwise("_first_line"),
        pl.when(like_first).then("_next_values").otherwise("_first_values"),
    )
    return joined.select(ROW, "_column", reason.alias("_reason"))


def _shown(table: Table, out: str) -> pl.Expr:
    """A value as the files write it: decimals in decimal notation, instants as such; null for a blank one in a key."""
    column = next((column for column in table.columns if column.out == out), None)
    value = pl.col(out)
    if column is not None and column.kind in _DIGITS:
        text = decimal_text(value, _DIGITS[column.kind])
    elif out.endswith("_us"):
        instant = pl.from_epoch(value, "us").dt.to_string("%Y-%m-%dT%H:%M:%SZ")
        text = pl.when(value.is_in([ALWAYS_US, NEVER_US])).then(None).otherwise(instant)
    else:
        text = value.cast(pl.String)
    return text if out in table.key else text.fill_null("blank")


def _written(table: Table, out: str) -> str:
    """The name that a column has in the files."""
    return next((column.name for column in table.columns if column.out == out), out)
