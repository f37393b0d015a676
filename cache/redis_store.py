"""The state cache shared by hosts: commits are made in Redis, and a mirror on this host has a copy of everything.

    caller's thread                      I/O thread (redis_agent.py)          Redis
    commit ── outbox (mirror) ──▶ queue ──▶ MULTI, scripts, EXEC, XRANGE ──▶ compares, writes, logs
       ▲                                      │ records and log into the mirror
       └──────────── future ◀─────────────────┘
    get, scan, changes ──▶ mirror

A commit is acknowledged when the mirror has it too, so this host can restore whatever Redis loses (healing.py). Reads
never need Redis. docs/redis.md describes the guarantees and their assumptions.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from pricegrid.cache.embedded import refuse_blind_puts
from pricegrid.cache.io_thread import Abandoned, IoThread
from pricegrid.cache.mirror import Mirror
from pricegrid.cache.protocol import (
    START,
    CacheUnavailableError,
    Change,
    Commit,
    Committed,
    CommitUnknownError,
    Conflict,
    Health,
    Key,
    Record,
)
from pricegrid.cache.redis_agent import Agent, Order, Outcome
from pricegrid.cache.redis_link import LinkError
from pricegrid.cache.redis_options import RedisOptions

DEFERRED: Final = Committed(START, {})


class RedisStateCache:
    """Records and their log in Redis, mirrored in `directory`/state.sqlite. Open it after a fork, not before."""

    def __init__(self, options: RedisOptions, directory: Path, *, conditional: Collection[str] = ()) -> None:
        self._options = options
        self._conditional = frozenset(conditional)
        self._mirror = Mirror(directory)
        self._agent = Agent(options, directory, self._conditional)
        self._io = IoThread("redis-state", self._agent.idle)

    def commit(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """See `StateCache.commit`."""
        refuse_blind_puts(commits, self._conditional)
        reachable = self.health is Health.OK
        free = [commit for commit in commits if not commit.expected]
        numbers = self._enqueued(free, durable=not reachable) if free else []
        numbered = iter(numbers)
        orders = [Order(commit, 0 if commit.expected else next(numbered)) for commit in commits]
        try:
            if not reachable:
                raise CacheUnavailableError(f"{self._options}: {self._agent.reason}")
            outcomes = self._made(orders, conditional=len(free) < len(commits))
        except CacheUnavailableError:
            if numbers and reachable:
                self._mirror.harden()
            if len(free) < len(commits):
                raise
            outcomes = [None] * len(commits)
        return [outcome or DEFERRED for outcome in outcomes]

    def _enqueued(self, commits: Sequence[Commit], *, durable: bool) -> list[int]:
        mirror = self._mirror
        return mirror.ledger.written(commits, lambda: mirror.enqueue(commits, durable=durable))

    def _made(self, orders: Sequence[Order], *, conditional: bool) -> list[Outcome]:
        budget_s = self._options.commit_budget_s if conditional else self._options.tell_budget_s
        try:
            return self._io.call(lambda: self._agent.commit(orders), budget_s)
        except Abandoned as left:
            kind = CommitUnknownError if left.begun else CacheUnavailableError
            raise kind(f"{self._options}: no answer within {budget_s} s") from None
        except LinkError as error:
            raise (CommitUnknownError if error.sent else CacheUnavailableError)(str(error)) from error

    def changes(self, after: str, limit: int) -> list[Change]:
        """The next changes after a position, including the newest of Redis if it replies within the budget."""
        if self.health is Health.OK:
            # Beyond the budget they are read in the background.
            with contextlib.suppress(Abandoned):
                self._io.call(self._agent.refresh, self._options.refresh_budget_s)
        return self._mirror.changes(after, limit)

    def waiting(self) -> Iterator[Sequence[bytes]]:
        """The notes in the outbox."""
        return self._mirror.waiting()

    def position(self) -> str:
        """The position of the newest change that this host knows."""
        return self._mirror.ledger.position()

    def get(self, keys: Sequence[Key]) -> list[Record]:
        """The records of some keys, from the mirror."""
        return self._mirror.get(keys)

    def scan(self, space: str) -> Iterator[Record]:
        """All records of a space that have a value, from the mirror."""
        return self._mirror.scan(space)

    def trim(self, before: str) -> int:
        """Delete the log on this host. Redis' own log is bounded by `log_changes_max`."""
        return self._mirror.ledger.trim(before)

    @property
    def health(self) -> Health:
        """The state of the shared side, as last seen."""
        return self._agent.health

    @property
    def trouble(self) -> str:
        """Why health is not OK, as a message; '' when it is."""
        return self._agent.reason

    @property
    def lost(self) -> int:
        """Records that were acknowledged here and then lost, since this object was made. Anything but 0 means that two
        primaries accepted commits at the same time, or that this host joined a healing too late: see docs/redis.md."""
        return self._agent.lost

    @property
    def damaged(self) -> int:
        """Entries, records and notes in Redis that this host could not decode and skipped."""
        return self._agent.damaged

    def close(self) -> None:
        """Close, within the time of one command; the next process to open the mirror sends the outbox."""
        if self._io.close(self._options.command_timeout_s + self._options.connect_timeout_s):
            self._agent.close()
        self._mirror.close()
