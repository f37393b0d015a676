"""The live state of all pairs of a snapshot: applies events and reservations, and writes the live positions."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.days import day_start_us
from pricegrid.atp.arrays.pair_rows import figures_with_stock, image_of, reservation_number
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.kernels.in_order_streams import ROW_COLUMNS, ROW_EFFECTIVE, ROW_FORM, UNDECIDED, UNUSUAL
from pricegrid.atp.live.in_order_streams import InOrderStreams
from pricegrid.atp.live.positions import LiveFullError, LiveWriter
from pricegrid.atp.model import AS_OF_MAX_US, NO_INSTANT, Reservation, Source
from pricegrid.atp.rules.events import SOURCE_OF, DeadReason, Event, EventStatus, Kind, Measure, Outcome
from pricegrid.atp.rules.kit_demands import with_kit_demands
from pricegrid.atp.rules.order_books import PairLists
from pricegrid.atp.rules.order_lines import START, Mark, Point
from pricegrid.atp.rules.reference import local_day
from pricegrid.atp.rules.reservations import LIVING, HeldReservation, ReservationStatus, shown_micros
from pricegrid.atp.rules.rows import Pair, Stock
from pricegrid.atp.rules.stream import SINGLE_FIGURE
from pricegrid.atp.rules.streams import Stream, demand_events, figure_events, gaps_of, stock_of
from pricegrid.service.limits import GAP_SPANS_MAX
from pricegrid.service.live.api import FeedIssue
from pricegrid.service.live.pair_state import PairState, Restart, base_of, open_holds, owners_at

_NOT_NEGATIVE = frozenset(Measure) - {Measure.ON_HAND}
NO_INDICES: Final[NDArray[np.int64]] = np.empty(0, dtype=np.int64)
NO_ROWS: Final[NDArray[np.int64]] = np.empty((0, ROW_COLUMNS), dtype=np.int64)
MakeWriter = Callable[[int], LiveWriter]
"""Makes a new memory for live positions, given how often it has grown."""


class Folded(NamedTuple):
    """The events of a message that the in-order streams took."""

    counts: Counter[EventStatus]
    left: NDArray[np.intp]
    """The other rows, in order; they are for `LivePairs.apply`."""
    indices: NDArray[np.int64]
    """The in-order streams that were touched."""


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
        self._states: dict[Pair, PairState] = {}
        self._where: dict[str, set[Pair]] = {}
        self._in_order = InOrderStreams()
        self._pair_of: list[Pair] = []
        self._owners_of: dict[int, Mapping[Measure, Source]] = {}
        engine.positions.attach(self._writer.readable())

    def are_whole(self, on_shown: Callable[[], None]) -> None:
        """All pairs are written: call `on_shown` now, and after each move to a larger memory."""
        on_shown()
        self._on_shown = on_shown

    def look_up(
        self, raw: bytes, rows: NDArray[np.int64], until_us: int = AS_OF_MAX_US
    ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """(the index of each row of a message among the in-order streams (`atp.kernels.in_order_streams`), for `fold`;
        the rows that are for `apply` whatever the other rows are, among them those that take effect after `until_us`).
        """
        rows[rows[:, ROW_EFFECTIVE] > until_us, ROW_FORM] = UNUSUAL
        indices = self._in_order.indices(raw, rows)
        return indices, np.flatnonzero(self._in_order.is_undecided(rows, indices))

    def fold(self, rows: NDArray[np.int64], indices: NDArray[np.int64]) -> Folded:
        """Apply the events of a message that in-order streams can take; `refresh` shows what they changed. `indices`
        are of the last `look_up`, since which nothing was applied."""
        status, touched = self._in_order.fold(rows, indices)
        counts = np.bincount(status, minlength=UNDECIDED + 1)
        found = Counter({each: int(counts[each]) for each in EventStatus if counts[each]})
        return Folded(found, np.flatnonzero(status == UNDECIDED), touched)

    def held(self, indices: NDArray[np.int64]) -> list[Pair]:
        """The pairs of these in-order streams that have reservations."""
        return [self._pair_of[index] for index in self._in_order.held(indices)]

    def apply(self, event: Event) -> Outcome:
        """Apply one event; `refresh` shows what it changed. One that does not fit the snapshot is a dead letter."""
        reason = self._misfit(event)
        if reason is not None:
            return Outcome(EventStatus.DEAD_LETTER, reason)
        pair = (event.sku, event.branch)
        state = self._states.get(pair) or self._state(pair)
        if event.source is Source.ERP and self._in_order.is_in_order(state.index):
            state.streams[Source.ERP] = self._in_order.drop(state.index, pair)
        stream = state.streams.get(event.source)
        if stream is None:
            stream = state.streams[event.source] = Stream()
        if state.done and (event.kind is Kind.RESET or not stream.is_next(event)):
            state.forget_done(stream)
        waiting = list(stream.waiting)
        outcome = stream.add(event)
        if outcome.is_restart:
            count = state.restarts[event.source].events if event.source in state.restarts else 0
            state.restarts[event.source] = Restart(count + 1, event.sequence, event.effective_us)
        elif event.kind is Kind.RESET:
            state.restarts.pop(event.source, None)
        is_stock = event.measure in SINGLE_FIGURE and event.kind is not Kind.RESET
        if is_stock and event.effective_us <= state.base.erp_us and outcome.status is EventStatus.APPLIED:
            outcome = Outcome(EventStatus.OLDER)
        if not is_stock or event.source is not Source.ERP:
            state.has_new_lists = True
            self._tell_components(pair, state)
        if event.kind is Kind.RESET or stream.waiting != waiting:
            state.lists = PairLists.rearranged(state.lists, state.streams, state.owners)
            state.is_rearranged = True
        elif outcome.status is EventStatus.APPLIED and event.measure not in SINGLE_FIGURE:
            state.lists.add(event)
        if gaps_of(state.base, {event.source: stream}, state.owners):
            return replace(outcome, has_gap=True)
        return outcome

    def touched(self, event: Event) -> list[Pair]:
        """The pairs that an applied event may have changed."""
        state = self._states[event.sku, event.branch]
        if not state.is_kit:
            return [(event.sku, event.branch)]
        return [(sku, event.branch) for sku in self._components(state.item)]

    def orders(self, event: Event) -> list[tuple[Pair, str]]:
        """The orders at a pair whose allocations an applied event may have changed."""
        pair = (event.sku, event.branch)
        state = self._states[pair]
        if not state.is_rearranged:
            return [(pair, event.order_ref)] if event.measure is Measure.ALLOCATED else []
        state.is_rearranged = False
        held = {each.order_ref for each in state.reservations.values()}
        return [(pair, order_ref) for order_ref in sorted(state.lists.allocations.orders() | held)]

    def _components(self, item: int) -> dict[str, Fraction]:
        """The quantity of each base component in a kit."""
        positions = self.engine.positions
        return {
            positions.skus.name(positions.integer("kit_component", k)).decode(): Fraction(
                positions.integer("kit_numerator", k), positions.integer("kit_denominator", k) or 1
            )
            for k in positions.span("kit_start", item)
        }

    def _tell_components(self, kit: Pair, state: PairState) -> None:
        for sku, need in self._components(state.item).items() if state.is_kit else ():
            component = self._state((sku, kit[1]))
            component.kits[kit[0]] = need
            component.has_new_lists = True

    def fault(self, event: Event, until_us: int) -> DeadReason | None:
        """Why a new event can't be applied, or None; decided once, before it is made durable."""
        if event.sequence < 1:
            return DeadReason.INVALID_SEQUENCE
        if (reason := self._misfit(event)) is not None:
            return reason
        return DeadReason.FUTURE if event.effective_us > until_us else None

    def _misfit(self, event: Event) -> DeadReason | None:
        """Why an event does not apply to this snapshot."""
        is_reset = event.kind is Kind.RESET
        if event.sequence < (0 if is_reset else 1):
            return DeadReason.INVALID_SEQUENCE
        state = self._states.get((event.sku, event.branch))
        item, branch = (state.item, state.branch) if state else self.engine.ordinals(event.sku, event.branch)
        if not is_reset:
            owners = state.owners if state else self._owners(branch)
            if owners[event.measure] is not event.source:
                return DeadReason.WRONG_SOURCE
            if event.kind is Kind.SET and event.quantity_micros < 0 and event.measure in _NOT_NEGATIVE:
                return DeadReason.INVALID_QUANTITY
            is_dated = event.measure in (Measure.RECEIPT, Measure.DEMAND)
            if is_dated and event.kind is Kind.SET and event.quantity_micros and event.expected_at_us is None:
                return DeadReason.MISSING_DATE
        if item < 0:
            return DeadReason.UNKNOWN_ITEM
        if branch < 0:
            return DeadReason.UNKNOWN_BRANCH
        if is_reset or event.measure is Measure.DEMAND or (state and not state.is_kit):
            return None
        return DeadReason.KIT_ITEM if self.engine.positions.span("kit_start", item) else None

    def _owners(self, branch: int) -> Mapping[Measure, Source]:
        """The source of each measure at a branch; the default for an unknown branch."""
        if branch < 0:
            return SOURCE_OF
        if branch not in self._owners_of:
            self._owners_of[branch] = owners_at(self.engine.positions, branch)
        return self._owners_of[branch]

    def heard(self, source: Source, sku: str, branch: str) -> list[tuple[Source, Pair]]:
        """The streams of a source that have had events since the load; '' is any item, any branch."""
        return [
            (source, pair)
            for pair, state in sorted(self._states.items())
            if sku in ("", pair[0])
            and branch in ("", pair[1])
            and (
                source in state.streams or (source is Source.ERP and self._in_order.is_in_order(state.index))
            )
        ]

    def issues(self, *, restarts: bool, limit: int) -> list[FeedIssue]:
        """The streams with missing events, or with `restarts` those whose source seems to have restarted."""
        found: list[FeedIssue] = []
        for pair, state in sorted(self._states.items()):
            for source in Source:
                stream = state.streams.get(source)
                missing = (
                    stream.missing() if stream and gaps_of(state.base, {source: stream}, state.owners) else []
                )
                restart = state.restarts.get(source)
                if (restart if restarts else missing) and len(found) < limit:
                    restart = restart or Restart(0, 0, 0)
                    found.append(FeedIssue(source, *pair, missing[:GAP_SPANS_MAX], *restart))
        return found

    def update_reservation(self, held: HeldReservation) -> list[Pair]:
        """Replace the state of a reservation; returns the pairs it touches or touched before.

        Pairs whose item or branch is not in this snapshot are skipped."""
        named = {(part.sku, line.line.branch) for line in held.lines for part in line.parts}
        touched = self._where.get(held.reservation_id, set()) | {
            pair for pair in named if min(self.engine.ordinals(*pair)) >= 0
        }
        self._where[held.reservation_id] = touched
        has_fractions = any(part.excess[0] for line in held.lines for part in line.parts)
        for pair in touched:
            state = self._state(pair)
            state.reservations[held.reservation_id] = held
            state.has_fractions |= has_fractions
            state.changed.add(held.reservation_id)
            if state.index >= 0:
                self._in_order.set_held(state.index)
        return sorted(touched)

    def forget(self, reservation_id: str) -> list[Pair]:
        """Remove a reservation that has ended; returns the pairs that still show it.

        The log drops the values of deleted records, so the end of the reservation may never have been seen here.
        """
        shown = []
        for pair in sorted(self._where.pop(reservation_id, ())):
            state = self._states[pair]
            held = state.reservations.pop(reservation_id, None)
            if held is not None and held.status in LIVING:
                state.has_new_lists = True
                shown.append(pair)
            state.changed.discard(reservation_id)
            state.multi_line.discard(reservation_id)
        return shown

    def points(self, pair: Pair, order_ref: str) -> Sequence[Point]:
        """The history of an order's allocations at a pair; empty if the pair is not in this snapshot."""
        state = self._states.get(pair)
        return state.lists.allocations.points(order_ref) if state else ()

    def mark(self, pair: Pair) -> Mark:
        """The end of a pair's allocation stream."""
        state = self._states.get(pair)
        return state.mark if state else START

    def is_whole(self, pair: Pair) -> bool:
        """Whether a pair's allocation stream has no gaps, so that no older event can come."""
        state = self._states.get(pair)
        stream = state.allocation_stream if state else None
        return stream is None or stream.is_whole

    def is_loaded(self, pair: Pair, order_ref: str) -> bool:
        """Whether the snapshot has allocations of a pair to an order."""
        state = self._states.get(pair)
        return state is not None and state.lists.allocations.is_loaded(order_ref)

    def let_go(self, pair: Pair, order_ref: str) -> None:
        """Release the events of an order that has ended and has no reservations."""
        state = self._states.get(pair)
        if state is not None and self.is_whole(pair):
            state.let_go(pair, order_ref)

    def slack(self, pair: Pair, now_us: int) -> Fraction:
        """The shown minus the exact held quantity of a pair, in micros: more than -1, at most 0."""
        state = self._states.get(pair)
        if state is None or not state.has_fractions:
            return Fraction(0)
        held = [
            each
            for each in open_holds(pair, state.reservations.values())
            if not each.first_day and now_us < each.expires_us
        ]
        exact = sum((each.exact_micros for each in held), Fraction(0))
        return math.floor(exact) - exact

    def streams(self, pair: Pair) -> dict[Source, Stream]:
        """The streams of a live pair by source."""
        state = self._states[pair]
        if not self._in_order.is_in_order(state.index):
            return dict(state.streams)
        return {**state.streams, Source.ERP: self._in_order.stream(state.index, pair)}

    def refresh(self, pairs: Iterable[Pair], indices: NDArray[np.int64] = NO_INDICES) -> None:
        """Write pairs, and those of some in-order streams, to the live positions; each pair atomically."""
        distinct = dict.fromkeys(pairs)
        if distinct and len(indices):
            others = [index for index in indices.tolist() if self._pair_of[index] not in distinct]
            indices = np.array(others, dtype=np.int64)
        self._refresh(distinct)
        if len(indices):
            left = self._in_order.publish(self._writer, indices)
            self._refresh(self._pair_of[index] for index in left.tolist())

    def _refresh(self, pairs: Iterable[Pair]) -> None:
        ordinals, figures = [], []
        for pair in pairs:
            state = self._states[pair]
            if Source.ERP in state.streams and state.owners is SOURCE_OF:
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

    def _take_over(self, pair: Pair, state: PairState) -> None:
        """Move the ERP's stream of a pair to the in-order streams, if it is in order."""
        if state.index < 0:
            is_held = bool(state.reservations)
            state.index = self._in_order.add(pair, state.item, state.branch, is_held=is_held)
            self._pair_of.append(pair)
        if self._in_order.take_over(state.index, state.base, state.streams[Source.ERP]):
            del state.streams[Source.ERP]

    def _show_held(self, pair: Pair, state: PairState) -> bool:
        """Write only the entries of changed reservations; False: the whole pair must be written."""
        if not state.changed:
            return True
        if not state.is_shown or state.has_fractions or state.changed & state.multi_line:
            return False
        entries = []
        for reservation_id in state.changed:
            held = state.reservations[reservation_id]
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

    def _forget_ended(self, state: PairState, reservation_id: str) -> None:
        held = state.reservations.get(reservation_id)
        if held is not None and held.status not in LIVING:
            del state.reservations[reservation_id]
            state.multi_line.discard(reservation_id)

    def _with_stock(self, state: PairState) -> tuple[int, ...]:
        """The figures shown last, with the ERP's events since."""
        rows = state.base.rows
        stock = self._stock(state) or rows.stock
        is_unknown = rows.is_unknown and stock is rows.stock
        gaps = sum(1 << source for source in self._gaps(state))
        return figures_with_stock(state.figures, stock, gaps, is_unknown=is_unknown)

    def _stock(self, state: PairState) -> Stock | None:
        """The stock row after the ERP's events; None: there is none."""
        if self._in_order.is_in_order(state.index):
            return self._in_order.stock(state.index)
        events = figure_events(state.streams, state.owners)
        return stock_of(state.base.rows, state.base.erp_us, events) if events else None

    def _gaps(self, state: PairState) -> frozenset[Source]:
        """The sources that have missing events for the pair."""
        gaps = gaps_of(state.base, state.streams, state.owners)
        for kit in state.kits:
            of_kit = self._states[kit, self._branch_name(state)]
            gaps |= gaps_of(of_kit.base, of_kit.streams, of_kit.owners)
        return gaps

    def _branch_name(self, state: PairState) -> str:
        return self.engine.positions.branches.name(state.branch).decode()

    def _show(self, pair: Pair) -> None:
        state = self._states[pair]
        if state.is_kit:
            return  # a kit has no figures of its own
        rows = state.base.rows
        if (stock := self._stock(state)) is not None:
            rows = replace(rows, stock=stock, is_unknown=False)
        transit = state.streams.get(state.owners[Measure.DEMAND])
        rows = state.lists.put_into(rows, is_transit_whole=transit is not None and transit.is_whole)
        for kit, need in state.kits.items():
            of_kit = self._states[kit, pair[1]]
            events = demand_events(of_kit.streams, of_kit.owners)
            rows = with_kit_demands(rows, kit, need, of_kit.base.transit_us, events)
        rows = replace(rows, gaps=self._gaps(state))
        entries = Counter[str]()
        reservations = tuple(self._reservations(pair, state, state.reservations.values()))
        entries.update(each.reservation_id for each in reservations)
        state.multi_line = {name for name, count in entries.items() if count > 1}
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
        """Write everything again into a larger memory."""
        self._grown += 1
        self._writer = self._make_writer(self._grown)
        self._writer.set_link_lost(self._link_lost_us)
        for pair in list(self._states):
            self._show(pair)
        self.engine.positions.attach(self._writer.readable())
        self._on_shown()

    def set_link_lost(self, since_us: int) -> None:
        """See `LiveWriter.set_link_lost`."""
        self._link_lost_us = since_us
        self._writer.set_link_lost(since_us)

    def _zone(self, branch: int) -> str:
        positions = self.engine.positions
        return positions.zones[positions.integer("branch_zone", branch)]

    def _reservations(
        self, pair: Pair, state: PairState, reservations: Iterable[HeldReservation]
    ) -> Iterable[Reservation]:
        found = list(open_holds(pair, reservations))
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
                    each.order_line,
                )

    def _state(self, pair: Pair) -> PairState:
        state = self._states.get(pair)
        if state is None:
            item, branch = self.engine.ordinals(*pair)
            base = base_of(self.engine.positions, item, branch, self._created_us)
            state = self._states[pair] = PairState(item, branch, base, owners=self._owners(branch))
            state.is_kit = bool(self.engine.positions.span("kit_start", item))
            if not (base.rows.allocations or base.rows.receipts or base.rows.demands):
                state.figures = (0, 0, 0, base.rows.safety_micros, NO_INSTANT, NO_INSTANT, 0, 0, NO_INSTANT)
        return state
