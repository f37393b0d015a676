"""The pairs of one snapshot with what events and reservations have made of them, and their live positions."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atp.days import day_start_us
from atp.decode import snapshot_pair
from atp.engine import AvailabilityEngine
from atp.events import SOURCE_OF, DeadReason, Event, EventStatus, Kind, Measure, Outcome
from atp.live import LiveFullError, LiveWriter
from atp.model import INT64_MAX, NO_INSTANT, Reservation, Source, day_number
from atp.order_books import PairLists
from atp.order_lines import START, Mark, Point
from atp.pair_rows import PairRows, figures_with_stock, image_of, reservation_number
from atp.plain_kernel import LEFT, ROW_COLUMNS
from atp.plain_streams import PlainStreams
from atp.reference import local_day
from atp.reservations import LIVING, HeldReservation, ReservationStatus, shown_micros
from atp.rows import Pair, Stock
from atp.streams import Base, Stream, figures_of, stock_of

_NOT_NEGATIVE = frozenset(Measure) - {Measure.ON_HAND}
NO_PLACES: Final[NDArray[np.int64]] = np.empty(0, dtype=np.int64)
NO_ROWS: Final[NDArray[np.int64]] = np.empty((0, ROW_COLUMNS), dtype=np.int64)
LET_GO_MIN: Final = 64
"""Events of a stream that are not needed any more, before their memory is worth a look."""
MakeWriter = Callable[[int], LiveWriter]
"""A larger room for live positions, given how often it was made larger."""


@dataclass(slots=True)
class _State:
    item: int
    branch: int
    base: Base
    streams: dict[Source, Stream] = field(default_factory=dict)
    holding: dict[str, HeldReservation] = field(default_factory=dict)
    figures: tuple[int, ...] = ()
    """The nine of the row shown last; (): none is shown, and the snapshot has lists of the pair."""
    has_new_lists: bool = False
    """Allocations, receipts or demands may be others than shown."""
    changed: set[str] = field(default_factory=set)
    """Reservations that may be others than shown."""
    spread: set[str] = field(default_factory=set)
    """Reservations that hold the pair in more than one line."""
    is_shown: bool = False
    has_demands: bool = False
    place: int = -1
    """Among the plain streams; -1: the ERP has said nothing yet."""
    lists: PairLists = field(init=False)
    let_go: int = 0
    """Events of the WMS in its stream that the lists need no more."""
    has_fractions: bool = False
    """A reservation holds a part of a micro."""

    def __post_init__(self) -> None:
        self.lists = PairLists(self.base)


class _Open(NamedTuple):
    """What a line of a reservation holds of a pair."""

    held: HeldReservation
    first_day: int
    """0: at once."""
    expires_us: int
    exact_micros: Fraction


class Folded(NamedTuple):
    """What the plain streams took of the events of a message."""

    counts: Counter[EventStatus]
    left: NDArray[np.intp]
    """The rows that are for `LivePairs.apply`, in order."""
    places: NDArray[np.int64]
    """Of the pairs that were touched."""


class LivePairs:
    """Used by one thread at a time."""

    def __init__(
        self,
        engine: AvailabilityEngine,
        created_us: int,
        make_writer: MakeWriter,
    ) -> None:
        self.engine = engine
        self._created_us = created_us
        self._make_writer = make_writer
        self._on_shown: Callable[[], None] = lambda: None
        self._grown = 0
        self._link_lost_us = 0
        self._writer = make_writer(0)
        self._states: dict[Pair, _State] = {}
        self._where: dict[str, set[Pair]] = {}
        self._plain = PlainStreams()
        self._pair_of: list[Pair] = []
        engine.positions.follow(self._writer.readable())

    def are_whole(self, on_shown: Callable[[], None]) -> None:
        """All is where the writer was made: `on_shown` is called now, and when it has moved to more room."""
        on_shown()
        self._on_shown = on_shown

    def left(self, raw: bytes, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """The rows of a message (`atp.plain_kernel`) that are for `apply` whatever the others do."""
        return np.flatnonzero(self._plain.is_left(rows, self._plain.places(raw, rows)))

    def fold(self, raw: bytes, rows: NDArray[np.int64]) -> Folded:
        """Take in all events of a message that need no look at others; `refresh` shows what they changed."""
        status, touched = self._plain.fold(rows, self._plain.places(raw, rows))
        counts = np.bincount(status, minlength=LEFT + 1)
        found = Counter({each: int(counts[each]) for each in EventStatus if counts[each]})
        return Folded(found, np.flatnonzero(status == LEFT), touched)

    def held(self, places: NDArray[np.int64]) -> list[Pair]:
        """The pairs at these places that reservations touch."""
        return [self._pair_of[place] for place in self._plain.held(places)]

    def apply(self, event: Event) -> Outcome:
        """Take in one event; `refresh` shows what it changed."""
        reason = self._fault(event)
        if reason is not None:
            return Outcome(EventStatus.DEAD_LETTER, reason)
        state = self._states.get((event.sku, event.branch)) or self._state((event.sku, event.branch))
        if event.source is Source.ERP and self._plain.is_plain(state.place):
            state.streams[Source.ERP] = self._plain.give_back(state.place, (event.sku, event.branch))
        stream = state.streams.get(event.source)
        if stream is None:
            stream = state.streams[event.source] = Stream()
        outcome = stream.add(event)
        base = state.base
        if event.source is Source.ERP:
            after_us = base.erp_us
            if event.effective_us <= after_us and outcome.status is EventStatus.APPLIED:
                outcome = Outcome(EventStatus.OLDER)
        else:
            after_us = base.wms_us if event.source is Source.WMS else base.transit_us
            state.has_new_lists = True
            if outcome.status is EventStatus.APPLIED:
                state.lists.add(event)
        if len(stream.spans) > 1 and stream.has_gap(after_us):
            return Outcome(outcome.status, outcome.reason, has_gap=True)
        return outcome

    def _fault(self, event: Event) -> DeadReason | None:
        if event.sequence < 1:
            return DeadReason.INVALID_SEQUENCE
        if SOURCE_OF[event.measure] is not event.source:
            return DeadReason.WRONG_SOURCE
        if event.kind is Kind.SET and event.quantity_micros < 0 and event.measure in _NOT_NEGATIVE:
            return DeadReason.INVALID_QUANTITY
        is_dated = event.measure in (Measure.RECEIPT, Measure.DEMAND)
        if is_dated and event.kind is Kind.SET and event.quantity_micros and event.expected_at_us is None:
            return DeadReason.MISSING_DATE
        if (event.sku, event.branch) in self._states:
            return None
        item, branch = self.engine.ordinals(event.sku, event.branch)
        if item < 0:
            return DeadReason.UNKNOWN_ITEM
        if branch < 0:
            return DeadReason.UNKNOWN_BRANCH
        return DeadReason.KIT_ITEM if self.engine.positions.span("kit_start", item) else None

    def hold(self, held: HeldReservation) -> list[Pair]:
        """Let a reservation count as it stands now; the pairs it touches, or touched before.

        A pair whose item or branch is not in this snapshot is passed over."""
        named = {(part.sku, line.line.branch) for line in held.lines for part in line.parts}
        touched = self._where.get(held.reservation_id, set()) | {
            pair for pair in named if min(self.engine.ordinals(*pair)) >= 0
        }
        self._where[held.reservation_id] = touched
        has_fractions = any(part.excess[0] for line in held.lines for part in line.parts)
        for pair in touched:
            state = self._state(pair)
            state.holding[held.reservation_id] = held
            state.has_fractions |= has_fractions
            state.changed.add(held.reservation_id)
            if state.place >= 0:
                self._plain.set_held(state.place)
        return sorted(touched)

    def forget(self, reservation_id: str) -> None:
        """Know nothing more of a reservation that has ended, and is shown so."""
        for pair in self._where.pop(reservation_id, ()):
            state = self._states[pair]
            state.holding.pop(reservation_id, None)
            state.changed.discard(reservation_id)
            state.spread.discard(reservation_id)

    def points(self, pair: Pair, order_ref: str) -> Sequence[Point]:
        """How the lines of an order went at a pair; none where the pair is not in this snapshot."""
        state = self._states.get(pair)
        return state.lists.allocations.points(order_ref) if state else ()

    def mark(self, pair: Pair) -> Mark:
        """The last that the warehouse has said of a pair."""
        state = self._states.get(pair)
        stream = state.streams.get(Source.WMS) if state else None
        return (0, stream.spans[-1][1]) if stream else START

    def is_whole(self, pair: Pair) -> bool:
        """Whether nothing older can come than what the warehouse has said of a pair."""
        state = self._states.get(pair)
        stream = state.streams.get(Source.WMS) if state else None
        return stream is None or _is_whole(stream)

    def is_loaded(self, pair: Pair, order_ref: str) -> bool:
        """Whether the snapshot says what is allocated of a pair to an order."""
        state = self._states.get(pair)
        return state is not None and state.lists.allocations.is_loaded(order_ref)

    def let_go(self, pair: Pair, order_ref: str) -> None:
        """Forget the events of an order that has ended, and of which there are no reservations."""
        state = self._states.get(pair)
        if state is None or not state.lists.allocations.has_ended(order_ref) or not self.is_whole(pair):
            return
        unnamed = [
            part.since
            for held in state.holding.values()
            if not held.order_ref and held.status in LIVING
            for line in held.lines
            for part in line.parts
            if (part.sku, line.line.branch) == pair
        ]
        state.let_go += state.lists.allocations.fold(order_ref, min(unnamed, default=self.mark(pair)))
        stream = state.streams.get(Source.WMS)
        if stream and state.let_go > max(LET_GO_MIN, len(stream.events) // 2):
            stream.events, state.let_go = state.lists.allocations.kept(), 0

    def slack(self, pair: Pair, now_us: int) -> Fraction:
        """What is shown as held of a pair less what is held, in micros: more than -1, at most 0."""
        state = self._states.get(pair)
        if state is None or not state.has_fractions:
            return Fraction(0)
        held = [
            each
            for each in self._open(pair, state.holding.values())
            if not each.first_day and now_us < each.expires_us
        ]
        exact = sum((each.exact_micros for each in held), Fraction(0))
        return math.floor(exact) - exact

    def streams(self, pair: Pair) -> dict[Source, Stream]:
        """What each source has said of a pair that is live."""
        state = self._states[pair]
        if not self._plain.is_plain(state.place):
            return dict(state.streams)
        return {**state.streams, Source.ERP: self._plain.stream(state.place, pair)}

    def refresh(self, pairs: Iterable[Pair], places: NDArray[np.int64] = NO_PLACES) -> None:
        """Show the state of some pairs, and of those at some places, to all readers, each in one step."""
        distinct = dict.fromkeys(pairs)
        if distinct and len(places):
            others = [place for place in places.tolist() if self._pair_of[place] not in distinct]
            places = np.array(others, dtype=np.int64)
        self._refresh(distinct)
        if len(places):
            left = self._plain.show(self._writer, places)
            self._refresh(self._pair_of[place] for place in left.tolist())

    def _refresh(self, pairs: Iterable[Pair]) -> None:
        ordinals, figures = [], []
        for pair in pairs:
            state = self._states[pair]
            if Source.ERP in state.streams:
                self._take_over(pair, state)
            if state.has_new_lists or not state.figures or not self._show_held(pair, state):
                self._show(pair)
                continue
            state.is_shown = True
            state.figures = self._with_stock(state)
            ordinals.append((state.item, state.branch))
            figures.append(state.figures)
        if not ordinals:
            return
        try:
            self._writer.put_figures(ordinals, figures)
        except LiveFullError:
            self._grow()

    def _take_over(self, pair: Pair, state: _State) -> None:
        """Keep what the ERP says of a pair among the plain streams, if it can be."""
        if state.place < 0:
            is_held = bool(state.holding)
            state.place = self._plain.add(pair, state.item, state.branch, is_held=is_held)
            self._pair_of.append(pair)
        if self._plain.take_over(state.place, state.base, state.streams[Source.ERP]):
            del state.streams[Source.ERP]

    def _show_held(self, pair: Pair, state: _State) -> bool:
        """Show the reservations that have changed, one entry each; False: the whole pair must be shown."""
        if not state.changed:
            return True
        if not state.is_shown or state.has_fractions or state.changed & state.spread:
            return False
        entries = []
        for reservation_id in state.changed:
            held = state.holding[reservation_id]
            if held.order_ref and state.has_demands:
                return False  # demands are net of confirmed ones
            found = list(self._reservations(pair, state, [held]))
            if len(found) > 1:
                return False
            entries.append((reservation_id, found[0] if found else None))
        try:
            for reservation_id, entry in entries:
                from_us = entry.holds_from_us if entry else 0
                self._writer.put_held(
                    state.item,
                    state.branch,
                    day=local_day(from_us, self._zone(state.branch)) if from_us > 0 else 0,
                    expires_us=entry.expires_us if entry else 0,
                    quantity_micros=entry.quantity_micros if entry else 0,
                    number=reservation_number(reservation_id),
                )
                self._forget_ended(state, reservation_id)
        except LiveFullError:
            return False
        state.changed.clear()
        return True

    def _forget_ended(self, state: _State, reservation_id: str) -> None:
        held = state.holding.get(reservation_id)
        if held is not None and held.status not in LIVING:
            del state.holding[reservation_id]
            state.spread.discard(reservation_id)

    def _with_stock(self, state: _State) -> tuple[int, ...]:
        """The figures shown last with what the ERP has said since."""
        rows = state.base.rows
        stock = self._stock(state) or rows.stock
        is_unknown = rows.is_unknown and stock is rows.stock
        gaps = sum(1 << source for source in self._gaps(state))
        return figures_with_stock(state.figures, stock, gaps, is_unknown=is_unknown)

    def _gaps(self, state: _State) -> frozenset[Source]:
        after_us = (state.base.erp_us, state.base.wms_us, state.base.transit_us)
        return frozenset(
            source
            for source, stream in state.streams.items()
            if len(stream.spans) > 1 and stream.has_gap(after_us[source])
        )

    def _stock(self, state: _State) -> Stock | None:
        """What the ERP's events make of the stock row; None: nothing that is known."""
        if self._plain.is_plain(state.place):
            return self._plain.stock(state.place)
        erp = state.streams.get(Source.ERP)
        return stock_of(state.base.rows, state.base.erp_us, erp.events) if erp else None

    def _show(self, pair: Pair) -> None:
        state = self._states[pair]
        rows = figures_of(state.base, {s: each for s, each in state.streams.items() if s is Source.ERP})
        is_whole = _is_whole(state.streams.get(Source.TRANSIT))
        rows = replace(state.lists.put_into(rows, is_transit_whole=is_whole), gaps=self._gaps(state))
        if self._plain.is_plain(state.place) and (stock := self._plain.stock(state.place)):
            rows = replace(rows, stock=stock, is_unknown=False)
        entries = Counter[str]()
        reservations = tuple(self._reservations(pair, state, state.holding.values()))
        entries.update(each.reservation_id for each in reservations)
        state.spread = {name for name, count in entries.items() if count > 1}
        rows = replace(rows, reservations=reservations)
        image = image_of(rows, pair, self._zone(state.branch))
        state.figures, state.has_new_lists, state.is_shown = image.figures, False, True
        state.has_demands = bool(rows.demands)
        for reservation_id in state.changed:
            self._forget_ended(state, reservation_id)
        state.changed.clear()
        try:
            self._writer.put(state.item, state.branch, image)
        except LiveFullError:
            self._grow()

    def _grow(self) -> None:
        """Show everything again where there is more room."""
        self._grown += 1
        self._writer = self._make_writer(self._grown)
        self._writer.set_link_lost(self._link_lost_us)
        for pair in list(self._states):
            self._show(pair)
        self.engine.positions.follow(self._writer.readable())
        self._on_shown()

    def set_link_lost(self, since_us: int) -> None:
        """See `LiveWriter.set_link_lost`."""
        self._link_lost_us = since_us
        self._writer.set_link_lost(since_us)

    def _zone(self, branch: int) -> str:
        positions = self.engine.positions
        return positions.zones[positions.integer("branch_zone", branch)]

    def _reservations(
        self, pair: Pair, state: _State, holding: Iterable[HeldReservation]
    ) -> Iterable[Reservation]:
        found = list(self._open(pair, holding))
        shown = shown_micros([(each.first_day, each.expires_us, each.exact_micros) for each in found])
        for each, micros in zip(found, shown, strict=True):
            if micros:
                yield Reservation(
                    each.held.reservation_id,
                    *pair,
                    micros,
                    each.held.order_ref,
                    each.held.status is ReservationStatus.CONFIRMED,
                    day_start_us(each.first_day, self._zone(state.branch)) if each.first_day else 0,
                    each.expires_us,
                )

    def _open(self, pair: Pair, holding: Iterable[HeldReservation]) -> Iterable[_Open]:
        """What each reservation holds of a pair, line by line."""
        for held in holding:
            if held.status not in LIVING:
                continue
            expires_us = INT64_MAX if held.status is ReservationStatus.CONFIRMED else held.expires_us
            for line in held.lines:
                if line.line.branch != pair[1]:
                    continue
                exact = sum((p.open_micros for p in line.parts if p.sku == pair[0]), Fraction(0))
                if exact > 0:
                    day = 0 if line.line.from_date is None else day_number(line.line.from_date)
                    yield _Open(held, day, expires_us, exact)

    def _state(self, pair: Pair) -> _State:
        state = self._states.get(pair)
        if state is None:
            item, branch = self.engine.ordinals(*pair)
            base = self._base(item, branch)
            state = self._states[pair] = _State(item, branch, base)
            if not (base.rows.allocations or base.rows.receipts or base.rows.demands):
                state.figures = (0, 0, 0, base.rows.safety_micros, NO_INSTANT, NO_INSTANT, 0, 0, NO_INSTANT)
        return state

    def _base(self, item: int, branch: int) -> Base:
        """What the snapshot says of a pair; its rows are sets at their instants."""
        positions = self.engine.positions
        rows = snapshot_pair(positions, item, branch) or PairRows()
        feeds = [int(instant) for instant in positions.arrays["feed_as_of"][branch]]
        erp_us = NO_INSTANT
        if rows.stock is not None:
            erp_us = rows.stock.as_of_us
        elif positions.arrays["feed_complete"][branch, Source.ERP] and not rows.is_unknown:
            erp_us = feeds[Source.ERP]
        wms_us, transit_us = (
            self._created_us if feeds[source] == NO_INSTANT else feeds[source]
            for source in (Source.WMS, Source.TRANSIT)
        )
        ships = positions.arrays.get("feed_decrease_shipped")
        return Base(rows, erp_us, wms_us, transit_us, ships is not None and bool(ships[branch]))


def _is_whole(stream: Stream | None) -> bool:
    """Whether all of a stream is there from its first sequence on."""
    return stream is not None and len(stream.spans) == 1 and stream.spans[0][0] == 1
