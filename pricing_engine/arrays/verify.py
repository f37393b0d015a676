"""Whether a snapshot's arrays hold what the price kernels take for granted; asked once, when it is opened.

A hash says that a file is as it was written, not that it was written well, and kernels check no bounds. So everything
that they use as an index, a count, an order or a divisor is checked here: after `verify_prices` no bytes of any
array lead a kernel outside of one, or round in a circle. Prices, quantities and dates are data: any will do that has
its sign and its range. Docs: docs/snapshot-format.md, "What is verified".
"""

import codecs
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.names import name_order_fault
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels import verify as kernel
from pricegrid.pricing_engine.model import (
    ALWAYS_US,
    CLASSES_MAX,
    CUSTOMER_DEPTH_MAX,
    GROUP_DEPTH_MAX,
    INT64_MAX,
    NEVER_US,
    BelowMinimum,
    Ladder,
    Mode,
    RoundingMode,
    Windows,
)

Arrays = Mapping[str, NDArray[Any]]
UNSORTED_NAMES: Final = frozenset({"layer", "entry_id", "delta_entry_id"})
"""Layers are in the order of search, entry ids in that of their entries."""
SLOT_TABLES: Final = ("sku", "customer", "uom")
FIRST_INSTANT_US, LAST_INSTANT_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999: instants outside of them can't be shown."""
_TEXT_CHUNK: Final = 1 << 20


class Range(NamedTuple):
    """What a column holds: [low, high], or of a name or row that is counted elsewhere: [low, how many)."""

    low: int = 0
    high: int | str = INT64_MAX
    is_instant: bool = False
    """Blank starts and ends are allowed too."""


_FLAG: Final = Range(0, 1)
_INSTANT: Final = Range(FIRST_INSTANT_US, LAST_INSTANT_US, is_instant=True)
_POSITIVE: Final = Range(1)
_ANY: Final = Range(-(2**63))
_CHECKED_APART: Final = _ANY
"""A column whose words are checked one by one, not as a range."""

_LADDER: Final = {mx.LADDER_MINIMUM: Range(), mx.LADDER_PRICE: Range()}
_RECORD: Final = {
    mx.RECORD_MINIMUM: Range(),
    mx.RECORD_VALUE: _ANY,
    mx.RECORD_FROM: _INSTANT,
    mx.RECORD_TO: _INSTANT,
    mx.RECORD_BOOK_CLASS: Range(),
    mx.RECORD_PACKED: Range(),
    mx.RECORD_NUMERATOR: Range(),
    mx.RECORD_DENOMINATOR: _POSITIVE,
}
RANGES: Final[Mapping[str, Mapping[int, Range]]] = {
    "items": {
        **{mx.ITEM_SKU + word: _CHECKED_APART for word in range(4)},
        mx.ITEM_NAMES: Range(),
        mx.ITEM_UNITS: Range(),
        mx.ITEM_COSTS: Range(),
        mx.ITEM_BUNDLES: _CHECKED_APART,
    },
    "uoms": {mx.UOM_NAME: Range(0, "uom"), mx.UOM_NUMERATOR: _POSITIVE, mx.UOM_DENOMINATOR: _POSITIVE},
    "customers": {
        mx.CUSTOMER_PARENT: Range(-1, "customer"),
        mx.CUSTOMER_CLASSES: Range(),
        mx.CUSTOMER_CURRENCY: Range(0, "currency"),
        mx.CUSTOMER_BRANCH: Range(-1, "branch"),
    },
    "customer_classes": {mx.CLASS_NAME: Range(0, "price_class"), mx.CLASS_RANK: Range(0, CLASSES_MAX - 1)},
    "layers": {mx.LAYER_MODE: Range(0, len(Mode) - 1), mx.LAYER_LADDER: Range(0, len(Ladder) - 1)},
    "books": {
        mx.BOOK_LAYER: Range(0, "layer"),
        mx.BOOK_CURRENCY: Range(0, "currency"),
        mx.BOOK_FROM: _INSTANT,
        mx.BOOK_TO: _INSTANT,
        mx.BOOK_BELOW_MINIMUM: Range(0, len(BelowMinimum) - 1),
        mx.BOOK_INCREMENT: _POSITIVE,
        mx.BOOK_ROUNDING: Range(0, len(RoundingMode) - 1),
        mx.BOOK_FLOOR_NUMERATOR: Range(),
        mx.BOOK_FLOOR_DENOMINATOR: Range(),
        mx.BOOK_BUNDLE: Range(0, "bundle"),
        mx.BOOK_WINDOWS: Range(0, len(Windows) - 1),
        mx.BOOK_ENDING: Range(),
        mx.BOOK_BREAKS: Range(0, mx.GRADUATED | mx.ON_AMOUNT | mx.GROUPED),
        mx.BOOK_GROUP: Range(-1, "break_group"),
    },
    "attachments": {
        mx.ATTACHMENT_LAYER: Range(0, "layer"),
        mx.ATTACHMENT_BUNDLE: Range(0, "bundle"),
        mx.ATTACHMENT_START: Range(),
        mx.ATTACHMENT_END: Range(),
    },
    "agreements": {
        mx.AGREEMENT_BOOK: Range(0, "book"),
        mx.AGREEMENT_PRIORITY: Range(-(2**63), INT64_MAX - 1),
        mx.AGREEMENT_FROM: _INSTANT,
        mx.AGREEMENT_TO: _INSTANT,
        mx.AGREEMENT_INHERIT: _FLAG,
    },
    "bundles": {
        mx.BUNDLE_SHIFT: Range(0, mx.DIRECTORY_SHIFT_MAX),
        mx.BUNDLE_DIRECTORY: Range(),
        mx.BUNDLE_CELLS: Range(),
        mx.BUNDLE_ABOVE: _CHECKED_APART,
        mx.BUNDLE_SIMPLE_MINIMUM: Range(),
        mx.BUNDLE_BOOK: Range(-1, "book"),
        mx.BUNDLE_LEVELS: Range(0, mx.LEVEL_ITEM | mx.LEVEL_GROUP | mx.LEVEL_EVERY | mx.HAS_BRANCHES),
        mx.BUNDLE_RANKS: _CHECKED_APART,
    },
    "cell_ranks": {mx.RANK_BITS: _CHECKED_APART, mx.RANK_BEFORE: Range()},
    "costs": {
        mx.COST_BRANCH: Range(-1, "branch"),
        mx.COST_FROM: _INSTANT,
        mx.COST_MICROS: Range(),
        mx.COST_CURRENCY: Range(0, "currency"),
    },
    "rates": {
        mx.RATE_PAIR: Range(),
        mx.RATE_FROM: _INSTANT,
        mx.RATE_NUMERATOR: _POSITIVE,
        mx.RATE_DENOMINATOR: _POSITIVE,
    },
    "entitlements": {mx.ENTITLEMENT_KEY: Range(), mx.ENTITLEMENT_ALLOWED: _FLAG},
    "ladders": _LADDER,
    "records": _RECORD,
    "delta_ladders": _LADDER,
    "delta_records": _RECORD,
}
"""Of every column of every table of `matrix.TABLES`; the others are checked by name."""


def verify_prices(arrays: Arrays) -> None:
    """Raises ValueError naming the array, the row and what is wrong; KeyError or TypeError as `matrix_from_arrays`."""
    m = mx.matrix_from_arrays(arrays)
    texts = {table: name_arrays(arrays, table) for table in mx.NAME_TABLES}
    counts = {table: len(offsets) - 1 for table, (_, offsets) in texts.items()} | {"bundle": len(m.bundles)}
    for table, (text, offsets) in texts.items():
        verify_names(f"{table}_offsets", text, offsets, is_sorted=table not in UNSORTED_NAMES)
    _verify_counts(m, counts)
    for table in mx.TABLES:
        _verify_ranges(table, getattr(m, table), counts)
    for table in SLOT_TABLES:
        _verify_slots(f"{table}_slots", *texts[table], getattr(m, f"{table}_slots"))
    _verify_items(m, counts)
    _verify_owners(m, counts)
    _verify_cells(m, counts)
    _verify_delta(m, counts)
    edges = np.asarray(arrays["basis_edges"])
    if edges.dtype != np.int64 or edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError("basis_edges: not pairs of books")
    _expect(
        "basis_edges", not edges.size or (edges.min() >= 0 and edges.max() < counts["book"]), "no such book"
    )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array as the loops are compiled for."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def name_arrays(arrays: Arrays, table: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The text and the offsets of a name table, read-only. KeyError or TypeError where they are no such arrays."""
    found = []
    for name, dtype in ((f"{table}_bytes", np.uint8), (f"{table}_offsets", np.int64)):
        array = np.asarray(arrays[name])
        if array.dtype != dtype or array.ndim != 1:
            raise TypeError(f"array {name}: {array.dtype} {array.shape}, not {np.dtype(dtype)} ('rows',)")
        found.append(_read_only(array))
    return found[0], found[1]


def _expect(array: str, holds: object, fault: str) -> None:
    if not holds:
        raise ValueError(f"{array}: {fault}")


def _found(array: str, row: int, fault: str) -> None:
    """What a loop found."""
    if row != kernel.SOUND:
        raise ValueError(f"{array}, row {row}: {fault}")


def verify_names(array: str, text: NDArray[np.uint8], offsets: NDArray[np.int64], *, is_sorted: bool) -> None:
    """Raises ValueError unless these are offsets of UTF-8 names, in byte order and distinct if they are sorted."""
    _expect(array, len(offsets), "is empty")
    _found(array, kernel.offsets_fault(offsets, len(text)), "does not fit its text")
    try:
        is_ascii = _is_ascii(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{array}: its text is not UTF-8") from error
    inside = offsets[offsets < len(text)]
    if not is_ascii and bool((text[inside] & 0xC0 == 0x80).any()):
        raise ValueError(f"{array}: a name begins inside a character")
    if is_sorted:
        _found(array, name_order_fault(text, offsets), "not in byte order")


def _is_ascii(text: NDArray[np.uint8]) -> bool:
    """Raises UnicodeDecodeError where it is not UTF-8."""
    decoder, characters = codecs.getincrementaldecoder("utf-8")(), 0
    for start in range(0, len(text), _TEXT_CHUNK):
        characters += len(decoder.decode(text[start : start + _TEXT_CHUNK].data))
    decoder.decode(b"", final=True)
    return characters == len(text)


def _verify_counts(m: mx.Matrix, counts: Mapping[str, int]) -> None:
    for array, table in (
        ("items", "sku"),
        ("customers", "customer"),
        ("group_parents", "product_group"),
        ("layers", "layer"),
        ("books", "book"),
    ):
        _expect(array, len(getattr(m, array)) == counts[table], f"not one row for each name of {table}")
    audiences = counts["customer"] + counts["price_class"] + 1
    _expect("audience_starts", len(m.audience_starts) == audiences + 1, "not one for each audience")
    _expect("uom_offsets", counts["uom"] <= mx.UOM_NAMES_MAX, "too many units")


def _limits(columns: Mapping[int, Range], width: int, counts: Mapping[str, int]) -> NDArray[np.int64]:
    rows = []
    for column in range(width):
        low, high, is_instant = columns.get(column, _ANY)
        most = counts[high] - 1 if isinstance(high, str) else high
        rows.append((low, most, *((ALWAYS_US, NEVER_US) if is_instant else (low, low))))
    return np.array(rows, dtype=np.int64).reshape(width, kernel.LIMIT_SIZE)


def _verify_ranges(table: str, rows: NDArray[np.int64], counts: Mapping[str, int]) -> None:
    columns = RANGES[table]
    limits = _limits(columns, rows.shape[1], counts)
    nowhere = (limits[:, kernel.LIMIT_LOW] > limits[:, kernel.LIMIT_HIGH]).any()
    _expect(table, not (nowhere and len(rows)), "leads to names of which there are none")
    row = kernel.range_fault(rows, _read_only(limits))
    if row == kernel.SOUND:
        return
    column = next(
        place
        for place, (low, most, *blank) in enumerate(limits.tolist())
        if rows[row, place] not in blank and not low <= rows[row, place] <= most
    )
    raise ValueError(f"{table}, row {row}: {rows[row, column]} in column {column} is out of range")


def _verify_slots(array: str, text: NDArray[Any], offsets: NDArray[Any], slots: NDArray[Any]) -> None:
    size, names = len(slots), len(offsets) - 1
    _expect(
        array, size > 0 and size & (size - 1) == 0 and size >= 2 * names, "not a probe table of its names"
    )
    _found(array, kernel.slots_fault(text, offsets, slots), "does not lead to its name")


def _verify_items(m: mx.Matrix, counts: Mapping[str, int]) -> None:
    """SKUs, groups, base units, and the runs of units and costs."""
    _found("items", kernel.sku_fault(m.sku_bytes, m.sku_offsets, m.items), "does not begin with its SKU")
    names = m.items[:, mx.ITEM_NAMES]
    _expect("items", (mx.item_group(names) < counts["product_group"]).all(), "no such product group")
    _expect("items", (mx.item_base_uom(names) < counts["uom"]).all(), "no such base unit")
    for array, column, first, second in (
        ("uoms", mx.ITEM_UNITS, mx.UOM_NAME, mx.UOM_NAME),
        ("costs", mx.ITEM_COSTS, mx.COST_BRANCH, mx.COST_FROM),
    ):
        row = kernel.runs_fault(m.items, column, getattr(m, array), first, second)
        _found("items", row, f"its {array} do not follow on those of the item before, or are out of order")
    breaks = m.item_groups
    _expect("item_groups", len(breaks) in (0, len(m.items)), "not one for each item")
    is_known = (breaks >= 0) & (breaks <= counts["break_group"])
    _expect("item_groups", is_known.all(), "no such break group")
    groups = np.array([-1, counts["product_group"] - 1])
    outside = m.group_parents.size and (
        m.group_parents.min() < groups[0] or m.group_parents.max() > groups[1]
    )
    _expect("group_parents", not outside, "no such product group")
    _found("group_parents", kernel.depth_fault(m.group_parents, GROUP_DEPTH_MAX), "is too deep, or a circle")


def _verify_owners(m: mx.Matrix, counts: Mapping[str, int]) -> None:
    """Customers, entitlements, books and their audiences, exchange rates."""
    parents = _read_only(m.customers[:, mx.CUSTOMER_PARENT])
    _found("customers", kernel.depth_fault(parents, CUSTOMER_DEPTH_MAX + 1), "is too deep, or a circle")
    _verify_classes(m)
    own = m.bundles[m.books[:, mx.BOOK_BUNDLE], mx.BUNDLE_BOOK]
    _expect("books", ((own < 0) | (own == np.arange(len(m.books)))).all(), "a bundle is of another book")
    single = np.flatnonzero(m.bundles[:, mx.BUNDLE_BOOK] >= 0)
    of = m.books[m.bundles[single, mx.BUNDLE_BOOK], mx.BOOK_BUNDLE]
    _expect("bundles", (of == single).all(), "a book is in another bundle")
    floors = m.books[:, [mx.BOOK_FLOOR_NUMERATOR, mx.BOOK_FLOOR_DENOMINATOR]]
    _expect("books", ((floors[:, 0] > 0) == (floors[:, 1] > 0)).all(), "half a floor margin")
    _expect(
        "books", (m.books[:, mx.BOOK_ENDING] < m.books[:, mx.BOOK_INCREMENT]).all(), "a price ending too long"
    )
    adds = (m.layers[:, mx.LAYER_MODE] == Mode.ADD).astype(np.int64)
    _expect("layers", (np.diff(adds) >= 0).all(), "surcharges before prices")
    _found("audience_starts", kernel.offsets_fault(m.audience_starts, len(m.attachments)), "does not fit")
    row = kernel.attachment_fault(m.audience_starts, m.attachments, m.agreements, m.books)
    _found("attachments", row, "out of order, or its agreements do not fit")
    pairs, currencies = m.rates[:, mx.RATE_PAIR], counts["currency"]
    _expect(
        "rates", ((pairs >> 32 < currencies) & (pairs & 0xFFFFFFFF < currencies)).all(), "no such currency"
    )
    _found("rates", kernel.order_fault(m.rates, mx.RATE_PAIR, mx.RATE_FROM), "out of order")
    column = mx.ENTITLEMENT_KEY
    _found("entitlements", kernel.order_fault(m.entitlements, column, column), "out of order")
    owners = counts["customer"] + counts["price_class"]
    last = m.entitlements[-1:, column]
    _expect("entitlements", (last < owners * _key_space(m)).all(), "no such owner")


def _verify_classes(m: mx.Matrix) -> None:
    """The runs of classes of customers: inside, apart from one another, each in the order of its ranks (P18)."""
    runs, rank = np.unique(m.customers[:, mx.CUSTOMER_CLASSES]), m.customer_classes[:, mx.CLASS_RANK]
    runs = runs[runs & mx.RUN_MAX > 0]
    start, end = mx.run_start(runs), mx.run_end(runs)
    fits = bool((end <= len(rank)).all()) and bool((end - start <= CLASSES_MAX).all())
    _expect("customers", fits and bool((end[:-1] <= start[1:]).all()), "its classes lie outside, or overlap")
    ends = len(rank) + 2
    inside = np.cumsum(np.bincount(start + 1, minlength=ends) - np.bincount(end, minlength=ends))[: len(rank)]
    follows = np.diff(rank, prepend=0)
    is_in_order = np.where(inside > 0, (follows == 0) | (follows == 1), rank == 0)
    _expect("customer_classes", is_in_order.all(), "out of the order of their ranks")


def _key_space(m: mx.Matrix) -> int:
    return len(m.items) + len(m.group_parents) + 1


def _verify_cells(m: mx.Matrix, counts: Mapping[str, int]) -> None:
    """The full load: where each cell is found, and what it holds."""
    for array in ("cell_low", "cell_entry"):
        _expect(array, len(getattr(m, array)) == len(m.cell_value), "not one for each cell")
    _found(
        "bundles",
        kernel.ranks_fault(m.bundles, m.cell_ranks, len(m.items), _key_space(m)),
        "its ranks do not fit",
    )
    item_bundles = _read_only(m.items[:, mx.ITEM_BUNDLES])
    row = kernel.cell_fault(
        m.bundles, m.cell_directory, m.cell_low, m.cell_ranks, item_bundles, _key_space(m)
    )
    _found("bundles", row, "its cells are out of order, or not where they are looked for")
    _found(
        "cell_value", _value_fault(m, "", np.zeros(0, np.int64), np.zeros(3, np.int64), counts), _VALUE_FAULT
    )
    _verify_ids("entry_id", _entries(m), counts)


_VALUE_FAULT: Final = "does not lead to the entries that follow"


def _value_fault(
    m: mx.Matrix, delta: str, owners: NDArray[np.int64], before: NDArray[np.int64], counts: Mapping[str, int]
) -> int:
    value, entry = (m.delta_value, m.delta_entry) if delta else (m.cell_value, m.cell_entry)
    ladders, records = (m.delta_ladders, m.delta_records) if delta else (m.ladders, m.records)
    names = (counts["price_class"], counts["branch"], counts["uom"])
    tables = (value, entry, ladders, records, m.bundles, m.books)
    return int(kernel.value_fault(_read_only(owners), *tables, *names, _read_only(before)))


def _entries(m: mx.Matrix) -> int:
    """How many entries the cells of the full load have, once they are known to be sound."""
    if not len(m.cell_value):
        return 0
    last = int(m.cell_value[-1])
    return int(m.cell_entry[-1]) + (1 if last >= 0 else -(last + 1) >> 1 & mx.CELL_COUNT_MAX)


def _verify_ids(table: str, entries: int, counts: Mapping[str, int]) -> None:
    _expect(f"{table}_offsets", counts[table] in (0, entries), "not one for each entry")


def _verify_delta(m: mx.Matrix, counts: Mapping[str, int]) -> None:
    """The delta: the same of its cells."""
    keys, space = m.delta_keys, _key_space(m)
    for array in ("delta_value", "delta_entry"):
        _expect(array, len(getattr(m, array)) == len(keys), "not one for each key")
    is_rising = not len(keys) or (keys[0] >= 0 and bool((keys[1:] > keys[:-1]).all()))
    _expect("delta_keys", is_rising and (not len(keys) or keys[-1] < len(m.bundles) * space), "out of order")
    bundle, key = np.divmod(keys, space)
    entries = _entries(m)
    before = np.array([len(m.ladders), len(m.records), entries], dtype=np.int64)
    _found("delta_value", _value_fault(m, "delta", bundle, before, counts), _VALUE_FAULT)
    level = np.where(
        key < len(m.items), mx.LEVEL_ITEM, np.where(key < space - 1, mx.LEVEL_GROUP, mx.LEVEL_EVERY)
    )
    is_empty = m.delta_value == -1 - (np.int64(len(m.records)) << (mx.CELL_COUNT_BITS + 1) | 1)
    is_found = is_empty | (m.bundles[bundle, mx.BUNDLE_LEVELS] & level != 0)
    _expect("delta_keys", is_found.all(), "a bundle does not know of its level")
    singles = int((m.delta_value >= 0).sum())
    _verify_ids("delta_entry_id", singles + len(m.delta_ladders) + len(m.delta_records), counts)
