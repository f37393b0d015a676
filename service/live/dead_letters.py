"""Dead letters: events that could not be applied, stored once per content and within limits.

An event received again increments the count of its letter. Beyond the limits a new letter is refused and the sender
gets to know, so nothing is lost silently and invalid events can't fill the disk.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pricegrid.cache.protocol import Key, Put, StateCache
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, LIST_BYTES_MAX, LIST_MAX
from pricegrid.service.live.api import DeadLetter, DeadLetterPage
from pricegrid.service.live.records import decode_dead_letter, encode_record

DEAD_LETTER = "dead_letter"
ORIGIN_EVENTS = "events"


class Faulty(NamedTuple):
    """An event that can't be applied."""

    reason: str
    """UPPER_SNAKE."""
    detail: str
    """Which field, and what is wrong with it."""
    payload_json: str


class Filed(NamedTuple):
    """What happens to faulty events."""

    puts: Sequence[Put]
    """The letters to store."""
    ids: Sequence[str]
    """The letter id of each event that is stored, in order."""
    refused: int
    """The number of events for which there is no room."""


NOTHING_FILED: Final = Filed((), (), 0)


class DeadLetters:
    """The letters of a cache. Used by one thread at a time."""

    def __init__(self, cache: StateCache, now_us: Callable[[], int]) -> None:
        self._cache = cache
        self._now_us = now_us
        self._known: dict[str, tuple[int, int, str]] = {}
        """(first seen, bytes, reason) by id."""
        self._bytes = 0
        for record in cache.scan(DEAD_LETTER):
            self.update(record.name, record.value)

    def update(self, name: str, value: bytes | None) -> None:
        """Note what is stored under a name now; None: deleted."""
        self._bytes -= self._known.pop(name, (0, 0, ""))[1]
        if value is not None:
            letter = decode_dead_letter(value)
            self._known[name] = letter.at_us, len(value), letter.reason
            self._bytes += len(value)

    def file(self, found: Sequence[Faulty]) -> Filed:
        """The letters to store for events that can't be applied; call `update` once they are stored."""
        names = [letter_id(each.payload_json) for each in found]
        known = [(DEAD_LETTER, name) for name in dict.fromkeys(names) if name in self._known]
        letters: dict[str, DeadLetter] = {
            record.name: decode_dead_letter(record.value)
            for record in (self._cache.get(known) if known else ())
            if record.value is not None
        }
        now_us, room, bytes_left = (
            self._now_us(),
            DEAD_LETTERS_MAX - len(self._known),
            DEAD_LETTER_BYTES_MAX - self._bytes,
        )
        ids: list[str] = []
        for name, each in zip(names, found, strict=True):
            if name in letters:
                before = letters[name]
                letters[name] = replace(
                    before, count=before.count + 1, last_us=now_us, reason=each.reason, detail=each.detail
                )
            else:
                letter = DeadLetter(
                    name, now_us, ORIGIN_EVENTS, each.reason, each.detail, each.payload_json, last_us=now_us
                )
                size = len(encode_record(letter))
                if room < 1 or size > bytes_left:
                    continue
                room, bytes_left = room - 1, bytes_left - size
                letters[name] = letter
            ids.append(name)
        return Filed([put_of(letter) for letter in letters.values()], ids, len(found) - len(ids))

    def oldest(self) -> dict[str, tuple[int, int]]:
        """(how many, when the oldest came) by reason."""
        found: dict[str, tuple[int, int]] = {}
        for at_us, _, reason in self._known.values():
            count, oldest_us = found.get(reason, (0, at_us))
            found[reason] = count + 1, min(oldest_us, at_us)
        return found

    def page(self, origin: str, limit: int, after: str) -> DeadLetterPage:
        """Oldest first, beginning after that id: at most `limit`, and as many as fit into one response."""
        order = sorted((at_us, name) for name, (at_us, _, _) in self._known.items())
        if after:
            if after not in self._known:
                raise RequestRefusedError(Reason.DEAD_LETTER_NOT_FOUND, f"there is no dead letter {after}")
            order = order[order.index((self._known[after][0], after)) + 1 :]
        found: list[DeadLetter] = []
        size = 0
        for _, name in order:
            size += self._known[name][1]
            if found and (len(found) == limit or size > LIST_BYTES_MAX):
                return DeadLetterPage(found, found[-1].dead_letter_id)
            letter = self.get([name])
            found += [each for each in letter if origin in ("", each.origin)]
        return DeadLetterPage(found, "")

    def one(self, name: str) -> DeadLetter:
        """One letter; raises DEAD_LETTER_NOT_FOUND."""
        for letter in self.get([name]):
            return letter
        raise RequestRefusedError(Reason.DEAD_LETTER_NOT_FOUND, f"there is no dead letter {name}")

    def get(self, ids: Iterable[str]) -> list[DeadLetter]:
        """The letters of these ids that exist."""
        keys: list[Key] = [(DEAD_LETTER, each) for each in dict.fromkeys(ids)][:LIST_MAX]
        return [decode_dead_letter(each.value) for each in self._cache.get(keys) if each.value is not None]


def letter_id(payload_json: str) -> str:
    """The id of a letter, a hash of its content."""
    return f"D{hashlib.sha256(payload_json.encode(errors='surrogatepass')).hexdigest()[:24]}"


def put_of(letter: DeadLetter) -> Put:
    """A letter as it is stored."""
    return Put(DEAD_LETTER, letter.dead_letter_id, encode_record(letter))
