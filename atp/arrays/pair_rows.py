"""One pair's rows, whole: from a snapshot or live, to the reference and to the image that the kernels read."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pricegrid.atp.arrays.days import day_start_us
from pricegrid.atp.live.positions import LiveView, PairImage
from pricegrid.atp.model import INT64_MAX, INT64_MIN, NO_INSTANT, Reservation, Source
from pricegrid.atp.rules.receipts import net_receipts
from pricegrid.atp.rules.reference import EPOCH_MOMENT, local_day, net_demands
from pricegrid.atp.rules.rows import Allocation, Demand, Pair, Receipt, Rows, Stock


@dataclass(frozen=True, slots=True)
class PairRows:
    """All that is known of one item at one branch."""

    stock: Stock | None = None
    is_unknown: bool = False
    """A stock row that could not be used, or a figure that left int64 (A11)."""
    safety_micros: int = 0
    allocations: tuple[Allocation, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    demands: tuple[Demand, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    gaps: frozenset[Source] = frozenset()
    transit_as_of_us: int = NO_INSTANT

    def put_into(self, rows: Rows, pair: Pair) -> None:
        """Make these the rows of the pair."""
        if self.stock is not None:
            rows.stock[pair] = self.stock
        if self.is_unknown:
            rows.unknown_stock.add(pair)
        rows.safety_stock[pair] = self.safety_micros
        rows.allocations[pair] = list(self.allocations)
        rows.receipts[pair] = list(self.receipts)
        rows.demands[pair] = list(self.demands)
        if self.reservations:
            rows.reservations[pair] = list(self.reservations)
        rows.gaps.update((*pair, source) for source in self.gaps)
        if self.transit_as_of_us != NO_INSTANT:
            rows.transit_as_of_us[pair] = self.transit_as_of_us


def pair_rows_of(rows: Rows, pair: Pair) -> PairRows:
    """The rows of one pair, without those of kits."""
    return PairRows(
        rows.stock.get(pair),
        pair in rows.unknown_stock,
        rows.safety_stock.get(pair, 0),
        tuple(rows.allocations.get(pair, ())),
        tuple(rows.receipts.get(pair, ())),
        tuple(rows.demands.get(pair, ())),
        tuple(rows.reservations.get(pair, ())),
        frozenset(source for source in Source if (*pair, source) in rows.gaps),
        rows.transit_as_of_us.get(pair, NO_INSTANT),
    )


def reservation_number(reservation_id: str) -> int:
    """The number that kernels know a reservation by: its hexadecimal digits; 0 for any other text."""
    digits = reservation_id.removeprefix("R")
    if len(digits) != len(reservation_id) - 1 or not 0 < len(digits) <= 15:
        return 0
    try:
        return int(digits, 16)
    except ValueError:
        return 0


def figures_with_stock(
    figures: tuple[int, ...], stock: Stock | None, gaps: int, *, is_unknown: bool
) -> tuple[int, ...]:
    """The nine figures of a live row with another stock row. One that leaves int64 makes the pair unknown."""
    _, _, allocated, safety, _, wms_as_of_us, _, _, transit_as_of_us = figures
    if stock and not (
        INT64_MIN <= stock.on_hand_micros <= INT64_MAX and INT64_MIN <= stock.unavailable_micros <= INT64_MAX
    ):
        stock, is_unknown = None, True
    listed = (gaps, int(is_unknown), transit_as_of_us)
    if stock is None:
        return (0, 0, allocated, safety, NO_INSTANT, wms_as_of_us, *listed)
    return (
        stock.on_hand_micros,
        stock.unavailable_micros,
        allocated,
        safety,
        stock.as_of_us,
        wms_as_of_us,
        *listed,
    )


def image_of(pair_rows: PairRows, pair: Pair, time_zone: str) -> PairImage:
    """What the kernels read of a pair."""
    rows = Rows()
    pair_rows.put_into(rows, pair)
    allocated = min(INT64_MAX, sum(a.allocated_micros for a in pair_rows.allocations))
    wms_as_of_us = max((a.as_of_us for a in pair_rows.allocations), default=NO_INSTANT)
    listed = (0, 0, allocated, pair_rows.safety_micros, 0, wms_as_of_us, 0, 0, pair_rows.transit_as_of_us)
    gaps = sum(1 << source for source in pair_rows.gaps)
    figures = figures_with_stock(listed, pair_rows.stock, gaps, is_unknown=pair_rows.is_unknown)
    nets = [
        (local_day(demand.due_at_us, time_zone), net)
        for net, demand in net_demands(rows, *pair, EPOCH_MOMENT)
    ]
    return PairImage(
        figures,
        sorted(
            (local_day(r.expected_at_us, time_zone), net, r.confidence_micros)
            for r, net in zip(pair_rows.receipts, net_receipts(pair_rows.receipts), strict=True)
        ),
        sorted(nets, key=lambda day_net: day_net[0]),
        sorted(_held(pair_rows.reservations, time_zone)),
        encode_detail(pair_rows),
    )


def _held(reservations: Iterable[Reservation], time_zone: str) -> Iterable[tuple[int, int, int, int]]:
    for each in reservations:
        day = local_day(each.holds_from_us, time_zone) if each.holds_from_us > 0 else 0
        yield day, each.expires_us, each.quantity_micros, reservation_number(each.reservation_id)


def encode_detail(pair_rows: PairRows) -> bytes:
    """The lists of a pair as bytes; b'' when all are empty."""
    orders = {demand.order_ref for demand in pair_rows.demands if demand.order_ref}
    lists = {
        "a": [
            (a.allocated_micros, a.as_of_us, a.order_ref, a.order_line, a.shipped_micros)
            for a in pair_rows.allocations
        ],
        "r": [
            (
                r.quantity_micros,
                r.expected_at_us,
                r.confidence_micros,
                r.kind,
                r.reference,
                r.line,
                r.supersedes,
            )
            for r in pair_rows.receipts
        ],
        "d": [(d.quantity_micros, d.due_at_us, d.order_ref, d.order_line, d.kit) for d in pair_rows.demands],
        # reservations are in the block; their orders matter only where a demand of the same order is net of them
        "v": [
            (v.reservation_id, v.quantity_micros, v.order_ref, v.order_line)
            for v in pair_rows.reservations
            if v.confirmed and v.order_ref in orders
        ],
    }
    return json.dumps(lists, separators=(",", ":")).encode() if any(lists.values()) else b""


def reservation_id(number: int) -> str:
    """The id of a reservation from its number in the kernels."""
    return f"R{number:015x}"


def decode_pair(view: LiveView, pair: Pair, time_zone: str) -> PairRows:
    """Back from what is live to rows. Orders of reservations that net no demand are not kept."""
    on_hand, unavailable, _, safety, erp_as_of, _, gaps, unknown, transit_as_of = view.figures
    lists = json.loads(view.detail) if view.detail else {"a": (), "r": (), "d": (), "v": ()}
    orders: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for name, micros, *order in lists["v"]:
        orders.setdefault((name, micros), []).append((order[0], order[1]))
    return PairRows(
        Stock(on_hand, erp_as_of, unavailable) if erp_as_of != NO_INSTANT else None,
        bool(unknown),
        safety,
        tuple(Allocation(*row) for row in lists["a"]),
        tuple(Receipt(*row) for row in lists["r"]),
        tuple(Demand(*row) for row in lists["d"]),
        tuple(_reservation(entry, pair, orders, time_zone) for entry in view.held),
        frozenset(source for source in Source if gaps >> source & 1),
        transit_as_of,
    )


def _reservation(
    entry: tuple[int, int, int, int],
    pair: Pair,
    orders: Mapping[tuple[str, int], list[tuple[str, str]]],
    time_zone: str,
) -> Reservation:
    """An entry of a live pair; `orders` has what orders and lines reservations of so much are for."""
    day, expires_us, quantity, number = entry
    name = reservation_id(number)
    named = orders.get((name, quantity))
    order_ref, order_line = named.pop() if named else ("", "")
    return Reservation(
        name,
        *pair,
        quantity,
        order_ref,
        expires_us == INT64_MAX,
        day_start_us(day, time_zone) if day > 0 else 0,
        expires_us,
        order_line,
    )
