"""The protocol of the cache: versioned records, a log of their changes, and values that expire.

    CacheError
    ├── CacheUnavailableError      what was asked for was not done; trying again later may help
    │   ├── DiskFullError          there is no room for it
    │   └── CommitUnknownError     ... or it was done: the answer did not come; the records tell
    ├── BlindPutError              a mistake of the caller; nothing was changed
    └── CacheCorruptError          what is stored is damaged or of another release: an operator has to act

Two implementations hold it: `cache.embedded` (SQLite in the store, the workers of one host) and `cache.redis_store`
(shared by hosts). The domain decides what the bytes mean; the cache decides nothing but which commit came first.

A *record* is a value under (space, name) with a version that only grows. A *commit* is atomic: either every expected
version was met, then all its records are written and its notes are logged as one change, or nothing happens and the
caller is told the versions that stand. The *log* is all changes in one order; who follows it from a position sees
every commit exactly once and in that order.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

START: Final = ""
"""The position before the first change of a log."""

Key = tuple[str, str]
"""(space, name): 'reservation', 'pair', 'dead_letter', 'offset', 'snapshot', ... A space has no NUL and does not begin
with '~'."""


class CacheError(Exception):
    """Root of the errors of this package."""


class CacheUnavailableError(CacheError):
    """Nothing can be promised to be shared now; nothing was changed. The text says what was tried."""


class DiskFullError(CacheUnavailableError):
    """There is no room for it. Commits that only delete are made all the same, in room that is kept back for them."""


class CommitUnknownError(CacheUnavailableError):
    """The commits were sent, or written, and no word came back in time: each was made in full or not at all.

    Asking again with the same expected versions is safe: a commit that was made turns it into a Conflict.
    """


class BlindPutError(CacheError, ValueError):
    """A put into a conditional space that expects nothing: what is stored there must never go back."""


class CacheCorruptError(CacheError):
    """What is stored is not what this release wrote; the text names the file or the key."""


class Health(Enum):
    """Whether the shared side can be relied on."""

    OK = "OK"
    HEALING = "HEALING"
    """It lost something or is new: servers are bringing back what they hold; conditional commits are refused."""
    UNREACHABLE = "UNREACHABLE"
    UNSAFE = "UNSAFE"
    """It may drop what it holds when its memory is full: conditional commits are refused until it is told not to."""


@dataclass(frozen=True, slots=True)
class Record:
    """A value as it is stored; version 0 means that there is none."""

    space: str
    name: str
    version: int
    value: bytes | None
    """None: deleted, or only its version counts."""


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value; None deletes it, its version stays known."""

    space: str
    name: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything of it or nothing."""

    expected: Mapping[Key, int] = field(default_factory=dict)
    """The version that each of these must have (0: never written). All of them are raised by one, put or not."""
    puts: Sequence[Put] = ()
    """A key that is not expected is overwritten whatever its version (see `BlindPutError`). Of several puts of one key
    the last counts."""
    notes: Sequence[bytes] = ()
    """Logged in order with the records; not kept as records themselves. All notes ever made are the history: whoever
    joins gets them, in any order; those of one commit that are made again are not told again."""


@dataclass(frozen=True, slots=True)
class Committed:
    """It is done, and survives the end of any process."""

    position: str
    """Of its change in the log. START when it was deferred: see `StateCache.commit`."""
    versions: Mapping[Key, int]
    """The versions that the expected and put keys have now; empty when it was deferred."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else was first; nothing was changed."""

    versions: Mapping[Key, int]
    """The versions that the expected keys have."""


@dataclass(frozen=True, slots=True)
class Change:
    """One commit as followers see it."""

    position: str
    records: Sequence[Record]
    """The expected and put keys as they were after it."""
    notes: Sequence[bytes]
    complete: bool = True
    """False: it stands for changes that are no longer known one by one (trimmed here, or lost by Redis). The records
    are what became of them. Their notes have come before as changes of their own, in any order; of changes trimmed here
    they are gone."""


def is_freeing(commits: Sequence[Commit]) -> bool:
    """Whether commits only delete."""
    puts = [put for commit in commits for put in commit.puts]
    return bool(puts) and all(put.value is None for put in puts) and not any(each.notes for each in commits)


def refuse_blind_puts(commits: Sequence[Commit], conditional: Collection[str]) -> None:
    """Raises BlindPutError when a commit puts a record of a conditional space without expecting its version."""
    for commit in commits:
        for put in commit.puts:
            if put.space in conditional and (put.space, put.name) not in commit.expected:
                raise BlindPutError(f"a put of {put.space} {put.name} expects no version")


class StateCache(Protocol):
    """Records and their log. Used by one thread at a time; `health` by any.

    Spaces may be declared conditional when a cache is opened: a version there rises by a conditional commit alone, so
    that nobody who has not seen the newest value can write an older one over it.
    """

    def commit(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """Make several commits, each atomic by itself, in order, made durable together.

        A commit that expects nothing is never refused for want of the shared side: it is kept here, told to the others
        once they can be reached, in order and once, and answered with position START. It joins the log (also of this
        host) when it has been told; `get` and `scan` show its values at once.

        One that expects something raises CacheUnavailableError (and then none of the conditional ones of this call was
        made, while the others were kept), or CommitUnknownError when that can't be told.
        """
        ...

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position, oldest first; changes made through this object are among them.

        A position stays good for ever on the host that gave it out. Versions tell which of two records is newer: a
        change may repeat what an incomplete one before it has already brought.
        """
        ...

    def waiting(self) -> Iterator[Sequence[bytes]]:
        """The notes of commits that were deferred and are not in the log yet, in the order they were made."""
        ...

    def position(self) -> str:
        """The position of the newest change. To load everything: take it, `scan`, then follow the changes after it."""
        ...

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys, in their order, as far as they are known here."""
        ...

    def scan(self, space: str) -> Iterator[Record]:
        """Every record of a space that has a value, by name. Each is as it is when reached: not one instant."""
        ...

    def trim(self, before: str) -> int:
        """Forget the notes of changes up to and including a position; how many changes went.

        Who follows from further back then gets those changes as incomplete ones.
        """
        ...

    @property
    def health(self) -> Health:
        """OK for the embedded one; of the shared side otherwise. Never waits."""
        ...

    def close(self) -> None:
        """End; what was committed stays."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """A value that expires. It carries whose it is and which key it was stored under: both are compared on read."""

    owner: str
    """The customer it belongs to; '' for everyone."""
    key: str
    value: bytes
    stored_at_us: int
    expires_us: int
    """Not valid from this instant on (half-open)."""


class ValueCache(Protocol):
    """Values that expire, written through. Safe to use by many threads; nothing here ever waits past its budget."""

    def get(self, owner: str, keys: Sequence[str], now_us: int) -> list[Value | None]:
        """What is known, or could be fetched within the budget; None for absent, expired or not the owner's."""
        ...

    def put(self, values: Sequence[Value]) -> None:
        """Remember here at once, and pass on in the background."""
        ...

    def drop(self, owner: str, keys: Sequence[str]) -> None:
        """Forget here at once, and pass on in the background: the next `get` finds none."""
        ...

    def close(self) -> None:
        """End, passing on what is still open for a bounded time."""
        ...
