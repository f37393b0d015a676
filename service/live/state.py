"""Live state in the writer: events and reservations, made durable in the cache and then shown to all readers.

Every change takes the same steps: work it out, commit it, apply it to the pairs, show them. After a conflict with
another server its changes are read and the change is worked out again, so nothing is granted twice.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.kernels.in_order_streams import FIGURE_ONLY, ROW_EFFECTIVE, ROW_FORM
from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import Event, EventStatus
from pricegrid.atp.rules.rows import Pair
from pricegrid.cache.protocol import (
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
from pricegrid.service.codec.event_json import Unreadable
from pricegrid.service.codec.event_message import (
    EventMessage,
    LookUp,
    faulty,
    message_of,
    read_message,
    sorted_out,
)
from pricegrid.service.limits import EVENT_AHEAD_US, FOLLOW_CHANGES_MAX
from pricegrid.service.live.api import PublishResult
from pricegrid.service.live.dead_letters import DEAD_LETTER, NOTHING_FILED, DeadLetters, Faulty
from pricegrid.service.live.figures import LiveFigures, held_now
from pricegrid.service.live.granting import KEY, PAIR, RESERVATION, Granting
from pricegrid.service.live.link import LiveLink
from pricegrid.service.live.operators import OperatorActions
from pricegrid.service.live.pairs import NO_INDICES, LivePairs, MakeWriter
from pricegrid.service.live.records import decode_reservation
from pricegrid.service.live.reservations import LiveReservations

OFFSET = "offset"


class LiveState(Granting, OperatorActions):
    """Implements `LiveApi` over a cache and one snapshot. The constructor reads the whole cache."""

    def __init__(
        self,
        cache: StateCache,
        engine: AvailabilityEngine,
        snapshot_version: str,
        created_us: int,
        make_writer: MakeWriter,
        now_us: Callable[[], int],
        on_shown: Callable[[], None] = lambda: None,
    ) -> None:
        self._cache = cache
        self._now_us = now_us
        self._link = LiveLink(cache, now_us)
        self._lock = threading.RLock()
        self.use(engine, snapshot_version, created_us, make_writer, on_shown)

    def use(
        self,
        engine: AvailabilityEngine,
        snapshot_version: str,
        created_us: int,
        make_writer: MakeWriter,
        on_shown: Callable[[], None] = lambda: None,
    ) -> None:
        """Switch to another snapshot: read everything again, then call `on_shown`, and again after each growth. A
        failure changes nothing."""
        with self._lock:
            before = dict(self.__dict__)
            try:
                self._version, self._engine, self._position = snapshot_version, engine, START
                self._own: set[str] = set()
                self._versions: dict[Key, int] = {}
                self._pairs = LivePairs(engine, created_us, make_writer)
                self._reservations = LiveReservations(self._pairs)
                self._is_cleared_stored = False
                self._newest_us: dict[Source, int] = {}
                self._read_all()
                self._pairs.are_whole(on_shown)
            except BaseException:
                self.__dict__.update(before)
                raise

    def _read_all(self) -> None:
        """Replay the log. Stores nothing; what is cleared of reservations is worked out at the end."""
        self._reservations.replay()
        for record in self._cache.scan(RESERVATION):
            self._know(record)
        self._letters = DeadLetters(self._cache, self._now_us)
        self._follow()
        for note in self._link.waiting():
            self._ingest(read_message(note, self._pairs.look_up), Counter())
        self._pairs.refresh(sorted(self._reservations.replayed()))
        self.follow()

    # ---- events

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
        if moved := self._reservations.moved():
            self._store_cleared(moved)
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
        self._pairs.refresh([*touched, *self._reservations.clear(orders)], indices)
        return found, sum(gaps.values()), restarts

    def _note_applied(self, source: Source, effective_us: int) -> None:
        if effective_us > self._newest_us.get(source, 0):
            self._newest_us[source] = effective_us

    def figures(self) -> LiveFigures:
        """What it says of itself."""
        with self._lock:
            counts, unreported_us = held_now(self._reservations.every(), self._now_us())
            return LiveFigures(counts, unreported_us, self._letters.oldest(), dict(self._newest_us))

    # ---- commits, and the changes of others

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

    def _know(self, record: Record) -> None:
        """Apply a reservation record of the cache, unless a newer version was applied: the log has old states too."""
        key = (record.space, record.name)
        if record.version < self._versions.get(key, 0):
            return
        self._versions[key] = record.version
        if record.value is None:
            self._pairs.refresh(self._reservations.forget(record.name))
        else:
            self._pairs.refresh(self._reservations.update(decode_reservation(record.value)))

    def offset(self, stream: str) -> str:
        """The last entry of an event stream that was ingested; '' for none."""
        with self._lock:
            value = self._cache.get([(OFFSET, stream)])[0].value
        return (value or b"").decode()

    def keep_offset(self, stream: str, entry_id: str) -> None:
        """Store how far an event stream was ingested."""
        with self._lock:
            self._commit(Commit(puts=[Put(OFFSET, stream, entry_id.encode())]))

    def follow(self) -> None:
        """Apply what others have committed. Everything is STALE while they are unreachable, until all is caught up."""
        with self._lock:
            lost_us = self._link.lost_us()
            if lost_us:
                self._pairs.set_link_lost(lost_us)
            self._follow()
            self._pairs.set_link_lost(lost_us)

    def _follow(self) -> None:
        while True:
            try:
                changes = self._cache.changes(self._position, FOLLOW_CHANGES_MAX)
            except CacheError as error:
                raise self._link.refusal(error) from error
            for change in changes:
                self._position = change.position
                if change.position in self._own:
                    self._own.discard(change.position)
                else:
                    self._take(change)
            if len(changes) < FOLLOW_CHANGES_MAX:
                return

    def _take(self, change: Change) -> None:
        if (
            not change.complete
        ):  # its records have the outcome; its notes (events) came before as changes of their own
            for record in self._cache.scan(RESERVATION):
                self._know(record)
        for record in change.records:
            if record.space == RESERVATION:
                self._know(record)
            elif record.space == DEAD_LETTER:
                self._letters.update(record.name, record.value)
            elif record.space in (PAIR, KEY):
                key = (record.space, record.name)
                self._versions[key] = max(record.version, self._versions.get(key, 0))
        for note in change.notes:
            self._ingest(read_message(note, self._pairs.look_up), Counter())
