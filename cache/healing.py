"""How the state becomes whole again after Redis restarted, failed over, was flushed, or trimmed what was not read yet.

docs/redis.md tells why this loses nothing that was acknowledged. In short, for one server (all others do the same):

1. *Claim* (CLAIM). The key `life` does not name the server process that answers, or not what lies in the other keys:
   the state may lack the last seconds or all. `life` is overwritten, so that a replica made from here does not pass for
   whole; `heal` gets a deadline one window ahead, by Redis' clock; our lease in it says that we are at work. Commits
   are refused from here on.
2. *Survey*. All records are read (HSCAN) and laid beside the mirror's, and the digests of all notes; what can't be read
   is taken away. The lease is renewed with every batch.
3. *Replay* (REPLAY). Changes at the end of the mirror's log that follow on what Redis has are made again one by one,
   with their notes. Two servers that do this at once bring the same changes: the second finds them present.
4. *Push* (PUSH). Records that are still newer here are written. Mirrors hold beginnings of one history, so the highest
   version of every record is the state at the end of the longest of them. Notes that Redis lacks are told again: the
   history is a set that only grows, what belongs into it is what any mirror has.
5. *Finish* (FINISH). Our lease is given back. Once the deadline has passed and no lease is left, whoever asks first
   sets `life`; commits go on. Stops early with 'again' when the healing is no longer the same one: from the top. With
   fewer notes than any server knows there are, nobody sets it: a server that has them may come, or an operator accepts.

A server that comes when `life` is set already (*join*) brings the notes that Redis lacks, replays what nobody brought,
as far as nobody built on other ground since; the rest is lost, is counted, and the mirror takes what Redis has: every
record that is newer there and every note that is not here.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pricegrid.cache.coding import digest_of, key_of, stored_of, unstored
from pricegrid.cache.ledger import Row
from pricegrid.cache.mirror import Mirror
from pricegrid.cache.protocol import CacheCorruptError, CacheUnavailableError
from pricegrid.cache.reconcile import Survey, is_whole
from pricegrid.cache.redis_link import Link, LinkError
from pricegrid.cache.redis_scripts import (
    CLAIM,
    DIGESTS,
    DISCARD,
    FINISH,
    PUSH,
    REPLAY,
    STANDING,
    Script,
    key_named,
)

SCAN_COUNT: Final = 1000
PUSHED: Final = 500
REPLAYED: Final = 100
FETCHED: Final = 100

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a state that is whole."""

    life: str
    known: int
    entry: str


class OutOfStepError(CacheUnavailableError):
    """The mirror and Redis are not of one life, or what lies between them is gone: they have to be compared."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a comparison found out, until it can be acted upon."""

    before: str
    """The life of the mirror at its beginning."""
    entry: str
    """Where in the log of Redis reading goes on."""
    gap: bool
    """Whether changes between the mirror and that place are unknown."""
    rows: Sequence[Row]
    """What the mirror has to take from Redis."""
    survey: Survey
    """Holds the notes that it has to take."""
    known: int


class Healer:
    """Brings Redis and the mirror together. For the I/O thread."""

    def __init__(self, link: Link, mirror: Mirror, server: str) -> None:
        """`server` names this object among all that heal."""
        self._link = link
        self._mirror = mirror
        self._server = server
        self._options = link.options
        self._key = key_named(self._options.prefix, "life")
        self._brought: tuple[str, Surveyed] | None = None
        self.lost = 0
        """Records that the mirror had to give up: acknowledged once, overtaken by what Redis has."""
        self.damaged = 0
        """Records and notes in Redis that could not be read."""
        self.waits_for = ""
        """What a healing lacks that nobody has brought yet; '' when nothing is known to be missing."""

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

    def standing(self, identity: str) -> Standing | None:
        """What Redis says of a state that is whole and this server's; None: it has to be healed."""
        (said,) = self._link.run(self._key, [self._script(STANDING)])
        if isinstance(said, Exception) or not said or not said[0].startswith(identity.encode() + b"@"):
            return None
        return Standing(said[0].decode(), int(said[1]), said[2].decode())

    def heal(self, identity: str) -> None:
        """Do the next steps of healing a server, to be called again soon, until `standing` says that it is whole."""
        try:
            self._heal(identity)
        except CacheUnavailableError:
            self._brought = None
            raise

    def _heal(self, identity: str) -> None:
        if self._brought is None or not self._brought[0].startswith(identity + "@"):
            (said,) = self._run(self._claim(identity))
            if said[0] != b"healing":
                return
            life, entry = said[1].decode(), said[2].decode()
            if not self.waits_for:
                logger.warning("%s: state may be missing; bringing what is known here", self._options)
            self._brought = (life, self._bring(Standing(life, 0, entry), identity))
        may_begin = int(self._options.may_begin)
        (said,) = self._run(
            self._script(FINISH, identity, self._server, self._options.log_changes_max, may_begin),
        )
        self._finished(said)

    def _finished(self, said: Sequence[bytes]) -> None:
        lacking = ""
        if said[0] == b"incomplete":
            lacking = (
                f"{int(said[1])} messages of its history and {int(said[2])} of its records are missing, and no server"
                " that is here has them"
            )
        elif said[0] == b"empty":
            lacking = "it is empty, and this host may not begin a history (may_begin=0)"
        elif said[0] == b"live":
            if said[3]:
                logger.warning("%s: no server knows of anything here: a new history begins", self._options)
            if said[4]:
                logger.warning("%s: an incomplete history was accepted: %s", self._options, said[4].decode())
        elif said[0] == b"wait":
            return
        if lacking and lacking != self.waits_for:
            logger.error("%s: %s; docs/redis.md says what to do", self._options, lacking)
        self.waits_for = lacking
        if said[0] != b"live":
            # From the top: others may have taken away what could not be read, and what is here is still wanted.
            self._brought = None

    def join(self, standing: Standing) -> None:
        """Bring the mirror in step with a Redis that is whole."""
        if self._brought is not None and self._brought[0] == standing.life:
            surveyed = self._brought[1]
        else:
            surveyed = self._bring(standing, None)
        self._brought, self.waits_for = None, ""
        lost = self._mirror.adopt(
            surveyed.before,
            (standing.life, surveyed.entry),
            surveyed.rows,
            surveyed.survey.notes(),
            known=surveyed.known,
            gap=surveyed.gap,
        )
        if lost:
            self.lost += lost
            logger.error(
                "%s: %d records that were acknowledged here came too late and were overtaken",
                self._options,
                lost,
            )
        logger.info("%s: in step", self._options)

    def _claim(self, identity: str) -> tuple[Any, ...]:
        window_us, lease_us = (
            round(seconds * 1e6) for seconds in (self._options.heal_window_s, self._options.heal_lease_s)
        )
        return self._script(CLAIM, identity, self._server, window_us, lease_us, self._mirror.known())

    def _bring(self, begun: Standing, identity: str | None) -> Surveyed:
        """Survey, replay and push; without an identity to heal, only what fits on what Redis has."""
        before, read = self._mirror.place()
        same = read and self._run(("XRANGE", self._named("log"), read, read))[0]
        is_first = not read and begun.entry == "0-0"
        gap = not same and not is_first and self._mirror.position_of(begun.entry) is None
        survey = Survey(self._mirror)
        for rows in self._records(identity):
            survey.add(rows)
            self._renew(begun.life, identity)
        for digests in self._digests():
            survey.add_notes(digests)
            self._renew(begun.life, identity)
        self._replay(survey, identity or begun.life)
        ahead = survey.ahead()
        if identity is not None:
            self._push(ahead, identity)
            ahead = [row for row in ahead if survey.has(row[0], row[1])]
        for digests in chunks(survey.notes_behind(), FETCHED):
            survey.fetched(self._fetched(digests, identity))
            self._renew(begun.life, identity)
        rows = [*self._standing([field for field, _, _ in ahead]), *survey.behind()]
        return Surveyed(before, begun.entry, gap, rows, survey, begun.known)

    def _renew(self, life: str, identity: str | None) -> None:
        if identity is None:
            return
        (said,) = self._run(self._claim(identity))
        if said[0] != b"healing" or said[1].decode() != life:
            raise OutOfStepError(f"{self._options}: healing began anew")

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
        """Notes as Redis has them, as far as they are what they are called."""
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
            raise OutOfStepError(f"{self._options}: notes went while they were read")
        return fetched

    def _discard(self, kind: str, damaged: Sequence[bytes], identity: str | None) -> None:
        """Take away what can't be read; where nobody heals, everybody has to."""
        if not damaged:
            return
        self.damaged += len(damaged) // 2
        logger.error(
            "%s: %d of %s can't be read, among them %r: taken away, and brought back by who has them",
            self._options, len(damaged) // 2, self._named(kind), damaged[0][:80],
        )  # fmt: skip
        (said,) = self._run(self._script(DISCARD, identity or "", kind, *damaged))
        if said[0] == b"again":
            raise OutOfStepError(f"{self._options}: it has to be healed")

    def _replay(self, survey: Survey, standing: str) -> None:
        """Make lost changes again, then tell the notes that are still missing."""
        heads = (
            standing,
            self._server,
            round(self._options.heal_lease_s * 1e6),
            self._options.log_changes_max,
        )
        for changes in chunks(survey.lost_changes(), REPLAYED):
            said = self._run(
                *(
                    self._script(REPLAY, *heads, notes, digest_of(notes) if notes else b"", *_flat(rows))
                    for rows, notes in changes
                )
            )
            if [b"again"] in said:
                raise OutOfStepError(f"{self._options}: healing began anew")
            done = [change for change, (word,) in zip(changes, said, strict=True) if word == b"done"]
            survey.add(row for rows, _ in done for row in rows)
            survey.add_notes(digest_of(notes) for _, notes in done if notes)
        for told in chunks(survey.notes_ahead(), REPLAYED):
            said = self._run(*(self._script(REPLAY, *heads, notes, digest_of(notes)) for notes in told))
            if [b"again"] in said:
                raise OutOfStepError(f"{self._options}: healing began anew")

    def _push(self, ahead: Sequence[Row], identity: str) -> None:
        heads = (
            identity,
            self._server,
            round(self._options.heal_lease_s * 1e6),
            self._options.log_changes_max,
        )
        for rows in chunks(ahead, PUSHED):
            (said,) = self._run(self._script(PUSH, *heads, *_flat(rows)))
            if said[0] == b"again":
                raise OutOfStepError(f"{self._options}: healing began anew")

    def _standing(self, fields: Sequence[bytes]) -> list[Row]:
        """Records as Redis has them."""
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
    """Items in lists of a size, the last one shorter."""
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
