"""What the I/O thread of a RedisStateCache does: keep the mirror in step, make commits, tell what was deferred."""

import logging
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pricegrid.cache.coding import digest_of, field_of, joined, key_of, parted, stored_of, unpack_records
from pricegrid.cache.healing import Healer, OutOfStepError, chunks
from pricegrid.cache.mirror import Entry, Mirror, ordered
from pricegrid.cache.protocol import CacheError, CacheUnavailableError, Commit, Committed, Conflict, Health
from pricegrid.cache.redis_link import INFO, Link, LinkError, Server, policy_of
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import COMMIT, SCRIPTS, key_named

ENTRIES_READ: Final = 1000
COMMITS_SENT: Final = 500
"""Commits of one MULTI: more would keep Redis from everyone else."""
PENDING_TOLD: Final = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A commit to be made."""

    commit: Commit
    number: int = 0
    """In the outbox; 0 for one that expects something."""


Outcome = Committed | Conflict | None
"""None: told already, by another process of the host."""


class FencedError(OutOfStepError):
    """The script found that the state is not the one we are in step with, and did nothing."""


class EvictingError(CacheUnavailableError):
    """The server may drop what it holds."""


class ShortOfReplicasError(LinkError):
    """Made, but not on as many replicas as are wanted."""


class Agent:
    """State of the connection, for the I/O thread; `health`, `lost` and `damaged` may be read by any."""

    def __init__(
        self, options: RedisOptions, directory: Path, conditional: frozenset[str] = frozenset()
    ) -> None:
        self._options = options
        self._conditional = conditional
        self._mirror = Mirror(directory)
        self._link = Link(options)
        self._healer = Healer(self._link, self._mirror, f"{os.getpid()}-{uuid.uuid4().hex}")
        self._key = key_named(options.prefix, "life")
        self._log = key_named(options.prefix, "log")
        self._commit_head = COMMIT.head(options.prefix)
        self._life = ""
        self._waiting_since: int | None = None
        self._passed_over = ("0-0", 0)
        self.health = Health.UNREACHABLE
        self.said = "not connected yet"
        self._logged = ""

    @property
    def lost(self) -> int:
        """See `Healer.lost`."""
        return self._healer.lost

    @property
    def damaged(self) -> int:
        """See `RedisStateCache.damaged`."""
        return self._healer.damaged + self._passed_over[1]

    def idle(self) -> float:
        """Do what is due; in how many seconds to come again."""
        try:
            if self.health is Health.OK:
                self._watch()
            else:
                self._get_in_step()
        except LinkError as error:
            self._stop(Health.UNREACHABLE, error)
            return min(self._link.retry_in_s, self._options.retry_max_s)
        except OutOfStepError as error:
            self._stop(Health.HEALING, error)
            return self._options.retry_first_s
        except EvictingError as error:
            self._stop(Health.UNSAFE, error)
            return self._options.retry_max_s
        except CacheError as error:
            # The mirror can't be written. Without it nothing may be acknowledged.
            logger.exception("the mirror of Redis")
            self._stop(Health.UNREACHABLE, error)
            return self._options.retry_max_s
        if self._healer.waits_for:
            return self._options.retry_max_s
        # Others count on who heals to be quick about it.
        return self._options.poll_s if self.health is Health.OK else self._options.retry_first_s

    def _stop(self, health: Health, error: Exception) -> None:
        if str(error) != self._logged:
            self._logged = str(error)
            logger.warning("%s: %s", health.value, error)
        self.health, self.said = health, str(error)

    def _get_in_step(self) -> None:
        server = self._verified()
        replies = self._link.run(self._key, [("SCRIPT", "LOAD", script.source) for script in SCRIPTS])
        _refuse_errors(replies, self._options)
        standing = self._healer.standing(server.identity)
        if standing is None:
            self.health = Health.HEALING
            self._healer.heal(server.identity)
            self.said = self._healer.waits_for or "servers are bringing back what they hold"
            standing = self._healer.standing(server.identity)
            if standing is None:
                return
        if self._mirror.place()[0] != standing.life:
            self._healer.join(standing)
        self._life = standing.life
        try:
            self._follow()
        except OutOfStepError:
            self._healer.join(standing)
            self._follow()
        self.health, self.said, self._logged = Health.OK, "", ""

    def _verified(self) -> Server:
        """Who answers, after asking: a server that was degraded and promoted again since keeps its connections."""
        known = self._link.server(self._key)
        said = Server.from_info(*self._link.run(self._key, INFO))
        if said != known:
            self._link.close()
            raise LinkError(f"{self._options}: the server changed its role", sent=False)
        self._refuse_eviction(said.policy)
        return said

    def _refuse_eviction(self, policy: str | None) -> None:
        if policy is None:
            found = [
                reply[1].decode() if isinstance(reply, list) and len(reply) == 2 else None
                for reply in self._link.run(
                    self._key, [("CONFIG", "GET", "maxmemory"), ("CONFIG", "GET", "maxmemory-policy")]
                )
            ]
            policy = policy_of(*found)
        if policy is None and not self._options.any_eviction:
            raise EvictingError(
                f"{self._options} does not say what it does when its memory is full: see that it is noeviction,"
                " then say any_eviction=1"
            )
        if policy not in (None, "", "noeviction"):
            raise EvictingError(
                f"{self._options} drops keys when its memory is full (maxmemory-policy {policy}): state would be lost;"
                " it must be noeviction"
            )

    def _watch(self) -> None:
        server = self._verified()
        if self._healer.standing(server.identity) is None:
            raise OutOfStepError(f"{self._options}: some of its state is gone")
        self._follow()
        oldest = self._mirror.pending(None, 1)
        if oldest and oldest[0].number == self._waiting_since:
            self._tell(None)
        self._waiting_since = oldest[0].number if oldest else None

    def refresh(self) -> None:
        """Read what Redis has."""
        if self.health is not Health.OK:
            return
        try:
            self._follow()
        except LinkError as error:
            self._stop(Health.UNREACHABLE, error)
        except OutOfStepError as error:
            self._stop(Health.HEALING, error)

    def _follow(self) -> None:
        cursor = ""
        more = True
        while more:
            read = self._mirror.place()[1]
            if ordered(cursor) < ordered(read):
                cursor = read
            said, entries = self._link.run(self._key, [("GET", self._key), self._range(cursor, ENTRIES_READ)])
            _refuse_errors([said, entries], self._options)
            self._taken(said, entries, read, ENTRIES_READ)
            more = len(entries) > ENTRIES_READ
            cursor = entries[-1][0].decode() if entries else cursor

    def _range(self, read: str, count: int) -> tuple[Any, ...]:
        return ("XRANGE", self._log, read or "0-0", "+", "COUNT", count + 1)

    def _taken(self, said: bytes | None, replies: Sequence[Any], read: str, count: int) -> dict[str, str]:
        """Take entries of the log that follow on the last one read; where each came to stand. Each names the one before
        it and the state names the last, so whatever somebody else wrote between is told apart, and what somebody took
        out is missed."""
        words = (said or b"").decode(errors="replace").split(" ")
        life, last = words[0], words[-1]
        if life != self._life:
            raise OutOfStepError(f"{self._options}: its state is another's")
        at, chain, passed_over = read, [], []
        for reply in replies:
            name = reply[0].decode()
            if ordered(name) <= ordered(at):
                continue
            entry = _entry(reply)
            if entry is None or entry.after != at:
                passed_over.append(name)
            else:
                chain.append(entry)
                at = name
        if len(replies) <= count:
            if ordered(at) < ordered(last):
                raise OutOfStepError(f"{self._options}: its log no longer goes back to {at}")
            self._pass_over(passed_over)
        taken = self._mirror.take(self._life, chain)
        if not taken.current:
            raise OutOfStepError(f"{self._options}: the mirror belongs to another life of it")
        self._healer.lost += taken.replaced
        return taken.positions

    def _pass_over(self, names: Sequence[str]) -> None:
        up_to, count = self._passed_over
        new = [name for name in names if ordered(name) > ordered(up_to)]
        if new:
            self._passed_over = (new[-1], count + len(new))
            logger.error(
                "%s: %d entries of its log are not of this product, and were passed over: %s",
                self._options, len(new), ", ".join(new[:5]),
            )  # fmt: skip

    def commit(self, orders: Sequence[Order]) -> list[Outcome]:
        """Make commits; LinkError when that can't be done or told."""
        if self.health is not Health.OK:
            raise LinkError(f"{self._options}: {self.said}", sent=False)
        outcomes: list[Outcome] = []
        try:
            self._tell(next((order.number - 1 for order in orders if order.number), None))
            for some in chunks(orders, COMMITS_SENT):
                outcomes += self._send(some)
        except ShortOfReplicasError:
            raise
        except LinkError as error:
            self._stop(Health.UNREACHABLE, error)
            raise LinkError(str(error), sent=error.sent or bool(outcomes)) from error
        except OutOfStepError as error:
            self._stop(Health.HEALING, error)
            sent = not isinstance(error, FencedError) or bool(outcomes)
            raise LinkError(str(error), sent=sent) from error
        except CacheError as error:
            self._stop(Health.UNREACHABLE, error)
            raise LinkError(f"the mirror of Redis: {error}", sent=True) from error
        return outcomes

    def _tell(self, up_to: int | None) -> None:
        """Tell what is in the outbox."""
        while waiting := self._mirror.pending(up_to, PENDING_TOLD):
            self._send([Order(one.commit, one.number) for one in waiting])
            self._mirror.clear()
            if self._mirror.pending(waiting[0].number, 1):
                raise LinkError(f"{self._options}: what was told did not come back", sent=False)

    def _send(self, orders: Sequence[Order]) -> list[Outcome]:
        read = self._mirror.place()[1]
        commands = [("MULTI",), *(self._command(order) for order in orders), ("EXEC",)]
        replicas = self._options.wait_replicas if any(not order.number for order in orders) else 0
        if replicas:
            commands.append(("WAIT", replicas, round(self._options.wait_timeout_s * 1000)))
        count = len(orders) + ENTRIES_READ
        commands += [("GET", self._key), self._range(read, count)]
        replies = self._link.run(self._key, commands)
        said = replies[len(orders) + 1]
        self._check(said)
        _refuse_errors(replies[len(orders) + 2 :], self._options)
        positions = self._taken(replies[-2], replies[-1], read, count)
        if len(replies[-1]) > count:
            self._follow()
        if replicas and replies[-3] < replicas and any(word[0] == b"done" for word in said):
            raise ShortOfReplicasError(
                f"{self._options}: made, but only {replies[-3]} replicas have it so far", sent=True
            )
        return [self._outcome(order, word, positions) for order, word in zip(orders, said, strict=True)]

    def _check(self, said: Any) -> None:
        """Returns when every script ran and none was fenced off."""
        if not isinstance(said, list):
            raise LinkError(f"{self._options}: {said}", sent=False)
        errors = [word for word in said if isinstance(word, Exception)]
        made = any(isinstance(word, list) and word[0] == b"done" for word in said)
        if errors:
            # A demoted server, no memory, scripts that somebody emptied: a new connection finds out.
            self._link.close()
            raise LinkError(f"{self._options}: {errors[0]}", sent=made)
        if any(word[0] == b"fenced" for word in said):
            raise FencedError(f"{self._options}: its state is another's")

    def _command(self, order: Order) -> tuple[Any, ...]:
        commit = order.commit
        values = {(put.space, put.name): put.value for put in commit.puts}
        arguments: list[Any] = []
        for key, version in commit.expected.items():
            raised = version + 1
            arguments += (
                field_of(key),
                version,
                stored_of(raised, values.pop(key)) if key in values else raised,
            )
        for key, value in values.items():
            keeps = int(key[0] in self._conditional)
            arguments += (field_of(key), b"-" if value is None else b":" + value, keeps)
        notes = joined(commit.notes)
        return (
            *self._commit_head,
            self._life,
            self._options.log_changes_max,
            notes,
            digest_of(notes) if notes else b"",
            *((self._mirror.told_field, order.number) if order.number else ("", "")),
            len(commit.expected),
            *arguments,
        )

    def _outcome(self, order: Order, said: Sequence[Any], positions: dict[str, str]) -> Outcome:
        expected = order.commit.expected
        match said[0]:
            case b"done":
                entry = said[1].decode()
                position = positions.get(entry) or self._mirror.position_of(entry)
                versions = {key: version + 1 for key, version in expected.items()}
                others = [key for put in order.commit.puts if (key := (put.space, put.name)) not in versions]
                versions.update(zip(dict.fromkeys(others), (int(raised) for raised in said[2]), strict=True))
                return Committed(position or self._mirror.ledger.position(), versions)
            case b"conflict":
                return Conflict(dict(zip(expected, (int(version) for version in said[1]), strict=True)))
        return None

    def close(self) -> None:
        """End."""
        self._link.close()
        self._mirror.close()


def _entry(reply: Sequence[Any]) -> Entry | None:
    """An entry of the log; None when it is none of ours."""
    try:
        fields = dict(zip(reply[1][::2], reply[1][1::2], strict=True))
        records = list(unpack_records(fields[b"r"]))
        for field, _, _ in records:
            key_of(field)
        parted(fields[b"n"])
        return Entry(
            reply[0].decode(),
            records,
            fields[b"n"],
            fields[b"h"].decode(),
            fields[b"p"].decode(),
            int(fields[b"k"]),
        )
    except (KeyError, ValueError, CacheError):
        return None


def _refuse_errors(replies: Sequence[Any], options: RedisOptions) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise LinkError(f"{options}: {reply}", sent=True)
