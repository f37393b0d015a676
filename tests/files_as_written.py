"""Tables written as people and programs write them: in any dialect, for the tests of reading."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import openpyxl

Cell = str | Decimal | date | None
"""A name or word, a number, a date, or nothing."""

Tables = Mapping[str, Sequence[Mapping[str, Cell]]]


@dataclass(frozen=True)
class Written:
    """How a file is written."""

    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    dates: str = "%Y-%m-%d"
    line_end: str = "\n"
    form: str = "csv"
    quote_all: bool = False


def number_text(value: Decimal, how: Written) -> str:
    """A number in the notation of the file, with at least two decimals where it has any."""
    sign, whole, fraction = ("-" if value < 0 else ""), *f"{abs(value):f}".partition(".")[::2]
    if how.thousands:
        whole = f"{int(whole):,}".replace(",", how.thousands)
    return sign + whole + (how.decimal + fraction.ljust(2, "0") if fraction else "")


def cell_text(cell: Cell, how: Written) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return number_text(cell, how)
    return cell.strftime(how.dates) if isinstance(cell, date) else cell


def write_table(folder: Path, name: str, rows: Sequence[Mapping[str, Cell]], how: Written) -> Path:
    path = folder / f"{name}.{how.form}"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if how.form == "xlsx":
        _write_workbook(path, columns, rows, how)
        return path
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if how.quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=how.separator, lineterminator=how.line_end, quoting=quoting)
    writer.writerow(columns)
    writer.writerows([cell_text(row.get(column), how) for column in columns] for row in rows)
    data = text.getvalue().encode(how.encoding)
    path.write_bytes(gzip.compress(data) if how.form == "csv.gz" else data)
    return path


def write_dataset(folder: Path, tables: Tables, how: Written) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        if rows:
            write_table(folder, name, rows, how)
    return folder


def _write_workbook(path: Path, columns: list[str], rows: Sequence[Mapping[str, Cell]], how: Written) -> None:
    """Numbers of at most 15 digits as numbers, as Excel keeps them; longer ones as text."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(columns)
    for row in rows:
        sheet.append([_excel(row.get(column), how) for column in columns])
    book.save(path)


def _excel(cell: Cell, how: Written) -> object:
    if isinstance(cell, Decimal):
        return cell if len(cell.as_tuple().digits) <= 15 else number_text(cell, how)
    return cell


def workbook(rows: Sequence[Sequence[object]], formats: Mapping[str, str] | None = None) -> bytes:
    """A workbook of one sheet, with the number formats of some cells."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for place, number_format in (formats or {}).items():
        book.active[place].number_format = number_format
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()
