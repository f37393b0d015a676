"""Reads the sheets of `.xlsx` workbooks as tables of text.

A sheet says more than its cells show, and less than they hold. The rules:

- A text is read as it is.
- A number is a binary float in the file. A spreadsheet keeps and shows 15 significant digits of it, and these are read,
  whatever decimals the format of the cell shows; where it shows fewer, a warning counts the cells.
- A number in a column of names is the whole number that the sheet shows: `00123` where the format is `00000`. With more
  than 15 digits it has lost some, and its row is rejected.
- A date is that date; a date with a time of day is local time in the zone of the dataset.
- Percentages, formulas without a stored result, error values, and dates in columns of names or numbers (a spreadsheet
  makes them out of names like 3-4) are rejected: what was meant can't be told.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.dialect import FoundDialect
from pricegrid.loaders.read.raw import CELL_BYTES_MAX, RawTable, broken_frame, check_header
from pricegrid.loaders.tables import Kind, Table

UNPACKED_BYTES_MAX: Final = 2 << 30
UNPACKED_RATIO_MAX: Final = 200
UNPACKED_FREE_BYTES: Final = 16 << 20
"""How far a workbook may unpack: as a `.csv.gz`, and no further than this."""

_DIGITS: Final = Context(prec=15)
_NUMBERS: Final = frozenset({Kind.DECIMAL, Kind.RATE, Kind.INTEGER, Kind.WEEKDAY})
_DATES: Final = frozenset({Kind.VALID_FROM, Kind.VALID_TO, Kind.INSTANT, Kind.DATE})
_PADDED: Final = re.compile(r"0{2,}")
_QUOTED: Final = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_CLOCK_MARKS: Final = re.compile(r"[hs]", re.IGNORECASE)
_DECIMALS: Final = re.compile(r"[0#?](?:\.([0#?]*))?(?!.*[0#?])")


def sheet_names(path: Path) -> list[str]:
    """The names of the sheets that are not hidden. DatasetError: the file is no workbook that can be read."""
    with _opened(path) as book:
        return [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]


def read_sheet(path: Path, sheet: str | None, file: str, table: Table) -> RawTable:
    """Reads a sheet whose first row that is not blank names the columns. DatasetError: unreadable, or no such table."""
    with _opened(path) as book:
        cells = book[sheet] if sheet is not None else book.worksheets[0]
        cells.reset_dimensions()  # what the file says of its extent may be wrong
        reader = _Reader(file, table, _formulas(path, cells.title))
        for number, row in enumerate(cells.iter_rows(), 1):
            reader.take(number, row)
    return reader.finished()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise DatasetError(
            f"{path.name}: reading .xlsx needs the package openpyxl, which the extra `server` brings: install it, or "
            "save the sheet as CSV"
        ) from error
    _require_bounds(path)
    try:
        book = load_workbook(path, read_only=True, data_only=True, keep_links=False)
    except Exception as error:  # openpyxl raises whatever its parsers meet
        raise DatasetError(f"{path.name}: can't be read as .xlsx: {error}") from error
    try:
        yield book
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(f"{path.name}: can't be read as .xlsx: {error}") from error
    finally:
        book.close()


def _require_bounds(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(each.file_size for each in packed.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path.name}: can't be read as .xlsx: {error}; a workbook with a password is saved without it first"
        ) from error
    most = min(UNPACKED_BYTES_MAX, max(UNPACKED_FREE_BYTES, path.stat().st_size * UNPACKED_RATIO_MAX))
    if size > most:
        raise DatasetError(
            f"{path.name}: unpacks to {size:,} bytes; it may to {most:,}: save the sheet as CSV"
        )


def _formulas(path: Path, sheet: str) -> set[tuple[int, int]]:
    """Row and column of the cells with a formula: one without a stored result reads as blank."""
    with zipfile.ZipFile(path) as packed:
        sheets = [
            name for name in packed.namelist() if name.startswith("xl/worksheets/") and name.endswith(".xml")
        ]
        if not any(_mentions(packed, name, b"<f") for name in sheets):
            return set()
    from openpyxl import load_workbook

    book = load_workbook(path, read_only=True, data_only=False, keep_links=False)
    try:
        cells = book[sheet]
        cells.reset_dimensions()
        return {
            (number, at)
            for number, row in enumerate(cells.iter_rows(), 1)
            for at, cell in enumerate(row)
            if cell.data_type == "f"
        }
    finally:
        book.close()


def _mentions(packed: zipfile.ZipFile, name: str, words: bytes) -> bool:
    kept = b""
    with packed.open(name) as file:
        while chunk := file.read(1 << 20):
            if words in kept + chunk:
                return True
            kept = chunk[-len(words) :]
    return False


class _BadCellError(Exception):
    """Why a cell has no value; its text is the reason."""


@dataclass(slots=True)
class _Reader:
    """Takes the rows of a sheet one by one."""

    file: str
    table: Table
    formulas: set[tuple[int, int]]
    header: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    first_line: int = 0
    rows: list[list[str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    broken: list[tuple[str | int | None, ...]] = field(default_factory=list)
    typed: list[list[bool]] = field(default_factory=list)
    rounded: dict[str, tuple[int, str]] = field(default_factory=dict)
    _kinds: list[Kind | None] = field(default_factory=list)

    def take(self, number: int, row: tuple[Any, ...]) -> None:
        """The next row; blank ones don't count."""
        filled = [
            (at, cell)
            for at, cell in enumerate(row)
            if cell.value is not None or (number, at) in self.formulas
        ]
        if all(cell.value == "" for _, cell in filled):
            return
        if not self.header:
            self._take_header(number, row)
            return
        texts: list[str | None] = [None] * len(self.header)
        typed = [False] * len(self.header)
        fault: tuple[str, str] | None = None
        for at, cell in filled:
            if at >= len(self.header):
                fault = fault or ("", f'"{cell.value}" stands in a column that the header does not name')
                continue
            try:
                texts[at], typed[at] = self._text(at, number, cell)
            except _BadCellError as error:
                texts[at] = str(cell.value)[:CELL_BYTES_MAX]
                fault = fault or (self.header[at], str(error))
        if fault is not None:
            self.broken.append((*texts, self.file, number, *fault, None))
            return
        self.rows.append(texts)
        self.typed.append(typed)
        self.lines.append(number)

    def _take_header(self, number: int, row: tuple[Any, ...]) -> None:
        names = ["" if cell.value is None else str(cell.value).strip() for cell in row]
        while names and not names[-1]:
            names.pop()
        self.header, self.first_line = names, number + 1
        self.warnings.extend(check_header(self.file, names, self.table))
        kinds = {column.name: column.kind for column in self.table.columns}
        self._kinds = [kinds.get(name) for name in names]

    def _text(self, at: int, number: int, cell: Any) -> tuple[str, bool]:
        """The cell as canonical text, and whether the sheet has no text in it."""
        value, kind = cell.value, self._kinds[at]
        if value is None:
            raise _BadCellError("a formula without a stored result: calculate the workbook and save it")
        if cell.data_type == "e":
            raise _BadCellError(f'"{value}" is an error of the spreadsheet')
        if isinstance(value, str):
            return value, False
        if isinstance(value, bool):
            return ("true" if value else "false"), True
        if isinstance(value, datetime | date):
            return self._date_text(value, kind, cell.number_format), True
        if isinstance(value, time):
            return value.isoformat("seconds"), True
        if isinstance(value, int | float):
            return self._number_text(at, number, value, kind, cell.number_format), True
        raise _BadCellError(f'"{value}" is a span of time')

    def _date_text(self, value: datetime | date, kind: Kind | None, number_format: str) -> str:
        if kind is not None and kind not in _DATES and kind is not Kind.TEXT:
            raise _BadCellError(
                f'"{value:%Y-%m-%d}" is a date in the sheet, perhaps made of something else: format the column as text'
            )
        if isinstance(value, datetime) and (_has_clock(number_format) or value.time() != time()):
            return value.isoformat("T", "seconds" if value.microsecond == 0 else "microseconds")
        return f"{value:%Y-%m-%d}"

    def _number_text(self, at: int, number: int, value: float, kind: Kind | None, number_format: str) -> str:
        exact = _DIGITS.create_decimal(repr(value) if isinstance(value, float) else value)
        if not exact.is_finite():
            raise _BadCellError(f'"{value}" is not a number')
        bare = _QUOTED.sub("", number_format).partition(";")[0]
        text = f"{exact.normalize(_DIGITS):f}"
        if kind in _DATES:
            raise _BadCellError(f'"{text}" is a number: format the column as a date')
        if kind in _NUMBERS:
            if "%" in bare:
                raise _BadCellError(
                    f'"{text}" is shown as a percentage: format the column as a number (either {text} or '
                    f"{(exact * 100).normalize(_DIGITS):f})"
                )
            self._note_rounding(at, number, exact, text, bare)
            return text
        if abs(exact) >= Decimal(10) ** 15:
            raise _BadCellError(
                f'"{text}" has more digits than a spreadsheet keeps of a number: format the column as text'
            )
        if _PADDED.fullmatch(bare) and exact == exact.to_integral_value():
            return f"{int(exact):0{len(bare)}d}"
        return text

    def _note_rounding(self, at: int, number: int, exact: Decimal, text: str, bare: str) -> None:
        decimals = _DECIMALS.search(bare)
        if decimals is None or "E" in bare.upper() or bare.lower() == "general":
            return
        shown = len(decimals[1] or "")
        if -int(exact.normalize(_DIGITS).as_tuple().exponent) > shown:
            name = self.header[at]
            count, example = self.rounded.get(name, (0, f"{text} in line {number}"))
            self.rounded[name] = (count + 1, example)

    def table_of_rows(self) -> pl.DataFrame:
        """All cells as text."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.header)
        return pl.DataFrame(
            {
                name: pl.Series(values, dtype=pl.String)
                for name, values in zip(self.header, columns, strict=True)
            }
        )

    def table_of_marks(self) -> dict[str, pl.Series]:
        """`RawTable.typed`."""
        columns = list(zip(*self.typed, strict=True)) or [()] * len(self.header)
        return {
            name: pl.Series(values, dtype=pl.Boolean)
            for name, values in zip(self.header, columns, strict=True)
            if any(values)
        }

    def local_times(self, texts: pl.DataFrame, typed: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
        """The columns in which every cell is a date with a time of day, as such: local time of the dataset."""
        answer = {}
        for name, kind in zip(self.header, self._kinds, strict=True):
            column = texts[name]
            if kind not in _DATES or name not in typed or not (typed[name] | column.is_null()).all():
                continue
            if column.str.contains("T", literal=True).all():
                answer[name] = column.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")
        return answer

    def finished(self) -> RawTable:
        """What was taken."""
        if not self.header:
            raise DatasetError(f"{self.file}: is empty; a row with the column names is required")
        for name, (count, example) in self.rounded.items():
            self.warnings.append(
                f"{self.file}: {count:,} cells of {name} have more decimals than the sheet shows, e.g. {example}; all "
                "are read"
            )
        texts, typed = self.table_of_rows(), self.table_of_marks()
        return RawTable(
            self.table.name,
            self.file,
            texts,
            self.first_line,
            np.array(self.lines, np.int64),
            broken_frame(self.header, self.broken),
            tuple(self.warnings),
            FoundDialect(self.file, "xlsx"),
            restated=self.local_times(texts, typed),
            typed=typed,
        )


def _has_clock(number_format: str) -> bool:
    return bool(_CLOCK_MARKS.search(_QUOTED.sub("", number_format)))
