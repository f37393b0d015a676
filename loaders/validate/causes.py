"""Which rejected row caused which, and the causes that are behind all of them.

A row that names a rejected row can't be used either: what the operator must mend is the first of such a chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import polars as pl

from pricegrid.loaders.read.raw import RawTable, reject_schema

NAME_SEPARATOR: Final = "\x1f"
"""Between the parts of a name that has two."""

_NAME_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "branches": ("branch",),
    "calendars": ("calendar",),
    "customers": ("customer_id",),
    "items": ("sku",),
    "kits": ("kit_sku",),
    "layers": ("layer",),
    "price_books": ("book_id",),
    "product_groups": ("product_group",),
    "ship_tos": ("ship_to",),
    "uoms": ("sku", "uom"),
}
_CHAIN_MAX: Final = 64
"""Links within one table, as of a hierarchy; no hierarchy may be as deep."""

_VALUE: Final = r'^"((?s).*?)" '
"""What a reason quotes at its beginning."""

_DETAIL: Final = r" \((?:either|here) (?s:.*)\)$|; too many: (?s:.*)$| of item \"(?s:.*)\"$"
"""What a reason says at its end of this row alone."""

_BLANKS: Final = " \t"


@dataclass(frozen=True, slots=True)
class Logged:
    """The rejected rows of a table: `rows` are row indices, `refers` (`_table`, `_name`) says which row each named."""

    raw: RawTable
    rows: pl.Series | None = None
    refers: pl.DataFrame | None = None


class Causes:
    """The first cause of each rejected row, as `FILE:LINE`; null where it is one itself."""

    def __init__(self, logged: Mapping[str, Logged]) -> None:
        self._logged = logged
        self.of = cache(self._of)
        self._roots = cache(self._roots_of)

    def _of(self, table: str) -> pl.Series:
        """In the order of `Logged.rows`."""
        logged = self._logged[table]
        if logged.refers is None:
            return pl.Series("caused_by", [], pl.String)
        refers = logged.refers.with_row_index("_at")
        found = pl.Series("caused_by", [None] * refers.height, pl.String)
        for target in refers["_table"].drop_nulls().unique():
            if target in self._logged and target != table:
                joined = _joined(refers, target, self._roots(target))
                found = joined.zip_with(joined.is_not_null(), found)
        if (refers["_table"] == table).any():
            found = self._within(table, refers, found)
        return found.alias("caused_by")

    def _within(self, table: str, refers: pl.DataFrame, found: pl.Series) -> pl.Series:
        """Follows names within the table, link by link."""
        own, names = _places(self._logged[table]), _names(self._logged[table])
        for _ in range(_CHAIN_MAX):
            roots = _first_of(names, found.fill_null(own))
            step = _joined(refers, table, roots)
            step = step.zip_with(step != own, pl.Series([None] * len(step), dtype=pl.String))  # not by itself
            following = step.zip_with(step.is_not_null(), found)
            if following.equals(found, null_equal=True):
                break
            found = following
        return found

    def _roots_of(self, table: str) -> pl.DataFrame:
        """`_name` of each rejected row of a table, and its first cause."""
        logged = self._logged[table]
        roots = [pl.DataFrame(schema={"_name": pl.String, "_root": pl.String})]
        if logged.rows is not None:
            roots.append(_first_of(_names(logged), self.of(table).fill_null(_places(logged))))
        broken = logged.raw.broken
        if broken is not None:
            file, line, *_ = reject_schema(logged.raw.frame.columns)
            place = pl.format("{}:{}", file, line).alias("_root")
            roots.append(broken.rechunk().select(_name_of(table, broken.columns), place))
        return pl.concat(roots).unique("_name", keep="first", maintain_order=True)


def _joined(refers: pl.DataFrame, target: str, roots: pl.DataFrame) -> pl.Series:
    named = refers.select(_name=pl.when(pl.col("_table") == target).then("_name"))
    return named.join(roots, on="_name", how="left", maintain_order="left")["_root"]


def _first_of(names: pl.Series, roots: pl.Series) -> pl.DataFrame:
    frame = pl.DataFrame({"_name": names, "_root": roots})
    return frame.drop_nulls("_name").unique("_name", keep="first", maintain_order=True)


def _places(logged: Logged) -> pl.Series:
    assert logged.rows is not None  # noqa: S101 -- asked of tables with rejects only
    line = logged.raw.line_of(logged.rows).cast(pl.String)
    return (logged.raw.file + ":" + line).alias("_root")


def _names(logged: Logged) -> pl.Series:
    frame, table = logged.raw.frame, logged.raw.name
    assert logged.rows is not None  # noqa: S101 -- asked of tables with rejects only
    rows = frame[logged.rows]
    return rows.select(_name_of(table, frame.columns)).to_series()


def _name_of(table: str, columns: list[str]) -> pl.Expr:
    parts = _NAME_COLUMNS.get(table, ())
    if not parts or any(part not in columns for part in parts):
        return pl.lit(None, pl.String).alias("_name")
    stripped = [pl.col(part).cast(pl.String, strict=False).str.strip_chars(_BLANKS) for part in parts]
    return pl.concat_str(stripped, separator=NAME_SEPARATOR).alias("_name")


@dataclass(frozen=True, slots=True)
class RootCause:
    """Rows of a table that were rejected for one reason, and what followed from it."""

    table: str
    column: str
    reason: str
    """Without the value."""
    rows: int
    example: str | None
    """The value of the first."""
    followers: int
    """Rows, of any table, that were rejected because they name one of these."""

    @property
    def text(self) -> str:
        """One line for people."""
        place = f"{self.table}.{self.column}" if self.column else self.table
        example = "" if self.example is None else f', e.g. "{self.example}"'
        follow = f"; {self.followers:,} rows follow from these" if self.followers else ""
        return f"{self.rows:,}× {place}: {self.reason}{example}{follow}"


_EXAMPLE_CHARS: Final = 60


def root_causes(rejects: Mapping[str, tuple[RawTable, pl.DataFrame]]) -> list[RootCause]:
    """The causes of all rejects, that of most rows first."""
    parts = []
    for table, (raw, rows) in rejects.items():
        file, line, column, reason, caused_by = reject_schema(raw.frame.columns)
        parts.append(
            rows.rechunk().select(
                _table=pl.lit(table),
                _place=pl.format("{}:{}", file, line),
                _column=pl.col(column).fill_null(""),
                _kind=pl.col(reason).str.replace(_VALUE, "").str.replace(_DETAIL, ""),
                _value=pl.col(reason).str.extract(_VALUE),
                _by=pl.col(caused_by),
            )
        )
    if not parts:
        return []
    every = pl.concat(parts)
    kind = ["_table", "_column", "_kind"]
    roots = every.filter(pl.col("_by").is_null())
    followed = every.drop_nulls("_by").group_by("_by").len("_followers")
    counted = (
        roots.join(followed, left_on="_place", right_on="_by", how="left")
        .group_by(kind, maintain_order=True)
        .agg(pl.len().alias("_rows"), pl.col("_value").first(), pl.col("_followers").sum())
        .sort(pl.col("_rows") + pl.col("_followers"), descending=True, maintain_order=True)
    )
    return [
        RootCause(table, column, reason, rows, None if value is None else value[:_EXAMPLE_CHARS], followers)
        for table, column, reason, rows, value, followers in counted.iter_rows()
    ]
