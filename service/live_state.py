"""Live state where the writer runs: events and reservations, made durable in the cache, then shown to all readers.

Every change goes the same way: work out what it is, commit it, apply it to the pairs, show them. What another server
committed first (a Conflict) is followed and the change worked out again, so nothing is promised twice. Reservations go
that way in groups (`service.group_commit`).
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from atp.engine import AvailabilityEngine
from atp.events import Event, EventBatch, EventStatus
from atp.reservations import HeldReservation, ReserveAsk, cleared, take_off
from atp.rows import Pair
from cache.protocol import Change, Commit, Committed, Conflict, Key, Put, Record, StateCache
from service import reserving
from service.errors import Reason, RequestRefusedError
from service.event_json import EventError, event_from_json, event_json
from service.event_message import EventMessage, read_message, some_events, unreadable
from service.group_commit import Queue, Round, Waiting, refuse_all
from service.holding import Taken
from service.limits import ENDED_KEPT_US, FORGET_MAX, GROUP_MAX, LIST_MAX
from service.live_api import DeadLetter, PublishResult, Release, Reserved
from service.live_log import LiveLog
from service.live_pairs import NO_PLACES, LivePairs, MakeWriter
from service.live_records import (
    decode_dead_letter,
    decode_reservation,
    encode_record,
    new_dead_letter,
)
from service.reservation_book import ReservationBook
from service.reserving import Worked
from service.wire_events import decode_events, encode_events

RESERVATION = "reservation"
PAIR = "pair"
KEY = "key"
DEAD_LETTER = "dead_letter"
OFFSET = "offset"


class LiveState:
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
        self._queue = Queue(self._lock, self._lead)
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
                self._log = LiveLog(self._cache, self._take)
                self._book = ReservationBook()
                self._pairs = LivePairs(engine, created_us, make_writer, on_grown)
                self._read_all()
            except BaseException:
                self.__dict__.update(before)
                raise

    def _read_all(self) -> None:
        for record in self._cache.scan(RESERVATION):
            self._know_record(record)
        self._log.follow()
        held_pairs = [pair for held in self._book.all() for pair in self._pairs.hold(held)]
        self._pairs.refresh(held_pairs)
        self._clear(held_pairs)

    # ---- events

    def publish(self, raw: bytes, origin: str = "publish") -> PublishResult:  # noqa: ARG002 -- part of the protocol
        """See `LiveApi`."""
        with self._lock:
            message = read_message(raw, self._pairs.left)
            letters = unreadable(message, self._now_us())
            counts: Counter[EventStatus] = Counter({EventStatus.DEAD_LETTER: len(letters)})
            self._log.commit(Commit(puts=[self._put(letter) for letter in letters], notes=[raw]))
            late, gaps = self._take_in(message, counts)
            if late:
                self._log.commit(Commit(puts=[self._put(letter) for letter in late]))
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
        letters, touched, gaps = [], [], {}
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
            touched.append((event.sku, event.branch))
        self._clear([*touched, *self._pairs.held(places)])
        self._pairs.refresh(touched, places)
        return letters, sum(gaps.values())

    def _clear(self, pairs: Iterable[Pair]) -> None:
        """Take off reservations what the warehouse has allocated to their orders, once and for good (A9)."""
        changed: dict[str, HeldReservation] = {}
        for pair in dict.fromkeys(pairs):
            left = dict(self._pairs.allocation_peaks(pair))
            holding = self._pairs.holding(pair) if left else {}
            if not holding:
                continue
            for reservation_id in self._book.of_orders({held.order_ref for held in holding.values()}):
                take_off(changed.get(reservation_id, self._book[reservation_id]), pair, left)
            for held in sorted(holding.values(), key=_clearing_order):
                current = changed.get(held.reservation_id, self._book[held.reservation_id])
                after = cleared(current, pair, left)
                if after != current:
                    changed[held.reservation_id] = after
        for held in changed.values():
            self._keep(reserving.with_its_end(held, self._now_us()))

    # ---- reservations

    def reserve(self, ask: ReserveAsk) -> Reserved:
        """See `LiveApi`."""
        version = ""

        def work(before: Taken) -> Worked:
            nonlocal version
            version = self._version
            return reserving.reserve(self._book, self._engine, self._now_us(), ask, before)

        worked = self._queue.run(Waiting((ask.customer_id, ask.key), work))
        is_repeat = not worked.is_change and worked.held.reservation_id != ""
        return Reserved(worked.held, version, is_repeat)

    def confirm(
        self, customer_id: str, reservation_id: str, order_ref: str, order_lines: Sequence[str] = ()
    ) -> HeldReservation:
        """See `LiveApi`."""

        def work(_: Taken) -> Worked:
            return reserving.confirm(
                self._book, self._now_us(), customer_id, reservation_id, order_ref, order_lines
            )

        return self._queue.run(Waiting(reservation_id, work)).held

    def release(
        self, customer_id: str, reservation_id: str, parts: Sequence[Release] = ()
    ) -> HeldReservation:
        """See `LiveApi`."""

        def work(_: Taken) -> Worked:
            return reserving.release(self._book, self._now_us(), customer_id, reservation_id, parts)

        return self._queue.run(Waiting(reservation_id, work)).held

    def expire(self) -> int:
        """End the reservations whose time is over; readers have stopped to count them already. How many."""
        with self._lock:
            self._log.follow()
            over = [held.reservation_id for held in self._book.over(self._now_us())]
        group = [Waiting(name, partial(self._expire, name)) for name in over]
        for start in range(0, len(group), GROUP_MAX):
            with self._lock:
                self._lead(group[start : start + GROUP_MAX])
        return sum(each.result().is_change for each in group)

    def _expire(self, reservation_id: str, _: Taken) -> Worked:
        return reserving.expire(self._book, reservation_id, self._now_us())

    def _lead(self, group: Sequence[Waiting]) -> None:
        """Give each of a group its answer or its refusal."""
        while group:
            group = self._round(group)

    def _round(self, group: Sequence[Waiting]) -> list[Waiting]:
        """One round of a group (`service.group_commit`); those that need another."""
        try:
            self._log.follow()
        except RequestRefusedError as error:
            refuse_all(group, error)
            return []
        found, later = Round(), []
        for each in group:
            if found.is_too_early(each):
                later.append(each)
                continue
            try:
                worked = each.work(found.taken)
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is this one's alone
                each.refuse(error)
                continue
            if worked.is_change and found.has_room(worked):
                found.add(each, worked)
            elif worked.is_change or worked.behind:
                later.append(each)
            else:
                each.answer(worked)
        return [*self._make(found), *later]

    def _make(self, found: Round) -> list[Waiting]:
        """Make the changes of a round durable, show them, answer; those that met a conflict."""
        if not found.changes:
            return []
        together = [[found.changes[at] for at in numbers] for numbers in found.that_meet()]
        try:
            answers = self._log.commit_all([self._commit_of(changes) for changes in together])
        except RequestRefusedError as error:
            refuse_all((each for each, _ in found.changes), error)
            return []
        outcomes = list(zip(together, answers, strict=True))
        made = [(changes, answer.versions) for changes, answer in outcomes if isinstance(answer, Committed)]
        self._show([change for changes, _ in made for change in changes], [versions for _, versions in made])
        conflicts = [
            (changes, answer.versions) for changes, answer in outcomes if isinstance(answer, Conflict)
        ]
        again = [each for changes, _ in conflicts for each, _ in changes]
        try:
            if conflicts:
                self._log.follow()  # only with all that led to these versions may they be expected
                for _, versions in conflicts:
                    self._log.versions.update(versions)
        except RequestRefusedError as error:
            refuse_all(again, error)
            return []
        return [each for each in again if each.may_try_again()]

    def _commit_of(self, changes: Sequence[tuple[Waiting, Worked]]) -> Commit:
        """Changes that stand or fall together."""
        keys: list[Key] = []
        for _, worked in changes:
            held = worked.held
            keys.append((RESERVATION, held.reservation_id))
            keys += [(PAIR, f"{sku}\0{branch}") for sku, branch in worked.touched]
            if worked.is_new:
                keys.append((KEY, f"{held.customer_id}\0{held.key}"))
        puts = [
            Put(RESERVATION, worked.held.reservation_id, encode_record(worked.held)) for _, worked in changes
        ]
        return Commit(self._log.expected(keys), puts)

    def _show(self, changes: Sequence[tuple[Waiting, Worked]], versions: Iterable[Mapping[Key, int]]) -> None:
        """Let what is durable count, show it, and answer."""
        for some in versions:
            self._log.versions.update(some)
        self._pairs.refresh([pair for _, worked in changes for pair in self._know(worked.held)])
        for each, worked in changes:
            try:
                if worked.is_confirmed:
                    self._clear(worked.touched)
            except RequestRefusedError as error:
                each.refuse(error)
                continue
            held = self._book[worked.held.reservation_id]
            if worked.refusal is not None:
                each.refuse(worked.refusal)
                continue
            each.answer(worked if held is worked.held else replace(worked, held=held))

    def forget(self, kept_us: int = ENDED_KEPT_US) -> int:
        """Forget some of the reservations that ended so long ago, and their keys, which may be used anew; how many.

        One of which the warehouse has taken something over stays: no other of its order may be cleared by the same.
        """
        with self._lock:
            self._log.follow()
            until_us = self._now_us() - kept_us
            over = self._book.ended(until_us)[:FORGET_MAX]
            keys = [(RESERVATION, held.reservation_id) for held in over]
            commits = [Commit({key: self._log.versions[key]}, [Put(*key, None)]) for key in keys]
            answers = self._log.commit_all(commits) if commits else []
            if any(isinstance(answer, Conflict) for answer in answers):
                self._log.follow()  # another server was first
            for key, answer in zip(keys, answers, strict=True):
                if isinstance(answer, Committed) or self._cache.get([key])[0].value is None:
                    self._forget(key[1])
            return sum(isinstance(answer, Committed) for answer in answers)

    def _forget(self, reservation_id: str) -> None:
        if reservation_id in self._book:
            self._book.forget(reservation_id)
            self._pairs.forget(reservation_id)
            self._log.versions.pop((RESERVATION, reservation_id), None)

    def reservations(
        self, *, customer_id: str = "", unreported_for_us: int | None = None, limit: int = 1_000
    ) -> Sequence[HeldReservation]:
        """See `LiveApi`."""
        with self._lock:
            self._log.follow()
            return self._book.living(customer_id, unreported_for_us, self._now_us())[:limit]

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
                self._log.commit(Commit(notes=[encode_events(EventBatch.of([event]))]))
                wrong, _ = self._apply([event], counts)
                if wrong:
                    left.append(replace(letter, reason=wrong[0].reason, detail=wrong[0].detail))
                else:
                    self._log.commit(Commit(puts=[Put(DEAD_LETTER, letter.dead_letter_id, None)]))
            left = [replace(letter, replays=letter.replays + 1) for letter in left]
            if left:
                self._log.commit(Commit(puts=[self._put(letter) for letter in left]))
        return left

    def drop_dead_letters(self, ids: Sequence[str]) -> int:
        """See `LiveApi`."""
        with self._lock:
            letters = self._letters(ids)
            if letters:
                self._log.commit(
                    Commit(puts=[Put(DEAD_LETTER, each.dead_letter_id, None) for each in letters])
                )
            return len(letters)

    def _letters(self, ids: Sequence[str]) -> list[DeadLetter]:
        records = self._cache.get([(DEAD_LETTER, each) for each in dict.fromkeys(ids)][:LIST_MAX])
        return [decode_dead_letter(record.value) for record in records if record.value is not None]

    def _put(self, letter: DeadLetter) -> Put:
        return Put(DEAD_LETTER, letter.dead_letter_id, encode_record(letter))

    # ---- what is durable, and what others did

    def _keep(self, held: HeldReservation) -> None:
        """Make a reservation durable whatever stands, and show it."""
        key = (RESERVATION, held.reservation_id)
        answer = self._log.commit(Commit(puts=[Put(*key, encode_record(held))]))
        self._log.versions.update(answer.versions)
        self._pairs.refresh(self._know(held))

    def _know(self, held: HeldReservation) -> list[Pair]:
        """Let a reservation count as it stands; the pairs that look different now."""
        self._book.keep(held)
        return self._pairs.hold(held)

    def _know_record(self, record: Record) -> list[Pair]:
        """The same of a reservation as the cache has it."""
        self._log.versions[RESERVATION, record.name] = record.version
        return self._know(decode_reservation(record.value or b""))

    def offset(self, stream: str) -> str:
        """The last entry of an event stream that was taken in; '' for none."""
        with self._lock:
            value = self._cache.get([(OFFSET, stream)])[0].value
        return (value or b"").decode()

    def keep_offset(self, stream: str, entry_id: str) -> None:
        """Remember how far an event stream was taken in."""
        with self._lock:
            self._log.commit(Commit(puts=[Put(OFFSET, stream, entry_id.encode())]))

    def set_link_lost(self, since_us: int) -> None:
        """Since when other servers can't be heard; 0: they can. All that is read is STALE meanwhile."""
        with self._lock:
            self._pairs.set_link_lost(since_us)

    def follow(self) -> None:
        """Take in what other servers have committed since."""
        with self._lock:
            self._log.follow()

    def _take(self, change: Change) -> None:
        if not change.complete:  # its notes are gone: the records say what became of everything but events
            for record in self._cache.scan(RESERVATION):
                self._pairs.refresh(self._know_record(record))
        for record in change.records:
            if record.space == RESERVATION and record.value is not None:
                self._pairs.refresh(self._know_record(record))
            elif record.space == RESERVATION:
                self._forget(record.name)
            elif record.space in (PAIR, KEY):
                self._log.versions[record.space, record.name] = record.version
        for note in change.notes:
            self._take_in(read_message(note, self._pairs.left), Counter())


def _clearing_order(held: HeldReservation) -> tuple[bool, int, str]:
    """Who is cleared first: who names lines of the order, since others may take what was allocated to any."""
    names_lines = any(line.line.order_line for line in held.lines)
    return not names_lines, held.created_us, held.reservation_id
