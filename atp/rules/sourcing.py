"""Which branch ships how much on which day: the plan of one line, in counts of its smallest shippable quantity.

A `Slot` is a day on which a branch can pick, with the most it could have shipped in all by then. The capacities of a
branch never fall from slot to slot, because ATP looks ahead. A plan is a list of shipments (slot, count) such that
what a branch ships up to any slot stays within that slot's capacity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pricegrid.atp.model import TooComplexError

CHOICES_MAX: Final = 5_000
"""Ways of one day that are tried one by one: any of six branches."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Branch number `order` (its index in the sourcing order) may pick on `day` up to `capacity` in all."""

    day: int
    order: int
    capacity: int


Plan = list[tuple[Slot, int]]


def plan_shipments(slots: Sequence[Slot], wanted: int, least: int = 1) -> Plan:
    """As much of `wanted` as can be, then as early as can be, each shipment at least `least` (A7)."""
    ordered = sorted(slots, key=lambda slot: (slot.day, slot.order))
    return _plan_freely(ordered, wanted) if least <= 1 else _plan_with_least(ordered, wanted, least)


def _plan_freely(slots: Sequence[Slot], wanted: int) -> Plan:
    """Earliest day first, then the order of the branches: take what is there."""
    used: dict[int, int] = {}
    plan = []
    for slot in slots:
        count = min(wanted, slot.capacity - used.get(slot.order, 0))
        if count > 0:
            plan.append((slot, count))
            used[slot.order] = used.get(slot.order, 0) + count
            wanted -= count
    return plan


def _plan_with_least(slots: Sequence[Slot], wanted: int, least: int) -> Plan:
    """The largest total first, then day by day the most that still leaves the total within reach.

    The total: a branch can give any count from `least` to its last capacity in one late shipment, so k branches reach
    everything from k * least to the sum of their last capacities.
    """
    final = {slot.order: slot.capacity for slot in slots}
    last_day = {slot.order: slot.day for slot in slots}
    largest = sorted((count for count in final.values() if count >= least), reverse=True)
    open_count = min(wanted, sum(largest[: wanted // least]))
    used = dict.fromkeys(final, 0)
    plan: Plan = []
    for day in sorted({slot.day for slot in slots}):
        today = {slot.order: slot for slot in slots if slot.day == day}
        rooms = [
            _Room(
                order,
                now=today[order].capacity - used[order] if order in today else 0,
                later=final[order] - used[order] if last_day[order] > day else 0,
            )
            for order in sorted(final)
        ]
        for order, count in _best_day(rooms, open_count, least).items():
            plan.append((today[order], count))
            used[order] += count
            open_count -= count
    return plan


@dataclass(frozen=True, slots=True)
class _Room:
    order: int
    now: int
    """What the branch can ship on this day."""
    later: int
    """What it could ship from the next day on if it shipped nothing today; 0 when this is its last slot."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which of the branches seen so far ship today and which later, and how much that can be."""

    most_today: tuple[tuple[int, int], ...] = ()
    """(order, the most it ships today)."""
    later: int = 0
    today_sum: int = 0
    reach: int = 0
    """What today and later can give together."""


def _best_day(rooms: Sequence[_Room], open_count: int, least: int) -> dict[int, int]:
    """The counts of one day: the most in all, then the most from the branches named first. Every choice is tried."""
    choices = [_Choice()]
    for room in rooms:
        choices = [after for before in choices for after in _extend(before, room, least)]
        if len(choices) > CHOICES_MAX:
            raise TooComplexError(
                f"{len(rooms)} branches could ship on one day in more than {CHOICES_MAX} ways"
            )
    best: tuple[int, list[int]] = (0, [])
    result: dict[int, int] = {}
    for choice in choices:
        total = min(choice.today_sum, open_count - choice.later * least)
        if choice.reach < open_count or total < max(1, len(choice.most_today) * least):
            continue
        shipped, rest = {}, total
        for index, (order, most) in enumerate(choice.most_today):
            shipped[order] = min(most, rest - least * (len(choice.most_today) - index - 1))
            rest -= shipped[order]
        rank = (total, [shipped.get(room.order, 0) for room in rooms])
        if rank > best:
            best, result = rank, shipped
    return result


def _extend(before: _Choice, room: _Room, least: int) -> list[_Choice]:
    """The branch ships nothing, only today, only later, or both."""
    choices = [before]
    if room.later >= least:
        choices.append(
            _Choice(before.most_today, before.later + 1, before.today_sum, before.reach + room.later)
        )
    if room.now >= least:
        most = (*before.most_today, (room.order, room.now))
        choices.append(_Choice(most, before.later, before.today_sum + room.now, before.reach + room.now))
    both = min(room.now, room.later - least)
    if both >= least:
        most = (*before.most_today, (room.order, both))
        choices.append(_Choice(most, before.later + 1, before.today_sum + both, before.reach + room.later))
    return choices
