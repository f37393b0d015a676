"""Allocations and demands of a pair, kept by order: one more event costs what its own order has, not the pair's past.

`streams.figures_of` is the same of all events at once, and keeps them all. An order that has ended is folded: its
events are dropped, where nothing can ask for them any more and none can come that is older.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pricegrid.atp.arrays.pair_rows import PairRows
from pricegrid.atp.model import NO_INSTANT, Source
from pricegrid.atp.rules.events import Event, Kind, Measure
from pricegrid.atp.rules.order_lines import (
    Mark,
    OrderRows,
    Point,
    allocation_points,
    allocation_rows,
    demand_rows,
    grouped,
    listed_allocations,
    listed_demands,
    mark_of,
    newest_counted_us,
)
from pricegrid.atp.rules.receipts import receipts_of
from pricegrid.atp.rules.rows import Allocation, Demand, Receipt
from pricegrid.atp.rules.streams import Base, Owners, Stream, events_of


class AllocationBook:
    """The allocations of one pair, by order."""

    def __init__(
        self,
        loaded: Sequence[Allocation],
        after_us: int,
        *,
        ships_by_decrease: bool,
        starts: Sequence[int] = (),
    ) -> None:
        self.events_read = 0
        """Events read so far, which the cost depends on."""
        self._none = OrderRows((), after_us, ships_by_decrease, starts)
        self._key = partial(mark_of, starts=starts)
        self._loaded = {
            order_ref: replace(self._none, rows=rows) for order_ref, rows in grouped(loaded).items()
        }
        self._events: dict[str, list[Event]] = {}
        self.folded: dict[str, Point] = {}
        self._points: dict[str, list[Point]] = {}
        self._open = {order_ref: tuple(each.rows) for order_ref, each in self._loaded.items()}
        self._changed: set[str] = set()
        self.newest_us = max((row.as_of_us for row in loaded), default=None)
        self.dropped_us: int | None = None
        """The newest instant of events that were dropped."""

    def add(self, event: Event) -> None:
        """Take in an event that was not here before."""
        order_ref = event.order_ref
        insort(self._events.setdefault(order_ref, []), event, key=self._key)
        self._points.pop(order_ref, None)
        self._changed.add(order_ref)
        if event.effective_us > self._loaded.get(order_ref, self._none).included_until_us(event.order_line):
            self.newest_us = max(self.newest_us or event.effective_us, event.effective_us)

    def is_loaded(self, order_ref: str) -> bool:
        """Whether the snapshot has rows of an order."""
        return order_ref in self._loaded

    def points(self, order_ref: str) -> Sequence[Point]:
        """How the lines of an order went, by sequence."""
        found = self._points.get(order_ref)
        if found is None:
            events = self._events.get(order_ref, [])
            self.events_read += len(events)
            loaded = self._loaded.get(order_ref, self._none)
            found = self._points[order_ref] = allocation_points(loaded, events, self.folded.get(order_ref))
        return found

    def rows(self) -> tuple[Allocation, ...]:
        """What is allocated now, as `order_lines.listed_allocations` lists it."""
        for order_ref in self._changed:
            events = self._events.get(order_ref, [])
            self.events_read += len(events)
            loaded = self._loaded.get(order_ref, self._none)
            rows = allocation_rows(order_ref, loaded, events, self.folded.get(order_ref))
            self._open[order_ref] = tuple(row for row in rows if row.allocated_micros)
            if not self._open[order_ref]:
                del self._open[order_ref]
        self._changed.clear()
        return listed_allocations((row for rows in self._open.values() for row in rows), self.newest_us)

    def has_ended(self, order_ref: str) -> bool:
        """Whether there were events of an order, and nothing is allocated to it any more."""
        return order_ref in self._events and not any(self.points(order_ref)[-1].allocated.values())

    def orders(self) -> set[str]:
        """The orders of which anything is known."""
        return {*self._loaded, *self._events, *self.folded}

    def remember(self, other: "AllocationBook") -> None:
        """Take over what another book of the same pair keeps of events that it has dropped."""
        self.folded = dict(other.folded)
        self._points.clear()
        self._changed |= set(self.folded)
        self.dropped_us = other.dropped_us
        if self.dropped_us is not None:
            self.newest_us = max(self.newest_us or self.dropped_us, self.dropped_us)

    def fold(self, order_ref: str, known: Mark) -> list[Event]:
        """Drop the events of an order, if it has ended and no claim is older than the last of them (`known`).

        For orders of which no event can be missing: all from the first sequence are there. Returns the events dropped.
        """
        events = self._events.get(order_ref)
        if not events or self._key(events[-1]) > known or not self.has_ended(order_ref):
            return []
        last = self.points(order_ref)[-1]
        self.rows()
        if order_ref in self._loaded or any(last.shipped.values()):
            self.folded[order_ref] = Point(
                self._key(events[-1]), None, {}, last.shipped, events[-1].effective_us
            )
        counted_us = newest_counted_us(self._loaded.get(order_ref, self._none), events)
        if counted_us is not None:
            self.dropped_us = max(self.dropped_us or counted_us, counted_us)
        del self._events[order_ref], self._points[order_ref]
        return events


class DemandBook:
    """What is open of the orders of one pair."""

    def __init__(self, loaded: Iterable[Demand], starts: Sequence[int] = ()) -> None:
        self.events_read = 0
        """Events read so far, which the cost depends on."""
        self._key = partial(mark_of, starts=starts)
        self._loaded = grouped(loaded)
        self._events: dict[str, list[Event]] = {}
        self._open = {order_ref: tuple(rows) for order_ref, rows in self._loaded.items()}
        self._changed: set[str] = set()

    def add(self, event: Event) -> None:
        """Add an event that counts and was not here before."""
        insort(self._events.setdefault(event.order_ref, []), event, key=self._key)
        self._changed.add(event.order_ref)

    def rows(self, *, is_whole: bool = False) -> tuple[Demand, ...]:
        """What is open now, by due instant. With `is_whole`, no event of the stream can be missing, one event is kept
        of an order of which nothing is open, for the date it was due; of one with lines all are."""
        for order_ref in self._changed:
            events, loaded = self._events[order_ref], self._loaded.get(order_ref, ())
            self.events_read += len(events)
            self._open[order_ref] = demand_rows(order_ref, loaded, events)
            if self._open[order_ref]:
                continue
            del self._open[order_ref]
            lines = {event.order_line for event in events} | {row.order_line or "" for row in loaded}
            if is_whole and lines == {""}:
                self._events[order_ref] = [_ended(events, loaded)]
                self._loaded.pop(order_ref, None)
        self._changed.clear()
        return listed_demands(row for rows in self._open.values() for row in rows)


def _ended(events: Sequence[Event], loaded: Iterable[Demand]) -> Event:
    """The end of an order without lines, of which a later event may keep the instant: in place of all its events."""
    due_at_us = max((row.due_at_us for row in loaded), default=None)
    for event in events:
        expected_us = event.expected_at_us
        if expected_us is not None and event.kind is Kind.SET:
            due_at_us = expected_us
        elif expected_us is not None and event.quantity_micros >= 0:
            due_at_us = expected_us if due_at_us is None else max(due_at_us, expected_us)
    return replace(events[-1], kind=Kind.SET, quantity_micros=0, expected_at_us=due_at_us)


class PairLists:
    """All that events have made of the lists of one pair."""

    def __init__(self, base: Base, starts: Mapping[Measure, Sequence[int]] | None = None) -> None:
        """`starts`: when the numberings of each measure's source begin, as in `Stream.starts`."""
        begins = starts or {}
        self.base = base
        rows = base.rows
        self.allocations = AllocationBook(
            rows.allocations,
            base.wms_us,
            ships_by_decrease=base.ships_by_decrease,
            starts=begins.get(Measure.ALLOCATED, ()),
        )
        self.demands = DemandBook(
            (row for row in rows.demands if not row.kit), begins.get(Measure.DEMAND, ())
        )
        self._of_kits = [row for row in rows.demands if row.kit]
        self._receipt_key = partial(mark_of, starts=begins.get(Measure.RECEIPT, ()))
        self._receipts: list[Event] = []
        self._receipt_rows: tuple[Receipt, ...] | None = None
        self.has_allocation_events = False
        self._transit_us = NO_INSTANT

    @classmethod
    def rearranged(cls, before: "PairLists", streams: Mapping[Source, Stream], owners: Owners) -> "PairLists":
        """The same after a reset, or after a sequence was used twice.

        The events of the streams may then count in another order, and some not at all.
        """
        starts = {measure: streams[source].starts for measure, source in owners.items() if source in streams}
        lists = cls(before.base, starts)
        lists.has_allocation_events = before.has_allocation_events
        lists.allocations.remember(before.allocations)
        for event in events_of(streams, owners, Measure.ALLOCATED, Measure.RECEIPT, Measure.DEMAND):
            lists.add(event)
        return lists

    def add(self, event: Event) -> None:
        """Add an event of an allocation, a receipt or a demand that was not here before."""
        if event.measure is Measure.ALLOCATED:
            self.has_allocation_events = True
            self.allocations.add(event)
        elif event.effective_us > self.base.transit_us:
            self._transit_us = max(self._transit_us, event.effective_us)
            if event.measure is Measure.DEMAND:
                self.demands.add(event)
            else:
                insort(self._receipts, event, key=self._receipt_key)
                self._receipt_rows = None

    def put_into(self, rows: PairRows, *, is_transit_whole: bool = False) -> PairRows:
        """The rows of the pair with its lists as they are now, as `streams.figures_of` has them; see `DemandBook`."""
        if self.has_allocation_events:
            rows = replace(rows, allocations=self.allocations.rows())
        if self._transit_us != NO_INSTANT:
            if self._receipts and self._receipt_rows is None:
                self._receipt_rows = receipts_of(self.base.rows.receipts, self._receipts)
            demands = self.demands.rows(is_whole=is_transit_whole)
            rows = replace(
                rows,
                receipts=rows.receipts if self._receipt_rows is None else self._receipt_rows,
                demands=listed_demands([*demands, *self._of_kits]) if self._of_kits else demands,
                transit_as_of_us=self._transit_us,
            )
        return rows
