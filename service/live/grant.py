"""What an ask to reserve would hold now."""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from pricegrid.atp.arrays.decode import decode_rows
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import INT64_MAX, MICROS, AvailabilityStatus
from pricegrid.atp.rules.order_lines import Mark
from pricegrid.atp.rules.promising import OrderLine, free_micros, shippable
from pricegrid.atp.rules.reference import Moment, item_status, pair_days
from pricegrid.atp.rules.reservations import (
    HeldReservation,
    Part,
    ReservationStatus,
    ReserveAsk,
    ReservedLine,
    ReserveLine,
)
from pricegrid.atp.rules.rows import Pair
from pricegrid.columnar.instants import day_number

Taken = dict[Pair, list[tuple[int, int]]]
"""(day, micros) that earlier lines of the same ask take of a pair."""


@dataclass(slots=True)
class Standing:
    """What an ask to reserve stands on beside what is free."""

    slack: Callable[[Pair], Fraction]
    """What is shown as held of a pair less what is held, in micros."""
    exclude: str = ""
    """A reservation that does not count."""
    bonus: dict[Pair, int] = field(default_factory=dict)
    """What is allocated to the order already, and may be used for it: of it nothing is free."""
    taken: Taken = field(default_factory=dict)

    def take(self, pair: Pair, day: int, micros: int) -> None:
        """Note what a line takes from a day on: first what is its order's already."""
        own = min(micros, self.bonus.get(pair, 0))
        if own:
            self.bonus[pair] -= own
        self.taken.setdefault(pair, []).append((day, micros - own))


def hold_lines(
    engine: AvailabilityEngine, ask: ReserveAsk, now_us: int, standing: Standing
) -> list[ReservedLine]:
    """The lines as they could be held, one using up what the next may not have (A8)."""
    lines = [_hold(engine, line, ask, now_us, standing) for line in ask.lines]
    if ask.all_or_nothing and any(line.held_micros < line.line.quantity_micros for line in lines):
        lines = [replace(line, held_micros=0, granted_micros=0, parts=()) for line in lines]
    return lines


def new_reservation(
    ask: ReserveAsk,
    lines: Sequence[ReservedLine],
    now_us: int,
    mark: Callable[[Pair], Mark],
    asked: str,
) -> HeldReservation:
    """A reservation of such lines, with a name that nobody can guess; what counts for it begins at a pair's `mark`."""
    number = secrets.randbelow(1 << 59) + 1
    lines = [
        replace(
            line,
            parts=tuple(replace(part, since=mark((part.sku, line.line.branch))) for part in line.parts),
        )
        for line in lines
    ]
    return HeldReservation(
        f"R{number:015x}",
        ask.key,
        ask.customer_id,
        ReservationStatus.HELD,
        tuple(lines),
        now_us,
        now_us + ask.ttl_us,
        ask.order_ref,
        named_us=now_us if ask.order_ref else None,
        asked=asked,
    )


def _hold(
    engine: AvailabilityEngine, line: ReserveLine, ask: ReserveAsk, now_us: int, standing: Standing
) -> ReservedLine:
    item, branch = engine.ordinals(line.sku, line.branch)
    rows = decode_rows(engine.positions, [item], [])
    status = item_status(rows, line.sku, line.quantity_micros, line.uom, {})
    if status is AvailabilityStatus.OK and branch < 0:
        status = AvailabilityStatus.UNKNOWN_BRANCH
    if status is not AvailabilityStatus.OK:
        return ReservedLine(line, status, 0, 0)
    what = shippable(rows, line.sku, OrderLine(line.sku, line.quantity_micros, line.uom))
    counts = [math.floor(Fraction(line.quantity_micros, MICROS) / what.units)]
    day = 0
    for component, need in what.needs.items():
        free, day = _free(engine, (component, line.branch), line, now_us, standing)
        if free is None:
            return ReservedLine(line, AvailabilityStatus.UNKNOWN_STOCK, 0, 0)
        counts.append(math.floor(free / need))
    count = max(0, min(counts))
    granted = int(count * what.units * MICROS)
    if not 0 < granted <= INT64_MAX or (granted < line.quantity_micros and not ask.allow_partial):
        return ReservedLine(line, AvailabilityStatus.OK, 0, 0)
    parts = tuple(Part(component, 0).resized(count * need) for component, need in what.needs.items())
    for part in parts:
        standing.take((part.sku, line.branch), day, part.quantity_micros)
    return ReservedLine(line, AvailabilityStatus.OK, granted, granted, parts)


def _free(
    engine: AvailabilityEngine, pair: Pair, line: ReserveLine, now_us: int, standing: Standing
) -> tuple[Fraction | None, int]:
    """(micros of a base item that can be held, None if nobody knows, the local day from which) for a line."""
    item, branch = engine.ordinals(*pair)
    wanted_day = day_number(line.from_date) if line.from_date else 0
    more = standing.slack(pair) + standing.bonus.get(pair, 0)
    if pair not in standing.taken:
        code, micros, day = engine.free_from(item, branch, now_us, wanted_day, standing.exclude)
        if code in (AvailabilityStatus.OK, AvailabilityStatus.UNKNOWN_STOCK):
            return (max(0, micros) + more if code == AvailabilityStatus.OK else None), day
    # what leaves int64, or was taken by an earlier line of the ask: plainly
    moment = Moment(now_us, exclude_reservation=standing.exclude)
    days = pair_days(decode_rows(engine.positions, [item], [branch]), *pair, moment)
    if days is None:
        return None, 0
    day = max(days.first_day, wanted_day)
    free, at = free_micros(days, standing.taken.get(pair, ())), day - days.first_day
    return (free[at] if at < len(free) else 0) + more, day
