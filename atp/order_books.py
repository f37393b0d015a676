"""Allocations and demands of a pair, kept by order: one more event costs what its own order has, not the pair's past.

`streams.figures_of` says the same of all events at once, and keeps them all. An order that has ended is folded: its
events are let go, where nothing can ask for them any more and none can come that is older.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import replace

from atp.events import Event, Measure
from atp.model import NO_INSTANT
from atp.order_lines import (
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
)
from atp.pair_rows import PairRows
from atp.rows import Allocation, Demand, Receipt
from atp.streams import Base, receipt_rows

_DATED = frozenset({Measure.RECEIPT, Measure.DEMAND})


class AllocationBook:
    """What the warehouse has said of one pair."""

    def __init__(self, loaded: Sequence[Allocation], after_us: int, *, ships_by_decrease: bool) -> None:
        self.looked = 0
        """Events looked at so far: what the work depends on."""
        self._none = OrderRows((), after_us, ships_by_decrease)
        self._loaded = {
            order_ref: OrderRows(rows, after_us, ships_by_decrease)
            for order_ref, rows in grouped(loaded).items()
        }
        self._events: dict[str, list[Event]] = {}
        self._folded: dict[str, Point] = {}
        self._points: dict[str, list[Point]] = {}
        self._open = {order_ref: tuple(each.rows) for order_ref, each in self._loaded.items()}
        self._changed: set[str] = set()
        self._newest_us = max((row.as_of_us for row in loaded), default=None)

    def add(self, event: Event) -> None:
        """Take in an event that was not here before."""
        order_ref = event.order_ref
        insort(self._events.setdefault(order_ref, []), event, key=mark_of)
        self._points.pop(order_ref, None)
        self._changed.add(order_ref)
        if event.effective_us > self._loaded.get(order_ref, self._none).heard_us(event.order_line):
            self._newest_us = max(self._newest_us or event.effective_us, event.effective_us)

    def is_loaded(self, order_ref: str) -> bool:
        """Whether the snapshot says anything of an order."""
        return order_ref in self._loaded

    def points(self, order_ref: str) -> Sequence[Point]:
        """How the lines of an order went, by sequence."""
        found = self._points.get(order_ref)
        if found is None:
            events = self._events.get(order_ref, [])
            self.looked += len(events)
            loaded = self._loaded.get(order_ref, self._none)
            found = self._points[order_ref] = allocation_points(loaded, events, self._folded.get(order_ref))
        return found

    def rows(self) -> tuple[Allocation, ...]:
        """What is allocated now, as `order_lines.listed_allocations` lists it."""
        for order_ref in self._changed:
            events = self._events.get(order_ref, [])
            self.looked += len(events)
            loaded = self._loaded.get(order_ref, self._none)
            rows = allocation_rows(order_ref, loaded, events, self._folded.get(order_ref))
            self._open[order_ref] = tuple(row for row in rows if row.allocated_micros)
            if not self._open[order_ref]:
                del self._open[order_ref]
        self._changed.clear()
        return listed_allocations((row for rows in self._open.values() for row in rows), self._newest_us)

    def has_ended(self, order_ref: str) -> bool:
        """Whether there were events of an order, and nothing is allocated to it any more."""
        return order_ref in self._events and not any(self.points(order_ref)[-1].allocated.values())

    def fold(self, order_ref: str, known: Mark) -> int:
        """Let the events of an order go, if it has ended, and whoever may ask for it knows all of them (`known`).

        For orders of which no event can be missing: all from the first sequence are there. How many went.
        """
        events = self._events.get(order_ref)
        if not events or mark_of(events[-1]) > known or not self.has_ended(order_ref):
            return 0
        last = self.points(order_ref)[-1]
        self.rows()
        if order_ref in self._loaded or any(last.shipped.values()):
            self._folded[order_ref] = Point(mark_of(events[-1]), None, {}, last.shipped)
        del self._events[order_ref], self._points[order_ref]
        return len(events)

    def kept(self) -> list[Event]:
        """The events that were not let go."""
        return sorted((event for events in self._events.values() for event in events), key=mark_of)


class DemandBook:
    """What is open of the orders of one pair."""

    def __init__(self, loaded: Sequence[Demand]) -> None:
        self.looked = 0
        """Events looked at so far: what the work depends on."""
        self._loaded = grouped(loaded)
        self._events: dict[str, list[Event]] = {}
        self._open = {order_ref: tuple(rows) for order_ref, rows in self._loaded.items()}
        self._changed: set[str] = set()

    def add(self, event: Event) -> None:
        """Take in an event that counts and was not here before."""
        insort(self._events.setdefault(event.order_ref, []), event, key=mark_of)
        self._changed.add(event.order_ref)

    def rows(self, *, is_whole: bool = False) -> tuple[Demand, ...]:
        """What is open now, by due instant. With `is_whole`, no event of the stream can be missing, the events of an
        order of which nothing is open are let go, but for one with lines, which would have to be remembered."""
        for order_ref in self._changed:
            events, loaded = self._events[order_ref], self._loaded.get(order_ref, ())
            self.looked += len(events)
            self._open[order_ref] = demand_rows(order_ref, loaded, events)
            if self._open[order_ref]:
                continue
            del self._open[order_ref]
            lines = {event.order_line for event in events} | {row.order_line or "" for row in loaded}
            if is_whole and lines == {""}:
                del self._events[order_ref]
                self._loaded.pop(order_ref, None)
        self._changed.clear()
        return listed_demands(row for rows in self._open.values() for row in rows)

    def kept(self) -> list[Event]:
        """The events that were not let go."""
        return sorted((event for events in self._events.values() for event in events), key=mark_of)


class PairLists:
    """All that events have made of the lists of one pair."""

    def __init__(self, base: Base) -> None:
        self._base = base
        rows = base.rows
        self.allocations = AllocationBook(
            rows.allocations, base.wms_us, ships_by_decrease=base.ships_by_decrease
        )
        self.demands = DemandBook(rows.demands)
        self._receipts: list[Event] = []
        self._receipt_rows: tuple[Receipt, ...] | None = None
        self._is_allocated = False
        self._transit_us = NO_INSTANT

    def add(self, event: Event) -> None:
        """Take in an event that was not here before; one of a plain figure is none of these lists'."""
        if event.measure is Measure.ALLOCATED:
            self._is_allocated = True
            self.allocations.add(event)
        elif event.measure in _DATED and event.effective_us > self._base.transit_us:
            self._transit_us = max(self._transit_us, event.effective_us)
            if event.measure is Measure.DEMAND:
                self.demands.add(event)
            else:
                insort(self._receipts, event, key=mark_of)
                self._receipt_rows = None

    def put_into(self, rows: PairRows, *, is_transit_whole: bool = False) -> PairRows:
        """The rows of the pair with its lists as they are now, as `streams.figures_of` has them; see `DemandBook`."""
        if self._is_allocated:
            rows = replace(rows, allocations=self.allocations.rows())
        if self._transit_us != NO_INSTANT:
            if self._receipt_rows is None:
                self._receipt_rows = receipt_rows(self._base.rows, self._receipts)
            rows = replace(
                rows,
                receipts=self._receipt_rows,
                demands=self.demands.rows(is_whole=is_transit_whole),
                transit_as_of_us=self._transit_us,
            )
        return rows
