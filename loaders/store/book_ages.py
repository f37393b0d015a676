"""Since when each price book says what it says, as far as the loads of a store can tell.

Every load compares a digest of each book (`loaders.compile.book_digests`) with that of the running snapshot: a book
that says the same keeps its instant, another one gets that of the load. A snapshot keeps both in `kept_books.npy`: a
row a book in the order of ordinals, of (hash of its id, digest, microseconds). What was the case before the first load
that wrote one is not known, so a book may be older than it looks, never younger.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.instants import DAY_US
from pricegrid.columnar.names import Names
from pricegrid.loaders.errors import SnapshotCorruptError, SnapshotError
from pricegrid.loaders.store.book_age_ranges import AGE_RANGES, RANGE_ENDS_DAYS
from pricegrid.loaders.store.hashing import hash_file, hash_text
from pricegrid.loaders.store.snapshot import open_snapshot, read_manifest, snapshot_folder
from pricegrid.pricing_engine.arrays import matrix as mx

FILE: Final = "kept_books.npy"
_KEY, _DIGEST, _SINCE = range(3)

Int64s = NDArray[np.int64]
Digests = NDArray[np.uint64]


def kept_books(names: Sequence[str], digests: Digests, before: Int64s | None, now_us: int) -> Int64s:
    """The rows of a full load, given those of the running snapshot; None: it has none."""
    rows = np.empty((len(names), 3), dtype=np.int64)
    rows[:, _KEY] = np.array([hash_text(name) for name in names], dtype=np.uint64).view(np.int64)
    rows[:, _DIGEST] = digests.view(np.int64)
    rows[:, _SINCE] = now_us
    if before is not None:
        known = {(key, digest): since_us for key, digest, since_us in before.tolist()}
        for at, (key, digest, _) in enumerate(rows.tolist()):
            rows[at, _SINCE] = known.get((key, digest), now_us)
    return rows


def after_delta(before: Int64s, difference: Digests, now_us: int) -> Int64s:
    """The rows after a delta, which adds this to the digest of each book."""
    rows = before.copy()
    rows[:, _DIGEST] = (before[:, _DIGEST].view(np.uint64) + difference).view(np.int64)
    rows[difference != 0, _SINCE] = now_us
    return rows


def stored_books(store: Path, version: str) -> Int64s | None:
    """The rows that a snapshot keeps, whatever release wrote it; None: it keeps none. Raises NoSnapshotError,
    SnapshotCorruptError."""
    folder = snapshot_folder(store, version)
    entry = read_manifest(folder, any_format=True).get("kept_files", {}).get(FILE)
    if entry is None:
        return None
    path = folder / FILE
    try:
        if hash_file(path) != entry["sha256"]:
            raise SnapshotCorruptError(f"{path} is corrupt: its SHA-256 is not the manifest's")
        rows: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise SnapshotCorruptError(f"{path} is missing") from None
    except ValueError as error:
        raise SnapshotCorruptError(f"{path} can't be read: {error}") from error
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != 3:
        raise SnapshotCorruptError(f"{path} has no rows of three integers")
    return rows


@dataclass(frozen=True, slots=True)
class BookAges:
    """The books of a snapshot, by ordinal."""

    names: Names
    windows: Int64s
    """From when until when each is in force."""
    since_us: Int64s | None
    """None: the snapshot does not say."""

    def since(self, book_id: str) -> int | None:
        """Since when a book says the same; None: there is no such book, or it is not known."""
        found = self.names.find(book_id)
        return None if found < 0 or self.since_us is None else int(self.since_us[found])

    def counts(self, now_us: int) -> Mapping[str, int]:
        """How many books in force are unchanged for how long, by `AGE_RANGES`."""
        books = self._in_force(now_us)
        counts = np.zeros(len(AGE_RANGES), dtype=np.int64)
        if self.since_us is None:
            counts[-1] = len(books)
        else:
            ends = np.array(RANGE_ENDS_DAYS, dtype=np.int64) * DAY_US
            np.add.at(counts, np.searchsorted(ends, now_us - self.since_us[books], "right"), 1)
        return dict(zip(AGE_RANGES, counts.tolist(), strict=True))

    def oldest(self, now_us: int) -> Iterator[tuple[str, int]]:
        """The books in force, those that are unchanged for longest first, each with its instant; none: not known."""
        if self.since_us is None:
            return
        books = self._in_force(now_us)
        for book in books[np.argsort(self.since_us[books], kind="stable")].tolist():
            yield self.names[book], int(self.since_us[book])

    def span(self, now_us: int) -> tuple[int, int] | None:
        """(the instant of the book in force that is unchanged for longest, that of the one that changed last); None:
        there is none, or it is not known."""
        books = self._in_force(now_us)
        if self.since_us is None or not len(books):
            return None
        since_us = self.since_us[books]
        return int(since_us.min()), int(since_us.max())

    def _in_force(self, now_us: int) -> Int64s:
        return np.flatnonzero((self.windows[:, 0] <= now_us) & (now_us < self.windows[:, 1]))


def book_ages(store: Path, version: str) -> BookAges:
    """The ages of a snapshot's books. Raises NoSnapshotError, SnapshotCorruptError, SnapshotVersionError."""
    arrays = open_snapshot(store, version, verify=False).arrays
    names = Names(arrays["book_bytes"], arrays["book_offsets"])
    rows = stored_books(store, version)
    if rows is not None and len(rows) != len(names):
        raise SnapshotCorruptError(f"{snapshot_folder(store, version) / FILE} has not a row a book")
    windows = np.array(arrays["books"][:, [mx.BOOK_FROM, mx.BOOK_TO]], dtype=np.int64)
    return BookAges(names, windows, None if rows is None else rows[:, _SINCE])


def readable_ages(store: Path, version: str) -> BookAges | None:
    """The same; None for a snapshot that can't be read: others say what is wrong with it."""
    try:
        return book_ages(store, version)
    except (SnapshotError, OSError, KeyError):
        return None
