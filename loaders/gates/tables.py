"""The gates that compare a load with the running snapshot: tables that are absent, rows that vanished, books that
nobody gets any more, and what the sample would be answered."""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import polars as pl

from pricegrid.loaders.gates.gates import Gate
from pricegrid.loaders.gates.limits import Limits
from pricegrid.loaders.gates.sample_change import KINDS, SampleChange, example_text
from pricegrid.loaders.store.kept import ENTRIES, TRANSIENT, Digests, Kept, gate_key

ABSENT_FLAG: Final = "--allow-absent"
_NAMED_MAX: Final = 3


def gate_absent(old: Kept, new: Kept, allowed: Collection[str]) -> Gate:
    """Tables that the running snapshot has rows of, and the dataset lacks."""
    lost = [name for name, rows in old.rows.items() if rows and name not in new.rows and name not in allowed]
    if not lost:
        return Gate("absent", True, None, "no table of the running snapshot is absent", ABSENT_FLAG)
    words = "; ".join(
        f"table {name} is absent, the running snapshot has {old.rows[name]} rows of it" for name in lost
    )
    return Gate("absent", False, None, words, f"{ABSENT_FLAG} {' '.join(lost)}")


def gate_vanished(old: Kept, new: Kept, entries: tuple[Digests, Digests] | None, limits: Limits) -> Gate:
    """Rows of each table of the running snapshot that are gone: by key, or by their number where rows come and go.
    `entries` are the digests of the old and the new price entries; None: only their number is compared."""
    limit, flag = limits.max_vanished_pct, "--max-vanished-pct"
    gone = {name: _vanished(name, old, new, entries) for name in old.rows if name in new.rows}
    beyond = {name: (lost, of) for name, (lost, of) in gone.items() if 100 * lost > limit * of}
    if not beyond:
        lost, of = (sum(part) for part in zip(*gone.values(), strict=True)) if gone else (0, 0)
        return Gate(
            "vanished", True, str(limit), f"{lost} of {of} rows of the running snapshot are gone", flag
        )
    words = "; ".join(f"{lost} of {of} rows of {name} are gone" for name, (lost, of) in beyond.items())
    return Gate("vanished", False, str(limit), words, flag)


def _vanished(name: str, old: Kept, new: Kept, entries: tuple[Digests, Digests] | None) -> tuple[int, int]:
    """How many rows are gone, of how many."""
    if name == ENTRIES and entries is not None:
        return _missing(*entries), len(entries[0])
    rows, now = old.table(name), new.table(name)
    if rows is None or now is None or name in TRANSIENT:
        return max(0, old.rows[name] - new.rows[name]), old.rows[name]
    key = [column for column in gate_key(name) if column in rows.columns and column in now.columns]
    before, after = rows.select(key).unique(), now.select(key)
    return before.join(after, on=key, how="anti", nulls_equal=True).height, before.height


def _missing(before: Digests, after: Digests) -> int:
    """How many of some sorted digests are not among others."""
    if not len(after):
        return len(before)
    place = np.minimum(np.searchsorted(after, before), len(after) - 1)
    return int((after[place] != before).sum())


def gate_deleted(deleted: int, before: int, limits: Limits) -> Gate:
    """Entries that a delta deletes, of those in force."""
    limit = limits.max_vanished_pct
    words = f"{deleted} of {before} rows of {ENTRIES} are deleted"
    return Gate("vanished", 100 * deleted <= limit * before, str(limit), words, "--max-vanished-pct")


def gate_agreements(old: Kept, new: Kept, allowed: Collection[str]) -> Gate:
    """Books that had agreements and are still there, but have none: nobody gets their prices any more."""
    flag = f"{ABSENT_FLAG} agreements"
    tables = (old.table("agreements"), new.table("agreements"), new.table("price_books"))
    if any(table is None for table in tables) or "agreements" in allowed:
        return Gate("agreements", True, None, "not compared", flag)
    before, after, books = (table.select("book_id").unique() for table in tables if table is not None)
    orphans = before.join(books, on="book_id").join(after, on="book_id", how="anti")["book_id"].sort()
    if orphans.is_empty():
        return Gate("agreements", True, None, "every book that had agreements has some", flag)
    named = ", ".join(orphans.head(_NAMED_MAX)) + (", ..." if len(orphans) > _NAMED_MAX else "")
    words = (
        f"agreements: {len(orphans)} price books had some and have none now, though the books stay: {named}"
    )
    return Gate("agreements", False, None, words, flag)


def gate_sample(change: SampleChange, limits: Limits) -> Gate:
    """Sampled answers that differ in one of the ways that harm."""
    limit, asked = limits.max_sample_pct, change.questions - change.not_asked
    counts = {kind: int(getattr(change, kind)) for kind in KINDS}
    beyond = [kind for kind, count in counts.items() if 100 * count > limit * asked]
    flag = "--max-sample-pct"
    if not beyond:
        return Gate("sample", True, str(limit), change.text, flag)
    words = []
    for kind in beyond:
        example = next(each for each in change.examples if each["change"] == kind)
        words.append(f"{counts[kind]} of {asked} sampled answers {KINDS[kind]}, as {example_text(example)}")
    return Gate("sample", False, str(limit), "; ".join(words), flag)


def book_currencies(kept: Kept) -> Mapping[str, str]:
    """The currency of each price book."""
    books = kept.table("price_books")
    return {} if books is None else dict(books.select("book_id", "currency").iter_rows())


def counts_only(rows: Mapping[str, int]) -> "CountedTables":
    """The tables of a snapshot that keeps none: how many rows they had, by its manifest."""
    # without layers there is one, and without agreements every book has one for everyone
    made = {"layers": 1, "agreements": rows.get("price_books", 0)}
    return CountedTables({name: count for name, count in rows.items() if count > made.get(name, 0)})


class CountedTables:
    """`Kept` of which nothing but the counts is known."""

    def __init__(self, rows: Mapping[str, int]) -> None:
        self._rows = rows

    @property
    def rows(self) -> Mapping[str, int]:
        """See `Kept`."""
        return self._rows

    def table(self, _: str) -> pl.DataFrame | None:
        """See `Kept`."""
        return None

    def entry_keys(self) -> Digests | None:
        """See `Kept`."""
        return None

    def sample(self) -> pl.DataFrame | None:
        """See `Kept`."""
        return None
