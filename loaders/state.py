"""What validation holds while it works: the frames so far, and everything it has to say about rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from loaders.columns import ROW, TEXT
from loaders.read import RawTable, reject_schema

_SHOWN = 3


@dataclass(slots=True)
class Validation:
    """Frames under validation (each with its row index ROW) and the log of rejects and warnings."""

    raws: Mapping[str, RawTable]
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    _rejects: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    _last_seconds: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def given(self, table: str) -> bool:
        """Whether the dataset has this table."""
        return table in self.raws

    def log(self, table: str, rows: pl.DataFrame) -> None:
        """Notes rejected rows: a frame of ROW, `_column`, `_reason`."""
        self._rejects.setdefault(table, []).append(rows)

    def reject(self, table: str, broken: pl.Series, column: str | pl.Expr, reason: pl.Expr) -> None:
        """Moves the rows where `broken` is true from the frame of the table to its rejects."""
        if not broken.any():
            return
        frame = self.frames[table]
        broken = broken.fill_null(value=False)
        named = pl.lit(column, pl.String) if isinstance(column, str) else column
        self.log(table, frame.filter(broken).select(ROW, named.alias("_column"), reason.alias("_reason")))
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
        """The rejects of each table that has any: input columns, file, line, column, reason; in the order of
        the file."""
        answer: dict[str, pl.DataFrame] = {}
        for name, raw in self.raws.items():
            parts = [] if raw.broken is None else [raw.broken]
            if self._rejects.get(name):
                parts.append(self._originals(raw, pl.concat(self._rejects[name])))
            if parts:
                line = list(reject_schema(raw.frame.columns))[1]
                answer[name] = pl.concat(parts).sort(line, maintain_order=True)
        return answer

    def _originals(self, raw: RawTable, logged: pl.DataFrame) -> pl.DataFrame:
        first = logged.unique(ROW, keep="first", maintain_order=True).sort(ROW)
        rows = raw.frame[first[ROW]].select(pl.all().cast(pl.String, strict=False))
        file, line, column, reason = reject_schema(raw.frame.columns)
        return rows.with_columns(
            pl.lit(raw.file).alias(file),
            raw.line_of(first[ROW]).alias(line),
            first["_column"].alias(column),
            first["_reason"].alias(reason),
        )
