"""Compiled: what one book offers for one line: its price, exact, floored, converted and rounded (P7-P9).

`next_offer` moves the book's cursor to its next entry. If the entry is computed from another book, a cursor of that one
is opened in the next row of `cursors`, down to BASIS_LINKS_MAX links; as soon as an entry gives a price by itself (net,
or from cost), the price is taken back up the chain, converted and changed by each method on the way. If a basis has no
price, the entry above it has none, and its cursor moves on. The loop ends with an offer, with an entry that lacks its
input or would be zero, with a blocked book, or with no more entries. All prices are exact fractions until `_complete`
rounds the last one; a fraction that outgrows 127 bits escalates the line to the reference.
"""

import numpy as np

from pricegrid.columnar.exact import compare, scale, subtract
from pricegrid.columnar.jit import compiled
from pricegrid.columnar.search import first_row_at_least
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.cursor import (
    ANY_BREAK,
    BLOCKED,
    CURSOR_BOOK,
    CURSOR_CELL,
    CURSOR_FOUND,
    CURSOR_IS_BELOW,
    CURSOR_IS_LACKING,
    CURSOR_KIND,
    CURSOR_MINIMUM,
    CURSOR_NEWEST,
    CURSOR_ONLY_BASE,
    CURSOR_STAGE,
    ENTRY,
    LADDER_CELL,
    MISSED_INPUT,
    MISSED_ZERO,
    NET_CELL,
    NOTHING,
    RECORDS_CELL,
    STAGE_LEVEL,
    STAGE_NARROWNESS,
    WINDOWED,
    advance,
    minimum_at,
    ranking_window,
    start_book,
)
from pricegrid.pricing_engine.kernels.entries import (
    STATE_AS_OF,
    STATE_BRANCH,
    STATE_CURRENCY,
    STATE_CUSTOMER_BRANCH,
    STATE_DENOMINATOR,
    STATE_ESCALATE,
    STATE_HORIZON,
    STATE_ITEM,
    STATE_NUMERATOR,
    book_valid,
    first_entry_of,
    ladder_at,
    price_per_at,
    record_at,
    records_of,
    value_of,
)
from pricegrid.pricing_engine.kernels.rounding import round_to_increment
from pricegrid.pricing_engine.model import BASIS_LINKS_MAX, Method, RoundingMode, Windows

(
    OFFER_RANK,
    _,
    _,
    _,
    _,
    _,
    OFFER_BOOK,  # the last of the seven rank numbers, but in mode `newest`, where it is the last as well
    OFFER_HIGH,
    OFFER_LOW,
    OFFER_DENOMINATOR,
    OFFER_ENTRY,
    OFFER_FORM,
    OFFER_SLOT,
    OFFER_LIFTED,
    OFFER_ROUNDED,
    OFFER_MINIMUM,
    OFFER_LEVEL,
    OFFER_NARROWNESS,  # which of the classes << 1 | of all branches (P4, P18)
    OFFER_NEWEST,
    OFFER_BASIS_MISSED,  # 1: an earlier entry of a basis book gave no price
    OFFER_PRICE_PER,  # OFFER_ROUNDED is of so many units, the exact price of one (P14)
    OFFER_PRESENT,
    OFFER_SIZE,
) = range(23)
RANK_SIZE = 7

_NET, _AMOUNT_OFF = int(Method.NET), int(Method.AMOUNT_OFF)
_UP = int(RoundingMode.UP)
_REPLACE = int(Windows.REPLACE)


@compiled
def _entry_ordinal(m, cursor):  # type: ignore[no-untyped-def]
    cell = cursor[CURSOR_CELL]
    if cursor[CURSOR_KIND] == NET_CELL:
        return first_entry_of(m, cell)
    first, _ = records_of(value_of(m, cell))
    return first_entry_of(m, cell) + cursor[CURSOR_FOUND] - first


@compiled
def find_rate(m, state, source, target):  # type: ignore[no-untyped-def]
    """(numerator, denominator) that turns `source` money into `target` (P3); (0, 0) where there is no rate."""
    for inverted in range(2):
        pair = (target << 32 | source) if inverted else (source << 32 | target)
        first = first_row_at_least(m.rates, mx.RATE_PAIR, pair, 0, len(m.rates))
        end = first_row_at_least(m.rates, mx.RATE_PAIR, pair + 1, first, len(m.rates))
        later = first_row_at_least(m.rates, mx.RATE_FROM, state[STATE_AS_OF] + 1, first, end)
        if later < end:
            state[STATE_HORIZON] = min(state[STATE_HORIZON], m.rates[later, mx.RATE_FROM])
        if later > first:
            numerator = m.rates[later - 1, mx.RATE_NUMERATOR]
            denominator = m.rates[later - 1, mx.RATE_DENOMINATOR]
            return (denominator, numerator) if inverted else (numerator, denominator)
    return np.int64(0), np.int64(0)


@compiled
def _convert(m, state, high, low, denominator, source, target):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator) of a price in `target` currency."""
    if source == target:
        return True, high, low, denominator
    by, over = find_rate(m, state, source, target)
    if over == 0:
        return False, high, low, denominator
    fits, high, low, denominator = scale(high, low, denominator, by, over)
    if not fits:
        state[STATE_ESCALATE] = 1
    return fits, high, low, denominator


@compiled
def _cost_row(m, state):  # type: ignore[no-untyped-def]
    """The row of `costs` for the line: the request's branch, else the customer's, else the row without one; or -1."""
    costs = m.items[state[STATE_ITEM], mx.ITEM_COSTS]
    for choice in range(3):
        branch = np.int64(-1)
        if choice == 0:
            branch = state[STATE_BRANCH]
        elif choice == 1:
            branch = state[STATE_CUSTOMER_BRANCH]
        if choice < 2 and branch < 0:
            continue
        found = np.int64(-1)
        for row in range(mx.run_start(costs), mx.run_end(costs)):
            if m.costs[row, mx.COST_BRANCH] == branch:
                if m.costs[row, mx.COST_FROM] <= state[STATE_AS_OF]:
                    found = np.int64(row)
                else:
                    state[STATE_HORIZON] = min(state[STATE_HORIZON], m.costs[row, mx.COST_FROM])
                    break
        if found >= 0:
            return found
    return np.int64(-1)


@compiled
def _cost_in(m, state, currency):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator) of the item's cost for one asked unit in a currency (P7)."""
    row = _cost_row(m, state)
    if row < 0:
        return False, np.int64(0), np.int64(0), np.int64(1)
    fits, high, low, denominator = scale(
        np.int64(0),
        m.costs[row, mx.COST_MICROS],
        np.int64(1),
        state[STATE_NUMERATOR],
        state[STATE_DENOMINATOR],
    )
    if not fits:
        state[STATE_ESCALATE] = 1
        return False, high, low, denominator
    return _convert(m, state, high, low, denominator, m.costs[row, mx.COST_CURRENCY], currency)


@compiled
def _first_price(m, state, cursor):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator) of an entry that needs no other book: net, or computed from cost."""
    at, price_per = cursor[CURSOR_FOUND], np.int64(1)
    if cursor[CURSOR_KIND] == NET_CELL:
        value = value_of(m, cursor[CURSOR_CELL])
    elif cursor[CURSOR_KIND] == LADDER_CELL:
        value = ladder_at(m, at, mx.LADDER_PRICE)
    elif record_at(m, at, mx.RECORD_PACKED) >> mx.PACKED_METHOD_SHIFT & 15 == _NET:
        value, price_per = record_at(m, at, mx.RECORD_VALUE), price_per_at(m, at)
    else:
        return _cost_in(m, state, m.books[cursor[CURSOR_BOOK], mx.BOOK_CURRENCY])
    fits, high, low, denominator = True, np.int64(0), value, np.int64(1)
    if price_per > 1:
        fits, high, low, denominator = scale(high, low, denominator, np.int64(1), price_per)
    if cursor[CURSOR_STAGE] & 1 == 0:
        return True, high, low, denominator
    fits, high, low, denominator = scale(
        high, low, denominator, state[STATE_NUMERATOR], state[STATE_DENOMINATOR]
    )
    if not fits:
        state[STATE_ESCALATE] = 1
    return fits, high, low, denominator


@compiled
def _basis_code(m, cursor):  # type: ignore[no-untyped-def]
    """BASIS_NONE for a net entry, BASIS_COST, or a book's code."""
    if cursor[CURSOR_KIND] != RECORDS_CELL:
        return np.int64(mx.BASIS_NONE)
    packed = record_at(m, cursor[CURSOR_FOUND], mx.RECORD_PACKED)
    if packed >> mx.PACKED_METHOD_SHIFT & 15 == _NET:
        return np.int64(mx.BASIS_NONE)
    return packed >> mx.PACKED_BASIS_SHIFT


@compiled
def _price_unit(m, cursors, first):  # type: ignore[no-untyped-def]
    """For how many units the price found is (P14): what its entry says, else that of its basis book, and so on; of the
    chain from its link `first` on."""
    for depth in range(first, BASIS_LINKS_MAX + 1):
        if cursors[depth, CURSOR_KIND] != RECORDS_CELL:
            return np.int64(1)
        price_per = price_per_at(m, cursors[depth, CURSOR_FOUND])
        if price_per > 0:
            return price_per
    return np.int64(1)


@compiled
def _explicit_zero(m, cursor):  # type: ignore[no-untyped-def]
    if cursor[CURSOR_KIND] == NET_CELL:
        return value_of(m, cursor[CURSOR_CELL]) == 0
    if cursor[CURSOR_KIND] == LADDER_CELL:
        return ladder_at(m, cursor[CURSOR_FOUND], mx.LADDER_PRICE) == 0
    return record_at(m, cursor[CURSOR_FOUND], mx.RECORD_PACKED) >> mx.PACKED_ZERO_SHIFT & 1 == 1


@compiled
def entry_amount(m, state, cursor, price_per):  # type: ignore[no-untyped-def]
    """(fits, high, low, denominator) of the amount of the entry found for one asked unit, its value being for so many
    units of its form (P16)."""
    value = record_at(m, cursor[CURSOR_FOUND], mx.RECORD_VALUE)
    fits, high, low, denominator = scale(np.int64(0), value, np.int64(1), np.int64(1), price_per)
    if fits and cursor[CURSOR_STAGE] & 1 == 1:
        fits, high, low, denominator = scale(
            high, low, denominator, state[STATE_NUMERATOR], state[STATE_DENOMINATOR]
        )
    return fits, high, low, denominator


@compiled
def _by_method(m, state, cursors, depth, high, low, denominator):  # type: ignore[no-untyped-def]
    """(fits, high, low, denominator) of a price after the method of the entry found (P7, P16)."""
    cursor, at = cursors[depth], cursors[depth, CURSOR_FOUND]
    if record_at(m, at, mx.RECORD_PACKED) >> mx.PACKED_METHOD_SHIFT & 15 == _AMOUNT_OFF:
        price_per = _price_unit(m, cursors, depth)
        fits, off_high, off_low, off_denominator = entry_amount(m, state, cursor, price_per)
        if not fits:
            return False, high, low, denominator
        return subtract(high, low, denominator, off_high, off_low, off_denominator)
    numerator_by = record_at(m, at, mx.RECORD_NUMERATOR)
    return scale(high, low, denominator, numerator_by, record_at(m, at, mx.RECORD_DENOMINATOR))


@compiled
def _computed(m, state, cursors, depth, high, low, denominator):  # type: ignore[no-untyped-def]
    """(given, lifted, high, low, denominator) after the entry's method (P7) and its book's floor (P8)."""
    cursor = cursors[depth]
    if _basis_code(m, cursor) == mx.BASIS_NONE:
        return True, False, high, low, denominator
    book = cursor[CURSOR_BOOK]
    fits, high, low, denominator = _by_method(m, state, cursors, depth, high, low, denominator)
    if not fits:
        state[STATE_ESCALATE] = 1
        return False, False, high, low, denominator
    if m.books[book, mx.BOOK_FLOOR_DENOMINATOR] == 0:
        return True, False, high, low, denominator
    given, floor_high, floor_low, floor_denominator = _cost_in(m, state, m.books[book, mx.BOOK_CURRENCY])
    if not given:
        return state[STATE_ESCALATE] == 0, False, high, low, denominator
    fits, floor_high, floor_low, floor_denominator = scale(
        floor_high,
        floor_low,
        floor_denominator,
        m.books[book, mx.BOOK_FLOOR_NUMERATOR],
        m.books[book, mx.BOOK_FLOOR_DENOMINATOR],
    )
    compared, sign = compare(high, low, denominator, floor_high, floor_low, floor_denominator)
    if not (fits and compared):
        state[STATE_ESCALATE] = 1
        return False, False, high, low, denominator
    if sign < 0:
        return True, True, floor_high, floor_low, floor_denominator
    return True, False, high, low, denominator


@compiled
def rounded_price(m, book, price_per, lifted, high, low, denominator):  # type: ignore[no-untyped-def]
    """(fits, micros) of the price of so many units, rounded as its book says (P9, P14), up where a floor lifted it."""
    fits = True
    if price_per > 1:
        fits, high, low, denominator = scale(high, low, denominator, price_per, np.int64(1))
    if not fits:
        return False, np.int64(0)
    mode = _UP if lifted else m.books[book, mx.BOOK_ROUNDING]
    increment, ending = m.books[book, mx.BOOK_INCREMENT], m.books[book, mx.BOOK_ENDING]
    return round_to_increment(high, low, denominator, increment, ending, mode)


@compiled
def _complete(m, state, cursors, high, low, denominator, lifted, offer):  # type: ignore[no-untyped-def]
    """Convert to the asked currency, round the price of so many units as it is for, and write the offer: ENTRY, or why
    there is no price (P9, P14)."""
    cursor = cursors[0]
    book, price_per = cursor[CURSOR_BOOK], _price_unit(m, cursors, 0)
    given, high, low, denominator = _convert(
        m, state, high, low, denominator, m.books[book, mx.BOOK_CURRENCY], state[STATE_CURRENCY]
    )
    if not given:
        return MISSED_INPUT
    fits, rounded = rounded_price(m, book, price_per, lifted, high, low, denominator)
    if not fits:
        state[STATE_ESCALATE] = 1
        return MISSED_INPUT
    if rounded == 0 and not _explicit_zero(m, cursor):
        return MISSED_ZERO
    offer[OFFER_HIGH] = high
    offer[OFFER_LOW] = low
    offer[OFFER_DENOMINATOR] = denominator
    offer[OFFER_ENTRY] = _entry_ordinal(m, cursor)
    offer[OFFER_LIFTED] = lifted
    offer[OFFER_ROUNDED] = rounded
    offer[OFFER_PRICE_PER] = price_per
    return ENTRY


@compiled
def _write_ranking(m, state, cursor, outcome, basis_missed, offer):  # type: ignore[no-untyped-def]
    """Write what ranks an offer, an entry without a price or a blocked book among others (P2); returns the outcome."""
    stage = cursor[CURSOR_STAGE]
    offer[OFFER_BOOK] = cursor[CURSOR_BOOK]
    offer[OFFER_LEVEL] = stage >> STAGE_LEVEL
    offer[OFFER_NARROWNESS] = stage >> 1 & STAGE_NARROWNESS
    offer[OFFER_FORM] = stage & 1
    if outcome == BLOCKED:
        offer[OFFER_NEWEST] = cursor[CURSOR_NEWEST]
        offer[OFFER_MINIMUM] = cursor[CURSOR_MINIMUM]
        return outcome
    offer[OFFER_NEWEST] = ranking_window(m, state, cursor)
    is_reached = cursor[CURSOR_ONLY_BASE] == ANY_BREAK
    offer[OFFER_SLOT] = minimum_at(m, cursor, cursor[CURSOR_FOUND]) if is_reached else -1
    offer[OFFER_BASIS_MISSED] = basis_missed
    return outcome


@compiled
def _own_price(m, state, cursors, depth):  # type: ignore[no-untyped-def]
    """(outcome, lifted, high, low, denominator) of the entry found, which has no basis book."""
    given, high, low, denominator = _first_price(m, state, cursors[depth])
    if not given:
        return MISSED_INPUT, False, high, low, denominator
    return _computed_price(m, state, cursors, depth, high, low, denominator)


@compiled
def _computed_price(m, state, cursors, depth, high, low, denominator):  # type: ignore[no-untyped-def]
    """The same of the entry found, from the price that its method applies to."""
    given, lifted, high, low, denominator = _computed(m, state, cursors, depth, high, low, denominator)
    if not given:
        return MISSED_INPUT, lifted, high, low, denominator
    if high == 0 and low == 0 and not _explicit_zero(m, cursors[depth]):
        return MISSED_ZERO, lifted, high, low, denominator
    return ENTRY, lifted, high, low, denominator


@compiled
def _note_missing(cursor, outcome):  # type: ignore[no-untyped-def]
    """Write to a basis book's cursor why an entry of it gives no price; NOTHING: it is below a minimum."""
    if outcome == NOTHING:
        cursor[CURSOR_IS_BELOW] = 1
    else:
        cursor[CURSOR_IS_LACKING] = 1


@compiled
def _outcome_without_basis(cursor):  # type: ignore[no-untyped-def]
    """The outcome of an entry whose basis book gives no price: MISSED_INPUT; NOTHING if that book begins above."""
    is_only_below = cursor[CURSOR_IS_BELOW] == 1 and cursor[CURSOR_IS_LACKING] == 0
    return NOTHING if is_only_below else MISSED_INPUT


@compiled
def _from_bases(m, state, cursors, depth, priced):  # type: ignore[no-untyped-def]
    """(depth, priced) after the price of a basis book's entry is taken up the chain as far as it goes.

    `priced` is (outcome, lifted, high, low, denominator).
    """
    outcome, lifted, high, low, denominator = priced
    while outcome == ENTRY and depth > 0:
        source = m.books[cursors[depth, CURSOR_BOOK], mx.BOOK_CURRENCY]
        depth -= 1
        target = m.books[cursors[depth, CURSOR_BOOK], mx.BOOK_CURRENCY]
        given, high, low, denominator = _convert(m, state, high, low, denominator, source, target)
        outcome = MISSED_INPUT
        if given:
            outcome, lifted, high, low, denominator = _computed_price(
                m, state, cursors, depth, high, low, denominator
            )
    return depth, (outcome, lifted, high, low, denominator)


@compiled
def next_offer(m, state, keys, cursors, offer):  # type: ignore[no-untyped-def]
    """The next outcome of the book of `cursors[0]` (P4-P9).

    ENTRY, with `offer` (int64 row) written; BLOCKED; MISSED_INPUT or MISSED_ZERO of an entry, with what ranks it;
    NOTHING: there are no more.
    """
    depth, basis_missed = 0, 0
    while state[STATE_ESCALATE] == 0:
        cursor = cursors[depth]
        outcome = advance(m, state, keys, cursor)
        if depth == 0:
            basis_missed = 0
            if outcome == NOTHING:
                return NOTHING
            if outcome == BLOCKED:
                return _write_ranking(m, state, cursor, outcome, 0, offer)
        lifted, high, low, denominator = False, np.int64(0), np.int64(0), np.int64(1)
        if outcome != ENTRY:
            depth -= 1  # the entry below has no basis price
            outcome = _outcome_without_basis(cursor)
        else:
            basis = _basis_code(m, cursor)
            if basis >= mx.BASIS_BOOK:
                if m.books[basis - mx.BASIS_BOOK, mx.BOOK_BREAKS] != 0:
                    state[STATE_ESCALATE] = 1
                    return NOTHING
                if depth < BASIS_LINKS_MAX and book_valid(m, state, basis - mx.BASIS_BOOK):
                    depth += 1
                    is_whole = m.books[basis - mx.BASIS_BOOK, mx.BOOK_WINDOWS] == _REPLACE
                    start_book(cursors[depth], basis - mx.BASIS_BOOK, WINDOWED if is_whole else 0)
                    continue
                outcome = MISSED_INPUT
            else:
                depth, priced = _from_bases(m, state, cursors, depth, _own_price(m, state, cursors, depth))
                outcome, lifted, high, low, denominator = priced
        if depth > 0:
            _note_missing(cursors[depth], outcome)
            basis_missed |= outcome != NOTHING
            continue
        if outcome == ENTRY:
            outcome = _complete(m, state, cursors, high, low, denominator, lifted, offer)
        if outcome != NOTHING and state[STATE_ESCALATE] == 0:
            return _write_ranking(m, state, cursors[0], outcome, basis_missed, offer)
    return NOTHING
