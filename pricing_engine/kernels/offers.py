"""Compiled: what one book offers for one line: its price, exact, floored, converted and rounded (P7-P9)."""

import numpy as np
from numba import njit

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.cursor import (
    ANY_BREAK,
    BLOCKED,
    ENTRY,
    FRAME_BOOK,
    FRAME_CELL,
    FRAME_FOUND,
    FRAME_IS_BELOW,
    FRAME_IS_LACKING,
    FRAME_KIND,
    FRAME_MINIMUM,
    FRAME_NEWEST,
    FRAME_ONLY_BASE,
    FRAME_STAGE,
    MISSED_INPUT,
    MISSED_ZERO,
    NOTHING,
    PLAIN_LADDER,
    PLAIN_PRICE,
    RECORDS,
    WINDOWED,
    advance,
    minimum_at,
    ranking_window,
    start_book,
)
from pricegrid.pricing_engine.kernels.entries import (
    WORK_AS_OF,
    WORK_BRANCH,
    WORK_CURRENCY,
    WORK_CUSTOMER_BRANCH,
    WORK_DENOMINATOR,
    WORK_ESCALATE,
    WORK_HORIZON,
    WORK_ITEM,
    WORK_NUMERATOR,
    book_valid,
    first_entry_of,
    ladder_at,
    record_at,
    records_of,
    value_of,
)
from pricegrid.pricing_engine.kernels.exact import compare, round_to_increment, scale
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
    OFFER_CLASS_RANK,
    OFFER_NEWEST,
    OFFER_CLOUDED,  # 1: a basis book's entry before the one it is made of gave no price
    OFFER_PRESENT,
    OFFER_SIZE,
) = range(22)
RANK_SIZE = 7

_NET = int(Method.NET)
_UP = int(RoundingMode.UP)
_REPLACE = int(Windows.REPLACE)


@njit(cache=True)
def _entry_ordinal(m, frame):  # type: ignore[no-untyped-def]
    cell = frame[FRAME_CELL]
    if frame[FRAME_KIND] == PLAIN_PRICE:
        return first_entry_of(m, cell)
    first, _ = records_of(value_of(m, cell))
    return first_entry_of(m, cell) + frame[FRAME_FOUND] - first


@njit(cache=True)
def find_rate(m, work, source, target):  # type: ignore[no-untyped-def]
    """(numerator, denominator) that turns `source` money into `target` (P3); (0, 0) where there is no rate."""
    for inverted in range(2):
        pair = (target << 32 | source) if inverted else (source << 32 | target)
        low, high = 0, len(m.rates)
        while low < high:
            middle = (low + high) >> 1
            rate_pair = m.rates[middle, mx.RATE_PAIR]
            if rate_pair < pair or (rate_pair == pair and m.rates[middle, mx.RATE_FROM] <= work[WORK_AS_OF]):
                low = middle + 1
            else:
                high = middle
        if low < len(m.rates) and m.rates[low, mx.RATE_PAIR] == pair:
            work[WORK_HORIZON] = min(work[WORK_HORIZON], m.rates[low, mx.RATE_FROM])
        if low > 0 and m.rates[low - 1, mx.RATE_PAIR] == pair:
            numerator = m.rates[low - 1, mx.RATE_NUMERATOR]
            denominator = m.rates[low - 1, mx.RATE_DENOMINATOR]
            return (denominator, numerator) if inverted else (numerator, denominator)
    return np.int64(0), np.int64(0)


@njit(cache=True)
def _convert(m, work, high, low, denominator, source, target):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator) of a price in `target` currency."""
    if source == target:
        return True, high, low, denominator
    by, over = find_rate(m, work, source, target)
    if over == 0:
        return False, high, low, denominator
    fits, high, low, denominator = scale(high, low, denominator, by, over)
    if not fits:
        work[WORK_ESCALATE] = 1
    return fits, high, low, denominator


@njit(cache=True)
def _cost_row(m, work):  # type: ignore[no-untyped-def]
    """The row of `costs` for the line: the request's branch, else the customer's, else the row without one; or -1."""
    costs = m.items[work[WORK_ITEM], mx.ITEM_COSTS]
    for choice in range(3):
        branch = np.int64(-1)
        if choice == 0:
            branch = work[WORK_BRANCH]
        elif choice == 1:
            branch = work[WORK_CUSTOMER_BRANCH]
        if choice < 2 and branch < 0:
            continue
        found = np.int64(-1)
        for row in range(mx.run_start(costs), mx.run_end(costs)):
            if m.costs[row, mx.COST_BRANCH] == branch:
                if m.costs[row, mx.COST_FROM] <= work[WORK_AS_OF]:
                    found = np.int64(row)
                else:
                    work[WORK_HORIZON] = min(work[WORK_HORIZON], m.costs[row, mx.COST_FROM])
                    break
        if found >= 0:
            return found
    return np.int64(-1)


@njit(cache=True)
def _cost_in(m, work, currency):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator) of the item's cost for one asked unit in a currency (P7)."""
    row = _cost_row(m, work)
    if row < 0:
        return False, np.int64(0), np.int64(0), np.int64(1)
    fits, high, low, denominator = scale(
        np.int64(0), m.costs[row, mx.COST_MICROS], np.int64(1), work[WORK_NUMERATOR], work[WORK_DENOMINATOR]
    )
    if not fits:
        work[WORK_ESCALATE] = 1
        return False, high, low, denominator
    return _convert(m, work, high, low, denominator, m.costs[row, mx.COST_CURRENCY], currency)


@njit(cache=True)
def _first_price(m, work, frame):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator) of an entry that needs no other book: net, or computed from cost."""
    at = frame[FRAME_FOUND]
    if frame[FRAME_KIND] == PLAIN_PRICE:
        value = value_of(m, frame[FRAME_CELL])
    elif frame[FRAME_KIND] == PLAIN_LADDER:
        value = ladder_at(m, at, mx.LADDER_PRICE)
    elif record_at(m, at, mx.RECORD_PACKED) >> mx.PACKED_METHOD_SHIFT & 15 == _NET:
        value = record_at(m, at, mx.RECORD_VALUE)
    else:
        return _cost_in(m, work, m.books[frame[FRAME_BOOK], mx.BOOK_CURRENCY])
    if frame[FRAME_STAGE] & 1 == 0:
        return True, np.int64(0), value, np.int64(1)
    fits, high, low, denominator = scale(
        np.int64(0), value, np.int64(1), work[WORK_NUMERATOR], work[WORK_DENOMINATOR]
    )
    if not fits:
        work[WORK_ESCALATE] = 1
    return fits, high, low, denominator


@njit(cache=True)
def _basis_code(m, frame):  # type: ignore[no-untyped-def]
    """BASIS_NONE for a net entry, BASIS_COST, or a book's code."""
    if frame[FRAME_KIND] != RECORDS:
        return np.int64(mx.BASIS_NONE)
    packed = record_at(m, frame[FRAME_FOUND], mx.RECORD_PACKED)
    if packed >> mx.PACKED_METHOD_SHIFT & 15 == _NET:
        return np.int64(mx.BASIS_NONE)
    return packed >> mx.PACKED_BASIS_SHIFT


@njit(cache=True)
def _explicit_zero(m, frame):  # type: ignore[no-untyped-def]
    if frame[FRAME_KIND] == PLAIN_PRICE:
        return value_of(m, frame[FRAME_CELL]) == 0
    if frame[FRAME_KIND] == PLAIN_LADDER:
        return ladder_at(m, frame[FRAME_FOUND], mx.LADDER_PRICE) == 0
    return record_at(m, frame[FRAME_FOUND], mx.RECORD_PACKED) >> mx.PACKED_ZERO_SHIFT & 1 == 1


@njit(cache=True)
def _computed(m, work, frame, high, low, denominator):  # type: ignore[no-untyped-def]
    """(given, lifted, high, low, denominator) after the entry's method (P7) and its book's floor (P8)."""
    if _basis_code(m, frame) == mx.BASIS_NONE:
        return True, False, high, low, denominator
    at, book = frame[FRAME_FOUND], frame[FRAME_BOOK]
    fits, high, low, denominator = scale(
        high, low, denominator, record_at(m, at, mx.RECORD_NUMERATOR), record_at(m, at, mx.RECORD_DENOMINATOR)
    )
    if not fits:
        work[WORK_ESCALATE] = 1
        return False, False, high, low, denominator
    if m.books[book, mx.BOOK_FLOOR_DENOMINATOR] == 0:
        return True, False, high, low, denominator
    given, floor_high, floor_low, floor_denominator = _cost_in(m, work, m.books[book, mx.BOOK_CURRENCY])
    if not given:
        return work[WORK_ESCALATE] == 0, False, high, low, denominator
    fits, floor_high, floor_low, floor_denominator = scale(
        floor_high,
        floor_low,
        floor_denominator,
        m.books[book, mx.BOOK_FLOOR_NUMERATOR],
        m.books[book, mx.BOOK_FLOOR_DENOMINATOR],
    )
    compared, sign = compare(high, low, denominator, floor_high, floor_low, floor_denominator)
    if not (fits and compared):
        work[WORK_ESCALATE] = 1
        return False, False, high, low, denominator
    if sign < 0:
        return True, True, floor_high, floor_low, floor_denominator
    return True, False, high, low, denominator


@njit(cache=True)
def _complete(m, work, frame, high, low, denominator, lifted, offer):  # type: ignore[no-untyped-def]
    """Convert to the asked currency, round, and write the offer: ENTRY, or what leaves no price (P9)."""
    book = frame[FRAME_BOOK]
    given, high, low, denominator = _convert(
        m, work, high, low, denominator, m.books[book, mx.BOOK_CURRENCY], work[WORK_CURRENCY]
    )
    if not given:
        return MISSED_INPUT
    mode = _UP if lifted else m.books[book, mx.BOOK_ROUNDING]
    fits, rounded = round_to_increment(high, low, denominator, m.books[book, mx.BOOK_INCREMENT], mode)
    if not fits:
        work[WORK_ESCALATE] = 1
        return MISSED_INPUT
    if rounded == 0 and not _explicit_zero(m, frame):
        return MISSED_ZERO
    offer[OFFER_HIGH] = high
    offer[OFFER_LOW] = low
    offer[OFFER_DENOMINATOR] = denominator
    offer[OFFER_ENTRY] = _entry_ordinal(m, frame)
    offer[OFFER_LIFTED] = lifted
    offer[OFFER_ROUNDED] = rounded
    return ENTRY


@njit(cache=True)
def _described(m, work, frame, said, clouded, offer):  # type: ignore[no-untyped-def]
    """Write what ranks an offer, an entry without a price or a blocked book among others (P2); what was said."""
    stage = frame[FRAME_STAGE]
    offer[OFFER_BOOK] = frame[FRAME_BOOK]
    offer[OFFER_LEVEL] = stage >> 2
    offer[OFFER_CLASS_RANK] = (stage >> 1) & 1
    offer[OFFER_FORM] = stage & 1
    if said == BLOCKED:
        offer[OFFER_NEWEST] = frame[FRAME_NEWEST]
        offer[OFFER_MINIMUM] = frame[FRAME_MINIMUM]
        return said
    offer[OFFER_NEWEST] = ranking_window(m, work, frame)
    is_reached = frame[FRAME_ONLY_BASE] == ANY_BREAK
    offer[OFFER_SLOT] = minimum_at(m, frame, frame[FRAME_FOUND]) if is_reached else -1
    offer[OFFER_CLOUDED] = clouded
    return said


@njit(cache=True)
def _own_price(m, work, frame):  # type: ignore[no-untyped-def]
    """(said, lifted, high, low, denominator) of the entry found, which has no basis book: ENTRY, or what it lacks."""
    given, high, low, denominator = _first_price(m, work, frame)
    if not given:
        return MISSED_INPUT, False, high, low, denominator
    return _computed_price(m, work, frame, high, low, denominator)


@njit(cache=True)
def _computed_price(m, work, frame, high, low, denominator):  # type: ignore[no-untyped-def]
    """The same of the entry found, from the price that its method applies to."""
    given, lifted, high, low, denominator = _computed(m, work, frame, high, low, denominator)
    if not given:
        return MISSED_INPUT, lifted, high, low, denominator
    if high == 0 and low == 0 and not _explicit_zero(m, frame):
        return MISSED_ZERO, lifted, high, low, denominator
    return ENTRY, lifted, high, low, denominator


@njit(cache=True)
def _note_none(frame, said):  # type: ignore[no-untyped-def]
    """Note in a basis book's frame why one of its entries gives no price; NOTHING says that it is below a minimum."""
    if said == NOTHING:
        frame[FRAME_IS_BELOW] = 1
    else:
        frame[FRAME_IS_LACKING] = 1


@njit(cache=True)
def _without_basis(frame):  # type: ignore[no-untyped-def]
    """What an entry lacks whose basis book gives no price: MISSED_INPUT; NOTHING where that one begins above."""
    is_only_below = frame[FRAME_IS_BELOW] == 1 and frame[FRAME_IS_LACKING] == 0
    return NOTHING if is_only_below else MISSED_INPUT


@njit(cache=True)
def _from_bases(m, work, frames, depth, priced):  # type: ignore[no-untyped-def]
    """(depth, priced) after the price of a basis book's entry is taken down the chain as far as it goes; `priced` is
    (said, lifted, high, low, denominator)."""
    said, lifted, high, low, denominator = priced
    while said == ENTRY and depth > 0:
        source = m.books[frames[depth, FRAME_BOOK], mx.BOOK_CURRENCY]
        depth -= 1
        target = m.books[frames[depth, FRAME_BOOK], mx.BOOK_CURRENCY]
        given, high, low, denominator = _convert(m, work, high, low, denominator, source, target)
        said = MISSED_INPUT
        if given:
            said, lifted, high, low, denominator = _computed_price(
                m, work, frames[depth], high, low, denominator
            )
    return depth, (said, lifted, high, low, denominator)


@njit(cache=True)
def next_offer(m, work, keys, frames, offer):  # type: ignore[no-untyped-def]
    """What the book of `frames[0]` says next (P4-P9): ENTRY with `offer` (int64 row) filled, BLOCKED, MISSED_INPUT or
    MISSED_ZERO of an entry, both with what ranks it, or NOTHING more."""
    depth, clouded = 0, 0
    while work[WORK_ESCALATE] == 0:
        frame = frames[depth]
        said = advance(m, work, keys, frame)
        if depth == 0:
            clouded = 0
            if said == NOTHING:
                return NOTHING
            if said == BLOCKED:
                return _described(m, work, frame, said, 0, offer)
        lifted, high, low, denominator = False, np.int64(0), np.int64(0), np.int64(1)
        if said != ENTRY:
            depth -= 1  # the entry below has no basis price
            said = _without_basis(frame)
        else:
            basis = _basis_code(m, frame)
            if basis >= mx.BASIS_BOOK:
                if depth < BASIS_LINKS_MAX and book_valid(m, work, basis - mx.BASIS_BOOK):
                    depth += 1
                    is_whole = m.books[basis - mx.BASIS_BOOK, mx.BOOK_WINDOWS] == _REPLACE
                    start_book(frames[depth], basis - mx.BASIS_BOOK, WINDOWED if is_whole else 0)
                    continue
                said = MISSED_INPUT
            else:
                depth, priced = _from_bases(m, work, frames, depth, _own_price(m, work, frame))
                said, lifted, high, low, denominator = priced
        if depth > 0:
            _note_none(frames[depth], said)
            clouded |= said != NOTHING
            continue
        if said == ENTRY:
            said = _complete(m, work, frames[0], high, low, denominator, lifted, offer)
        if said != NOTHING and work[WORK_ESCALATE] == 0:
            return _described(m, work, frames[0], said, clouded, offer)
    return NOTHING
