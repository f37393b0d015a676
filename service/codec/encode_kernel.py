"""Compiled: encodes price and quote responses from arrays, byte for byte as the protobuf runtime does.

A nested message begins with its length, so each line takes two steps: compute the size of its result
(`_price_size`, `_free_size`), check that it fits into the buffer, then write it (`_put_price`, `_put_free`). The size
and the put function of a message list the same fields in the same order. At the start of each block of lines the names
that the block needs are prefetched, because their random reads are what takes the time. The lines of a quote mostly
share their freshness and promise day; those bytes are copied from the line before.

The functions work on tables and on numpy arrays, as in `scan_kernel`.
"""

import numpy as np

from pricegrid.atp.kernels.quote import (
    FREE_AS_OF,
    FREE_AVAILABLE,
    FREE_DAY,
    FREE_FRESH,
    FREE_SHORTAGE,
    FREE_STATUS,
    NO_DAY,
)
from pricegrid.atp.model import NO_INSTANT
from pricegrid.columnar.jit import inlined, kernel
from pricegrid.columnar.tables import fetch, load_word, store_word, table_of
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.kernels.entries import full_load_entries
from pricegrid.pricing_engine.kernels.matrix_pointer import matrix_of
from pricegrid.pricing_engine.model import NEVER_US, LineStatus
from pricegrid.service.codec.scan_kernel import BUFFER_FULL, FIXED64, TEXT, VARINT

_OK, _BELOW_MINIMUM = int(LineStatus.OK), int(LineStatus.BELOW_MINIMUM)
_FROM_MATRIX = 1  # PriceSource
_DAY_SIZE = 12
_OVERHEAD_MAX = 64  # tags and lengths of a result, or tags and numbers of the header
"""Spare bytes that must remain in the buffer before a write."""


@inlined
def number_size(value):  # type: ignore[no-untyped-def]
    """The size of a varint in bytes."""
    if value < 0:
        return np.int64(10)
    size = np.int64(1)
    while value >= 128:
        value >>= 7
        size += 1
    return size


@inlined
def put_number(out, at, value):  # type: ignore[no-untyped-def]
    """Write a varint; returns its end."""
    if value < 0:
        for i in range(9):
            out[at + i] = np.uint8((value >> (7 * i)) & 127 | 128)
        out[at + 9] = np.uint8(1)
        return at + 10
    while value >= 128:
        out[at] = np.uint8(value & 127 | 128)
        value >>= 7
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@inlined
def put_small(out, at, field, value):  # type: ignore[no-untyped-def]
    """Write a varint field with a value below 128; returns its end."""
    out[at] = np.uint8(field << 3 | VARINT)
    out[at + 1] = np.uint8(value)
    return at + 2


@inlined
def put_fixed(out, at, field, value):  # type: ignore[no-untyped-def]
    """Write an sfixed64 field; returns its end."""
    out[at] = np.uint8(field << 3 | FIXED64)
    store_word(out, at + 1, value)
    return at + 9


@inlined
def put_text(out, at, field, text, start, length):  # type: ignore[no-untyped-def]
    """Write a text field unless it is empty; returns its end."""
    if length == 0:
        return at
    out[at] = np.uint8(field << 3 | TEXT)
    at = put_number(out, at + 1, length)
    done = 0
    while done + 8 <= length:
        store_word(out, at + done, load_word(text, start + done))
        done += 8
    while done < length:
        out[at + done] = text[start + done]
        done += 1
    return at + length


@inlined
def _name(offsets, ordinal):  # type: ignore[no-untyped-def]
    """(start, length) of a name; (0, 0) for ordinals that are out of range."""
    if ordinal < 0 or ordinal + 1 >= len(offsets):
        return np.int64(0), np.int64(0)
    return offsets[ordinal], offsets[ordinal + 1] - offsets[ordinal]


@inlined
def _text_size(length):  # type: ignore[no-untyped-def]
    return np.int64(0) if length == 0 else 1 + number_size(length) + length


@kernel
def _price_size(m, full_load, answer, source, age_ms):  # type: ignore[no-untyped-def]
    """The size of a PriceLineResult in bytes; the same fields as in `_put_price`."""
    size = np.int64(2)
    if answer[kn.ANSWER_EXCEPTION] != 0:
        size += 2
    if answer[kn.ANSWER_VALID_UNTIL] < NEVER_US:
        size += 9
    if age_ms >= 0:
        size += 9
    if answer[kn.ANSWER_STATUS] == _BELOW_MINIMUM:
        return size + 9 + (2 if source > 0 else 0)
    if answer[kn.ANSWER_STATUS] != _OK:
        return size + (2 if source > 0 else 0)
    size += 20 + 2 * answer[kn.ANSWER_LIFTED] + 2 * answer[kn.ANSWER_CONVERTED]
    entry = answer[kn.ANSWER_ENTRY]
    size += _text_size(_name(m.book_offsets, answer[kn.ANSWER_BOOK])[1])
    size += _text_size(_name(m.layer_offsets, answer[kn.ANSWER_LAYER])[1])
    if answer[kn.ANSWER_PRICE_PER] > 1:
        size += 1 + number_size(answer[kn.ANSWER_PRICE_PER])
    if entry < full_load:
        return size + _text_size(_name(m.entry_id_offsets, entry)[1])
    return size + _text_size(_name(m.delta_entry_id_offsets, entry - full_load)[1])


@kernel
def _put_price(m, full_load, answer, source, age_ms, out, at):  # type: ignore[no-untyped-def]
    """Write a PriceLineResult; returns its end."""
    status = answer[kn.ANSWER_STATUS]
    is_priced = status == _OK
    at = put_small(out, at, 1, status + 1)
    if is_priced:
        at = put_fixed(out, at, 2, answer[kn.ANSWER_UNIT_PRICE])
        at = put_fixed(out, at, 3, answer[kn.ANSWER_EXTENDED_PRICE])
    if source > 0 or is_priced:
        at = put_small(out, at, 4, source if source > 0 else _FROM_MATRIX)
    if answer[kn.ANSWER_EXCEPTION] != 0:
        at = put_small(out, at, 5, answer[kn.ANSWER_EXCEPTION])
    if answer[kn.ANSWER_VALID_UNTIL] < NEVER_US:
        at = put_fixed(out, at, 6, answer[kn.ANSWER_VALID_UNTIL])
    if status == _BELOW_MINIMUM:
        at = put_fixed(out, at, 7, answer[kn.ANSWER_MINIMUM])
    if is_priced:
        if answer[kn.ANSWER_LIFTED] != 0:
            at = put_small(out, at, 8, 1)
        if answer[kn.ANSWER_CONVERTED] != 0:
            at = put_small(out, at, 9, 1)
        start, length = _name(m.book_offsets, answer[kn.ANSWER_BOOK])
        at = put_text(out, at, 10, m.book_bytes, start, length)
        entry = answer[kn.ANSWER_ENTRY]
        if entry < full_load:
            start, length = _name(m.entry_id_offsets, entry)
            at = put_text(out, at, 11, m.entry_id_bytes, start, length)
        else:
            start, length = _name(m.delta_entry_id_offsets, entry - full_load)
            at = put_text(out, at, 11, m.delta_entry_id_bytes, start, length)
        start, length = _name(m.layer_offsets, answer[kn.ANSWER_LAYER])
        at = put_text(out, at, 12, m.layer_bytes, start, length)
    if age_ms >= 0:
        at = put_fixed(out, at, 13, age_ms)
    if is_priced and answer[kn.ANSWER_PRICE_PER] > 1:
        out[at] = np.uint8(14 << 3 | VARINT)
        at = put_number(out, at + 1, answer[kn.ANSWER_PRICE_PER])
    return at


@kernel
def _put_day(out, at, field, day):  # type: ignore[no-untyped-def]
    """Write a day since 1970-01-01 as YYYY-MM-DD (proleptic Gregorian calendar, in eras of 400 years)."""
    shifted = day + 719_468  # since 0000-03-01
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * of_year + 2) // 153
    day_of_month = of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    out[at], out[at + 1] = np.uint8(field << 3 | TEXT), np.uint8(10)
    at += 2
    for i in range(3, -1, -1):
        out[at + i] = np.uint8(48 + year % 10)
        year //= 10
    out[at + 4] = out[at + 7] = np.uint8(45)
    out[at + 5], out[at + 6] = np.uint8(48 + month // 10), np.uint8(48 + month % 10)
    out[at + 8], out[at + 9] = np.uint8(48 + day_of_month // 10), np.uint8(48 + day_of_month % 10)
    return at + 10


@inlined
def _age_ms(free, source, as_of_us):  # type: ignore[no-untyped-def]
    """The age of a source at an instant; -1: unknown."""
    reported_us = free[FREE_AS_OF + source]
    return np.int64(-1) if reported_us == NO_INSTANT else max(np.int64(0), as_of_us - reported_us) // 1000


@kernel
def _freshness_size(free, as_of_us):  # type: ignore[no-untyped-def]
    """The size of a Freshness in bytes, without its tag and length."""
    size = np.int64(6)
    for source in range(3):
        age_ms = _age_ms(free, source, as_of_us)
        if age_ms >= 0:
            size += 1 + number_size(age_ms)
    return size


@kernel
def _free_size(free, freshness_size):  # type: ignore[no-untyped-def]
    """The size of a QuoteAvailability in bytes."""
    size = 2 + freshness_size
    if free[FREE_STATUS] == _OK:
        size += 18
    if free[FREE_DAY] < NO_DAY:
        size += 2
    return size + _DAY_SIZE if free[FREE_DAY] >= 0 else size


@kernel
def _put_freshness(free, size, as_of_us, out, at):  # type: ignore[no-untyped-def]
    """Write the freshness of a QuoteAvailability; returns its end."""
    out[at], out[at + 1] = np.uint8(5 << 3 | TEXT), np.uint8(size)
    at += 2
    for source in range(3):
        at = put_small(out, at, 1 + source, free[FREE_FRESH + source] + 1)
    for source in range(3):
        age_ms = _age_ms(free, source, as_of_us)
        if age_ms >= 0:
            out[at] = np.uint8((4 + source) << 3)
            at = put_number(out, at + 1, age_ms)
    return at


@kernel
def _is_as_fresh(one, other):  # type: ignore[no-untyped-def]
    for column in range(FREE_FRESH, FREE_AS_OF + 3):  # noqa: SIM110 - numba compiles no generators
        if one[column] != other[column]:
            return False
    return True


@kernel
def _put_free(free, out, at):  # type: ignore[no-untyped-def]
    """Write a QuoteAvailability up to its promise day; returns where that begins."""
    at = put_small(out, at, 1, free[FREE_STATUS] + 1)
    if free[FREE_STATUS] == _OK:
        at = put_fixed(out, at, 2, free[FREE_AVAILABLE])
        at = put_fixed(out, at, 3, free[FREE_SHORTAGE])
    return at


@inlined
def _begin(out, at, field, size):  # type: ignore[no-untyped-def]
    """Write the tag and length of a message."""
    out[at] = np.uint8(field << 3 | TEXT)
    return put_number(out, at + 1, size)


@kernel
def _prefetch(m, answers, first, end):  # type: ignore[no-untyped-def]
    """Prefetch the entry ids of the answers [first, end): first their offsets, then their bytes."""
    ids = len(m.entry_id_offsets) - 1
    if ids <= 0:
        return
    for i in range(first, end):
        if 0 <= answers[i, kn.ANSWER_ENTRY] < ids:
            fetch(m.entry_id_offsets, answers[i, kn.ANSWER_ENTRY])
    for i in range(first, end):
        if 0 <= answers[i, kn.ANSWER_ENTRY] < ids:
            fetch(m.entry_id_bytes, m.entry_id_offsets[answers[i, kn.ANSWER_ENTRY]])


@kernel
def put_prices(m, answers, sources, out):  # type: ignore[no-untyped-def]
    """Write the results of a PriceLinesResponse; returns their end, or BUFFER_FULL.

    `answers` (n, 13) int64 as the price kernel writes them. `sources` (n, 2) int64: the PriceSource of a line, 0 for
    the kernel's own, and the age of the ERP's answer in milliseconds, -1 for none; empty when no price is the ERP's.
    """
    full_load, at = full_load_entries(m), np.int64(0)
    for i in range(len(answers)):
        if i % kn.BLOCK == 0:
            _prefetch(m, answers, i, min(i + kn.BLOCK, len(answers)))
        source, age_ms = (sources[i, 0], sources[i, 1]) if len(sources) > 0 else (np.int64(0), np.int64(-1))
        size = _price_size(m, full_load, answers[i], source, age_ms)
        if at + size + _OVERHEAD_MAX > len(out):
            return np.int64(BUFFER_FULL)
        at = _begin(out, at, 1, size)
        at = _put_price(m, full_load, answers[i], source, age_ms, out, at)
    return at


@inlined
def _copy(out, at, source, length):  # type: ignore[no-untyped-def]
    """Copy bytes that `out` has already; up to 7 bytes too many, which the next write overwrites."""
    for k in range(0, length, 8):
        store_word(out, at + k, load_word(out, source + k))


@kernel
def _put_day_again(free, out, at, days):  # type: ignore[no-untyped-def]
    """Write a promise day; returns its end and the new `days`: the last day written and its offset."""
    day, (last, last_at) = free[FREE_DAY], days
    if day < 0:
        return at, days
    if day == last:
        _copy(out, at, last_at, _DAY_SIZE)
        return at + _DAY_SIZE, days
    return _put_day(out, at, 4, day), (day, at)


@kernel
def put_quotes(m, answers, sources, free, as_of_us, out):  # type: ignore[no-untyped-def]
    """As `put_prices`, for a QuoteLinesResponse; `free` (n, FREE_SIZE) int64, empty when there is no availability."""
    full_load, at, days = full_load_entries(m), np.int64(0), (np.int64(-1), np.int64(0))
    last, last_at, last_size = np.int64(-1), np.int64(0), np.int64(0)  # the freshness written last
    for i in range(len(answers)):
        if i % kn.BLOCK == 0:
            _prefetch(m, answers, i, min(i + kn.BLOCK, len(answers)))
        source, age_ms = (sources[i, 0], sources[i, 1]) if len(sources) > 0 else (np.int64(0), np.int64(-1))
        size = _price_size(m, full_load, answers[i], source, age_ms)
        whole, free_size, again = 1 + number_size(size) + size, np.int64(0), 0
        if len(free) > 0:
            again = 1 if last >= 0 and _is_as_fresh(free[i], free[last]) else 0
            if again == 0:
                last, last_size = np.int64(i), 2 + _freshness_size(free[i], as_of_us)
            free_size = _free_size(free[i], last_size)
            whole += 1 + number_size(free_size) + free_size
        if at + whole + _OVERHEAD_MAX > len(out):
            return np.int64(BUFFER_FULL)
        at = _begin(out, at, 1, whole)
        at = _begin(out, at, 1, size)
        at = _put_price(m, full_load, answers[i], source, age_ms, out, at)
        if len(free) > 0:
            at = _put_free(free[i], out, _begin(out, at, 2, free_size))
            at, days = _put_day_again(free[i], out, at, days)
            if again == 1:
                _copy(out, at, last_at, last_size)
            else:
                last_at = at
                _put_freshness(free[i], last_size - 2, as_of_us, out, at)
            at += last_size
            if free[i, FREE_DAY] < NO_DAY:
                at = put_small(out, at, 6, NO_DAY - free[i, FREE_DAY])
    return at


@kernel
def put_header(m, out, at, currency, version, age_ms, as_of_us, correlation):  # type: ignore[no-untyped-def]
    """Write the header fields, which follow the results; returns their end, or BUFFER_FULL.

    `currency` is an ordinal; `version` and `correlation` are u8 texts.
    """
    start, length = _name(m.currency_offsets, currency)
    if at + length + len(version) + len(correlation) + _OVERHEAD_MAX > len(out):
        return np.int64(BUFFER_FULL)
    at = put_text(out, at, 2, m.currency_bytes, start, length)
    at = put_text(out, at, 3, version, 0, len(version))
    if age_ms != 0:
        out[at] = np.uint8(4 << 3)
        at = put_number(out, at + 1, age_ms)
    if as_of_us != 0:
        out[at] = np.uint8(5 << 3)
        at = put_number(out, at + 1, as_of_us)
    return put_text(out, at, 6, correlation, 0, len(correlation))


@kernel
def write_prices(descriptor, answers, sources, out):  # type: ignore[no-untyped-def]
    """`put_prices` for numpy arrays; `descriptor` is `tables.describe` of a matrix."""
    return put_prices(matrix_of(descriptor), table_of(answers), table_of(sources), table_of(out))


@kernel
def write_quotes(descriptor, answers, sources, free, as_of_us, out):  # type: ignore[no-untyped-def]
    """`put_quotes` for numpy arrays, as `write_prices`."""
    m, tables = matrix_of(descriptor), (table_of(answers), table_of(sources), table_of(free))
    return put_quotes(m, *tables, as_of_us, table_of(out))
