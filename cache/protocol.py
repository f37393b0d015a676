"""The protocol of the cache: versioned records, a log of their changes, and values that expire.

    CacheError
    ├── CacheUnavailableError      the operation was not done; retrying later may help
    │   ├── DiskFullError          the disk is full
    │   └── CommitUnknownError     the commit may have been made; the records tell
    ├── BlindPutError              a programming error of the caller; nothing was changed
    └── CacheCorruptError          stored data is damaged or of another release: an operator has to act

There are two implementations: `cache.embedded` (SQLite in the store, for one host) and `cache.redis_store` (shared by
hosts). The cache does not interpret the bytes; it only decides which commit comes first.

A *record* is a value under (space, name) with a version that only grows. A *commit* is atomic: if every expected
version matches, all its records are written and its notes are logged as one change; otherwise nothing happens and the
caller gets the current versions. The *log* has all changes in one order; a follower that reads it from a position sees
every commit exactly once, in that order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

START: Final = ""
"""The position before the first change of a log."""

Key = tuple[str, str]
"""(space, name): 'reservation', 'pair', 'dead_letter', 'offset', 'snapshot', ... A space does not contain NUL and does
not begin with '~'."""


class CacheError(Exception):
    """Root of the errors of this package."""


class CacheUnavailableError(CacheError):
    """The shared side is unavailable; nothing was changed. The text says what was tried."""


class DiskFullError(CacheUnavailableError):
    """The disk is full. Commits that only delete still work, in a reserve on the disk."""


class CommitUnknownError(CacheUnavailableError):
    """The commits were sent or written, but not confirmed in time: each was made in full or not at all.

    Retrying with the same expected versions is safe: if the commit was made, the retry is a Conflict.
    """


class BlindPutError(CacheError, ValueError):
    """A put into a conditional space without an expected version: it could overwrite a newer value."""


class CacheCorruptError(CacheError):
    """Stored data is not in the format of this release; the text names the file or the key."""


class Health(Enum):
    """The state of the shared side. Conditional commits are accepted only in OK."""

    OK = "OK"
    HEALING = "HEALING"
    """It lost something or is new: servers are restoring it."""
    UNREACHABLE = "UNREACHABLE"
    UNSAFE = "UNSAFE"
    """It may evict keys when its memory is full, until an operator reconfigures it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored value; version 0 means that it was never written."""

    space: str
    name: str
    version: int
    value: bytes | None
    """None: deleted, or only the version is used."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value; None deletes it but keeps its version."""

    space: str
    name: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Commit:
    """An atomic change: all of it is made or nothing."""

    expected: Mapping[Key, int] = field(default_factory=dict)
    """The version that each of these records must have (0: never written). Each is incremented, put or not."""
    puts: Sequence[Put] = ()
    """A key without an expected version is overwritten (see `BlindPutError`). Of several puts of one key the last one
    counts."""
    notes: Sequence[bytes] = ()
    """Logged in order together with the records, but not stored as records. All notes ever made are the history, which
    a joining host gets in any order. Repeating the notes of a commit has no effect."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The commit is made, and survives the end of any process."""

    position: str
    """Of its change in the log; START if it was deferred (see `StateCache.commit`)."""
    versions: Mapping[Key, int]
    """The new versions of the expected and put keys; empty if it was deferred."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """An expected version did not match; nothing was changed."""

    versions: Mapping[Key, int]
    """The current versions of the expected keys."""


@dataclass(frozen=True, slots=True)
class Change:
    """One commit as followers of the log see it."""

    position: str
    records: Sequence[Record]
    """The expected and put records after the commit."""
    notes: Sequence[bytes]
    complete: bool = True
    """False: it replaces changes that are no longer known one by one (trimmed here, or lost by Redis); the records are
    their outcome. Their notes came before as changes of their own, in any order; those of changes trimmed here are
    gone."""


class StateCache(Protocol):
    """Records and their log. For one thread at a time; `health` may be read by any thread.

    Spaces may be declared conditional when a cache is opened: their records can be changed by conditional commits only,
    so that nobody can overwrite a newer value without having seen it.
    """

    def commit(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """Make several commits in order, each of them atomic, and all durable together.

        An unconditional commit never fails because the shared side is unavailable: it is deferred, which means stored
        in the outbox, sent in order and once as soon as possible, and answered with position START. It enters the log,
        also on this host, when it has been sent; `get` and `scan` return its values at once.

        For a conditional commit this raises CacheUnavailableError (then none of the conditional commits of the call was
        made, while the others were stored), or CommitUnknownError when it is unknown whether they were made.
        """
        ...

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position, oldest first; changes made through this object are among them.

        A position stays valid forever on the host that returned it. Versions tell which of two records is newer: a
        change may repeat what an incomplete one before it already had.
        """
        ...

    def waiting(self) -> Iterator[Sequence[bytes]]:
        """The notes of deferred commits that are not in the log yet, in the order they were made."""
        ...

    def position(self) -> str:
        """The position of the newest change. To load everything: read it, `scan`, then follow the changes after it."""
        ...

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys, in their order, as far as known on this host."""
        ...

    def scan(self, space: str) -> Iterator[Record]:
        """All records of a space that have a value, by name. Not a snapshot: each is read when it is reached."""
        ...

    def trim(self, before: str) -> int:
        """Delete the log up to and including a position; returns the number of changes.

        A follower that is further behind gets those changes as incomplete ones.
        """
        ...

    @property
    def health(self) -> Health:
        """The state of the shared side; always OK for the embedded cache. Never blocks."""
        ...

    def close(self) -> None:
        """Close the cache."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """A value that expires. It includes its owner and key, which are compared when it is read."""

    owner: str
    """The customer it belongs to; '' for everyone."""
    key: str
    value: bytes
    stored_at_us: int
    expires_us: int
    """Invalid from this instant on (half-open)."""


class ValueCache(Protocol):
    """Values that expire, written through. Safe to use from many threads; no method blocks beyond its budget."""

    def get(self, owner: str, keys: Sequence[str], now_us: int) -> list[Value | None]:
        """The values that are known or fetched within the budget; None: absent, expired, or another owner's."""
        ...

    def put(self, values: Sequence[Value]) -> None:
        """Store here at once, and write through in the background."""
        ...

    def drop(self, owner: str, keys: Sequence[str]) -> None:
        """Delete here at once, and write through in the background: the next `get` finds nothing."""
        ...

    def close(self) -> None:
        """Close, after writing through what is pending for a bounded time."""
        ...
