"""What a set of inventory events makes of one pair (A10): rows in, rows out.

Each source numbers its events of a pair: a *stream*. The result depends on which events are there, never on when
they came. A set replaces a figure, later deltas (by sequence) are added to it; events at or before the instant of a
loaded row are in that row. Sequence numbers missing between those that are there are a *gap*: whatever a source's
measures say is doubtful until each of them is set again, or what is missing arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pricegrid.atp.arrays.pair_rows import PairRows
from pricegrid.atp.model import NO_INSTANT, Source
from pricegrid.atp.rules.events import SOURCE_OF, Event, Kind, Measure
from pricegrid.atp.rules.order_lines import (
    OrderRows,
    allocation_rows,
    by_order,
    demand_rows,
    grouped,
    listed_allocations,
    listed_demands,
)
from pricegrid.atp.rules.receipts import receipts_of
from pricegrid.atp.rules.rows import Allocation, Stock
from pricegrid.atp.rules.stream import Stream

__all__ = [
    "Base",
    "Stream",
    "demand_events",
    "events_of",
    "figure_events",
    "figures_of",
    "gaps_of",
    "stock_of",
]


@dataclass(frozen=True, slots=True)
class Base:
    """The rows of a pair in a snapshot, and up to when they include the events of its sources."""

    rows: PairRows
    erp_us: int = NO_INSTANT
    """Of the stock row; without one, of a complete extract, which means 0; NO_INSTANT: on-hand is unknown."""
    wms_us: int = NO_INSTANT
    """Of allocations without a row of their own."""
    transit_us: int = NO_INSTANT
    """Of receipts and demands."""
    ships_by_decrease: bool = False
    """Less allocated means that it was shipped (`feeds.decrease_means`)."""


Owners = Mapping[Measure, Source]
"""The source of each measure at a branch."""


def figures_of(base: Base, streams: Mapping[Source, Stream], owners: Owners = SOURCE_OF) -> PairRows:
    """The rows of the pair: those of the snapshot, and what the events have made of them."""
    rows = base.rows
    stock = figure_events(streams, owners)
    if stock:
        rows = _with_stock(rows, base.erp_us, stock)
    source = owners[Measure.ALLOCATED]
    if source in streams:
        events = events_of(streams, owners, Measure.ALLOCATED)
        rows = replace(rows, allocations=_allocations(base, events, streams[source].starts))
    transit = events_of(streams, owners, Measure.RECEIPT, Measure.DEMAND)
    if transit:
        rows = _with_transit(rows, base.transit_us, transit)
    gaps = gaps_of(base, streams, owners)
    return replace(rows, gaps=gaps) if gaps else rows


def events_of(streams: Mapping[Source, Stream], owners: Owners, *measures: Measure) -> list[Event]:
    """The events of some measures, each from its own source, in the order in which they count."""
    sources = dict.fromkeys(owners[measure] for measure in measures)
    return [
        event
        for source in sources
        if source in streams
        for event in streams[source].events
        if event.measure in measures and owners[event.measure] is source
    ]


def figure_events(streams: Mapping[Source, Stream], owners: Owners) -> list[Event]:
    """The events of on-hand and unavailable."""
    return events_of(streams, owners, Measure.ON_HAND, Measure.UNAVAILABLE)


def demand_events(streams: Mapping[Source, Stream], owners: Owners) -> list[Event]:
    """The events of demands."""
    return events_of(streams, owners, Measure.DEMAND)


def gaps_of(base: Base, streams: Mapping[Source, Stream], owners: Owners = SOURCE_OF) -> frozenset[Source]:
    """The sources, as answers name them, of whose figures something is missing."""
    after = {Source.ERP: base.erp_us, Source.WMS: base.wms_us, Source.TRANSIT: base.transit_us}
    found: set[Source] = set()
    for source, stream in streams.items():
        roles = {SOURCE_OF[measure] for measure, owner in owners.items() if owner is source} or {source}
        if stream.has_gap(min(after[role] for role in roles)):
            found |= roles
    return frozenset(found)


def _with_stock(rows: PairRows, after_us: int, events: Sequence[Event]) -> PairRows:
    stock = stock_of(rows, after_us, events)
    return rows if stock is None else replace(rows, stock=stock, is_unknown=False)


def stock_of(rows: PairRows, after_us: int, events: Sequence[Event]) -> Stock | None:
    """What the ERP's events make of a stock row; None: on-hand stays as it is loaded."""
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


def _allocations(base: Base, events: Sequence[Event], starts: Sequence[int]) -> tuple[Allocation, ...]:
    """What is loaded of each order, or what its events have made of it."""
    none = OrderRows((), base.wms_us, base.ships_by_decrease, starts)
    loaded = {
        order_ref: replace(none, rows=rows) for order_ref, rows in grouped(base.rows.allocations).items()
    }
    found = by_order(events)
    rows: list[Allocation] = []
    for order_ref in dict.fromkeys([*loaded, *found]):
        rows += allocation_rows(order_ref, loaded.get(order_ref, none), found.get(order_ref, []))
    said_us = [row.as_of_us for row in (*base.rows.allocations, *rows)]
    return listed_allocations(rows, max(said_us, default=None))


def _with_transit(rows: PairRows, after_us: int, events: Sequence[Event]) -> PairRows:
    counted = [event for event in events if event.effective_us > after_us]
    if not counted:
        return rows
    receipts = [event for event in counted if event.measure is Measure.RECEIPT]
    demands = by_order(event for event in counted if event.measure is Measure.DEMAND)
    loaded = grouped(row for row in rows.demands if not row.kit)
    kept = [row for row in rows.demands if row.kit or (row.order_ref or "") not in demands]
    for order_ref, events_of in demands.items():
        kept += demand_rows(order_ref, loaded.get(order_ref, ()), events_of)
    return replace(
        rows,
        receipts=receipts_of(rows.receipts, receipts) if receipts else rows.receipts,
        demands=listed_demands(kept),
        transit_as_of_us=max(event.effective_us for event in counted),
    )
