"""One pass over the bytes of a CSV file, before Polars parses it: where records begin, and which can't be used.

The rules are RFC 4180's. A record is set apart, with its line, when it has the wrong number of fields, bytes that
are not UTF-8, text after a closing quote, or a quote that never closes. A quote inside an unquoted field (`3/4"
elbow`) is text; such a record is listed too, to be written anew in a form on which all parsers agree. After a
record that can't be used the scan goes on at the next physical line, so one lost quote costs one line and not the
rest of the file.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.jit import compiled

RECORD_LINES_MAX: Final = 1_000
"""A quoted field that runs over more lines than this is taken for a quote that never closes."""


class Fault(IntEnum):
    """Why a record is set apart."""

    BLANK = 1
    FIELD_COUNT = 2
    TEXT_AFTER_QUOTE = 3
    OPEN_QUOTE = 4
    NOT_UTF8 = 5
    STRAY_QUOTE = 6


_BLANK, _FIELD_COUNT, _AFTER, _OPEN, _UTF8, _STRAY = (int(fault) for fault in Fault)
_NEWLINE, _RETURN, _QUOTE, _COMMA = 10, 13, 34, 44


@dataclass(frozen=True, slots=True)
class Scan:
    """What the scan found. `record_lines` is the physical line of each record that stays (STRAY_QUOTE ones included),
    None where record i simply is line `first_line + i`."""

    records: int
    fault_starts: NDArray[np.int64]
    fault_ends: NDArray[np.int64]
    """Exclusive, without the newline."""
    fault_lines: NDArray[np.int64]
    faults: NDArray[np.uint8]
    fault_fields: NDArray[np.int64]
    record_lines: NDArray[np.int64] | None


@compiled
def _utf8_length(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Bytes of the UTF-8 sequence at `at`, 0 where it isn't one (Unicode 15, table 3-7)."""
    lead = data[at]
    low, high = 0x80, 0xBF
    if 0xC2 <= lead <= 0xDF:
        more = 1
    elif 0xE0 <= lead <= 0xEF:
        more = 2
        low = 0xA0 if lead == 0xE0 else 0x80
        high = 0x9F if lead == 0xED else 0xBF
    elif 0xF0 <= lead <= 0xF4:
        more = 3
        low = 0x90 if lead == 0xF0 else 0x80
        high = 0x8F if lead == 0xF4 else 0xBF
    else:
        return 0
    if at + more >= end or data[at + 1] < low or data[at + 1] > high:
        return 0
    for step in range(2, more + 1):
        if data[at + step] < 0x80 or data[at + step] > 0xBF:
            return 0
    return more + 1


@compiled
def _record(data: NDArray[np.uint8], start: int) -> tuple[int, int, int, int]:  # noqa: C901, PLR0912, one state machine
    """(end, fields, newlines inside, fault) of the record at `start`; end is its newline or the end of the data."""
    end = len(data)
    at, fields, newlines, fault = start, 1, 0, 0
    fresh, quoted, closed = True, False, False
    while at < end:
        byte = data[at]
        if byte >= 0x80:
            length = _utf8_length(data, at, end)
            if length == 0:
                fault = _UTF8
                length = 1
            elif closed and fault == 0:
                fault = _AFTER
            fresh = False
            at += length
            continue
        if quoted:
            if byte == _QUOTE:
                if at + 1 < end and data[at + 1] == _QUOTE:
                    at += 1
                else:
                    quoted, closed = False, True
            elif byte == _NEWLINE:
                newlines += 1
                if newlines > RECORD_LINES_MAX:
                    return at, fields, newlines, _OPEN
        elif byte == _COMMA:
            fields += 1
            fresh, closed = True, False
        elif byte == _NEWLINE:
            break
        elif byte == _QUOTE and fresh:
            quoted, fresh = True, False
        elif byte == _RETURN and (at + 1 == end or data[at + 1] == _NEWLINE):
            pass
        else:
            if fault == 0 and closed:
                fault = _AFTER
            elif fault == 0 and byte == _QUOTE:
                fault = _STRAY
            fresh = False
        at += 1
    if quoted:
        fault = _OPEN
    return at, fields, newlines, fault


@compiled
def _scan(
    data: NDArray[np.uint8],
    start: int,
    line: int,
    width: int,
    faults: NDArray[np.int64],
    record_lines: NDArray[np.int64],
    fill: bool,
) -> tuple[int, int, int]:
    """Fills the rows (start, end, line, fault, fields) of `faults` and the lines of what stays, or only counts them."""
    records, found, folded = 0, 0, 0
    at, end = start, len(data)
    while at < end:
        stop, fields, newlines, fault = _record(data, at)
        if stop == at or (stop == at + 1 and data[at] == _RETURN):
            fault = _BLANK
        elif fields != width and fault not in (_UTF8, _OPEN, _AFTER):
            fault = _FIELD_COUNT
        if newlines > 0 and fault not in (0, _STRAY):
            stop, newlines = at, 0
            while stop < end and data[stop] != _NEWLINE:
                stop += 1
        if fault != 0:
            if fill:
                faults[found, 0], faults[found, 1], faults[found, 2] = at, stop, line
                faults[found, 3], faults[found, 4] = fault, fields
            found += 1
        if fault in (0, _STRAY):
            if fill:
                record_lines[records] = line
            records += 1
        folded += newlines
        line += newlines + 1
        at = stop + 1
    return records, found, folded


def scan(data: NDArray[np.uint8], start: int, first_line: int, width: int) -> Scan:
    """Looks at the records of `data` from byte `start` (line `first_line`), each of which should have `width`
    fields."""
    nothing = np.empty((0, 5), np.int64)
    no_lines = np.empty(0, np.int64)
    records, found, folded = _scan(data, start, first_line, width, nothing, no_lines, False)
    faults, lines = nothing, no_lines
    if found or folded:
        faults, lines = np.empty((found, 5), np.int64), np.empty(records, np.int64)
        _scan(data, start, first_line, width, faults, lines, True)
    return Scan(
        records,
        faults[:, 0],
        faults[:, 1],
        faults[:, 2],
        faults[:, 3].astype(np.uint8),
        faults[:, 4],
        lines if found or folded else None,
    )
