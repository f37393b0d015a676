"""What an ask to reserve would hold now."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from atp.decode import decode_rows
from atp.engine import AvailabilityEngine
from atp.model import INT64_MAX, MICROS, AvailabilityStatus, day_number
from atp.promising import OrderLine, free_micros, shippable
from atp.reference import Moment, item_status, pair_days
from atp.reservations import (
    HeldReservation,
    Part,
    ReservationStatus,
    ReserveAsk,
    ReservedLine,
    ReserveLine,
)
from atp.rows import Pair

Taken = dict[Pair, list[tuple[int, int]]]
"""(day, micros) that earlier lines of the same ask take of a pair."""


def hold_lines(engine: AvailabilityEngine, ask: ReserveAsk, now_us: int) -> list[ReservedLine]:
    """The lines as they could be held, one using up what the next may not have (A8)."""
    taken: Taken = {}
    lines = [_hold(engine, line, ask, now_us, taken) for line in ask.lines]
    if ask.all_or_nothing and any(line.held_micros < line.line.quantity_micros for line in lines):
        lines = [replace(line, held_micros=0, granted_micros=0, parts=()) for line in lines]
    return lines


def new_reservation(ask: ReserveAsk, lines: Sequence[ReservedLine], now_us: int) -> HeldReservation:
    """A reservation of such lines, with a name that nobody can guess."""
    number = secrets.randbelow(1 << 59) + 1
    return HeldReservation(
        f"R{number:015x}",
        ask.key,
        ask.customer_id,
        ReservationStatus.HELD,
        tuple(lines),
        now_us,
        now_us + ask.ttl_us,
        ask.order_ref,
    )


def _hold(
    engine: AvailabilityEngine, line: ReserveLine, ask: ReserveAsk, now_us: int, taken: Taken
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
        free, day = _free(engine, (component, line.branch), line, now_us, taken)
        if free is None:
            return ReservedLine(line, AvailabilityStatus.UNKNOWN_STOCK, 0, 0)
        counts.append(math.floor(free / need))
    count = max(0, min(counts))
    granted = int(count * what.units * MICROS)
    if not 0 < granted <= INT64_MAX or (granted < line.quantity_micros and not ask.allow_partial):
        return ReservedLine(line, AvailabilityStatus.OK, 0, 0)
    parts = tuple(Part(component, math.ceil(count * need)) for component, need in what.needs.items())
    for part in parts:
        taken.setdefault((part.sku, line.branch), []).append((day, part.quantity_micros))
    return ReservedLine(line, AvailabilityStatus.OK, granted, granted, parts)


def _free(
    engine: AvailabilityEngine, pair: Pair, line: ReserveLine, now_us: int, taken: Taken
) -> tuple[int | None, int]:
    """(micros of a base item that can be held, None if nobody knows, the local day from which) for a line."""
    item, branch = engine.ordinals(*pair)
    wanted_day = day_number(line.from_date) if line.from_date else 0
    if pair not in taken:
        code, micros, day = engine.free_from(item, branch, now_us, wanted_day)
        if code in (AvailabilityStatus.OK, AvailabilityStatus.UNKNOWN_STOCK):
            return (micros if code == AvailabilityStatus.OK else None), day
    # what leaves int64, or was taken by an earlier line of the ask: plainly
    days = pair_days(decode_rows(engine.positions, [item], [branch]), *pair, Moment(now_us))
    if days is None:
        return None, 0
    day = max(days.first_day, wanted_day)
    free, at = free_micros(days, taken.get(pair, ())), day - days.first_day
    return (free[at] if at < len(free) else 0), day
