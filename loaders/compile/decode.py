"""From a snapshot's arrays back to price entries as a table: for gates, `snapshots diff` and delta loads."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.loaders.compile.ordinals import Int64s, names_at, table_names
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.matrix import matrix_from_arrays
from pricegrid.pricing_engine.kernels.entries import full_load_entries
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US, Method

Snapshot = Mapping[str, NDArray[np.generic]]


def decode_entries(arrays: Snapshot) -> pl.DataFrame:
    """Every entry of a snapshot: book_id, sku, product_group, price_class, branch, uom, min_quantity_micros,

    valid_from_us, valid_to_us, method, value_micros, price_per, basis, explicit_zero, entry_id; null where blank.
    """
    return named_rows(arrays, decode_rows(arrays))


def decode_book(arrays: Snapshot, book: int) -> pl.DataFrame:
    """The entries of one book, given its ordinal, as `decode_entries`; only the cells of its bundle are decoded."""
    m = matrix_from_arrays(arrays)
    bundle, key = cell_places(m)
    changed = np.isin(bundle * key_space(m) + key, m.delta_keys)
    kept = np.flatnonzero((bundle == m.books[book, mx.BOOK_BUNDLE]) & ~changed)
    rows = pl.concat([decode_cells(arrays, m, bundle[kept], key[kept], kept), decode_delta(arrays, m)])
    return named_rows(arrays, rows.filter(pl.col("book_class") // 2**32 == book))


def named_rows(arrays: Snapshot, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of ordinals with names in their place, as `decode_entries`."""
    m = matrix_from_arrays(arrays)
    items, groups = len(m.items), len(m.group_parents)
    key = pl.col("key")
    book = pl.col("book_class") // 2**32
    named = {
        "book_id": ("book", book),
        "sku": ("sku", pl.when(key < items).then(key)),
        "product_group": (
            "product_group",
            pl.when(key.is_between(items, items + groups - 1)).then(key - items),
        ),
        "price_class": ("price_class", pl.col("book_class") % 2**32 // 2**mx.CLASS_SHIFT - 1),
        "branch": ("branch", pl.col("book_class") % (mx.BRANCH_MASK + 1) - 1),
        "uom": ("uom", pl.col("uom") - 1),
        "basis_book": ("book", pl.col("basis") - mx.BASIS_BOOK),
    }
    out = rows.select(
        *(expression.alias(name) for name, (_, expression) in named.items()),
        pl.col("minimum").alias("min_quantity_micros"),
        pl.col("start").alias("valid_from_us"),
        pl.col("end").alias("valid_to_us"),
        pl.col("method").replace_strict(
            range(len(Method)), [m.name.lower() for m in Method], return_dtype=pl.Utf8
        ),
        pl.col("value").alias("value_micros"),
        pl.when(pl.col("price_per") > 0).then("price_per"),
        pl.col("basis"),
        (pl.col("zero") == 1).alias("explicit_zero"),
        pl.col("entry_id"),
    )
    for name, (table, _) in named.items():
        names = pl.Series("name", table_names(arrays, table), dtype=pl.Utf8)
        place = out[name]
        valid = place.is_not_null() & (place >= 0)
        gathered = names.gather(place.filter(valid)) if len(names) else names
        text = pl.Series(name, [None], dtype=pl.Utf8).new_from_index(0, len(out))
        out = out.with_columns(text.scatter(valid.arg_true(), gathered).alias(name))
    return out.with_columns(
        pl.when(pl.col("basis") == mx.BASIS_COST)
        .then(pl.lit("cost"))
        .otherwise(pl.col("basis_book"))
        .alias("basis")
    ).drop("basis_book")


def decode_rows(arrays: Snapshot) -> pl.DataFrame:
    """Every entry in force in the columns of `loaders.compile.entries.entry_rows`: the full load's, the delta's instead
    where it has a cell."""
    m = matrix_from_arrays(arrays)
    bundle, key = cell_places(m)
    changed = np.isin(bundle * key_space(m) + key, m.delta_keys)
    kept = np.flatnonzero(~changed)
    return pl.concat([decode_cells(arrays, m, bundle[kept], key[kept], kept), decode_delta(arrays, m)])


def key_space(m: mx.Matrix) -> int:
    """Item keys: items, product groups, every item."""
    return len(m.items) + len(m.group_parents) + 1


def cell_places(m: mx.Matrix) -> tuple[Int64s, Int64s]:
    """Bundle and item key of every cell of the full load, from the directory."""
    cells = np.diff(m.bundles[:, mx.BUNDLE_CELLS], append=len(m.cell_value))
    bundle = np.repeat(np.arange(len(m.bundles)), cells)
    if not len(bundle):
        return bundle, bundle
    directory = m.cell_directory.astype(np.int64)
    starts = m.bundles[:, mx.BUNDLE_DIRECTORY]
    owner = np.searchsorted(starts, np.arange(len(directory)), "right") - 1
    counts = np.diff(directory, append=0)
    counts[np.append(starts[1:], len(directory)) - 1] = 0
    page = np.repeat(np.arange(len(directory)) - starts[owner], counts)
    return bundle, page << m.bundles[bundle, mx.BUNDLE_SHIFT] | m.cell_low


def decode_delta(arrays: Snapshot, m: mx.Matrix) -> pl.DataFrame:
    """The entries of the delta's cells."""
    bundle, key = np.divmod(m.delta_keys, key_space(m))
    before = (len(m.ladders), len(m.records), int(full_load_entries(m)))
    return _decode(
        m,
        bundle,
        key,
        m.delta_value,
        m.delta_entry,
        (m.delta_ladders, m.delta_records),
        before,
        arrays,
        "delta_entry_id",
    )


def decode_cells(arrays: Snapshot, m: mx.Matrix, bundle: Int64s, key: Int64s, cells: Int64s) -> pl.DataFrame:
    """The entries of some cells of the full load, given their bundles and keys."""
    return _decode(
        m,
        bundle,
        key,
        m.cell_value[cells],
        m.cell_entry[cells],
        (m.ladders, m.records),
        (0, 0, 0),
        arrays,
        "entry_id",
    )


def _decode(
    m: mx.Matrix,
    bundle: Int64s,
    key: Int64s,
    value: Int64s,
    first_entry: Int64s,
    behind: tuple[Int64s, Int64s],
    before: tuple[int, int, int],
    arrays: Snapshot,
    ids_table: str,
) -> pl.DataFrame:
    payload = -(value + 1)
    simple = value >= 0
    as_records = ~simple & (payload & 1 == 1)
    size = np.where(simple, 1, payload >> 1 & mx.CELL_COUNT_MAX)
    cell = np.repeat(np.arange(len(value)), size)
    within = np.arange(len(cell)) - np.repeat(np.cumsum(size) - size, size)
    place = (payload >> (mx.CELL_COUNT_BITS + 1))[cell] + within
    rows = np.zeros((len(cell), 8), dtype=np.int64)
    rows[:, mx.RECORD_FROM], rows[:, mx.RECORD_TO] = ALWAYS_US, NEVER_US
    of_simple, of_records = simple[cell], as_records[cell]
    of_ladder = ~of_simple & ~of_records
    rows[of_simple, mx.RECORD_MINIMUM] = m.bundles[bundle, mx.BUNDLE_SIMPLE_MINIMUM][cell][of_simple]
    rows[of_simple, mx.RECORD_VALUE] = value[cell][of_simple]
    ladders, records = behind
    rows[of_ladder, :2] = ladders[place[of_ladder] - before[0]]
    rows[of_records] = records[place[of_records] - before[1]]
    single = ~of_records
    rows[single, mx.RECORD_BOOK_CLASS] = m.bundles[bundle, mx.BUNDLE_BOOK][cell][single] << 32
    is_zero = rows[single, mx.RECORD_VALUE] == 0
    rows[single, mx.RECORD_PACKED] = is_zero << mx.PACKED_ZERO_SHIFT | 1 << mx.PACKED_PER_SHIFT
    packed = rows[:, mx.RECORD_PACKED]
    entry = first_entry[cell] + within - before[2]
    return pl.DataFrame(
        {
            "bundle": bundle[cell],
            "key": key[cell],
            "book_class": rows[:, mx.RECORD_BOOK_CLASS],
            "uom": packed & 0xFFFF,
            "minimum": rows[:, mx.RECORD_MINIMUM],
            "start": rows[:, mx.RECORD_FROM],
            "end": rows[:, mx.RECORD_TO],
            "value": rows[:, mx.RECORD_VALUE],
            "method": packed >> mx.PACKED_METHOD_SHIFT & 15,
            "zero": packed >> mx.PACKED_ZERO_SHIFT & 1,
            "price_per": packed >> mx.PACKED_PER_SHIFT & mx.PER_MASK,
            "basis": packed >> mx.PACKED_BASIS_SHIFT,
            "entry_id": names_at(arrays, ids_table, entry),
        }
    )
