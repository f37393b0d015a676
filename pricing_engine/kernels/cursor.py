"""Compiled: the entries of one book that could price one line, in the order in which they are asked (P4-P6).

The plain form is `candidates`. A book's levels (item level, then class) are opened one by one; at a level its rows are
visited in the exact unit, then per base unit. A row is an entry; rows stand by falling break, then newest window first.
`advance` is that visit as a cursor kept in one row of `frames`; a basis book gets the next row, so a chain of
BASIS_LINKS_MAX links needs that many more. Nothing here recurses (numba can't cache recursion), allocates, or keeps
state outside its arguments.
"""

import numpy as np
from numba import njit

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import (
    WORK_AS_OF,
    WORK_BASE_QUANTITY,
    WORK_CLASS,
    WORK_DENOMINATOR,
    WORK_LEVELS,
    WORK_MINIMUM,
    WORK_NUMERATOR,
    WORK_QUANTITY,
    WORK_UOM,
    find_cell,
    first_record,
    ladder_at,
    level_flag,
    record_at,
    records_of,
    valid_now,
    value_of,
)
from pricegrid.pricing_engine.kernels.exact import INT64_MAX, compare, divide, times
from pricegrid.pricing_engine.model import BASIS_LINKS_MAX, BelowMinimum

(
    FRAME_BOOK,
    FRAME_WALK,
    FRAME_STAGE,  # item level << 2 | of all classes << 1 | per base unit
    FRAME_CELL,
    FRAME_KIND,
    FRAME_EXACT_LOW,
    FRAME_EXACT_HIGH,
    FRAME_BASE_LOW,
    FRAME_BASE_HIGH,
    FRAME_AT,  # the next row of [low, high), the rows of the open unit form
    FRAME_LOW,
    FRAME_HIGH,
    FRAME_WINDOW,  # the begin of the window whose rows are visited, ANY_WINDOW for those of all
    FRAME_ONLY_EXACT,  # below the first break: the one whose price is given, by unit form; else ANY_BREAK
    FRAME_ONLY_BASE,
    FRAME_ANSWERED,  # the break at which a row of this part has given a price, -1 if none has
    FRAME_HAS_OFFER,  # 1: a row of this level has
    FRAME_IS_BELOW,  # 1: the quantity was below a first break, the book's or that of a basis
    FRAME_IS_LACKING,  # 1: an entry lacked its input, or was zero
    FRAME_NEWEST,
    FRAME_MINIMUM,
    FRAME_FOUND,
    FRAME_SIZE,
) = range(23)
FRAMES = BASIS_LINKS_MAX + 1
PLAIN_PRICE, PLAIN_LADDER, RECORDS = 0, 1, 2  # FRAME_KIND: the three forms of a cell

NOTHING, ENTRY, BLOCKED, MISSED_INPUT, MISSED_ZERO = (
    0,
    1,
    2,
    3,
    4,
)  # what a book says; the last two of an entry (P13)
# bits of FRAME_WALK: unit forms compete; all rows of a break do, of every window; one window after the other
COMPETE, BY_PRICE, WINDOWED = 1, 2, 4
ANY_WINDOW, ANY_BREAK, _NO_BREAK = INT64_MAX, -2, -1

_SAYS_NO_PRICE = int(BelowMinimum.NO_PRICE)
_FALLS_THROUGH = int(BelowMinimum.FALL_THROUGH)


@njit(cache=True)
def start_book(frame, book, walk):  # type: ignore[no-untyped-def]
    """Put the cursor before the first level of a book."""
    frame[FRAME_BOOK] = book
    frame[FRAME_WALK] = walk
    frame[FRAME_STAGE] = -1
    frame[FRAME_AT] = frame[FRAME_HIGH] = 0
    frame[FRAME_HAS_OFFER] = frame[FRAME_IS_BELOW] = frame[FRAME_IS_LACKING] = 0
    frame[FRAME_ANSWERED] = _NO_BREAK
    frame[FRAME_WINDOW] = ANY_WINDOW


@njit(cache=True)
def note_offer(m, frame):  # type: ignore[no-untyped-def]
    """The row found has given a price: by price go on with others of its break, else with the other unit form."""
    frame[FRAME_HAS_OFFER] = 1
    frame[FRAME_ANSWERED] = minimum_at(m, frame, frame[FRAME_FOUND])
    if frame[FRAME_WALK] & BY_PRICE == 0:
        frame[FRAME_AT] = frame[FRAME_HIGH]


@njit(cache=True)
def minimum_at(m, frame, at):  # type: ignore[no-untyped-def]
    """The break of the entry at a place of the cursor's cell, in the unit of its form."""
    if frame[FRAME_KIND] == PLAIN_PRICE:
        return m.bundles[m.books[frame[FRAME_BOOK], mx.BOOK_BUNDLE], mx.BUNDLE_SIMPLE_MINIMUM]
    if frame[FRAME_KIND] == PLAIN_LADDER:
        return ladder_at(m, at, mx.LADDER_MINIMUM)
    return record_at(m, at, mx.RECORD_MINIMUM)


@njit(cache=True)
def window_at(m, frame, at):  # type: ignore[no-untyped-def]
    """When the window of the entry at a place of the cursor's cell begins: not before its book."""
    book_from = m.books[frame[FRAME_BOOK], mx.BOOK_FROM]
    if frame[FRAME_KIND] != RECORDS:
        return book_from
    return max(record_at(m, at, mx.RECORD_FROM), book_from)


@njit(cache=True)
def _in_force(m, frame, at, now):  # type: ignore[no-untyped-def]
    if frame[FRAME_KIND] != RECORDS:
        return True
    return record_at(m, at, mx.RECORD_FROM) <= now < record_at(m, at, mx.RECORD_TO)


@njit(cache=True)
def _asked_quantity(work, frame):  # type: ignore[no-untyped-def]
    """The quantity in the unit of the open form; in base units rounded down, which no break can tell."""
    return work[WORK_QUANTITY] if frame[FRAME_STAGE] & 1 == 0 else work[WORK_BASE_QUANTITY]


@njit(cache=True)
def _in_asked_unit(work, minimum):  # type: ignore[no-untyped-def]
    """A break in base units in the asked unit, rounded up to 10^-6, at most INT64_MAX."""
    _, high, low = times(np.int64(0), minimum, work[WORK_DENOMINATOR])
    whole_high, whole, rest = divide(high, low, work[WORK_NUMERATOR])
    if whole_high != 0 or whole < 0 or whole == INT64_MAX:
        return INT64_MAX
    return whole + 1 if rest > 0 else whole


@njit(cache=True)
def compare_breaks(work, exact, base):  # type: ignore[no-untyped-def]
    """The sign of a break in the asked unit minus one in base units, exactly."""
    _, sign = compare(np.int64(0), exact, work[WORK_DENOMINATOR], np.int64(0), base, work[WORK_NUMERATOR])
    return sign


@njit(cache=True)
def _find_rows(m, work, frame):  # type: ignore[no-untyped-def]
    """Note the rows of the level at the cursor in both unit forms."""
    cell, for_all = frame[FRAME_CELL], frame[FRAME_STAGE] >> 1 & 1
    frame[FRAME_EXACT_LOW] = frame[FRAME_EXACT_HIGH] = frame[FRAME_BASE_LOW] = frame[FRAME_BASE_HIGH] = 0
    value = value_of(m, cell)
    if value >= 0 or (-(value + 1)) & 1 == 0:
        if for_all == 1:
            frame[FRAME_KIND], low, high = PLAIN_PRICE, cell, cell + 1
            if value < 0:
                low, high = records_of(value)
                frame[FRAME_KIND] = PLAIN_LADDER
            frame[FRAME_BASE_LOW], frame[FRAME_BASE_HIGH] = low, high
        return
    frame[FRAME_KIND] = RECORDS
    if for_all == 0 and work[WORK_CLASS] < 0:
        return
    low, end = records_of(value)
    book_class = frame[FRAME_BOOK] << 32 | (0 if for_all == 1 else work[WORK_CLASS] + 1)
    low = first_record(m, low, end, book_class)
    end = first_record(m, low, end, book_class + 1)
    at = low
    while at < end and record_at(m, at, mx.RECORD_PACKED) & 0xFFFF == 0:
        at += 1
    frame[FRAME_BASE_LOW], frame[FRAME_BASE_HIGH] = low, at
    wanted = work[WORK_UOM] + 1
    while at < end and record_at(m, at, mx.RECORD_PACKED) & 0xFFFF < wanted:
        at += 1
    frame[FRAME_EXACT_LOW] = at
    while at < end and record_at(m, at, mx.RECORD_PACKED) & 0xFFFF == wanted:
        at += 1
    frame[FRAME_EXACT_HIGH] = at


@njit(cache=True)
def _first_break(m, work, frame, low, high):  # type: ignore[no-untyped-def]
    """The lowest break in force of a form's rows, -1 where none is; their edges are noted."""
    lowest = np.int64(_NO_BREAK)
    for at in range(low, high):
        if frame[FRAME_KIND] != RECORDS or valid_now(
            work, record_at(m, at, mx.RECORD_FROM), record_at(m, at, mx.RECORD_TO)
        ):
            lowest = minimum_at(m, frame, at)
    return lowest


@njit(cache=True)
def _open_form(m, work, frame, form):  # type: ignore[no-untyped-def]
    """Put the cursor before the first row of a unit form of the level."""
    frame[FRAME_STAGE] = frame[FRAME_STAGE] & ~1 | form
    frame[FRAME_LOW] = frame[FRAME_EXACT_LOW] if form == 0 else frame[FRAME_BASE_LOW]
    frame[FRAME_HIGH] = frame[FRAME_EXACT_HIGH] if form == 0 else frame[FRAME_BASE_HIGH]
    frame[FRAME_AT] = frame[FRAME_LOW]
    frame[FRAME_ANSWERED] = _NO_BREAK
    frame[FRAME_WINDOW] = ANY_WINDOW
    if frame[FRAME_WALK] & WINDOWED != 0 and frame[FRAME_KIND] == RECORDS:
        _next_window(m, work, frame)


@njit(cache=True)
def _next_window(m, work, frame):  # type: ignore[no-untyped-def]
    """Put the cursor before the first row of the next older window of the open form; False: there is none."""
    now, before = work[WORK_AS_OF], frame[FRAME_WINDOW]
    found = False
    newest = np.int64(0)
    for at in range(frame[FRAME_LOW], frame[FRAME_HIGH]):
        window = window_at(m, frame, at)
        if window < before and (not found or window > newest) and _in_force(m, frame, at, now):
            found, newest = True, window
    if found:
        frame[FRAME_WINDOW] = newest
        frame[FRAME_AT] = frame[FRAME_LOW]
        frame[FRAME_ANSWERED] = _NO_BREAK
    return found


@njit(cache=True)
def _newest_in_force(m, work, frame, low, high, quantity):  # type: ignore[no-untyped-def]
    """The begin of the newest window in force among rows whose breaks a quantity reaches."""
    newest = m.books[frame[FRAME_BOOK], mx.BOOK_FROM]
    if frame[FRAME_KIND] == RECORDS:
        for at in range(low, high):
            if record_at(m, at, mx.RECORD_MINIMUM) <= quantity and _in_force(m, frame, at, work[WORK_AS_OF]):
                newest = max(newest, record_at(m, at, mx.RECORD_FROM))
    return newest


@njit(cache=True)
def ranking_window(m, work, frame):  # type: ignore[no-untyped-def]
    """The begin by which the row found ranks (P2): of the newest window reached where the book is asked for one answer
    of each break, else of its own."""
    is_reached = frame[FRAME_ONLY_BASE] == ANY_BREAK
    if frame[FRAME_WALK] == 0 and is_reached and frame[FRAME_KIND] == RECORDS:
        quantity = _asked_quantity(work, frame)
        return _newest_in_force(m, work, frame, frame[FRAME_LOW], frame[FRAME_HIGH], quantity)
    return window_at(m, frame, frame[FRAME_FOUND])


@njit(cache=True)
def _begin_below(m, work, frame, exact, base):  # type: ignore[no-untyped-def]
    """What a book says below its first breaks, one a unit form, -1 for none: BLOCKED, ENTRY where its first price is
    its candidate, NOTHING where the next level is to be asked (P6)."""
    sign = -1 if base < 0 else 1 if exact < 0 else compare_breaks(work, exact, base)
    minimum = exact if sign < 0 else _in_asked_unit(work, base)
    work[WORK_MINIMUM] = min(work[WORK_MINIMUM], minimum)
    frame[FRAME_IS_BELOW] = 1
    below = m.books[frame[FRAME_BOOK], mx.BOOK_BELOW_MINIMUM]
    if below == _FALLS_THROUGH:
        return NOTHING
    if below == _SAYS_NO_PRICE:
        frame[FRAME_MINIMUM] = minimum
        _open_form(m, work, frame, 0 if exact >= 0 else 1)
        low, high = frame[FRAME_LOW], frame[FRAME_HIGH]
        frame[FRAME_NEWEST] = _newest_in_force(m, work, frame, low, high, INT64_MAX)
        return BLOCKED
    frame[FRAME_ONLY_EXACT] = exact if sign <= 0 else _NO_BREAK
    frame[FRAME_ONLY_BASE] = base if sign >= 0 else _NO_BREAK
    return ENTRY


@njit(cache=True)
def _next_level(m, work, keys, frame):  # type: ignore[no-untyped-def]
    """Open the next level with entries in force that answer: ENTRY, BLOCKED, or NOTHING more (P4, P6)."""
    bundle = m.books[frame[FRAME_BOOK], mx.BOOK_BUNDLE]
    step = frame[FRAME_STAGE] >> 1
    while True:
        step += 1
        level = step >> 1
        if level >= work[WORK_LEVELS]:
            return NOTHING
        frame[FRAME_STAGE] = step << 1
        if step & 1 == 0:
            frame[FRAME_CELL] = find_cell(m, bundle, keys[level], level_flag(work, level))
        if frame[FRAME_CELL] < 0:
            step |= 1
            continue
        _find_rows(m, work, frame)
        exact = _first_break(m, work, frame, frame[FRAME_EXACT_LOW], frame[FRAME_EXACT_HIGH])
        base = _first_break(m, work, frame, frame[FRAME_BASE_LOW], frame[FRAME_BASE_HIGH])
        if exact < 0 and base < 0:
            continue
        frame[FRAME_ONLY_EXACT] = frame[FRAME_ONLY_BASE] = ANY_BREAK
        is_reached = 0 <= exact <= work[WORK_QUANTITY] or 0 <= base <= work[WORK_BASE_QUANTITY]
        said = ENTRY if is_reached else _begin_below(m, work, frame, exact, base)
        if said != NOTHING:
            if said == ENTRY:
                _open_form(m, work, frame, 0)
            return said


@njit(cache=True)
def _is_asked(m, work, frame, at):  # type: ignore[no-untyped-def]
    """Whether a row of the open form is in force, of the window visited, and of a break that answers."""
    if not _in_force(m, frame, at, work[WORK_AS_OF]):
        return False
    if frame[FRAME_WINDOW] != ANY_WINDOW and window_at(m, frame, at) != frame[FRAME_WINDOW]:
        return False
    only = frame[FRAME_ONLY_EXACT] if frame[FRAME_STAGE] & 1 == 0 else frame[FRAME_ONLY_BASE]
    minimum = minimum_at(m, frame, at)
    return minimum <= _asked_quantity(work, frame) if only == ANY_BREAK else minimum == only


@njit(cache=True)
def advance(m, work, keys, frame):  # type: ignore[no-untyped-def]
    """The next entry that could give the book's price (ENTRY, at FRAME_FOUND), BLOCKED, or NOTHING more."""
    while True:
        while frame[FRAME_AT] < frame[FRAME_HIGH]:
            at = frame[FRAME_AT]
            frame[FRAME_AT] += 1
            if not _is_asked(m, work, frame, at):
                continue
            if frame[FRAME_ANSWERED] >= 0 and minimum_at(m, frame, at) != frame[FRAME_ANSWERED]:
                frame[FRAME_AT] = frame[FRAME_HIGH]
                break
            frame[FRAME_FOUND] = at
            return ENTRY
        is_over = frame[FRAME_ANSWERED] >= 0 and frame[FRAME_WALK] & BY_PRICE == 0
        if frame[FRAME_WINDOW] != ANY_WINDOW and not is_over and _next_window(m, work, frame):
            continue
        if frame[FRAME_STAGE] >= 0 and frame[FRAME_STAGE] & 1 == 0:
            _open_form(m, work, frame, 1)
            continue
        if frame[FRAME_HAS_OFFER] == 1:
            return NOTHING
        said = _next_level(m, work, keys, frame)
        if said != ENTRY:
            return said
