"""Compiled: whether arrays hold what the price kernels take for granted. Each loop finds the first fault.

The kernels check no bounds and end their loops where the arrays say, so the arrays are checked once, when a snapshot is
opened. Each loop passes once over its arrays, reads only what the loops before it found in order
(`pricing_engine.arrays.verify` has the order), and returns the number of the first row at fault, or SOUND; names are
looked ahead at in blocks of 32, so that the waits for slots overlap. Their reference in Python, one for one, is
`pricing_engine.arrays.verify_reference`.
"""

import numpy as np

from pricegrid.columnar.bits import count_ones
from pricegrid.columnar.jit import compiled
from pricegrid.columnar.names import IN_ORDER, TAG, name_key
from pricegrid.columnar.tables import fetch, table_of
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import bundle_bit, records_of
from pricegrid.pricing_engine.kernels.items import sku_word
from pricegrid.pricing_engine.model import PRICE_PER_MAX, Method

SOUND = IN_ORDER
LIMIT_LOW, LIMIT_HIGH, LIMIT_BLANK, LIMIT_END, LIMIT_SIZE = range(5)
"""Columns of `limits`: the least and the greatest value of a column, and two beyond them that mean blank."""
PROBES_MAX = 64
BLOCK = 32  # names looked ahead at a time

_NET, _AMOUNT_OFF, _METHODS = (
    int(Method.NET),
    int(Method.AMOUNT_OFF),
    len(Method),
)  # with those after it: amounts


@compiled
def range_fault(table, limits):  # type: ignore[no-untyped-def]
    """The first row of `table` (rows, columns) with a value outside of its row of `limits` (columns, LIMIT_SIZE)."""
    for row in range(len(table)):
        for column in range(len(limits)):
            value = table[row, column]
            if not limits[column, LIMIT_LOW] <= value <= limits[column, LIMIT_HIGH] and not (
                value == limits[column, LIMIT_BLANK] or value == limits[column, LIMIT_END]
            ):
                return row
    return SOUND


@compiled
def offsets_fault(offsets, end):  # type: ignore[no-untyped-def]
    """The first offset that is below the one before it; they begin with 0 and end with `end`."""
    if offsets[0] != 0:
        return 0
    for i in range(1, len(offsets)):
        if offsets[i] < offsets[i - 1]:
            return i
    return SOUND if offsets[len(offsets) - 1] == end else len(offsets) - 1


@compiled
def slots_fault(text, offsets, slots):  # type: ignore[no-untyped-def]
    """The first name that its probe table does not lead to; the number of names, if it holds anything else.

    At most PROBES_MAX steps a slot over all names: a table whose names all have one hash would take a day to check.
    """
    mask, names, taken, steps = len(slots) - 1, len(offsets) - 1, 0, 0
    bytes_of, keys = table_of(text), np.empty(BLOCK, dtype=np.int64)  # a table is read eight bytes at a time
    for value in slots:
        taken += value != 0
    if taken != names:
        return names
    for begin in range(0, names, BLOCK):
        end = min(begin + BLOCK, names)
        for name in range(begin, end):  # so that the waits overlap
            key = name_key(bytes_of, offsets[name], offsets[name + 1] - offsets[name])
            keys[name - begin] = key
            fetch(table_of(slots), key & mask)
        for name in range(begin, end):
            wanted, slot = (keys[name - begin] & TAG) | (name + 1), keys[name - begin] & mask
            while slots[slot] != wanted:
                if slots[slot] == 0 or steps == PROBES_MAX * len(slots):
                    return name
                slot = (slot + 1) & mask
                steps += 1
    return SOUND


@compiled
def sku_fault(text, offsets, items):  # type: ignore[no-untyped-def]
    """The first item whose row does not begin with its SKU."""
    bytes_of = table_of(text)
    for item in range(len(items)):
        start, length = offsets[item], offsets[item + 1] - offsets[item]
        for i in range(4):
            if length > mx.SKU_INLINE_MAX:
                word = np.int64(mx.SKU_ELSEWHERE) << 56 if i == 3 else np.int64(0)
            else:
                word = sku_word(bytes_of, start, length, i)
            if items[item, mx.ITEM_SKU + i] != word:
                return item
    return SOUND


@compiled
def depth_fault(parents, levels_max):  # type: ignore[no-untyped-def]
    """The first of (n,) ordinals that has more than `levels_max` on its way up, itself included; -1 has no parent."""
    for each in range(len(parents)):
        above, levels = parents[each], 1
        while above >= 0:
            levels += 1
            if levels > levels_max:
                return each
            above = parents[above]
    return SOUND


@compiled
def order_fault(table, first, second):  # type: ignore[no-untyped-def]
    """The first row that does not come after the one before it by two of its columns."""
    for row in range(1, len(table)):
        if table[row, first] < table[row - 1, first] or (
            table[row, first] == table[row - 1, first] and table[row, second] <= table[row - 1, second]
        ):
            return row
    return SOUND


@compiled
def runs_fault(items, column, table, first, second):  # type: ignore[no-untyped-def]
    """The first item whose run of rows in `table` does not follow on that of the one before it, or is not in order."""
    at = 0
    for item in range(len(items)):
        run = items[item, column]
        end = mx.run_end(run)
        if run < 0 or mx.run_start(run) != at or end > len(table):
            return item
        for row in range(at + 1, end):
            if table[row, first] < table[row - 1, first] or (
                table[row, first] == table[row - 1, first] and table[row, second] <= table[row - 1, second]
            ):
                return item
        at = end
    return SOUND if at == len(table) else len(items)


@compiled
def attachment_fault(starts, attachments, agreements, books):  # type: ignore[no-untyped-def]
    """The first attachment out of the order of layers and bundles of its audience, or whose agreements do not follow on
    those of the one before it, ascend by book, and belong to its layer and bundle."""
    at = 0
    for audience in range(len(starts) - 1):
        for row in range(starts[audience], starts[audience + 1]):
            layer, bundle = attachments[row, mx.ATTACHMENT_LAYER], attachments[row, mx.ATTACHMENT_BUNDLE]
            end = attachments[row, mx.ATTACHMENT_END]
            if attachments[row, mx.ATTACHMENT_START] != at or not at < end <= len(agreements):
                return row
            if row > starts[audience]:
                layer_before = attachments[row - 1, mx.ATTACHMENT_LAYER]
                if layer < layer_before or (
                    layer == layer_before and bundle <= attachments[row - 1, mx.ATTACHMENT_BUNDLE]
                ):
                    return row
            for agreement in range(at, end):
                book = agreements[agreement, mx.AGREEMENT_BOOK]
                if books[book, mx.BOOK_BUNDLE] != bundle or books[book, mx.BOOK_LAYER] != layer:
                    return row
                if agreement > at and agreements[agreement - 1, mx.AGREEMENT_BOOK] > book:
                    return row
            at = end
    return SOUND if at == len(agreements) else len(attachments)


@compiled
def ranks_fault(bundles, ranks, items, key_space):  # type: ignore[no-untyped-def]
    """The first bundle whose ranks do not follow on those of the ones before it."""
    row = 0
    for column, first, end in ((mx.BUNDLE_RANKS, 0, items), (mx.BUNDLE_ABOVE, items, key_space)):
        blocks = (max(first, end - 1) >> 6) - (first >> 6) + 1
        for bundle in range(len(bundles)):
            if bundles[bundle, column] != mx.NO_RANKS:
                if bundles[bundle, column] != row - (first >> 6):
                    return bundle
                row += blocks
    return SOUND if row == len(ranks) else len(bundles)


@compiled
def _ranked(ranks, rank, first, end):  # type: ignore[no-untyped-def]
    """How many cells the ranks of a bundle count among the keys [first, end)."""
    found = 0
    for block in range(first >> 6, (max(first, end - 1) >> 6) + 1):
        found += count_ones(ranks[rank + block, mx.RANK_BITS])
    return found


@compiled
def _page_is_faulty(low, first, end, page, shift, bundle, item_bundles, key_space):  # type: ignore[no-untyped-def]
    """Whether the keys of the cells [first, end) of a page do not ascend in it, or those of items lack their bit."""
    mask, items, bit = (np.int64(1) << shift) - 1, len(item_bundles), bundle_bit(bundle)
    before, faults, has_bits = np.int64(-1), 0, np.int64(-1)
    if (page + 1) << shift <= items:
        for cell in range(first, end):
            bits = np.int64(low[cell])
            faults |= (bits <= before) | (bits > mask)
            has_bits &= item_bundles[page << shift | (bits & mask)]
            before = bits
        return faults != 0 or has_bits & bit == 0
    for cell in range(first, end):
        bits = np.int64(low[cell])
        key = page << shift | bits
        if bits <= before or bits > mask or key >= key_space:
            return True
        if key < items and item_bundles[key] & bit == 0:
            return True
        before = bits
    return False


@compiled
def _count_levels(low, first, end, page, shift, items, key_space, has):  # type: ignore[no-untyped-def]
    """Count the cells of a sound page by level into `has`: items, groups, every item."""
    if (page + 1) << shift <= items:
        has[0] += end - first
        return
    for cell in range(first, end):
        key = page << shift | np.int64(low[cell])
        has[0 if key < items else 1 if key < key_space - 1 else 2] += 1


@compiled
def _ranks_are_faulty(bundles, bundle, directory, low, ranks, items, has):  # type: ignore[no-untyped-def]
    """Whether the ranks of a bundle do not agree with its pages: which keys have a cell, and how many come before."""
    shift, start = bundles[bundle, mx.BUNDLE_SHIFT], bundles[bundle, mx.BUNDLE_CELLS]
    at, of_items, above = (
        bundles[bundle, mx.BUNDLE_DIRECTORY],
        bundles[bundle, mx.BUNDLE_RANKS],
        bundles[bundle, mx.BUNDLE_ABOVE],
    )
    page, cells = 0, has[0] + has[1] + has[2]
    for place in range(cells):
        while np.int64(directory[at + page + 1]) <= place:
            page += 1
        key = page << shift | np.int64(low[start + place])
        rank = of_items if key < items else above
        if rank != mx.NO_RANKS:
            word, bit = ranks[rank + (key >> 6), mx.RANK_BITS], np.int64(1) << (key & 63)
            is_first = word & (bit - 1) == 0
            if word & bit == 0 or (is_first and ranks[rank + (key >> 6), mx.RANK_BEFORE] != place):
                return True
    return False


@compiled
def cell_fault(bundles, directory, low, ranks, item_bundles, key_space):  # type: ignore[no-untyped-def]
    """The first bundle whose pages do not follow on those of the one before it, whose keys do not ascend, or whose
    ranks, levels and bits in `item_bundles` (items,) do not agree with its pages."""
    at, start = np.int64(0), np.int64(0)
    items, has = len(item_bundles), np.zeros(3, dtype=np.int64)
    for bundle in range(len(bundles)):
        shift = bundles[bundle, mx.BUNDLE_SHIFT]
        pages = ((key_space - 1) >> shift) + 1
        if bundles[bundle, mx.BUNDLE_DIRECTORY] != at or bundles[bundle, mx.BUNDLE_CELLS] != start:
            return bundle
        if at + pages >= len(directory) or directory[at] != 0:
            return bundle
        has[:] = 0
        for page in range(pages):
            first, end = start + np.int64(directory[at + page]), start + np.int64(directory[at + page + 1])
            if first == end:
                continue
            if end < first or end > len(low):
                return bundle
            if _page_is_faulty(low, first, end, page, shift, bundle, item_bundles, key_space):
                return bundle
            _count_levels(low, first, end, page, shift, items, key_space, has)
        for level in range(3):
            if has[level] > 0 and bundles[bundle, mx.BUNDLE_LEVELS] >> level & 1 == 0:
                return bundle
        of_items, above = bundles[bundle, mx.BUNDLE_RANKS], bundles[bundle, mx.BUNDLE_ABOVE]
        if of_items != mx.NO_RANKS and _ranked(ranks, of_items, 0, items) != has[0]:
            return bundle
        if above != mx.NO_RANKS and _ranked(ranks, above, items, key_space) != has[1] + has[2]:
            return bundle
        has_ranks = of_items != mx.NO_RANKS or above != mx.NO_RANKS
        if has_ranks and _ranks_are_faulty(bundles, bundle, directory, low, ranks, items, has):
            return bundle
        start += np.int64(directory[at + pages])
        at += pages + 1
    return SOUND if at == len(directory) and start == len(low) else len(bundles)


@compiled
def _is_before(records, row, books, book):  # type: ignore[no-untyped-def]
    """Whether a record comes before the next one of its cell and book: by class, branch, unit, break, newest, start,
    end."""
    one, other = records[row], records[row + 1]
    if one[mx.RECORD_BOOK_CLASS] != other[mx.RECORD_BOOK_CLASS]:
        return one[mx.RECORD_BOOK_CLASS] < other[mx.RECORD_BOOK_CLASS]
    uom, other_uom = one[mx.RECORD_PACKED] & 0xFFFF, other[mx.RECORD_PACKED] & 0xFFFF
    if uom != other_uom:
        return uom < other_uom
    if one[mx.RECORD_MINIMUM] != other[mx.RECORD_MINIMUM]:
        return one[mx.RECORD_MINIMUM] > other[mx.RECORD_MINIMUM]
    newest = max(one[mx.RECORD_FROM], books[book, mx.BOOK_FROM])
    other_newest = max(other[mx.RECORD_FROM], books[book, mx.BOOK_FROM])
    if newest != other_newest:
        return newest > other_newest
    if one[mx.RECORD_FROM] != other[mx.RECORD_FROM]:
        return one[mx.RECORD_FROM] > other[mx.RECORD_FROM]
    return one[mx.RECORD_TO] < other[mx.RECORD_TO]


@compiled
def _records_faulty(records, first, end, books, bundle, levels, names):  # type: ignore[no-untyped-def]
    """Whether a record of a cell [first, end) leads outside or to another bundle, or is out of order.

    `names` is how many classes, branches and units there are.
    """
    classes, branches, uoms = names
    for row in range(first, end):
        book_class, packed = records[row, mx.RECORD_BOOK_CLASS], records[row, mx.RECORD_PACKED]
        book, method = book_class >> 32, packed >> mx.PACKED_METHOD_SHIFT & 15
        price_class, branch = book_class >> mx.CLASS_SHIFT & mx.CLASS_MASK, book_class & mx.BRANCH_MASK
        if not 0 <= book < len(books) or price_class > classes or branch > branches:
            return True
        if branch > 0 and levels & mx.HAS_BRANCHES == 0:
            return True
        if books[book, mx.BOOK_BUNDLE] != bundle or packed & 0xFFFF > uoms or method >= _METHODS:
            return True
        basis, price_per = packed >> mx.PACKED_BASIS_SHIFT, packed >> mx.PACKED_PER_SHIFT & mx.PER_MASK
        if not 0 <= basis < len(books) + mx.BASIS_BOOK or price_per > PRICE_PER_MAX:
            return True
        if price_per == 0 and (method == _NET or basis < mx.BASIS_BOOK):
            return True
        if (method == _NET or method >= _AMOUNT_OFF) and records[row, mx.RECORD_VALUE] < 0:
            return True
        if row > first and not _is_before(records, row - 1, books, book):
            return True
    return False


@compiled
def _breaks_faulty(ladders, first, end):  # type: ignore[no-untyped-def]
    """Whether the breaks of a cell do not fall."""
    for row in range(first + 1, end):  # noqa: SIM110 - numba compiles no generators
        if ladders[row, mx.LADDER_MINIMUM] >= ladders[row - 1, mx.LADDER_MINIMUM]:
            return True
    return False


@compiled
def value_fault(owners, value, entry, ladders, records, bundles, books, classes, branches, uoms, before):  # type: ignore[no-untyped-def]
    """The first cell whose value is not one of the three forms, or whose ladder, records or entries do not follow on
    those of the cells before it.

    `owners` (cells,) int64: the bundle of each cell of a delta; empty for the full load, where they follow one another.
    `before` (3,) int64: how many ladders, records and entries the full load has, for a delta; a delta's cell may be
    empty, as a tombstone.
    """
    is_delta = len(owners) > 0
    breaks, rows, entries, bundle = 0, 0, before[2], 0
    for cell in range(len(value)):
        if is_delta:
            bundle = owners[cell]
        else:
            while bundle + 1 < len(bundles) and bundles[bundle + 1, mx.BUNDLE_CELLS] <= cell:
                bundle += 1
        is_merged = bundles[bundle, mx.BUNDLE_BOOK] < 0
        if value[cell] >= 0:
            if is_merged or entry[cell] != entries:
                return cell
            entries += 1
            continue
        first, end = records_of(value[cell])
        size = end - first
        if -(value[cell] + 1) & 1 == 0:
            if size < 1 or is_merged or first != before[0] + breaks or breaks + size > len(ladders):
                return cell
            if entry[cell] != entries or _breaks_faulty(ladders, breaks, breaks + size):
                return cell
            breaks += size
        elif size == 0:
            if not is_delta or first != before[1] or entry[cell] != before[2]:
                return cell
        else:
            if first != before[1] + rows or rows + size > len(records) or entry[cell] != entries:
                return cell
            levels, names = bundles[bundle, mx.BUNDLE_LEVELS], (classes, branches, uoms)
            if _records_faulty(records, rows, rows + size, books, bundle, levels, names):
                return cell
            rows += size
        entries += size
    return SOUND if breaks == len(ladders) and rows == len(records) else len(value)
