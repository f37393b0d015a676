"""What a price book says, as one number: a book with the same digest as last night says the same.

A book's digest is that of its row and those of its entries, added up modulo 2^64: the order of entries does not matter,
and a delta takes off what is gone and adds what is new. It is made of names and values, not of ordinals, so it is the
same in a snapshot with other items; a blank cell adds nothing, so a column that a later release brings changes no
digest. Names of books and ids of entries are left out: they change no price.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.loaders.store.hashing import hash_text

Digests = NDArray[np.uint64]
_SAYS_NOTHING: Final = frozenset({"book_id", "entry_id", "name"})


def book_digests(books: pl.DataFrame, entries: pl.DataFrame) -> tuple[list[str], Digests]:
    """The books of a validated dataset in the order of their ordinals, and the digest of each."""
    rows = books.sort("book_id")
    names = rows["book_id"]
    return names.to_list(), _row_digests(rows) + entry_sums(entries, names)


def entry_sums(entries: pl.DataFrame, books: pl.Series) -> Digests:
    """The digests of each book's entries, added up; (books,). Entries are as validated, or as decoded."""
    places = pl.DataFrame({"book_id": books, "place": pl.int_range(len(books), eager=True)})
    place = entries.select("book_id").join(places, on="book_id", how="left", maintain_order="left")["place"]
    sums = np.zeros(len(books), dtype=np.uint64)
    np.add.at(sums, place.to_numpy(), _row_digests(entries))
    return sums


def _row_digests(rows: pl.DataFrame) -> Digests:
    found = np.zeros(len(rows), dtype=np.uint64)
    for values in rows.iter_columns():
        if values.name not in _SAYS_NOTHING:
            found += _cell_digests(values)
    return _mixed(found)


def _cell_digests(values: pl.Series) -> Digests:
    """Of each cell with the name of its column; 0 where it is blank."""
    if values.dtype == pl.Utf8:
        names = values.drop_nulls().unique()
        digests = [hash_text(f"{values.name}\0{name}") for name in names]
        table = pl.DataFrame({"name": names, "digest": pl.Series(digests, dtype=pl.UInt64)})
        cells = values.alias("name").to_frame().join(table, on="name", how="left", maintain_order="left")
        return cells["digest"].fill_null(0).to_numpy()
    numbers = values.cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    salted = _mixed(numbers ^ np.uint64(hash_text(values.name)))
    return np.where(values.is_not_null().to_numpy(), salted, np.uint64(0))


def _mixed(words: Digests) -> Digests:
    """SplitMix64's last step: each bit of a word bears on every bit of what comes out."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
