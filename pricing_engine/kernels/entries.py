"""Compiled: the state of the line that is priced, and where the entries of an item are found.

`state` (int64) carries the line through all kernels; STATE_HORIZON collects the next instant at which anything that was
read begins or ends, and STATE_ESCALATE says that exact arithmetic needs more than 127 bits, or that a book's breaks are
graduated or amounts (P19): the line then goes to the reference.

`find_cell` finds the cell of a bundle and an item key. It stops as soon as it knows: the bundle has no entries of this
level; the delta, if there is one, has replaced the cell (a binary search of its keys); the bit of the bundle in the
item's row is not set; the bundle's ranks say where the cell is, one read; else two entries of the page directory give a
run of about eight keys, which is searched: two cache misses in all.
"""

import numpy as np

from pricegrid.columnar.bits import count_ones
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.search import first_at_least, first_row_at_least
from pricegrid.pricing_engine.arrays import matrix as mx

(
    STATE_AS_OF,
    STATE_QUANTITY,
    STATE_BASE_QUANTITY,
    STATE_UOM,
    STATE_NUMERATOR,
    STATE_DENOMINATOR,
    STATE_CLASS,  # the only price class of the customer, -1 where it has none or several
    STATE_CLASSES,  # its classes (P18): the first row of `customer_classes`
    STATE_CLASS_COUNT,
    STATE_BRANCH,
    STATE_CUSTOMER_BRANCH,
    STATE_PRICE_BRANCH,  # whose prices hold (P17): the request's, else the customer's; below 0 for none
    STATE_CURRENCY,
    STATE_ITEM,
    STATE_LEVELS,
    STATE_HORIZON,
    STATE_MINIMUM,
    STATE_ESCALATE,
    STATE_MINOR,
    STATE_SIGNED_QUANTITY,
    STATE_MISSED,  # bits: MISSED_INPUT, MISSED_ZERO of entries that would have answered (P13)
    STATE_SIZE,
) = range(22)


@compiled
def valid_now(state, start, end):  # type: ignore[no-untyped-def]
    """Whether [start, end) holds the line's instant; its next edge goes into STATE_HORIZON."""
    now = state[STATE_AS_OF]
    if now < start:
        if start < end:
            state[STATE_HORIZON] = min(state[STATE_HORIZON], start)
        return False
    if now < end:
        state[STATE_HORIZON] = min(state[STATE_HORIZON], end)
        return True
    return False


@compiled
def book_valid(m, state, book):  # type: ignore[no-untyped-def]
    """Whether a book is valid at the line's instant (P10)."""
    return valid_now(state, m.books[book, mx.BOOK_FROM], m.books[book, mx.BOOK_TO])


@compiled
def record_at(m, at, column):  # type: ignore[no-untyped-def]
    """One field of a record, of the full load or of the delta that goes on where it ends."""
    if at < len(m.records):
        return m.records[at, column]
    return m.delta_records[at - len(m.records), column]


@compiled
def price_per_at(m, at):  # type: ignore[no-untyped-def]
    """For how many units the price of a record is, 0: for as many as that of its basis book (P14)."""
    return record_at(m, at, mx.RECORD_PACKED) >> mx.PACKED_PER_SHIFT & mx.PER_MASK


@compiled
def ladder_at(m, at, column):  # type: ignore[no-untyped-def]
    """One field of a ladder's break, of the full load or of the delta."""
    if at < len(m.ladders):
        return m.ladders[at, column]
    return m.delta_ladders[at - len(m.ladders), column]


@compiled
def value_of(m, cell):  # type: ignore[no-untyped-def]
    """A cell's value; cells of the delta are numbered on from those of the full load."""
    if cell < len(m.cell_value):
        return m.cell_value[cell]
    return m.delta_value[cell - len(m.cell_value)]


@compiled
def first_entry_of(m, cell):  # type: ignore[no-untyped-def]
    """The ordinal of a cell's first entry."""
    if cell < len(m.cell_value):
        return m.cell_entry[cell]
    return m.delta_entry[cell - len(m.cell_value)]


@compiled
def _find_changed(m, bundle, key):  # type: ignore[no-untyped-def]
    """The cell of the delta that replaces a cell, -1 if none does."""
    wanted = bundle * (len(m.items) + len(m.group_parents) + 1) + key
    at = first_at_least(m.delta_keys, wanted, 0, len(m.delta_keys))
    if at < len(m.delta_keys) and m.delta_keys[at] == wanted:
        return len(m.cell_value) + at
    return -1


@inlined
def bundle_bit(bundle):  # type: ignore[no-untyped-def]
    """The bit of ITEM_BUNDLES of a bundle; bundles 64 apart share it."""
    return np.int64(1) << (bundle & 63)


@inlined
def ranked_cell(m, bundle, ranks, key):  # type: ignore[no-untyped-def]
    """The cell of the full load of a bundle and a key that has ranks there, -1 if there is none."""
    at, bit = ranks + (key >> 6), np.int64(1) << (key & 63)
    if m.cell_ranks[at, mx.RANK_BITS] & bit == 0:
        return np.int64(-1)
    before = m.cell_ranks[at, mx.RANK_BEFORE] + count_ones(m.cell_ranks[at, mx.RANK_BITS] & (bit - 1))
    return m.bundles[bundle, mx.BUNDLE_CELLS] + before


@compiled
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
    first = cells + np.int64(m.cell_directory[page])
    end = cells + np.int64(m.cell_directory[page + 1])
    wanted = key & ((np.int64(1) << shift) - 1)
    cell = first_at_least(m.cell_low, wanted, first, end)
    return cell if cell < end and np.int64(m.cell_low[cell]) == wanted else np.int64(-1)


@compiled
def index_cells(bundle, key, bundles, items, ranks):  # type: ignore[no-untyped-def]
    """Write to ITEM_BUNDLES and `ranks` where the cells (bundle, key), both (n,) int64 and sorted, are.

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


@compiled
def find_cells(m, bundles, keys, cells):  # type: ignore[no-untyped-def]
    """`find_cell` for many: writes the cells of `bundles` and `keys`, all (n,) int64."""
    for i in range(len(keys)):
        is_item = keys[i] < len(m.items)
        cells[i] = find_cell(
            m, bundles[i], keys[i], mx.LEVEL_ITEM if is_item else mx.LEVEL_GROUP | mx.LEVEL_EVERY
        )


@compiled
def level_flag(state, level):  # type: ignore[no-untyped-def]
    """The bit of BUNDLE_LEVELS that is set if a bundle has entries of this level."""
    if level == 0:
        return mx.LEVEL_ITEM
    if level == state[STATE_LEVELS] - 1:
        return mx.LEVEL_EVERY
    return mx.LEVEL_GROUP


@compiled
def records_of(value):  # type: ignore[no-untyped-def]
    """(first, end) of a cell's records or ladder from its negative value."""
    payload = -(value + 1)
    first = payload >> (mx.CELL_COUNT_BITS + 1)
    return first, first + ((payload >> 1) & mx.CELL_COUNT_MAX)


@compiled
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


@compiled
def first_record(m, low, high, book_class):  # type: ignore[no-untyped-def]
    """The first of a cell's records [low, high) whose book, class and branch are not below `book_class`."""
    full = len(m.records)
    if low < full:  # a cell is of the full load or of the delta, never of both
        return first_row_at_least(m.records, mx.RECORD_BOOK_CLASS, book_class, low, high)
    return full + first_row_at_least(
        m.delta_records, mx.RECORD_BOOK_CLASS, book_class, low - full, high - full
    )
