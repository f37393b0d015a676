"""Compiled: requests from their bytes to arrays, without an object a line.

`scan_request` takes what clients send: fields in the order of their numbers, each at most once, lengths and numbers in
their shortest form, names in ASCII without outer blanks. Whatever else comes it leaves to the protobuf runtime
(UNUSUAL), so that what is accepted, and what it means, is never decided here alone.

Written once for tables (`columnar.tables`), which check no bounds, and for plain arrays, whose bounds
numba can check.
"""

import numpy as np
from numba import njit

from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.service.limits import FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX

# head (16,): what a request says besides its lines; texts are [start, start + length) of its bytes
(
    HEAD_LINES,
    HEAD_CUSTOMER,
    HEAD_CUSTOMER_LENGTH,
    HEAD_CURRENCY,
    HEAD_CURRENCY_LENGTH,
    HEAD_BRANCHES,  # where the first one's tag is
    HEAD_BRANCHES_END,
    HEAD_BRANCH_COUNT,
    HEAD_BRANCH,  # the first one
    HEAD_BRANCH_LENGTH,
    HEAD_VERSION,
    HEAD_VERSION_LENGTH,
    HEAD_HAS_AS_OF,
    HEAD_AS_OF,  # microseconds since the epoch
    HEAD_SIZE,
) = range(15)

UNUSUAL = -1
"""Not for the kernels: the protobuf runtime must look at it."""
MORE_ROOM = -2
"""There are more lines than the caller has room for, as HEAD_LINES says, or the answer is longer."""
VARINT, FIXED64, TEXT = 0, 1, 2  # wire types
LIMITS = (LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX, FIELD_BYTES_MAX)
"""What a request may hold, as `scan_request` takes it."""
_LENGTH_BYTES_MAX = 4
_MICROS = 1_000_000
_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z
_SIGN = -(2**63)


@njit(cache=True, inline="always")
def _length(raw, at, end):  # type: ignore[no-untyped-def]
    """(length, where its content begins) of a field whose length is at `at`; -1 where it is unusual."""
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


@njit(cache=True, inline="always")
def read_number(raw, at, end):  # type: ignore[no-untyped-def]
    """(int64, where the next field begins) of the varint at `at`; -1 for the place where it is unusual."""
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


@njit(cache=True, inline="always")
def _is_ascii(raw, at, length):  # type: ignore[no-untyped-def]
    union = np.int64(0)
    for i in range(length):
        union |= np.int64(raw[at + i])
    return union < 128


@njit(cache=True, inline="always")
def _is_plain(raw, at, length):  # type: ignore[no-untyped-def]
    """Whether a text is a name as it stands: ASCII, without blanks to trim."""
    if length == 0:
        return True
    first, last = raw[at], raw[at + length - 1]
    if first == 32 or first == 9 or last == 32 or last == 9:
        return False
    return _is_ascii(raw, at, length)


@njit(cache=True)
def _scan_line(raw, at, end, line, sku_max, uom_max):  # type: ignore[no-untyped-def]
    """Read the PriceLine in [at, end) into a row of `lines`; False: unusual."""
    line[kn.LINE_SKU] = line[kn.LINE_SKU_LENGTH] = 0
    line[kn.LINE_UOM] = line[kn.LINE_UOM_LENGTH] = 0
    line[kn.LINE_QUANTITY] = 0
    if at < end and raw[at] == (1 << 3 | TEXT):
        length, at = _length(raw, at + 1, end)
        if length < 0 or length > sku_max or not _is_plain(raw, at, length):
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
        if length < 0 or length > uom_max or not _is_plain(raw, at, length):
            return False
        line[kn.LINE_UOM], line[kn.LINE_UOM_LENGTH] = at, length
        at += length
    return at == end


@njit(cache=True)
def _scan_instant(raw, at, end, head):  # type: ignore[no-untyped-def]
    """Read the Timestamp in [at, end); False: unusual, or no instant from 1970 to 9999."""
    seconds = nanos = np.int64(0)
    if at < end and raw[at] == (1 << 3 | VARINT):
        seconds, at = read_number(raw, at + 1, end)
        if at < 0:
            return False
    if at < end and raw[at] == (2 << 3 | VARINT):
        nanos, at = read_number(raw, at + 1, end)
        if at < 0:
            return False
    if at != end or not (0 <= seconds <= _SECONDS_MAX and 0 <= nanos <= 999_999_999):
        return False
    head[HEAD_HAS_AS_OF], head[HEAD_AS_OF] = 1, seconds * _MICROS + nanos // 1000
    return True


@njit(cache=True)
def _scan_text(raw, at, length, head, column, bytes_max):  # type: ignore[no-untyped-def]
    head[column], head[column + 1] = at, length
    return length <= bytes_max and _is_plain(raw, at, length)


@njit(cache=True)
def scan_request(raw, head, lines, limits):  # type: ignore[no-untyped-def]
    """Read a PriceLinesRequest or QuoteLinesRequest: how many lines it has, UNUSUAL or MORE_ROOM.

    `raw` u8; `head` (HEAD_SIZE,) and `lines` (rows, 5) int64, written; `limits` = (lines, bytes of a SKU, of a unit, of
    any other text). Both messages have the same fields, but for PriceLines taking one branch at most.
    """
    lines_max, sku_max, uom_max, text_max = limits
    for column in range(HEAD_SIZE):
        head[column] = 0
    at, end, before, count = np.int64(0), np.int64(len(raw)), np.int64(0), np.int64(0)
    while at < end:
        tag, field = at, np.int64(raw[at]) >> 3
        is_repeated = field == 2 or field == 4
        if raw[at] & 7 != TEXT or field < before or (field == before and not is_repeated):
            return UNUSUAL
        before = field
        length, at = _length(raw, at + 1, end)
        if length < 0:
            return UNUSUAL
        fits = True
        if field == 2:
            if count < len(lines):
                fits = _scan_line(raw, at, at + length, lines[count], sku_max, uom_max)
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
                fits = length <= text_max and _is_plain(raw, at, length)
            head[HEAD_BRANCH_COUNT] += 1
            head[HEAD_BRANCHES_END] = at + length
        elif field == 5:
            fits = _scan_instant(raw, at, at + length, head)
        elif field == 7:
            fits = _scan_text(raw, at, length, head, HEAD_VERSION, text_max)
        else:
            return UNUSUAL
        if not fits:
            return UNUSUAL
        at += length
    head[HEAD_LINES] = count
    if count == 0 or count > lines_max:
        return UNUSUAL
    return MORE_ROOM if count > len(lines) else count
