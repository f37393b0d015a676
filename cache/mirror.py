"""What one host knows of a Redis, in the file of the embedded store: everything seen, and what is still to be told.

- `record` and `log` hold what Redis confirmed, in the order of its log. Positions handed out are those of this file:
  they survive whatever becomes of Redis' own log.
- `note` says where in `log` the notes of the history lie, by their digest: what Redis lost is brought back from here.
- `pending` is the outbox: unconditional commits in the order they were made here, numbered. Its numbers are told to
  Redis as versions of the record ('~told', this mirror), by the script that makes the commit: telling twice changes
  nothing, and when that record comes back in the log the outbox is cleared up to it.
- `sync` says how far the log was read: `life`, the state of Redis that it belongs to, and `entry`, its last entry read;
  and `known`, how many notes the history has (KNOWN in redis_scripts.py).

The processes of a host share the file. Each reads Redis for itself; what another has already brought is passed over.
"""

import heapq
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pricegrid.cache.coding import digest_of, field_of, joined, key_of, pack_records, parted, unpack_records
from pricegrid.cache.ledger import Ledger, Row
from pricegrid.cache.protocol import Change, Commit, Key, Put, Record

TOLD: Final = b"~told\0"
RECORDS_A_CHANGE: Final = 1000
ENTRIES_SEARCHED: Final = 10_000
WAITING_READ: Final = 200

Place = tuple[str, str]
"""(life, entry)"""
_NOTE: Final = "CREATE TABLE note (digest BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Pending:
    """A commit still to be told."""

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
    """The entry before it."""
    known: int
    """How many notes the history has with it."""


@dataclass(slots=True)
class Taken:
    """What became of entries that were handed to the mirror."""

    current: bool
    """False: the mirror belongs to another life by now, nothing was taken."""
    positions: dict[str, str]
    """Of those that joined the log here."""
    replaced: int = 0
    """Records of which Redis had another value under the same version: two servers went separate ways."""


class Mirror:
    """The file, on one connection: one thread at a time."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory)
        self.database = self.ledger.database
        with self.database.transaction(durable=True):
            self.database.run("INSERT OR IGNORE INTO sync VALUES ('id', ?)", (uuid.uuid4().hex,))
            self._index()
        self.told_field: Final = TOLD + self._kept("id").encode()

    def _kept(self, name: str) -> str:
        rows = self.database.rows("SELECT value FROM sync WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def _keep(self, name: str, value: str) -> None:
        self.database.run(
            "INSERT INTO sync VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _index(self) -> None:
        """Name the notes that the file got without Redis, or by a release that kept no history there."""
        is_new = not self.database.row("SELECT 1 FROM sqlite_master WHERE name = 'note'")
        if is_new:
            self.database.run(_NOTE)
        (last,) = self.database.row("SELECT coalesce(max(position), 0) FROM note")
        for position, notes in self.database.rows(
            "SELECT position, notes FROM log WHERE position > ? AND notes <> x''", (last,)
        ):
            self._name(notes, position)
        if is_new and self.database.row("SELECT 1 FROM log WHERE NOT complete LIMIT 1"):
            # Notes went by that nobody kept: the history is more than what is here.
            self._keep("known", str(self._notes() + 1))

    def _notes(self) -> int:
        return int(self.database.row("SELECT count(*) FROM note")[0])

    def _name(self, notes: bytes, position: int) -> None:
        self.database.run("INSERT OR IGNORE INTO note VALUES (?, ?)", (digest_of(notes), position))

    def has_notes(self, digest: bytes) -> bool:
        """Whether the history here has an entry."""
        return bool(self.database.rows("SELECT 1 FROM note WHERE digest = ?", (digest,)))

    def known(self) -> int:
        """How many notes the history has, as far as was heard here."""
        return int(self._kept("known") or 0)

    def place(self) -> Place:
        """How far the log of Redis was read."""
        with self.database.snapshot():
            return self._kept("life"), self._kept("entry")

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys, with the values that are still to be told."""
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
        """The records of a space, with the values that are still to be told."""
        begin, end = space.encode() + b"\0", space.encode() + b"\1"
        waiting = {
            key_of(field)[1]: value
            for field, value in self.database.rows(
                "SELECT field, value FROM pending_record WHERE field >= ? AND field < ?", (begin, end)
            )
        }
        standing = (record for record in self.ledger.scan(space) if record.name not in waiting)
        overlaid = (
            record
            for record in self.get([(space, name) for name in sorted(waiting)])
            if record.value is not None
        )
        return heapq.merge(standing, overlaid, key=lambda record: record.name.encode())

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position."""
        return self.ledger.changes(after, limit)

    def enqueue(self, commits: Iterable[Commit], *, durable: bool) -> list[int]:
        """Put unconditional commits into the outbox; their numbers."""
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
        """Empty the outbox as far as it is known to have been told."""
        told = self.ledger.version(self.told_field)
        if self.pending(told, 1):
            with self.database.transaction(durable=False):
                self._clear([(self.told_field, told, None)])

    def harden(self) -> None:
        """Put on the disk what was written without waiting for it."""
        with self.database.transaction(durable=True):
            self.database.run("UPDATE sync SET value = value WHERE name = 'id'")

    def take(self, life: str, entries: Sequence[Entry]) -> Taken:
        """Join entries of the log, in their order, to the log here, and set the records to what they say."""
        taken = Taken(current=True, positions={})
        if not entries:
            return taken
        with self.database.transaction(durable=False):
            standing_life, read = self._kept("life"), self._kept("entry")
            if standing_life != life:
                taken.current = False
                return taken
            for entry in entries:
                if ordered(entry.entry) > ordered(read):
                    self._take(entry, taken)
                    read = entry.entry
            self._keep("entry", read)
            self._keep("known", str(max(self.known(), entries[-1].known)))
        return taken

    def _take(self, entry: Entry, taken: Taken) -> None:
        newer: list[Row] = []
        told_again = False
        for row in entry.records:
            _, version, value = self.ledger.row(row[0])
            if row[1] > version:
                newer.append(row)
            elif row[1] == version and row[2] != value:
                newer.append(row)
                taken.replaced += 1
            else:
                told_again = told_again or row[0].startswith(TOLD)
        notes = entry.notes
        if notes and (entry.how or told_again) and self.has_notes(digest_of(notes)):
            notes = b""
        if not newer and not notes and (entry.how or told_again):
            return
        position = self.ledger.append(
            newer if entry.how == "life" or told_again else entry.records,
            notes,
            complete=entry.how != "push",
            entry=entry.entry,
            written=newer,
        )
        if notes:
            self._name(notes, position)
        taken.positions[entry.entry] = str(position)
        self._clear(newer)

    def _clear(self, rows: Iterable[Row]) -> None:
        """Empty the outbox up to what Redis says it was told."""
        for field, version, _ in rows:
            if field == self.told_field:
                self.database.run("DELETE FROM pending WHERE seq <= ?", (version,))
                self.database.run("DELETE FROM pending_record WHERE seq <= ?", (version,))

    def position_of(self, entry: str) -> str | None:
        """Where an entry of Redis' log stands in the log here, when another process brought it."""
        rows = self.database.rows(
            "SELECT position, entry FROM log ORDER BY position DESC LIMIT ?", (ENTRIES_SEARCHED,)
        )
        return next((str(position) for position, name in rows if name == entry), None)

    def adopt(
        self,
        before: str,
        place: Place,
        rows: Iterable[Row],
        notes: Iterable[bytes] = (),
        *,
        known: int = 0,
        gap: bool,
    ) -> int:
        """Set records to what Redis has, take in notes of its history that are not here, and go on reading its log
        from a place; how many of the records Redis had in an older version, or in another value of the same. With a
        `gap`, changes were missed, whatever the records say.

        Nothing is done when another process of the host did it since the life here was `before`.
        """
        lost = 0
        with self.database.transaction(durable=False):
            standing = self._kept("life")
            if standing not in {before, place[0]} or (standing == place[0] != before):
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
            self._keep("life", place[0])
            self._keep("entry", place[1])
            self._keep("known", str(max(self.known(), known)))
        return lost

    def _adopt(self, rows: Sequence[Row]) -> None:
        self.ledger.append(rows, b"", complete=False)
        self._clear(rows)

    def close(self) -> None:
        """End."""
        self.ledger.close()


def ordered(entry: str) -> tuple[int, int]:
    """An entry of a Redis stream as what it is compared by."""
    milliseconds, _, count = (entry or "0-0").partition("-")
    return int(milliseconds), int(count or 0)
