"""A table as it was written: what every reader of files hands to validation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.dialect import FoundDialect
from pricegrid.loaders.tables import Table

REJECT_EXTRAS: Final = ("file", "line", "column", "reason", "caused_by")
"""What `rejects/TABLE.csv` adds to the columns of the input. `caused_by` is FILE:LINE of the rejected row without which
this one can't be used; blank where the row itself is at fault."""

CELL_BYTES_MAX: Final = 32_000
"""UTF-8 bytes of a cell; a spreadsheet's holds 32,767 characters. A row with a longer one is rejected."""

REASON_CHARS_MAX: Final = 1_000
"""A reason quotes the cell; of a long one its beginning will do."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table as it was written. Row i of `frame` stands in line `lines[i]`, or `first_line + i` without `lines`
    (in Parquet the row number, from 1; in a workbook the number that the sheet shows)."""

    name: str
    file: str
    frame: pl.DataFrame
    first_line: int = 2
    lines: NDArray[np.int64] | None = None
    broken: pl.DataFrame | None = None
    """Records that are no rows, in the form of `rejects/TABLE.csv`."""
    warnings: tuple[str, ...] = field(default=())
    dialect: FoundDialect | None = None
    """How the file was written; None: a table in memory."""
    restated: Mapping[str, pl.Series] = field(default_factory=dict)
    """Columns in the canonical notation (`1234.5`, `2026-03-29`) where the file has another."""
    ambiguous: pl.DataFrame | None = None
    """Cells with two readings: row index `row`, `column`, `reason`."""
    typed: Mapping[str, pl.Series] = field(default_factory=dict)
    """For columns of a workbook, whether each cell is a number or a date and no text; such cells are canonical."""

    @property
    def rows(self) -> int:
        """Rows of the file, broken ones included."""
        return self.frame.height + (0 if self.broken is None else self.broken.height)

    @property
    def canonical(self) -> pl.DataFrame:
        """The frame in canonical notation; `frame` itself where the file has no other."""
        return self.frame.with_columns(**self.restated) if self.restated else self.frame

    def line_of(self, rows: pl.Series) -> pl.Series:
        """The physical line of each row index, int64, named `line`."""
        if self.lines is None:
            return (rows.cast(pl.Int64) + self.first_line).alias("line")
        return pl.Series("line", self.lines[rows.to_numpy()])


def reject_schema(header: list[str]) -> dict[str, pl.DataType]:
    """Names and types of the columns that a rejects file adds; an input column of the same name keeps it, and the added
    one gets an underscore."""
    types: Mapping[str, pl.DataType] = {"line": pl.Int64()}
    return {(name + "_" if name in header else name): types.get(name, pl.String()) for name in REJECT_EXTRAS}


def broken_frame(header: list[str], rows: list[tuple[str | int | None, ...]]) -> pl.DataFrame | None:
    """`RawTable.broken` of rows in the order of its columns; None for none."""
    if not rows:
        return None
    schema = {**{name: pl.String() for name in header}, **reject_schema(header)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def check_header(file: str, columns: list[str], table: Table) -> tuple[str, ...]:
    """Warnings about unknown columns. DatasetError: a required column is missing, or a name is blank or twice."""
    missing = [c.name for c in table.columns if c.required and c.name not in columns]
    if missing:
        raise DatasetError(
            f"{file}: required column {', '.join(missing)} is missing; the header has {', '.join(columns)}"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DatasetError(f'{file}: the header names column "{twice[0]}" twice')
    if "" in columns:
        raise DatasetError(
            f"{file}: column {columns.index('') + 1} of the header has no name: name it, or take away the separator"
        )
    known = {c.name for c in table.columns}
    if "deleted" in columns and "deleted" not in known:
        raise DatasetError(
            f"{file}: column deleted belongs to a delta: in a full load its entries would be in force"
        )
    return tuple(f'{file}: unknown column "{name}" is ignored' for name in columns if name not in known)
