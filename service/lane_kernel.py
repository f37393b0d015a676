"""Compiled: the plain request from its bytes to the bytes of its answer, in one or two calls.

What is not plain (see `scan_kernel`, `atp.quote_kernel`, and the codes below) is left to the services' usual way, which
answers everything and which this agrees with byte for byte.
"""

import numpy as np
from numba import njit

from atp.model import AvailabilityStatus
from atp.quote_kernel import (
    ASKED_DENOMINATOR,
    ASKED_IS_UNIT,
    ASKED_ITEM,
    ASKED_NUMERATOR,
    ASKED_QUANTITY,
    ASKED_SIZE,
    FREE_STATUS,
    quote_lines,
)
from pricing_engine import kernel as kn
from pricing_engine import matrix as mx
from pricing_engine.model import ExceptionReason, LineStatus
from pricing_engine.strings import find_name, find_sorted_name
from pricing_engine.tables import matrix_of, table_of
from service.limits import FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX
from service.scan_kernel import (
    HEAD_AS_OF,
    HEAD_BRANCH,
    HEAD_BRANCH_LENGTH,
    HEAD_CURRENCY,
    HEAD_CURRENCY_LENGTH,
    HEAD_CUSTOMER,
    HEAD_CUSTOMER_LENGTH,
    HEAD_HAS_AS_OF,
    HEAD_LINES,
    HEAD_VERSION,
    HEAD_VERSION_LENGTH,
    UNUSUAL,
    scan_request,
)
from service.write_kernel import put_header, put_prices, put_quotes

CURRENCY_MINOR, CURRENCY_THRESHOLD = range(2)  # currencies (n, 2): see kernel.ASK_MINOR and ASK_THRESHOLD

_LIMITS = (LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX, FIELD_BYTES_MAX)
_OK, _NO_PRICE, _BELOW_MINIMUM = int(LineStatus.OK), int(LineStatus.NO_PRICE), int(LineStatus.BELOW_MINIMUM)
_NOT_ENTITLED, _UNKNOWN_ITEM = int(LineStatus.NOT_ENTITLED), int(LineStatus.UNKNOWN_ITEM)
_FLAGGED = int(ExceptionReason.FLAGGED)
_FREE_INVALID_QUANTITY = int(AvailabilityStatus.INVALID_QUANTITY)
_FREE_UNKNOWN_ITEM = int(AvailabilityStatus.UNKNOWN_ITEM)
_FREE_NOT_ENTITLED = int(AvailabilityStatus.NOT_ENTITLED)
_FREE_UNKNOWN_UOM = int(AvailabilityStatus.UNKNOWN_UOM)


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
def _fill_ask(m, now_us, grace_us, currencies, flagged_customers, raw, head, ask):  # type: ignore[no-untyped-def]
    """Write the price kernel's `ask`; False: a name is missing or not known, which is for others to judge."""
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
    ask[kn.ASK_GRACE] = grace_us
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
def scan(descriptor, raw, head, lines):  # type: ignore[no-untyped-def]
    """The first call of a request, whose second may need the days of its branches: (as `scan_request`, the customer's
    own branch, -1: none).

    `descriptor` is `tables.describe` of a matrix; `raw` u8; written are `head` (HEAD_SIZE,) and `lines` (rows, 5),
    int64.
    """
    m, bytes_in = matrix_of(descriptor), table_of(raw)
    count = scan_request(bytes_in, table_of(head), table_of(lines), _LIMITS)
    if count < 0 or head[HEAD_CUSTOMER_LENGTH] == 0:
        return count, np.int64(-1)
    start, length = head[HEAD_CUSTOMER], head[HEAD_CUSTOMER_LENGTH]
    customer = find_name(m.customer_bytes, m.customer_offsets, m.customer_slots, bytes_in, start, length)
    if customer < 0:
        return np.int64(UNUSUAL), np.int64(-1)
    return count, m.customers[customer, mx.CUSTOMER_BRANCH]


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


# Keeps the GIL: giving it away and waiting for it again costs more than a small request.
@njit(cache=True)
def answer(  # type: ignore[no-untyped-def]
    descriptor,
    currencies,
    flagged_customers,
    flagged_items,
    grace_us,
    created_us,
    now_us,
    service_desk,
    exceptions_unusual,
    raw,
    head,
    all_lines,
    all_answers,
    version,
    correlation,
    out,
    described,
    window,
    multiples,
    all_free,
    is_quote,
):
    """A scanned request to its answer, a QuoteLinesResponse or a PriceLinesResponse: how long it is, UNUSUAL or
    MORE_ROOM.

    `descriptor`, `raw`, `head` and `all_lines` (rows, 5) as `scan` left them; `currencies` (currencies, 2),
    `flagged_customers` and `flagged_items` (sorted ordinals) int64; instants in microseconds; `version` and
    `correlation` u8; `described`, `window` (empty: no availability) and `multiples` as `quote_lines` takes them.
    Written are the first rows, one a line, of `all_answers` (rows, 12) and `all_free` (rows, FREE_SIZE), and `out`.
    `exceptions_unusual`: lines that the ERP should confirm, and unknown stock, are UNUSUAL.
    """
    m, ask, count = matrix_of(descriptor), np.empty(kn.ASK_SIZE, np.int64), head[HEAD_LINES]
    bytes_in, bytes_out, as_of_us = table_of(raw), table_of(out), now_us
    if not _is_served(bytes_in, head, version):
        return np.int64(UNUSUAL)
    if not _fill_ask(m, now_us, grace_us, currencies, flagged_customers, bytes_in, head, ask):
        return np.int64(UNUSUAL)
    lines, answers = all_lines[:count], all_answers[:count]
    free, as_of_us = all_free[: count if len(window) > 0 else 0], ask[kn.ASK_AS_OF]
    ask[kn.ASK_SERVICE_DESK] = 1  # to know what to hide of the availability too; hidden below
    kn.price_into(m, table_of(ask), bytes_in, table_of(lines), table_of(answers))
    if not _mark(flagged_items, exceptions_unusual, answers):
        return np.int64(UNUSUAL)
    if len(free) > 0:
        asked = np.empty((count, ASKED_SIZE), np.int64)
        _fill_asked(m, service_desk, bytes_in, lines, answers, asked, free)
        if not quote_lines(described, window, as_of_us, multiples, asked, free, not exceptions_unusual):
            return np.int64(UNUSUAL)
    if not service_desk:
        for i in range(count):
            if answers[i, kn.ANSWER_STATUS] == _NOT_ENTITLED:
                answers[i, kn.ANSWER_STATUS] = _UNKNOWN_ITEM
    answered, unmarked = table_of(answers), table_of(answers[:0])
    if is_quote:
        at = put_quotes(m, answered, unmarked, table_of(free), as_of_us, bytes_out)
    else:
        at = put_prices(m, answered, unmarked, bytes_out)
    if at >= 0:
        age_ms, currency = max(np.int64(0), now_us - created_us) // 1000, ask[kn.ASK_CURRENCY]
        at = put_header(
            m, bytes_out, at, currency, table_of(version), age_ms, as_of_us, table_of(correlation)
        )
    return at
