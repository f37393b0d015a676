"""Delta loads: new, changed and deleted price entries laid over a snapshot, at a cost of what changed.

The cells that a delta touches are decoded, edited and compiled again into the small `delta_...` arrays; a lookup asks
those first. Every other array is the full load's own file, linked, not copied. A delta on a delta replaces it: both
lie on the same full load.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loaders.compile_entries import Cells, basis_edges, delta_arrays, entry_rows, make_cells, sort_rows
from loaders.decode_prices import decode_cells, decode_delta, key_space
from loaders.ordinals import Arrays, Int64s, Ordinals
from pricing_engine import matrix as mx
from pricing_engine.decode import full_load_entries
from pricing_engine.entries import find_cells
from pricing_engine.matrix import matrix_from_arrays

# what makes two entries the same one: all but method, value, basis, explicit_zero and entry_id
ENTRY_KEY = ["bundle", "key", "book_class", "uom", "minimum", "start", "end"]


@dataclass(frozen=True, slots=True)
class Delta:
    """The arrays that a delta changes, and what it did."""

    arrays: Arrays
    added: int
    changed: int
    deleted: int
    not_found: pl.DataFrame  # rows to delete that no entry matches, with the columns of the input


def apply_delta(arrays: Mapping[str, NDArray[np.generic]], entries: pl.DataFrame) -> Delta:
    """Lay `entries` (normalised price entries with a boolean column `deleted`) over a snapshot's arrays."""
    m = matrix_from_arrays(arrays)
    ordinals = Ordinals.from_arrays(arrays)
    incoming = entry_rows(entries, m.books, ordinals).with_columns(entries["deleted"]).with_row_index("row")
    in_force = _touched_entries(arrays, m, incoming)
    matched = incoming.join(in_force, on=ENTRY_KEY, how="semi")
    deleted = pl.col("deleted")
    lost = incoming.filter(deleted).join(matched, on="row", how="anti")["row"]
    rows = pl.concat(
        [
            in_force.join(incoming, on=ENTRY_KEY, how="anti"),
            incoming.filter(~deleted).select(in_force.columns),
        ]
    )
    touched = np.union1d(m.delta_keys, _cell_keys(m, incoming))
    bundles = m.bundles.copy()
    rows = sort_rows(rows, m.books)
    cells = make_cells(rows, bundles, ladders_before=len(m.ladders), records_before=len(m.records))
    _mark_levels(m, bundles, cells)
    keys, cells = _with_tombstones(m, cells, touched)
    changed = delta_arrays(keys, cells, rows["entry_id"], full_load_entries(m))
    edges = np.unique(np.concatenate([arrays["basis_edges"].view(np.int64), basis_edges(incoming)]), axis=0)
    return Delta(
        {**changed, "bundles": bundles, "basis_edges": edges},
        added=len(incoming.filter(~deleted)) - len(matched.filter(~deleted)),
        changed=len(matched.filter(~deleted)),
        deleted=len(matched.filter(deleted)),
        not_found=entries[lost.to_list()],
    )


def _cell_keys(m: mx.Matrix, rows: pl.DataFrame) -> Int64s:
    keys: Int64s = rows["bundle"].to_numpy() * key_space(m) + rows["key"].to_numpy()
    return keys


def _touched_entries(
    arrays: Mapping[str, NDArray[np.generic]], m: mx.Matrix, incoming: pl.DataFrame
) -> pl.DataFrame:
    """The entries in force of every cell that this delta or the one before it touches."""
    touched = np.setdiff1d(_cell_keys(m, incoming), m.delta_keys)
    bundle, key = np.divmod(touched, key_space(m))
    cells = np.empty(len(touched), dtype=np.int64)
    find_cells(m, bundle, key, cells)
    known = cells >= 0
    full_load = decode_cells(arrays, m, bundle[known], key[known], cells[known])
    return pl.concat([full_load, decode_delta(arrays, m)])


def _with_tombstones(m: mx.Matrix, cells: Cells, touched: Int64s) -> tuple[Int64s, Cells]:
    """Keys and cells of the delta in order; a touched cell with no entry left stays, to hide the full load's."""
    keys = cells.bundle * key_space(m) + cells.key
    emptied = np.setdiff1d(touched, keys)
    nothing = -1 - (np.int64(len(m.records)) << (mx.CELL_COUNT_BITS + 1) | 1)
    keys = np.append(keys, emptied)
    order = np.argsort(keys, kind="stable")
    value = np.append(cells.value, np.full(len(emptied), nothing))[order]
    first_entry = np.append(cells.first_entry, np.zeros(len(emptied), dtype=np.int64))[order]
    return keys[order], replace(cells, value=value, first_entry=first_entry)


def _mark_levels(m: mx.Matrix, bundles: Int64s, cells: Cells) -> None:
    """Let the lookup know of levels that a bundle has only since the delta."""
    for flag, has in (
        (mx.LEVEL_ITEM, cells.key < len(m.items)),
        (mx.LEVEL_GROUP, (cells.key >= len(m.items)) & (cells.key < key_space(m) - 1)),
        (mx.LEVEL_EVERY, cells.key == key_space(m) - 1),
    ):
        bundles[np.unique(cells.bundle[has]), mx.BUNDLE_LEVELS] |= flag
