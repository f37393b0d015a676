"""Compiled: what comes on top of the price that answered (P16).

`note_surcharge` is asked of each book of the stack in a layer of mode `add`: its cursor moves to its first entry, which
is its surcharge, and percentages and amounts are added up in one row of `offers`. `add_surcharges` then puts the sum on
the offer that answered and rounds it again. The reference is `rules.surcharges`.
"""

import numpy as np

from pricegrid.columnar.exact import add, scale, sum_overflows
from pricegrid.columnar.jit import compiled
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.cursor import (
    CURSOR_FOUND,
    CURSOR_KIND,
    ENTRY,
    RECORDS_CELL,
    WINDOWED,
    advance,
    start_book,
)
from pricegrid.pricing_engine.kernels.entries import (
    STATE_CURRENCY,
    STATE_ESCALATE,
    STATE_MISSED,
    price_per_at,
    record_at,
)
from pricegrid.pricing_engine.kernels.offers import (
    OFFER_BOOK,
    OFFER_DENOMINATOR,
    OFFER_HIGH,
    OFFER_LIFTED,
    OFFER_LOW,
    OFFER_PRESENT,
    OFFER_PRICE_PER,
    OFFER_ROUNDED,
    OFFER_SLOT,
    entry_amount,
    find_rate,
    rounded_price,
)
from pricegrid.pricing_engine.model import MICROS, Method, Windows

MISSED_INPUT_BIT, MISSED_ZERO_BIT = 1, 2  # of STATE_MISSED
SUM_PCT = OFFER_SLOT  # of the row that adds them up: percentages, in millionths
_HUNDRED = 100 * MICROS
_PCT, _AMOUNT = int(Method.SURCHARGE_PCT), int(Method.SURCHARGE_AMOUNT)
_REPLACE = int(Windows.REPLACE)


@compiled
def start_surcharges(total):  # type: ignore[no-untyped-def]
    """Begin to add up, in a row of `offers`."""
    total[OFFER_HIGH] = total[OFFER_LOW] = total[SUM_PCT] = total[OFFER_PRESENT] = 0
    total[OFFER_DENOMINATOR] = 1


@compiled
def note_surcharge(m, state, keys, cursors, total, book):  # type: ignore[no-untyped-def]
    """Add the surcharge of a book that holds to `total`; OFFER_PRESENT: there was any."""
    cursor = cursors[0]
    start_book(cursor, book, WINDOWED if m.books[book, mx.BOOK_WINDOWS] == _REPLACE else 0)
    if advance(m, state, keys, cursor) != ENTRY or cursor[CURSOR_KIND] != RECORDS_CELL:
        return
    at = cursor[CURSOR_FOUND]
    method = record_at(m, at, mx.RECORD_PACKED) >> mx.PACKED_METHOD_SHIFT & 15
    if method == _PCT:
        value = record_at(m, at, mx.RECORD_VALUE)
        if sum_overflows(total[SUM_PCT], value) or total[SUM_PCT] + value > np.int64(2**62):
            state[STATE_ESCALATE] = 1
        else:
            total[SUM_PCT] += value
        total[OFFER_PRESENT] = 1
    elif method == _AMOUNT:
        by, over = np.int64(1), np.int64(1)
        if m.books[book, mx.BOOK_CURRENCY] != state[STATE_CURRENCY]:
            by, over = find_rate(m, state, m.books[book, mx.BOOK_CURRENCY], state[STATE_CURRENCY])
        if over == 0:
            state[STATE_MISSED] |= MISSED_INPUT_BIT
            return
        _add_amount(state, total, entry_amount(m, state, cursor, price_per_at(m, at)), by, over)
        total[OFFER_PRESENT] = 1


@compiled
def _add_amount(state, total, amount, by, over):  # type: ignore[no-untyped-def]
    """Add an amount, (fits, high, low, denominator), at a rate by / over."""
    fits, high, low, denominator = amount
    if fits:
        fits, high, low, denominator = scale(high, low, denominator, by, over)
    if fits:
        fits, high, low, denominator = add(
            total[OFFER_HIGH], total[OFFER_LOW], total[OFFER_DENOMINATOR], high, low, denominator
        )
    if not fits:
        state[STATE_ESCALATE] = 1
        return
    total[OFFER_HIGH], total[OFFER_LOW], total[OFFER_DENOMINATOR] = high, low, denominator


@compiled
def add_surcharges(m, state, total, offer):  # type: ignore[no-untyped-def]
    """Put the sum on the price of the offer that answered, and round it again (P9)."""
    if state[STATE_ESCALATE] == 1:
        return
    high, low, denominator = offer[OFFER_HIGH], offer[OFFER_LOW], offer[OFFER_DENOMINATOR]
    fits, high, low, denominator = scale(
        high, low, denominator, _HUNDRED + total[SUM_PCT], np.int64(_HUNDRED)
    )
    if fits:
        fits, high, low, denominator = add(
            high, low, denominator, total[OFFER_HIGH], total[OFFER_LOW], total[OFFER_DENOMINATOR]
        )
    rounded = np.int64(0)
    if fits:
        price_per, lifted = offer[OFFER_PRICE_PER], offer[OFFER_LIFTED]
        fits, rounded = rounded_price(m, offer[OFFER_BOOK], price_per, lifted, high, low, denominator)
    if not fits:
        state[STATE_ESCALATE] = 1
        return
    offer[OFFER_ROUNDED] = rounded
