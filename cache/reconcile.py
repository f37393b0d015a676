"""Compares the state in Redis with the mirror: which records are newer on which side, which notes each side lacks."""

from collections.abc import Iterable, Iterator
from typing import Final

from pricegrid.cache.coding import digest_of, unpack_records
from pricegrid.cache.embedded import Row
from pricegrid.cache.mirror import Mirror

PAGE: Final = 500
QUIET_CHANGES: Final = 1000
"""Redis loses the end of the log: the search for lost changes stops after this many in a row that are not lost."""
REPLAYED_BYTES_MAX: Final = 64 << 20
"""A longer end of the log is not replayed change by change: its records are pushed and its notes sent separately."""

_TABLES: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS remote (field BLOB PRIMARY KEY, version INTEGER, value BLOB) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS remote_note (digest BLOB PRIMARY KEY, notes BLOB) WITHOUT ROWID",
    "DELETE FROM remote",
    "DELETE FROM remote_note",
)
_AHEAD: Final = (
    "SELECT here.field, here.version, here.value FROM record AS here LEFT JOIN remote USING (field)"
    " WHERE here.version > coalesce(remote.version, 0)"
    " OR (here.version = remote.version AND here.value IS NOT remote.value)"
)
_BEHIND: Final = (
    "SELECT remote.field, remote.version, remote.value FROM remote LEFT JOIN record AS here USING (field)"
    " WHERE remote.version > coalesce(here.version, 0)"
)
_NOTES_AHEAD: Final = (
    "SELECT here.position FROM note AS here LEFT JOIN remote_note USING (digest)"
    " WHERE remote_note.digest IS NULL ORDER BY here.position"
)
_NOTES_BEHIND: Final = (
    "SELECT digest FROM remote_note LEFT JOIN note AS here USING (digest) WHERE here.digest IS NULL"
)


class Reconciliation:
    """A comparison, in temporary tables on the mirror's connection."""

    def __init__(self, mirror: Mirror) -> None:
        self._database = mirror.database
        with self._database.errors():
            for statement in _TABLES:
                self._database.run(statement)

    def add(self, rows: Iterable[Row]) -> None:
        """Add records of Redis."""
        with self._database.transaction(durable=False):
            self._database.run_many("INSERT OR REPLACE INTO remote VALUES (?, ?, ?)", rows)

    def add_notes(self, digests: Iterable[bytes]) -> None:
        """Add digests of notes that Redis has."""
        with self._database.transaction(durable=False):
            self._database.run_many(
                "INSERT OR IGNORE INTO remote_note VALUES (?, NULL)", ((digest,) for digest in digests)
            )

    def fetched(self, notes: Iterable[tuple[bytes, bytes]]) -> None:
        """Add notes of Redis that the mirror lacks, as (digest, notes)."""
        with self._database.transaction(durable=False):
            self._database.run_many("INSERT OR REPLACE INTO remote_note VALUES (?, ?)", notes)

    def _version(self, field: bytes) -> int:
        found = self._database.row("SELECT version FROM remote WHERE field = ?", (field,))
        return found[0] if found else 0

    def has(self, field: bytes, version: int) -> bool:
        """Whether Redis has this version of a record."""
        return self._version(field) == version

    def ahead(self) -> list[Row]:
        """Records that are newer in the mirror, or have the same version and another value."""
        return self._database.rows(_AHEAD)

    def behind(self) -> list[Row]:
        """Records that are newer in Redis."""
        return self._database.rows(_BEHIND)

    def notes_ahead(self) -> Iterator[bytes]:
        """Notes that Redis lacks, oldest first, as far as the mirror has not trimmed them."""
        for (position,) in self._database.rows(_NOTES_AHEAD):
            for (notes,) in self._database.rows("SELECT notes FROM log WHERE position = ?", (position,)):
                yield notes

    def notes_behind(self) -> list[bytes]:
        """Digests of notes that the mirror lacks."""
        return [digest for (digest,) in self._database.rows(_NOTES_BEHIND)]

    def notes(self) -> Iterator[bytes]:
        """The notes that were fetched."""
        digests = self._database.rows("SELECT digest FROM remote_note WHERE notes IS NOT NULL")
        for key in digests:
            yield self._database.row("SELECT notes FROM remote_note WHERE digest = ?", key)[0]

    def lost_changes(self) -> Iterator[tuple[list[Row], bytes]]:
        """(records, notes) of the mirror's changes that Redis lacks and that follow on its state, in order."""
        reached: dict[bytes, int] = {}
        for rows, notes in self._newest_ahead():
            before = [reached.get(field) or self._version(field) for field, _, _ in rows]
            if all(version == current + 1 for (_, version, _), current in zip(rows, before, strict=True)):
                reached.update((field, version) for field, version, _ in rows)
                yield rows, notes

    def _newest_ahead(self) -> list[tuple[list[Row], bytes]]:
        """Changes at the end of the log with a record that is newer than in Redis, oldest first."""
        found: list[tuple[list[Row], bytes]] = []
        quiet = size = 0
        position = 1 << 62
        while quiet < QUIET_CHANGES and size < REPLAYED_BYTES_MAX:
            page = self._database.rows(
                "SELECT position, complete, records, notes FROM log WHERE position < ? ORDER BY position DESC LIMIT ?",
                (position, PAGE),
            )
            for _, complete, packed, notes in page:
                rows = list(unpack_records(packed))
                quiet += 1
                if complete and any(version > self._version(field) for field, version, _ in rows):
                    found.append((rows, notes))
                    size += len(packed) + len(notes)
                    quiet = 0
            if len(page) < PAGE:
                break
            position = page[-1][0]
        return found[::-1]


def is_whole(digest: bytes, notes: bytes | None) -> bool:
    """Whether notes match their digest."""
    return notes is not None and digest_of(notes) == digest
