"""Finds and reads the tables of a dataset: every column as it is written, every row with its file and line.

CSV columns stay text; Parquet columns keep their native types. A record that is not CSV, or not UTF-8, is set
apart as a reject, and the rest of its file is read. What a file may cost is bounded: how far a packed one may unpack,
how many of its records may be no rows, and how many rows this machine's memory can hold.
"""

import csv
import gzip
import io
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.csv_scan import Fault, Scan, scan
from pricegrid.loaders.tables import TABLES, Table

_ENDINGS: Final = (".csv.gz", ".csv", ".parquet")
_BOM: Final = b"\xef\xbb\xbf"
_CHUNK_BYTES: Final = 1 << 22
_REASON_CHARS: Final = 1_000

REJECT_EXTRAS: Final = ("file", "line", "column", "reason", "caused_by")
"""What `rejects/TABLE.csv` adds to the columns of the input. `caused_by` is FILE:LINE of the rejected row without which
this one can't be used; blank where the row itself is at fault."""

CELL_BYTES_MAX: Final = 32_000
"""UTF-8 bytes of a cell; a spreadsheet's holds 32,767 characters. A row with a longer one is rejected."""

UNPACKED_BYTES_MAX: Final = 16 << 30
"""Bytes that a .csv.gz may unpack to."""

UNPACKED_RATIO_MAX: Final = 200
"""Times its packed size, beyond UNPACKED_FREE_BYTES: ordinary tables unpack to five to thirty times."""

UNPACKED_FREE_BYTES: Final = 16 << 20

BROKEN_RECORDS_MAX: Final = 1_000_000
"""Records of a file that are no rows; a file with more is not a table of these columns."""

ROW_BYTES: Final = 120
"""About what a row costs while it is read and validated, beside CELL_BYTES for each of its columns."""

CELL_BYTES: Final = 40


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table as it was written. Row i of `frame` stands in line `lines[i]`, or `first_line + i` without `lines`
    (in Parquet the row number, from 1)."""

    name: str
    file: str
    frame: pl.DataFrame
    first_line: int = 2
    lines: NDArray[np.int64] | None = None
    broken: pl.DataFrame | None = None
    """Records that are no rows, in the form of `rejects/TABLE.csv`."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Rows of the file, broken ones included."""
        return self.frame.height + (0 if self.broken is None else self.broken.height)

    def line_of(self, rows: pl.Series) -> pl.Series:
        """The physical line of each row index, int64, named `line`."""
        if self.lines is None:
            return (rows.cast(pl.Int64) + self.first_line).alias("line")
        return pl.Series("line", self.lines[rows.to_numpy()])


def find_tables(directory: Path) -> tuple[dict[str, Path], list[str]]:
    """The file of each table, and warnings about files that are none. DatasetError: no directory, nothing in it, an
    unknown table, or two files for one table."""
    if not directory.is_dir():
        raise DatasetError(f"dataset directory {directory} doesn't exist or isn't a directory")
    found: dict[str, Path] = {}
    warnings: list[str] = []
    for path in sorted(directory.iterdir()):
        ending = next((e for e in _ENDINGS if path.name.endswith(e)), None)
        if path.name.startswith("."):
            continue
        if ending is None or not path.is_file():
            warnings.append(f"{path.name}: ignored, neither .csv, .csv.gz nor .parquet")
            continue
        name = path.name.removesuffix(ending)
        if name not in TABLES:
            raise DatasetError(f'{path.name}: unknown table "{name}"; tables are {", ".join(TABLES)}')
        if name in found:
            raise DatasetError(f"table {name} has two files, {found[name].name} and {path.name}: keep one")
        found[name] = path
    if not found:
        raise DatasetError(f"dataset {directory} is empty: no NAME.csv, NAME.csv.gz or NAME.parquet in it")
    return found, warnings


def read_table(path: Path, table: Table) -> RawTable:
    """Reads one file. DatasetError naming the file: unreadable, no header, a column missing or twice."""
    if path.name.endswith(".parquet"):
        return _read_parquet(path, table)
    return _read_csv(path, table)


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
        raise DatasetError(f"{file}: column {columns.index('') + 1} of the header has no name")
    known = {c.name for c in table.columns}
    if "deleted" in columns and "deleted" not in known:
        raise DatasetError(
            f"{file}: column deleted belongs to a delta: in a full load its entries would be in force"
        )
    return tuple(f'{file}: unknown column "{name}" is ignored' for name in columns if name not in known)


def _read_parquet(path: Path, table: Table) -> RawTable:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{path.name}: can't be read as Parquet: {error}") from error
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    frame = frame.drop(nested)
    warnings = [f'{path.name}: column "{name}" is nested and is ignored' for name in nested]
    warnings.extend(check_header(path.name, frame.columns, table))
    for name, dtype in frame.schema.items():
        if dtype.is_float() and any(c.name == name for c in table.columns):
            warnings.append(
                f'{path.name}: column "{name}" is binary float; its shortest decimal text is read'
            )
    return RawTable(table.name, path.name, frame, first_line=1, warnings=tuple(warnings))


def _read_csv(path: Path, table: Table) -> RawTable:
    file = path.name
    packed_bytes = _unpacked(path) if path.name.endswith(".gz") else None
    data = _mapped(path) if packed_bytes is None else np.frombuffer(packed_bytes, np.uint8)
    if _has_only_returns(data):
        packed_bytes = data.tobytes().replace(b"\r", b"\n")
        data = np.frombuffer(packed_bytes, np.uint8)
    header, start, first_line = _read_header(file, data)
    warnings = check_header(file, header, table)
    found = scan(data, start, first_line, len(header))
    _require_room(file, len(table.columns), len(header), found)
    if len(found.faults) == 0:
        frame = _parse(path if packed_bytes is None else packed_bytes, header, skip_lines=first_line - 1)
    else:
        frame = _parse(_without_faults(data, start, found), header)
    if frame.height != found.records:
        raise DatasetError(
            f"{file}: read {frame.height} rows where {found.records} were found; is it still being written?"
        )
    broken = _broken(file, header, data, found)
    return RawTable(table.name, file, frame, first_line, found.record_lines, broken, warnings)


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        if path.stat().st_size == 0:
            return np.empty(0, np.uint8)
        return np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise DatasetError(f"{path.name}: can't be read: {error}") from error


def _unpacked(path: Path) -> bytes:
    try:
        packed = path.stat().st_size
        limit = min(UNPACKED_BYTES_MAX, max(UNPACKED_FREE_BYTES, packed * UNPACKED_RATIO_MAX))
        with gzip.open(path, "rb") as file:
            content = bytearray()
            while chunk := file.read(_CHUNK_BYTES):
                content += chunk
                if len(content) > limit:
                    raise DatasetError(
                        f"{path.name}: unpacks to more than {limit:,} bytes; a file of {packed:,} bytes may not "
                        f"(at most {UNPACKED_RATIO_MAX} times its size, and {UNPACKED_BYTES_MAX:,}): hand it over "
                        "unpacked"
                    )
            return bytes(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path.name}: can't be unpacked: {error}") from error


def _has_only_returns(data: NDArray[np.uint8]) -> bool:
    """Whether lines end with CR alone, as old spreadsheets write them."""
    head = data[: 1 << 20]
    return bool((head == 13).any()) and not (head == 10).any() and not (data == 10).any()


def _require_room(file: str, columns: int, header: int, found: Scan) -> None:
    """DatasetError: too much of the file is broken, or its rows need more memory than there is."""
    broken = int((found.faults != Fault.BLANK).sum())
    if broken > BROKEN_RECORDS_MAX:
        raise DatasetError(
            f"{file}: {broken:,} records are no rows of these {header} columns; more than {BROKEN_RECORDS_MAX:,} are "
            "not set aside one by one"
        )
    need, has = found.records * (ROW_BYTES + CELL_BYTES * columns), _memory_bytes()
    if need > has:
        raise DatasetError(
            f"{file}: {found.records:,} rows need about {need / 1e9:.1f} GB of memory, this machine has {has / 1e9:.1f}"
        )


def _memory_bytes() -> int:
    """Of the machine, or of the control group this process is in."""
    has = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return has
    return min(has, int(limit)) if limit.isdecimal() else has


def _read_header(file: str, data: NDArray[np.uint8]) -> tuple[list[str], int, int]:
    """The column names, the byte and the line at which the rows begin."""
    head = data[: 1 << 20].tobytes()
    end = head.find(b"\n")
    line = head[: end if end >= 0 else len(head)].removeprefix(_BOM)
    if not line.strip():
        raise DatasetError(f"{file}: is empty; a header line with the column names is required")
    try:
        names = next(csv.reader([line.decode("utf-8")]))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: the header is not UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{file}: the header can't be read as CSV: {error}") from error
    return [name.strip() for name in names], len(head) if end < 0 else end + 1, 2


def _parse(source: Path | bytes, header: list[str], skip_lines: int = 0) -> pl.DataFrame:
    schema = dict.fromkeys(header, pl.String)
    if isinstance(source, bytes) and not source:
        return pl.DataFrame(schema=schema)
    return pl.read_csv(
        source,
        has_header=False,
        schema=schema,
        skip_lines=skip_lines,
        raise_if_empty=False,
        glob=False,
    )


def _without_faults(data: NDArray[np.uint8], start: int, found: Scan) -> bytes:
    """The bytes of the records that stay."""
    pieces: list[bytes] = []
    for begin, end, fault in zip(found.fault_starts, found.fault_ends, found.faults, strict=True):
        pieces.append(data[start:begin].tobytes())
        if fault == Fault.STRAY_QUOTE:
            pieces.append(_requoted(data[begin:end].tobytes()))
        start = end + 1
    pieces.append(data[start:].tobytes())
    return b"".join(pieces)


def _requoted(record: bytes) -> bytes:
    text = io.StringIO()
    fields = _fields(record.decode("utf-8"))
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(fields)
    return text.getvalue().encode("utf-8")


def _fields(record: str) -> list[str]:
    """The fields of one record. Python's reader takes a quote inside an unquoted field for text, as the scan does."""
    try:
        return next(csv.reader(io.StringIO(record, newline="")), [])
    except csv.Error:  # a field longer than csv.field_size_limit()
        return record.split(",")


def _broken(file: str, header: list[str], data: NDArray[np.uint8], found: Scan) -> pl.DataFrame | None:
    rows: list[tuple[str | int | None, ...]] = []
    for begin, end, line, fault, count in zip(
        found.fault_starts, found.fault_ends, found.fault_lines, found.faults, found.fault_fields, strict=True
    ):
        if fault in (Fault.BLANK, Fault.STRAY_QUOTE):
            continue
        fields = _fields(data[begin:end].tobytes().decode("utf-8", "surrogateescape").rstrip("\r"))
        column, reason = _why(Fault(fault), header, fields, int(count))
        shown = [f.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for f in fields]
        padded = [*(cell[:CELL_BYTES_MAX] for cell in shown), *[None] * len(header)][: len(header)]
        rows.append((*padded, file, int(line), column, reason[:_REASON_CHARS], None))
    if not rows:
        return None
    schema = {**{name: pl.String() for name in header}, **reject_schema(header)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def reject_schema(header: list[str]) -> dict[str, pl.DataType]:
    """Names and types of the columns that a rejects file adds; an input column of the same name keeps it, and the added
    one gets an underscore."""
    types: Mapping[str, pl.DataType] = {"line": pl.Int64()}
    return {(name + "_" if name in header else name): types.get(name, pl.String()) for name in REJECT_EXTRAS}


def _why(fault: Fault, header: list[str], fields: list[str], count: int) -> tuple[str, str]:
    """Column and reason of a broken record."""
    if fault is Fault.NOT_UTF8:
        for name, value in zip(header, fields, strict=False):
            if any("\udc80" <= char <= "\udcff" for char in value):
                return name, "bytes that are not UTF-8"
        return "", "bytes that are not UTF-8"
    if fault is Fault.OPEN_QUOTE:
        return "", "a quote is opened and never closed"
    if fault is Fault.TEXT_AFTER_QUOTE:
        return "", "text follows a closing quote"
    reason = f"{count} fields where the header names {len(header)}"
    surplus = fields[len(header) :]
    return "", f"{reason}; too many: {', '.join(surplus)}" if surplus else reason
