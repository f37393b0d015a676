"""Healing: restores the state in Redis from the servers' mirrors after a restart, failover, flush or a trimmed log.

docs/redis.md explains why this loses nothing that was acknowledged. The state has an *epoch*, a fencing token: the key
`life` names the Redis process and the healing that made the state whole. The steps of one server (all others do the
same):

1. *Claim* (CLAIM). The epoch is not that of the Redis process that replies, or does not match the other keys: the
   state may lack its last seconds, or everything. Invalidate the epoch, so that a replica of this Redis does not pass
   for whole, and from here on refuse commits. Set a deadline one window ahead, by Redis' clock, and take a lease in
   `heal` to show that this server is at work.
2. *Reconcile*. Read all records (HSCAN) and the digests of all notes, and compare them with the mirror. Delete what
   can't be decoded. Renew the lease with every batch.
3. *Replay* (REPLAY). Repeat, one by one and with their notes, the changes at the end of the mirror's log that follow
   on what Redis has. Two servers may do this at once: the second one finds its changes present.
4. *Push* (PUSH). Write the records that are still newer here. All mirrors hold prefixes of one history, so the highest
   version of every record is the state at the end of the longest prefix. Send the notes that Redis lacks: the history
   is a set that only grows, and what any mirror has belongs to it.
5. *Finish* (FINISH). Return the lease. Once the deadline has passed and no lease is left, the first server to ask sets
   the new epoch, and commits are accepted again. If the healing is no longer the same one, the script replies 'again':
   start over. If Redis has fewer notes than any server knows of, no epoch is set: a server that has them may still
   come, or an operator accepts the loss.

A server that arrives after the epoch is set (*join*) sends the notes that Redis lacks and replays its changes, unless
others have since changed the same records. The rest is lost and is counted. Then the mirror takes from Redis every
record that is newer and every note that it lacks.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pricegrid.cache.coding import digest_of, key_of, stored_of, unstored
from pricegrid.cache.embedded import Row
from pricegrid.cache.mirror import Mirror
from pricegrid.cache.protocol import CacheCorruptError, CacheUnavailableError
from pricegrid.cache.reconcile import Reconciliation, is_whole
from pricegrid.cache.redis_link import Link, LinkError
from pricegrid.cache.redis_scripts import (
    CLAIM,
    DIGESTS,
    DISCARD,
    FINISH,
    PUSH,
    REPLAY,
    WHOLE_STATE,
    Script,
    key_named,
)

SCAN_COUNT: Final = 1000
PUSHED: Final = 500
REPLAYED: Final = 100
FETCHED: Final = 100

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WholeState:
    """The state in Redis when it is whole."""

    epoch: str
    known: int
    entry: str


class OutOfStepError(CacheUnavailableError):
    """The mirror and Redis have different epochs, or entries between them are missing: they must be reconciled."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The result of a reconciliation, until the mirror can adopt it."""

    before: str
    """The epoch of the mirror before it."""
    entry: str
    """The entry of Redis' log from which to read on."""
    gap: bool
    """Whether changes between the mirror and that entry are unknown."""
    rows: Sequence[Row]
    """The records that the mirror has to take from Redis."""
    reconciliation: Reconciliation
    """Has the notes that it has to take."""
    known: int


class Healer:
    """Heals Redis, and brings the mirror up to date. For the I/O thread."""

    def __init__(self, link: Link, mirror: Mirror, server: str) -> None:
        """`server` identifies this object among all that heal."""
        self._link = link
        self._mirror = mirror
        self._server = server
        self._options = link.options
        self._key = key_named(self._options.prefix, "life")
        self._brought: tuple[str, Reconciled] | None = None
        self.lost = 0
        """Records that were acknowledged here and then lost to those of another server."""
        self.damaged = 0
        """Records and notes in Redis that could not be read."""
        self.waits_for = ""
        """What a healing still lacks, as a message; '' when nothing is known to be missing."""

    def _run(self, *commands: Sequence[Any]) -> list[Any]:
        replies = self._link.run(self._key, commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise LinkError(f"{self._options}: {reply}", sent=True)
        return replies

    def _script(self, script: Script, *arguments: Any) -> tuple[Any, ...]:
        return (*script.head(self._options.prefix), *arguments)

    def _named(self, key: str) -> str:
        return key_named(self._options.prefix, key)

    def whole_state(self, identity: str) -> WholeState | None:
        """The state of the Redis process `identity` if it is whole; None: it has to be healed."""
        (reply,) = self._link.run(self._key, [self._script(WHOLE_STATE)])
        if isinstance(reply, Exception) or not reply or not reply[0].startswith(identity.encode() + b"@"):
            return None
        return WholeState(reply[0].decode(), int(reply[1]), reply[2].decode())

    def heal(self, identity: str) -> None:
        """Take the next steps of healing; call it again soon, until `whole_state` is not None."""
        try:
            self._heal(identity)
        except CacheUnavailableError:
            self._brought = None
            raise

    def _heal(self, identity: str) -> None:
        if self._brought is None or not self._brought[0].startswith(identity + "@"):
            (reply,) = self._run(self._claim(identity))
            if reply[0] != b"healing":
                return
            epoch, entry = reply[1].decode(), reply[2].decode()
            if not self.waits_for:
                _log.warning("%s: state may be missing; healing it from the mirror", self._options)
            self._brought = (epoch, self._bring(WholeState(epoch, 0, entry), identity))
        may_begin = int(self._options.may_begin)
        (reply,) = self._run(
            self._script(FINISH, identity, self._server, self._options.log_changes_max, may_begin),
        )
        self._finished(reply)

    def _finished(self, reply: Sequence[bytes]) -> None:
        lacking = ""
        if reply[0] == b"incomplete":
            lacking = (
                f"{int(reply[1])} messages of its history and {int(reply[2])} of its records are missing, and no"
                " connected server has them"
            )
        elif reply[0] == b"empty":
            lacking = "it is empty, and this host may not begin a history (may_begin=0)"
        elif reply[0] == b"live":
            if reply[3]:
                _log.warning("%s: no server has any state of it: a new history begins", self._options)
            if reply[4]:
                _log.warning("%s: an incomplete history was accepted: %s", self._options, reply[4].decode())
        elif reply[0] == b"wait":
            return
        if lacking and lacking != self.waits_for:
            _log.error("%s: %s; docs/redis.md says what to do", self._options, lacking)
        self.waits_for = lacking
        if reply[0] != b"live":
            # Start over: others may have deleted what could not be decoded, and the records here are needed again.
            self._brought = None

    def join(self, whole: WholeState) -> None:
        """Reconcile the mirror with a Redis whose state is whole."""
        if self._brought is not None and self._brought[0] == whole.epoch:
            reconciled = self._brought[1]
        else:
            reconciled = self._bring(whole, None)
        self._brought, self.waits_for = None, ""
        lost = self._mirror.adopt(
            reconciled.before,
            (whole.epoch, reconciled.entry),
            reconciled.rows,
            reconciled.reconciliation.notes(),
            known=reconciled.known,
            gap=reconciled.gap,
        )
        if lost:
            self.lost += lost
            _log.error(
                "%s: %d records that were acknowledged here came too late and were lost",
                self._options,
                lost,
            )
        _log.info("%s: in sync", self._options)

    def _claim(self, identity: str) -> tuple[Any, ...]:
        window_us, lease_us = (
            round(seconds * 1e6) for seconds in (self._options.heal_window_s, self._options.heal_lease_s)
        )
        return self._script(CLAIM, identity, self._server, window_us, lease_us, self._mirror.known())

    def _bring(self, begun: WholeState, identity: str | None) -> Reconciled:
        """Reconcile, replay and push; without an identity to heal, only what follows on the state in Redis."""
        before, read = self._mirror.read_position()
        same = read and self._run(("XRANGE", self._named("log"), read, read))[0]
        is_first = not read and begun.entry == "0-0"
        gap = not same and not is_first and self._mirror.position_of(begun.entry) is None
        reconciliation = Reconciliation(self._mirror)
        for rows in self._records(identity):
            reconciliation.add(rows)
            self._renew(begun.epoch, identity)
        for digests in self._digests():
            reconciliation.add_notes(digests)
            self._renew(begun.epoch, identity)
        self._replay(reconciliation, identity or begun.epoch)
        ahead = reconciliation.ahead()
        if identity is not None:
            self._push(ahead, identity)
            ahead = [row for row in ahead if reconciliation.has(row[0], row[1])]
        for digests in chunks(reconciliation.notes_behind(), FETCHED):
            reconciliation.fetched(self._fetched(digests, identity))
            self._renew(begun.epoch, identity)
        rows = [*self._stored([field for field, _, _ in ahead]), *reconciliation.behind()]
        return Reconciled(before, begun.entry, gap, rows, reconciliation, begun.known)

    def _renew(self, epoch: str, identity: str | None) -> None:
        if identity is None:
            return
        (reply,) = self._run(self._claim(identity))
        if reply[0] != b"healing" or reply[1].decode() != epoch:
            raise OutOfStepError(f"{self._options}: healing has started over")

    def _records(self, identity: str | None) -> Iterator[list[Row]]:
        cursor: Any = 0
        while True:
            ((cursor, flat),) = self._run(("HSCAN", self._named("record"), cursor, "COUNT", SCAN_COUNT))
            rows: list[Row] = []
            damaged: list[bytes] = []
            for field, stored in zip(flat[::2], flat[1::2], strict=True):
                try:
                    key_of(field)
                    rows.append((field, *unstored(stored, field)))
                except (CacheCorruptError, UnicodeDecodeError):
                    damaged += (field, stored)
            self._discard("record", damaged, identity)
            yield rows
            if cursor == b"0":
                return

    def _digests(self) -> Iterator[list[bytes]]:
        cursor: Any = 0
        while True:
            ((cursor, digests),) = self._run(self._script(DIGESTS, cursor, SCAN_COUNT))
            yield digests
            if cursor == b"0":
                return

    def _fetched(self, digests: Sequence[bytes], identity: str | None) -> list[tuple[bytes, bytes]]:
        """Notes from Redis, if they match their digest."""
        (found,) = self._run(("HMGET", self._named("note"), *digests))
        fetched: list[tuple[bytes, bytes]] = []
        damaged: list[bytes] = []
        for digest, notes in zip(digests, found, strict=True):
            if is_whole(digest, notes):
                fetched.append((digest, notes))
            elif notes is not None:
                damaged += (digest, notes)
        self._discard("note", damaged, identity)
        if len(fetched) < len(digests) and identity is None:
            raise OutOfStepError(f"{self._options}: notes disappeared while they were read")
        return fetched

    def _discard(self, kind: str, damaged: Sequence[bytes], identity: str | None) -> None:
        """Delete what can't be decoded; if the state was whole, this starts a healing."""
        if not damaged:
            return
        self.damaged += len(damaged) // 2
        _log.error(
            "%s: %d of %s can't be decoded, among them %r: deleted, to be restored from a mirror",
            self._options, len(damaged) // 2, self._named(kind), damaged[0][:80],
        )  # fmt: skip
        (reply,) = self._run(self._script(DISCARD, identity or "", kind, *damaged))
        if reply[0] == b"again":
            raise OutOfStepError(f"{self._options}: it has to be healed")

    def _replay(self, reconciliation: Reconciliation, whole: str) -> None:
        """Repeat lost changes, then send the notes that are still missing."""
        heads = (
            whole,
            self._server,
            round(self._options.heal_lease_s * 1e6),
            self._options.log_changes_max,
        )
        for changes in chunks(reconciliation.lost_changes(), REPLAYED):
            reply = self._run(
                *(
                    self._script(REPLAY, *heads, notes, digest_of(notes) if notes else b"", *_flat(rows))
                    for rows, notes in changes
                )
            )
            if [b"again"] in reply:
                raise OutOfStepError(f"{self._options}: healing has started over")
            done = [change for change, (word,) in zip(changes, reply, strict=True) if word == b"done"]
            reconciliation.add(row for rows, _ in done for row in rows)
            reconciliation.add_notes(digest_of(notes) for _, notes in done if notes)
        for batch in chunks(reconciliation.notes_ahead(), REPLAYED):
            reply = self._run(*(self._script(REPLAY, *heads, notes, digest_of(notes)) for notes in batch))
            if [b"again"] in reply:
                raise OutOfStepError(f"{self._options}: healing has started over")

    def _push(self, ahead: Sequence[Row], identity: str) -> None:
        heads = (
            identity,
            self._server,
            round(self._options.heal_lease_s * 1e6),
            self._options.log_changes_max,
        )
        for rows in chunks(ahead, PUSHED):
            (reply,) = self._run(self._script(PUSH, *heads, *_flat(rows)))
            if reply[0] == b"again":
                raise OutOfStepError(f"{self._options}: healing has started over")

    def _stored(self, fields: Sequence[bytes]) -> list[Row]:
        """Records from Redis."""
        rows: list[Row] = []
        for some in chunks(fields, PUSHED):
            (stored,) = self._run(("HMGET", self._named("record"), *some))
            rows += [
                (field, *(unstored(value, field) if value is not None else (0, None)))
                for field, value in zip(some, stored, strict=True)
            ]
        return rows


def _flat(rows: Iterable[Row]) -> list[bytes]:
    return [part for field, version, value in rows for part in (field, stored_of(version, value))]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Splits items into lists of a size; the last one may be shorter."""
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
