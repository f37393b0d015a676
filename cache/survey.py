"""The records of a Redis laid beside those of a mirror: what is newer here, what is newer there."""

from collections.abc import Iterable, Iterator
from typing import Final

from cache.coding import unpack_records
from cache.ledger import Row
from cache.mirror import Mirror

PAGE: Final = 500
QUIET_CHANGES: Final = 1000
"""What Redis lost is the end of the log: so many changes in a row without any of it, and the search ends."""
REPLAYED_BYTES_MAX: Final = 64 << 20
"""Longer ends of the log are not made again change by change: their records are brought, their notes are not."""

_TABLE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS remote"
    " (field BLOB PRIMARY KEY, version INTEGER, value BLOB) WITHOUT ROWID"
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


class Survey:
    """A temporary table on the mirror's connection."""

    def __init__(self, mirror: Mirror) -> None:
        self._database = mirror.database
        with self._database.errors():
            self._database.run(_TABLE)
            self._database.run("DELETE FROM remote")

    def add(self, rows: Iterable[Row]) -> None:
        """Records that Redis has."""
        with self._database.transaction(durable=False):
            self._database.run_many("INSERT OR REPLACE INTO remote VALUES (?, ?, ?)", rows)

    def _version(self, field: bytes) -> int:
        found = self._database.row("SELECT version FROM remote WHERE field = ?", (field,))
        return found[0] if found else 0

    def has(self, field: bytes, version: int) -> bool:
        """Whether Redis has a record in this version."""
        return self._version(field) == version

    def ahead(self) -> list[Row]:
        """Records that are newer here, or have the same version and another value."""
        return self._database.rows(_AHEAD)

    def behind(self) -> list[Row]:
        """Records that are newer in Redis, as it has them."""
        return self._database.rows(_BEHIND)

    def lost_changes(self) -> Iterator[tuple[list[Row], bytes]]:
        """Records and notes of changes here that Redis does not have and that follow on what it has, in order."""
        reached: dict[bytes, int] = {}
        for rows, notes in self._newest_ahead():
            before = [reached.get(field) or self._version(field) for field, _, _ in rows]
            if all(version == standing + 1 for (_, version, _), standing in zip(rows, before, strict=True)):
                reached.update((field, version) for field, version, _ in rows)
                yield rows, notes

    def _newest_ahead(self) -> list[tuple[list[Row], bytes]]:
        """Changes at the end of the log that have a record newer than Redis', oldest first."""
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
