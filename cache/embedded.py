"""The state cache in one SQLite file of the store, shared by the processes of one host only."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pricegrid.cache.coding import field_of, joined
from pricegrid.cache.ledger import Ledger, Row
from pricegrid.cache.protocol import (
    Change,
    Commit,
    Committed,
    Conflict,
    Health,
    Key,
    Record,
    is_freeing,
    refuse_blind_puts,
)


class EmbeddedStateCache:
    """Records and their log in `directory`/state.sqlite, which is created if it does not exist.

    A call of `commit` is one transaction and one fsync. Nothing is deferred: when the disk is full or fails, all
    commits of the call fail.
    """

    def __init__(self, directory: Path, *, conditional: Collection[str] = ()) -> None:
        self._ledger = Ledger(directory)
        self._conditional = frozenset(conditional)

    def commit(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """See `StateCache.commit`."""
        refuse_blind_puts(commits, self._conditional)
        if is_freeing(commits):
            return self._ledger.freeing(lambda: self._all_made(commits))
        return self._all_made(commits)

    def _all_made(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        with self._ledger.database.transaction(durable=True):
            return [self._made(commit) for commit in commits]

    def _made(self, commit: Commit) -> Committed | Conflict:
        current: dict[Key, Row] = {key: self._ledger.row(field_of(key)) for key in commit.expected}
        if any(current[key][1] != version for key, version in commit.expected.items()):
            return Conflict({key: row[1] for key, row in current.items()})
        written = {key: (field, version + 1, value) for key, (field, version, value) in current.items()}
        for put in commit.puts:
            key = (put.space, put.name)
            if key in written:
                written[key] = (*written[key][:2], put.value)
            else:
                field = field_of(key)
                written[key] = (field, self._ledger.version(field) + 1, put.value)
        deleted: dict[int, set[bytes]] = {}
        for field, _, value in written.values():
            if value is None and (last := self._ledger.written_at(field)):
                deleted.setdefault(last, set()).add(field)
        self._ledger.strip(deleted)
        at = self._ledger.append(list(written.values()), joined(commit.notes))
        return Committed(str(at), {key: row[1] for key, row in written.items()})

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position."""
        return self._ledger.changes(after, limit)

    def waiting(self) -> Iterator[Sequence[bytes]]:
        """Empty: nothing is ever deferred."""
        return iter(())

    def position(self) -> str:
        """The position of the newest change."""
        return self._ledger.position()

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys, in their order."""
        return self._ledger.get(keys)

    def scan(self, space: str) -> Iterator[Record]:
        """All records of a space that have a value, by name."""
        return self._ledger.scan(space)

    def trim(self, before: str) -> int:
        """Delete the log up to and including a position; returns the number of changes."""
        return self._ledger.trim(before)

    @property
    def health(self) -> Health:
        """Always OK: there is no shared side."""
        return Health.OK

    def close(self) -> None:
        """Close the file."""
        self._ledger.close()
