"""A host's copy of the state in Redis, in the file of the embedded cache, and the outbox of commits not yet sent.

- `record` and `log` hold what Redis has confirmed, in the order of its log. Positions are those of this file, so they
  stay valid whatever happens to Redis' own log.
- `note` holds the position in `log` of the notes of the history, by digest: what Redis loses is restored from here.
- `pending` is the outbox: unconditional commits, numbered in the order they were made here. The script that makes such
  a commit in Redis writes its number as the version of the record ('~told', this mirror). This makes sending
  idempotent, and when that record comes back in the log the outbox is cleared up to it.
- `sync` says how far Redis' log was read: `life`, the epoch it belongs to, and `entry`, the last entry read; and
  `known`, the number of notes of the history (KNOWN in redis_scripts.py).

The processes of a host share the file. Each reads Redis itself; entries that another has already added are skipped.
"""

import heapq
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pricegrid.cache.coding import digest_of, field_of, joined, key_of, pack_records, parted, unpack_records
from pricegrid.cache.embedded import Ledger, Row
from pricegrid.cache.protocol import Change, Commit, Key, Put, Record

ACKED: Final = b"~told\0"
RECORDS_A_CHANGE: Final = 1000
ENTRIES_SEARCHED: Final = 10_000
WAITING_READ: Final = 200

LogPosition = tuple[str, str]
"""(epoch, entry)"""
_NOTE: Final = "CREATE TABLE note (digest BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Pending:
    """A commit in the outbox."""

    number: int
    commit: Commit


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of Redis' log."""

    entry: str
    records: Sequence[Row]
    notes: bytes
    how: str
    """'' for a commit; 'push', 'replay', 'life': see redis_scripts.py."""
    after: str
    """The id of the entry before it."""
    known: int
    """The number of notes in the history after it."""


@dataclass(slots=True)
class Ingested:
    """The result of ingesting entries."""

    current: bool
    """False: the mirror has moved to another epoch, and nothing was ingested."""
    positions: dict[str, str]
    """The positions of the entries that were appended to the log here."""
    replaced: int = 0
    """Records for which Redis had another value under the same version: two histories had diverged."""


class Mirror:
    """One connection to the file, for one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory)
        self.database = self.ledger.database
        with self.database.transaction(durable=True):
            self.database.run("INSERT OR IGNORE INTO sync VALUES ('id', ?)", (uuid.uuid4().hex,))
            self._index()
        self.acked_field: Final = ACKED + self._kept("id").encode()

    def _kept(self, name: str) -> str:
        rows = self.database.rows("SELECT value FROM sync WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def _keep(self, name: str, value: str) -> None:
        self.database.run(
            "INSERT INTO sync VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _index(self) -> None:
        """Index the notes that the file got without Redis, or from a release without a history."""
        is_new = not self.database.row("SELECT 1 FROM sqlite_master WHERE name = 'note'")
        if is_new:
            self.database.run(_NOTE)
        (last,) = self.database.row("SELECT coalesce(max(position), 0) FROM note")
        for position, notes in self.database.rows(
            "SELECT position, notes FROM log WHERE position > ? AND notes <> x''", (last,)
        ):
            self._name(notes, position)
        if is_new and self.database.row("SELECT 1 FROM log WHERE NOT complete LIMIT 1"):
            # Some notes were not kept: the history is longer than what is here.
            self._keep("known", str(self._notes() + 1))

    def _notes(self) -> int:
        return int(self.database.row("SELECT count(*) FROM note")[0])

    def _name(self, notes: bytes, position: int) -> None:
        self.database.run("INSERT OR IGNORE INTO note VALUES (?, ?)", (digest_of(notes), position))

    def has_notes(self, digest: bytes) -> bool:
        """Whether the history here has an entry."""
        return bool(self.database.rows("SELECT 1 FROM note WHERE digest = ?", (digest,)))

    def known(self) -> int:
        """The number of notes of the history, as far as known here."""
        return int(self._kept("known") or 0)

    def read_position(self) -> LogPosition:
        """How far Redis' log was read."""
        with self.database.snapshot():
            return self._kept("life"), self._kept("entry")

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys, including values that are still in the outbox."""
        found = []
        for record in self.ledger.get(keys):
            waiting = self.database.rows(
                "SELECT value FROM pending_record WHERE field = ?", (field_of((record.space, record.name)),)
            )
            found.append(
                Record(record.space, record.name, record.version, waiting[0][0]) if waiting else record
            )
        return found

    def scan(self, space: str) -> Iterator[Record]:
        """The records of a space, including values that are still in the outbox."""
        begin, end = space.encode() + b"\0", space.encode() + b"\1"
        waiting = {
            key_of(field)[1]: value
            for field, value in self.database.rows(
                "SELECT field, value FROM pending_record WHERE field >= ? AND field < ?", (begin, end)
            )
        }
        current = (record for record in self.ledger.scan(space) if record.name not in waiting)
        overlaid = (
            record
            for record in self.get([(space, name) for name in sorted(waiting)])
            if record.value is not None
        )
        return heapq.merge(current, overlaid, key=lambda record: record.name.encode())

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position."""
        return self.ledger.changes(after, limit)

    def enqueue(self, commits: Iterable[Commit], *, durable: bool) -> list[int]:
        """Add unconditional commits to the outbox; returns their numbers."""
        numbers = []
        with self.database.transaction(durable=durable):
            for commit in commits:
                puts = {(put.space, put.name): put.value for put in commit.puts}
                rows = [(field_of(key), 0, value) for key, value in puts.items()]
                number = (
                    self.database.run(
                        "INSERT INTO pending (puts, notes) VALUES (?, ?)",
                        (pack_records(rows), joined(commit.notes)),
                    ).lastrowid
                    or 0
                )
                self.database.run_many(
                    "INSERT INTO pending_record VALUES (?, ?, ?) ON CONFLICT (field) DO UPDATE SET"
                    " value = excluded.value, seq = excluded.seq",
                    [(field, value, number) for field, _, value in rows],
                )
                numbers.append(number)
        return numbers

    def waiting(self) -> Iterator[Sequence[bytes]]:
        """The notes of the outbox, in their order."""
        last = 0
        while rows := self.database.rows(
            "SELECT seq, notes FROM pending WHERE seq > ? ORDER BY seq LIMIT ?", (last, WAITING_READ)
        ):
            yield from (parted(notes) for _, notes in rows if notes)
            last = rows[-1][0]

    def pending(self, up_to: int | None, limit: int) -> list[Pending]:
        """The oldest commits of the outbox."""
        rows = self.database.rows(
            "SELECT seq, puts, notes FROM pending WHERE seq <= ? ORDER BY seq LIMIT ?",
            (up_to if up_to is not None else 1 << 62, limit),
        )
        return [
            Pending(
                seq,
                Commit(
                    puts=[Put(*key_of(field), value) for field, _, value in unpack_records(puts)],
                    notes=parted(notes),
                ),
            )
            for seq, puts, notes in rows
        ]

    def clear(self) -> None:
        """Clear the outbox as far as Redis has acknowledged it."""
        acked = self.ledger.version(self.acked_field)
        if self.pending(acked, 1):
            with self.database.transaction(durable=False):
                self._clear([(self.acked_field, acked, None)])

    def harden(self) -> None:
        """Make earlier non-durable writes durable."""
        with self.database.transaction(durable=True):
            self.database.run("UPDATE sync SET value = value WHERE name = 'id'")

    def ingest(self, epoch: str, entries: Sequence[Entry]) -> Ingested:
        """Append entries of Redis' log, in their order, to the log here, and write their records."""
        ingested = Ingested(current=True, positions={})
        if not entries:
            return ingested
        with self.database.transaction(durable=False):
            current, read = self._kept("life"), self._kept("entry")
            if current != epoch:
                ingested.current = False
                return ingested
            for entry in entries:
                if ordered(entry.entry) > ordered(read):
                    self._ingest(entry, ingested)
                    read = entry.entry
            self._keep("entry", read)
            self._keep("known", str(max(self.known(), entries[-1].known)))
        return ingested

    def _ingest(self, entry: Entry, ingested: Ingested) -> None:
        newer: list[Row] = []
        repeated = False
        for row in entry.records:
            _, version, value = self.ledger.row(row[0])
            if row[1] > version:
                newer.append(row)
            elif row[1] == version and row[2] != value:
                newer.append(row)
                ingested.replaced += 1
            else:
                repeated = repeated or row[0].startswith(ACKED)
        notes = entry.notes
        if notes and (entry.how or repeated) and self.has_notes(digest_of(notes)):
            notes = b""
        if not newer and not notes and (entry.how or repeated):
            return
        position = self.ledger.append(
            newer if entry.how == "life" or repeated else entry.records,
            notes,
            complete=entry.how != "push",
            entry=entry.entry,
            written=newer,
        )
        if notes:
            self._name(notes, position)
        ingested.positions[entry.entry] = str(position)
        self._clear(newer)

    def _clear(self, rows: Iterable[Row]) -> None:
        """Clear the outbox up to the number that Redis has acknowledged."""
        for field, version, _ in rows:
            if field == self.acked_field:
                self.database.run("DELETE FROM pending WHERE seq <= ?", (version,))
                self.database.run("DELETE FROM pending_record WHERE seq <= ?", (version,))

    def position_of(self, entry: str) -> str | None:
        """The position here of an entry of Redis' log, which another process may have appended."""
        rows = self.database.rows(
            "SELECT position, entry FROM log ORDER BY position DESC LIMIT ?", (ENTRIES_SEARCHED,)
        )
        return next((str(position) for position, name in rows if name == entry), None)

    def adopt(
        self,
        before: str,
        position: LogPosition,
        rows: Iterable[Row],
        notes: Iterable[bytes] = (),
        *,
        known: int = 0,
        gap: bool,
    ) -> int:
        """Take records and missing notes from Redis, and continue to read its log from `position`. Returns for how many
        records Redis had an older version, or another value of the same version. `gap`: changes were missed, even if
        the records do not show it.

        Does nothing if another process of the host has done it since the epoch here was `before`.
        """
        lost = 0
        with self.database.transaction(durable=False):
            current = self._kept("life")
            if current not in {before, position[0]} or (current == position[0] != before):
                return 0
            for blob in notes:
                if not self.has_notes(digest_of(blob)):
                    self._name(blob, self.ledger.append((), blob))
            batch: list[Row] = []
            for row in rows:
                _, version, value = self.ledger.row(row[0])
                if (version, value) != row[1:]:
                    lost += row[1] <= version
                    batch.append(row)
                if len(batch) == RECORDS_A_CHANGE:
                    self._adopt(batch)
                    batch = []
            if batch or gap:
                self._adopt(batch)
            self._keep("life", position[0])
            self._keep("entry", position[1])
            self._keep("known", str(max(self.known(), known)))
        return lost

    def _adopt(self, rows: Sequence[Row]) -> None:
        self.ledger.append(rows, b"", complete=False)
        self._clear(rows)

    def close(self) -> None:
        """Close the file."""
        self.ledger.close()


def ordered(entry: str) -> tuple[int, int]:
    """The sort key of the id of a Redis stream entry."""
    milliseconds, _, count = (entry or "0-0").partition("-")
    return int(milliseconds), int(count or 0)
