"""Reads CSV files: any of four separators and many encodings, plain or packed.

A record that is not CSV, or not of the file's encoding, is set apart as a reject, and the rest of its file is read.
What a file may cost is bounded: how far a packed one may unpack, how many of its records may be no rows, and how many
rows this machine's memory can hold.
"""

import csv
import gzip
import io
import os
import re
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.csv_scan import Fault, Scan, scan
from pricegrid.loaders.read.dialect import SEPARATORS, Dialect, FoundDialect
from pricegrid.loaders.read.encodings import Bytes, Decoded, decoded, readings_of, shown_latin
from pricegrid.loaders.read.raw import (
    CELL_BYTES_MAX,
    REASON_CHARS_MAX,
    RawTable,
    broken_frame,
    check_header,
)
from pricegrid.loaders.tables import Table

_BOM: Final = b"\xef\xbb\xbf"
_CHUNK_BYTES: Final = 1 << 22
_SEPARATOR_LINE: Final = re.compile(rb"sep=([,;\t|])")
_NAME_OF_SEPARATOR: Final = {sign: name for name, sign in SEPARATORS.items()}

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


@dataclass(slots=True)
class _Text:
    """A file as UTF-8 with lines that end with LF or CRLF."""

    file: str
    data: Bytes
    encoding: str
    line_ends: str
    evidence: str | None
    path: Path | None
    """The file, where it holds just these bytes."""

    @property
    def shown_encoding(self) -> str:
        """As messages call it."""
        return "UTF-8" if self.encoding == "utf-8" else self.encoding


@dataclass(frozen=True, slots=True)
class _Header:
    """The line with the column names."""

    names: list[str]
    separator: str
    """One of SEPARATORS."""
    evidence: str | None
    start: int
    """The byte at which the rows begin..."""
    first_line: int
    """...and their line."""

    @property
    def is_foreign(self) -> bool:
        """Whether it has bytes that are not UTF-8."""
        return any(_has_escapes(name) for name in self.names)


def read_csv(path: Path, table: Table, stated: Dialect) -> RawTable:
    """Reads a CSV file. DatasetError: no header, or not the table's, or the file as a whole can't be read."""
    text = _text_of(path, stated.encoding)
    header, found = _scanned(text, table, stated)
    if (header.is_foreign or _is_foreign(found)) and stated.encoding is None and text.encoding == "utf-8":
        latin = shown_latin(text.data)
        if latin is not None:
            text = _with_lf(path.name, latin, None)
            header, found = _scanned(text, table, stated)
    if header.is_foreign:
        raise DatasetError(f"{path.name}: the header is not {text.shown_encoding}: say --encoding")
    file, names = path.name, header.names
    warnings = [*check_header(file, names, table), *_foreign_words(text, found)]
    _require_room(file, len(table.columns), len(names), found)
    if len(found.faults) == 0:
        source = text.path or text.data.tobytes()
        frame = _parse(source, header, skip_lines=header.first_line - 1)
    else:
        frame = _parse(_without_faults(text.data, header, found), header)
    if frame.height != found.records:
        raise DatasetError(
            f"{file}: read {frame.height} rows where {found.records} were found; is it still being written?"
        )
    return RawTable(
        table.name,
        file,
        frame,
        header.first_line,
        found.record_lines,
        _broken(text, header, found),
        tuple(warnings),
        FoundDialect(
            file,
            "csv.gz" if file.endswith(".gz") else "csv",
            header.separator,
            text.encoding,
            text.line_ends,
            evidence=tuple(why for why in (header.evidence, text.evidence) if why),
        ),
    )


def _scanned(text: _Text, table: Table, stated: Dialect) -> tuple[_Header, Scan]:
    header = _read_header(text.file, text.data, table, stated.separator)
    return header, _scan(text.data, header)


def _is_foreign(found: Scan) -> bool:
    return bool((found.faults == Fault.NOT_UTF8).any())


def _foreign_words(text: _Text, found: Scan) -> list[str]:
    """A warning with the readings of a record that is not of the file's encoding."""
    if text.encoding != "utf-8" or not _is_foreign(found):
        return []
    foreign = np.flatnonzero(found.faults == Fault.NOT_UTF8)
    words = f"{text.file}: {len(foreign):,} rows have bytes that are not UTF-8, the first in line "
    words += str(found.fault_lines[foreign[0]])
    for at in foreign:  # of a record of several lines only the first is set apart with it
        record = text.data[found.fault_starts[at] : found.fault_ends[at]].tobytes()
        if not record.isascii():
            words += f": {readings_of(record)}"
            break
    return [f"{words}; if the file is one of these, say --encoding"]


def _text_of(path: Path, encoding: str | None) -> _Text:
    packed = path.name.endswith(".gz")
    data = np.frombuffer(_unpacked(path), np.uint8) if packed else _mapped(path)
    return _with_lf(path.name, decoded(path.name, data, encoding), None if packed else path)


def _with_lf(file: str, source: Decoded, path: Path | None) -> _Text:
    data, line_ends = source.data, "LF"
    own = source.own
    if _has_only_returns(data):
        data, line_ends, own = np.frombuffer(data.tobytes().replace(b"\r", b"\n"), np.uint8), "CR", True
    elif (line := _line(data, 0)[0]).endswith(b"\r"):
        line_ends = "CRLF"
        if line.endswith(b"\r\r"):  # text with CRLF, written as text once more
            data, own = np.frombuffer(data.tobytes().replace(b"\r\r\n", b"\r\n"), np.uint8), True
    return _Text(file, data, source.encoding, line_ends, source.evidence, None if own else path)


def _mapped(path: Path) -> Bytes:
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


def _has_only_returns(data: Bytes) -> bool:
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


def _read_header(file: str, data: Bytes, table: Table, stated: str | None) -> _Header:
    """Reads the header. The separator is the one that gives most columns of the table, unless it is stated, or a first
    line `sep=;` says it, as spreadsheets write it."""
    line, start = _line(data, 0)
    line = line.removeprefix(_BOM)
    first_line, evidence = 2, None
    marked = _SEPARATOR_LINE.fullmatch(line.strip(b"\r"))
    if marked:
        evidence = f'the first line is "sep={marked[1].decode()}"'
        stated = stated or _NAME_OF_SEPARATOR[marked[1].decode()]
        line, start = _line(data, start)
        first_line = 3
    if not line.strip():
        raise DatasetError(f"{file}: is empty; a header line with the column names is required")
    text = line.decode("utf-8", "surrogateescape")
    known = {column.name for column in table.columns}
    best = {name: _names(file, text, sign) for name, sign in SEPARATORS.items() if stated in (None, name)}
    separator = max(best, key=lambda name: len(known.intersection(best[name])))
    if evidence is None and stated is None and separator != "comma":
        evidence = "the header"
    return _Header(best[separator], separator, evidence, start, first_line)


def _names(file: str, line: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise DatasetError(f"{file}: the header can't be read as CSV: {error}") from error


def _line(data: Bytes, start: int) -> tuple[bytes, int]:
    """The line that begins at a byte, and where the next one begins."""
    head = data[start : start + (1 << 20)].tobytes()
    end = head.find(b"\n")
    return (head, start + len(head)) if end < 0 else (head[:end], start + end + 1)


def _parse(source: Path | bytes, header: _Header, skip_lines: int = 0) -> pl.DataFrame:
    schema = dict.fromkeys(header.names, pl.String)
    if isinstance(source, bytes) and not source:
        return pl.DataFrame(schema=schema)
    return pl.read_csv(
        source,
        has_header=False,
        separator=SEPARATORS[header.separator],
        schema=schema,
        skip_lines=skip_lines,
        raise_if_empty=False,
        glob=False,
    )


def _scan(data: Bytes, header: _Header) -> Scan:
    """The compiled scan knows commas only: for another separator it looks at a copy in which the two are exchanged."""
    if header.separator != "comma":
        exchange = np.arange(256, dtype=np.uint8)
        other = ord(SEPARATORS[header.separator])
        exchange[[ord(","), other]] = [other, ord(",")]
        data = exchange[data]
    return scan(data, header.start, header.first_line, len(header.names))


def _without_faults(data: Bytes, header: _Header, found: Scan) -> bytes:
    """The bytes of the records that stay."""
    pieces: list[bytes] = []
    start, separator = header.start, SEPARATORS[header.separator]
    for begin, end, fault in zip(found.fault_starts, found.fault_ends, found.faults, strict=True):
        pieces.append(data[start:begin].tobytes())
        if fault == Fault.STRAY_QUOTE:
            pieces.append(_requoted(data[begin:end].tobytes(), separator))
        start = end + 1
    pieces.append(data[start:].tobytes())
    return b"".join(pieces)


def _requoted(record: bytes, separator: str) -> bytes:
    text = io.StringIO()
    fields = _fields(record.decode("utf-8"), separator)
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(fields)
    return text.getvalue().encode("utf-8")


def _fields(record: str, separator: str) -> list[str]:
    """The fields of one record. Python's reader takes a quote inside an unquoted field for text, as the scan does."""
    try:
        return next(csv.reader(io.StringIO(record, newline=""), delimiter=separator), [])
    except csv.Error:  # a field longer than csv.field_size_limit()
        return record.split(separator)


def _broken(text: "_Text", header: _Header, found: Scan) -> pl.DataFrame | None:
    rows: list[tuple[str | int | None, ...]] = []
    names, separator = header.names, SEPARATORS[header.separator]
    for begin, end, line, fault, count in zip(
        found.fault_starts, found.fault_ends, found.fault_lines, found.faults, found.fault_fields, strict=True
    ):
        if fault in (Fault.BLANK, Fault.STRAY_QUOTE):
            continue
        record = text.data[begin:end].tobytes().decode("utf-8", "surrogateescape").rstrip("\r")
        fields = _fields(record, separator)
        column, reason = _why(Fault(fault), names, fields, int(count), text.shown_encoding)
        shown = [f.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for f in fields]
        padded = [*(cell[:CELL_BYTES_MAX] for cell in shown), *[None] * len(names)][: len(names)]
        rows.append((*padded, text.file, int(line), column, reason[:REASON_CHARS_MAX], None))
    return broken_frame(names, rows)


def _why(fault: Fault, header: list[str], fields: list[str], count: int, encoding: str) -> tuple[str, str]:
    """Column and reason of a broken record."""
    if fault is Fault.NOT_UTF8:
        reason = f"bytes that are not {encoding}"
        for name, value in zip(header, fields, strict=False):
            if _has_escapes(value):
                return name, reason
        return "", reason
    if fault is Fault.OPEN_QUOTE:
        return "", "a quote is opened and never closed"
    if fault is Fault.TEXT_AFTER_QUOTE:
        return "", "text follows a closing quote"
    reason = f"{count} fields where the header names {len(header)}"
    surplus = fields[len(header) :]
    if surplus and any(_is_torn(*pair) for pair in pairwise(fields)):
        reason += " (a decimal comma needs quotes, or another separator)"
    return "", f"{reason}; too many: {', '.join(surplus)}" if surplus else reason


def _has_escapes(text: str) -> bool:
    """Whether it holds bytes that are not UTF-8, as `surrogateescape` gives them."""
    return any("\udc80" <= char <= "\udcff" for char in text)


def _is_torn(one: str, other: str) -> bool:
    """Whether two fields look like a number with a decimal comma that was taken for a separator."""
    return one.isdecimal() and other.isdecimal() and len(other) <= 4 and "," not in one + other
