"""Reservations (A8, A9): what is asked, what is held, and how one goes from held to confirmed, consumed, gone.

A reservation is HELD until it is confirmed, released, or its time ends (EXPIRED). A CONFIRMED one stays until the
warehouse has allocated all of it (CONSUMED) or it is released (RELEASED).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum
from fractions import Fraction

from atp.model import AvailabilityStatus
from atp.rows import Pair


class ReservationStatus(IntEnum):
    """Where a reservation is in its life."""

    HELD = 0
    CONFIRMED = 1
    CONSUMED = 2
    RELEASED = 3
    EXPIRED = 4


LIVING = (ReservationStatus.HELD, ReservationStatus.CONFIRMED)
"""Those that hold stock."""


@dataclass(frozen=True, slots=True)
class ReserveLine:
    """One line to hold."""

    sku: str
    quantity_micros: int
    """In the asked unit."""
    branch: str
    uom: str = ""
    """'' is the base unit."""
    from_date: date | None = None
    """The first day, local to the branch, on which it holds; None: at once."""
    order_line: str = ""


@dataclass(frozen=True, slots=True)
class ReserveAsk:
    """Holds several lines under one key."""

    key: str
    """The caller's own, for idempotency: the same key asks for the same reservation."""
    customer_id: str
    lines: Sequence[ReserveLine]
    ttl_us: int
    allow_partial: bool = False
    """A line may be held in part; otherwise in full or not at all."""
    all_or_nothing: bool = False
    """Every line in full, or none."""
    order_ref: str = ""
    """The order it is for, where that is known already."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a line takes of one base item at its branch, in micros of the base unit."""

    sku: str
    quantity_micros: int
    cleared_micros: int = 0
    """How much of it the warehouse has taken over; it only grows (A9)."""


@dataclass(frozen=True, slots=True)
class ReservedLine:
    """One line as it is held."""

    line: ReserveLine
    status: AvailabilityStatus
    held_micros: int
    """In the asked unit; what was released is taken off."""
    granted_micros: int
    """In the asked unit, as first granted."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldReservation:
    """A reservation as it stands."""

    reservation_id: str
    key: str
    customer_id: str
    status: ReservationStatus
    lines: tuple[ReservedLine, ...]
    created_us: int
    expires_us: int
    """It counts while the instant is before; meaningless once it is confirmed."""
    order_ref: str = ""
    confirmed_us: int | None = None
    ended_us: int | None = None
    """When it was consumed, released or expired."""

    @property
    def was_taken_over(self) -> bool:
        """Whether the warehouse has allocated anything of it: then it says what allocations are used up (A9)."""
        return any(part.cleared_micros for line in self.lines for part in line.parts)


Allocated = dict[tuple[str, str], int]
"""How much of a pair was allocated to each (order, line), under line '' to the order as a whole, and has not been taken
off a reservation yet."""


def take_off(held: HeldReservation, pair: Pair, left: Allocated) -> None:
    """Take off `left` what a reservation, also one that has ended, was cleared by before: it counts only once (A9)."""
    for line in held.lines:
        for part in line.parts:
            if (part.sku, line.line.branch) == pair and held.order_ref:
                _use_up(left, held.order_ref, line.line.order_line, part.cleared_micros)


def cleared(held: HeldReservation, pair: Pair, left: Allocated) -> HeldReservation:
    """The reservation with what was allocated of a pair to its order since (A9); what it takes is taken off `left`."""
    if not held.order_ref or held.status not in LIVING:
        return held
    lines = []
    for line in held.lines:
        order_line = line.line.order_line
        key = (held.order_ref, order_line)
        if key not in left:
            key = (held.order_ref, "")
        parts = []
        for part in line.parts:
            more = 0
            if (part.sku, line.line.branch) == pair:
                more = max(0, min(part.quantity_micros - part.cleared_micros, left.get(key, 0)))
                _use_up(left, held.order_ref, order_line, more)
            parts.append(replace(part, cleared_micros=part.cleared_micros + more))
        lines.append(replace(line, parts=tuple(parts)))
    changed = replace(held, lines=tuple(lines))
    every = [part for line in changed.lines for part in line.parts]
    is_consumed = held.status is ReservationStatus.CONFIRMED and all(
        part.cleared_micros >= part.quantity_micros for part in every
    )
    return replace(changed, status=ReservationStatus.CONSUMED) if is_consumed else changed


def _use_up(left: Allocated, order_ref: str, order_line: str, micros: int) -> None:
    """What is used of a line is used of the order; what is used without a line, of any: never is too much left."""
    names = [(order_ref, ""), (order_ref, order_line)]
    if order_line == "" or (order_ref, order_line) not in left:
        names = [(order_ref, "")]
        rest = micros
        for name in sorted(name for name in left if name[0] == order_ref and name[1]):
            taken = min(left[name], rest)
            left[name] -= taken
            rest -= taken
    for name in names:
        left[name] = max(0, left.get(name, 0) - micros)


def released(held: HeldReservation, micros_of_line: Mapping[int, int]) -> HeldReservation:
    """The reservation less what is given back of some lines, in their asked units; without any, all of it.

    Of a line's components as much in proportion, what is left rounded up. Raises ValueError for more than a line holds.
    """
    if not micros_of_line:
        gone = tuple(replace(line, held_micros=0, parts=_taken_over(line.parts)) for line in held.lines)
        return replace(held, status=ReservationStatus.RELEASED, lines=gone)
    lines = list(held.lines)
    for at, micros in micros_of_line.items():
        if at >= len(lines) or micros > lines[at].held_micros:
            raise ValueError(f"line {at} does not hold so much")
        line = lines[at]
        left = line.held_micros - micros
        share = Fraction(left, line.held_micros)
        kept = tuple(
            replace(each, quantity_micros=max(each.cleared_micros, math.ceil(each.quantity_micros * share)))
            for each in line.parts
        )
        lines[at] = replace(line, held_micros=left, parts=kept if left else _taken_over(line.parts))
    is_over = not any(line.held_micros for line in lines)
    status = ReservationStatus.RELEASED if is_over else held.status
    return replace(held, status=status, lines=tuple(lines))


def _taken_over(parts: Sequence[Part]) -> tuple[Part, ...]:
    """What the warehouse took over of them, which is all that is left when the rest is given back."""
    return tuple(replace(each, quantity_micros=each.cleared_micros) for each in parts if each.cleared_micros)
