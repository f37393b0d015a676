"""Compiled: the price of a line with a single offer, without the search that `select_offer` and `offers` make.

A line has a single offer when it is asked in the base unit, the first book of the customer's stack with an entry of its
item is alone at its distance in a layer of mode `first`, and nothing about it ends or begins later: its book and
agreement, a net price or ladder, or one undated entry computed from such a price of another book. Its price is what the
search would find (P1 to P10); for any other line the result is False, and the search is made.

`single_offer_rows` reads the stack once a request: which rows offer something now and for ever. For a line the rows
whose bundle may have a cell of the item are bits of one word, taken from the item's row without a loop over books; the
bits are visited lowest first, and the first row with a cell ends the search. Cells of product groups are memoized by
group. `fetch_pages`, `fetch_cells` and `fetch_breaks` bring in what those visits will read, for a block of lines ahead
(see `price`). A line costs one cell, mostly one cache miss that was fetched before.
"""

import numpy as np

from pricegrid.columnar.bits import lowest_one
from pricegrid.columnar.exact import INT64_MAX, times
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.tables import fetch
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import (
    STATE_CLASS,
    STATE_CURRENCY,
    STATE_HORIZON,
    STATE_ITEM,
    STATE_QUANTITY,
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
from pricegrid.pricing_engine.kernels.rounding import round_to_increment
from pricegrid.pricing_engine.kernels.stack import STACK_ATTACHMENT, STACK_DISTANCE, STACK_LAYER, priority_of
from pricegrid.pricing_engine.model import ALWAYS_US, GROUP_DEPTH_MAX, NEVER_US, Ladder, Method, Mode

# rows (n, ROW_SIZE): what holds for a row of the stack throughout a request
(
    ROW_BUNDLE,
    ROW_BOOK,
    ROW_KIND,
    ROW_LAYER,
    ROW_GROUP_END,
    ROW_NEAREST,  # 1: in its layer the nearest book with an entry wins, by itself
    ROW_ITEMS,  # 1: its bundle has cells of items
    ROW_SIZE,
) = range(8)
ROWS_MAX = 63  # rows of a stack that is searched here: a word has a bit for each, and none is its sign
# memo (a power of two, MEMO_SIZE): the cells above items for each product group, of the first MEMO_ROWS rows
MEMO_GROUP, MEMO_CELLS, MEMO_ROWS = 0, 1, 8
MEMO_SIZE, MEMO_GROUPS_MAX = MEMO_CELLS + MEMO_ROWS, 128
_NOT_SEARCHED = -2
_UNIT_OR_PER = 0xFFFF | mx.PER_MASK << mx.PACKED_PER_SHIFT
_STEADY, _SILENT, _UNSTEADY = 0, 1, 2  # its book offers; offers nothing, now and later; is for the search
_FIRST, _ADD, _OWNER = int(Mode.FIRST), int(Mode.ADD), int(Ladder.OWNER)
_NET, _AMOUNT_OFF = int(Method.NET), int(Method.AMOUNT_OFF)


@compiled
def _row_kind(m, state, stack, row, book):  # type: ignore[no-untyped-def]
    if (
        book < 0
        or m.books[book, mx.BOOK_CURRENCY] != state[STATE_CURRENCY]
        or m.books[book, mx.BOOK_BREAKS] != 0
    ):
        return _UNSTEADY
    state[STATE_HORIZON] = NEVER_US
    offers = priority_of(m, state, stack, row, book) != INT64_MAX and book_valid(m, state, book)
    if state[STATE_HORIZON] != NEVER_US:
        return _UNSTEADY
    return _STEADY if offers else _SILENT


@compiled
def single_offer_rows(m, state, stack, rows):  # type: ignore[no-untyped-def]
    """Fill `rows` (as many as the stack's) for the instant and currency of `state`.

    Returns bits of rows: those that may have cells above items, and those whose books add to prices (P16). A longer
    stack than ROWS_MAX has no single offers.
    """
    above, adding = np.int64(0), np.int64(0)
    for row in range(len(stack) - 1, -1, -1):
        bundle = m.attachments[stack[row, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE]
        book, layer = m.bundles[bundle, mx.BUNDLE_BOOK], stack[row, STACK_LAYER]
        rows[row, ROW_BUNDLE], rows[row, ROW_BOOK], rows[row, ROW_LAYER] = bundle, book, layer
        kind = _row_kind(m, state, stack, row, book)
        rows[row, ROW_KIND] = kind
        rows[row, ROW_NEAREST] = (
            m.layers[layer, mx.LAYER_MODE] == _FIRST and m.layers[layer, mx.LAYER_LADDER] == _OWNER
        )
        levels = m.bundles[bundle, mx.BUNDLE_LEVELS] if kind != _SILENT else 0
        rows[row, ROW_ITEMS] = levels & mx.LEVEL_ITEM != 0
        if row < ROWS_MAX and levels & (mx.LEVEL_GROUP | mx.LEVEL_EVERY) != 0:
            above |= np.int64(1) << row
        if row < ROWS_MAX and m.layers[layer, mx.LAYER_MODE] == _ADD:
            adding |= np.int64(1) << row
        rows[row, ROW_GROUP_END] = row + 1
        is_last = row + 1 == len(stack) or stack[row + 1, STACK_LAYER] != layer
        if not is_last and stack[row + 1, STACK_DISTANCE] == stack[row, STACK_DISTANCE]:
            rows[row, ROW_GROUP_END] = rows[row + 1, ROW_GROUP_END]
    return above, adding


@inlined
def rows_of(m, rows, item):  # type: ignore[no-untyped-def]
    """Bits of the first ROWS_MAX rows: those whose bundle may have a cell of the item itself."""
    bundles = m.items[item, mx.ITEM_BUNDLES]
    if len(m.delta_keys) > 0:  # which may have brought more
        bundles = np.int64(-1)
    found = np.int64(0)
    for row in range(min(len(rows), ROWS_MAX)):
        found |= ((bundles >> (rows[row, ROW_BUNDLE] & 63)) & rows[row, ROW_ITEMS]) << row
    return found


@compiled
def fetch_pages(m, rows, item, found):  # type: ignore[no-untyped-def]
    """Bring in the pages or ranks by which the bundles of some rows (bits) find an item's own cell."""
    while found != 0:
        bundle = rows[lowest_one(found), ROW_BUNDLE]
        ranks = m.bundles[bundle, mx.BUNDLE_RANKS]
        if ranks != mx.NO_RANKS:
            fetch(m.cell_ranks, ranks + (item >> 6))
        else:
            page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (item >> m.bundles[bundle, mx.BUNDLE_SHIFT])
            fetch(m.cell_directory, page)
        found &= found - 1


@compiled
def fetch_cells(m, rows, item, found):  # type: ignore[no-untyped-def]
    """Bring in those cells, up to the first that is sure to exist; returns it, -1 where none is sure."""
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


@compiled
def fetch_breaks(m, cell):  # type: ignore[no-untyped-def]
    """Bring in the ladder or the records of a cell that has some."""
    value = m.cell_value[cell]
    if value < 0:
        first, _ = records_of(value)
        if -(value + 1) & 1 == 0:
            fetch(m.ladders, first)
        else:
            fetch(m.records, first)


@compiled
def _paged_cell(m, bundle, item):  # type: ignore[no-untyped-def]
    """A cell near where the item's own would be in a bundle of pages, -1 for none."""
    page = m.bundles[bundle, mx.BUNDLE_DIRECTORY] + (item >> m.bundles[bundle, mx.BUNDLE_SHIFT])
    low, high = np.int64(m.cell_directory[page]), np.int64(m.cell_directory[page + 1])
    return m.bundles[bundle, mx.BUNDLE_CELLS] + ((low + high) >> 1) if low < high else np.int64(-1)


@compiled
def _find_cell_above(m, bundle, group):  # type: ignore[no-untyped-def]
    """The bundle's most specific cell of a product group (-1: none), those above it, and every item; -1 for none."""
    depth = 0
    while group >= 0 and depth < GROUP_DEPTH_MAX:
        cell = find_cell(m, bundle, len(m.items) + group, mx.LEVEL_GROUP)
        if cell >= 0:
            return cell
        group = m.group_parents[group]
        depth += 1
    return find_cell(m, bundle, len(m.items) + len(m.group_parents), mx.LEVEL_EVERY)


@compiled
def _cell_above(m, rows, row, group, memo):  # type: ignore[no-untyped-def]
    """`_find_cell_above` of a row's bundle, searched once for all lines of a group."""
    if row >= MEMO_ROWS:
        return _find_cell_above(m, rows[row, ROW_BUNDLE], group)
    at = (group + 1) & (len(memo) - 1)
    if memo[at, MEMO_GROUP] != group + 2:
        memo[at, MEMO_GROUP] = group + 2
        for each in range(MEMO_ROWS):
            memo[at, MEMO_CELLS + each] = _NOT_SEARCHED
    if memo[at, MEMO_CELLS + row] == _NOT_SEARCHED:
        memo[at, MEMO_CELLS + row] = _find_cell_above(m, rows[row, ROW_BUNDLE], group)
    return memo[at, MEMO_CELLS + row]


@compiled
def _cell_of(m, rows, row, item, own, above, memo):  # type: ignore[no-untyped-def]
    """The row's most specific cell of an item, -1 for none; `own` and `above` are bits of rows that may have one."""
    bit, cell = np.int64(1) << row, np.int64(-1)
    if own & bit != 0:
        cell = find_cell(m, rows[row, ROW_BUNDLE], item, mx.LEVEL_ITEM)
    if cell < 0 and above & bit != 0:
        cell = _cell_above(m, rows, row, mx.item_group(m.items[item, mx.ITEM_NAMES]), memo)
    return cell


@compiled
def _net(m, state, bundle, cell):  # type: ignore[no-untyped-def]
    """(given, price, offset of the entry from the cell's first) of a net price or ladder at the quantity asked."""
    value = value_of(m, cell)
    if value >= 0:
        return state[STATE_QUANTITY] >= m.bundles[bundle, mx.BUNDLE_SIMPLE_MINIMUM], value, 0
    if -(value + 1) & 1 == 0:
        first, end = records_of(value)
        for at in range(first, end):
            if ladder_at(m, at, mx.LADDER_MINIMUM) <= state[STATE_QUANTITY]:
                return True, ladder_at(m, at, mx.LADDER_PRICE), at - first
    return False, 0, 0


@compiled
def _computed(m, state, book, cell):  # type: ignore[no-untyped-def]
    """(given, high, low, denominator, offset) of the only entry of the customer's class, computed from a net price.

    Of all branches, undated, per base unit, of the basis' price unit, reached, of a book without floor, from a book
    that offers the item itself now and for ever.
    """
    first, end = records_of(value_of(m, cell))
    wanted = book << 32 | (state[STATE_CLASS] + 1) << mx.CLASS_SHIFT
    at = first_record(m, first, end, wanted)
    alone = (
        state[STATE_CLASS] >= 0
        and at < end
        and record_at(m, at, mx.RECORD_BOOK_CLASS) == wanted
        and (
            at + 1 == end
            or record_at(m, at + 1, mx.RECORD_BOOK_CLASS) >> mx.CLASS_SHIFT != wanted >> mx.CLASS_SHIFT
        )
    )
    if not alone or m.books[book, mx.BOOK_FLOOR_DENOMINATOR] != 0:
        return False, 0, 0, 1, 0
    packed = record_at(m, at, mx.RECORD_PACKED)
    basis = (packed >> mx.PACKED_BASIS_SHIFT) - mx.BASIS_BOOK
    is_simple = (
        packed & _UNIT_OR_PER == 0
        and _NET < packed >> mx.PACKED_METHOD_SHIFT & 15 < _AMOUNT_OFF
        and basis >= 0
        and record_at(m, at, mx.RECORD_FROM) == ALWAYS_US
        and record_at(m, at, mx.RECORD_TO) == NEVER_US
        and record_at(m, at, mx.RECORD_MINIMUM) <= state[STATE_QUANTITY]
    )
    if not is_simple or m.books[basis, mx.BOOK_CURRENCY] != state[STATE_CURRENCY]:
        return False, 0, 0, 1, 0
    if m.books[basis, mx.BOOK_BREAKS] != 0:
        return False, 0, 0, 1, 0
    state[STATE_HORIZON] = NEVER_US
    if not book_valid(m, state, basis) or state[STATE_HORIZON] != NEVER_US:
        return False, 0, 0, 1, 0
    bundle = m.books[basis, mx.BOOK_BUNDLE]
    under = find_cell(m, bundle, state[STATE_ITEM], mx.LEVEL_ITEM)
    if under < 0 or m.bundles[bundle, mx.BUNDLE_BOOK] != basis:
        return False, 0, 0, 1, 0
    given, price, _ = _net(m, state, bundle, under)
    if not given or price == 0:
        return False, 0, 0, 1, 0
    # not reduced, as `scale` would: that costs more than all else here, and what does not fit is for the search
    fits, high, low = times(np.int64(0), price, record_at(m, at, mx.RECORD_NUMERATOR))
    return fits and (high != 0 or low != 0), high, low, record_at(m, at, mx.RECORD_DENOMINATOR), at - first


@compiled
def _offer(m, state, rows, row, cell):  # type: ignore[no-untyped-def]
    """(found, unit price, row of the stack, entry) of a row whose book alone has an entry of the item."""
    book, bundle = rows[row, ROW_BOOK], rows[row, ROW_BUNDLE]
    increment = m.books[book, mx.BOOK_INCREMENT]
    given, price, offset = _net(m, state, bundle, cell)
    if given and increment == 1:
        return True, price, row, first_entry_of(m, cell) + offset
    may_be_zero, high, low, denominator = given and price == 0, 0, price, 1
    if not given:
        if value_of(m, cell) >= 0 or -(value_of(m, cell) + 1) & 1 == 0:
            return False, 0, row, -1
        given, high, low, denominator, offset = _computed(m, state, book, cell)
        if not given:
            return False, 0, row, -1
    ending, mode = m.books[book, mx.BOOK_ENDING], m.books[book, mx.BOOK_ROUNDING]
    fits, rounded = round_to_increment(high, low, denominator, increment, ending, mode)
    if not fits or rounded < 0 or (rounded == 0 and not may_be_zero):
        return False, 0, row, -1
    return True, rounded, row, first_entry_of(m, cell) + offset


@compiled
def single_offer_price(m, state, rows, own, above, adding, memo):  # type: ignore[no-untyped-def]
    """(found, unit price, row of the stack, entry) of a line in the base unit and the asked currency.

    `own` is `rows_of` the item, `above` and `adding` the result of `single_offer_rows`; `memo` (a power of two,
    MEMO_SIZE) int64 is zeros when a request begins.
    """
    if len(rows) > ROWS_MAX:
        return False, 0, 0, -1
    item, rest = state[STATE_ITEM], own | above
    if rest & adding != 0:
        adding &= rest
        rest &= ~adding
        while adding != 0:
            if _cell_of(m, rows, lowest_one(adding), item, own, above, memo) >= 0:
                return False, 0, 0, -1
            adding &= adding - 1
    while rest != 0:
        row = lowest_one(rest)
        rest &= rest - 1
        cell = _cell_of(m, rows, row, item, own, above, memo)
        if cell < 0:
            continue
        if rows[row, ROW_KIND] == _UNSTEADY or rows[row, ROW_NEAREST] == 0:
            return False, 0, 0, -1
        while rest != 0 and lowest_one(rest) < rows[row, ROW_GROUP_END]:
            if _cell_of(m, rows, lowest_one(rest), item, own, above, memo) >= 0:
                return False, 0, 0, -1
            rest &= rest - 1
        return _offer(m, state, rows, row, cell)
    return False, 0, 0, -1
