"""The compiled form of the price side: names as string tables, rows as flat arrays of ordinals and micros.

The layout of every array is described in `docs/snapshot-format.md`; the column numbers below are its only other copy.
A `Matrix` is what the kernels take: read-only arrays, memory-mapped or not, all of the dtypes given here.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.jit import register_jitable

Int64s = NDArray[np.int64]
Int64 = Any
"""An int64, or an array of them."""

# items (n, 8): all that a lookup reads of an item, one cache line. The first four words are its SKU, zeros after it,
# with its length as the last byte, where it has SKU_INLINE_MAX bytes at most; SKU_ELSEWHERE as that byte where not
ITEM_SKU, ITEM_NAMES, ITEM_UNITS, ITEM_COSTS, ITEM_BUNDLES = 0, 4, 5, 6, 7
SKU_INLINE_MAX, SKU_ELSEWHERE = 31, 255
# ITEM_NAMES: bits 0-30 product group + 1, 31 the ERP prices it, 32-62 base unit
GROUP_MASK, ERP_SHIFT, BASE_UOM_SHIFT = 0x7FFFFFFF, 31, 32
# ITEM_UNITS, ITEM_COSTS: first row of `uoms` or `costs` << 24 | how many
RUN_BITS, RUN_MAX = 24, 2**24 - 1
# ITEM_BUNDLES: bit `bundle & 63` is set for each bundle that has a cell of the item itself (a delta's do not count)
# uoms (n, 3): sorted by (item, uom)
UOM_NAME, UOM_NUMERATOR, UOM_DENOMINATOR = range(3)
# customers (n, 4); CUSTOMER_CLASSES: first row of `customer_classes` << 24 | how many, those of an ancestor too (P18)
CUSTOMER_PARENT, CUSTOMER_CLASSES, CUSTOMER_CURRENCY, CUSTOMER_BRANCH = range(4)
# customer_classes (n, 2): first one row for each class, the run of all customers with that class alone; then runs of
# several in order, those of equal priority with equal ranks
CLASS_NAME, CLASS_RANK = range(2)
# layers (n, 2): in the order of search, those of mode `add` (P16) after all others
LAYER_MODE, LAYER_LADDER = range(2)
# books (n, 14): in the order of book_id
(
    BOOK_LAYER,
    BOOK_CURRENCY,
    BOOK_FROM,
    BOOK_TO,
    BOOK_BELOW_MINIMUM,
    BOOK_INCREMENT,
    BOOK_ROUNDING,
    BOOK_FLOOR_NUMERATOR,
    BOOK_FLOOR_DENOMINATOR,
    BOOK_BUNDLE,
    BOOK_WINDOWS,
    BOOK_ENDING,  # below BOOK_INCREMENT: what its prices end in (P16)
    BOOK_BREAKS,  # bits: of breaks that the kernels leave to the reference (P19)
    BOOK_GROUP,  # its break group, -1 for none
) = range(14)
GRADUATED, ON_AMOUNT, GROUPED = 1, 2, 4  # bits of BOOK_BREAKS
# item_groups (n,): the break group + 1 of each item, its own or a product group's (P19); (0,) where no item has one
# agreements (n, 5): sorted by (audience, layer, bundle, book)
AGREEMENT_BOOK, AGREEMENT_PRIORITY, AGREEMENT_FROM, AGREEMENT_TO, AGREEMENT_INHERIT = range(5)
# attachments (n, 4): one bundle of an audience; its agreements are [start, end)
ATTACHMENT_LAYER, ATTACHMENT_BUNDLE, ATTACHMENT_START, ATTACHMENT_END = range(4)
# bundles (n, 8): BUNDLE_RANKS and BUNDLE_ABOVE lead to the ranks of the keys of items and of those above them (product
# groups, every item), as row - (first key >> 6) of `cell_ranks`; NO_RANKS where a cell is found by its page
(
    BUNDLE_SHIFT,
    BUNDLE_DIRECTORY,
    BUNDLE_CELLS,
    BUNDLE_ABOVE,
    BUNDLE_SIMPLE_MINIMUM,
    BUNDLE_BOOK,
    BUNDLE_LEVELS,
    BUNDLE_RANKS,
) = range(8)
# bits of BUNDLE_LEVELS: it has entries of items, of product groups, of every item; entries of branches
LEVEL_ITEM, LEVEL_GROUP, LEVEL_EVERY, HAS_BRANCHES = 1, 2, 4, 8
# cell_ranks (n, 2): which of 64 keys have a cell, and how many cells of the bundle come before them
RANK_BITS, RANK_BEFORE = range(2)
# records (n, 8): an entry that needs all of its fields, one cache line
(
    RECORD_MINIMUM,
    RECORD_VALUE,
    RECORD_FROM,
    RECORD_TO,
    RECORD_BOOK_CLASS,
    RECORD_PACKED,
    RECORD_NUMERATOR,
    RECORD_DENOMINATOR,
) = range(8)
# RECORD_BOOK_CLASS: bits 0-13 branch + 1 (0: all), 14-31 price class + 1 (0: all), 32-62 book
CLASS_SHIFT = 14
BRANCH_MASK, CLASS_MASK = 2**14 - 1, 2**18 - 1
# RECORD_PACKED: bits 0-15 uom ordinal + 1 (0: per base unit), 16-19 method, 20 explicit_zero, 21-40 price_per (0: that
# of the basis book), 41-62 basis code
PACKED_METHOD_SHIFT, PACKED_ZERO_SHIFT, PACKED_PER_SHIFT, PACKED_BASIS_SHIFT = 16, 20, 21, 41
PER_MASK = 2**20 - 1
BASIS_NONE, BASIS_COST, BASIS_BOOK = 0, 1, 2  # from BASIS_BOOK on: book ordinal + 2
BOOKS_MAX: Final = 2**22 - BASIS_BOOK
UOM_NAMES_MAX: Final = 65_535
# ladders (n, 2): a break and its net price per base unit, highest break first
LADDER_MINIMUM, LADDER_PRICE = range(2)
# cell_value: a net price >= 0, or -1 - (offset << 21 | count << 1 | is_records); delta_value: the same, with offsets
# that go on where those of the full load end
CELL_COUNT_BITS, CELL_COUNT_MAX = 20, 2**20 - 1
# costs (n, 4): sorted by (item, branch, from); branch -1 is the row without one
COST_BRANCH, COST_FROM, COST_MICROS, COST_CURRENCY = range(4)
# rates (n, 4): sorted by (pair, from); pair = from_currency << 32 | to_currency
RATE_PAIR, RATE_FROM, RATE_NUMERATOR, RATE_DENOMINATOR = range(4)
# entitlements (n, 2): sorted by key = owner * key_space + item key; owner is a customer, or a class after them
ENTITLEMENT_KEY, ENTITLEMENT_ALLOWED = range(2)

BUNDLE_MERGE_MIN: Final = 5  # books that always appear together are merged from this many on
DIRECTORY_CELLS_PER_PAGE: Final = 8
DIRECTORY_SHIFT_MAX: Final = 16  # what a u16 can tell apart
RANKS_KEYS_PER_CELL: Final = 4  # with more keys to a cell there are no ranks
NO_RANKS: Final = -(2**62)

NAME_TABLES: Final = (
    "sku",
    "uom",
    "customer",
    "product_group",
    "price_class",
    "currency",
    "branch",
    "layer",
    "book",
    "entry_id",
    "delta_entry_id",
    "break_group",
)


class Matrix(NamedTuple):
    """The kernels' view of a snapshot: read-only arrays, int64 unless noted otherwise."""

    sku_bytes: NDArray[np.uint8]
    sku_offsets: Int64s
    sku_slots: Int64s
    customer_bytes: NDArray[np.uint8]
    customer_offsets: Int64s
    customer_slots: Int64s
    uom_bytes: NDArray[np.uint8]
    uom_offsets: Int64s
    uom_slots: Int64s
    items: Int64s
    item_groups: Int64s
    uoms: Int64s
    group_parents: Int64s
    customers: Int64s
    customer_classes: Int64s
    layers: Int64s
    books: Int64s
    audience_starts: Int64s
    attachments: Int64s
    agreements: Int64s
    bundles: Int64s
    cell_directory: NDArray[np.uint32]
    cell_low: NDArray[np.uint16]
    cell_ranks: Int64s
    cell_value: Int64s
    cell_entry: Int64s
    ladders: Int64s
    records: Int64s
    delta_keys: Int64s
    delta_value: Int64s
    delta_entry: Int64s
    delta_ladders: Int64s
    delta_records: Int64s
    costs: Int64s
    rates: Int64s
    entitlements: Int64s
    currency_bytes: NDArray[np.uint8]
    currency_offsets: Int64s
    branch_bytes: NDArray[np.uint8]
    branch_offsets: Int64s
    book_bytes: NDArray[np.uint8]
    book_offsets: Int64s
    layer_bytes: NDArray[np.uint8]
    layer_offsets: Int64s
    entry_id_bytes: NDArray[np.uint8]
    entry_id_offsets: Int64s
    delta_entry_id_bytes: NDArray[np.uint8]
    delta_entry_id_offsets: Int64s


TABLES: Final[Mapping[str, int]] = {
    "items": 8,
    "uoms": 3,
    "customers": 4,
    "customer_classes": 2,
    "layers": 2,
    "books": 14,
    "attachments": 4,
    "agreements": 5,
    "bundles": 8,
    "cell_ranks": 2,
    "costs": 4,
    "rates": 4,
    "entitlements": 2,
    "ladders": 2,
    "records": 8,
    "delta_ladders": 2,
    "delta_records": 8,
}
"""Columns of the arrays of two dimensions; all others have one."""
DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "sku_bytes": np.uint8,
    "customer_bytes": np.uint8,
    "uom_bytes": np.uint8,
    "currency_bytes": np.uint8,
    "branch_bytes": np.uint8,
    "book_bytes": np.uint8,
    "layer_bytes": np.uint8,
    "entry_id_bytes": np.uint8,
    "delta_entry_id_bytes": np.uint8,
    "cell_directory": np.uint32,
    "cell_low": np.uint16,
}


@register_jitable
def item_group(names: Int64) -> Int64:
    """The product group in ITEM_NAMES, -1 for none; for a word or an array of them, as the next four."""
    return (names & GROUP_MASK) - 1


@register_jitable
def item_base_uom(names: Int64) -> Int64:
    """The base unit in ITEM_NAMES."""
    return names >> BASE_UOM_SHIFT


@register_jitable
def is_erp_item(names: Int64) -> Int64:
    """1 if the ERP prices the item, else 0."""
    return (names >> ERP_SHIFT) & 1


@register_jitable
def run_start(run: Int64) -> Int64:
    """The first row of ITEM_UNITS, ITEM_COSTS or CUSTOMER_CLASSES."""
    return run >> RUN_BITS


@register_jitable
def run_end(run: Int64) -> Int64:
    """The row after the last of ITEM_UNITS, ITEM_COSTS or CUSTOMER_CLASSES."""
    return (run >> RUN_BITS) + (run & RUN_MAX)


def matrix_from_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> Matrix:
    """The kernels' view of a snapshot's arrays; raises KeyError or TypeError for a missing or mistyped one."""
    fields = {}
    for name in Matrix._fields:
        array = np.asarray(arrays[name])
        dtype, columns = np.dtype(DTYPES.get(name, np.int64)), (TABLES[name],) if name in TABLES else ()
        if array.dtype != dtype or array.ndim != 1 + len(columns) or array.shape[1:] != columns:
            raise TypeError(f"array {name}: {array.dtype} {array.shape}, not {dtype} {('rows', *columns)}")
        if not array.flags.c_contiguous:
            raise TypeError(f"array {name} is not in C order")
        view = array.view()
        view.flags.writeable = False
        fields[name] = view
    return Matrix(**fields)
