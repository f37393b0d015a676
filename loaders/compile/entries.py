"""Compile price entries: sorted into cells, each stored in the smallest form that says all of it.

A *cell* is what one bundle of books says of one item key. A single net price is stored as that price, a net ladder as
its breaks, and everything else as full records (`docs/snapshot-format.md`).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.loaders.compile.ordinals import Arrays, Int64s, Ordinals, codes, columns, ranges, string_table
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import index_cells
from pricegrid.pricing_engine.model import ALWAYS_US, COST, MICROS, NEVER_US, Method

_METHODS = [m.name.lower() for m in Method]
# the order of entries: by cell, then as `pricing_engine.kernels.cursor` visits them; total but for entries alike in all
ROW_ORDER = ["bundle", "key", "book_class", "uom", "minimum", "newest", "start", "end"]


@dataclass(frozen=True, slots=True)
class Cells:
    """Compiled entries before they are named: the place of each cell, its value, and what stands behind it."""

    bundle: Int64s
    key: Int64s
    value: Int64s
    first_entry: Int64s
    ladders: Int64s
    records: Int64s


def entry_arrays(
    entries: pl.DataFrame, books: Int64s, bundles: Int64s, items: Int64s, ordinals: Ordinals
) -> Arrays:
    """All cells of a full load with their directory, and an empty delta; fills in `bundles` and ITEM_BUNDLES."""
    rows = sort_rows(entry_rows(entries, books, ordinals), books)
    cells = make_cells(rows, bundles, choose_minimums=True)
    mark_branches(rows, bundles)
    return {
        "cell_value": cells.value,
        "cell_entry": cells.first_entry,
        "ladders": cells.ladders,
        "records": cells.records,
        **_directory(cells.bundle, cells.key, bundles, items, ordinals),
        **entry_names("entry_id", rows["entry_id"]),
        **delta_arrays(np.zeros(0, np.int64), make_cells(rows.clear(), bundles), rows["entry_id"].clear(), 0),
        "basis_edges": basis_edges(rows),
    }


def delta_arrays(keys: Int64s, cells: Cells, entry_ids: pl.Series, entries_before: int) -> Arrays:
    """The arrays of a delta; `entries_before` is the number of entries of the full load."""
    return {
        "delta_keys": keys,
        "delta_value": cells.value,
        "delta_entry": cells.first_entry + entries_before,
        "delta_ladders": cells.ladders,
        "delta_records": cells.records,
        **entry_names("delta_entry_id", entry_ids),
    }


def entry_names(table: str, entry_ids: pl.Series) -> Arrays:
    """The string table of entry ids; empty where the dataset gives none."""
    named = entry_ids.null_count() < len(entry_ids)
    return string_table(table, entry_ids.fill_null("") if named else entry_ids.clear())


def basis_edges(rows: pl.DataFrame) -> Int64s:
    """The pairs (book, basis book) that occur; (n, 2): what a delta is checked against for cycles (P7)."""
    based = rows.filter(pl.col("basis") >= mx.BASIS_BOOK)
    pairs = (
        based.select(pl.col("book_class") // 2**32, pl.col("basis") - mx.BASIS_BOOK).unique().sort(pl.all())
    )
    return pairs.to_numpy().astype(np.int64).reshape(-1, 2)


def entry_rows(entries: pl.DataFrame, books: Int64s, ordinals: Ordinals) -> pl.DataFrame:
    """Entries with names as ordinals: the columns of ROW_ORDER but `newest`, then value, method, zero, price_per,
    basis, entry_id.

    `book_class` is RECORD_BOOK_CLASS, `uom` its ordinal + 1, `basis` a code of `pricing_engine.arrays.matrix`,
    `price_per` 0 where it is that of the basis.
    """
    if len(books) > mx.BOOKS_MAX:
        raise ValueError(f"more than {mx.BOOKS_MAX} price books")
    book = ordinals.of("book", entries, "book_id")
    basis_book = ordinals.of("book", entries, "basis", beside=COST)
    on_cost = (entries["basis"] == COST).fill_null(value=False).to_numpy()
    basis = np.where(
        basis_book >= 0, basis_book + mx.BASIS_BOOK, np.where(on_cost, mx.BASIS_COST, mx.BASIS_NONE)
    )
    price_class = _counted("price classes", ordinals.of("price_class", entries, "price_class"), mx.CLASS_MASK)
    branch = _counted("branches", ordinals.of("branch", entries, "branch"), mx.BRANCH_MASK)
    return pl.DataFrame(
        {
            "bundle": books[book, mx.BOOK_BUNDLE],
            "key": ordinals.item_keys(entries),
            "book_class": book << 32 | price_class << mx.CLASS_SHIFT | branch,
            "uom": ordinals.of("uom", entries, "uom") + 1,
            "minimum": entries["min_quantity_micros"],
            "start": entries["valid_from_us"],
            "end": entries["valid_to_us"],
            "value": entries["value_micros"],
            "method": codes(entries, "method", _METHODS),
            "zero": entries["explicit_zero"].cast(pl.Int64),
            "price_per": entries["price_per"].fill_null(0),
            "basis": basis,
            "entry_id": entries["entry_id"],
        }
    )


def _counted(what: str, ordinals: Int64s, most: int) -> Int64s:
    """Ordinals + 1, 0 for none; ValueError where there is no room for one."""
    if len(ordinals) and ordinals.max() >= most:
        raise ValueError(f"more than {most} {what}, of which entries name the last ones")
    return ordinals + 1


def mark_branches(rows: pl.DataFrame, bundles: Int64s) -> None:
    """Let the lookup know which bundles have entries of branches: in others it need not look for them (P17)."""
    of_branch = rows.filter(pl.col("book_class") % (mx.BRANCH_MASK + 1) > 0)
    bundles[of_branch["bundle"].unique().to_numpy(), mx.BUNDLE_LEVELS] |= mx.HAS_BRANCHES


def sort_rows(rows: pl.DataFrame, books: Int64s) -> pl.DataFrame:
    """Rows in the order of cells; inside a cell by book, class, unit, highest break first, newest first (P4, P6)."""
    book_from = books[(rows["book_class"].to_numpy() >> 32), mx.BOOK_FROM]
    newest = np.maximum(rows["start"].to_numpy(), book_from)
    falling = {"newest", "minimum", "start"}
    return rows.with_columns(newest=newest).sort(
        ROW_ORDER, descending=[name in falling for name in ROW_ORDER], maintain_order=True
    )


def make_cells(
    rows: pl.DataFrame,
    bundles: Int64s,
    *,
    choose_minimums: bool = False,
    ladders_before: int = 0,
    records_before: int = 0,
) -> Cells:
    """Cells of sorted rows. `..._before` is where the ladders and records of the full load end, for a delta."""
    bundle, key, book_class = (rows[name].to_numpy() for name in ("bundle", "key", "book_class"))
    first = np.flatnonzero(np.diff(bundle, prepend=-1) | np.diff(key, prepend=-1))
    size = np.diff(first, append=len(rows))
    if len(size) and size.max() > mx.CELL_COUNT_MAX:
        raise ValueError(
            f"more than {mx.CELL_COUNT_MAX} entries of one item in books that always appear together"
        )
    plain_entry = (
        rows.select(
            (pl.col("method") == int(Method.NET))
            & (pl.col("uom") == 0)
            & (pl.col("start") == ALWAYS_US)
            & (pl.col("end") == NEVER_US)
            & (pl.col("zero") == (pl.col("value") == 0))
            & (pl.col("price_per") == 1)
        )
        .to_series()
        .to_numpy()
    )
    plain_entry = plain_entry & (book_class & 0xFFFFFFFF == 0) & (bundles[bundle, mx.BUNDLE_BOOK] >= 0)
    plain = np.logical_and.reduceat(plain_entry, first) if len(rows) else plain_entry
    minimum, cell_bundle = rows["minimum"].to_numpy()[first], bundle[first]
    if choose_minimums:
        _simple_minimums(minimum, plain & (size == 1), cell_bundle, bundles)
    simple = plain & (size == 1) & (minimum == bundles[cell_bundle, mx.BUNDLE_SIMPLE_MINIMUM])
    as_ladder, as_records = plain & ~simple, ~plain
    offset = np.zeros(len(first), dtype=np.int64)
    for kind, before in ((as_ladder, ladders_before), (as_records, records_before)):
        offset[kind] = (np.cumsum(size * kind) - size)[kind] + before
    value = -1 - (offset << (mx.CELL_COUNT_BITS + 1) | size << 1 | as_records)
    value[simple] = rows["value"].to_numpy()[first][simple]
    of_ladders = rows.filter(np.repeat(as_ladder, size))
    return Cells(
        cell_bundle,
        key[first],
        value,
        first,
        columns(of_ladders["minimum"].to_numpy(), of_ladders["value"].to_numpy()),
        _records(rows.filter(np.repeat(as_records, size))),
    )


def _simple_minimums(minimum: Int64s, candidate: NDArray[np.bool_], bundle: Int64s, bundles: Int64s) -> None:
    """Each bundle's commonest first break among its one-break cells: those cells need not store it."""
    if not candidate.any():
        return
    counted = (
        pl.DataFrame({"bundle": bundle[candidate], "minimum": minimum[candidate]})
        .group_by("bundle", "minimum")
        .len()
        .sort("bundle", "len", "minimum", descending=[False, True, False])
        .unique("bundle", keep="first", maintain_order=True)
    )
    bundles[counted["bundle"].to_numpy(), mx.BUNDLE_SIMPLE_MINIMUM] = counted["minimum"].to_numpy()


def _records(rows: pl.DataFrame) -> Int64s:
    """Entries that need all their fields; (n, 8) int64, 64 bytes each."""
    method, value = rows["method"].to_numpy(), rows["value"].to_numpy()
    hundred = np.int64(100 * MICROS)
    numerator = np.ones(len(rows), dtype=np.int64)
    denominator = np.ones(len(rows), dtype=np.int64)
    full = np.full(len(rows), hundred)
    for code, (over, under) in {
        Method.DISCOUNT_PCT: (hundred - value, full),
        Method.MULTIPLIER: (value, np.full(len(rows), MICROS)),
        Method.MARKUP_PCT: (hundred + value, full),
        Method.MARGIN_PCT: (full, hundred - value),
    }.items():
        chosen = method == code
        numerator[chosen], denominator[chosen] = over[chosen], under[chosen]
    common = np.gcd(numerator, denominator)
    packed = (
        rows["uom"].to_numpy()
        | method << mx.PACKED_METHOD_SHIFT
        | rows["zero"].to_numpy() << mx.PACKED_ZERO_SHIFT
        | rows["price_per"].to_numpy() << mx.PACKED_PER_SHIFT
        | rows["basis"].to_numpy() << mx.PACKED_BASIS_SHIFT
    )
    return columns(
        rows["minimum"].to_numpy(),
        value,
        rows["start"].to_numpy(),
        rows["end"].to_numpy(),
        rows["book_class"].to_numpy(),
        packed,
        numerator // common,
        denominator // common,
    )


def _directory(bundle: Int64s, key: Int64s, bundles: Int64s, items: Int64s, ordinals: Ordinals) -> Arrays:
    """Each bundle's pages of item keys, sized to hold few cells, and the low bits of the keys in them; the ranks of
    bundles that have a cell for most keys."""
    cell_start, cell_end = ranges(bundle, len(bundles))
    cells = cell_end - cell_start
    pages_wanted = np.maximum(1, cells // mx.DIRECTORY_CELLS_PER_PAGE)
    keys_per_page = np.maximum(1, ordinals.key_space // pages_wanted)
    shift = np.minimum(mx.DIRECTORY_SHIFT_MAX, [int(k).bit_length() - 1 for k in keys_per_page]).astype(
        np.int64
    )
    pages = ((ordinals.key_space - 1) >> shift) + 1
    starts = np.cumsum(pages + 1) - (pages + 1)
    page = starts[bundle] + (key >> shift[bundle])
    ends = np.cumsum(np.bincount(page + 1, minlength=int((pages + 1).sum())))
    every = ordinals.key_space - 1
    for flag, has in (
        (mx.LEVEL_ITEM, key < len(items)),
        (mx.LEVEL_GROUP, (key >= len(items)) & (key < every)),
        (mx.LEVEL_EVERY, key == every),
    ):
        bundles[np.unique(bundle[has]), mx.BUNDLE_LEVELS] |= flag
    bundles[:, mx.BUNDLE_SHIFT] = shift
    bundles[:, mx.BUNDLE_DIRECTORY] = starts
    bundles[:, mx.BUNDLE_CELLS] = cell_start
    ranks = np.zeros((_place_ranks(bundle, key, bundles, len(items), ordinals.key_space), 2), dtype=np.int64)
    index_cells(bundle, key, bundles, items, ranks)
    return {
        "cell_directory": (ends - np.repeat(cell_start, pages + 1)).astype(np.uint32),
        "cell_ranks": ranks,
        "cell_low": (key & ((np.int64(1) << shift[bundle]) - 1)).astype(np.uint16),
    }


def _place_ranks(bundle: Int64s, key: Int64s, bundles: Int64s, items: int, key_space: int) -> int:
    """Fill BUNDLE_RANKS and BUNDLE_ABOVE; how many rows `cell_ranks` has."""
    rows = 0
    above = key >= items
    for column, first, end, among in (
        (mx.BUNDLE_RANKS, 0, items, ~above),
        (mx.BUNDLE_ABOVE, items, key_space, above),
    ):
        cells = np.bincount(bundle[among], minlength=len(bundles))
        has_ranks = (cells > 0) & (cells * mx.RANKS_KEYS_PER_CELL >= end - first)
        blocks = (max(first, end - 1) >> 6) - (first >> 6) + 1
        starts = rows + (np.cumsum(has_ranks) - 1) * blocks - (first >> 6)
        bundles[:, column] = np.where(has_ranks, starts, mx.NO_RANKS)
        rows += int(has_ranks.sum()) * blocks
    return rows
