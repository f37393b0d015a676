"""Live state in the writer: opened over a cache, and kept up with what others commit to it. Events (`events`) and
reservations (`granting`) are made durable in the cache and then shown to all readers.

Every change takes the same steps: work it out, commit it, apply it to the pairs, show them. After a conflict with
another server its changes are read and the change is worked out again, so nothing is granted twice.
"""

import threading
from collections import Counter
from collections.abc import Callable

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import Source
from pricegrid.cache.protocol import (
    START,
    CacheError,
    Change,
    Commit,
    Key,
    Put,
    Record,
    StateCache,
)
from pricegrid.service.limits import FOLLOW_CHANGES_MAX
from pricegrid.service.live.dead_letters import DEAD_LETTER, DeadLetters
from pricegrid.service.live.events import read_message
from pricegrid.service.live.figures import LiveFigures, held_now
from pricegrid.service.live.granting import KEY, PAIR, RESERVATION, Granting
from pricegrid.service.live.link import LiveLink
from pricegrid.service.live.operators import OperatorActions
from pricegrid.service.live.orders import OrderJournal
from pricegrid.service.live.pairs import LivePairs, MakeWriter
from pricegrid.service.live.records import decode_reservation
from pricegrid.service.live.reservations import LiveReservations

OFFSET = "offset"


class LiveState(Granting, OperatorActions, OrderJournal):
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

    def figures(self) -> LiveFigures:
        """What it says of itself."""
        with self._lock:
            counts, unreported_us = held_now(self._reservations.every(), self._now_us())
            return LiveFigures(counts, unreported_us, self._letters.oldest(), dict(self._newest_us))

    # ---- the changes of others

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
