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
from atp.events import Event, EventStatus
from atp.reservations import (
    LIVING,
    HeldReservation,
    ReservationStatus,
    ReserveAsk,
    cleared,
    released,
    take_off,
)
from atp.rows import Pair
from cache.protocol import START, CacheError, Change, Commit, Committed, Conflict, Key, Put, StateCache
from service.dead_letters import DEAD_LETTER, DeadLetters, Faulty
from service.errors import Reason, RequestRefusedError
from service.event_message import EventMessage, faulty, read_message, some_events, sorted_out
from service.holding import hold_lines, new_reservation
from service.limits import COMMIT_TRIES_MAX, ENDED_KEPT_US, EVENT_AHEAD_US, FOLLOW_CHANGES_MAX, FORGET_MAX
from service.live_api import (
    PublishResult,
    Release,
    Reserved,
)
from service.live_pairs import NO_PLACES, LivePairs, MakeWriter
from service.live_records import decode_reservation, encode_record, same_ask
from service.operator_desk import OperatorDesk
from service.wire_events import decode_events

RESERVATION = "reservation"
PAIR = "pair"
KEY = "key"
OFFSET = "offset"


class LiveState(OperatorDesk):
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
                self._held: dict[str, HeldReservation] = {}
                self._by_key: dict[tuple[str, str], str] = {}
                self._by_order: dict[str, set[str]] = {}
                self._versions: dict[Key, int] = {}
                self._pairs = LivePairs(engine, created_us, make_writer, on_grown)
                self._read_all()
            except BaseException:
                self.__dict__.update(before)
                raise

    def _read_all(self) -> None:
        for record in self._cache.scan(RESERVATION):
            self._know(decode_reservation(record.value or b""), record.version)
        self._letters = DeadLetters(self._cache, self._now_us)
        self._follow()
        held_pairs = [pair for held in self._held.values() for pair in self._pairs.hold(held)]
        self._pairs.refresh(held_pairs)
        self._clear(held_pairs)

    # ---- events

    def publish(self, raw: bytes, origin: str = "publish") -> PublishResult:  # noqa: ARG002 -- part of the protocol
        """See `LiveApi`."""
        with self._lock:
            until_us = self._now_us() + EVENT_AHEAD_US
            message = read_message(raw, lambda raw, rows: self._pairs.left(raw, rows, until_us))
            kept, faults = sorted_out(message, lambda event: self._pairs.fault(event, until_us))
            if faults:
                message = read_message(kept, self._pairs.left)
            filed = self._letters.file(faults)
            counts = Counter({EventStatus.DEAD_LETTER: len(filed.ids)})
            if kept or filed.puts:
                self._commit(Commit(puts=filed.puts, notes=[kept] if kept else []))
            late, gaps, restarts = self._take_in(message, counts)
            also = self._letters.file(late)
            if also.puts:
                self._commit(Commit(puts=also.puts))
            refused = filed.refused + also.refused
            counts[EventStatus.DEAD_LETTER] -= also.refused
        told = {status: count for status, count in counts.items() if count}
        return PublishResult(told, [*filed.ids, *also.ids], gaps, refused, restarts)

    def _take_in(self, message: EventMessage, counts: Counter[EventStatus]) -> tuple[list[Faulty], int, int]:
        """Take in the events of a message that is durable: what can't be applied all the same, how many streams miss
        events, how many events look as if their source had begun anew."""
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
    ) -> tuple[list[Faulty], int, int]:
        """Take in events one by one, and show what they and those folded before have changed."""
        found: list[Faulty] = []
        touched: list[Pair] = []
        gaps: dict[tuple[int, str, str], bool] = {}
        restarts = 0
        for event in events:
            outcome = self._pairs.apply(event)
            counts[outcome.status] += 1
            if outcome.status is EventStatus.DEAD_LETTER:
                found.append(faulty(event, outcome.reason))
                continue
            restarts += outcome.is_restart
            gaps[event.source, event.sku, event.branch] = outcome.has_gap
            touched += self._pairs.touched(event)
        self._clear([*touched, *self._pairs.held(places)])
        self._pairs.refresh(touched, places)
        return found, sum(gaps.values()), restarts

    def _clear(self, pairs: Iterable[Pair]) -> None:
        """Take off reservations what the warehouse has allocated to their orders, once and for good (A9)."""
        changed: dict[str, HeldReservation] = {}
        for pair in dict.fromkeys(pairs):
            left = dict(self._pairs.allocation_peaks(pair))
            holding = self._pairs.holding(pair) if left else {}
            if not holding:
                continue
            orders = {held.order_ref for held in holding.values()}
            for reservation_id in {
                name for order_ref in orders for name in self._by_order.get(order_ref, ())
            }:
                take_off(changed.get(reservation_id, self._held[reservation_id]), pair, left)
            for held in sorted(holding.values(), key=_clearing_order):
                current = changed.get(held.reservation_id, self._held[held.reservation_id])
                after = cleared(current, pair, left)
                if after != current:
                    changed[held.reservation_id] = after
        for held in changed.values():
            self._store(held, self._touched(held), is_forced=True)

    # ---- reservations

    def reserve(self, ask: ReserveAsk) -> Reserved:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._follow()
                known = self._by_key.get((ask.customer_id, ask.key))
                if known is not None:
                    held = self._held[known]
                    if not same_ask(ask, held):
                        raise RequestRefusedError(
                            Reason.KEY_REUSED, "this idempotency key was used for something else"
                        )
                    return Reserved(held, self._version, is_repeat=True)
                now_us = self._now_us()
                held = new_reservation(ask, hold_lines(self._engine, ask, now_us), now_us)
                touched = self._touched(held)
                if not touched:
                    return Reserved(replace(held, reservation_id=""), self._version)
                if self._store(held, touched, is_new=True):
                    return Reserved(held, self._version)
        raise _busy()

    def confirm(
        self, customer_id: str, reservation_id: str, order_ref: str, order_lines: Sequence[str] = ()
    ) -> HeldReservation:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._follow()
                held = self._of(customer_id, reservation_id)
                if held.order_ref not in ("", order_ref):
                    raise RequestRefusedError(Reason.ORDER_MISMATCH, "the reservation is for another order")
                if held.status in (ReservationStatus.CONFIRMED, ReservationStatus.CONSUMED):
                    return held
                self._must_live(held)
                if order_lines and len(order_lines) != len(held.lines):
                    message = f"{len(order_lines)} order lines for a reservation of {len(held.lines)} lines"
                    raise RequestRefusedError(Reason.INVALID_RESERVATION, message, field="order_lines")
                named = zip(
                    held.lines, order_lines or [each.line.order_line for each in held.lines], strict=True
                )
                confirmed = replace(
                    held,
                    status=ReservationStatus.CONFIRMED,
                    order_ref=order_ref,
                    confirmed_us=self._now_us(),
                    lines=tuple(
                        replace(each, line=replace(each.line, order_line=name)) for each, name in named
                    ),
                )
                touched = self._touched(confirmed)
                if self._store(confirmed, touched):
                    self._clear(touched)
                    return self._held[reservation_id]
        raise _busy()

    def release(
        self, customer_id: str, reservation_id: str, parts: Sequence[Release] = ()
    ) -> HeldReservation:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._follow()
                held = self._of(customer_id, reservation_id)
                if held.status is ReservationStatus.RELEASED and not parts:
                    return held
                self._must_live(held)
                try:
                    after = released(held, {part.line: part.quantity_micros for part in parts})
                except ValueError as error:
                    raise RequestRefusedError(Reason.INVALID_RESERVATION, str(error)) from None
                if self._store(after, self._touched(held)):
                    return self._held[reservation_id]
        raise _busy()

    def _of(self, customer_id: str, reservation_id: str) -> HeldReservation:
        held = self._held.get(reservation_id)
        if held is None or held.customer_id != customer_id:
            raise RequestRefusedError(Reason.RESERVATION_NOT_FOUND, "this customer has no such reservation")
        return held

    def _must_live(self, held: HeldReservation) -> None:
        if held.status is ReservationStatus.HELD and self._now_us() >= held.expires_us:
            self._store(replace(held, status=ReservationStatus.EXPIRED), self._touched(held))
            raise RequestRefusedError(Reason.RESERVATION_EXPIRED, "the time of the reservation is over")
        if held.status is ReservationStatus.EXPIRED:
            raise RequestRefusedError(Reason.RESERVATION_EXPIRED, "the time of the reservation is over")
        if held.status not in LIVING:
            message = f"the reservation is {held.status.name.lower()}"
            raise RequestRefusedError(Reason.RESERVATION_ENDED, message, status=held.status.name)

    def expire(self) -> int:
        """End the reservations whose time is over; readers have stopped to count them already."""
        with self._lock:
            self._follow()
            now_us = self._now_us()
            over = [
                held
                for held in self._held.values()
                if held.status is ReservationStatus.HELD and now_us >= held.expires_us
            ]
            return sum(
                self._store(replace(held, status=ReservationStatus.EXPIRED), self._touched(held))
                for held in over
            )

    def forget(self, kept_us: int = ENDED_KEPT_US) -> int:
        """Forget some of the reservations that ended so long ago, and their keys, which may be used anew; how many.

        One of which the warehouse has taken something over stays: no other of its order may be cleared by the same.
        """
        with self._lock:
            self._follow()
            until_us = self._now_us() - kept_us
            over = [
                held
                for held in self._held.values()
                if held.ended_us is not None and held.ended_us <= until_us and not held.was_taken_over
            ][:FORGET_MAX]
            keys = [(RESERVATION, held.reservation_id) for held in over]
            commits = [Commit({key: self._versions[key]}, [Put(*key, None)]) for key in keys]
            answers = self._commit_all(commits) if commits else []
            if any(isinstance(answer, Conflict) for answer in answers):
                self._follow()  # another server was first
            for key, answer in zip(keys, answers, strict=True):
                if isinstance(answer, Committed) or self._cache.get([key])[0].value is None:
                    self._forget(key[1])
            return sum(isinstance(answer, Committed) for answer in answers)

    def _forget(self, reservation_id: str) -> None:
        held = self._held.pop(reservation_id, None)
        if held is None:
            return
        self._pairs.forget(reservation_id)
        self._versions.pop((RESERVATION, reservation_id), None)
        if self._by_key.get((held.customer_id, held.key)) == reservation_id:
            del self._by_key[held.customer_id, held.key]
        self._by_order.get(held.order_ref, set()).discard(reservation_id)

    def reservations(
        self, *, customer_id: str = "", unreported_for_us: int | None = None, limit: int = 1_000
    ) -> Sequence[HeldReservation]:
        """See `LiveApi`."""
        with self._lock:
            self._follow()
            now_us = self._now_us()
            living = (
                held
                for _, held in sorted(self._held.items())
                if held.status in LIVING
                and customer_id in ("", held.customer_id)
                and not (held.status is ReservationStatus.HELD and now_us >= held.expires_us)
            )
            found = [
                held
                for held in living
                if unreported_for_us is None
                or (held.confirmed_us is not None and now_us - held.confirmed_us >= unreported_for_us)
            ]
            return found[:limit]

    # ---- what is durable, and what others did

    def _touched(self, held: HeldReservation) -> list[Pair]:
        return list(dict.fromkeys((part.sku, each.line.branch) for each in held.lines for part in each.parts))

    def _store(
        self, held: HeldReservation, touched: Sequence[Pair], *, is_new: bool = False, is_forced: bool = False
    ) -> bool:
        """Make a reservation durable and show it; False: somebody was first. A forced one is stored whatever stands."""
        if held.status not in LIVING and held.ended_us is None:
            held = replace(held, ended_us=self._now_us())
        key = (RESERVATION, held.reservation_id)
        puts = [Put(*key, encode_record(held))]
        expected: dict[Key, int] = {}
        if not is_forced:
            names = [key, *((PAIR, f"{sku}\0{branch}") for sku, branch in touched)]
            if is_new:
                names.append((KEY, f"{held.customer_id}\0{held.key}"))
            expected = {name: self._versions.get(name, 0) for name in names}
        answer = self._commit(Commit(expected, puts))
        if isinstance(answer, Conflict):
            self._follow()  # only with all that led to these versions may they be expected
            self._versions.update(answer.versions)
            return False
        self._versions.update(answer.versions)
        self._pairs.refresh(self._know(held, self._versions.get(key, 0)))
        return True

    def _commit(self, commit: Commit) -> Committed | Conflict:
        return self._commit_all([commit])[0]

    def _commit_all(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        try:
            answers = self._cache.commit(commits)
        except CacheError as error:
            raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, str(error)) from error
        self._own.update(answer.position for answer in answers if isinstance(answer, Committed))
        for commit, answer in zip(commits, answers, strict=True):
            for put in commit.puts if isinstance(answer, Committed) else ():
                if put.space == DEAD_LETTER:
                    self._letters.know(put.name, put.value)
        return answers

    def _know(self, held: HeldReservation, version: int) -> list[Pair]:
        """Let a reservation count as it stands; the pairs that look different now."""
        self._versions[RESERVATION, held.reservation_id] = version
        self._held[held.reservation_id] = held
        self._by_key[held.customer_id, held.key] = held.reservation_id
        if held.order_ref:
            self._by_order.setdefault(held.order_ref, set()).add(held.reservation_id)
        return self._pairs.hold(held)

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
                self._pairs.refresh(self._know(decode_reservation(record.value or b""), record.version))
        for record in change.records:
            if record.space == RESERVATION and record.value is not None:
                self._pairs.refresh(self._know(decode_reservation(record.value), record.version))
            elif record.space == RESERVATION:
                self._forget(record.name)
            elif record.space == DEAD_LETTER:
                self._letters.know(record.name, record.value)
            elif record.space in (PAIR, KEY):
                self._versions[record.space, record.name] = record.version
        for note in change.notes:
            self._take_in(read_message(note, self._pairs.left), Counter())


def _clearing_order(held: HeldReservation) -> tuple[bool, int, str]:
    """Who is cleared first: who names lines of the order, since others may take what was allocated to any."""
    names_lines = any(line.line.order_line for line in held.lines)
    return not names_lines, held.created_us, held.reservation_id


def _busy() -> RequestRefusedError:
    return RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "others were faster each time; ask again")
