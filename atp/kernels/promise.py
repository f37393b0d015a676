"""The compiled form of `promising`: lines are promised one by one, using up what the request's pairs hold (A7).

Everything is counted in shippable quantities: the least of an item that is whole asked units, whole kits and whole
order multiples. What of that leaves int64 was marked RECHECK by `offers` before; here nothing can any more.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.availability import MAX, OK, Supply
from pricegrid.atp.kernels.jit import compiled, inlined
from pricegrid.atp.kernels.ledger import (
    Ledger,
    Taken,
    count_on,
    merge_least,
    take,
    take_nothing,
    write_counts,
)
from pricegrid.atp.kernels.offers import Offers
from pricegrid.atp.kernels.sourcing import TOO_COMPLEX, Day, Plan, Slots, plan_freely, plan_with_least

FULL: Final = 2
"""There is no room for more parts or takes: begin again with more."""
ANY_DAY: Final = -1


class Picks(NamedTuple):
    """When each branch can pick, as day offsets."""

    next_pick: NDArray[np.int32]
    """(b, horizon): the first allowed pick day at or after a day; FAR: none."""
    ship: NDArray[np.int32]
    arrival: NDArray[np.int32]


class Rules(NamedTuple):
    """The part of a promise's policy that is no question of days."""

    no_split: bool
    ship_complete: bool
    minimum: int
    """The least shipment in micros of the asked unit."""
    effort_max: int
    """How much may be looked at for the whole request."""


class Parts(NamedTuple):
    """Shipments in line order; `size` (1,) says how many there are."""

    place: NDArray[np.int32]
    offer: NDArray[np.int32]
    shipped: NDArray[np.int64]
    """In shippable quantities of the offer."""
    pick: NDArray[np.int32]
    """Day offset at the branch."""
    size: NDArray[np.int64]


class Desk(NamedTuple):
    """All that the promise of a line needs besides the line: what is asked of, what is kept, and scratch."""

    supply: Supply
    picks: Picks
    rules: Rules
    ledger: Ledger
    taken: Taken
    offers: Offers
    quantity: NDArray[np.int64]
    """(lines,) micros of the asked unit."""
    parts: Parts
    slots: Slots
    plan: Plan
    day: Day
    step_day: NDArray[np.int32]
    step_count: NDArray[np.int64]
    used: NDArray[np.int64]
    """(branches,) of an offer, while its takes are worked out."""
    effort: NDArray[np.int64]


@inlined
def _count_steps(desk: Desk, offer: int, place: int) -> int:
    """Write how many of an offer a branch can ship from each day on, from 0 on; returns how many steps."""
    offers, branches = desk.offers, len(desk.supply.branch)
    end = 0
    first = offers.part_start[offer]
    for k in range(first, offers.part_start[offer + 1]):
        pair = offers.component[k] * branches + place
        if desk.ledger.code[pair] != OK:
            return 0
        added = write_counts(
            desk.ledger, desk.taken, pair, offers.need[k], offers.per[k], desk.step_day, desk.step_count, end
        )
        desk.effort[0] += added - end
        end = merge_least(desk.step_day, desk.step_count, 0, end, added) if k > first else added
    return int(end)


@inlined
def _count_on(desk: Desk, offer: int, place: int, pick: int) -> int:
    """How many of an offer a branch can ship on a day, everything taken so far being of that day."""
    offers, branches = desk.offers, len(desk.supply.branch)
    least = MAX
    for k in range(offers.part_start[offer], offers.part_start[offer + 1]):
        pair = offers.component[k] * branches + place
        if desk.ledger.code[pair] != OK:
            return 0
        least = min(least, count_on(desk.ledger, desk.taken, pair, offers.need[k], offers.per[k], pick))
        desk.effort[0] += 1
    return int(least)


@inlined
def _fill_slots(desk: Desk, offer: int, first: int, last: int, only_day: int, wanted: int) -> None:
    """The slots of an offer at the branches [first, last): all, or those of one local day; at most `wanted` each."""
    slots, horizon = desk.slots, desk.supply.horizon_days
    end = 0
    for place in range(first, last):
        slots.start[place] = end
        if only_day != ANY_DAY:
            pick = only_day - desk.supply.today[place]
            if 0 <= pick < horizon and desk.picks.next_pick[place, pick] == pick:
                count = min(wanted, _count_on(desk, offer, place, pick))
                if count > 0:
                    slots.pick[end], slots.capacity[end] = pick, count
                    end += 1
            slots.end[place] = end
            continue
        steps, k, most = _count_steps(desk, offer, place), 0, 0
        while k < steps and most < wanted:
            pick = desk.picks.next_pick[place, desk.step_day[k]]
            if pick >= horizon:
                break
            while k + 1 < steps and desk.step_day[k + 1] <= pick:
                k += 1
            count = min(wanted, desk.step_count[k])
            # a later day that adds nothing is never needed
            if count > most:
                slots.pick[end], slots.capacity[end] = pick, count
                most = count
                end += 1
            k += 1
        slots.end[place] = end


@inlined
def _least(desk: Desk, line: int, unit: int, wanted: int) -> int:
    """The minimum shipment in shippable quantities: capped at the request, of which only `wanted` can be shipped."""
    minimum = desk.rules.minimum
    if minimum > desk.quantity[line]:
        return max(1, wanted)
    return max(1, -(-minimum // unit))


@inlined
def _book(desk: Desk, first: int, last: int, sign: int) -> bool:
    """Take what the parts [first, last) need of their components, each rounded up in all, or give it back."""
    parts, offers, branches = desk.parts, desk.offers, len(desk.supply.branch)
    offer = -1
    for at in range(first, last):
        if parts.offer[at] != offer:
            offer = parts.offer[at]
            desk.used[:] = 0
        place = parts.place[at]
        before, after = desk.used[place], desk.used[place] + parts.shipped[at]
        desk.used[place] = after
        for k in range(offers.part_start[offer], offers.part_start[offer + 1]):
            need, per = offers.need[k], offers.per[k]
            micros = -(-after * need // per) + (-before * need // per)
            pair = offers.component[k] * branches + place
            if not take(desk.taken, pair, parts.pick[at], sign * micros):
                return False
    return True


@compiled
def _promise_from(
    desk: Desk, line: int, first: int, last: int, only_day: int, trial: bool
) -> tuple[int, int]:
    """(code, what stays open in micros of the asked unit) of a line served by the branches [first, last).

    The asked SKU as far as it goes, then its substitutes. The parts are written and what they need is taken; a trial
    takes only what its own later offers must not find any more.
    """
    offers, parts, plan = desk.offers, desk.parts, desk.plan
    open_micros = desk.quantity[line]
    for offer in range(offers.start[line], offers.start[line + 1]):
        unit = offers.unit[offer]
        wanted = open_micros // unit
        if wanted == 0:
            continue
        _fill_slots(desk, offer, first, last, only_day, wanted)
        least = _least(desk, line, unit, wanted)
        if least <= 1:
            plan_freely(desk.slots, desk.supply.today, first, last, wanted, plan)
        else:
            code = plan_with_least(
                desk.slots,
                desk.supply.today,
                first,
                last,
                wanted,
                least,
                plan,
                desk.day,
                desk.effort,
                desk.rules.effort_max,
            )
            if code == TOO_COMPLEX:
                return TOO_COMPLEX, 0
        begin, shipments = parts.size[0], plan.size[0]
        if begin + shipments > len(parts.place):
            return FULL, 0
        for k in range(shipments):
            parts.place[begin + k], parts.offer[begin + k] = plan.place[k], offer
            parts.pick[begin + k], parts.shipped[begin + k] = plan.pick[k], plan.shipped[k]
            open_micros -= plan.shipped[k] * unit
        parts.size[0] = begin + shipments
        if trial and offer + 1 == offers.start[line + 1]:
            continue
        if not _book(desk, begin, begin + shipments, 1):
            return FULL, 0
    return OK, open_micros


@compiled
def _promise_line(desk: Desk, line: int, only_day: int) -> tuple[int, int]:
    """One line from all branches, or with `no_split` from the one that gives most, then soonest, then first."""
    branches, parts = len(desk.supply.branch), desk.parts
    if not desk.rules.no_split:
        return _promise_from(desk, line, 0, branches, only_day, False)
    begin, chosen, least_open, soonest = parts.size[0], -1, desk.quantity[line], 0
    for place in range(branches):
        code, open_micros = _promise_from(desk, line, place, place + 1, only_day, True)
        if code != OK:
            return code, 0
        end, done = parts.size[0], 0
        for k in range(begin, end):
            done = max(done, desk.supply.today[place] + parts.pick[k])
        booked = begin
        while booked < end and parts.offer[booked] + 1 < desk.offers.start[line + 1]:
            booked += 1
        _book(desk, begin, booked, -1)
        parts.size[0] = begin
        if open_micros < least_open or (chosen >= 0 and open_micros == least_open and done < soonest):
            chosen, least_open, soonest = place, open_micros, done
    if chosen < 0:
        return OK, desk.quantity[line]
    return _promise_from(desk, line, chosen, chosen + 1, only_day, False)


@compiled
def promise_lines(
    desk: Desk, status: NDArray[np.uint8], shortage: NDArray[np.int64], part_end: NDArray[np.int64]
) -> int:
    """Promise the lines with status OK, in order: OK, FULL or TOO_COMPLEX."""
    for line in range(len(status)):
        if status[line] == OK:
            code, open_micros = _promise_line(desk, line, ANY_DAY)
            if code != OK:
                return code
            if desk.effort[0] > desk.rules.effort_max:
                return TOO_COMPLEX
            shortage[line] = open_micros
        part_end[line] = desk.parts.size[0]
    return OK


@compiled
def promise_complete(
    desk: Desk, days: NDArray[np.int64], shortage: NDArray[np.int64], part_end: NDArray[np.int64]
) -> int:
    """Every line in full on the first of the `days` on which all can be picked, or nothing at all (A7).

    OK, FULL or TOO_COMPLEX. A line that failed is asked first on the next day, by itself: without substitutes
    more supply never makes a line less complete, so if it fails then, so does the day.
    """
    lines = len(desk.quantity)
    failed = 0
    for day in days:
        take_nothing(desk.taken)
        desk.parts.size[0] = 0
        if desk.offers.start[failed + 1] - desk.offers.start[failed] == 1:
            code, open_micros = _promise_line(desk, failed, day)
            if code != OK:
                return code
            if open_micros > 0:
                continue
            take_nothing(desk.taken)
            desk.parts.size[0] = 0
        complete = True
        for line in range(lines):
            code, open_micros = _promise_line(desk, line, day)
            if code != OK:
                return code
            if desk.effort[0] > desk.rules.effort_max:
                return TOO_COMPLEX
            part_end[line] = desk.parts.size[0]
            if open_micros > 0:
                failed, complete = line, False
                break
        if complete:
            shortage[:] = 0
            return OK
    take_nothing(desk.taken)
    desk.parts.size[0] = 0
    part_end[:] = 0
    return OK
