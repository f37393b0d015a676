"""Works out which quantities a reserve request would be granted now (A8), without side effects."""

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
"""(day, micros) that earlier lines of the same request take from a pair."""


@dataclass(slots=True)
class GrantContext:
    """What a request may use besides the free quantities."""

    slack: Callable[[Pair], Fraction]
    """The shown minus the exact held quantity of a pair, in micros."""
    exclude: str = ""
    """A reservation that does not count."""
    bonus: dict[Pair, int] = field(default_factory=dict)
    """What is already allocated to the same order: it is not free, but the request may use it."""
    taken: Taken = field(default_factory=dict)

    def take(self, pair: Pair, day: int, micros: int) -> None:
        """Note what a line takes from a day on; it uses up the order's own allocation first."""
        own = min(micros, self.bonus.get(pair, 0))
        if own:
            self.bonus[pair] -= own
        self.taken.setdefault(pair, []).append((day, micros - own))


def grant_lines(
    engine: AvailabilityEngine, ask: ReserveAsk, now_us: int, context: GrantContext
) -> list[ReservedLine]:
    """The lines as they would be granted, in order: each reduces what is left for the next (A8)."""
    lines = [_grant_line(engine, line, ask, now_us, context) for line in ask.lines]
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
    """A new reservation of these lines, with an unguessable id. Allocations count for it from the pair's `mark` on."""
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


def _grant_line(
    engine: AvailabilityEngine, line: ReserveLine, ask: ReserveAsk, now_us: int, context: GrantContext
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
        free, day = _free(engine, (component, line.branch), line, now_us, context)
        if free is None:
            return ReservedLine(line, AvailabilityStatus.UNKNOWN_STOCK, 0, 0)
        counts.append(math.floor(free / need))
    count = max(0, min(counts))
    granted = int(count * what.units * MICROS)
    if not 0 < granted <= INT64_MAX or (granted < line.quantity_micros and not ask.allow_partial):
        return ReservedLine(line, AvailabilityStatus.OK, 0, 0)
    parts = tuple(Part(component, 0).resized(count * need) for component, need in what.needs.items())
    for part in parts:
        context.take((part.sku, line.branch), day, part.quantity_micros)
    return ReservedLine(line, AvailabilityStatus.OK, granted, granted, parts)


def _free(
    engine: AvailabilityEngine, pair: Pair, line: ReserveLine, now_us: int, context: GrantContext
) -> tuple[Fraction | None, int]:
    """(micros of a base item that can be reserved, None if unknown; the local day from which) for a line."""
    item, branch = engine.ordinals(*pair)
    wanted_day = day_number(line.from_date) if line.from_date else 0
    more = context.slack(pair) + context.bonus.get(pair, 0)
    if pair not in context.taken:
        code, micros, day = engine.free_from(item, branch, now_us, wanted_day, context.exclude)
        if code in (AvailabilityStatus.OK, AvailabilityStatus.UNKNOWN_STOCK):
            return (max(0, micros) + more if code == AvailabilityStatus.OK else None), day
    # Beyond int64, or an earlier line of the request takes from the pair: use the reference.
    moment = Moment(now_us, exclude_reservation=context.exclude)
    days = pair_days(decode_rows(engine.positions, [item], [branch]), *pair, moment)
    if days is None:
        return None, 0
    day = max(days.first_day, wanted_day)
    free, at = free_micros(days, context.taken.get(pair, ())), day - days.first_day
    return (free[at] if at < len(free) else 0) + more, day
