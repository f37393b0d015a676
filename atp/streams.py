"""What a set of inventory events makes of one pair (A10): plain rows in, plain rows out.

Each source numbers what it says of a pair: a *stream*. The result depends on which events are there, never on when
they came. A set replaces a figure, later deltas (by sequence) are added to it; events at or before the instant of a
loaded row are in that row. Sequence numbers missing between those that are there are a *gap*: whatever a source's
measures say is doubtful until each of them is set again, or what is missing arrives.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from atp.events import DeadReason, Event, EventStatus, Kind, Measure, Outcome
from atp.model import NO_INSTANT, Source
from atp.order_lines import (
    OrderRows,
    allocation_rows,
    by_order,
    demand_rows,
    grouped,
    listed_allocations,
    listed_demands,
)
from atp.pair_rows import PairRows
from atp.rows import Allocation, Receipt, Stock

_by_sequence = attrgetter("sequence")
_APPLIED = Outcome(EventStatus.APPLIED)


@dataclass(frozen=True, slots=True)
class Base:
    """What a snapshot says of a pair, and up to when its sources had been heard."""

    rows: PairRows
    erp_us: int = NO_INSTANT
    """Of the stock row; without one, of a complete extract, which means 0; NO_INSTANT: on-hand is unknown."""
    wms_us: int = NO_INSTANT
    """Of allocations without a row of their own."""
    transit_us: int = NO_INSTANT
    """Of receipts and demands."""
    ships_by_decrease: bool = False
    """Less allocated means that it was shipped (`feeds.decrease_means`)."""


@dataclass(slots=True)
class Stream:
    """The events of one source about one pair that may still matter."""

    events: list[Event] = field(default_factory=list)
    """By sequence; those that a later set has replaced for good are gone."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    """The sequences received, as (first, last), ascending and apart."""

    def add(self, event: Event) -> Outcome:
        """Take in one event; the stream stays what the set of its events makes it."""
        spans = self.spans
        if (
            spans and spans[-1][1] + 1 == event.sequence
        ):  # the usual one: next in order, nothing can replace it
            spans[-1] = (spans[-1][0], event.sequence)
            self.events.append(event)
            if event.kind is Kind.SET:
                self._drop_replaced(event)
            return _APPLIED
        if self._has(event.sequence):
            at = bisect_left(self.events, event.sequence, key=_by_sequence)
            kept = self.events[at] if at < len(self.events) else None
            if kept is not None and kept.sequence == event.sequence and kept != event:
                return Outcome(EventStatus.DEAD_LETTER, DeadReason.SEQUENCE_REUSED)
            return Outcome(EventStatus.DUPLICATE)
        self._note(event.sequence)
        if self._is_replaced(event):
            return Outcome(EventStatus.OLDER)
        if not self.events or self.events[-1].sequence < event.sequence:
            self.events.append(event)
        else:
            insort(self.events, event, key=_by_sequence)
        if event.kind is Kind.SET:
            self._drop_replaced(event)
        return _APPLIED

    def _drop_replaced(self, event: Event) -> None:
        """Before a set of a plain figure nothing of that figure matters any more."""
        if event.measure in _PLAIN and len(self.events) > 1:
            self.events = [
                each
                for each in self.events
                if each.measure is not event.measure or each.sequence >= event.sequence
            ]

    def _has(self, sequence: int) -> bool:
        if self.spans and self.spans[-1][0] <= sequence:
            return sequence <= self.spans[-1][1]
        return any(first <= sequence <= last for first, last in self.spans)

    def _note(self, sequence: int) -> None:
        spans = self.spans
        if spans and spans[-1][1] + 1 == sequence:
            spans[-1] = (spans[-1][0], sequence)
            return
        insort(spans, (sequence, sequence))
        at = bisect_left(spans, (sequence, sequence))
        if at + 1 < len(spans) and spans[at + 1][0] == sequence + 1:
            spans[at : at + 2] = [(sequence, spans[at + 1][1])]
        if at and spans[at - 1][1] + 1 == spans[at][0]:
            spans[at - 1 : at + 1] = [(spans[at - 1][0], spans[at][1])]

    def _is_replaced(self, event: Event) -> bool:
        """A later set of the same plain figure says all. Other measures have one for each order line."""
        if event.measure not in _PLAIN:
            return False
        return any(
            each.kind is Kind.SET and each.measure is event.measure and each.sequence > event.sequence
            for each in reversed(self.events)
        )

    def has_gap(self, after_us: int) -> bool:
        """Whether something is missing that no later set, and no loaded row of instant `after_us`, makes up for."""
        if len(self.spans) < 2:
            return False
        missing = self.spans[-1][0] - 1
        last_set: dict[Measure, int] = {}
        for each in self.events:
            if each.effective_us <= after_us and each.sequence > missing:
                return False
            last = last_set.get(each.measure, 0)
            last_set[each.measure] = each.sequence if each.kind is Kind.SET else last
        return any(sequence < missing for sequence in last_set.values())


_PLAIN = frozenset({Measure.ON_HAND, Measure.UNAVAILABLE})
"""Measures of one figure a pair; the others have one for each order or reference."""


def figures_of(base: Base, streams: dict[Source, Stream]) -> PairRows:
    """The rows of the pair: what the snapshot says, and what the events have made of it."""
    rows = base.rows
    if Source.ERP in streams:
        rows = _with_stock(rows, base.erp_us, streams[Source.ERP].events)
    if Source.WMS in streams:
        rows = replace(rows, allocations=_allocations(base, streams[Source.WMS].events))
    if Source.TRANSIT in streams:
        rows = _with_transit(rows, base.transit_us, streams[Source.TRANSIT].events)
    after = {Source.ERP: base.erp_us, Source.WMS: base.wms_us, Source.TRANSIT: base.transit_us}
    gaps = {source for source, stream in streams.items() if stream.has_gap(after[source])}
    return replace(rows, gaps=frozenset(gaps)) if gaps else rows


def _value(loaded: int | None, events: Iterable[Event]) -> int | None:
    """The last set and the deltas after it; a delta on what nobody knows leaves it unknown."""
    value = loaded
    for event in events:
        if event.kind is Kind.SET:
            value = event.quantity_micros
        elif value is not None:
            value += event.quantity_micros
    return value


def _with_stock(rows: PairRows, after_us: int, events: Sequence[Event]) -> PairRows:
    stock = stock_of(rows, after_us, events)
    return rows if stock is None else replace(rows, stock=stock, is_unknown=False)


def stock_of(rows: PairRows, after_us: int, events: Sequence[Event]) -> Stock | None:
    """What the ERP's events make of a stock row; None: they say nothing that is known."""
    loaded = rows.stock
    is_known = after_us != NO_INSTANT and not rows.is_unknown
    on_hand = (loaded.on_hand_micros if loaded else 0) if is_known else None
    unavailable = loaded.unavailable_micros if loaded else 0
    as_of_us = after_us
    for event in events:
        if event.effective_us <= after_us:
            continue
        as_of_us = max(as_of_us, event.effective_us)
        if event.measure is Measure.ON_HAND:
            if event.kind is Kind.SET:
                on_hand = event.quantity_micros
            elif on_hand is not None:
                on_hand += event.quantity_micros
        elif event.kind is Kind.SET:
            unavailable = event.quantity_micros
        else:
            unavailable += event.quantity_micros
    if on_hand is None or as_of_us == after_us:
        return None
    return Stock(on_hand, as_of_us, max(0, unavailable))


def _by_line(events: Iterable[Event]) -> dict[str, dict[str, list[Event]]]:
    """Events by order reference, then by its line."""
    found: dict[str, dict[str, list[Event]]] = {}
    for event in events:
        found.setdefault(event.order_ref, {}).setdefault(event.order_line, []).append(event)
    return found


def _allocations(base: Base, events: Sequence[Event]) -> tuple[Allocation, ...]:
    """What is loaded of each order, or what its events have made of it."""
    loaded = {
        order_ref: OrderRows(rows, base.wms_us, base.ships_by_decrease)
        for order_ref, rows in grouped(base.rows.allocations).items()
    }
    found = by_order(events)
    rows: list[Allocation] = []
    for order_ref in dict.fromkeys([*loaded, *found]):
        said = loaded.get(order_ref, OrderRows((), base.wms_us, base.ships_by_decrease))
        rows += allocation_rows(order_ref, said, found.get(order_ref, []))
    said_us = [row.as_of_us for row in (*base.rows.allocations, *rows)]
    return listed_allocations(rows, max(said_us, default=None))


@dataclass(slots=True)
class _Dated:
    """An open quantity of one reference on one instant."""

    at_us: int
    micros: int


def _dated(loaded: Sequence[tuple[int, int]], lines: dict[str, list[Event]]) -> list[_Dated]:
    """What is open of one reference: (instant, quantity) of its loaded rows, and what its events have made of them.

    A set of any line takes the place of the loaded rows. A delta that takes away takes from its own instant, else from
    the earliest; one that adds goes to its own instant, else to the latest; where there is none it says nothing.
    """
    is_replaced = any(event.kind is Kind.SET for each in lines.values() for event in each)
    start = [] if is_replaced else [_Dated(*row) for row in sorted(loaded)]
    events = sorted((event for each in lines.values() for event in each), key=_by_sequence)
    by_line: dict[str, list[_Dated]] = {}
    for event in events:
        open_rows = by_line.setdefault(event.order_line, []) if is_replaced else start
        if event.kind is Kind.SET:
            latest = max((row.at_us for row in open_rows), default=None)
            at_us = event.expected_at_us if event.expected_at_us is not None else latest
            open_rows[:] = [] if at_us is None else [_Dated(at_us, event.quantity_micros)]
        else:
            _change(open_rows, event)
    rows = [row for each in by_line.values() for row in each] if is_replaced else start
    return sorted((row for row in rows if row.micros > 0), key=attrgetter("at_us", "micros"))


def _change(open_rows: list[_Dated], event: Event) -> None:
    at_us, micros = event.expected_at_us, event.quantity_micros
    if micros >= 0:
        at_us = at_us if at_us is not None else max((row.at_us for row in open_rows), default=None)
        if at_us is not None:
            open_rows.append(_Dated(at_us, micros))
        return
    for row in sorted(open_rows, key=lambda row: (row.at_us != at_us, row.at_us)):
        taken = min(row.micros, -micros)
        row.micros -= taken
        micros += taken


def _with_transit(rows: PairRows, after_us: int, events: Sequence[Event]) -> PairRows:
    counted = [event for event in events if event.effective_us > after_us]
    if not counted:
        return rows
    demands = by_order(event for event in counted if event.measure is Measure.DEMAND)
    loaded = grouped(rows.demands)
    kept = [row for row in rows.demands if (row.order_ref or "") not in demands]
    for order_ref, events_of in demands.items():
        kept += demand_rows(order_ref, loaded.get(order_ref, ()), events_of)
    return replace(
        rows,
        receipts=receipt_rows(rows, [event for event in counted if event.measure is Measure.RECEIPT]),
        demands=listed_demands(kept),
        transit_as_of_us=max(event.effective_us for event in counted),
    )


def receipt_rows(rows: PairRows, events: Iterable[Event]) -> tuple[Receipt, ...]:
    """What is coming in: the loaded rows, and what the events that are not in them have made of them."""
    receipts = _by_line(events)
    kept = [row for row in rows.receipts if (row.reference or "") not in receipts]
    for reference, lines in receipts.items():
        before = [row for row in rows.receipts if (row.reference or "") == reference]
        like = before[0] if before else Receipt(0, 0)
        kept += [
            Receipt(row.micros, row.at_us, like.confidence_micros, like.kind, reference or None)
            for row in _dated([(row.expected_at_us, row.quantity_micros) for row in before], lines)
        ]
    return tuple(kept)
