"""Events in the writer: read from their bytes, judged once, made durable, applied to the pairs, shown.

Of a message, the events that an in-order stream may take stay rows from its bytes to the live positions; the others are
decoded, each once. What can't be applied becomes a dead letter before the others become durable, so that none is ever
judged again, by another clock or another snapshot.
"""

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.in_order_streams import (
    FIGURE_ONLY,
    ROW_COLUMNS,
    ROW_EFFECTIVE,
    ROW_END,
    ROW_FORM,
    ROW_START,
)
from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import DeadReason, Event, EventStatus, Kind
from pricegrid.atp.rules.rows import Pair
from pricegrid.cache.protocol import CacheError, Commit, Committed, Conflict, StateCache
from pricegrid.service.codec.event_json import Unreadable, event_json
from pricegrid.service.codec.event_kernel import scan_events
from pricegrid.service.codec.events import decode_events, encode_events
from pricegrid.service.limits import EVENT_AHEAD_US, EVENTS_MAX
from pricegrid.service.live.api import PublishResult
from pricegrid.service.live.dead_letters import DEAD_LETTER, NOTHING_FILED, DeadLetters, Faulty
from pricegrid.service.live.link import LiveLink
from pricegrid.service.live.pairs import NO_INDICES, NO_ROWS, LivePairs
from pricegrid.service.live.reservations import LiveReservations

LookUp = Callable[[bytes, NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.intp]]]
"""(bytes, rows) to the place of each row among the in-order streams, and the rows that none of these may take."""


class EventMessage(NamedTuple):
    """The events of a message."""

    raw: bytes
    """The events encoded, as they become durable."""
    text: bytes
    """What the rows lie in."""
    rows: NDArray[np.int64]
    """All events that can be read, in order (`atp.kernels.in_order_streams`); none when the protobuf runtime decoded
    the message."""
    places: NDArray[np.int64]
    """(n,) the place of each row among the in-order streams, -1 where it has none."""
    left: NDArray[np.intp]
    """The events that no in-order stream may take, all where there are no rows."""
    known: dict[int, Event]
    """Decoded events by index, at least those in `left`."""
    unreadable: Sequence[Unreadable] = ()

    def events(self, indices: NDArray[np.intp]) -> list[Event]:
        """The events of these indices; rows that are not known yet are decoded."""
        wanted, known = indices.tolist(), self.known
        unknown = [at for at in wanted if at not in known]
        if unknown:
            decoded = decode_events(some_events(self.text, self.rows[unknown])).events.events()
            known = known | dict(zip(unknown, decoded, strict=True))
        return [known[at] for at in wanted]


class Ingesting(ABC):
    """The part of `LiveState` that applies events, and makes changes durable."""

    _cache: StateCache
    _link: LiveLink
    _now_us: Callable[[], int]
    _lock: threading.RLock
    _pairs: LivePairs
    _reservations: LiveReservations
    _letters: DeadLetters
    _newest_us: dict[Source, int]
    _own: set[str]

    @abstractmethod
    def _follow(self) -> None:
        """Read what others have committed."""

    @abstractmethod
    def _store_cleared(self, reservation_ids: Iterable[str]) -> bool:
        """Store what the warehouse has allocated of some reservations; False: something is still to be stored."""

    def publish(self, raw: bytes) -> PublishResult:
        """See `LiveApi`."""
        with self._lock:
            until_us = self._now_us() + EVENT_AHEAD_US
            return self._publish(until_us, lambda look_up: read_message(raw, look_up))

    def publish_events(self, events: Sequence[Event], unreadable: Sequence[Unreadable]) -> PublishResult:
        """As `publish`, of events that were read from other bytes than a request's."""
        with self._lock:
            until_us = self._now_us() + EVENT_AHEAD_US
            return self._publish(until_us, lambda look_up: message_of(events, unreadable, look_up))

    def _publish(self, until_us: int, read: Callable[[LookUp], EventMessage]) -> PublishResult:
        """Apply the events of a message, as far as they take effect by then."""

        def look_up(raw: bytes, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
            return self._pairs.look_up(raw, rows, until_us)

        pairs = self._pairs
        message, faults = sorted_out(read(look_up), lambda event: pairs.fault(event, until_us), look_up)
        filed = self._letters.file(faults) if faults else NOTHING_FILED
        counts = Counter({EventStatus.DEAD_LETTER: len(filed.ids)})
        if message.raw or filed.puts:
            self._commit(Commit(puts=filed.puts, notes=[message.raw] if message.raw else []))
        late, gaps, restarts = self._ingest(message, counts)
        also = self._letters.file(late) if late else NOTHING_FILED
        if also.puts:
            self._commit(Commit(puts=also.puts))
        if self._reservations.moved:
            self._store_cleared(self._reservations.take_moved())
        refused = filed.refused + also.refused
        counts[EventStatus.DEAD_LETTER] -= also.refused
        outcomes = {status: count for status, count in counts.items() if count}
        return PublishResult(outcomes, [*filed.ids, *also.ids], gaps, refused, restarts)

    def _ingest(self, message: EventMessage, counts: Counter[EventStatus]) -> tuple[list[Faulty], int, int]:
        """Apply the events of a durable message; returns (events that can't be applied after all, streams with missing
        events, events that look like a restart of their source)."""
        if not len(message.rows):
            return self._apply(message.events(message.left), counts)
        folded = self._pairs.fold(message.rows, message.places)
        counts.update(folded.counts)
        plain = message.rows[message.rows[:, ROW_FORM] == FIGURE_ONLY, ROW_EFFECTIVE]
        if len(plain):  # which are of the ERP
            self._note_applied(Source.ERP, int(plain.max()))
        return self._apply(message.events(folded.left), counts, folded.indices)

    def _apply(
        self,
        events: Iterable[Event],
        counts: Counter[EventStatus],
        indices: NDArray[np.int64] = NO_INDICES,
    ) -> tuple[list[Faulty], int, int]:
        """Apply events one by one, and show what they and the folded ones have changed."""
        found: list[Faulty] = []
        touched: dict[Pair, None] = {}
        orders: dict[tuple[Pair, str], None] = {}
        gaps: dict[tuple[int, str, str], bool] = {}
        restarts = 0
        for event in events:
            outcome = self._pairs.apply(event)
            counts[outcome.status] += 1
            if outcome.status is EventStatus.DEAD_LETTER:
                found.append(faulty(event, outcome.reason))
                continue
            self._note_applied(event.source, event.effective_us)
            restarts += outcome.is_restart
            gaps[event.source, event.sku, event.branch] = outcome.has_gap
            touched.update(dict.fromkeys(self._pairs.touched(event)))
            orders.update(dict.fromkeys(self._pairs.orders(event)))
        cleared = self._reservations.clear(orders) if orders else ()
        self._pairs.refresh([*touched, *cleared], indices)
        return found, sum(gaps.values()), restarts

    def _note_applied(self, source: Source, effective_us: int) -> None:
        if effective_us > self._newest_us.get(source, 0):
            self._newest_us[source] = effective_us

    # ---- commits

    def _commit(self, commit: Commit) -> Committed | Conflict:
        return self._commit_all([commit])[0]

    def _commit_all(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        try:
            answers = self._cache.commit(commits)
        except CacheError as error:
            raise self._link.refusal(error) from error
        self._own.update(answer.position for answer in answers if isinstance(answer, Committed))
        for commit, answer in zip(commits, answers, strict=True):
            for put in commit.puts if isinstance(answer, Committed) else ():
                if put.space == DEAD_LETTER:
                    self._letters.update(put.name, put.value)
        return answers


# ---- messages


def scanned_events(raw: bytes) -> NDArray[np.int64] | None:
    """The events of a `PublishEventsRequest`, one row each (`atp.kernels.in_order_streams`); None: the protobuf runtime
    has to decode the message."""
    rows = np.empty((EVENTS_MAX, ROW_COLUMNS), np.int64)
    count = scan_events(np.frombuffer(raw, np.uint8), rows)
    return None if count < 0 else rows[:count]


def read_message(raw: bytes, look_up: LookUp) -> EventMessage:
    """Decodes a message. Raises RequestRefusedError."""
    rows = scanned_events(raw)
    if rows is None:
        read = decode_events(raw)
        return _message_of_events(raw, read.events.events(), read.unreadable)
    places, left = look_up(raw, rows)
    if not len(left):
        return EventMessage(raw, raw, rows, places, left, {})
    read = decode_events(some_events(raw, rows[left]))
    unread = {int(left[bad.index]) for bad in read.unreadable}
    readable = [at for at in left.tolist() if at not in unread]
    known = dict(zip(readable, read.events.events(), strict=True))
    message = EventMessage(raw, raw, rows, places, left, known, read.unreadable)
    return _without(message, unread) if unread else message


def message_of(events: Sequence[Event], unreadable: Sequence[Unreadable], look_up: LookUp) -> EventMessage:
    """The message of events that were not read from one."""
    raw = encode_events(events)
    rows = scanned_events(raw)
    if rows is None:
        return _message_of_events(raw, events, unreadable)
    return EventMessage(raw, raw, rows, *look_up(raw, rows), dict(enumerate(events)), unreadable)


def sorted_out(
    message: EventMessage, fault_of: Callable[[Event], DeadReason | None], look_up: LookUp
) -> tuple[EventMessage, list[Faulty]]:
    """(the message without the events that can't be applied, those events).

    Validity is decided here, once: the remaining events become durable, and are never judged again by another clock or
    another snapshot.
    """
    found = [Faulty(bad.reason.name, bad.detail, bad.payload_json) for bad in message.unreadable]
    judged = {at: fault_of(message.known[at]) for at in message.left.tolist()}
    bad = {at for at, fault in judged.items() if fault is not None}
    if not found and not bad:
        return message, []
    found += [faulty(message.known[at], fault) for at, fault in judged.items() if fault is not None]
    if len(message.rows):
        kept = _without(message, bad) if bad else message
        return kept._replace(raw=some_events(kept.text, kept.rows), unreadable=()), found
    return message_of([event for at, event in message.known.items() if at not in bad], (), look_up), found


def _message_of_events(raw: bytes, events: Sequence[Event], unreadable: Sequence[Unreadable]) -> EventMessage:
    """A message without rows."""
    everything = np.arange(len(events))
    return EventMessage(raw, raw, NO_ROWS, NO_INDICES, everything, dict(enumerate(events)), unreadable)


def _without(message: EventMessage, gone: set[int]) -> EventMessage:
    """The message without some of its rows; `raw` is left as it is."""
    is_kept = np.ones(len(message.rows), np.bool_)
    is_kept[list(gone)] = False
    index = np.cumsum(is_kept) - 1
    return message._replace(
        rows=message.rows[is_kept],
        places=message.places[is_kept],
        left=index[[at for at in message.left.tolist() if at not in gone]],
        known={int(index[at]): event for at, event in message.known.items() if at not in gone},
    )


def faulty(event: Event, reason: DeadReason | None) -> Faulty:
    """The event as one that can't be applied, with the reason."""
    source, measure = event.source.name.lower(), event.measure.name.lower()
    what = "reset" if event.kind is Kind.RESET else measure
    name = (reason or DeadReason.MALFORMED).name
    return Faulty(name, f"{what} of {event.sku} at {event.branch}, from {source}", event_json(event))


def some_events(raw: bytes, rows: NDArray[np.int64]) -> bytes:
    """A message with some of the events of another."""
    spans = zip(rows[:, ROW_START].tolist(), rows[:, ROW_END].tolist(), strict=True)
    return b"".join([raw[start:end] for start, end in spans])
