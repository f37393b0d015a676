"""Compiled: a request from its bytes to columns, and a simple one on to the bytes of its response, in one call.

`answer` takes these steps, each by the kernel of its package:

1. Scan the request into `head` and `lines` (`service.codec.scan_kernel`).
2. Look up customer, currency and branch (`_fill_ask`).
3. For a quote, find the window: the days of the requested branches as of that second (`_window_of`). Windows are made
   in Python; a table of the workspace memoizes them. Without one, return NEEDS_WINDOW and be called again.
4. Price the lines, flag exceptions, then compute their availability and promise days (`_resolve`).
5. Encode the response into the workspace's buffer (`service.codec.encode_kernel`), or return BUFFER_FULL.

When a step meets something that it does not handle, the answer is NEEDS_GENERAL_PATH, and the general path goes on with
the columns of the workspace; WS_STAGE tells how far they are:

- NOT_DECODED: the bytes are not in canonical form.
- DECODED: `head` and `lines` are valid. A name is unknown, a line has a date, or the request is beyond a limit.
- RESOLVED: `answers` and `free` are valid too, but for single lines: prices NEEDS_REFERENCE, availability RECHECK (a
  kit, an item asked twice), and exceptions that the ERP should confirm. NOT_ENTITLED is not hidden yet.

Both paths give the same bytes for a request that either can answer.
"""

import numpy as np

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
from pricegrid.columnar.jit import carray, inlined, kernel, pointer
from pricegrid.columnar.names import find_name, find_sorted_name, name_key
from pricegrid.columnar.search import first_at_least
from pricegrid.columnar.tables import table_of
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.kernels.items import find_unit
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
    HEAD_HAS_DAYS,
    HEAD_LINES,
    HEAD_SIZE,
    HEAD_VERSION,
    HEAD_VERSION_LENGTH,
    LIMITS,
    scan_request,
)
from pricegrid.service.limits import LINES_MAX, PAIRS_MAX
from pricegrid.service.rpc.response import COUNTS, STATUSES

CURRENCY_MINOR, CURRENCY_THRESHOLD = range(2)  # currencies (n, 2): see kernel.ASK_MINOR and ASK_THRESHOLD
# workspace (WS_SIZE,): addresses of arrays, their lengths, and numbers
(
    WS_DESCRIPTOR,  # of `tables.describe`
    WS_CURRENCIES,
    WS_CURRENCY_COUNT,
    WS_FLAGGED_CUSTOMERS,  # ordinals, sorted
    WS_FLAGGED_CUSTOMER_COUNT,
    WS_FLAGGED_ITEMS,
    WS_FLAGGED_ITEM_COUNT,
    WS_GRACE,
    WS_CREATED,  # microseconds since the epoch
    WS_VERSION,
    WS_VERSION_LENGTH,
    WS_DESCRIBED,  # as `quote_lines` takes it; 0: there is no availability
    WS_WINDOWS,  # (WINDOWS, MEMO_SIZE)
    WS_COUNTS,  # (COUNTS,) lines answered so far, by status
    WS_HEAD,  # from here on: scratch
    WS_ASK,
    WS_LINES,  # LINES_MAX rows, like the next three
    WS_ANSWERS,
    WS_ASKED,
    WS_FREE,
    WS_OUT,
    WS_OUT_LENGTH,
    WS_COUNT,  # out: the number of lines
    WS_FREE_COUNT,  # out: how many of them have availability
    WS_SLOT,  # out: the slot of the window that is needed
    WS_OWN_BRANCH,  # out: the customer's branch, for which it is needed; -1: for the branches that the request names
    WS_STAGE,  # out: how far the columns are when the general path is needed
    WS_SIZE,
) = range(28)
# windows (WINDOWS, MEMO_SIZE): the second and branches of a window, and its address; 0: they need the general path
MEMO_SECOND, MEMO_BRANCH, MEMO_NAMED, MEMO_LENGTH, MEMO_WINDOW, MEMO_SIZE = range(6)
WINDOWS = 64
NEEDS_GENERAL_PATH, NEEDS_WINDOW = -1, -3
NOT_DECODED, DECODED, RESOLVED = range(3)  # WS_STAGE
SERVICE_DESK, EXCEPTIONS_NEED_ERP, QUOTE, COUNT, IS_DECODED = 1, 2, 4, 8, 16

_DONE, _ARRAYS, _TABLES = 0, len(mx.Matrix._fields), len(Tables._fields)
_OK, _NO_PRICE, _BELOW_MINIMUM = int(LineStatus.OK), int(LineStatus.NO_PRICE), int(LineStatus.BELOW_MINIMUM)
_NOT_ENTITLED, _UNKNOWN_ITEM = int(LineStatus.NOT_ENTITLED), int(LineStatus.UNKNOWN_ITEM)
_FLAGGED = int(ExceptionReason.FLAGGED)
_FREE_INVALID_QUANTITY = int(AvailabilityStatus.INVALID_QUANTITY)
_FREE_UNKNOWN_ITEM = int(AvailabilityStatus.UNKNOWN_ITEM)
_FREE_NOT_ENTITLED = int(AvailabilityStatus.NOT_ENTITLED)
_FREE_UNKNOWN_UOM = int(AvailabilityStatus.UNKNOWN_UOM)


@inlined
def _int64_at(workspace, column, count):  # type: ignore[no-untyped-def]
    """The int64 array whose address is in that column of `workspace`."""
    return carray(pointer(workspace[column]), count, np.int64)


@kernel
def _is_among(ordinals, wanted):  # type: ignore[no-untyped-def]
    """Whether a sorted array holds an ordinal."""
    at = first_at_least(ordinals, wanted, 0, len(ordinals))
    return at < len(ordinals) and ordinals[at] == wanted


@kernel
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


@kernel
def _fill_ask(m, workspace, now_us, raw, head, ask):  # type: ignore[no-untyped-def]
    """Write the price kernel's `ask`; False when a name is missing or unknown: the general path refuses it."""
    currencies = carray(pointer(workspace[WS_CURRENCIES]), (workspace[WS_CURRENCY_COUNT], 2), np.int64)
    flagged_customers = _int64_at(workspace, WS_FLAGGED_CUSTOMERS, workspace[WS_FLAGGED_CUSTOMER_COUNT])
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
    ask[kn.ASK_GRACE] = workspace[WS_GRACE]
    ask[kn.ASK_SERVICE_DESK] = 1  # NOT_ENTITLED must hide the availability too; hidden itself in `_resolve`
    ask[kn.ASK_FLAGGED] = 1 if customer >= 0 and _is_among(flagged_customers, customer) else 0
    return True


@kernel
def _flag_items(flagged_items, exceptions_need_erp, answers):  # type: ignore[no-untyped-def]
    """Make exceptions of flagged items (the last of P13's reasons); False: a line needs the reference, or the ERP."""
    is_simple = True
    for i in range(len(answers)):
        status = answers[i, kn.ANSWER_STATUS]
        if status == kn.NEEDS_REFERENCE:
            is_simple = False
            continue
        if len(flagged_items) > 0 and answers[i, kn.ANSWER_EXCEPTION] == 0:
            is_answered = status in (_OK, _NO_PRICE, _BELOW_MINIMUM)
            if is_answered and _is_among(flagged_items, answers[i, kn.ANSWER_ITEM]):
                answers[i, kn.ANSWER_EXCEPTION] = _FLAGGED
        if exceptions_need_erp and answers[i, kn.ANSWER_EXCEPTION] != 0:
            is_simple = False
    return is_simple


@kernel
def _fill_asked(m, service_desk, raw, lines, answers, asked, free):  # type: ignore[no-untyped-def]
    """The availability question of each line, and the status of lines that are invalid already."""
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
                numerator, denominator = find_unit(m, item, uom)
            if uom < 0 or denominator == 0:
                status = _FREE_UNKNOWN_UOM
        asked[i, ASKED_NUMERATOR], asked[i, ASKED_DENOMINATOR] = numerator, denominator
        asked[i, ASKED_IS_UNIT], free[i, FREE_STATUS] = length > 0, status


@kernel
def _window_of(m, workspace, head, raw, ask):  # type: ignore[no-untyped-def]
    """(code, window). NEEDS_WINDOW: it is not memoized yet; NEEDS_GENERAL_PATH: a branch is unknown; else _DONE. The
    window is empty where there is no availability."""
    nothing, own_branch, as_of_us = _int64_at(workspace, WS_WINDOWS, 0), np.int64(-1), ask[kn.ASK_AS_OF]
    start, length = head[HEAD_BRANCHES], head[HEAD_BRANCHES_END] - head[HEAD_BRANCHES]
    if length == 0 and ask[kn.ASK_CUSTOMER] >= 0:
        own_branch = m.customers[ask[kn.ASK_CUSTOMER], mx.CUSTOMER_BRANCH]
    if (
        (length == 0 and own_branch < 0)
        or workspace[WS_DESCRIBED] == 0
        or not AS_OF_MIN_US <= as_of_us < AS_OF_MAX_US
    ):
        return np.int64(_DONE), nothing
    second = as_of_us // 1_000_000
    slot = ((name_key(raw, start, length) if length > 0 else own_branch) ^ second) & (WINDOWS - 1)
    workspace[WS_SLOT], workspace[WS_OWN_BRANCH] = slot, own_branch
    known = _int64_at(workspace, WS_WINDOWS, WINDOWS * MEMO_SIZE)[slot * MEMO_SIZE : (slot + 1) * MEMO_SIZE]
    is_known = (
        known[MEMO_SECOND] == second and known[MEMO_BRANCH] == own_branch and known[MEMO_LENGTH] == length
    )
    if is_known and length > 0:
        named = carray(pointer(known[MEMO_NAMED]), length, np.uint8)
        for i in range(length):
            is_known &= named[i] == raw[start + i]
    if not is_known:
        return np.int64(NEEDS_WINDOW), nothing
    if known[MEMO_WINDOW] == 0:
        return np.int64(NEEDS_GENERAL_PATH), nothing
    return np.int64(_DONE), _int64_at(known, MEMO_WINDOW, WINDOW_SIZE)


@kernel
def _resolve(m, workspace, ask, raw, lines, answers, window, free, flags):  # type: ignore[no-untyped-def]
    """Fill `answers` and `free`; False: a line needs the general path, the others are answered."""
    is_erp, is_service_desk = flags & EXCEPTIONS_NEED_ERP != 0, flags & SERVICE_DESK != 0
    kn.price_into(m, table_of(ask), raw, table_of(lines), table_of(answers))
    flagged_items = _int64_at(workspace, WS_FLAGGED_ITEMS, workspace[WS_FLAGGED_ITEM_COUNT])
    is_simple = _flag_items(flagged_items, is_erp, answers)
    if len(free) > 0:
        asked = carray(pointer(workspace[WS_ASKED]), (LINES_MAX, ASKED_SIZE), np.int64)[: len(free)]
        _fill_asked(m, is_service_desk, raw, lines, answers, asked, free)
        described = carray(pointer(workspace[WS_DESCRIBED]), (_TABLES, 3), np.int64)
        if not quote_lines(described, window, ask[kn.ASK_AS_OF], asked, free, not is_erp):
            is_simple = False
    if is_simple and not is_service_desk:
        for i in range(len(answers)):
            if answers[i, kn.ANSWER_STATUS] == _NOT_ENTITLED:
                answers[i, kn.ANSWER_STATUS] = _UNKNOWN_ITEM
    return is_simple


@kernel
def _write(m, workspace, ask, answers, free, now_us, is_quote, correlation):  # type: ignore[no-untyped-def]
    """Encode the response; returns its end, or BUFFER_FULL."""
    out = table_of(carray(pointer(workspace[WS_OUT]), workspace[WS_OUT_LENGTH], np.uint8))
    version = table_of(carray(pointer(workspace[WS_VERSION]), workspace[WS_VERSION_LENGTH], np.uint8))
    rows, no_sources, as_of_us = table_of(answers), table_of(answers[:0]), ask[kn.ASK_AS_OF]
    if is_quote:
        at = put_quotes(m, rows, no_sources, table_of(free), as_of_us, out)
    else:
        at = put_prices(m, rows, no_sources, out)
    if at < 0:
        return at
    age_ms = max(np.int64(0), now_us - workspace[WS_CREATED]) // 1000
    return put_header(m, out, at, ask[kn.ASK_CURRENCY], version, age_ms, as_of_us, table_of(correlation))


@kernel
def _count(counts, answers, free):  # type: ignore[no-untyped-def]
    for i in range(len(answers)):
        counts[answers[i, kn.ANSWER_STATUS]] += 1
    for i in range(len(free)):
        counts[STATUSES + free[i, FREE_STATUS]] += 1


# Holds the GIL: releasing it and waiting for it again costs more than a small request.
@kernel
def answer(workspace, raw, correlation, now_us, flags):  # type: ignore[no-untyped-def]
    """Answer a request; returns the length of the response, NEEDS_GENERAL_PATH, BUFFER_FULL or NEEDS_WINDOW.

    `workspace` (WS_SIZE,) int64 holds what stays the same for a thread and a snapshot, so that a call passes few
    arguments; WS_COUNT and the columns after it return values. `raw` and `correlation` are bytes. `flags`:

    - SERVICE_DESK: the caller may see NOT_ENTITLED.
    - EXCEPTIONS_NEED_ERP: a line that the ERP should confirm, or with unknown stock, needs the general path.
    - QUOTE: a QuoteLinesRequest, otherwise a PriceLinesRequest.
    - COUNT: count the lines in WS_COUNTS.
    - IS_DECODED: the last call decoded the same request, so that its bytes are not scanned again.
    """
    m = matrix_of(carray(pointer(workspace[WS_DESCRIPTOR]), (_ARRAYS, 3), np.int64))
    head, ask, bytes_in = (
        _int64_at(workspace, WS_HEAD, HEAD_SIZE),
        _int64_at(workspace, WS_ASK, kn.ASK_SIZE),
        table_of(raw),
    )
    lines = carray(pointer(workspace[WS_LINES]), (LINES_MAX, kn.LINE_SIZE), np.int64)
    answers = carray(pointer(workspace[WS_ANSWERS]), (LINES_MAX, kn.ANSWER_SIZE), np.int64)
    free = carray(pointer(workspace[WS_FREE]), (LINES_MAX, FREE_SIZE), np.int64)
    version = carray(pointer(workspace[WS_VERSION]), workspace[WS_VERSION_LENGTH], np.uint8)
    is_quote, window = flags & QUOTE != 0, _int64_at(workspace, WS_WINDOWS, 0)
    count = np.int64(head[HEAD_LINES])
    if flags & IS_DECODED == 0:
        workspace[WS_STAGE] = NOT_DECODED
        count = np.int64(scan_request(bytes_in, table_of(head), table_of(lines), LIMITS))
        if count < 0 or (not is_quote and head[HEAD_BRANCH_COUNT] > 1):
            return np.int64(NEEDS_GENERAL_PATH)
    workspace[WS_STAGE], workspace[WS_COUNT] = DECODED, count
    if head[HEAD_HAS_DAYS] != 0:  # of which zone, kernels don't know
        return np.int64(NEEDS_GENERAL_PATH)
    if not _is_served(bytes_in, head, version) or not _fill_ask(m, workspace, now_us, bytes_in, head, ask):
        return np.int64(NEEDS_GENERAL_PATH)
    if is_quote:
        code, window = _window_of(m, workspace, head, bytes_in, ask)
        if code != _DONE:
            return code
        if len(window) > 0 and count * window[WINDOW_BRANCHES] > PAIRS_MAX:
            return np.int64(NEEDS_GENERAL_PATH)
    lines, answers, free = lines[:count], answers[:count], free[: count if len(window) > 0 else 0]
    workspace[WS_STAGE], workspace[WS_FREE_COUNT] = RESOLVED, len(free)
    if not _resolve(m, workspace, ask, bytes_in, lines, answers, window, free, flags):
        return np.int64(NEEDS_GENERAL_PATH)
    end = _write(m, workspace, ask, answers, free, now_us, is_quote, correlation)
    if end >= 0 and flags & COUNT != 0:
        _count(_int64_at(workspace, WS_COUNTS, COUNTS), answers, free)
    return end
