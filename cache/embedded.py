"""The state cache in one SQLite file of the store, shared by the processes of one host only: its records and its log of
changes (`Ledger`, which a mirror of Redis has too), and the commits that write both (`EmbeddedStateCache`)."""

import contextlib
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pricegrid.cache.coding import field_of, joined, key_of, pack_records, parted, unpack_records
from pricegrid.cache.database import Database
from pricegrid.cache.protocol import (
    START,
    BlindPutError,
    CacheCorruptError,
    CacheUnavailableError,
    Change,
    Commit,
    Committed,
    Conflict,
    DiskFullError,
    Health,
    Key,
    Record,
)
from pricegrid.cache.reserve_room import ReserveRoom

T = TypeVar("T")

FILE: Final = "state.sqlite"
SCAN_ROWS: Final = 1000
"""Rows that a scan fetches at a time; no read transaction stays open in between."""
FORMAT: Final = 0x50475301
"""'PGS' and the version of the format below."""

# `at` is the position of the record's last change. The log of a mirror has changes whose notes are lost (complete 0)
# and the id of each change in Redis (entry). `pending`, `pending_record` and `sync` belong to the mirror (mirror.py).
SCHEMA: Final = """
CREATE TABLE record (
  field BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB, at INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX record_at ON record (at);
CREATE TABLE log (
  position INTEGER PRIMARY KEY AUTOINCREMENT, complete INTEGER NOT NULL, records BLOB NOT NULL, notes BLOB NOT NULL,
  checksum INTEGER NOT NULL, entry TEXT NOT NULL
);
CREATE TABLE pending (seq INTEGER PRIMARY KEY AUTOINCREMENT, puts BLOB NOT NULL, notes BLOB NOT NULL);
CREATE TABLE pending_record (field BLOB PRIMARY KEY, value BLOB, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sync (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID
"""

Row = tuple[bytes, int, bytes | None]
"""(field, version, value)"""


def checksum(*parts: bytes) -> int:
    """A CRC of stored bytes, to detect bit flips, which SQLite itself does not."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc


def row_checksum(field: bytes, version: int, value: bytes | None) -> int:
    """The checksum of a record."""
    return checksum(field, b"%d-" % version if value is None else b"%d:" % version, value or b"")


class Ledger:
    """The records and log of one file. Writing methods must be called inside `database.transaction`."""

    def __init__(self, directory: Path) -> None:
        self.room = ReserveRoom(directory)
        try:
            self.database = Database(directory / FILE, SCHEMA, FORMAT)
        except DiskFullError:
            if not self.room.give_back():
                raise
            self.database = Database(directory / FILE, SCHEMA, FORMAT)
        else:
            self.room.keep()

    def written(self, commits: Sequence[Commit], work: Callable[[], T]) -> T:
        """Do the work that writes some commits. Where these only delete, that is done on a full disk too, and the freed
        space is returned to the disk."""
        if not _only_delete(commits):
            return work()
        try:
            done = work()
        except DiskFullError:
            if not self.room.give_back():
                raise
            done = work()
        with contextlib.suppress(CacheUnavailableError):  # the work is done; the next one may shrink the file
            self.database.shrink()
        self.room.keep()
        return done

    def strip(self, deleted: Mapping[int, Collection[bytes]]) -> None:
        """Remove the values of deleted records from the log; `deleted` are the fields by position of the change."""
        for position, fields in deleted.items():
            found = self.database.row("SELECT records, notes FROM log WHERE position = ?", (position,))
            if found is None:
                continue
            rows = [
                (field, version, None if field in fields else value)
                for field, version, value in unpack_records(found[0])
            ]
            packed = pack_records(rows)
            self.database.run(
                "UPDATE log SET records = ?, checksum = ? WHERE position = ?",
                (packed, checksum(packed, found[1]), position),
            )

    def written_at(self, field: bytes) -> int:
        """The position of the last change of a record; 0 if it has no value."""
        found = self.database.row("SELECT at FROM record WHERE field = ? AND value IS NOT NULL", (field,))
        return found[0] if found else 0

    def _checked(self, field: bytes, version: int, value: bytes | None, check: int) -> Row:
        if row_checksum(field, version, value) != check:
            raise CacheCorruptError(f"{self.database.path}: record {field!r} is damaged")
        return field, version, value

    def version(self, field: bytes) -> int:
        """The version of a record; 0 when it was never written."""
        found = self.database.row("SELECT version FROM record WHERE field = ?", (field,))
        return found[0] if found else 0

    def row(self, field: bytes) -> Row:
        """A record."""
        with self.database.errors():
            found = self.database.row("SELECT version, value, checksum FROM record WHERE field = ?", (field,))
        return self._checked(field, *found) if found else (field, 0, None)

    def append(
        self,
        records: Sequence[Row],
        notes: bytes,
        *,
        complete: bool = True,
        entry: str = "",
        written: Sequence[Row] | None = None,
    ) -> int:
        """Append a change to the log and write its records, or only those in `written`; returns its position. `entry`
        is the id of the change in Redis."""
        packed = pack_records(records)
        cursor = self.database.run(
            "INSERT INTO log (complete, records, notes, checksum, entry) VALUES (?, ?, ?, ?, ?)",
            (complete, packed, notes, checksum(packed, notes), entry),
        )
        at = cursor.lastrowid or 0
        self.database.run_many(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?) ON CONFLICT (field) DO UPDATE SET"
            " version = excluded.version, value = excluded.value, at = excluded.at, checksum = excluded.checksum",
            [
                (f, version, value, at, row_checksum(f, version, value))
                for f, version, value in (records if written is None else written)
            ],
        )
        return at

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys."""
        return [Record(*key, *self.row(field_of(key))[1:]) for key in keys]

    def scan(self, space: str) -> Iterator[Record]:
        """The records of a space that have a value, by name."""
        after, end = space.encode() + b"\0", space.encode() + b"\1"
        comparison = ">="
        while True:
            rows = self.database.rows(
                f"SELECT field, version, value, checksum FROM record WHERE field {comparison} ? AND field < ?"  # noqa: S608
                " AND value IS NOT NULL ORDER BY field LIMIT ?",
                (after, end, SCAN_ROWS),
            )
            for row in rows:
                field, version, value = self._checked(*row)
                yield Record(*key_of(field), version, value)
            if len(rows) < SCAN_ROWS:
                return
            after, comparison = rows[-1][0], ">"

    def position(self) -> str:
        """The position of the newest change, trimmed or not."""
        rows = self.database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'log'")
        return str(rows[0][0]) if rows and rows[0][0] else START

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position."""
        begin = _number(after)
        with self.database.snapshot():
            return self._changes(begin, limit)

    def _changes(self, begin: int, limit: int) -> list[Change]:
        found: list[Change] = []
        kept = self.database.rows("SELECT min(position) FROM log")[0][0]
        first = kept or _number(self.position()) + 1
        if begin + 1 < first:
            found = self._trimmed(begin, first - 1, limit)
        if len(found) < limit:
            found += [
                self._change(*row)
                for row in self.database.rows(
                    "SELECT position, complete, records, notes, checksum FROM log"
                    " WHERE position > ? ORDER BY position LIMIT ?",
                    (begin, limit - len(found)),
                )
            ]
        return found

    def _change(self, position: int, complete: int, records: bytes, notes: bytes, check: int) -> Change:
        if checksum(records, notes) != check:
            raise CacheCorruptError(f"{self.database.path}: change {position} is damaged")
        return Change(str(position), shown(unpack_records(records)), parted(notes), bool(complete))

    def _trimmed(self, begin: int, last: int, limit: int) -> list[Change]:
        """Stand-ins for the trimmed changes after `begin` up to `last`: the records that have not changed since, by
        position. The one at `last` is always included, so that a follower notices the gap."""
        grouped: dict[int, list[Row]] = {}
        bound = self.database.rows(
            "SELECT at FROM (SELECT DISTINCT at FROM record WHERE at > ? AND at <= ? ORDER BY at LIMIT ?)"
            " ORDER BY at DESC LIMIT 1",
            (begin, last, limit),
        )
        up_to = bound[0][0] if bound else last
        for at, *row in self.database.rows(
            "SELECT at, field, version, value, checksum FROM record WHERE at > ? AND at <= ? ORDER BY at",
            (begin, up_to),
        ):
            grouped.setdefault(at, []).append(self._checked(*row))
        if len(grouped) < limit:
            grouped.setdefault(last, [])
        return [Change(str(at), shown(rows), (), complete=False) for at, rows in sorted(grouped.items())]

    def trim(self, before: str) -> int:
        """Delete the log up to and including a position; returns the number of changes."""
        with self.database.transaction(durable=False):
            return self.database.run("DELETE FROM log WHERE position <= ?", (_number(before),)).rowcount

    def close(self) -> None:
        """Close the file."""
        self.database.close()


class EmbeddedStateCache(Ledger):
    """Records and their log in `directory`/state.sqlite, which is created if it does not exist.

    A call of `commit` is one transaction and one fsync. Nothing is deferred: when the disk is full or fails, all
    commits of the call fail.
    """

    def __init__(self, directory: Path, *, conditional: Collection[str] = ()) -> None:
        super().__init__(directory)
        self._conditional = frozenset(conditional)

    def commit(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """See `StateCache.commit`."""
        refuse_blind_puts(commits, self._conditional)
        return self.written(commits, lambda: self._all_made(commits))

    def _all_made(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        with self.database.transaction(durable=True):
            return [self._made(commit) for commit in commits]

    def _made(self, commit: Commit) -> Committed | Conflict:
        current: dict[Key, Row] = {key: self.row(field_of(key)) for key in commit.expected}
        if any(current[key][1] != version for key, version in commit.expected.items()):
            return Conflict({key: row[1] for key, row in current.items()})
        written = {key: (field, version + 1, value) for key, (field, version, value) in current.items()}
        for put in commit.puts:
            key = (put.space, put.name)
            if key in written:
                written[key] = (*written[key][:2], put.value)
            else:
                field = field_of(key)
                written[key] = (field, self.version(field) + 1, put.value)
        deleted: dict[int, set[bytes]] = {}
        for field, _, value in written.values():
            if value is None and (last := self.written_at(field)):
                deleted.setdefault(last, set()).add(field)
        self.strip(deleted)
        at = self.append(list(written.values()), joined(commit.notes))
        return Committed(str(at), {key: row[1] for key, row in written.items()})

    def waiting(self) -> Iterator[Sequence[bytes]]:
        """Empty: nothing is ever deferred."""
        return iter(())

    @property
    def health(self) -> Health:
        """Always OK: there is no shared side."""
        return Health.OK


def refuse_blind_puts(commits: Sequence[Commit], conditional: Collection[str]) -> None:
    """Raises BlindPutError when a commit puts a record of a conditional space without expecting its version."""
    for commit in commits:
        for put in commit.puts:
            if put.space in conditional and (put.space, put.name) not in commit.expected:
                raise BlindPutError(f"a put of {put.space} {put.name} expects no version")


def _only_delete(commits: Sequence[Commit]) -> bool:
    puts = [put for commit in commits for put in commit.puts]
    return bool(puts) and all(put.value is None for put in puts) and not any(each.notes for each in commits)


def shown(rows: Iterable[Row]) -> list[Record]:
    """Rows as records of the protocol, without internal ones."""
    return [Record(*key_of(field), version, value) for field, version, value in rows if field[:1] != b"~"]


def _number(position: str) -> int:
    if position == START:
        return 0
    if not position.isascii() or not position.isdecimal():
        raise ValueError(f"not a position of this log: {position!r}")
    return int(position)
