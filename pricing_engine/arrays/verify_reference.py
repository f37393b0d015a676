"""The loops of `pricing_engine.kernels.verify` in Python, one for one: slow, and what they must equal."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.names import TAG, name_key
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.items import put_skus
from pricegrid.pricing_engine.kernels.verify import SOUND
from pricegrid.pricing_engine.model import PRICE_PER_MAX, Method

Rows = NDArray[Any]


def _first(rows: Iterable[int]) -> int:
    return next(iter(rows), SOUND)


def _names(text: Rows, offsets: Rows) -> list[bytes]:
    return [text[start:end].tobytes() for start, end in pairwise(offsets.tolist())]


def range_fault(table: Rows, limits: Rows) -> int:
    """As the compiled loop."""
    kept = limits.tolist()
    return _first(
        row
        for row, values in enumerate(table.tolist())
        for value, (low, high, blank, end) in zip(values, kept, strict=True)
        if value not in (blank, end) and not low <= value <= high
    )


def offsets_fault(offsets: Rows, end: int) -> int:
    """As the compiled loop."""
    starts = offsets.tolist()
    if starts[0] != 0:
        return 0
    falls = _first(at for at, (one, other) in enumerate(pairwise(starts), 1) if other < one)
    return len(starts) - 1 if falls == SOUND and starts[-1] != end else falls


def slots_fault(text: Rows, offsets: Rows, slots: Rows) -> int:
    """As the compiled loop."""
    names, table = _names(text, offsets), slots.tolist()
    if sum(word != 0 for word in table) != len(names):
        return len(names)
    for ordinal, name in enumerate(names):
        key = int(name_key(np.frombuffer(name, np.uint8), 0, len(name)))
        home, wanted = key & (len(table) - 1), (key & int(TAG)) | (ordinal + 1)
        way = table[home:] + table[:home]
        if wanted not in way or 0 in way[: way.index(wanted)]:
            return ordinal
    return SOUND


def sku_fault(text: Rows, offsets: Rows, items: Rows) -> int:
    """As the compiled loop."""
    whole = np.zeros_like(items)
    put_skus(text, offsets, whole)
    words = slice(mx.ITEM_SKU, mx.ITEM_SKU + 4)
    return _first(np.flatnonzero((whole[:, words] != items[:, words]).any(axis=1)).tolist())


def depth_fault(parents: Rows, levels_max: int) -> int:
    """As the compiled loop."""
    for each in range(len(parents)):
        above, way = int(parents[each]), [each]
        while above >= 0 and len(way) <= levels_max:
            way.append(above)
            above = int(parents[above])
        if len(way) > levels_max:
            return each
    return SOUND


def _rising(table: Rows, first: int, second: int) -> int:
    keys = table[:, [first, second]].tolist()
    return _first(row for row, (one, other) in enumerate(pairwise(keys), 1) if one >= other)


def order_fault(table: Rows, first: int, second: int) -> int:
    """As the compiled loop; of one column twice: by that column."""
    return _rising(table, first, second)


def runs_fault(items: Rows, column: int, table: Rows, first: int, second: int) -> int:
    """As the compiled loop."""
    at = 0
    for item, run in enumerate(items[:, column].tolist()):
        start, count = run >> mx.RUN_BITS, run & mx.RUN_MAX
        if start != at or start + count > len(table):
            return item
        if _rising(table[start : start + count], first, second) != SOUND:
            return item
        at += count
    return SOUND if at == len(table) else len(items)


def attachment_fault(starts: Rows, attachments: Rows, agreements: Rows, books: Rows) -> int:
    """As the compiled loop."""
    rows, at = attachments.tolist(), 0
    for first, last in pairwise(starts.tolist()):
        for row in range(first, last):
            layer, bundle, start, end = rows[row]
            if start != at or not start < end <= len(agreements):
                return row
            if row > first and rows[row - 1][:2] >= [layer, bundle]:
                return row
            of = agreements[start:end, mx.AGREEMENT_BOOK].tolist()
            belongs = [[bundle, layer]] * len(of)
            if of != sorted(of) or books[of][:, [mx.BOOK_BUNDLE, mx.BOOK_LAYER]].tolist() != belongs:
                return row
            at = end
    return SOUND if at == len(agreements) else len(attachments)


def ranks_fault(bundles: Rows, ranks: Rows, items: int, key_space: int) -> int:
    """As the compiled loop."""
    row = 0
    for column, first, end in ((mx.BUNDLE_RANKS, 0, items), (mx.BUNDLE_ABOVE, items, key_space)):
        blocks = {key >> 6 for key in range(first, max(first + 1, end))}
        for bundle, start in enumerate(bundles[:, column].tolist()):
            if start != mx.NO_RANKS:
                if start + min(blocks) != row:
                    return bundle
                row += len(blocks)
    return SOUND if row == len(ranks) else len(bundles)


def _keys(pages: list[int], shift: int, low: list[int]) -> list[int] | None:
    """The item keys of a bundle's cells, from the offsets of its pages; None where there is no sense in them."""
    keys: list[int] = []
    for page, (first, end) in enumerate(pairwise(pages)):
        bits = low[first:end]
        if end < first or end > len(low) or bits != sorted(set(bits)) or any(bit >> shift for bit in bits):
            return None
        keys += [page << shift | bit for bit in bits]
    return keys


def cell_fault(
    bundles: Rows, directory: Rows, low: Rows, ranks: Rows, item_bundles: Rows, key_space: int
) -> int:
    """As the compiled loop."""
    pages, bits, items = directory.tolist(), low.tolist(), len(item_bundles)
    at = start = 0
    for bundle, row in enumerate(bundles.tolist()):
        end = at + ((key_space - 1) >> row[mx.BUNDLE_SHIFT]) + 2
        if row[mx.BUNDLE_DIRECTORY] != at or row[mx.BUNDLE_CELLS] != start:
            return bundle
        if end > len(pages) or pages[at] != 0:
            return bundle
        keys = _keys(pages[at:end], row[mx.BUNDLE_SHIFT], bits[start:])
        if keys is None or any(key >= key_space for key in keys):
            return bundle
        if any(not int(item_bundles[key]) >> (bundle & 63) & 1 for key in keys if key < items):
            return bundle
        levels = {0 if key < items else 1 if key < key_space - 1 else 2 for key in keys}
        if any(not row[mx.BUNDLE_LEVELS] >> level & 1 for level in levels):
            return bundle
        for column, first, last in ((mx.BUNDLE_RANKS, 0, items), (mx.BUNDLE_ABOVE, items, key_space)):
            if row[column] != mx.NO_RANKS and not _ranks_say(ranks, row[column], keys, first, last):
                return bundle
        start += len(keys)
        at = end
    return SOUND if at == len(pages) and start == len(bits) else len(bundles)


def _ranks_say(ranks: Rows, start: int, keys: list[int], first: int, end: int) -> bool:
    """Whether the ranks of a bundle agree with its keys [first, end): which there are, and how many come before."""
    for block in range(first >> 6, (max(first, end - 1) >> 6) + 1):
        bits, before = ranks[start + block].tolist()
        here = [key for key in keys if key >> 6 == block and first <= key < end]
        if sum(1 << (key & 63) for key in here) != bits % 2**64:
            return False
        if here and before != keys.index(here[0]):
            return False
    return True


def _is_record(
    record: list[int], books: list[list[int]], bundle: tuple[int, int], names: tuple[int, int, int]
) -> bool:
    """Whether what a record of a bundle leads to exists; `bundle` with its levels, `names` as many as there are."""
    classes, branches, uoms = names
    book_class, packed = record[mx.RECORD_BOOK_CLASS], record[mx.RECORD_PACKED]
    book, method = book_class >> 32, packed >> mx.PACKED_METHOD_SHIFT & 15
    if not (0 <= book < len(books) and books[book][mx.BOOK_BUNDLE] == bundle[0]):
        return False
    branch = book_class & mx.BRANCH_MASK
    if branch > branches or (branch and not bundle[1] & mx.HAS_BRANCHES):
        return False
    is_amount = method in (Method.NET, Method.AMOUNT_OFF, Method.SURCHARGE_PCT, Method.SURCHARGE_AMOUNT)
    if method >= len(Method) or (is_amount and record[mx.RECORD_VALUE] < 0):
        return False
    basis, price_per = packed >> mx.PACKED_BASIS_SHIFT, packed >> mx.PACKED_PER_SHIFT & mx.PER_MASK
    may_be_blank = method != Method.NET and basis >= mx.BASIS_BOOK
    if not (0 if may_be_blank else 1) <= price_per <= PRICE_PER_MAX:
        return False
    price_class = book_class >> mx.CLASS_SHIFT & mx.CLASS_MASK
    return price_class <= classes and (packed & 0xFFFF) <= uoms and 0 <= basis < len(books) + 2


def _rank(record: list[int], books: list[list[int]]) -> tuple[int, ...]:
    """What the records of a cell are sorted by."""
    newest = max(record[mx.RECORD_FROM], books[record[mx.RECORD_BOOK_CLASS] >> 32][mx.BOOK_FROM])
    return (
        record[mx.RECORD_BOOK_CLASS],
        record[mx.RECORD_PACKED] & 0xFFFF,
        -record[mx.RECORD_MINIMUM],
        -newest,
        -record[mx.RECORD_FROM],
        record[mx.RECORD_TO],
    )


def value_fault(
    owners: Rows,
    value: Rows,
    entry: Rows,
    ladders: Rows,
    records: Rows,
    bundles: Rows,
    books: Rows,
    classes: int,
    branches: int,
    uoms: int,
    before: Rows,
) -> int:
    """As the compiled loop."""
    starts, all_books, tombstone = bundles[:, mx.BUNDLE_CELLS], books.tolist(), len(owners) > 0
    first_break, first_record, entries = before.tolist()
    breaks, rows, names = first_break, first_record, (classes, branches, uoms)
    for cell, word in enumerate(value.tolist()):
        bundle = int(owners[cell]) if tombstone else int(np.searchsorted(starts, cell, "right")) - 1
        payload, wanted = -word - 1, entries
        first, size, is_records = payload >> 21, payload >> 1 & mx.CELL_COUNT_MAX, payload & 1
        if word >= 0:
            fits, size = bundles[bundle, mx.BUNDLE_BOOK] >= 0, 1
        elif not is_records:
            kept = ladders[breaks - first_break : breaks - first_break + size, mx.LADDER_MINIMUM].tolist()
            fits = bundles[bundle, mx.BUNDLE_BOOK] >= 0 and first == breaks and 0 < size == len(kept)
            fits = fits and kept == sorted(set(kept), reverse=True)
            breaks += size
        elif not size:
            fits, wanted = tombstone and first == first_record, before[2]
        else:
            cells = records[rows - first_record : rows - first_record + size].tolist()
            fits = first == rows and size == len(cells)
            levels = bundle, int(bundles[bundle, mx.BUNDLE_LEVELS])
            fits = fits and all(_is_record(each, all_books, levels, names) for each in cells)
            ranks = [_rank(each, all_books) for each in cells] if fits else []
            fits = fits and ranks == sorted(set(ranks))
            rows += size
        if not fits or entry[cell] != wanted:
            return cell
        entries += size
    whole = breaks - first_break == len(ladders) and rows - first_record == len(records)
    return SOUND if whole else len(value)
