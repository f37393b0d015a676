"""Live state where the writer runs: events and reservations, made durable in the cache, then shown to all readers.

Every change goes the same way: work out what it is, commit it, apply it to the pairs, show them. What another server
committed first (a Conflict) is followed and the change worked out again, so nothing is promised twice.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atp.engine import AvailabilityEngine
from atp.events import Event, EventBatch, EventStatus, Measure
from atp.rows import Pair
from cache.protocol import (
    START,
    CacheError,
    Change,
    Commit,
    Committed,
    Conflict,
    Key,
    Put,
    Record,
    StateCache,
)
from service.errors import Reason, RequestRefusedError
from service.event_json import EventError, event_from_json, event_json
from service.event_message import EventMessage, read_message, some_events, unreadable
from service.limits import FOLLOW_CHANGES_MAX, LIST_MAX
from service.live_api import DeadLetter, PublishResult
from service.live_holding import KEY, PAIR, RESERVATION, Holding
from service.live_pairs import NO_PLACES, LivePairs, MakeWriter
from service.live_records import decode_dead_letter, decode_reservation, encode_record, new_dead_letter
from service.live_reservations import LiveReservations
from service.wire_events import decode_events, encode_events

DEAD_LETTER = "dead_letter"
OFFSET = "offset"


class LiveState(Holding):
    """Implements `LiveApi` over a cache and one snapshot. Building one reads what the cache holds."""

    def __init__(
        self,
        cache: StateCache,
        engine: AvailabilityEngine,
        snapshot_version: str,
        created_us: int,
        make_writer: MakeWriter,
        now_us: Callable[[], int],
        on_grown: Callable[[], None] = lambda: None,
    ) -> None:
        self._cache = cache
        self._now_us = now_us
        self._lock = threading.RLock()
        self.use(engine, snapshot_version, created_us, make_writer, on_grown)

    def use(
        self,
        engine: AvailabilityEngine,
        snapshot_version: str,
        created_us: int,
        make_writer: MakeWriter,
        on_grown: Callable[[], None] = lambda: None,
    ) -> None:
        """Go over to another snapshot: all that is durable is read anew. On failure everything stays as it was."""
        with self._lock:
            before = dict(self.__dict__)
            try:
                self._version, self._engine = snapshot_version, engine
                self._position = START
                self._own: set[str] = set()
                self._versions: dict[Key, int] = {}
                self._pairs = LivePairs(engine, created_us, make_writer, on_grown)
                self._reservations = LiveReservations(self._pairs)
                self._is_settled = False
                self._read_all()
            except BaseException:
                self.__dict__.update(before)
                raise

    def _read_all(self) -> None:
        """Replay the log. This stores nothing, and no reservation is looked at before all is taken in."""
        self._reservations.replay()
        for record in self._cache.scan(RESERVATION):
            self._know(record)
        self._follow()
        self._pairs.refresh(sorted(self._reservations.replayed()))

    # ---- events

    def publish(self, raw: bytes, origin: str = "publish") -> PublishResult:  # noqa: ARG002 -- part of the protocol
        """See `LiveApi`."""
        with self._lock:
            message = read_message(raw, self._pairs.left)
            letters = unreadable(message, self._now_us())
            counts: Counter[EventStatus] = Counter({EventStatus.DEAD_LETTER: len(letters)})
            self._commit(Commit(puts=[self._put(letter) for letter in letters], notes=[raw]))
            late, gaps = self._take_in(message, counts)
            if late:
                self._commit(Commit(puts=[self._put(letter) for letter in late]))
            self._settle(self._reservations.moved())
            ids = [letter.dead_letter_id for letter in (*letters, *late)]
        return PublishResult({status: count for status, count in counts.items() if count}, ids, gaps)

    def _take_in(self, message: EventMessage, counts: Counter[EventStatus]) -> tuple[list[DeadLetter], int]:
        """Take in the events of a message that is durable: (what can't be applied, streams that miss events)."""
        raw, rows, read = message.raw, message.rows, message.read
        folded = self._pairs.fold(raw, rows)
        counts.update(folded.counts)
        if not np.array_equal(folded.left, message.left):
            read = decode_events(some_events(raw, rows[folded.left]))
        return self._apply(read.events.events(), counts, folded.places)

    def _apply(
        self,
        events: Iterable[Event],
        counts: Counter[EventStatus],
        places: NDArray[np.int64] = NO_PLACES,
    ) -> tuple[list[DeadLetter], int]:
        """Take in events one by one, and show what they and those folded before have changed."""
        letters, gaps = [], {}
        touched: dict[Pair, None] = {}
        orders: dict[tuple[Pair, str], None] = {}
        for event in events:
            outcome = self._pairs.apply(event)
            counts[outcome.status] += 1
            if outcome.status is EventStatus.DEAD_LETTER:
                name = outcome.reason.name if outcome.reason is not None else "MALFORMED"
                source, measure = event.source.name.lower(), event.measure.name.lower()
                detail = f"{measure} of {event.sku} at {event.branch}, from {source}"
                letters.append(new_dead_letter(self._now_us(), name, detail, event_json(event)))
                continue
            gaps[event.source, event.sku, event.branch] = outcome.has_gap
            pair = event.sku, event.branch
            touched[pair] = None
            if event.measure is Measure.ALLOCATED:
                orders[pair, event.order_ref] = None
        self._pairs.refresh([*touched, *self._reservations.clear(orders)], places)
        return letters, sum(gaps.values())

    # ---- dead letters

    def dead_letters(self, *, origin: str = "", limit: int = 1_000) -> Sequence[DeadLetter]:
        """See `LiveApi`."""
        with self._lock:
            found = []
            for record in self._cache.scan(DEAD_LETTER):
                letter = decode_dead_letter(record.value or b"")
                if origin in ("", letter.origin):
                    found.append(letter)
                if len(found) == limit:
                    break
            return found

    def dead_letter(self, dead_letter_id: str) -> DeadLetter:
        """See `LiveApi`."""
        with self._lock:
            value = self._cache.get([(DEAD_LETTER, dead_letter_id)])[0].value
        if value is None:
            raise RequestRefusedError(
                Reason.DEAD_LETTER_NOT_FOUND, f"there is no dead letter {dead_letter_id}"
            )
        return decode_dead_letter(value)

    def replay_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """See `LiveApi`."""
        left = []
        with self._lock:
            for letter in self._letters(ids):
                try:
                    event = event_from_json(letter.payload_json)
                except EventError as error:
                    left.append(replace(letter, reason=error.reason.name, detail=error.detail))
                    continue
                counts: Counter[EventStatus] = Counter()
                self._commit(Commit(notes=[encode_events(EventBatch.of([event]))]))
                wrong, _ = self._apply([event], counts)
                if wrong:
                    left.append(replace(letter, reason=wrong[0].reason, detail=wrong[0].detail))
                else:
                    self._commit(Commit(puts=[Put(DEAD_LETTER, letter.dead_letter_id, None)]))
            left = [replace(letter, replays=letter.replays + 1) for letter in left]
            if left:
                self._commit(Commit(puts=[self._put(letter) for letter in left]))
        return left

    def drop_dead_letters(self, ids: Sequence[str]) -> int:
        """See `LiveApi`."""
        with self._lock:
            letters = self._letters(ids)
            if letters:
                self._commit(Commit(puts=[Put(DEAD_LETTER, each.dead_letter_id, None) for each in letters]))
            return len(letters)

    def _letters(self, ids: Sequence[str]) -> list[DeadLetter]:
        records = self._cache.get([(DEAD_LETTER, each) for each in dict.fromkeys(ids)][:LIST_MAX])
        return [decode_dead_letter(record.value) for record in records if record.value is not None]

    def _put(self, letter: DeadLetter) -> Put:
        return Put(DEAD_LETTER, letter.dead_letter_id, encode_record(letter))

    # ---- what is durable, and what others did

    def _commit(self, commit: Commit) -> Committed | Conflict:
        return self._commit_all([commit])[0]

    def _commit_all(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        try:
            answers = self._cache.commit(commits)
        except CacheError as error:
            raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, str(error)) from error
        self._own.update(answer.position for answer in answers if isinstance(answer, Committed))
        return answers

    def _know(self, record: Record) -> None:
        """Let a reservation of the cache count, unless what is known of it is newer: a log tells old states too."""
        key = (record.space, record.name)
        if record.version < self._versions.get(key, 0):
            return
        self._versions[key] = record.version
        if record.value is None:
            self._reservations.forget(record.name)
        else:
            self._pairs.refresh(self._reservations.know(decode_reservation(record.value)))

    def offset(self, stream: str) -> str:
        """The last entry of an event stream that was taken in; '' for none."""
        with self._lock:
            value = self._cache.get([(OFFSET, stream)])[0].value
        return (value or b"").decode()

    def keep_offset(self, stream: str, entry_id: str) -> None:
        """Remember how far an event stream was taken in."""
        with self._lock:
            self._commit(Commit(puts=[Put(OFFSET, stream, entry_id.encode())]))

    def set_link_lost(self, since_us: int) -> None:
        """Since when other servers can't be heard; 0: they can. All that is read is STALE meanwhile."""
        with self._lock:
            self._pairs.set_link_lost(since_us)

    def follow(self) -> None:
        """Take in what other servers have committed since."""
        with self._lock:
            self._follow()

    def _follow(self) -> None:
        while True:
            try:
                changes = self._cache.changes(self._position, FOLLOW_CHANGES_MAX)
            except CacheError as error:
                raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, str(error)) from error
            for change in changes:
                self._position = change.position
                if change.position in self._own:
                    self._own.discard(change.position)
                else:
                    self._take(change)
            if len(changes) < FOLLOW_CHANGES_MAX:
                return

    def _take(self, change: Change) -> None:
        if not change.complete:  # its notes are gone: the records say what became of everything but events
            for record in self._cache.scan(RESERVATION):
                self._know(record)
        for record in change.records:
            if record.space == RESERVATION:
                self._know(record)
            elif record.space in (PAIR, KEY):
                key = (record.space, record.name)
                self._versions[key] = max(record.version, self._versions.get(key, 0))
        for note in change.notes:
            self._take_in(read_message(note, self._pairs.left), Counter())
