"""Compiled: the entries of one book that could price one line, in the order of precedence (P4-P6).

The reference is `rules.candidates`. A cursor visits a book: level by level (item level, then class, then branch), first
the entries in the exact unit, then those per base unit, each by falling break, then newest window first. `advance`
moves it to the next entry that is in force and reached by the quantity. It stops when a level has given a price, when
the quantity is below the first break of a book that then gives none, or when there are no more levels; so a book costs
one `find_cell` a level and the entries of one cell. Nothing is looked ahead at.

A cursor is one row of `cursors`; a basis book gets the next row, so a chain of BASIS_LINKS_MAX links needs that many
more. Nothing here recurses (numba can't cache recursion), allocates, or keeps state outside its arguments.
"""

import numpy as np

from pricegrid.columnar.exact import INT64_MAX, compare, divide, times
from pricegrid.columnar.jit import compiled
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import (
    STATE_AS_OF,
    STATE_BASE_QUANTITY,
    STATE_CLASS_COUNT,
    STATE_CLASSES,
    STATE_DENOMINATOR,
    STATE_LEVELS,
    STATE_MINIMUM,
    STATE_NUMERATOR,
    STATE_PRICE_BRANCH,
    STATE_QUANTITY,
    STATE_UOM,
    find_cell,
    first_record,
    ladder_at,
    level_flag,
    record_at,
    records_of,
    valid_now,
    value_of,
)
from pricegrid.pricing_engine.model import BASIS_LINKS_MAX, BelowMinimum

(
    CURSOR_BOOK,
    CURSOR_VISIT,
    CURSOR_STAGE,  # item level << 9 | which of the classes << 2 | of all branches << 1 | per base unit
    CURSOR_CELL,
    CURSOR_KIND,
    CURSOR_EXACT_LOW,
    CURSOR_EXACT_HIGH,
    CURSOR_BASE_LOW,
    CURSOR_BASE_HIGH,
    CURSOR_NEXT,  # the next row of [low, high), the rows of the open unit form
    CURSOR_LOW,
    CURSOR_HIGH,
    CURSOR_WINDOW,  # the begin of the window whose rows are visited, ANY_WINDOW for those of all
    CURSOR_ONLY_EXACT,  # below the first break: the one whose price is given, by unit form; else ANY_BREAK
    CURSOR_ONLY_BASE,
    CURSOR_PRICED_BREAK,  # the break at which a row of this unit form has given a price, -1 if none has
    CURSOR_HAS_OFFER,  # 1: a row of this level has
    CURSOR_IS_BELOW,  # 1: the quantity was below a first break, the book's or that of a basis
    CURSOR_IS_LACKING,  # 1: an entry lacked its input, or was zero
    CURSOR_NEWEST,
    CURSOR_MINIMUM,
    CURSOR_FOUND,
    CURSOR_SIZE,
) = range(23)
CURSORS = BASIS_LINKS_MAX + 1
NET_CELL, LADDER_CELL, RECORDS_CELL = 0, 1, 2  # CURSOR_KIND: the three forms of a cell

# outcomes of a book; the last two are of an entry (P13)
NOTHING, ENTRY, BLOCKED, MISSED_INPUT, MISSED_ZERO = range(5)
# bits of CURSOR_VISIT: both unit forms compete; all rows of a break do, whatever their window; window after window
COMPETE, BY_PRICE, WINDOWED = 1, 2, 4
ANY_WINDOW, ANY_BREAK, _NO_BREAK = INT64_MAX, -2, -1
STAGE_LEVEL, STAGE_NARROWNESS = 9, 0xFF  # of CURSOR_STAGE: its shift; the bits of CURSOR_STAGE >> 1
_ALL_CLASSES, _LAST = 0x7F, 0xFF  # which of the classes, where an entry is of none; the last step of a level

_SAYS_NO_PRICE = int(BelowMinimum.NO_PRICE)
_FALLS_THROUGH = int(BelowMinimum.FALL_THROUGH)


@compiled
def start_book(cursor, book, visit):  # type: ignore[no-untyped-def]
    """Put the cursor before the first level of a book."""
    cursor[CURSOR_BOOK] = book
    cursor[CURSOR_VISIT] = visit
    cursor[CURSOR_STAGE] = -1
    cursor[CURSOR_NEXT] = cursor[CURSOR_HIGH] = 0
    cursor[CURSOR_HAS_OFFER] = cursor[CURSOR_IS_BELOW] = cursor[CURSOR_IS_LACKING] = 0
    cursor[CURSOR_PRICED_BREAK] = _NO_BREAK
    cursor[CURSOR_WINDOW] = ANY_WINDOW


@compiled
def note_offer(m, cursor):  # type: ignore[no-untyped-def]
    """The row found has given a price: BY_PRICE, others of its break follow, else those of the other unit form."""
    cursor[CURSOR_HAS_OFFER] = 1
    cursor[CURSOR_PRICED_BREAK] = minimum_at(m, cursor, cursor[CURSOR_FOUND])
    if cursor[CURSOR_VISIT] & BY_PRICE == 0:
        cursor[CURSOR_NEXT] = cursor[CURSOR_HIGH]


@compiled
def minimum_at(m, cursor, at):  # type: ignore[no-untyped-def]
    """The break of an entry of the cursor's cell, in the unit of its form."""
    if cursor[CURSOR_KIND] == NET_CELL:
        return m.bundles[m.books[cursor[CURSOR_BOOK], mx.BOOK_BUNDLE], mx.BUNDLE_SIMPLE_MINIMUM]
    if cursor[CURSOR_KIND] == LADDER_CELL:
        return ladder_at(m, at, mx.LADDER_MINIMUM)
    return record_at(m, at, mx.RECORD_MINIMUM)


@compiled
def window_at(m, cursor, at):  # type: ignore[no-untyped-def]
    """When the window of an entry of the cursor's cell begins: not before its book."""
    book_from = m.books[cursor[CURSOR_BOOK], mx.BOOK_FROM]
    if cursor[CURSOR_KIND] != RECORDS_CELL:
        return book_from
    return max(record_at(m, at, mx.RECORD_FROM), book_from)


@compiled
def _in_force(m, cursor, at, now):  # type: ignore[no-untyped-def]
    if cursor[CURSOR_KIND] != RECORDS_CELL:
        return True
    return record_at(m, at, mx.RECORD_FROM) <= now < record_at(m, at, mx.RECORD_TO)


@compiled
def _asked_quantity(state, cursor):  # type: ignore[no-untyped-def]
    """The quantity in the unit of the open form; in base units rounded down, which no break can tell."""
    return state[STATE_QUANTITY] if cursor[CURSOR_STAGE] & 1 == 0 else state[STATE_BASE_QUANTITY]


@compiled
def _in_asked_unit(state, minimum):  # type: ignore[no-untyped-def]
    """A break in base units in the asked unit, rounded up to 10^-6, at most INT64_MAX."""
    _, high, low = times(np.int64(0), minimum, state[STATE_DENOMINATOR])
    whole_high, whole, rest = divide(high, low, state[STATE_NUMERATOR])
    if whole_high != 0 or whole < 0 or whole == INT64_MAX:
        return INT64_MAX
    return whole + 1 if rest > 0 else whole


@compiled
def compare_breaks(state, exact, base):  # type: ignore[no-untyped-def]
    """The sign of a break in the asked unit minus one in base units, exactly."""
    _, sign = compare(np.int64(0), exact, state[STATE_DENOMINATOR], np.int64(0), base, state[STATE_NUMERATOR])
    return sign


@compiled
def _find_rows(m, state, cursor):  # type: ignore[no-untyped-def]
    """Find the rows of the cursor's level in both unit forms."""
    cell, narrowness = cursor[CURSOR_CELL], cursor[CURSOR_STAGE] >> 1 & STAGE_NARROWNESS
    cursor[CURSOR_EXACT_LOW] = cursor[CURSOR_EXACT_HIGH] = 0
    cursor[CURSOR_BASE_LOW] = cursor[CURSOR_BASE_HIGH] = 0
    value = value_of(m, cell)
    if value >= 0 or (-(value + 1)) & 1 == 0:
        if narrowness == _LAST:
            cursor[CURSOR_KIND], low, high = NET_CELL, cell, cell + 1
            if value < 0:
                low, high = records_of(value)
                cursor[CURSOR_KIND] = LADDER_CELL
            cursor[CURSOR_BASE_LOW], cursor[CURSOR_BASE_HIGH] = low, high
        return
    cursor[CURSOR_KIND] = RECORDS_CELL
    low, end = records_of(value)
    price_class = np.int64(0)
    if narrowness >> 1 != _ALL_CLASSES:
        price_class = m.customer_classes[state[STATE_CLASSES] + (narrowness >> 1), mx.CLASS_NAME] + 1
    branch = 0 if narrowness & 1 == 1 else state[STATE_PRICE_BRANCH] + 1
    book_class = cursor[CURSOR_BOOK] << 32 | price_class << mx.CLASS_SHIFT | branch
    low = first_record(m, low, end, book_class)
    end = first_record(m, low, end, book_class + 1)
    at = low
    while at < end and record_at(m, at, mx.RECORD_PACKED) & 0xFFFF == 0:
        at += 1
    cursor[CURSOR_BASE_LOW], cursor[CURSOR_BASE_HIGH] = low, at
    wanted = state[STATE_UOM] + 1
    while at < end and record_at(m, at, mx.RECORD_PACKED) & 0xFFFF < wanted:
        at += 1
    cursor[CURSOR_EXACT_LOW] = at
    while at < end and record_at(m, at, mx.RECORD_PACKED) & 0xFFFF == wanted:
        at += 1
    cursor[CURSOR_EXACT_HIGH] = at


@compiled
def _first_break(m, state, cursor, low, high):  # type: ignore[no-untyped-def]
    """The lowest break in force of a form's rows, -1 where none is; their edges go into STATE_HORIZON."""
    lowest = np.int64(_NO_BREAK)
    for at in range(low, high):
        if cursor[CURSOR_KIND] != RECORDS_CELL or valid_now(
            state, record_at(m, at, mx.RECORD_FROM), record_at(m, at, mx.RECORD_TO)
        ):
            lowest = minimum_at(m, cursor, at)
    return lowest


@compiled
def _open_form(m, state, cursor, form):  # type: ignore[no-untyped-def]
    """Put the cursor before the first row of a unit form of the level."""
    cursor[CURSOR_STAGE] = cursor[CURSOR_STAGE] & ~1 | form
    cursor[CURSOR_LOW] = cursor[CURSOR_EXACT_LOW] if form == 0 else cursor[CURSOR_BASE_LOW]
    cursor[CURSOR_HIGH] = cursor[CURSOR_EXACT_HIGH] if form == 0 else cursor[CURSOR_BASE_HIGH]
    cursor[CURSOR_NEXT] = cursor[CURSOR_LOW]
    cursor[CURSOR_PRICED_BREAK] = _NO_BREAK
    cursor[CURSOR_WINDOW] = ANY_WINDOW
    if cursor[CURSOR_VISIT] & WINDOWED != 0 and cursor[CURSOR_KIND] == RECORDS_CELL:
        _next_window(m, state, cursor)


@compiled
def _next_window(m, state, cursor):  # type: ignore[no-untyped-def]
    """Put the cursor before the first row of the next older window of the open form; False: there is none."""
    now, before = state[STATE_AS_OF], cursor[CURSOR_WINDOW]
    found = False
    newest = np.int64(0)
    for at in range(cursor[CURSOR_LOW], cursor[CURSOR_HIGH]):
        window = window_at(m, cursor, at)
        if window < before and (not found or window > newest) and _in_force(m, cursor, at, now):
            found, newest = True, window
    if found:
        cursor[CURSOR_WINDOW] = newest
        cursor[CURSOR_NEXT] = cursor[CURSOR_LOW]
        cursor[CURSOR_PRICED_BREAK] = _NO_BREAK
    return found


@compiled
def _newest_in_force(m, state, cursor, low, high, quantity):  # type: ignore[no-untyped-def]
    """The begin of the newest window in force among rows whose breaks a quantity reaches."""
    newest = m.books[cursor[CURSOR_BOOK], mx.BOOK_FROM]
    if cursor[CURSOR_KIND] == RECORDS_CELL:
        for at in range(low, high):
            if record_at(m, at, mx.RECORD_MINIMUM) <= quantity and _in_force(
                m, cursor, at, state[STATE_AS_OF]
            ):
                newest = max(newest, record_at(m, at, mx.RECORD_FROM))
    return newest


@compiled
def ranking_window(m, state, cursor):  # type: ignore[no-untyped-def]
    """The begin by which the row found ranks (P2): of the newest window reached where the book is asked for one answer
    of each break, else of its own."""
    is_reached = cursor[CURSOR_ONLY_BASE] == ANY_BREAK
    if cursor[CURSOR_VISIT] == 0 and is_reached and cursor[CURSOR_KIND] == RECORDS_CELL:
        quantity = _asked_quantity(state, cursor)
        return _newest_in_force(m, state, cursor, cursor[CURSOR_LOW], cursor[CURSOR_HIGH], quantity)
    return window_at(m, cursor, cursor[CURSOR_FOUND])


@compiled
def _below_first_break(m, state, cursor, exact, base):  # type: ignore[no-untyped-def]
    """The outcome below a book's first breaks, one for each unit form, -1 for none (P6).

    BLOCKED; ENTRY where its first price is its candidate; NOTHING where the next level follows.
    """
    sign = -1 if base < 0 else 1 if exact < 0 else compare_breaks(state, exact, base)
    minimum = exact if sign < 0 else _in_asked_unit(state, base)
    state[STATE_MINIMUM] = min(state[STATE_MINIMUM], minimum)
    cursor[CURSOR_IS_BELOW] = 1
    below = m.books[cursor[CURSOR_BOOK], mx.BOOK_BELOW_MINIMUM]
    if below == _FALLS_THROUGH:
        return NOTHING
    if below == _SAYS_NO_PRICE:
        cursor[CURSOR_MINIMUM] = minimum
        _open_form(m, state, cursor, 0 if exact >= 0 else 1)
        low, high = cursor[CURSOR_LOW], cursor[CURSOR_HIGH]
        cursor[CURSOR_NEWEST] = _newest_in_force(m, state, cursor, low, high, INT64_MAX)
        return BLOCKED
    cursor[CURSOR_ONLY_EXACT] = exact if sign <= 0 else _NO_BREAK
    cursor[CURSOR_ONLY_BASE] = base if sign >= 0 else _NO_BREAK
    return ENTRY


@compiled
def _next_step(state, step):  # type: ignore[no-untyped-def]
    """The step (item level, class, branch) after one of a book, -1 being before the first: the customer's classes in
    order, then all; of each the branch's entries, then those of all (P4, P17, P18)."""
    if step >= 0 and step & 1 == 0:
        return step + 1
    price_class = (step >> 1 & _ALL_CLASSES) + 1
    if step < 0 or step & _LAST == _LAST:
        step, price_class = ((step >> 8) + 1) << 8, 0
    if price_class >= state[STATE_CLASS_COUNT]:
        price_class = _ALL_CLASSES
    return step & ~_LAST | price_class << 1


@compiled
def _next_level(m, state, keys, cursor):  # type: ignore[no-untyped-def]
    """Open the next level with entries in force that answer: ENTRY, BLOCKED, or NOTHING more (P4, P6)."""
    bundle = m.books[cursor[CURSOR_BOOK], mx.BOOK_BUNDLE]
    has_branch = state[STATE_PRICE_BRANCH] >= 0 and m.bundles[bundle, mx.BUNDLE_LEVELS] & mx.HAS_BRANCHES != 0
    step = cursor[CURSOR_STAGE] >> 1
    while True:
        before = step
        step = _next_step(state, step)
        level = step >> 8
        if level >= state[STATE_LEVELS]:
            return NOTHING
        if before < 0 or level != before >> 8:
            cursor[CURSOR_CELL] = find_cell(m, bundle, keys[level], level_flag(state, level))
        if cursor[CURSOR_CELL] < 0:
            step |= _LAST
            continue
        cursor[CURSOR_STAGE] = step << 1
        if step & 1 == 0 and not has_branch:
            continue
        _find_rows(m, state, cursor)
        exact = _first_break(m, state, cursor, cursor[CURSOR_EXACT_LOW], cursor[CURSOR_EXACT_HIGH])
        base = _first_break(m, state, cursor, cursor[CURSOR_BASE_LOW], cursor[CURSOR_BASE_HIGH])
        if exact < 0 and base < 0:
            continue
        cursor[CURSOR_ONLY_EXACT] = cursor[CURSOR_ONLY_BASE] = ANY_BREAK
        is_reached = 0 <= exact <= state[STATE_QUANTITY] or 0 <= base <= state[STATE_BASE_QUANTITY]
        outcome = ENTRY if is_reached else _below_first_break(m, state, cursor, exact, base)
        if outcome != NOTHING:
            if outcome == ENTRY:
                _open_form(m, state, cursor, 0)
            return outcome


@compiled
def _is_candidate(m, state, cursor, at):  # type: ignore[no-untyped-def]
    """Whether a row of the open form is in force, of the window visited, and of a break that answers."""
    if not _in_force(m, cursor, at, state[STATE_AS_OF]):
        return False
    if cursor[CURSOR_WINDOW] != ANY_WINDOW and window_at(m, cursor, at) != cursor[CURSOR_WINDOW]:
        return False
    only = cursor[CURSOR_ONLY_EXACT] if cursor[CURSOR_STAGE] & 1 == 0 else cursor[CURSOR_ONLY_BASE]
    minimum = minimum_at(m, cursor, at)
    return minimum <= _asked_quantity(state, cursor) if only == ANY_BREAK else minimum == only


@compiled
def advance(m, state, keys, cursor):  # type: ignore[no-untyped-def]
    """The next entry that could give the book's price (ENTRY, at CURSOR_FOUND), BLOCKED, or NOTHING more."""
    while True:
        while cursor[CURSOR_NEXT] < cursor[CURSOR_HIGH]:
            at = cursor[CURSOR_NEXT]
            cursor[CURSOR_NEXT] += 1
            if not _is_candidate(m, state, cursor, at):
                continue
            if cursor[CURSOR_PRICED_BREAK] >= 0 and minimum_at(m, cursor, at) != cursor[CURSOR_PRICED_BREAK]:
                cursor[CURSOR_NEXT] = cursor[CURSOR_HIGH]
                break
            cursor[CURSOR_FOUND] = at
            return ENTRY
        is_over = cursor[CURSOR_PRICED_BREAK] >= 0 and cursor[CURSOR_VISIT] & BY_PRICE == 0
        if cursor[CURSOR_WINDOW] != ANY_WINDOW and not is_over and _next_window(m, state, cursor):
            continue
        if cursor[CURSOR_STAGE] >= 0 and cursor[CURSOR_STAGE] & 1 == 0:
            _open_form(m, state, cursor, 1)
            continue
        if cursor[CURSOR_HAS_OFFER] == 1:
            return NOTHING
        outcome = _next_level(m, state, keys, cursor)
        if outcome != ENTRY:
            return outcome
