"""What an ask to reserve would hold now."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

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
"""(day, micros) that was taken of a pair and is not shown yet."""


class Holding(NamedTuple):
    """What an ask would hold."""

    lines: list[ReservedLine]
    taken: Taken
    """By these lines."""
    behind: set[Pair]
    """Pairs of which asks before it take as well: it stands only if theirs do."""


def hold_lines(engine: AvailabilityEngine, ask: ReserveAsk, now_us: int, before: Taken) -> Holding:
    """The lines as they could be held, one using up what the next may not have (A8), all of them behind what asks
    `before` this one take."""
    found = _Finder(engine, ask, now_us, before)
    lines = [found.hold(line) for line in ask.lines]
    if ask.all_or_nothing and any(line.held_micros < line.line.quantity_micros for line in lines):
        nothing = [replace(line, held_micros=0, granted_micros=0, parts=()) for line in lines]
        return Holding(nothing, {}, found.behind)
    return Holding(lines, found.taken, found.behind)


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


class _Finder:
    """Holds the lines of one ask, in order."""

    def __init__(self, engine: AvailabilityEngine, ask: ReserveAsk, now_us: int, before: Taken) -> None:
        self._engine = engine
        self._ask = ask
        self._now_us = now_us
        self._before = before
        self.taken: Taken = {}
        self.behind: set[Pair] = set()

    def hold(self, line: ReserveLine) -> ReservedLine:
        item, branch = self._engine.ordinals(line.sku, line.branch)
        if self._is_plain(line, item, branch):
            free, day = self._free((line.sku, line.branch), item, branch, line)
            if free is None:
                return ReservedLine(line, AvailabilityStatus.UNKNOWN_STOCK, 0, 0)
            granted = min(line.quantity_micros, free)
            return self._granted(line, granted, (Part(line.sku, granted),), day)
        rows = decode_rows(self._engine.positions, [item], [])
        status = item_status(rows, line.sku, line.quantity_micros, line.uom, {})
        if status is AvailabilityStatus.OK and branch < 0:
            status = AvailabilityStatus.UNKNOWN_BRANCH
        if status is not AvailabilityStatus.OK:
            return ReservedLine(line, status, 0, 0)
        what = shippable(rows, line.sku, OrderLine(line.sku, line.quantity_micros, line.uom))
        counts = [math.floor(Fraction(line.quantity_micros, MICROS) / what.units)]
        day = 0
        for component, need in what.needs.items():
            ordinals = self._engine.ordinals(component, line.branch)
            free, day = self._free((component, line.branch), *ordinals, line)
            if free is None:
                return ReservedLine(line, AvailabilityStatus.UNKNOWN_STOCK, 0, 0)
            counts.append(math.floor(free / need))
        count = max(0, min(counts))
        granted = int(count * what.units * MICROS)
        parts = tuple(Part(component, math.ceil(count * need)) for component, need in what.needs.items())
        return self._granted(line, granted, parts, day)

    def _is_plain(self, line: ReserveLine, item: int, branch: int) -> bool:
        """Whether micros are counted as they stand: no kit, no unit but the base unit, no order multiple."""
        positions = self._engine.positions
        return (
            min(item, branch) >= 0
            and not line.uom
            and 0 < line.quantity_micros <= INT64_MAX
            and not positions.integer("item_multiple", item)
            and not positions.span("kit_start", item)
        )

    def _granted(self, line: ReserveLine, granted: int, parts: tuple[Part, ...], day: int) -> ReservedLine:
        is_short = granted < line.quantity_micros and not self._ask.allow_partial
        if not 0 < granted <= INT64_MAX or is_short:
            return ReservedLine(line, AvailabilityStatus.OK, 0, 0)
        for part in parts:
            self.taken.setdefault((part.sku, line.branch), []).append((day, part.quantity_micros))
        return ReservedLine(line, AvailabilityStatus.OK, granted, granted, parts)

    def _free(self, pair: Pair, item: int, branch: int, line: ReserveLine) -> tuple[int | None, int]:
        """(micros of a base item that can be held, None if nobody knows, the local day from which) for a line."""
        wanted_day = day_number(line.from_date) if line.from_date else 0
        gone = [*self._before.get(pair, ()), *self.taken.get(pair, ())]
        if pair in self._before:
            self.behind.add(pair)
        code, micros, day = self._engine.free_from(item, branch, self._now_us, wanted_day)
        if code == AvailabilityStatus.UNKNOWN_STOCK:
            return None, day
        if code == AvailabilityStatus.OK and all(taken_day <= day for taken_day, _ in gone):
            return max(0, micros - sum(taken for _, taken in gone)), day
        # what leaves int64, or was taken from a later day on: plainly
        days = pair_days(decode_rows(self._engine.positions, [item], [branch]), *pair, Moment(self._now_us))
        if days is None:
            return None, 0
        day = max(days.first_day, wanted_day)
        free, at = free_micros(days, gone), day - days.first_day
        return (free[at] if at < len(free) else 0), day
