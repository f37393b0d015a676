"""Balance, available-to-promise and freshness (A1 to A6, A11), one pair at a time, as plainly as can be.

The kernels (`atp.kernels.balance`) are held equal to this by tests; rare questions are answered by this.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from itertools import accumulate
from zoneinfo import ZoneInfo

from pricegrid.atp.model import (
    CALENDAR_EXTRA_DAYS,
    INT64_MAX,
    INT64_MIN,
    MICROS,
    NO_INSTANT,
    STALE_AFTER_MIN,
    AvailabilityStatus,
    Freshness,
    PairAvailability,
    Reservation,
    Source,
    Step,
    SupplyPolicy,
)
from pricegrid.atp.rules.receipts import net_receipts
from pricegrid.atp.rules.rows import Allocation, Demand, Feed, Pair, Receipt, Rows
from pricegrid.columnar.instants import day_number, instant_of_us

USUAL_SUPPLY = SupplyPolicy()


@dataclass(frozen=True, slots=True)
class Moment:
    """The instant a question is asked about, and which supply counts."""

    as_of_us: int
    supply: SupplyPolicy = USUAL_SUPPLY
    exclude_reservation: str = ""


EPOCH_MOMENT = Moment(0)


@dataclass(slots=True)
class PairDays:
    """One pair, day by day from the as_of day to the horizon, and what made it so."""

    first_day: int
    balance_micros: list[int]
    atp_micros: list[int]
    counted: list[tuple[int, Receipt]] = field(default_factory=list)
    """Receipts with the local day from which they are usable, also those past the horizon."""
    doubtful: list[Receipt] = field(default_factory=list)
    dropped: list[Receipt] = field(default_factory=list)
    net_demands: list[tuple[int, int, Demand]] = field(default_factory=list)
    """(local day, net micros, the demand)."""


def local_time(instant_us: int, time_zone: str) -> datetime:
    """The wall clock at a branch."""
    return instant_of_us(instant_us).astimezone(ZoneInfo(time_zone))


def local_day(instant_us: int, time_zone: str) -> int:
    """The local day an instant falls on: the instant of local midnight belongs to the day it starts."""
    return day_number(local_time(instant_us, time_zone).date())


def is_working(rows: Rows, branch: str, day: int) -> bool:
    """Without a calendar every day is worked."""
    name = rows.branches[branch].calendar
    return name is None or name not in rows.calendars or rows.calendars[name].works(day)


def add_working_days(rows: Rows, branch: str, day: int, count: int, limit_day: int) -> int | None:
    """The `count`-th working day after `day`; `day` itself for 0, worked or not; None at `limit_day` or later."""
    while count > 0 and day < limit_day:
        day += 1
        count -= is_working(rows, branch, day)
    return day if day < limit_day else None


def calendar_limit(first_day: int, supply: SupplyPolicy) -> int:
    """Working days are counted up to, not including, this day."""
    return first_day + supply.horizon_days + CALENDAR_EXTRA_DAYS


def usable_day(rows: Rows, branch: str, receipt: Receipt, today: int, supply: SupplyPolicy) -> int | None:
    """When a receipt can be picked from (A3, A5); None when it is dropped or never gets there."""
    zone = rows.branches[branch].time_zone
    expected = local_day(receipt.expected_at_us, zone)
    if expected < today:
        if today - expected > supply.past_due_max_days:
            return None
        expected = today + supply.past_due_offset_days
    handling = rows.branches[branch].inbound_handling_days
    return add_working_days(rows, branch, expected, handling, calendar_limit(today, supply))


def live_reservations(rows: Rows, pair: Pair, moment: Moment) -> list[Reservation]:
    """The reservations that count at as_of: not expired (half-open) and not the shopper's own (A8)."""
    return [
        reservation
        for reservation in rows.reservations.get(pair, [])
        if moment.as_of_us < reservation.expires_us
        and reservation.reservation_id != moment.exclude_reservation
    ]


def allocations_of(rows: Rows, sku: str, branch: str) -> list[Allocation]:
    """Allocations, those of kits that need the item included, rounded up; what was shipped is left out."""
    found = [replace(a, shipped_micros=0) for a in rows.allocations.get((sku, branch), [])]
    for kit, need in rows.kits_of(sku):
        found.extend(
            replace(a, allocated_micros=math.ceil(a.allocated_micros * need), shipped_micros=0)
            for a in rows.allocations.get((kit, branch), [])
        )
    return found


def demands_of(rows: Rows, sku: str, branch: str) -> list[Demand]:
    """Demands in order of due instant, those of kits that need the item included, rounded up."""
    found = list(rows.demands.get((sku, branch), []))
    for kit, need in rows.kits_of(sku):
        found.extend(
            Demand(math.ceil(d.quantity_micros * need), d.due_at_us, d.order_ref, d.order_line)
            for d in rows.demands.get((kit, branch), [])
        )
    return sorted(found, key=lambda demand: demand.due_at_us)


def net_demands(rows: Rows, sku: str, branch: str, moment: Moment) -> list[tuple[int, Demand]]:
    """Each demand less what is allocated or confirmed for its order, earliest due first, never below 0 (A1).

    Lines are lines (A9): what names an order line covers that line, then demands of the order without a line; what
    names none covers what is left of any.
    """
    cover: dict[tuple[str, str], int] = {}
    for each in allocations_of(rows, sku, branch):
        key = (each.order_ref or "", each.order_line or "")
        cover[key] = cover.get(key, 0) + each.allocated_micros
    for held in live_reservations(rows, (sku, branch), moment):
        if held.confirmed:
            key = (held.order_ref, held.order_line)
            cover[key] = cover.get(key, 0) + held.quantity_micros
    lines: dict[str, list[str]] = {}
    for order_ref, line in sorted(cover):
        if line:
            lines.setdefault(order_ref, []).append(line)
    demands = demands_of(rows, sku, branch)
    left = [demand.quantity_micros for demand in demands]

    def cover_from(at: int, line: str) -> None:
        key = (demands[at].order_ref or "", line)
        covered = min(left[at], cover.get(key, 0))
        if covered:
            left[at] -= covered
            cover[key] -= covered

    ordered = [at for at, demand in enumerate(demands) if demand.order_ref]
    for at in ordered:
        named = demands[at].order_line
        if named:
            cover_from(at, named)
    for at in ordered:
        if not demands[at].order_line:
            for line in lines.get(demands[at].order_ref or "", ()):
                cover_from(at, line)
    for at in ordered:
        cover_from(at, "")
    return list(zip(left, demands, strict=True))


def is_known(rows: Rows, sku: str, branch: str) -> bool:
    """Whether on-hand is a figure: a stock row, or a complete ERP extract that has none (A11)."""
    feed = rows.feeds.get((branch, Source.ERP))
    if (sku, branch) in rows.unknown_stock:
        return False
    return (sku, branch) in rows.stock or (feed is not None and feed.complete)


def pair_days(rows: Rows, sku: str, branch: str, moment: Moment) -> PairDays | None:
    """Balance and ATP of a base item at a branch for every day of the horizon (A1, A2); None is unknown."""
    if not is_known(rows, sku, branch):
        return None
    pair = (sku, branch)
    zone = rows.branches[branch].time_zone
    today = local_day(moment.as_of_us, zone)
    stock = rows.stock.get(pair)
    start = (stock.on_hand_micros - stock.unavailable_micros) if stock else 0
    start -= sum(each.allocated_micros for each in allocations_of(rows, sku, branch))
    start -= rows.safety_stock.get(pair, 0)
    days = PairDays(today, [], [])
    changes: list[tuple[int, int]] = []
    for held in live_reservations(rows, pair, moment):
        from_day = today if held.holds_from_us <= moment.as_of_us else local_day(held.holds_from_us, zone)
        changes.append((from_day, -held.quantity_micros))
    receipts = rows.receipts.get(pair, [])
    for receipt, net in zip(receipts, net_receipts(receipts), strict=True):
        if receipt.confidence_micros < moment.supply.min_confidence_micros:
            days.doubtful.append(receipt)
            continue
        late = today - local_day(receipt.expected_at_us, zone)
        if late > moment.supply.past_due_max_days:
            days.dropped.append(receipt)
            continue
        usable = usable_day(rows, branch, receipt, today, moment.supply)
        if usable is not None:
            days.counted.append((usable, receipt))
            changes.append((usable, net))
    for net, demand in net_demands(rows, sku, branch, moment):
        due = local_day(demand.due_at_us, zone)
        days.net_demands.append((due, net, demand))
        changes.append((due, -net))
    days.balance_micros = balances(start, changes, today, moment.supply.horizon_days)
    days.atp_micros = lowest_ahead(days.balance_micros, moment.supply.look_ahead_days)
    return days


def balances(start: int, changes: Sequence[tuple[int, int]], first_day: int, horizon_days: int) -> list[int]:
    """The balance of each day: `start` and every (day, change) up to it."""
    on_day = [0] * horizon_days
    for day, change in changes:
        if day < first_day + horizon_days:
            on_day[max(0, day - first_day)] += change
    on_day[0] += start
    return list(accumulate(on_day))


def lowest_ahead(balance_micros: Sequence[int], look_ahead_days: int | None = None) -> list[int]:
    """ATP of each day: the lowest balance from it to the horizon, or over `look_ahead_days` more days (A2)."""
    if look_ahead_days is None:
        return list(accumulate(reversed(balance_micros), min))[::-1]
    return [min(balance_micros[day : day + look_ahead_days + 1]) for day in range(len(balance_micros))]


def source_freshness(rows: Rows, sku: str, branch: str, as_of_us: int) -> dict[Source, tuple[Freshness, int]]:
    """How old each source's data of a base item is (A11).

    The rows of the pair count with their own instants, the feed with its when it is complete or there is no row.
    """
    stock = rows.stock.get((sku, branch))
    instants_of = {
        Source.ERP: [stock.as_of_us] if stock else [],
        Source.WMS: [each.as_of_us for each in allocations_of(rows, sku, branch)],
        Source.TRANSIT: [rows.transit_as_of_us[sku, branch]]
        if (sku, branch) in rows.transit_as_of_us
        else [],
    }
    result = {}
    for source, instants in instants_of.items():
        feed: Feed | None = rows.feeds.get((branch, source))
        if feed and (feed.complete or (not instants and source is not Source.ERP)):
            instants.append(feed.as_of_us)
        if not instants:
            result[source] = (Freshness.UNKNOWN, NO_INSTANT)
            continue
        stale_after_us = (feed.stale_after_min if feed else STALE_AFTER_MIN) * 60 * MICROS
        is_old = as_of_us - max(instants) >= stale_after_us
        is_stale = is_old or rows.link_lost or (sku, branch, source) in rows.gaps
        result[source] = (Freshness.STALE if is_stale else Freshness.FRESH, max(instants))
    return result


def worst_freshness(
    rows: Rows, pairs: Iterable[Pair], as_of_us: int
) -> tuple[tuple[Freshness, Freshness, Freshness], tuple[int, int, int]]:
    """The worst state and the oldest instant of each source over some pairs, at least one (A11)."""
    found = [source_freshness(rows, *pair, as_of_us) for pair in pairs]
    erp, wms, transit = (
        (max(each[source][0] for each in found), min(each[source][1] for each in found)) for source in Source
    )
    return (erp[0], wms[0], transit[0]), (erp[1], wms[1], transit[1])


def unit_factor(rows: Rows, sku: str, uom: str) -> Fraction | None:
    """Base units in one asked unit; None for a unit the item does not have."""
    if uom in ("", rows.items[sku].base_uom):
        return Fraction(1)
    return rows.uoms.get((sku, uom))


def whole_units(micros_of: Mapping[str, int], needs: Mapping[str, Fraction], factor: Fraction) -> int:
    """The units of `factor` base units each that these component quantities make, rounded down (A6)."""
    return min(math.floor(Fraction(micros_of[sku], MICROS) / need / factor) for sku, need in needs.items())


def item_status(
    rows: Rows, sku: str, quantity_micros: int, uom: str, hidden: Mapping[str, bool]
) -> AvailabilityStatus:
    """The line's own faults. `hidden` maps an item the customer may not see to whether the caller may know that."""
    if not 0 < quantity_micros <= INT64_MAX:
        return AvailabilityStatus.INVALID_QUANTITY
    if sku not in rows.items:
        return AvailabilityStatus.UNKNOWN_ITEM
    if sku in hidden:
        return AvailabilityStatus.NOT_ENTITLED if hidden[sku] else AvailabilityStatus.UNKNOWN_ITEM
    if unit_factor(rows, sku, uom) is None:
        return AvailabilityStatus.UNKNOWN_UOM
    return AvailabilityStatus.OK


def check_pair(
    rows: Rows,
    sku: str,
    quantity_micros: int,
    uom: str,
    branch: str,
    moment: Moment,
    hidden: Mapping[str, bool] | None = None,
) -> PairAvailability:
    """Availability of one line at one branch (A1 to A6, A11), in the asked unit."""
    status = item_status(rows, sku, quantity_micros, uom, hidden or {})
    if status is AvailabilityStatus.OK and branch not in rows.branches:
        status = AvailabilityStatus.UNKNOWN_BRANCH
    if status is not AvailabilityStatus.OK:
        return PairAvailability(status)
    needs = rows.components(sku)
    freshness, as_of = worst_freshness(rows, [(component, branch) for component in needs], moment.as_of_us)
    found = {component: pair_days(rows, component, branch, moment) for component in needs}
    days = {component: pair for component, pair in found.items() if pair is not None}
    dropped = sum(len(pair.dropped) for pair in days.values())
    if len(days) < len(found):
        return PairAvailability(AvailabilityStatus.UNKNOWN_STOCK, freshness=freshness, source_as_of_us=as_of)
    steps = _in_asked_unit(days, needs, unit_factor(rows, sku, uom) if uom else None, is_kit=sku in rows.kits)
    if steps is None:
        return PairAvailability(AvailabilityStatus.OUT_OF_RANGE, freshness=freshness, source_as_of_us=as_of)
    available = max(0, steps[0].atp_micros)
    return PairAvailability(
        AvailabilityStatus.OK,
        atp_micros=steps[0].atp_micros,
        available_micros=available,
        shortage_micros=max(0, quantity_micros - available),
        dropped_receipts=dropped,
        freshness=freshness,
        source_as_of_us=as_of,
        projected=steps,
    )


def _in_asked_unit(
    days: Mapping[str, PairDays], needs: Mapping[str, Fraction], factor: Fraction | None, *, is_kit: bool
) -> tuple[Step, ...] | None:
    """The step function of the line: kits and asked units in whole ones, base quantities as they are."""
    steps: list[Step] = []
    first = next(iter(days.values()))
    for index in range(len(first.balance_micros)):
        atp = {sku: pair.atp_micros[index] for sku, pair in days.items()}
        balance = {sku: pair.balance_micros[index] for sku, pair in days.items()}
        if not all(INT64_MIN <= value <= INT64_MAX for value in balance.values()):
            return None
        if factor is None and not is_kit:
            figures = next(iter(atp.values())), next(iter(balance.values()))
        else:
            unit = factor or Fraction(1)
            figures = whole_units(atp, needs, unit) * MICROS, whole_units(balance, needs, unit) * MICROS
        if not all(INT64_MIN <= value <= INT64_MAX for value in figures):
            return None
        if not steps or (steps[-1].atp_micros, steps[-1].balance_micros) != figures:
            steps.append(Step(first.first_day + index, *figures))
    return tuple(steps)
