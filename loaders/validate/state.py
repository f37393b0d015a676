"""What validation holds while it works: the frames so far, and everything it has to say about rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from pricegrid.loaders.read.columns import ROW, TEXT
from pricegrid.loaders.read.raw import CELL_BYTES_MAX, REASON_CHARS_MAX, RawTable, reject_schema
from pricegrid.loaders.validate.causes import Causes, Logged

_SHOWN = 3


@dataclass(slots=True)
class Validation:
    """Frames under validation (each with its row index ROW) and the log of rejects and warnings."""

    raws: Mapping[str, RawTable]
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    blank: Counter[str] = field(default_factory=Counter)
    _rejects: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    _last_seconds: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def given(self, table: str) -> bool:
        """Whether the dataset has this table."""
        return table in self.raws

    def log(self, table: str, rows: pl.DataFrame, refers: tuple[str, pl.Series] | None = None) -> None:
        """Notes rejected rows: a frame of ROW, `_column`, `_reason`. `refers` gives a table and, for each row, the name
        of the row of that table without which this one can't be used."""
        target, names = refers or (None, pl.Series([None] * rows.height, dtype=pl.String))
        rows = rows.with_columns(_table=pl.lit(target, pl.String), _name=names)
        self._rejects.setdefault(table, []).append(rows)

    def reject(
        self,
        table: str,
        broken: pl.Series,
        column: str,
        reason: pl.Expr,
        refers: tuple[str, pl.Expr] | None = None,
    ) -> None:
        """Moves the rows where `broken` is true from the frame of the table to its rejects; `refers` as in `log`."""
        if not broken.any():
            return
        frame = self.frames[table]
        broken = broken.fill_null(value=False)
        lost = frame.filter(
            broken
        ).rechunk()  # `pl.format` panics on an empty chunk, as a filter may leave one
        named = pl.lit(column, pl.String).alias("_column")
        rows = lost.select(ROW, named, reason.alias("_reason"))
        self.log(table, rows, (refers[0], lost.select(refers[1]).to_series()) if refers else None)
        self.frames[table] = frame.filter(~broken)

    def rejected_rows(self, table: str) -> pl.Series:
        """Row indices that are rejected so far."""
        parts = [rows[ROW] for rows in self._rejects.get(table, [])]
        return pl.concat(parts) if parts else pl.Series(ROW, [], pl.UInt32)

    def warn_rows(self, table: str, rows: pl.Series, words: str) -> None:
        """One warning for all `rows` (row indices), with the first few lines."""
        lines = self.raws[table].line_of(rows.sort().head(_SHOWN)).to_list()
        more = ", ..." if len(rows) > _SHOWN else ""
        shown = f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}{more}"
        self.warnings.append(f"{self.raws[table].file}: {len(rows)} {words} ({shown})")

    def note_last_seconds(self, table: str, rows: pl.DataFrame) -> None:
        """Notes cleaned rows whose `valid_to` is an instant in the last second of a day."""
        if rows.height:
            said = pl.col(TEXT + "valid_to").cast(pl.String)
            self._last_seconds.setdefault(table, []).append(rows.select(ROW, said))

    def warn_last_seconds(self, table: str) -> None:
        """One warning for all of them, with the first."""
        if table in self._last_seconds:
            rows = pl.concat(self._last_seconds[table])
            example = rows[TEXT + "valid_to"][0]
            words = (
                f'rows have a valid_to at 23:59:59, e.g. "{example}", which leaves out what follows until midnight: '
                "write the date alone"
            )
            self.warn_rows(table, rows[ROW], words)

    def warn_values(self, table: str, values: Iterable[str], words: str) -> None:
        """One warning for all distinct `values`, with the first few."""
        known = sorted(values)
        if known:
            shown = ", ".join(f'"{value}"' for value in known[:_SHOWN]) + (
                ", ..." if len(known) > _SHOWN else ""
            )
            self.warnings.append(f"{self.raws[table].file}: {len(known)} {words}: {shown}")

    def rejects(self) -> dict[str, pl.DataFrame]:
        """The rejects of each table that has any: input columns, file, line, column, reason, and the row that caused
        it; in the order of the file."""
        causes = Causes({name: self._logged(name) for name in self.raws})
        answer: dict[str, pl.DataFrame] = {}
        for name, raw in self.raws.items():
            extras = list(reject_schema(raw.frame.columns))
            parts = [] if raw.broken is None else [raw.broken]
            if self._rejects.get(name):
                parts.append(self._originals(raw, self._first(name), causes.of(name)))
            if parts:
                answer[name] = pl.concat(parts).sort(extras[1], maintain_order=True)
        return answer

    def _first(self, table: str) -> pl.DataFrame:
        """What was said first of each rejected row, in the order of the file."""
        logged = pl.concat(self._rejects[table])
        return logged.unique(ROW, keep="first", maintain_order=True).sort(ROW)

    def _logged(self, table: str) -> Logged:
        raw = self.raws[table]
        if not self._rejects.get(table):
            return Logged(raw)
        first = self._first(table)
        return Logged(raw, first[ROW], first.select("_table", "_name"))

    def _originals(self, raw: RawTable, first: pl.DataFrame, causes: pl.Series) -> pl.DataFrame:
        rows = raw.frame[first[ROW]].select(pl.all().cast(pl.String, strict=False).str.head(CELL_BYTES_MAX))
        file, line, column, reason, caused_by = reject_schema(raw.frame.columns)
        return rows.with_columns(
            pl.lit(raw.file).alias(file),
            raw.line_of(first[ROW]).alias(line),
            first["_column"].alias(column),
            first["_reason"].str.head(REASON_CHARS_MAX).alias(reason),
            causes.alias(caused_by),
        )
