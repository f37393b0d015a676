"""The network promise (A5 to A7) over rows: line by line, consuming stock within the request."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

from pricegrid.atp.model import (
    INT64_MAX,
    INT64_MIN,
    MICROS,
    AvailabilityStatus,
    LinePromise,
    PromisedPart,
    PromisePolicy,
)
from pricegrid.atp.rules.reference import (
    Moment,
    PairDays,
    add_working_days,
    balances,
    calendar_limit,
    is_working,
    item_status,
    local_time,
    lowest_ahead,
    pair_days,
    unit_factor,
    worst_freshness,
)
from pricegrid.atp.rules.rows import Pair, Rows
from pricegrid.atp.rules.sourcing import Plan, Slot, plan_shipments
from pricegrid.columnar.instants import day_number

USUAL_POLICY = PromisePolicy()
FAR_RANK = 2**63
"""Sorts a lane without a rank last."""


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of a request, in the asked unit ('' is the base unit)."""

    sku: str
    quantity_micros: int
    uom: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """A branch that may ship, and how long the way to the customer takes from there."""

    branch: str
    transit_days: int = 0


@dataclass(frozen=True, slots=True)
class PickDay:
    """A day on which a branch may pick, with what follows from it."""

    pick: int
    ship: int
    arrival: int


@dataclass(slots=True)
class Request:
    """All that a promise depends on besides the rows; `consumed` grows as lines are promised."""

    moment: Moment
    policy: PromisePolicy = USUAL_POLICY
    branches: Sequence[str] = ()
    ship_to: str = ""
    hidden: Mapping[str, bool] = field(default_factory=dict)
    consumed: dict[Pair, list[tuple[int, int]]] = field(default_factory=dict)
    """(pick day, micros) of what this request was promised."""
    days: dict[Pair, PairDays | None] = field(default_factory=dict)
    """The pairs without what was consumed, worked out once."""


@dataclass(frozen=True, slots=True)
class Shippable:
    """The smallest quantity of an item that can be shipped for a line, and what it takes."""

    sku: str
    units: Fraction
    """How many asked units it is."""
    needs: Mapping[str, Fraction]
    """Micros of each base component."""


def promise(rows: Rows, lines: Sequence[OrderLine], request: Request) -> list[LinePromise]:
    """Promise every line, in order (A7)."""
    origins = find_origins(rows, request)
    pick_days = {origin: find_pick_days(rows, origin, request) for origin in origins or ()}
    statuses = [_line_status(rows, line, request, origins) for line in lines]
    if request.policy.ship_complete:
        found = _promise_complete(rows, lines, request, statuses, pick_days)
        return [
            _with_freshness(rows, line, request, origins, answer)
            for line, answer in zip(lines, found, strict=True)
        ]
    return [
        _with_freshness(
            rows,
            line,
            request,
            origins,
            _answer(line, status, _promise_line(rows, line, request, pick_days) if not status else []),
        )
        for line, status in zip(lines, statuses, strict=True)
    ]


def find_origins(rows: Rows, request: Request) -> list[Origin] | None:
    """The branches to ship from, in sourcing order; None when a branch or the ship-to is unknown (A7)."""
    if request.ship_to:
        lanes = [lane for lane in rows.lanes if lane.to == request.ship_to]
        lanes.sort(key=lambda ln: (FAR_RANK if ln.rank is None else ln.rank, ln.transit_days, ln.from_branch))
        best: dict[str, Origin] = {}
        for lane in lanes:
            best.setdefault(lane.from_branch, Origin(lane.from_branch, lane.transit_days))
        return list(best.values()) or None
    names = list(dict.fromkeys(request.branches or sorted(rows.branches, key=str.encode)))
    return (
        [Origin(name) for name in names] if names and all(name in rows.branches for name in names) else None
    )


def find_pick_days(rows: Rows, origin: Origin, request: Request) -> list[PickDay]:
    """The days a branch may pick on under the policy, ascending (A5)."""
    branch, policy = rows.branches[origin.branch], request.policy
    now = local_time(request.moment.as_of_us, branch.time_zone)
    today = day_number(now.date())
    second = now.hour * 3600 + now.minute * 60 + now.second
    first = today + 1 if branch.cutoff_s is not None and second >= branch.cutoff_s else today
    first = max(first, day_number(policy.on) if policy.on else first)
    limit = calendar_limit(today, request.moment.supply)
    picks = [
        day
        for day in range(first, today + request.moment.supply.horizon_days)
        if is_working(rows, origin.branch, day)
    ]
    found = []
    for pick in picks[:1] if policy.no_late else picks:
        ship = add_working_days(rows, origin.branch, pick, branch.outbound_handling_days, limit)
        arrival = (
            None if ship is None else add_working_days(rows, origin.branch, ship, origin.transit_days, limit)
        )
        if ship is None or arrival is None:
            continue
        if not _is_after(pick, policy.late_until) and not _is_after(arrival, policy.need_by):
            found.append(PickDay(pick, ship, arrival))
    return found


def _is_after(day: int, limit: date | None) -> bool:
    return limit is not None and day > day_number(limit)


def _days_of(rows: Rows, sku: str, branch: str, request: Request) -> PairDays | None:
    pair = (sku, branch)
    if pair not in request.days:
        request.days[pair] = pair_days(rows, sku, branch, request.moment)
    return request.days[pair]


def free_micros(days: PairDays, consumed: Sequence[tuple[int, int]]) -> list[int]:
    """What can still be promised from each day on, never below 0, less what the request has consumed."""
    if not consumed:
        return [max(0, atp) for atp in days.atp_micros]
    consumed_by_day = balances(0, consumed, days.first_day, len(days.balance_micros))
    left = [balance - used for balance, used in zip(days.balance_micros, consumed_by_day, strict=True)]
    return [max(0, atp) for atp in lowest_ahead(left)]


def _line_status(
    rows: Rows, line: OrderLine, request: Request, origins: Sequence[Origin] | None
) -> AvailabilityStatus:
    status = item_status(rows, line.sku, line.quantity_micros, line.uom, request.hidden)
    if status:
        return status
    if origins is None:
        return AvailabilityStatus.UNKNOWN_BRANCH
    found = [
        _pair_status(rows, sku, origin, request) for sku in _offers(rows, line, request) for origin in origins
    ]
    return AvailabilityStatus.OK if AvailabilityStatus.OK in found else min(found)


def _pair_status(rows: Rows, sku: str, origin: Origin, request: Request) -> AvailabilityStatus:
    """Whether the stock of an item at a branch is known, and fits int64."""
    status = AvailabilityStatus.OK
    for component in rows.components(sku):
        days = _days_of(rows, component, origin.branch, request)
        if days is None:
            return AvailabilityStatus.UNKNOWN_STOCK
        if not all(INT64_MIN <= balance <= INT64_MAX for balance in days.balance_micros):
            status = AvailabilityStatus.OUT_OF_RANGE
    return status


def _offers(rows: Rows, line: OrderLine, request: Request) -> list[str]:
    """The asked SKU, then, if allowed, what superseded it, as far as the customer may see it and the unit exists."""
    chain, sku = [line.sku], rows.items[line.sku].superseded_by
    while request.policy.allow_substitutes and sku in rows.items and sku not in chain:
        chain.append(sku)
        sku = rows.items[sku].superseded_by
    return [
        sku for sku in chain if sku not in request.hidden and _shippable_factor(rows, sku, line) is not None
    ]


def _shippable_factor(rows: Rows, sku: str, line: OrderLine) -> Fraction | None:
    """Base units of `sku` in one asked unit of the line. A substitute must know the unit by the same name."""
    uom = line.uom
    if not uom and rows.items[sku].base_uom != rows.items[line.sku].base_uom:
        uom = rows.items[line.sku].base_uom
    return unit_factor(rows, sku, uom)


def shippable(rows: Rows, sku: str, line: OrderLine) -> Shippable:
    """Whole asked units, whole kits, whole order multiples: the least quantity that is all of them (A6)."""
    factor = _shippable_factor(rows, sku, line) or Fraction(1)
    smallest = factor if line.uom else factor / MICROS
    if sku in rows.kits and not line.uom:
        smallest = _common_multiple(smallest, Fraction(1))
    multiple = rows.items[sku].order_multiple_micros
    if multiple:
        smallest = _common_multiple(smallest, Fraction(multiple, MICROS))
    needs = {component: need * smallest * MICROS for component, need in rows.components(sku).items()}
    return Shippable(sku, smallest / factor, needs)


def _common_multiple(one: Fraction, other: Fraction) -> Fraction:
    return Fraction(
        math.lcm(one.numerator * other.denominator, other.numerator * one.denominator),
        one.denominator * other.denominator,
    )


def _slots(
    rows: Rows, what: Shippable, order: int, origin: Origin, days: Sequence[PickDay], request: Request
) -> list[Slot]:
    """How many shippable quantities a branch could have picked by each of its pick days."""
    found = {sku: _days_of(rows, sku, origin.branch, request) for sku in what.needs}
    pairs = {sku: pair for sku, pair in found.items() if pair is not None}
    if len(pairs) < len(found):
        return []
    if not all(
        INT64_MIN <= balance <= INT64_MAX for pair in pairs.values() for balance in pair.balance_micros
    ):
        return []
    free = {
        sku: free_micros(pair, request.consumed.get((sku, origin.branch), ())) for sku, pair in pairs.items()
    }
    today = next(iter(pairs.values())).first_day
    slots: list[Slot] = []
    for day in days:
        count = min(math.floor(free[sku][day.pick - today] / need) for sku, need in what.needs.items())
        # a later day that adds nothing is never needed
        if count > (slots[-1].capacity if slots else 0):
            slots.append(Slot(day.pick, order, count))
    return slots


def _least(line: OrderLine, what: Shippable, wanted: int, policy: PromisePolicy) -> int:
    """The minimum shipment in shippable quantities: capped at the request, of which only `wanted` can be shipped."""
    if policy.minimum_shipment_micros > line.quantity_micros:
        return max(1, wanted)
    return max(1, math.ceil(Fraction(policy.minimum_shipment_micros, MICROS) / what.units))


def _plan(
    rows: Rows,
    line: OrderLine,
    what: Shippable,
    open_units: Fraction,
    request: Request,
    pick_days: Mapping[Origin, Sequence[PickDay]],
) -> Plan:
    wanted = math.floor(open_units / what.units)
    origins = list(pick_days)
    slots = [
        slot
        for order, origin in enumerate(origins)
        for slot in _slots(rows, what, order, origin, pick_days[origin], request)
    ]
    return plan_shipments(slots, wanted, _least(line, what, wanted, request.policy))


def _promise_from(
    rows: Rows, line: OrderLine, request: Request, pick_days: Mapping[Origin, Sequence[PickDay]]
) -> list[PromisedPart]:
    """Use these branches for a line: the asked SKU as far as it goes, then its substitutes."""
    open_units, parts = Fraction(line.quantity_micros, MICROS), []
    origins = list(pick_days)
    for sku in _offers(rows, line, request):
        what = shippable(rows, sku, line)
        shipped: dict[int, int] = {}
        for slot, count in _plan(rows, line, what, open_units, request, pick_days):
            origin, before = origins[slot.order], shipped.get(slot.order, 0)
            shipped[slot.order] = before + count
            for component, need in what.needs.items():
                micros = math.ceil((before + count) * need) - math.ceil(before * need)
                request.consumed.setdefault((component, origin.branch), []).append((slot.day, micros))
            day = next(day for day in pick_days[origin] if day.pick == slot.day)
            quantity_micros = int(count * what.units * MICROS)
            parts.append(PromisedPart(sku, origin.branch, quantity_micros, day.pick, day.ship, day.arrival))
            open_units -= count * what.units
    return parts


def _promise_line(
    rows: Rows, line: OrderLine, request: Request, pick_days: Mapping[Origin, Sequence[PickDay]]
) -> list[PromisedPart]:
    """One line from all branches, or with `no_split` from the one that gives most, then soonest, then first."""
    if not request.policy.no_split:
        return _promise_from(rows, line, request, pick_days)
    best: tuple[int, int] | None = None
    chosen: Origin | None = None
    for origin, days in pick_days.items():
        parts = _promise_from(rows, line, _trial(request), {origin: days})
        rank = (
            sum(part.quantity_micros for part in parts),
            -max((part.pick_day for part in parts), default=0),
        )
        if parts and (best is None or rank > best):
            best, chosen = rank, origin
    return _promise_from(rows, line, request, {chosen: pick_days[chosen]}) if chosen else []


def _trial(request: Request) -> Request:
    """A copy whose promises change nothing."""
    consumed = {pair: list(amounts) for pair, amounts in request.consumed.items()}
    return replace(request, consumed=consumed)


def _promise_complete(
    rows: Rows,
    lines: Sequence[OrderLine],
    request: Request,
    statuses: Sequence[AvailabilityStatus],
    pick_days: Mapping[Origin, Sequence[PickDay]],
) -> list[LinePromise]:
    """Every line in full on the first day on which all can be picked, or nothing at all (A7)."""
    days = sorted({day.pick for origin_days in pick_days.values() for day in origin_days})
    for day in days if not any(statuses) else ():
        trial = _trial(request)
        on_day = {o: [d for d in origin_days if d.pick == day] for o, origin_days in pick_days.items()}
        answers = []
        for line in lines:
            answers.append(_answer(line, AvailabilityStatus.OK, _promise_line(rows, line, trial, on_day)))
            if answers[-1].shortage_micros:
                break
        else:
            request.consumed = trial.consumed
            return answers
    return [_answer(line, status, []) for line, status in zip(lines, statuses, strict=True)]


def _with_freshness(
    rows: Rows, line: OrderLine, request: Request, origins: Sequence[Origin] | None, answer: LinePromise
) -> LinePromise:
    """Add the freshness of every pair that the line could draw on: the worst state, the oldest instant (A11).

    A line at fault, or of an unknown branch, has none.
    """
    if origins is None or AvailabilityStatus.OK < answer.status < AvailabilityStatus.UNKNOWN_STOCK:
        return answer
    skus = {sku for offer in _offers(rows, line, request) for sku in rows.components(offer)}
    pairs = [(sku, origin.branch) for sku in skus for origin in origins]
    freshness, oldest_us = worst_freshness(rows, pairs, request.moment.as_of_us)
    known = [days for pair in pairs if (days := _days_of(rows, *pair, request)) is not None]
    return replace(
        answer,
        dropped_receipts=sum(len(days.dropped) for days in known),
        freshness=freshness,
        source_as_of_us=oldest_us,
    )


def _answer(line: OrderLine, status: AvailabilityStatus, parts: Sequence[PromisedPart]) -> LinePromise:
    promised = sum(part.quantity_micros for part in parts)
    if status is AvailabilityStatus.INVALID_QUANTITY:
        return LinePromise(status, 0, 0)
    return LinePromise(status, line.quantity_micros, line.quantity_micros - promised, tuple(parts))
