"""The work of a RedisStateCache's I/O thread: keep the mirror in sync, make commits, send the outbox."""

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
"""Commits per MULTI: more would block Redis for everyone else."""
PENDING_SENT: Final = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """A commit to make."""

    commit: Commit
    number: int = 0
    """Its number in the outbox; 0 for a conditional commit."""


Outcome = Committed | Conflict | None
"""None: sent already by another process of the host."""


class FencedError(OutOfStepError):
    """The script found another epoch than ours, and did nothing."""


class EvictingError(CacheUnavailableError):
    """The server may evict keys."""


class ShortOfReplicasError(LinkError):
    """The commit was made, but fewer replicas than required have it."""


class Agent:
    """The state of the connection. For the I/O thread; `health`, `lost` and `damaged` may be read by any thread."""

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
        self._epoch = ""
        self._waiting_since: int | None = None
        self._skipped = ("0-0", 0)
        self.health = Health.UNREACHABLE
        self.reason = "not connected yet"
        self._logged = ""

    @property
    def lost(self) -> int:
        """See `Healer.lost`."""
        return self._healer.lost

    @property
    def damaged(self) -> int:
        """See `RedisStateCache.damaged`."""
        return self._healer.damaged + self._skipped[1]

    def idle(self) -> float:
        """Do the periodic work; returns in how many seconds to call it again."""
        try:
            if self.health is Health.OK:
                self._watch()
            else:
                self._synchronize()
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
            # Without the mirror nothing may be acknowledged.
            _log.exception("the mirror of Redis can't be written")
            self._stop(Health.UNREACHABLE, error)
            return self._options.retry_max_s
        if self._healer.waits_for:
            return self._options.retry_max_s
        # While healing, be quick: other servers wait for it.
        return self._options.poll_s if self.health is Health.OK else self._options.retry_first_s

    def _stop(self, health: Health, error: Exception) -> None:
        if str(error) != self._logged:
            self._logged = str(error)
            _log.warning(
                "live state is not shared: reservations are refused and events are kept on this host (%s): %s",
                health.value,
                error,
            )
        self.health, self.reason = health, str(error)

    def _synchronize(self) -> None:
        server = self._verified()
        replies = self._link.run(self._key, [("SCRIPT", "LOAD", script.source) for script in SCRIPTS])
        _refuse_errors(replies, self._options)
        whole = self._healer.whole_state(server.identity)
        if whole is None:
            self.health = Health.HEALING
            self._healer.heal(server.identity)
            self.reason = self._healer.waits_for or "servers are restoring its state"
            whole = self._healer.whole_state(server.identity)
            if whole is None:
                return
        if self._mirror.read_position()[0] != whole.epoch:
            self._healer.join(whole)
        self._epoch = whole.epoch
        try:
            self._follow()
        except OutOfStepError:
            self._healer.join(whole)
            self._follow()
        self.health, self.reason, self._logged = Health.OK, "", ""
        _log.info("live state is shared over %s", self._options)

    def _verified(self) -> Server:
        """The server, asked again: one that was demoted and promoted meanwhile keeps its connections."""
        known = self._link.server(self._key)
        server = Server.from_info(*self._link.run(self._key, INFO))
        if server != known:
            self._link.close()
            raise LinkError(f"{self._options}: the server changed its role", sent=False)
        self._refuse_eviction(server.policy)
        return server

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
                f"{self._options} does not report its maxmemory-policy: make sure that it is noeviction,"
                " then set any_eviction=1"
            )
        if policy not in (None, "", "noeviction"):
            raise EvictingError(
                f"{self._options} evicts keys when its memory is full (maxmemory-policy {policy}): state would be lost;"
                " it must be noeviction"
            )

    def _watch(self) -> None:
        server = self._verified()
        if self._healer.whole_state(server.identity) is None:
            raise OutOfStepError(f"{self._options}: some of its state is missing")
        self._follow()
        oldest = self._mirror.pending(None, 1)
        if oldest and oldest[0].number == self._waiting_since:
            self._flush_outbox(None)
        self._waiting_since = oldest[0].number if oldest else None

    def refresh(self) -> None:
        """Read the new changes in Redis."""
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
            read = self._mirror.read_position()[1]
            if ordered(cursor) < ordered(read):
                cursor = read
            reply, entries = self._link.run(
                self._key, [("GET", self._key), self._range(cursor, ENTRIES_READ)]
            )
            _refuse_errors([reply, entries], self._options)
            self._ingest(reply, entries, read, ENTRIES_READ)
            more = len(entries) > ENTRIES_READ
            cursor = entries[-1][0].decode() if entries else cursor

    def _range(self, read: str, count: int) -> tuple[Any, ...]:
        return ("XRANGE", self._log, read or "0-0", "+", "COUNT", count + 1)

    def _ingest(self, state: bytes | None, replies: Sequence[Any], read: str, count: int) -> dict[str, str]:
        """Ingest the entries of the log that follow on the last one read; returns their positions here.

        Each entry names the one before it and the state names the last one, so foreign entries are recognised and
        missing ones are noticed.
        """
        words = (state or b"").decode(errors="replace").split(" ")
        epoch, last = words[0], words[-1]
        if epoch != self._epoch:
            raise OutOfStepError(f"{self._options}: its epoch has changed")
        at, chain, skipped = read, [], []
        for reply in replies:
            name = reply[0].decode()
            if ordered(name) <= ordered(at):
                continue
            entry = _entry(reply)
            if entry is None or entry.after != at:
                skipped.append(name)
            else:
                chain.append(entry)
                at = name
        if len(replies) <= count:
            if ordered(at) < ordered(last):
                raise OutOfStepError(f"{self._options}: its log no longer goes back to {at}")
            self._skip(skipped)
        ingested = self._mirror.ingest(self._epoch, chain)
        if not ingested.current:
            raise OutOfStepError(f"{self._options}: the mirror has moved to another epoch")
        self._healer.lost += ingested.replaced
        return ingested.positions

    def _skip(self, names: Sequence[str]) -> None:
        up_to, count = self._skipped
        new = [name for name in names if ordered(name) > ordered(up_to)]
        if new:
            self._skipped = (new[-1], count + len(new))
            _log.error(
                "%s: skipped %d entries of its log that are not Pricegrid's: %s",
                self._options, len(new), ", ".join(new[:5]),
            )  # fmt: skip

    def commit(self, orders: Sequence[Order]) -> list[Outcome]:
        """Make commits; raises LinkError when they were not made, or when that is unknown (`sent`)."""
        if self.health is not Health.OK:
            raise LinkError(f"{self._options}: {self.reason}", sent=False)
        outcomes: list[Outcome] = []
        try:
            self._flush_outbox(next((order.number - 1 for order in orders if order.number), None))
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
            raise LinkError(f"the mirror of Redis can't be written: {error}", sent=True) from error
        return outcomes

    def _flush_outbox(self, up_to: int | None) -> None:
        """Send the commits of the outbox."""
        while waiting := self._mirror.pending(up_to, PENDING_SENT):
            self._send([Order(one.commit, one.number) for one in waiting])
            self._mirror.clear()
            if self._mirror.pending(waiting[0].number, 1):
                raise LinkError(f"{self._options}: a sent commit did not appear in the log", sent=False)

    def _send(self, orders: Sequence[Order]) -> list[Outcome]:
        read = self._mirror.read_position()[1]
        commands = [("MULTI",), *(self._command(order) for order in orders), ("EXEC",)]
        replicas = self._options.wait_replicas if any(not order.number for order in orders) else 0
        if replicas:
            commands.append(("WAIT", replicas, round(self._options.wait_timeout_s * 1000)))
        count = len(orders) + ENTRIES_READ
        commands += [("GET", self._key), self._range(read, count)]
        replies = self._link.run(self._key, commands)
        reply = replies[len(orders) + 1]
        self._check(reply)
        _refuse_errors(replies[len(orders) + 2 :], self._options)
        positions = self._ingest(replies[-2], replies[-1], read, count)
        if len(replies[-1]) > count:
            self._follow()
        if replicas and replies[-3] < replicas and any(word[0] == b"done" for word in reply):
            raise ShortOfReplicasError(
                f"{self._options}: made, but only {replies[-3]} replicas have it so far", sent=True
            )
        return [self._outcome(order, word, positions) for order, word in zip(orders, reply, strict=True)]

    def _check(self, reply: Any) -> None:
        """Raises unless every script ran and none was fenced off."""
        if not isinstance(reply, list):
            raise LinkError(f"{self._options}: {reply}", sent=False)
        errors = [word for word in reply if isinstance(word, Exception)]
        made = any(isinstance(word, list) and word[0] == b"done" for word in reply)
        if errors:
            # A demoted server, no memory, flushed scripts: find out with a new connection.
            self._link.close()
            raise LinkError(f"{self._options}: {errors[0]}", sent=made)
        if any(word[0] == b"fenced" for word in reply):
            raise FencedError(f"{self._options}: its epoch has changed")

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
            self._epoch,
            self._options.log_changes_max,
            notes,
            digest_of(notes) if notes else b"",
            *((self._mirror.acked_field, order.number) if order.number else ("", "")),
            len(commit.expected),
            *arguments,
        )

    def _outcome(self, order: Order, reply: Sequence[Any], positions: dict[str, str]) -> Outcome:
        expected = order.commit.expected
        match reply[0]:
            case b"done":
                entry = reply[1].decode()
                position = positions.get(entry) or self._mirror.position_of(entry)
                versions = {key: version + 1 for key, version in expected.items()}
                others = [key for put in order.commit.puts if (key := (put.space, put.name)) not in versions]
                versions.update(zip(dict.fromkeys(others), (int(raised) for raised in reply[2]), strict=True))
                return Committed(position or self._mirror.ledger.position(), versions)
            case b"conflict":
                return Conflict(dict(zip(expected, (int(version) for version in reply[1]), strict=True)))
        return None

    def close(self) -> None:
        """Close the connection and the mirror."""
        self._link.close()
        self._mirror.close()


def _entry(reply: Sequence[Any]) -> Entry | None:
    """Decodes an entry of the log; None when it is not Pricegrid's."""
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
