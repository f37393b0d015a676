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

from pricegrid.loaders.compile.book_digests import Digests, entry_sums
from pricegrid.loaders.compile.decode import decode_cells, decode_delta, key_space, named_rows
from pricegrid.loaders.compile.entries import (
    Cells,
    basis_edges,
    delta_arrays,
    entry_rows,
    make_cells,
    mark_branches,
    sort_rows,
)
from pricegrid.loaders.compile.ordinals import Arrays, Int64s, SnapshotOrdinals, names_at, table_names
from pricegrid.loaders.validate.references import KnownNames
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.matrix import matrix_from_arrays
from pricegrid.pricing_engine.kernels.entries import find_cells, full_load_entries
from pricegrid.pricing_engine.model import Mode, RoundingMode

# what makes two entries the same one: all but method, value, price_per, basis, explicit_zero and entry_id
ENTRY_KEY = ["bundle", "key", "book_class", "uom", "minimum", "start", "end"]


@dataclass(frozen=True, slots=True)
class Delta:
    """The arrays that a delta changes, and what it did to how many entries."""

    arrays: Arrays
    added: int
    changed: int
    deleted: int
    book_difference: Digests
    """What it adds to the digest of each book (`loaders.compile.book_digests`)."""


class DeltaBase:
    """A snapshot that deltas are laid over. Entries are normalised price entries with a boolean column `deleted`."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self._arrays = arrays
        self._m = matrix_from_arrays(arrays)
        self._ordinals = SnapshotOrdinals(arrays)

    def known_names(self, entries: pl.DataFrame) -> KnownNames:
        """Those names of the snapshot that some entries refer to, and what else bears on these entries."""
        known = self._ordinals.known
        skus = known("sku", entries["sku"])
        edges = self._arrays["basis_edges"].view(np.int64)
        return KnownNames(
            skus,
            known("product_group", entries["product_group"]),
            known("book", pl.concat([entries["book_id"], entries["basis"]])),
            known("price_class", entries["price_class"]),
            self._units_of(skus),
            uoms=pl.Series(table_names(self._arrays, "uom"), dtype=pl.Utf8),
            branches=known("branch", entries["branch"]),
            rounding=self._rounding(),
            by_amount=names_at(self._arrays, "book", self._by_amount()),
            adding=names_at(self._arrays, "book", self._adding()),
            basis_edges=pl.DataFrame(
                {
                    "source": names_at(self._arrays, "book", edges[:, 0]),
                    "target": names_at(self._arrays, "book", edges[:, 1]),
                }
            ),
            closed=True,
            deletions_of_nothing=self.deletions_of_nothing,
        )

    def _by_amount(self) -> NDArray[np.int64]:
        """As in `KnownNames`, by ordinal."""
        return np.flatnonzero(self._m.books[:, mx.BOOK_BREAKS] & mx.ON_AMOUNT)

    def _adding(self) -> NDArray[np.int64]:
        """As in `KnownNames`, by ordinal."""
        m = self._m
        return np.flatnonzero(m.layers[m.books[:, mx.BOOK_LAYER], mx.LAYER_MODE] == Mode.ADD)

    def _rounding(self) -> pl.DataFrame:
        """As in `KnownNames`."""
        books = self._m.books
        coarse = np.flatnonzero((books[:, mx.BOOK_INCREMENT] > 1) & (books[:, mx.BOOK_ENDING] == 0))
        return pl.DataFrame(
            {
                "book_id": names_at(self._arrays, "book", coarse),
                "rounding_increment_micros": books[coarse, mx.BOOK_INCREMENT],
                "rounding_mode": [
                    RoundingMode(mode).name.lower() for mode in books[coarse, mx.BOOK_ROUNDING]
                ],
            },
            schema={"book_id": pl.Utf8, "rounding_increment_micros": pl.Int64, "rounding_mode": pl.Utf8},
        )

    def _units_of(self, skus: pl.Series) -> pl.DataFrame:
        """sku, uom: the base unit and every other unit of some items."""
        m, item = self._m, self._ordinals.find("sku", skus)
        runs = m.items[item, mx.ITEM_UNITS]
        start, end = mx.run_start(runs), mx.run_end(runs)
        owner = np.repeat(np.arange(len(item)), end - start)
        row = np.arange(len(owner)) + np.repeat(end - np.cumsum(end - start), end - start)
        units = np.append(mx.item_base_uom(m.items[item, mx.ITEM_NAMES]), m.uoms[row, mx.UOM_NAME])
        return pl.DataFrame(
            {
                "sku": skus.gather(np.append(np.arange(len(item)), owner)),
                "uom": names_at(self._arrays, "uom", units),
            }
        ).unique(maintain_order=True)

    def deletions_of_nothing(self, entries: pl.DataFrame) -> pl.Series:
        """Which rows delete an entry that is not there; (rows,) bool."""
        incoming = self._incoming(entries)
        found = incoming.join(self._touched(incoming), on=ENTRY_KEY, how="semi")["row"]
        return incoming.select(pl.col("deleted") & ~pl.col("row").is_in(found.implode())).to_series()

    def apply(self, entries: pl.DataFrame) -> Delta:
        """Lay entries over the snapshot: replaced where they have the key of one in force, else added, or deleted."""
        m = self._m
        incoming = self._incoming(entries)
        in_force = self._touched(incoming)
        matched = incoming.join(in_force, on=ENTRY_KEY, how="semi")["deleted"]
        kept = incoming.filter(~pl.col("deleted"))
        rows = pl.concat([in_force.join(incoming, on=ENTRY_KEY, how="anti"), kept.select(in_force.columns)])
        rows = sort_rows(rows, m.books)
        bundles = m.bundles.copy()
        cells = make_cells(rows, bundles, ladders_before=len(m.ladders), records_before=len(m.records))
        _mark_levels(m, bundles, cells)
        mark_branches(rows, bundles)
        keys, cells = _with_tombstones(m, cells, np.union1d(m.delta_keys, _cell_keys(m, incoming)))
        edges = np.concatenate([self._arrays["basis_edges"].view(np.int64), basis_edges(kept)])
        arrays = delta_arrays(keys, cells, rows["entry_id"], int(full_load_entries(m)))
        changed = int((~matched).sum())
        return Delta(
            {**arrays, "bundles": bundles, "basis_edges": np.unique(edges, axis=0)},
            added=kept.height - changed,
            changed=changed,
            deleted=int(matched.sum()),
            book_difference=self._sums(rows) - self._sums(in_force),
        )

    def _sums(self, rows: pl.DataFrame) -> Digests:
        books = pl.Series(table_names(self._arrays, "book"), dtype=pl.Utf8)
        return entry_sums(named_rows(self._arrays, rows), books)

    def _incoming(self, entries: pl.DataFrame) -> pl.DataFrame:
        named = entries.with_columns(pl.col("method").fill_null("net"), pl.col("value_micros").fill_null(0))
        rows = entry_rows(named, self._m.books, self._ordinals)
        return rows.with_columns(entries["deleted"]).with_row_index("row")

    def _touched(self, incoming: pl.DataFrame) -> pl.DataFrame:
        """The entries in force of every cell that this delta or the one before it touches."""
        m = self._m
        touched = np.setdiff1d(_cell_keys(m, incoming), m.delta_keys)
        bundle, key = np.divmod(touched, key_space(m))
        cells = np.empty(len(touched), dtype=np.int64)
        find_cells(m, bundle, key, cells)
        known = cells >= 0
        full_load = decode_cells(self._arrays, m, bundle[known], key[known], cells[known])
        return pl.concat([full_load, decode_delta(self._arrays, m)])


def _cell_keys(m: mx.Matrix, rows: pl.DataFrame) -> Int64s:
    keys: Int64s = rows["bundle"].to_numpy() * key_space(m) + rows["key"].to_numpy()
    return keys


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
