"""Compiled: the entries of one book that could price one line, most specific first (P4-P6).

A book's entries for a line are visited in the order of `reference._tiers`, level by level, class by class, unit form
by unit form, tier by tier, the highest break first. `advance` is that visit as a cursor kept in one row of `frames`;
a basis book gets the next row, so a chain of BASIS_LINKS_MAX links needs that many more. Nothing here recurses
(numba can't cache recursion), allocates, or keeps state outside its arguments.

`work` (int64) carries the line; WORK_HORIZON collects the next instant at which anything that was looked at begins or
ends, and WORK_ESCALATE says that exact arithmetic needs more than 127 bits: the line then goes to the reference.
"""

import numpy as np
from numba import njit

from pricing_engine import matrix as mx
from pricing_engine.exact import INT64_MAX, divide, times
from pricing_engine.model import BASIS_LINKS_MAX, BelowMinimum
from pricing_engine.words import count_ones

(
    WORK_AS_OF,
    WORK_QUANTITY,
    WORK_BASE_QUANTITY,
    WORK_UOM,
    WORK_NUMERATOR,
    WORK_DENOMINATOR,
    WORK_CLASS,
    WORK_BRANCH,
    WORK_CUSTOMER_BRANCH,
    WORK_CURRENCY,
    WORK_ITEM,
    WORK_LEVELS,
    WORK_HORIZON,
    WORK_MINIMUM,
    WORK_ESCALATE,
    WORK_MINOR,
    WORK_SIGNED_QUANTITY,
    WORK_SIZE,
) = range(18)

(
    FRAME_BOOK,
    FRAME_FORMS,
    FRAME_STAGE,
    FRAME_CELL,
    FRAME_KIND,
    FRAME_RUN_LOW,
    FRAME_RUN_HIGH,
    FRAME_HIGH,
    FRAME_AT,
    FRAME_TIER_END,
    FRAME_NEWEST,
    FRAME_ONLY_MINIMUM,
    FRAME_MINIMUM,
    FRAME_FOUND,
    FRAME_SIZE,
) = range(15)
FRAMES = BASIS_LINKS_MAX + 1
PLAIN_PRICE, PLAIN_LADDER, RECORDS = 0, 1, 2  # FRAME_KIND: the three forms of a cell

NOTHING, ENTRY, BLOCKED = 0, 1, 2  # what a book says
EXACT_FORM, BASE_FORM = 1, 2  # bits of FRAME_FORMS

_SAYS_NO_PRICE = int(BelowMinimum.NO_PRICE)
_FALLS_THROUGH = int(BelowMinimum.FALL_THROUGH)


@njit(cache=True)
def valid_now(work, start, end):  # type: ignore[no-untyped-def]
    """Whether [start, end) holds the line's instant; its next edge is noted."""
    now = work[WORK_AS_OF]
    if now < start:
        if start < end:
            work[WORK_HORIZON] = min(work[WORK_HORIZON], start)
        return False
    if now < end:
        work[WORK_HORIZON] = min(work[WORK_HORIZON], end)
        return True
    return False


@njit(cache=True)
def book_valid(m, work, book):  # type: ignore[no-untyped-def]
    """Whether a book is valid at the line's instant (P10)."""
    return valid_now(work, m.books[book, mx.BOOK_FROM], m.books[book, mx.BOOK_TO])


@njit(cache=True)
def record_at(m, at, column):  # type: ignore[no-untyped-def]
    """One field of a record, of the full load or of the delta that goes on where it ends."""
    if at < len(m.records):
        return m.records[at, column]
    return m.delta_records[at - len(m.records), column]


@njit(cache=True)
def ladder_at(m, at, column):  # type: ignore[no-untyped-def]
    """One field of a ladder's break, of the full load or of the delta."""
    if at < len(m.ladders):
        return m.ladders[at, column]
    return m.delta_ladders[at - len(m.ladders), column]


@njit(cache=True)
def value_of(m, cell):  # type: ignore[no-untyped-def]
    """A cell's value; cells of the delta are numbered on from those of the full load."""
    if cell < len(m.cell_value):
        return m.cell_value[cell]
    return m.delta_value[cell - len(m.cell_value)]


@njit(cache=True)
def first_entry_of(m, cell):  # type: ignore[no-untyped-def]
    """The ordinal of a cell's first entry."""
    if cell < len(m.cell_value):
        return m.cell_entry[cell]
    return m.delta_entry[cell - len(m.cell_value)]


@njit(cache=True)
def _find_changed(m, bundle, key):  # type: ignore[no-untyped-def]
    """The cell of the delta that replaces a cell, -1 if none does."""
    wanted = bundle * (len(m.items) + len(m.group_parents) + 1) + key
    low, high = 0, len(m.delta_keys)
    while low < high:
        middle = (low + high) >> 1
        if m.delta_keys[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    if low < len(m.delta_keys) and m.delta_keys[low] == wanted:
        return len(m.cell_value) + low
    return -1


@njit(cache=True, inline="always")
def bundle_bit(bundle):  # type: ignore[no-untyped-def]
    """The bit of ITEM_BUNDLES that stands for a bundle, and for others."""
    return np.int64(1) << (bundle & 63)


@njit(cache=True, inline="always")
def ranked_cell(m, bundle, ranks, key):  # type: ignore[no-untyped-def]
    """The cell of the full load of a bundle and a key that has ranks there, -1 if there is none."""
    at, bit = ranks + (key >> 6), np.int64(1) << (key & 63)
    if m.cell_ranks[at, mx.RANK_BITS] & bit == 0:
        return np.int64(-1)
    before = m.cell_ranks[at, mx.RANK_BEFORE] + count_ones(m.cell_ranks[at, mx.RANK_BITS] & (bit - 1))
    return m.bundles[bundle, mx.BUNDLE_CELLS] + before


@njit(cache=True)
def find_cell(m, bundle, key, level_flag):  # type: ignore[no-untyped-def]
    """The cell of a bundle and item key, -1 if there is none."""
    if m.bundles[bundle, mx.BUNDLE_LEVELS] & level_flag == 0:
        return np.int64(-1)
    if len(m.delta_keys) > 0:
        changed = _find_changed(m, bundle, key)
        if changed >= 0:
            return np.int64(changed)
    if level_flag == mx.LEVEL_ITEM and m.items[key, mx.ITEM_BUNDLES] & bundle_bit(bundle) == 0:
        return np.int64(-1)
    ranks = m.bundles[bundle, mx.BUNDLE_RANKS if level_flag == mx.LEVEL_ITEM else mx.BUNDLE_ABOVE]
    if ranks != mx.NO_RANKS:
        return ranked_cell(m, bundle, ranks, key)
    shift = m.bundles[bundle, mx.BUNDLE_SHIFT]
    page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (key >> shift)
    cells = m.bundles[bundle, mx.BUNDLE_CELLS]
    low = cells + np.int64(m.cell_directory[page])
    high = cells + np.int64(m.cell_directory[page + 1])
    end = high
    wanted = key & ((np.int64(1) << shift) - 1)
    while low < high:
        middle = (low + high) >> 1
        if np.int64(m.cell_low[middle]) < wanted:
            low = middle + 1
        else:
            high = middle
    if low < end and np.int64(m.cell_low[low]) == wanted:
        return low
    return np.int64(-1)


@njit(cache=True)
def index_cells(bundle, key, bundles, items, ranks):  # type: ignore[no-untyped-def]
    """Note in ITEM_BUNDLES and `ranks` where the cells (bundle, key), both (n,) int64 and sorted, stand.

    `bundles` (n, 8), `items` (n, 8) and `ranks` (n, 2) are int64; `ranks` is zeros.
    """
    for cell in range(len(key)):
        if key[cell] < len(items):
            items[key[cell], mx.ITEM_BUNDLES] |= bundle_bit(bundle[cell])
            start = bundles[bundle[cell], mx.BUNDLE_RANKS]
        else:
            start = bundles[bundle[cell], mx.BUNDLE_ABOVE]
        if start != mx.NO_RANKS:
            at = start + (key[cell] >> 6)
            if ranks[at, mx.RANK_BITS] == 0:
                ranks[at, mx.RANK_BEFORE] = cell - bundles[bundle[cell], mx.BUNDLE_CELLS]
            ranks[at, mx.RANK_BITS] |= np.int64(1) << (key[cell] & 63)


@njit(cache=True)
def find_cells(m, bundles, keys, cells):  # type: ignore[no-untyped-def]
    """`find_cell` for many: writes the cells of `bundles` and `keys`, all (n,) int64."""
    for i in range(len(keys)):
        is_item = keys[i] < len(m.items)
        cells[i] = find_cell(
            m, bundles[i], keys[i], mx.LEVEL_ITEM if is_item else mx.LEVEL_GROUP | mx.LEVEL_EVERY
        )


@njit(cache=True)
def level_flag(work, level):  # type: ignore[no-untyped-def]
    """The bit of BUNDLE_LEVELS that says whether a bundle has entries of this level."""
    if level == 0:
        return mx.LEVEL_ITEM
    if level == work[WORK_LEVELS] - 1:
        return mx.LEVEL_EVERY
    return mx.LEVEL_GROUP


@njit(cache=True)
def records_of(value):  # type: ignore[no-untyped-def]
    """(first, end) of a cell's records or ladder from its negative value."""
    payload = -(value + 1)
    first = payload >> (mx.CELL_COUNT_BITS + 1)
    return first, first + ((payload >> 1) & mx.CELL_COUNT_MAX)


@njit(cache=True)
def full_load_entries(m):  # type: ignore[no-untyped-def]
    """How many entries the full load has; those of a delta are numbered on from there."""
    last = len(m.cell_value) - 1
    if last < 0:
        return np.int64(0)
    value = m.cell_value[last]
    if value >= 0:
        return m.cell_entry[last] + 1
    first, end = records_of(value)
    return m.cell_entry[last] + end - first


@njit(cache=True)
def first_record(m, low, high, book_class):  # type: ignore[no-untyped-def]
    """The first record in [low, high) whose book and class are not below `book_class`."""
    while low < high:
        middle = (low + high) >> 1
        if record_at(m, middle, mx.RECORD_BOOK_CLASS) < book_class:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def start_book(frame, book, forms):  # type: ignore[no-untyped-def]
    """Put the cursor before the first entry of a book."""
    frame[FRAME_BOOK] = book
    frame[FRAME_FORMS] = forms
    frame[FRAME_STAGE] = -1
    frame[FRAME_AT] = 0
    frame[FRAME_TIER_END] = 0
    frame[FRAME_HIGH] = 0


@njit(cache=True)
def _next_form(m, work, keys, frame):  # type: ignore[no-untyped-def]
    """Move to the next (level, class, unit form) that has entries; False at the end of the book."""
    book = frame[FRAME_BOOK]
    bundle = m.books[book, mx.BOOK_BUNDLE]
    while True:
        frame[FRAME_STAGE] += 1
        stage = frame[FRAME_STAGE]
        level, for_all, form = stage >> 2, (stage >> 1) & 1, stage & 1
        if level >= work[WORK_LEVELS]:
            return False
        if stage & 3 == 0:
            frame[FRAME_CELL] = find_cell(m, bundle, keys[level], level_flag(work, level))
        cell = frame[FRAME_CELL]
        if cell < 0:
            frame[FRAME_STAGE] = level * 4 + 3
            continue
        value = value_of(m, cell)
        plain = value >= 0 or (-(value + 1)) & 1 == 0
        if plain:
            if stage & 3 != 3 or frame[FRAME_FORMS] & BASE_FORM == 0:
                continue
            if value >= 0:
                frame[FRAME_KIND], low, high = PLAIN_PRICE, cell, cell + 1
            else:
                low, high = records_of(value)
                frame[FRAME_KIND] = PLAIN_LADDER
        else:
            if for_all == 0 and work[WORK_CLASS] < 0:
                continue
            if form == 0:
                first, end = records_of(value)
                book_class = book << 32 | (0 if for_all == 1 else work[WORK_CLASS] + 1)
                frame[FRAME_RUN_LOW] = first_record(m, first, end, book_class)
                frame[FRAME_RUN_HIGH] = first_record(m, frame[FRAME_RUN_LOW], end, book_class + 1)
            if frame[FRAME_FORMS] & (EXACT_FORM if form == 0 else BASE_FORM) == 0:
                continue
            frame[FRAME_KIND] = RECORDS
            wanted = work[WORK_UOM] + 1 if form == 0 else 0
            low = frame[FRAME_RUN_LOW]
            high = frame[FRAME_RUN_HIGH]
            while low < high and record_at(m, low, mx.RECORD_PACKED) & 0xFFFF < wanted:
                low += 1
            end = low
            while end < high and record_at(m, end, mx.RECORD_PACKED) & 0xFFFF == wanted:
                end += 1
            high = end
        if low < high:
            frame[FRAME_AT] = frame[FRAME_TIER_END] = low
            frame[FRAME_HIGH] = high
            return True


@njit(cache=True)
def minimum_at(m, frame, at):  # type: ignore[no-untyped-def]
    """The break of the entry at a place of the cursor's cell, in the unit of its form."""
    if frame[FRAME_KIND] == PLAIN_PRICE:
        return m.bundles[m.books[frame[FRAME_BOOK], mx.BOOK_BUNDLE], mx.BUNDLE_SIMPLE_MINIMUM]
    if frame[FRAME_KIND] == PLAIN_LADDER:
        return ladder_at(m, at, mx.LADDER_MINIMUM)
    return record_at(m, at, mx.RECORD_MINIMUM)


@njit(cache=True)
def _in_force(m, frame, at, now):  # type: ignore[no-untyped-def]
    if frame[FRAME_KIND] != RECORDS:
        return True
    return record_at(m, at, mx.RECORD_FROM) <= now < record_at(m, at, mx.RECORD_TO)


@njit(cache=True)
def _asked_quantity(work, frame):  # type: ignore[no-untyped-def]
    """The quantity in the unit of the form at the cursor; in base units rounded down, which no break can tell."""
    return work[WORK_QUANTITY] if frame[FRAME_STAGE] & 1 == 0 else work[WORK_BASE_QUANTITY]


@njit(cache=True)
def _in_asked_unit(work, frame, minimum):  # type: ignore[no-untyped-def]
    """A break in the asked unit, rounded up to 10^-6, at most INT64_MAX."""
    if frame[FRAME_STAGE] & 1 == 0:
        return minimum
    _, high, low = times(np.int64(0), minimum, work[WORK_DENOMINATOR])
    whole_high, whole, rest = divide(high, low, work[WORK_NUMERATOR])
    if whole_high != 0 or whole < 0 or whole == INT64_MAX:
        return INT64_MAX
    return whole + 1 if rest > 0 else whole


@njit(cache=True)
def _next_tier(m, work, frame):  # type: ignore[no-untyped-def]
    """Open the next tier of the form at the cursor (P4); says BLOCKED where the book's `no_price` ends it (P6)."""
    at = frame[FRAME_TIER_END]
    book_from = m.books[frame[FRAME_BOOK], mx.BOOK_FROM]
    newest = book_from
    if frame[FRAME_KIND] == RECORDS:
        newest = max(record_at(m, at, mx.RECORD_FROM), book_from)
    end = at
    any_in_force = any_reached = False
    lowest = np.int64(0)
    quantity = _asked_quantity(work, frame)
    while end < frame[FRAME_HIGH]:
        if frame[FRAME_KIND] == RECORDS:
            start = record_at(m, end, mx.RECORD_FROM)
            if max(start, book_from) != newest:
                break
            in_force = valid_now(work, start, record_at(m, end, mx.RECORD_TO))
        else:
            in_force = True
        if in_force:
            any_in_force = True
            lowest = minimum_at(m, frame, end)
            if lowest <= quantity:
                any_reached = True
        end += 1
    frame[FRAME_AT] = at
    frame[FRAME_TIER_END] = end
    frame[FRAME_NEWEST] = newest
    frame[FRAME_ONLY_MINIMUM] = -1
    if any_in_force and not any_reached:
        minimum = _in_asked_unit(work, frame, lowest)
        work[WORK_MINIMUM] = min(work[WORK_MINIMUM], minimum)
        below = m.books[frame[FRAME_BOOK], mx.BOOK_BELOW_MINIMUM]
        if below == _SAYS_NO_PRICE:
            frame[FRAME_MINIMUM] = minimum
            return BLOCKED
        if below == _FALLS_THROUGH:
            frame[FRAME_AT] = end
        else:
            frame[FRAME_ONLY_MINIMUM] = lowest
    return NOTHING


@njit(cache=True)
def advance(m, work, keys, frame):  # type: ignore[no-untyped-def]
    """The next entry that could give the book's price (ENTRY, at FRAME_FOUND), BLOCKED, or NOTHING more."""
    now = work[WORK_AS_OF]
    while True:
        quantity = _asked_quantity(work, frame)
        while frame[FRAME_AT] < frame[FRAME_TIER_END]:
            at = frame[FRAME_AT]
            frame[FRAME_AT] += 1
            if not _in_force(m, frame, at, now):
                continue
            minimum = minimum_at(m, frame, at)
            only = frame[FRAME_ONLY_MINIMUM]
            if (only < 0 and minimum <= quantity) or minimum == only:
                frame[FRAME_FOUND] = at
                return ENTRY
        if frame[FRAME_TIER_END] < frame[FRAME_HIGH]:
            if _next_tier(m, work, frame) == BLOCKED:
                return BLOCKED
        elif not _next_form(m, work, keys, frame):
            return NOTHING
