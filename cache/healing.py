"""How the state becomes whole again after Redis restarted, failed over, was flushed, or trimmed what was not read yet.

docs/redis.md tells why this loses nothing that was acknowledged. In short, for one server (all others do the same):

1. *Claim* (CLAIM). The key `life` does not name the server process that answers, so its state may lack the last seconds
   or all. `life` is overwritten, so that a replica made from here does not pass for whole; `heal` gets a deadline one
   window ahead, by Redis' clock; our lease in it says that we are at work. Commits are refused from here on.
2. *Survey*. All records are read (HSCAN) and laid beside the mirror's; the lease is renewed with every batch.
3. *Replay* (REPLAY). Changes at the end of the mirror's log that follow on what Redis has are made again one by one,
   with their notes. Two servers that do this at once bring the same changes: the second finds them present.
4. *Push* (PUSH). Records that are still newer here are written. Mirrors hold beginnings of one history, so the highest
   version of every record is the state at the end of the longest of them.
5. *Finish* (FINISH). Our lease is given back. Once the deadline has passed and no lease is left, whoever asks first
   sets `life`; commits go on. Stops early with 'again' when the healing is no longer the same one: from the top.

A server that comes when `life` is set already (*join*) replays what nobody brought, as far as nobody built on other
ground since; the rest is lost, is counted, and the mirror takes what Redis has.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cache.coding import stored_of, unstored
from cache.ledger import Row
from cache.mirror import Mirror
from cache.protocol import CacheUnavailableError
from cache.redis_link import Link, LinkError
from cache.redis_scripts import CLAIM, FINISH, PUSH, REPLAY, Script, key_named
from cache.survey import Survey

SCAN_COUNT: Final = 1000
PUSHED: Final = 500
REPLAYED: Final = 100

T = TypeVar("T")

logger = logging.getLogger(__name__)


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

    def heal(self, identity: str) -> str | None:
        """Do the next steps of healing a server; its life when it is whole, None to be called again soon."""
        if self._brought is None or not self._brought[0].startswith(identity + "@"):
            (said,) = self._run(self._claim(identity))
            if said[0] != b"healing":
                return None
            life = said[1].decode()
            logger.warning("%s: state may be missing; bringing what is known here", self._options)
            self._brought = (life, self._bring(life, identity))
        (said,) = self._run(
            self._script(FINISH, identity, self._server, self._options.log_changes_max),
        )
        if said[0] == b"again":
            self._brought = None
        return said[1].decode() if said[0] == b"live" else None

    def join(self, life: str) -> None:
        """Bring the mirror in step with a Redis that is whole."""
        if self._brought is not None and self._brought[0] == life:
            surveyed = self._brought[1]
        else:
            surveyed = self._bring(life, None)
        self._brought = None
        lost = self._mirror.adopt(surveyed.before, (life, surveyed.entry), surveyed.rows, gap=surveyed.gap)
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
        return self._script(CLAIM, identity, self._server, window_us, lease_us)

    def _bring(self, life: str, identity: str | None) -> Surveyed:
        """Survey, replay and push; without an identity to heal, only what fits on what Redis has."""
        before, read = self._mirror.place()
        newest, same = self._run(
            ("XREVRANGE", self._named("log"), "+", "-", "COUNT", 1),
            ("XRANGE", self._named("log"), read or "0-0", read or "0-0"),
        )
        entry = newest[0][0].decode() if newest else "0-0"
        gap = False
        if same:
            entry = read
        elif read or newest:
            gap = self._mirror.position_of(entry) is None
        survey = Survey(self._mirror)
        for rows in self._records():
            survey.add(rows)
            if identity is not None:
                self._renew(life, identity)
        self._replay(survey, identity or life)
        ahead = survey.ahead()
        if identity is not None:
            self._push(ahead, identity)
            ahead = [row for row in ahead if survey.has(row[0], row[1])]
        rows = self._standing([field for field, _, _ in ahead])
        return Surveyed(before, entry, gap, [*rows, *(survey.behind() if gap else ())])

    def _renew(self, life: str, identity: str) -> None:
        (said,) = self._run(self._claim(identity))
        if said[0] != b"healing" or said[1].decode() != life:
            raise OutOfStepError(f"{self._options}: healing began anew")

    def _records(self) -> Iterator[list[Row]]:
        cursor: Any = 0
        while True:
            ((cursor, flat),) = self._run(("HSCAN", self._named("record"), cursor, "COUNT", SCAN_COUNT))
            yield [
                (field, *unstored(stored, field)) for field, stored in zip(flat[::2], flat[1::2], strict=True)
            ]
            if cursor == b"0":
                return

    def _replay(self, survey: Survey, standing: str) -> None:
        heads = (
            standing,
            self._server,
            round(self._options.heal_lease_s * 1e6),
            self._options.log_changes_max,
        )
        for changes in chunks(survey.lost_changes(), REPLAYED):
            said = self._run(*(self._script(REPLAY, *heads, notes, *_flat(rows)) for rows, notes in changes))
            if [b"again"] in said:
                raise OutOfStepError(f"{self._options}: healing began anew")
            survey.add(
                row
                for (rows, _), (word,) in zip(changes, said, strict=True)
                if word == b"done"
                for row in rows
            )

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
