"""Compiled: the line that is priced, and where the entries that speak of an item stand.

`work` (int64) carries the line; WORK_HORIZON collects the next instant at which anything that was looked at begins or
ends, and WORK_ESCALATE says that exact arithmetic needs more than 127 bits: the line then goes to the reference.
"""

import numpy as np
from numba import njit

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.bits import count_ones

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
    WORK_MISSED,  # bits: MISSED_INPUT, MISSED_ZERO of entries that would have answered (P13)
    WORK_SIZE,
) = range(19)


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
