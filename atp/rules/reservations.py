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

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.atp.rules.clearing import Claim
from pricegrid.atp.rules.order_lines import START, Mark
from pricegrid.atp.rules.rows import Pair


class ReservationStatus(IntEnum):
    """Where a reservation is in its life."""

    HELD = 0
    CONFIRMED = 1
    CONSUMED = 2
    RELEASED = 3
    EXPIRED = 4


LIVING = (ReservationStatus.HELD, ReservationStatus.CONFIRMED)
"""Those that hold stock."""
_RANK = {
    ReservationStatus.HELD: 0,
    ReservationStatus.CONFIRMED: 1,
    ReservationStatus.CONSUMED: 2,
    ReservationStatus.RELEASED: 2,
    ReservationStatus.EXPIRED: 2,
}


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
    exclude_reservation: str = ""
    """One of the same customer that does not block it: it is released if both can't be held."""
    replace_reservation: str = ""
    """One of the same customer that is released in the same step."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a line takes of one base item at its branch, in micros of the base unit."""

    sku: str
    quantity_micros: int
    cleared_micros: int = 0
    """How much of it the warehouse has taken over; as stored, what it has for good (A9)."""
    since: Mark = START
    """The newest event of the warehouse on the pair when it was made."""
    excess: tuple[int, int] = (0, 1)
    """By how much `quantity_micros` was rounded up: numerator and denominator, less than 1."""

    @property
    def exact_micros(self) -> Fraction:
        """What it takes, not rounded."""
        return self.quantity_micros - Fraction(*self.excess)

    @property
    def open_micros(self) -> Fraction:
        """What it still holds, not rounded; a rest of less than a micro is nothing."""
        left = self.exact_micros - self.cleared_micros
        return left if left >= 1 or (left > 0 and not self.cleared_micros) else Fraction(0)

    def resized(self, exact_micros: Fraction) -> "Part":
        """The same of another quantity, at least what was taken over."""
        exact = max(exact_micros, Fraction(self.cleared_micros))
        quantity = math.ceil(exact)
        excess = quantity - exact
        return replace(self, quantity_micros=quantity, excess=(excess.numerator, excess.denominator))


@dataclass(frozen=True, slots=True)
class ReservedLine:
    """One line as it is held."""

    line: ReserveLine
    status: AvailabilityStatus
    held_micros: int
    """In the asked unit; less what was released."""
    granted_micros: int
    """In the asked unit, as first granted."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldReservation:
    """A reservation, whatever its status."""

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
    named_us: int | None = None
    """When it named its order."""
    asked: str = ""
    """The request it answers, to compare with another of the same key."""
    replaced_by: str = ""
    """The reservation that took its place, and what the warehouse had taken over of it."""

    @property
    def was_taken_over(self) -> bool:
        """Whether the warehouse has allocated anything of it: then it says what allocations are used up (A9)."""
        return any(part.cleared_micros for line in self.lines for part in line.parts)


def claims_on(held: HeldReservation, pair: Pair) -> list[Claim]:
    """What allocations of a pair to the order of a reservation may clear of it; none without an order."""
    if not held.order_ref:
        return []
    confirmed_us = held.confirmed_us if held.confirmed_us is not None else held.created_us
    return [
        Claim(
            key=(held.reservation_id, at),
            order_line=line.line.order_line,
            quantity_micros=part.quantity_micros,
            kept_micros=part.cleared_micros,
            since=part.since,
            made_us=held.created_us,
            named_us=held.named_us if held.named_us is not None else confirmed_us,
            is_over=held.status not in LIVING,
            ends_us=held.expires_us if held.status is ReservationStatus.HELD else None,
        )
        for at, line in enumerate(held.lines)
        for part in line.parts
        if (part.sku, line.line.branch) == pair
    ]


def viewed(held: HeldReservation, cleared: Mapping[tuple[int, Pair], int]) -> HeldReservation:
    """A reservation with what allocations have cleared of it by (line, pair), which may have ended it."""
    if held.status not in LIVING or not cleared:
        return held
    lines = tuple(
        replace(
            line,
            parts=tuple(
                replace(
                    part, cleared_micros=cleared.get((at, (part.sku, line.line.branch)), part.cleared_micros)
                )
                for part in line.parts
            ),
        )
        for at, line in enumerate(held.lines)
    )
    seen = replace(held, lines=lines)
    return seen if _holds_anything(lines) else replace(seen, status=ReservationStatus.CONSUMED)


def _holds_anything(lines: Sequence[ReservedLine]) -> bool:
    return any(part.open_micros > 0 for line in lines for part in line.parts)


def check_progress(before: HeldReservation | None, after: HeldReservation) -> None:
    """AssertionError where a state to be stored is behind the one it replaces."""
    if before is None:
        return
    is_behind = [
        ("status", _RANK[before.status] > _RANK[after.status]),
        ("status", before.status not in LIVING and after.status is not before.status),
        ("confirmed_us", before.confirmed_us is not None and after.confirmed_us != before.confirmed_us),
        ("order_ref", before.order_ref not in ("", after.order_ref)),
        ("expires_us", after.expires_us < before.expires_us),
        ("lines", len(after.lines) != len(before.lines)),
    ]
    for old, new in zip(before.lines, after.lines, strict=False):
        cleared = {part.sku: part.cleared_micros for part in new.parts}
        is_behind += [
            ("held_micros", new.held_micros > old.held_micros),
            (
                "cleared_micros",
                not after.replaced_by
                and any(cleared.get(part.sku, 0) < part.cleared_micros for part in old.parts),
            ),
        ]
    wrong = sorted({name for name, is_so in is_behind if is_so})
    if wrong:
        raise AssertionError(f"reservation {after.reservation_id} would go back: {', '.join(wrong)}")


def shown_micros(open_of: Sequence[tuple[int, int, Fraction]]) -> list[int]:
    """What to show of what several reservations hold of a pair, each (first day or 0, expires_us, exact micros).

    Together they are the exact sum without what is less than a micro, also after those that end first have ended:
    three thirds of one are one. What holds from a later day on is rounded up by itself.
    """
    found = [math.ceil(micros) for _, _, micros in open_of]
    total = Fraction(0)
    for at in sorted(range(len(open_of)), key=lambda at: (-open_of[at][1], at)):
        first_day, _, micros = open_of[at]
        if not first_day:
            found[at] = math.floor(total + micros) - math.floor(total)
            total += micros
    return found


def released(held: HeldReservation, micros_of_line: Mapping[int, int]) -> HeldReservation:
    """The reservation less what is released of some lines, in their asked units; without any, all of it.

    Of a line's components as much in proportion. When nothing is left to hold it is over. Raises ValueError for more
    than a line holds.
    """
    if not micros_of_line:
        rest = tuple(replace(line, held_micros=0, parts=_taken_over(line.parts)) for line in held.lines)
        return replace(held, status=ReservationStatus.RELEASED, lines=rest)
    lines = list(held.lines)
    for at, micros in micros_of_line.items():
        if at >= len(lines) or micros > lines[at].held_micros:
            raise ValueError(f"line {at + 1} of the reservation (line_index {at}) does not hold so much")
        line = lines[at]
        left = line.held_micros - micros
        share = Fraction(left, line.held_micros)
        kept = tuple(each.resized(each.exact_micros * share) for each in line.parts)
        lines[at] = replace(line, held_micros=left, parts=kept if left else _taken_over(line.parts))
    status = held.status
    if not any(line.held_micros for line in lines):
        status = ReservationStatus.RELEASED
    elif not _holds_anything(lines):
        status = ReservationStatus.CONSUMED
    return replace(held, status=status, lines=tuple(lines))


def replaced(old: HeldReservation, new: HeldReservation) -> tuple[HeldReservation, HeldReservation]:
    """(the old one released, the new one with what was taken over of the old one for the same order)."""
    taken = dict(taken_over(old)) if old.order_ref and old.order_ref == new.order_ref else {}
    lines = []
    for line in new.lines:
        parts = []
        for part in line.parts:
            pair = part.sku, line.line.branch
            more = min(taken.get(pair, 0), part.quantity_micros)
            if more:
                taken[pair] -= more
            parts.append(replace(part, cleared_micros=more))
        lines.append(replace(line, parts=tuple(parts)))
    rest = released(old, {})
    left = tuple(
        replace(line, parts=tuple(_less(part, line.line.branch, taken) for part in line.parts))
        if old.order_ref == new.order_ref
        else line
        for line in rest.lines
    )
    return replace(rest, lines=left, replaced_by=new.reservation_id), replace(new, lines=tuple(lines))


def _less(part: Part, branch: str, left: dict[Pair, int]) -> Part:
    kept = min(part.cleared_micros, left.get((part.sku, branch), 0))
    if kept:
        left[part.sku, branch] -= kept
    return replace(part, quantity_micros=kept, cleared_micros=kept, excess=(0, 1))


def taken_over(held: HeldReservation) -> Mapping[Pair, int]:
    """What the warehouse has taken over of a reservation, by pair, in micros."""
    found: dict[Pair, int] = {}
    for line in held.lines:
        for part in line.parts:
            pair = part.sku, line.line.branch
            found[pair] = found.get(pair, 0) + part.cleared_micros
    return found


def _taken_over(parts: Sequence[Part]) -> tuple[Part, ...]:
    """What the warehouse took over of them, which is all that is left when the rest is released."""
    return tuple(
        replace(each, quantity_micros=each.cleared_micros, excess=(0, 1))
        for each in parts
        if each.cleared_micros
    )
