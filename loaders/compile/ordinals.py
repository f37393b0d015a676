"""Names to ordinals, and the string tables that turn ordinals back into names."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.columnar.names import find_sorted_names
from pricegrid.pricing_engine.arrays import matrix as mx

Frames = Mapping[str, pl.DataFrame]
Arrays = dict[str, NDArray[np.generic]]
Int64s = NDArray[np.int64]

FEW: Final = 256
"""So many names are looked at one by one: a query of Polars takes longer, and a load has hundreds of them."""


def string_table(table: str, names: Sequence[str] | pl.Series) -> Arrays:
    """`TABLE_bytes` (u8) and `TABLE_offsets` (int64, n + 1) of names in the order given."""
    offsets = np.zeros(len(names) + 1, dtype=np.int64)
    if len(names) <= FEW:
        texts = [name.encode() for name in names]
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        joined = b"".join(texts)
    else:
        series = pl.Series("name", names, dtype=pl.Utf8)
        np.cumsum(series.str.len_bytes().to_numpy(), out=offsets[1:])
        joined = series.str.join("").item().encode()
    return {f"{table}_bytes": np.frombuffer(joined, dtype=np.uint8).copy(), f"{table}_offsets": offsets}


def table_names(arrays: Mapping[str, NDArray[np.generic]], table: str) -> list[str]:
    """The names of a string table, in order."""
    text, offsets = arrays[f"{table}_bytes"], np.asarray(arrays[f"{table}_offsets"], dtype=np.int64)
    if len(offsets) == 1:
        return []
    names = np.insert(text, offsets[1:-1], 0).tobytes().decode().split("\0")  # one pass, no loop over names
    if len(names) == len(offsets) - 1:
        return names
    whole = text.tobytes()  # a name holds the separator
    return [whole[start:end].decode() for start, end in pairwise(offsets.tolist())]


def names_at(arrays: Mapping[str, NDArray[np.generic]], table: str, ordinals: Int64s) -> pl.Series:
    """The names at some places of a string table, null where they are empty."""
    offsets = arrays[f"{table}_offsets"]
    if len(offsets) == 1:
        return pl.Series("name", [None] * len(ordinals), dtype=pl.Utf8)
    text = arrays[f"{table}_bytes"]
    starts, ends = offsets[ordinals].tolist(), offsets[ordinals + 1].tolist()
    names = [text[a:b].tobytes().decode() or None for a, b in zip(starts, ends, strict=True)]
    return pl.Series("name", names, dtype=pl.Utf8)


class Names:
    """Names in some order, each once; where each stands."""

    def __init__(self, names: pl.Series) -> None:
        self.series = names
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.series)

    def places(self, wanted: pl.Series) -> Int64s:
        """Where some names stand; -1 for null and for one that is none of these."""
        if max(len(wanted), len(self)) <= FEW:
            if not self._places:
                self._places = {name: place for place, name in enumerate(self.series)}
            return np.array([self._places.get(name, -1) for name in wanted], dtype=np.int64)
        known = pl.DataFrame({"name": self.series, "place": pl.int_range(len(self), eager=True)})
        asked = wanted.cast(pl.Utf8).alias("name").to_frame()
        joined = asked.join(known, on="name", how="left", maintain_order="left")
        return joined["place"].fill_null(-1).to_numpy().astype(np.int64)


class Ordinals:
    """Every name's place in its table: byte order, but for layers, which stand in the order of search."""

    def __init__(self, names: dict[str, pl.Series]) -> None:
        self._check(names["uom"].len())
        self.names = names
        self._tables = {table: Names(each) for table, each in names.items()}

    @staticmethod
    def _check(units: int) -> None:
        if units > mx.UOM_NAMES_MAX:
            raise ValueError(f"more than {mx.UOM_NAMES_MAX} distinct units of measure")

    @classmethod
    def from_frames(cls, frames: Frames) -> "Ordinals":
        """The ordinals of every name that the frames of a dataset use."""
        entries, customers = frames["price_entries"], frames["customers"]
        everything = {
            "sku": [frames["items"]["sku"]],
            "uom": [frames["items"]["base_uom"], frames["uoms"]["uom"], entries["uom"]],
            "customer": [customers["customer_id"]],
            "product_group": [frames["product_groups"]["product_group"]],
            "price_class": [
                customers["price_class"],
                frames["customer_classes"]["price_class"],
                entries["price_class"],
                frames["agreements"]["price_class"],
                frames["entitlements"]["price_class"],
            ],
            "currency": [
                customers["currency"],
                frames["price_books"]["currency"],
                frames["costs"]["currency"],
                frames["exchange_rates"]["from_currency"],
                frames["exchange_rates"]["to_currency"],
            ],
            "branch": [
                customers["branch"],
                frames["costs"]["branch"],
                entries["branch"],
                frames["branches"]["branch"],
            ],
            "book": [frames["price_books"]["book_id"]],
            "break_group": [
                frames[name]["break_group"] for name in ("items", "product_groups", "price_books")
            ],
        }
        names = {table: sorted_names(columns) for table, columns in everything.items()}
        adds = pl.col("mode") == "add"  # their surcharges come after all prices (P16)
        names["layer"] = frames["layers"].sort(adds, "rank", "layer")["layer"].alias("name")
        return cls(names)

    def count(self, table: str) -> int:
        """How many names a table has."""
        return self.names[table].len()

    def find(self, table: str, names: pl.Series) -> Int64s:
        """The ordinals of some names, none null; -1 for one that the table doesn't have; (names,) int64."""
        return self._tables[table].places(names)

    def of(self, table: str, frame: pl.DataFrame, column: str, *, beside: str | None = None) -> Int64s:
        """The ordinals of a column's names, -1 for null and for the word `beside`; (rows,) int64.

        KeyError for any other name that the table doesn't have: taken for null it would say something else.
        """
        cells = frame[column]
        ordinals = np.full(len(cells), -1, dtype=np.int64)
        if cells.null_count() == len(cells):
            return ordinals
        names = cells.drop_nulls() if cells.null_count() else cells
        found = self.find(table, names)
        if (found < 0).any():
            lost = names.filter(pl.Series(found < 0)).unique(maintain_order=True)
            for name in lost:
                if name != beside:
                    raise KeyError(f"{column} {name!r} is not among the names of {table}")
        if len(names) == len(cells):
            return found
        ordinals[cells.is_not_null().to_numpy()] = found
        return ordinals

    def place(self, table: str, frame: pl.DataFrame, column: str) -> Int64s:
        """The permutation that puts a frame's rows in the order of its names."""
        return np.argsort(self.of(table, frame, column), kind="stable")

    @property
    def key_space(self) -> int:
        """Item keys: items, then product groups, then one key for every item."""
        return self.count("sku") + self.count("product_group") + 1

    def item_keys(self, frame: pl.DataFrame) -> Int64s:
        """The key that each row speaks of by `sku`, `product_group` or neither; (rows,) int64."""
        sku = self.of("sku", frame, "sku")
        group = self.of("product_group", frame, "product_group")
        items = self.count("sku")
        every = self.key_space - 1
        return np.where(sku >= 0, sku, np.where(group >= 0, items + group, every))


class SnapshotOrdinals(Ordinals):
    """The ordinals of a snapshot that exists, looked up in its string tables: a name costs its own search, and none
    that isn't asked for costs anything. Not for layers, which are not in byte order."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self._arrays = arrays
        self._check(self.count("uom"))

    def count(self, table: str) -> int:
        """How many names a table has."""
        return len(self._arrays[f"{table}_offsets"]) - 1

    def find(self, table: str, names: pl.Series) -> Int64s:
        """The ordinals of some names, none null; -1 for one that the table doesn't have; (names,) int64."""
        wanted = string_table("wanted", names)
        found = np.empty(len(names), dtype=np.int32)
        find_sorted_names(
            self._arrays[f"{table}_bytes"].view(np.uint8),
            self._arrays[f"{table}_offsets"].view(np.int64),
            wanted["wanted_bytes"].view(np.uint8),
            wanted["wanted_offsets"].view(np.int64)[1:],
            found,
        )
        return found.astype(np.int64)

    def known(self, table: str, names: pl.Series) -> pl.Series:
        """Those of some names that the table has, each once."""
        asked = names.cast(pl.Utf8).drop_nulls().unique(maintain_order=True)
        return asked.filter(pl.Series(self.find(table, asked) >= 0, dtype=pl.Boolean))


def sorted_names(columns: Sequence[pl.Series]) -> pl.Series:
    """Every name of some columns once, in byte order."""
    if sum(map(len, columns)) <= FEW:
        names = {name for column in columns for name in column if name is not None}
        return pl.Series("name", sorted(names), dtype=pl.Utf8)  # the order of code points is that of bytes
    return pl.concat([c.cast(pl.Utf8).drop_nulls().unique().alias("name") for c in columns]).unique().sort()


def columns(*columns: NDArray[np.generic]) -> Int64s:
    """One int64 row of all columns for each element; (n, columns)."""
    return np.stack([np.asarray(c, dtype=np.int64) for c in columns], axis=1)


def numbers(frame: pl.DataFrame, column: str, blank: int | None = None) -> Int64s:
    """A column as int64, nulls as `blank`."""
    values = frame[column]
    return (values if blank is None else values.fill_null(blank)).to_numpy().astype(np.int64)


def codes(frame: pl.DataFrame, column: str, words: Sequence[str]) -> Int64s:
    """Each word's place in `words`; (rows,) int64."""
    return frame[column].cast(pl.Enum(words)).to_physical().to_numpy().astype(np.int64)


def ranges(owners: Int64s, count: int) -> tuple[Int64s, Int64s]:
    """Start and end of each owner's rows in an array sorted by owner."""
    wanted = np.arange(count, dtype=np.int64)
    return np.searchsorted(owners, wanted, "left"), np.searchsorted(owners, wanted, "right")
