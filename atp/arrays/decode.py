"""From arrays back to rows: the few pairs a rare question needs, for the reference to answer."""

from collections.abc import Iterable
from fractions import Fraction

from pricegrid.atp.arrays.pair_rows import PairRows, decode_pair
from pricegrid.atp.arrays.positions import (
    ERP_AS_OF,
    FLAGS,
    GAPS,
    KINDS,
    ON_HAND,
    SAFETY,
    UNAVAILABLE,
    UNKNOWN_STOCK_ROW,
    Positions,
)
from pricegrid.atp.live.layout import LINK_LOST
from pricegrid.atp.live.positions import look
from pricegrid.atp.model import MICROS, NO_INSTANT, Source
from pricegrid.atp.rules.rows import (
    Allocation,
    Branch,
    Calendar,
    Demand,
    Feed,
    Item,
    Lane,
    Receipt,
    Rows,
    Stock,
)


def decode_rows(positions: Positions, items: Iterable[int], branches: Iterable[int]) -> Rows:
    """Everything about some items, what supersedes them, and their components, at some branches: what is live of them,
    otherwise what the snapshot holds."""
    live = positions.live
    rows = Rows(link_lost=bool(live.live_head[LINK_LOST] or live.live_doubt[0]))
    wanted = list(dict.fromkeys(branches))
    for branch in wanted:
        _decode_branch(positions, rows, branch)
    open_items = list(items)
    done: set[int] = set()
    while open_items:
        item = open_items.pop()
        if item < 0 or item in done:
            continue
        done.add(item)
        _decode_item(positions, rows, item)
        open_items.append(positions.integer("item_superseded_by", item))
        open_items.extend(positions.integer("kit_component", k) for k in positions.span("kit_start", item))
        for branch in wanted:
            pair = positions.skus.name(item).decode(), _text(positions, branch)
            found = live_pair(positions, item, branch) or snapshot_pair(positions, item, branch)
            if found is not None:
                found.put_into(rows, pair)
    return rows


def decode_lanes(positions: Positions, rows: Rows, destination: int, name: str) -> None:
    """Add the lanes to a destination, their branches included, in sourcing order."""
    for rank, lane in enumerate(positions.span("lane_start", destination)):
        branch = positions.integer("lane_from", lane)
        rows.lanes.append(
            Lane(_text(positions, branch), name, positions.integer("lane_transit_days", lane), rank)
        )


def _text(positions: Positions, branch: int) -> str:
    return positions.branches.name(branch).decode()


def _decode_item(positions: Positions, rows: Rows, item: int) -> None:
    sku = positions.skus.name(item).decode()
    superseded_by = positions.skus.name(positions.integer("item_superseded_by", item)).decode()
    base_uom = positions.uoms.name(positions.integer("item_base_uom", item)).decode()
    multiple = positions.integer("item_multiple", item)
    rows.items[sku] = Item(sku, base_uom, multiple or None, superseded_by or None)
    for k in positions.span("uom_start", item):
        uom = positions.uoms.name(positions.integer("uom_name", k)).decode()
        factor = Fraction(positions.integer("uom_numerator", k), positions.integer("uom_denominator", k))
        rows.uoms[sku, uom] = factor
    parts = []
    for k in positions.span("kit_start", item):
        component = positions.skus.name(positions.integer("kit_component", k)).decode()
        denominator = positions.integer("kit_denominator", k)
        # a need beyond int64 is no need anybody can meet
        need = (
            Fraction(positions.integer("kit_numerator", k), denominator) if denominator else Fraction(2**63)
        )
        parts.append((component, need))
    if parts:
        rows.kits[sku] = parts


def _decode_branch(positions: Positions, rows: Rows, branch: int) -> None:
    name = _text(positions, branch)
    cutoff_s = positions.integer("branch_cutoff_s", branch)
    calendar = positions.integer("branch_calendar", branch)
    rows.branches[name] = Branch(
        name,
        positions.zones[positions.integer("branch_zone", branch)],
        None if cutoff_s < 0 else cutoff_s,
        positions.integer("branch_inbound_days", branch),
        positions.integer("branch_outbound_days", branch),
        None if calendar < 0 else str(calendar),
    )
    if calendar >= 0:
        weekdays = positions.arrays["calendar_weekdays"][calendar]
        dates = {
            positions.integer("calendar_day", k): bool(positions.integer("calendar_working", k))
            for k in positions.span("calendar_start", calendar)
        }
        rows.calendars[str(calendar)] = Calendar(dates, {day: bool(weekdays[day]) for day in range(7)})
    for source in Source:
        as_of_us = int(positions.arrays["feed_as_of"][branch, source])
        if as_of_us != NO_INSTANT:
            stale_us = int(positions.arrays["feed_stale_us"][branch, source])
            complete = bool(positions.arrays["feed_complete"][branch, source])
            rows.feeds[name, source] = Feed(as_of_us, complete, stale_us // (60 * MICROS))


def _find_pair(positions: Positions, item: int, branch: int) -> int:
    for pair in positions.span("pair_start", item):
        if positions.integer("pair_branch", pair) == branch:
            return pair
    return -1


def live_pair(positions: Positions, item: int, branch: int) -> PairRows | None:
    """One whole live state of a pair; None: nothing has changed it since the snapshot."""
    seen = look(positions.live, item, branch)
    if seen is None:
        return None
    pair = positions.skus.name(item).decode(), _text(positions, branch)
    return decode_pair(seen, pair, positions.zones[positions.integer("branch_zone", branch)])


def snapshot_pair(positions: Positions, item: int, branch: int) -> PairRows | None:
    """What the snapshot holds of a pair; None: nothing."""
    pair = _find_pair(positions, item, branch)
    if pair < 0:
        return None
    record = [int(figure) for figure in positions.arrays["pair_record"][pair]]
    is_row = record[ERP_AS_OF] != NO_INSTANT
    return PairRows(
        stock=Stock(record[ON_HAND], record[ERP_AS_OF], record[UNAVAILABLE]) if is_row else None,
        is_unknown=bool(record[FLAGS] & UNKNOWN_STOCK_ROW),
        safety_micros=record[SAFETY],
        allocations=tuple(
            Allocation(
                positions.integer("allocation_quantity", k),
                positions.integer("allocation_as_of", k),
                _order(positions, "allocation_order", k),
                _order(positions, "allocation_line", k),
                positions.integer("allocation_shipped", k),
            )
            for k in positions.span("allocation_start", pair)
        ),
        receipts=tuple(
            Receipt(
                positions.integer("receipt_quantity", k),
                positions.integer("receipt_at", k),
                positions.integer("receipt_confidence", k),
                KINDS[positions.integer("receipt_kind", k)],
                *(
                    positions.references.name(positions.integer(f"receipt_{column}", k)).decode() or None
                    for column in ("reference", "line", "supersedes")
                ),
            )
            for k in positions.span("receipt_start", pair)
        ),
        demands=tuple(
            Demand(
                positions.integer("demand_quantity", k),
                positions.integer("demand_at", k),
                _order(positions, "demand_order", k),
                _order(positions, "demand_line", k),
                positions.skus.name(positions.integer("demand_kit", k)).decode() or None,
            )
            for k in positions.span("demand_start", pair)
        ),
        gaps=frozenset(source for source in Source if record[GAPS] >> source & 1),
    )


def _order(positions: Positions, column: str, index: int) -> str | None:
    return positions.orders.name(positions.integer(column, index)).decode() or None
