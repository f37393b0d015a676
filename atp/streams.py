"""What a set of inventory events makes of one pair (A10): plain rows in, plain rows out.

Each source numbers what it says of a pair: a *stream*. The result depends on which events are there, never on when
they came. A set replaces a figure, later deltas (by sequence) are added to it; events at or before the instant of a
loaded row are in that row. Sequence numbers missing between those that are there are a *gap*: whatever a source's
measures say is doubtful until each of them is set again, or what is missing arrives.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from atp.events import SOURCE_OF, Event, Kind, Measure
from atp.model import NO_INSTANT, Source
from atp.pair_rows import PairRows
from atp.receipts import receipts_of
from atp.rows import Allocation, Demand, Stock
from atp.stream import Stream

__all__ = [
    "Base",
    "Stream",
    "by_line",
    "dated",
    "demand_events",
    "figures_of",
    "gaps_of",
    "peaks",
    "plain_events",
    "said",
    "stock_of",
]


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


Owners = Mapping[Measure, Source]
"""The source of each measure at a branch."""


def figures_of(base: Base, streams: Mapping[Source, Stream], owners: Owners = SOURCE_OF) -> PairRows:
    """The rows of the pair: what the snapshot says, and what the events have made of it."""
    rows = base.rows
    stock = plain_events(streams, owners)
    if stock:
        rows = _with_stock(rows, base.erp_us, stock)
    if owners[Measure.ALLOCATED] in streams:
        rows = replace(rows, allocations=_allocations(base, said(streams, owners, Measure.ALLOCATED)))
    transit = said(streams, owners, Measure.RECEIPT, Measure.DEMAND)
    if transit:
        rows = _with_transit(rows, base.transit_us, transit)
    gaps = gaps_of(base, streams, owners)
    return replace(rows, gaps=gaps) if gaps else rows


def said(streams: Mapping[Source, Stream], owners: Owners, *measures: Measure) -> list[Event]:
    """What the sources of some measures have said of them, each in the order in which it counts."""
    sources = dict.fromkeys(owners[measure] for measure in measures)
    return [
        event
        for source in sources
        if source in streams
        for event in streams[source].events
        if event.measure in measures and owners[event.measure] is source
    ]


def plain_events(streams: Mapping[Source, Stream], owners: Owners) -> list[Event]:
    """What was said of on hand and unavailable."""
    return said(streams, owners, Measure.ON_HAND, Measure.UNAVAILABLE)


def demand_events(streams: Mapping[Source, Stream], owners: Owners) -> list[Event]:
    """What was said of demands."""
    return said(streams, owners, Measure.DEMAND)


def gaps_of(base: Base, streams: Mapping[Source, Stream], owners: Owners = SOURCE_OF) -> frozenset[Source]:
    """The sources, as answers name them, of whose figures something is missing."""
    after = {Source.ERP: base.erp_us, Source.WMS: base.wms_us, Source.TRANSIT: base.transit_us}
    found: set[Source] = set()
    for source, stream in streams.items():
        roles = {SOURCE_OF[measure] for measure, owner in owners.items() if owner is source} or {source}
        if stream.has_gap(min(after[role] for role in roles)):
            found |= roles
    return frozenset(found)


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


def by_line(events: Iterable[Event]) -> dict[str, dict[str, list[Event]]]:
    """Events by order reference, then by its line."""
    found: dict[str, dict[str, list[Event]]] = {}
    for event in events:
        found.setdefault(event.order_ref, {}).setdefault(event.order_line, []).append(event)
    return found


def _allocations(base: Base, events: Sequence[Event]) -> tuple[Allocation, ...]:
    """One row for each order. A set of any line of an order takes the place of the order's loaded rows, which know no
    lines."""
    loaded: dict[str, list[Allocation]] = {}
    for row in base.rows.allocations:
        loaded.setdefault(row.order_ref or "", []).append(row)
    found = by_line(events)
    result = []
    for order_ref in dict.fromkeys([*loaded, *found]):
        before = loaded.get(order_ref, [])
        after_us = max((row.as_of_us for row in before), default=base.wms_us)
        lines = {
            line: counted
            for line, each in found.get(order_ref, {}).items()
            if (counted := [event for event in each if event.effective_us > after_us])
        }
        if not lines:
            result += before
            continue
        is_replaced = any(event.kind is Kind.SET for each in lines.values() for event in each)
        total = 0 if is_replaced else sum(row.allocated_micros for row in before)
        total += sum(_value(0, each) or 0 for each in lines.values())
        as_of_us = max(event.effective_us for each in lines.values() for event in each)
        result.append(Allocation(max(0, total), as_of_us, order_ref or None))
    return tuple(result)


def peaks(base: Base, events: Sequence[Event]) -> dict[tuple[str, str], int]:
    """The most that was ever allocated at once to each (order, line), and under line '' to the order as a whole (A9).

    By sequence, whatever the instants: what a later load no longer shows was allocated all the same.
    """
    loaded: dict[str, int] = {}
    for row in base.rows.allocations:
        if row.order_ref:
            loaded[row.order_ref] = loaded.get(row.order_ref, 0) + row.allocated_micros
    highest = {(order_ref, ""): micros for order_ref, micros in loaded.items()}
    now: dict[str, dict[str, int]] = {}
    for event in events:
        if not event.order_ref:
            continue
        lines = now.setdefault(event.order_ref, {})
        before = 0 if event.kind is Kind.SET else lines.get(event.order_line, 0)
        lines[event.order_line] = before + event.quantity_micros
        for line, micros in ((event.order_line, lines[event.order_line]), ("", sum(lines.values()))):
            key = (event.order_ref, line)
            highest[key] = max(highest.get(key, 0), micros)
    return highest


@dataclass(slots=True)
class Dated:
    """An open quantity of one reference on one instant."""

    at_us: int
    micros: int


def dated(
    loaded: Sequence[tuple[int, int]], lines: Mapping[str, Sequence[Event]], order: Sequence[Event]
) -> list[Dated]:
    """What is open of one order: (instant, quantity) of its loaded rows, and what the events of its lines have made of
    them, which count in the `order` of these and perhaps others.

    A set of any line takes the place of the loaded rows. A delta that takes away takes from its own instant, else from
    the earliest; one that adds goes to its own instant, else to the latest; where there is none it says nothing.
    """
    is_replaced = any(event.kind is Kind.SET for each in lines.values() for event in each)
    start = [] if is_replaced else [Dated(*row) for row in sorted(loaded)]
    place = {id(event): at for at, event in enumerate(order)}
    events = sorted((event for each in lines.values() for event in each), key=lambda event: place[id(event)])
    by_line: dict[str, list[Dated]] = {}
    for event in events:
        open_rows = by_line.setdefault(event.order_line, []) if is_replaced else start
        if event.kind is Kind.SET:
            latest = max((row.at_us for row in open_rows), default=None)
            at_us = event.expected_at_us if event.expected_at_us is not None else latest
            open_rows[:] = [] if at_us is None else [Dated(at_us, event.quantity_micros)]
        else:
            _change(open_rows, event)
    rows = [row for each in by_line.values() for row in each] if is_replaced else start
    return sorted((row for row in rows if row.micros > 0), key=attrgetter("at_us", "micros"))


def _change(open_rows: list[Dated], event: Event) -> None:
    at_us, micros = event.expected_at_us, event.quantity_micros
    if micros >= 0:
        at_us = at_us if at_us is not None else max((row.at_us for row in open_rows), default=None)
        if at_us is not None:
            open_rows.append(Dated(at_us, micros))
        return
    for row in sorted(open_rows, key=lambda row: (row.at_us != at_us, row.at_us)):
        taken = min(row.micros, -micros)
        row.micros -= taken
        micros += taken


def _with_transit(rows: PairRows, after_us: int, events: Sequence[Event]) -> PairRows:
    counted = [event for event in events if event.effective_us > after_us]
    if not counted:
        return rows
    told = [event for event in counted if event.measure is Measure.RECEIPT]
    demands = by_line(event for event in counted if event.measure is Measure.DEMAND)
    kept = [row for row in rows.demands if row.kit or (row.order_ref or "") not in demands]
    for order_ref, lines in demands.items():
        due = [
            (row.due_at_us, row.quantity_micros)
            for row in rows.demands
            if not row.kit and (row.order_ref or "") == order_ref
        ]
        kept += [Demand(row.micros, row.at_us, order_ref or None) for row in dated(due, lines, counted)]
    return replace(
        rows,
        receipts=receipts_of(rows.receipts, told) if told else rows.receipts,
        demands=tuple(sorted(kept, key=attrgetter("due_at_us"))),
        transit_as_of_us=max(event.effective_us for event in counted),
    )
