"""Compiled: a simple request from its bytes to the bytes of its response, in one call.

Requests that are not simple (see `service.codec.scan_kernel`, `atp.kernels.quote` and the codes below) take the general
path, which answers everything and agrees with this one byte for byte.
"""

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]

from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.kernels.quote import (
    ASKED_DENOMINATOR,
    ASKED_IS_UNIT,
    ASKED_ITEM,
    ASKED_NUMERATOR,
    ASKED_QUANTITY,
    ASKED_SIZE,
    FREE_SIZE,
    FREE_STATUS,
    WINDOW_BRANCHES,
    WINDOW_SIZE,
    quote_lines,
)
from pricegrid.atp.model import AS_OF_MAX_US, AS_OF_MIN_US, AvailabilityStatus
from pricegrid.columnar.jit import pointer
from pricegrid.columnar.names import find_name, find_sorted_name, name_key
from pricegrid.columnar.tables import table_of
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.kernels.matrix_pointer import matrix_of
from pricegrid.pricing_engine.model import ExceptionReason, LineStatus
from pricegrid.service.codec.encode_kernel import put_header, put_prices, put_quotes
from pricegrid.service.codec.scan_kernel import (
    HEAD_AS_OF,
    HEAD_BRANCH,
    HEAD_BRANCH_COUNT,
    HEAD_BRANCH_LENGTH,
    HEAD_BRANCHES,
    HEAD_BRANCHES_END,
    HEAD_CURRENCY,
    HEAD_CURRENCY_LENGTH,
    HEAD_CUSTOMER,
    HEAD_CUSTOMER_LENGTH,
    HEAD_HAS_AS_OF,
    HEAD_SIZE,
    HEAD_VERSION,
    HEAD_VERSION_LENGTH,
    LIMITS,
    UNUSUAL,
    scan_request,
)
from pricegrid.service.limits import LINES_MAX, PAIRS_MAX
from pricegrid.service.rpc.response import COUNTS, STATUSES

CURRENCY_MINOR, CURRENCY_THRESHOLD = range(2)  # currencies (n, 2): see kernel.ASK_MINOR and ASK_THRESHOLD
# desk (DESK_SIZE,): addresses of arrays with how long they are, and numbers
(
    DESK_DESCRIPTOR,  # of `tables.describe`
    DESK_CURRENCIES,
    DESK_CURRENCY_COUNT,
    DESK_FLAGGED_CUSTOMERS,  # ordinals, sorted
    DESK_FLAGGED_CUSTOMER_COUNT,
    DESK_FLAGGED_ITEMS,
    DESK_FLAGGED_ITEM_COUNT,
    DESK_GRACE,
    DESK_CREATED,  # microseconds since the epoch
    DESK_VERSION,
    DESK_VERSION_LENGTH,
    DESK_DESCRIBED,  # as `quote_lines` takes it; 0: there is no availability
    DESK_WINDOWS,  # (WINDOWS, KNOWN_SIZE)
    DESK_COUNTS,  # COUNTS, of the lines answered so far
    DESK_HEAD,  # scratch from here on
    DESK_ASK,
    DESK_LINES,  # LINES_MAX rows, as the next three
    DESK_ANSWERS,
    DESK_ASKED,
    DESK_FREE,
    DESK_OUT,
    DESK_OUT_LENGTH,
    DESK_COUNT,  # lines that were answered
    DESK_FREE_COUNT,  # and those of them with availability
    DESK_SLOT,  # where the window that is needed belongs
    DESK_OWN_BRANCH,  # the customer's, which it is for; -1: the branches that the request names
    DESK_SIZE,
) = range(27)
# windows (WINDOWS, KNOWN_SIZE): the second and the branches that one is for, and its address; 0: they are not plain
KNOWN_SECOND, KNOWN_BRANCH, KNOWN_NAMED, KNOWN_LENGTH, KNOWN_WINDOW, KNOWN_SIZE = range(6)
WINDOWS = 64
NEED_WINDOW = -3
SERVICE_DESK, EXCEPTIONS_UNUSUAL, QUOTE, COUNT = 1, 2, 4, 8

_DONE, _ARRAYS, _TABLES = 0, len(mx.Matrix._fields), len(Tables._fields)
_OK, _NO_PRICE, _BELOW_MINIMUM = int(LineStatus.OK), int(LineStatus.NO_PRICE), int(LineStatus.BELOW_MINIMUM)
_NOT_ENTITLED, _UNKNOWN_ITEM = int(LineStatus.NOT_ENTITLED), int(LineStatus.UNKNOWN_ITEM)
_FLAGGED = int(ExceptionReason.FLAGGED)
_FREE_INVALID_QUANTITY = int(AvailabilityStatus.INVALID_QUANTITY)
_FREE_UNKNOWN_ITEM = int(AvailabilityStatus.UNKNOWN_ITEM)
_FREE_NOT_ENTITLED = int(AvailabilityStatus.NOT_ENTITLED)
_FREE_UNKNOWN_UOM = int(AvailabilityStatus.UNKNOWN_UOM)


@njit(cache=True, inline="always")
def _words(desk, column, count):  # type: ignore[no-untyped-def]
    """The int64 array whose address is in a column of `desk`."""
    return carray(pointer(desk[column]), count, np.int64)


@njit(cache=True)
def _is_among(ordinals, wanted):  # type: ignore[no-untyped-def]
    """Whether a sorted array holds an ordinal."""
    at = np.searchsorted(ordinals, wanted)
    return at < len(ordinals) and ordinals[at] == wanted


@njit(cache=True)
def _is_served(raw, head, version):  # type: ignore[no-untyped-def]
    """Whether the request may be answered from the snapshot of this version."""
    length = head[HEAD_VERSION_LENGTH]
    if length == 0:
        return True
    if length != len(version):
        return False
    for i in range(length):  # noqa: SIM110 - numba compiles no generators
        if raw[head[HEAD_VERSION] + i] != version[i]:
            return False
    return True


@njit(cache=True)
def _fill_ask(m, desk, now_us, raw, head, ask):  # type: ignore[no-untyped-def]
    """Write the price kernel's `ask`; False: a name is missing or not known, which is for others to judge."""
    currencies = carray(pointer(desk[DESK_CURRENCIES]), (desk[DESK_CURRENCY_COUNT], 2), np.int64)
    flagged_customers = _words(desk, DESK_FLAGGED_CUSTOMERS, desk[DESK_FLAGGED_CUSTOMER_COUNT])
    customer = np.int64(-1)
    if head[HEAD_CUSTOMER_LENGTH] > 0:
        start, length = head[HEAD_CUSTOMER], head[HEAD_CUSTOMER_LENGTH]
        customer = find_name(m.customer_bytes, m.customer_offsets, m.customer_slots, raw, start, length)
        if customer < 0:
            return False
    if head[HEAD_CURRENCY_LENGTH] > 0:
        start, length = head[HEAD_CURRENCY], head[HEAD_CURRENCY_LENGTH]
        currency = find_sorted_name(m.currency_bytes, m.currency_offsets, raw, start, length)
        if currency < 0:
            return False
    elif customer >= 0:
        currency = m.customers[customer, mx.CUSTOMER_CURRENCY]
    else:
        return False
    branch = np.int64(-1)
    if head[HEAD_BRANCH_LENGTH] > 0:
        start, length = head[HEAD_BRANCH], head[HEAD_BRANCH_LENGTH]
        branch = find_sorted_name(m.branch_bytes, m.branch_offsets, raw, start, length)
        if branch < 0:
            branch = np.int64(-2)
    ask[kn.ASK_CUSTOMER], ask[kn.ASK_CURRENCY], ask[kn.ASK_BRANCH] = customer, currency, branch
    ask[kn.ASK_AS_OF] = head[HEAD_AS_OF] if head[HEAD_HAS_AS_OF] != 0 else now_us
    ask[kn.ASK_MINOR] = currencies[currency, CURRENCY_MINOR]
    ask[kn.ASK_THRESHOLD] = currencies[currency, CURRENCY_THRESHOLD]
    ask[kn.ASK_GRACE] = desk[DESK_GRACE]
    ask[kn.ASK_SERVICE_DESK] = 1  # to know what to hide of the availability too; hidden at the end
    ask[kn.ASK_FLAGGED] = 1 if customer >= 0 and _is_among(flagged_customers, customer) else 0
    return True


@njit(cache=True)
def _mark(flagged_items, exceptions_unusual, answers):  # type: ignore[no-untyped-def]
    """Mark flagged items (the last of P13's reasons); False: a line is for the reference, or for the ERP."""
    for i in range(len(answers)):
        status = answers[i, kn.ANSWER_STATUS]
        if status == kn.NEEDS_REFERENCE:
            return False
        if len(flagged_items) > 0 and answers[i, kn.ANSWER_EXCEPTION] == 0:
            is_answered = status in (_OK, _NO_PRICE, _BELOW_MINIMUM)
            if is_answered and _is_among(flagged_items, answers[i, kn.ANSWER_ITEM]):
                answers[i, kn.ANSWER_EXCEPTION] = _FLAGGED
        if exceptions_unusual and answers[i, kn.ANSWER_EXCEPTION] != 0:
            return False
    return True


@njit(cache=True)
def _fill_asked(m, service_desk, raw, lines, answers, asked, free):  # type: ignore[no-untyped-def]
    """What the availability of each line is asked with, and the status of those that have a fault already."""
    for i in range(len(answers)):
        item, quantity = answers[i, kn.ANSWER_ITEM], lines[i, kn.LINE_QUANTITY]
        asked[i, ASKED_ITEM], asked[i, ASKED_QUANTITY] = item, quantity
        length, status = lines[i, kn.LINE_UOM_LENGTH], 0
        numerator = denominator = np.int64(1)
        if quantity <= 0:
            status = _FREE_INVALID_QUANTITY
        elif item < 0:
            status = _FREE_UNKNOWN_ITEM
        elif answers[i, kn.ANSWER_STATUS] == _NOT_ENTITLED:
            status = _FREE_NOT_ENTITLED if service_desk else _FREE_UNKNOWN_ITEM
        elif length > 0:
            uom = find_name(m.uom_bytes, m.uom_offsets, m.uom_slots, raw, lines[i, kn.LINE_UOM], length)
            if uom >= 0:
                numerator, denominator = kn.find_unit(m, item, uom)
            if uom < 0 or denominator == 0:
                status = _FREE_UNKNOWN_UOM
        asked[i, ASKED_NUMERATOR], asked[i, ASKED_DENOMINATOR] = numerator, denominator
        asked[i, ASKED_IS_UNIT], free[i, FREE_STATUS] = length > 0, status


@njit(cache=True)
def _window_of(m, desk, head, raw, ask):  # type: ignore[no-untyped-def]
    """(code, window): NEED_WINDOW where its days are not worked out, UNUSUAL where its branches are not plain, else OK;
    the window is empty where there is no availability."""
    nothing, own_branch, as_of_us = _words(desk, DESK_WINDOWS, 0), np.int64(-1), ask[kn.ASK_AS_OF]
    start, length = head[HEAD_BRANCHES], head[HEAD_BRANCHES_END] - head[HEAD_BRANCHES]
    if length == 0 and ask[kn.ASK_CUSTOMER] >= 0:
        own_branch = m.customers[ask[kn.ASK_CUSTOMER], mx.CUSTOMER_BRANCH]
    if (
        (length == 0 and own_branch < 0)
        or desk[DESK_DESCRIBED] == 0
        or not AS_OF_MIN_US <= as_of_us < AS_OF_MAX_US
    ):
        return np.int64(_DONE), nothing
    second = as_of_us // 1_000_000
    slot = ((name_key(raw, start, length) if length > 0 else own_branch) ^ second) & (WINDOWS - 1)
    desk[DESK_SLOT], desk[DESK_OWN_BRANCH] = slot, own_branch
    known = _words(desk, DESK_WINDOWS, WINDOWS * KNOWN_SIZE)[slot * KNOWN_SIZE : (slot + 1) * KNOWN_SIZE]
    is_known = (
        known[KNOWN_SECOND] == second and known[KNOWN_BRANCH] == own_branch and known[KNOWN_LENGTH] == length
    )
    if is_known and length > 0:
        named = carray(pointer(known[KNOWN_NAMED]), length, np.uint8)
        for i in range(length):
            is_known &= named[i] == raw[start + i]
    if not is_known:
        return np.int64(NEED_WINDOW), nothing
    if known[KNOWN_WINDOW] == 0:
        return np.int64(UNUSUAL), nothing
    return np.int64(_DONE), _words(known, KNOWN_WINDOW, WINDOW_SIZE)


@njit(cache=True)
def _resolve(m, desk, ask, raw, lines, answers, window, free, flags):  # type: ignore[no-untyped-def]
    """Fill `answers` and `free`; False: a line is not plain."""
    is_erp, is_desk = flags & EXCEPTIONS_UNUSUAL != 0, flags & SERVICE_DESK != 0
    kn.price_into(m, table_of(ask), raw, table_of(lines), table_of(answers))
    if not _mark(_words(desk, DESK_FLAGGED_ITEMS, desk[DESK_FLAGGED_ITEM_COUNT]), is_erp, answers):
        return False
    if len(free) > 0:
        asked = carray(pointer(desk[DESK_ASKED]), (LINES_MAX, ASKED_SIZE), np.int64)[: len(free)]
        _fill_asked(m, is_desk, raw, lines, answers, asked, free)
        described = carray(pointer(desk[DESK_DESCRIBED]), (_TABLES, 3), np.int64)
        if not quote_lines(described, window, ask[kn.ASK_AS_OF], asked, free, not is_erp):
            return False
    if not is_desk:
        for i in range(len(answers)):
            if answers[i, kn.ANSWER_STATUS] == _NOT_ENTITLED:
                answers[i, kn.ANSWER_STATUS] = _UNKNOWN_ITEM
    return True


@njit(cache=True)
def _write(m, desk, ask, answers, free, now_us, is_quote, correlation):  # type: ignore[no-untyped-def]
    """Write the answer: where it ends, or MORE_ROOM."""
    out = table_of(carray(pointer(desk[DESK_OUT]), desk[DESK_OUT_LENGTH], np.uint8))
    version = table_of(carray(pointer(desk[DESK_VERSION]), desk[DESK_VERSION_LENGTH], np.uint8))
    answered, unmarked, as_of_us = table_of(answers), table_of(answers[:0]), ask[kn.ASK_AS_OF]
    if is_quote:
        at = put_quotes(m, answered, unmarked, table_of(free), as_of_us, out)
    else:
        at = put_prices(m, answered, unmarked, out)
    if at < 0:
        return at
    age_ms = max(np.int64(0), now_us - desk[DESK_CREATED]) // 1000
    return put_header(m, out, at, ask[kn.ASK_CURRENCY], version, age_ms, as_of_us, table_of(correlation))


@njit(cache=True)
def _count(counts, answers, free):  # type: ignore[no-untyped-def]
    for i in range(len(answers)):
        counts[answers[i, kn.ANSWER_STATUS]] += 1
    for i in range(len(free)):
        counts[STATUSES + free[i, FREE_STATUS]] += 1


# Keeps the GIL: giving it away and waiting for it again costs more than a small request.
@njit(cache=True)
def answer(desk, raw, correlation, now_us, flags):  # type: ignore[no-untyped-def]
    """A request to its answer, a QuoteLinesResponse or a PriceLinesResponse: how long it is, or UNUSUAL, MORE_ROOM or
    NEED_WINDOW.

    `desk` (DESK_SIZE,) int64: what stays the same for a thread and a snapshot, so that a call hands over little, and
    what comes back (DESK_COUNT and on). `raw` and `correlation` bytes; `flags`: SERVICE_DESK the caller may see
    NOT_ENTITLED, EXCEPTIONS_UNUSUAL lines that the ERP should confirm and unknown stock are UNUSUAL, QUOTE, COUNT the
    lines in DESK_COUNTS.
    """
    m = matrix_of(carray(pointer(desk[DESK_DESCRIPTOR]), (_ARRAYS, 3), np.int64))
    head, ask, bytes_in = (
        _words(desk, DESK_HEAD, HEAD_SIZE),
        _words(desk, DESK_ASK, kn.ASK_SIZE),
        table_of(raw),
    )
    lines = carray(pointer(desk[DESK_LINES]), (LINES_MAX, kn.LINE_SIZE), np.int64)
    answers = carray(pointer(desk[DESK_ANSWERS]), (LINES_MAX, kn.ANSWER_SIZE), np.int64)
    free = carray(pointer(desk[DESK_FREE]), (LINES_MAX, FREE_SIZE), np.int64)
    version = carray(pointer(desk[DESK_VERSION]), desk[DESK_VERSION_LENGTH], np.uint8)
    is_quote, window = flags & QUOTE != 0, _words(desk, DESK_WINDOWS, 0)
    count = scan_request(bytes_in, table_of(head), table_of(lines), LIMITS)
    if (
        count < 0
        or (not is_quote and head[HEAD_BRANCH_COUNT] > 1)
        or not _is_served(bytes_in, head, version)
        or not _fill_ask(m, desk, now_us, bytes_in, head, ask)
    ):
        return np.int64(UNUSUAL)
    if is_quote:
        code, window = _window_of(m, desk, head, bytes_in, ask)
        if code != _DONE:
            return code
        if len(window) > 0 and count * window[WINDOW_BRANCHES] > PAIRS_MAX:
            return np.int64(UNUSUAL)
    lines, answers, free = lines[:count], answers[:count], free[: count if len(window) > 0 else 0]
    if not _resolve(m, desk, ask, bytes_in, lines, answers, window, free, flags):
        return np.int64(UNUSUAL)
    desk[DESK_COUNT], desk[DESK_FREE_COUNT] = count, len(free)
    end = _write(m, desk, ask, answers, free, now_us, is_quote, correlation)
    if end >= 0 and flags & COUNT != 0:
        _count(_words(desk, DESK_COUNTS, COUNTS), answers, free)
    return end
