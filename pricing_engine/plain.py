"""Compiled: the price of a plain line, without the search that `settle` and `offers` make for any line.

A line is plain when it is asked in the base unit, the first book of the customer's stack that speaks of its item is
alone at its distance in a layer of mode `first`, and nothing about it ends or begins later: its book and agreement, a
net price or ladder, or one undated entry computed from such a price of another book. What is said of it is what the
search would say (P1 to P10); for any other line the answer is False, and the search is made.
"""

import numpy as np
from numba import njit

from pricing_engine import matrix as mx
from pricing_engine.entries import (
    WORK_CLASS,
    WORK_CURRENCY,
    WORK_HORIZON,
    WORK_ITEM,
    WORK_LEVELS,
    WORK_QUANTITY,
    book_valid,
    bundle_bit,
    find_cell,
    first_entry_of,
    first_record,
    ladder_at,
    level_flag,
    ranked_cell,
    record_at,
    records_of,
    value_of,
)
from pricing_engine.exact import INT64_MAX, round_to_increment, times
from pricing_engine.model import ALWAYS_US, NEVER_US, Ladder, Method, Mode
from pricing_engine.stack import STACK_ATTACHMENT, STACK_DISTANCE, STACK_LAYER, priority_of
from pricing_engine.tables import fetch

# rows (n, 8): what holds for a row of the stack throughout a request
(
    ROW_BUNDLE,
    ROW_BOOK,
    ROW_STATE,
    ROW_LAYER,
    ROW_GROUP_END,
    ROW_LAYER_END,
    ROW_ITEMS,  # ITEM_BUNDLES of items that its bundle may have a cell of; 0: of none
    ROW_ABOVE,  # 1: its bundle has cells of product groups or of every item
    ROW_SIZE,
) = range(9)
_ROWS_FETCHED = 8
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
    """Fill `rows` (as many as the stack's) for the instant and currency of `work`."""
    for row in range(len(stack) - 1, -1, -1):
        bundle = m.attachments[stack[row, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE]
        book = m.bundles[bundle, mx.BUNDLE_BOOK]
        rows[row, ROW_BUNDLE], rows[row, ROW_BOOK] = bundle, book
        rows[row, ROW_STATE] = _state(m, work, stack, row, book)
        rows[row, ROW_LAYER] = stack[row, STACK_LAYER]
        levels = m.bundles[bundle, mx.BUNDLE_LEVELS]
        rows[row, ROW_ITEMS] = bundle_bit(bundle) if levels & mx.LEVEL_ITEM != 0 else 0
        rows[row, ROW_ABOVE] = levels & (mx.LEVEL_GROUP | mx.LEVEL_EVERY) != 0
        if rows[row, ROW_STATE] == _SILENT:
            rows[row, ROW_ITEMS] = rows[row, ROW_ABOVE] = 0
        rows[row, ROW_GROUP_END] = rows[row, ROW_LAYER_END] = row + 1
        if row + 1 < len(stack) and stack[row + 1, STACK_LAYER] == stack[row, STACK_LAYER]:
            rows[row, ROW_LAYER_END] = rows[row + 1, ROW_LAYER_END]
            if stack[row + 1, STACK_DISTANCE] == stack[row, STACK_DISTANCE]:
                rows[row, ROW_GROUP_END] = rows[row + 1, ROW_GROUP_END]


@njit(cache=True, inline="always")
def _bundles_of(m, item):  # type: ignore[no-untyped-def]
    """ITEM_BUNDLES of an item, all of them where a delta may have brought more."""
    return m.items[item, mx.ITEM_BUNDLES] if len(m.delta_keys) == 0 else np.int64(-1)


@njit(cache=True)
def fetch_pages(m, rows, item):  # type: ignore[no-untyped-def]
    """Bring in what says where the first bundles keep an item's own cells."""
    bundles = m.items[item, mx.ITEM_BUNDLES]
    for row in range(min(len(rows), _ROWS_FETCHED)):
        if bundles & rows[row, ROW_ITEMS] != 0:
            bundle = rows[row, ROW_BUNDLE]
            ranks = m.bundles[bundle, mx.BUNDLE_RANKS]
            if ranks != mx.NO_RANKS:
                fetch(m.cell_ranks, ranks + (item >> 6))
            else:
                page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (item >> m.bundles[bundle, mx.BUNDLE_SHIFT])
                fetch(m.cell_directory, page)


@njit(cache=True)
def fetch_cells(m, rows, item):  # type: ignore[no-untyped-def]
    """Bring in those cells, as far as it is known where they are."""
    bundles = m.items[item, mx.ITEM_BUNDLES]
    for row in range(min(len(rows), _ROWS_FETCHED)):
        if bundles & rows[row, ROW_ITEMS] != 0:
            cell = _likely_cell(m, rows[row, ROW_BUNDLE], item)
            if cell >= 0:
                if m.bundles[rows[row, ROW_BUNDLE], mx.BUNDLE_RANKS] == mx.NO_RANKS:
                    fetch(m.cell_low, cell)
                fetch(m.cell_value, cell)
                fetch(m.cell_entry, cell)


@njit(cache=True)
def _likely_cell(m, bundle, item):  # type: ignore[no-untyped-def]
    """A bundle's cell of an item, or one near it, -1 for none."""
    ranks = m.bundles[bundle, mx.BUNDLE_RANKS]
    if ranks != mx.NO_RANKS:
        return ranked_cell(m, bundle, ranks, item)
    page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (item >> m.bundles[bundle, mx.BUNDLE_SHIFT])
    low, high = np.int64(m.cell_directory[page]), np.int64(m.cell_directory[page + 1])
    return m.bundles[bundle, mx.BUNDLE_CELLS] + ((low + high) >> 1) if low < high else np.int64(-1)


@njit(cache=True)
def _first_cell(m, work, keys, bundle):  # type: ignore[no-untyped-def]
    """The bundle's cell of the most specific level that it has one at, -1 for none."""
    for level in range(work[WORK_LEVELS]):
        cell = find_cell(m, bundle, keys[level], level_flag(work, level))
        if cell >= 0:
            return cell
    return -1


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
def _computed(m, work, keys, book, cell):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator, place) of the only entry of the customer's class, computed from a net price.

    Undated, per base unit, reached, of a book without floor, from a book that offers now and for ever.
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
    under = _first_cell(m, work, keys, bundle)
    if under < 0 or m.bundles[bundle, mx.BUNDLE_BOOK] != basis:
        return False, 0, 0, 1, 0
    given, price, _ = _net(m, work, bundle, under)
    if not given or price == 0:
        return False, 0, 0, 1, 0
    # not reduced, as `scale` would: that costs more than all else here, and who can't hold it asks the search
    fits, high, low = times(np.int64(0), price, record_at(m, at, mx.RECORD_NUMERATOR))
    return fits and (high != 0 or low != 0), high, low, record_at(m, at, mx.RECORD_DENOMINATOR), at - first


@njit(cache=True)
def _offer(m, work, keys, rows, row, cell):  # type: ignore[no-untyped-def]
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
        given, high, low, denominator, place = _computed(m, work, keys, book, cell)
        if not given:
            return False, 0, row, -1
    fits, rounded = round_to_increment(high, low, denominator, increment, m.books[book, mx.BOOK_ROUNDING])
    if not fits or rounded < 0 or (rounded == 0 and not may_be_zero):
        return False, 0, row, -1
    return True, rounded, row, first_entry_of(m, cell) + place


@njit(cache=True)
def plain_price(m, work, keys, rows):  # type: ignore[no-untyped-def]
    """(found, unit price, place in the stack, entry) of a plain line of one base unit in the asked currency."""
    first, bundles = 0, _bundles_of(m, work[WORK_ITEM])
    while first < len(rows):
        layer, end = rows[first, ROW_LAYER], rows[first, ROW_LAYER_END]
        nearest_wins = m.layers[layer, mx.LAYER_MODE] == _FIRST and m.layers[layer, mx.LAYER_LADDER] == _OWNER
        while first < end:
            speaker, found = -1, -1
            for row in range(first, rows[first, ROW_GROUP_END]):
                if bundles & rows[row, ROW_ITEMS] != 0 or rows[row, ROW_ABOVE] != 0:
                    cell = _first_cell(m, work, keys, rows[row, ROW_BUNDLE])
                    if cell >= 0:
                        if speaker >= 0 or rows[row, ROW_STATE] == _UNSTEADY or not nearest_wins:
                            return False, 0, 0, -1
                        speaker, found = row, cell
            if speaker >= 0:
                return _offer(m, work, keys, rows, speaker, found)
            first = rows[first, ROW_GROUP_END]
    return False, 0, 0, -1
