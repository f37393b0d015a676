"""Compiled: decodes price and quote requests into arrays, without an object per line.

One pass over the bytes, in the order of the message: read a tag, read the length, then either note where a text begins
and ends or read the nested message (a line, an instant). Texts are not copied; arrays hold offsets into the request.

The scanner accepts only the canonical form that clients send: fields in ascending order, each at most once, lengths and
numbers in their shortest form, names in ASCII without outer blanks, all within the limits. For anything else it returns
NEEDS_RUNTIME and the protobuf runtime decodes the request, so the scanner never decides alone what is valid.

The functions work on tables (`columnar.tables`), which check no bounds, and on numpy arrays, whose bounds
numba can check in tests.
"""

import numpy as np

from pricegrid.columnar.jit import inlined, kernel
from pricegrid.columnar.tables import table_of
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.service.limits import FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX

# head (HEAD_SIZE,): the fields of a request besides its lines; a text is [start, start + length) of the request
(
    HEAD_LINES,
    HEAD_CUSTOMER,
    HEAD_CUSTOMER_LENGTH,
    HEAD_CURRENCY,
    HEAD_CURRENCY_LENGTH,
    HEAD_BRANCHES,  # offset of the first branch's tag
    HEAD_BRANCHES_END,
    HEAD_BRANCH_COUNT,
    HEAD_BRANCH,  # the first branch
    HEAD_BRANCH_LENGTH,
    HEAD_VERSION,
    HEAD_VERSION_LENGTH,
    HEAD_HAS_AS_OF,
    HEAD_AS_OF,  # microseconds since the epoch
    HEAD_HAS_DAYS,  # 1: LINE_AS_OF of some line is a day yet, counted from FIRST_DAY
    HEAD_SIZE,
) = range(16)
FIRST_DAY = -(2**62) - 2**61
"""LINE_AS_OF of a line with a date is FIRST_DAY + days since 1970, until its zone is known: no instant is as early."""

NEEDS_RUNTIME = -1
"""The request is not in canonical form, or beyond a limit: the protobuf runtime has to decode it."""
BUFFER_FULL = -2
"""The output does not fit: the request has more lines (HEAD_LINES) than `lines`, or the response is longer."""
VARINT, FIXED64, TEXT = 0, 1, 2  # wire types
LIMITS = (LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX, FIELD_BYTES_MAX)
"""The limits of a request, as `scan_request` takes them."""
_LENGTH_BYTES_MAX = 4
_MICROS = 1_000_000
_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z
_SIGN = -(2**63)


@inlined
def _length(raw, at, end):  # type: ignore[no-untyped-def]
    """(length, start of the content) of the field whose length is at `at`; length -1: not canonical."""
    value, shift = np.int64(0), np.int64(0)
    for _ in range(_LENGTH_BYTES_MAX):
        if at >= end:
            return np.int64(-1), at
        byte = np.int64(raw[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if (byte == 0 and shift > 0) or value > end - at:
                return np.int64(-1), at
            return value, at
        shift += 7
    return np.int64(-1), at


@inlined
def read_number(raw, at, end):  # type: ignore[no-untyped-def]
    """(int64, start of the next field) of the varint at `at`; start -1: not canonical."""
    value, shift = np.int64(0), np.int64(0)
    while at < end:
        byte = np.int64(raw[at])
        at += 1
        if shift == 63:
            return (value | _SIGN, at) if byte == 1 else (value, np.int64(-1))
        value |= (byte & 127) << shift
        if byte < 128:
            return value, np.int64(-1) if byte == 0 and shift > 0 else at
        shift += 7
    return value, np.int64(-1)


@inlined
def _is_ascii(raw, at, length):  # type: ignore[no-untyped-def]
    union = np.int64(0)
    for i in range(length):
        union |= np.int64(raw[at + i])
    return union < 128


@inlined
def _is_trimmed_ascii(raw, at, length):  # type: ignore[no-untyped-def]
    """Whether a text is a name as it is: ASCII, without blanks to trim."""
    if length == 0:
        return True
    first, last = raw[at], raw[at + length - 1]
    if first == 32 or first == 9 or last == 32 or last == 9:
        return False
    return _is_ascii(raw, at, length)


@kernel
def _scan_instant(raw, at, end):  # type: ignore[no-untyped-def]
    """The microseconds of the Timestamp in [at, end); -1: not canonical, or not an instant from 1970 to 9999."""
    seconds = nanos = np.int64(0)
    if at < end and raw[at] == (1 << 3 | VARINT):
        seconds, at = read_number(raw, at + 1, end)
        if at < 0:
            return np.int64(-1)
    if at < end and raw[at] == (2 << 3 | VARINT):
        nanos, at = read_number(raw, at + 1, end)
        if at < 0:
            return np.int64(-1)
    if at != end or not (0 <= seconds <= _SECONDS_MAX and 0 <= nanos <= 999_999_999):
        return np.int64(-1)
    return seconds * _MICROS + nanos // 1000


@inlined
def _digits(raw, at, count):  # type: ignore[no-untyped-def]
    """The number written in so many digits, -1 if one is none."""
    number = np.int64(0)
    for i in range(count):
        digit = np.int64(raw[at + i]) - 48
        if not 0 <= digit <= 9:
            return np.int64(-1)
        number = number * 10 + digit
    return number


@kernel
def _scan_date(raw, at, length):  # type: ignore[no-untyped-def]
    """FIRST_DAY + the day since 1970-01-01 of a date YYYY-MM-DD (proleptic Gregorian calendar); 0: it is none."""
    if length != 10 or raw[at + 4] != 45 or raw[at + 7] != 45:
        return np.int64(0)
    year, month, day = _digits(raw, at, 4), _digits(raw, at + 5, 2), _digits(raw, at + 8, 2)
    if year < 1 or not 1 <= month <= 12:
        return np.int64(0)
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 30 + (month + month // 8) % 2 if month != 2 else 29 if is_leap else 28
    if not 1 <= day <= last:
        return np.int64(0)
    shifted = year - 1 if month <= 2 else year  # years begin in March
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return FIRST_DAY + shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719_468


@kernel
def _scan_line_as_of(raw, at, end, head, line):  # type: ignore[no-untyped-def]
    """Decode what a PriceLine says of its instant, from `at` to its end; False: not canonical."""
    field = np.int64(raw[at]) >> 3
    if raw[at] & 7 != TEXT or not 4 <= field <= 5:
        return False
    length, at = _length(raw, at + 1, end)
    if length < 0 or at + length != end:
        return False
    if field == 4:
        line[kn.LINE_AS_OF] = _scan_instant(raw, at, end)
        return line[kn.LINE_AS_OF] >= 0
    line[kn.LINE_AS_OF] = _scan_date(raw, at, length)
    head[HEAD_HAS_DAYS] = 1
    return line[kn.LINE_AS_OF] != 0


@kernel
def _scan_line(raw, at, end, head, line, sku_max, uom_max):  # type: ignore[no-untyped-def]
    """Decode the PriceLine in [at, end) into a row of `lines`; False: not canonical."""
    line[kn.LINE_AS_OF] = kn.NO_AS_OF
    line[kn.LINE_SKU] = line[kn.LINE_SKU_LENGTH] = 0
    line[kn.LINE_UOM] = line[kn.LINE_UOM_LENGTH] = 0
    line[kn.LINE_QUANTITY] = 0
    if at < end and raw[at] == (1 << 3 | TEXT):
        length, at = _length(raw, at + 1, end)
        if length < 0 or length > sku_max or not _is_trimmed_ascii(raw, at, length):
            return False
        line[kn.LINE_SKU], line[kn.LINE_SKU_LENGTH] = at, length
        at += length
    if at < end and raw[at] == (2 << 3 | VARINT):
        quantity, at = read_number(raw, at + 1, end)
        if at < 0:
            return False
        line[kn.LINE_QUANTITY] = quantity
    if at < end and raw[at] == (3 << 3 | TEXT):
        length, at = _length(raw, at + 1, end)
        if length < 0 or length > uom_max or not _is_trimmed_ascii(raw, at, length):
            return False
        line[kn.LINE_UOM], line[kn.LINE_UOM_LENGTH] = at, length
        at += length
    return at == end or _scan_line_as_of(raw, at, end, head, line)


@kernel
def _scan_text(raw, at, length, head, column, bytes_max):  # type: ignore[no-untyped-def]
    head[column], head[column + 1] = at, length
    return length <= bytes_max and _is_trimmed_ascii(raw, at, length)


@kernel
def scan_request(raw, head, lines, limits):  # type: ignore[no-untyped-def]
    """Decode a PriceLinesRequest or QuoteLinesRequest; returns the number of lines, NEEDS_RUNTIME or BUFFER_FULL.

    `raw` u8; `head` (HEAD_SIZE,) and `lines` (rows, 6) int64 are written; `limits` = (lines, bytes of a SKU, of a unit,
    of any other text). Both messages have the same fields, except that PriceLines has at most one branch.
    """
    lines_max, sku_max, uom_max, text_max = limits
    for column in range(HEAD_SIZE):
        head[column] = 0
    at, end, before, count = np.int64(0), np.int64(len(raw)), np.int64(0), np.int64(0)
    while at < end:
        tag, field = at, np.int64(raw[at]) >> 3
        is_repeated = field == 2 or field == 4
        if raw[at] & 7 != TEXT or field < before or (field == before and not is_repeated):
            return NEEDS_RUNTIME
        before = field
        length, at = _length(raw, at + 1, end)
        if length < 0:
            return NEEDS_RUNTIME
        fits = True
        if field == 2:
            if count < len(lines):
                fits = _scan_line(raw, at, at + length, head, lines[count], sku_max, uom_max)
            count += 1
        elif field == 1:
            fits = _scan_text(raw, at, length, head, HEAD_CUSTOMER, text_max)
        elif field == 3:
            fits = _scan_text(raw, at, length, head, HEAD_CURRENCY, text_max)
        elif field == 4:
            if head[HEAD_BRANCH_COUNT] == 0:
                head[HEAD_BRANCHES] = tag
                fits = _scan_text(raw, at, length, head, HEAD_BRANCH, text_max)
            else:
                fits = length <= text_max and _is_trimmed_ascii(raw, at, length)
            head[HEAD_BRANCH_COUNT] += 1
            head[HEAD_BRANCHES_END] = at + length
        elif field == 5:
            head[HEAD_HAS_AS_OF], head[HEAD_AS_OF] = 1, _scan_instant(raw, at, at + length)
            fits = head[HEAD_AS_OF] >= 0
        elif field == 7:
            fits = _scan_text(raw, at, length, head, HEAD_VERSION, text_max)
        else:
            return NEEDS_RUNTIME
        if not fits:
            return NEEDS_RUNTIME
        at += length
    head[HEAD_LINES] = count
    if count == 0 or count > lines_max:
        return NEEDS_RUNTIME
    return BUFFER_FULL if count > len(lines) else count


@kernel
def scan_arrays(raw, head, lines, limits):  # type: ignore[no-untyped-def]
    """`scan_request` for numpy arrays, by the same code as for tables."""
    return scan_request(table_of(raw), table_of(head), table_of(lines), limits)
