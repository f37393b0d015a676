"""Compiled: the price of a line with a single offer, without the search that `select_offer` and `offers` make.

A line is plain when it is asked in the base unit, the first book of the customer's stack that speaks of its item is
alone at its distance in a layer of mode `first`, and nothing about it ends or begins later: its book and agreement, a
net price or ladder, or one undated entry computed from such a price of another book. What is said of it is what the
search would say (P1 to P10); for any other line the answer is False, and the search is made.
"""

import numpy as np
from numba import njit

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.bits import lowest_one
from pricegrid.pricing_engine.kernels.entries import (
    WORK_CLASS,
    WORK_CURRENCY,
    WORK_HORIZON,
    WORK_ITEM,
    WORK_QUANTITY,
    book_valid,
    find_cell,
    first_entry_of,
    first_record,
    ladder_at,
    ranked_cell,
    record_at,
    records_of,
    value_of,
)
from pricegrid.pricing_engine.kernels.exact import INT64_MAX, round_to_increment, times
from pricegrid.pricing_engine.kernels.stack import STACK_ATTACHMENT, STACK_DISTANCE, STACK_LAYER, priority_of
from pricegrid.pricing_engine.kernels.tables import fetch
from pricegrid.pricing_engine.model import ALWAYS_US, GROUP_DEPTH_MAX, NEVER_US, Ladder, Method, Mode

# rows (n, ROW_SIZE): what holds for a row of the stack throughout a request
(
    ROW_BUNDLE,
    ROW_BOOK,
    ROW_STATE,
    ROW_LAYER,
    ROW_GROUP_END,
    ROW_NEAREST,  # 1: in its layer the nearest book that speaks wins, by itself
    ROW_ITEMS,  # 1: its bundle has cells of items
    ROW_SIZE,
) = range(8)
ROWS_MAX = 63  # rows of a stack that has plain lines: a word has a bit for each, and none is its sign
# memo (a power of two, MEMO_SIZE): the cells that speak of all items of a product group, of the first MEMO_ROWS rows
MEMO_GROUP, MEMO_CELLS, MEMO_ROWS = 0, 1, 8
MEMO_SIZE, MEMO_GROUPS_MAX = MEMO_CELLS + MEMO_ROWS, 128
_NOT_SOUGHT = -2
_STEADY, _SILENT, _UNSTEADY = 0, 1, 2  # its book offers; offers nothing, now and later; is for the search
_FIRST, _OWNER, _NET = int(Mode.FIRST), int(Ladder.OWNER), int(Method.NET)


@njit(cache=True)
def _state(m, work, stack, row, book):  # type: ignore[no-untyped-def]
    if book < 0 or m.books[book, mx.BOOK_CURRENCY] != work[WORK_CURRENCY]:
        return _UNSTEADY
    work[WORK_HORIZON] = NEVER_US
    offers = priority_of(m, work, stack, row, book) != INT64_MAX and book_valid(m, work, book)
    if work[WORK_HORIZON] != NEVER_US:
        return _UNSTEADY
    return _STEADY if offers else _SILENT


@njit(cache=True)
def plain_rows(m, work, stack, rows):  # type: ignore[no-untyped-def]
    """Fill `rows` (as many as the stack's) for the instant and currency of `work`.

    Returns bits of rows: those that may speak of what is above items. A stack of more than ROWS_MAX has no plain lines.
    """
    above = np.int64(0)
    for row in range(len(stack) - 1, -1, -1):
        bundle = m.attachments[stack[row, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE]
        book, layer = m.bundles[bundle, mx.BUNDLE_BOOK], stack[row, STACK_LAYER]
        rows[row, ROW_BUNDLE], rows[row, ROW_BOOK], rows[row, ROW_LAYER] = bundle, book, layer
        state = _state(m, work, stack, row, book)
        rows[row, ROW_STATE] = state
        rows[row, ROW_NEAREST] = (
            m.layers[layer, mx.LAYER_MODE] == _FIRST and m.layers[layer, mx.LAYER_LADDER] == _OWNER
        )
        levels = m.bundles[bundle, mx.BUNDLE_LEVELS] if state != _SILENT else 0
        rows[row, ROW_ITEMS] = levels & mx.LEVEL_ITEM != 0
        if row < ROWS_MAX and levels & (mx.LEVEL_GROUP | mx.LEVEL_EVERY) != 0:
            above |= np.int64(1) << row
        rows[row, ROW_GROUP_END] = row + 1
        is_last = row + 1 == len(stack) or stack[row + 1, STACK_LAYER] != layer
        if not is_last and stack[row + 1, STACK_DISTANCE] == stack[row, STACK_DISTANCE]:
            rows[row, ROW_GROUP_END] = rows[row + 1, ROW_GROUP_END]
    return above


@njit(cache=True, inline="always")
def rows_of(m, rows, item):  # type: ignore[no-untyped-def]
    """Bits of the first ROWS_MAX rows: those whose bundle may have a cell of the item itself."""
    bundles = m.items[item, mx.ITEM_BUNDLES]
    if len(m.delta_keys) > 0:  # which may have brought more
        bundles = np.int64(-1)
    found = np.int64(0)
    for row in range(min(len(rows), ROWS_MAX)):
        found |= ((bundles >> (rows[row, ROW_BUNDLE] & 63)) & rows[row, ROW_ITEMS]) << row
    return found


@njit(cache=True)
def fetch_pages(m, rows, item, found):  # type: ignore[no-untyped-def]
    """Bring in what says where the bundles of some rows (bits) keep an item's own cell."""
    while found != 0:
        bundle = rows[lowest_one(found), ROW_BUNDLE]
        ranks = m.bundles[bundle, mx.BUNDLE_RANKS]
        if ranks != mx.NO_RANKS:
            fetch(m.cell_ranks, ranks + (item >> 6))
        else:
            page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (item >> m.bundles[bundle, mx.BUNDLE_SHIFT])
            fetch(m.cell_directory, page)
        found &= found - 1


@njit(cache=True)
def fetch_cells(m, rows, item, found):  # type: ignore[no-untyped-def]
    """Bring in those cells, up to the first that is sure to exist; its place, -1 where none is sure."""
    while found != 0:
        bundle = rows[lowest_one(found), ROW_BUNDLE]
        ranks = m.bundles[bundle, mx.BUNDLE_RANKS]
        cell = ranked_cell(m, bundle, ranks, item) if ranks != mx.NO_RANKS else _paged_cell(m, bundle, item)
        if cell >= 0:
            fetch(m.cell_value, cell)
            fetch(m.cell_entry, cell)
            if ranks != mx.NO_RANKS:
                return cell
            fetch(m.cell_low, cell)
        found &= found - 1
    return np.int64(-1)


@njit(cache=True)
def fetch_breaks(m, cell):  # type: ignore[no-untyped-def]
    """Bring in the ladder or the records of a cell that has some."""
    value = m.cell_value[cell]
    if value < 0:
        first, _ = records_of(value)
        if -(value + 1) & 1 == 0:
            fetch(m.ladders, first)
        else:
            fetch(m.records, first)


@njit(cache=True)
def _paged_cell(m, bundle, item):  # type: ignore[no-untyped-def]
    """A cell near where a bundle's own of an item would be, -1 for none."""
    page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (item >> m.bundles[bundle, mx.BUNDLE_SHIFT])
    low, high = np.int64(m.cell_directory[page]), np.int64(m.cell_directory[page + 1])
    return m.bundles[bundle, mx.BUNDLE_CELLS] + ((low + high) >> 1) if low < high else np.int64(-1)


@njit(cache=True)
def _seek_above(m, bundle, group):  # type: ignore[no-untyped-def]
    """The bundle's most specific cell of a product group (-1: none), those above it, and every item; -1 for none."""
    depth = 0
    while group >= 0 and depth < GROUP_DEPTH_MAX:
        cell = find_cell(m, bundle, len(m.items) + group, mx.LEVEL_GROUP)
        if cell >= 0:
            return cell
        group = m.group_parents[group]
        depth += 1
    return find_cell(m, bundle, len(m.items) + len(m.group_parents), mx.LEVEL_EVERY)


@njit(cache=True)
def _cell_above(m, rows, row, group, memo):  # type: ignore[no-untyped-def]
    """`_seek_above` of a row's bundle, sought once for all lines of a group."""
    if row >= MEMO_ROWS:
        return _seek_above(m, rows[row, ROW_BUNDLE], group)
    at = (group + 1) & (len(memo) - 1)
    if memo[at, MEMO_GROUP] != group + 2:
        memo[at, MEMO_GROUP] = group + 2
        for each in range(MEMO_ROWS):
            memo[at, MEMO_CELLS + each] = _NOT_SOUGHT
    if memo[at, MEMO_CELLS + row] == _NOT_SOUGHT:
        memo[at, MEMO_CELLS + row] = _seek_above(m, rows[row, ROW_BUNDLE], group)
    return memo[at, MEMO_CELLS + row]


@njit(cache=True)
def _cell_of(m, rows, row, item, own, above, memo):  # type: ignore[no-untyped-def]
    """The row's most specific cell of an item, -1 for none; `own` and `above` are bits of rows that may have one."""
    bit, cell = np.int64(1) << row, np.int64(-1)
    if own & bit != 0:
        cell = find_cell(m, rows[row, ROW_BUNDLE], item, mx.LEVEL_ITEM)
    if cell < 0 and above & bit != 0:
        cell = _cell_above(m, rows, row, mx.item_group(m.items[item, mx.ITEM_NAMES]), memo)
    return cell


@njit(cache=True)
def _net(m, work, bundle, cell):  # type: ignore[no-untyped-def]
    """(given, price, place of the entry after the cell's first) of a net price or ladder at the quantity asked."""
    value = value_of(m, cell)
    if value >= 0:
        return work[WORK_QUANTITY] >= m.bundles[bundle, mx.BUNDLE_SIMPLE_MINIMUM], value, 0
    if -(value + 1) & 1 == 0:
        first, end = records_of(value)
        for at in range(first, end):
            if ladder_at(m, at, mx.LADDER_MINIMUM) <= work[WORK_QUANTITY]:
                return True, ladder_at(m, at, mx.LADDER_PRICE), at - first
    return False, 0, 0


@njit(cache=True)
def _computed(m, work, book, cell):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator, place) of the only entry of the customer's class, computed from a net price.

    Undated, per base unit, reached, of a book without floor, from a book that offers the item itself now and for ever.
    """
    first, end = records_of(value_of(m, cell))
    wanted = book << 32 | (work[WORK_CLASS] + 1)
    at = first_record(m, first, end, wanted)
    alone = (
        work[WORK_CLASS] >= 0
        and at < end
        and record_at(m, at, mx.RECORD_BOOK_CLASS) == wanted
        and (at + 1 == end or record_at(m, at + 1, mx.RECORD_BOOK_CLASS) != wanted)
    )
    if not alone or m.books[book, mx.BOOK_FLOOR_DENOMINATOR] != 0:
        return False, 0, 0, 1, 0
    packed = record_at(m, at, mx.RECORD_PACKED)
    basis = (packed >> mx.PACKED_BASIS_SHIFT) - mx.BASIS_BOOK
    is_simple = (
        packed & 0xFFFF == 0
        and packed >> mx.PACKED_METHOD_SHIFT & 15 != _NET
        and basis >= 0
        and record_at(m, at, mx.RECORD_FROM) == ALWAYS_US
        and record_at(m, at, mx.RECORD_TO) == NEVER_US
        and record_at(m, at, mx.RECORD_MINIMUM) <= work[WORK_QUANTITY]
    )
    if not is_simple or m.books[basis, mx.BOOK_CURRENCY] != work[WORK_CURRENCY]:
        return False, 0, 0, 1, 0
    work[WORK_HORIZON] = NEVER_US
    if not book_valid(m, work, basis) or work[WORK_HORIZON] != NEVER_US:
        return False, 0, 0, 1, 0
    bundle = m.books[basis, mx.BOOK_BUNDLE]
    under = find_cell(m, bundle, work[WORK_ITEM], mx.LEVEL_ITEM)
    if under < 0 or m.bundles[bundle, mx.BUNDLE_BOOK] != basis:
        return False, 0, 0, 1, 0
    given, price, _ = _net(m, work, bundle, under)
    if not given or price == 0:
        return False, 0, 0, 1, 0
    # not reduced, as `scale` would: that costs more than all else here, and who can't hold it asks the search
    fits, high, low = times(np.int64(0), price, record_at(m, at, mx.RECORD_NUMERATOR))
    return fits and (high != 0 or low != 0), high, low, record_at(m, at, mx.RECORD_DENOMINATOR), at - first


@njit(cache=True)
def _offer(m, work, rows, row, cell):  # type: ignore[no-untyped-def]
    """(found, unit price, place in the stack, entry) of a row's book that speaks of the item alone."""
    book, bundle = rows[row, ROW_BOOK], rows[row, ROW_BUNDLE]
    increment = m.books[book, mx.BOOK_INCREMENT]
    given, price, place = _net(m, work, bundle, cell)
    if given and increment == 1:
        return True, price, row, first_entry_of(m, cell) + place
    may_be_zero, high, low, denominator = given and price == 0, 0, price, 1
    if not given:
        if value_of(m, cell) >= 0 or -(value_of(m, cell) + 1) & 1 == 0:
            return False, 0, row, -1
        given, high, low, denominator, place = _computed(m, work, book, cell)
        if not given:
            return False, 0, row, -1
    fits, rounded = round_to_increment(high, low, denominator, increment, m.books[book, mx.BOOK_ROUNDING])
    if not fits or rounded < 0 or (rounded == 0 and not may_be_zero):
        return False, 0, row, -1
    return True, rounded, row, first_entry_of(m, cell) + place


@njit(cache=True)
def plain_price(m, work, rows, own, above, memo):  # type: ignore[no-untyped-def]
    """(found, unit price, place in the stack, entry) of a plain line of one base unit in the asked currency.

    `own` is what `rows_of` says of the item, `above` what `plain_rows` said; `memo` (a power of two, MEMO_SIZE) int64
    is zeros when a request begins.
    """
    if len(rows) > ROWS_MAX:
        return False, 0, 0, -1
    item, rest = work[WORK_ITEM], own | above
    while rest != 0:
        row = lowest_one(rest)
        rest &= rest - 1
        cell = _cell_of(m, rows, row, item, own, above, memo)
        if cell < 0:
            continue
        if rows[row, ROW_STATE] == _UNSTEADY or rows[row, ROW_NEAREST] == 0:
            return False, 0, 0, -1
        while rest != 0 and lowest_one(rest) < rows[row, ROW_GROUP_END]:
            if _cell_of(m, rows, lowest_one(rest), item, own, above, memo) >= 0:
                return False, 0, 0, -1
            rest &= rest - 1
        return _offer(m, work, rows, row, cell)
    return False, 0, 0, -1
