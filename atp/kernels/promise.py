"""Compiled: lines are promised one by one, consuming what the request's pairs hold (A7); the reference is `promising`.

For each line, in the order given, and for each of its offers (the asked SKU, then its substitutes): the branches' step
functions, less what earlier lines consumed, become slots (a pick day, and how much can be shipped in all by then);
`atp.kernels.sourcing` chooses shipments among them; what these take of the components is consumed. `no_split` tries the
branches one by one and undoes each but the best; `ship_complete` tries one pick day after the other for all lines, and
begins each day with the line that failed on the one before. It stops at the first day on which every line is complete.
The effort is counted, and a request that takes more than `effort_max` steps is refused.

Everything is counted in shippable quantities: the least of an item that is whole asked units, whole kits and whole
order multiples. What of that leaves int64 was marked RECHECK by `offers` before; here nothing can any more.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.balance import MAX, OK, Supply
from pricegrid.atp.kernels.ledger import (
    Consumed,
    Ledger,
    consume,
    count_on,
    merge_least,
    reset_consumed,
    write_counts,
)
from pricegrid.atp.kernels.offers import Offers
from pricegrid.atp.kernels.sourcing import TOO_COMPLEX, Day, Plan, Slots, plan_freely, plan_with_least
from pricegrid.columnar.jit import compiled, inlined, part

FULL: Final = 2
"""There is no room for more parts or days: begin again with more."""
ANY_DAY: Final = -1


class Picks(NamedTuple):
    """When each branch can pick, as day offsets."""

    next_pick: NDArray[np.int32]
    """(b, horizon): the first allowed pick day at or after a day; FAR: none."""
    ship: NDArray[np.int32]
    arrival: NDArray[np.int32]


class Rules(NamedTuple):
    """The part of a promise's policy that does not depend on days."""

    no_split: bool
    ship_complete: bool
    minimum: int
    """The least shipment in micros of the asked unit."""
    effort_max: int
    """How many steps the whole request may take."""


class Parts(NamedTuple):
    """Shipments in line order; `size` (1,) is their number."""

    origin: NDArray[np.int32]
    offer: NDArray[np.int32]
    shipped: NDArray[np.int64]
    """In shippable quantities of the offer."""
    pick: NDArray[np.int32]
    """Day offset at the branch."""
    size: NDArray[np.int64]


class Workspace(NamedTuple):
    """All that the promise of a line needs besides the line: the request, what is written, and scratch."""

    supply: Supply
    picks: Picks
    rules: Rules
    ledger: Ledger
    consumed: Consumed
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
    """(branches,) shipped of an offer, while what it consumes is worked out."""
    effort: NDArray[np.int64]


@inlined
def _count_steps(workspace: Workspace, offer: int, origin: int) -> int:
    """Write how many of an offer a branch can ship from each day on, from 0 on; returns how many steps."""
    offers, branches = workspace.offers, len(workspace.supply.branch)
    end = 0
    first = offers.part_start[offer]
    for k in range(first, offers.part_start[offer + 1]):
        pair = offers.component[k] * branches + origin
        if workspace.ledger.code[pair] != OK:
            return 0
        added = write_counts(
            workspace.ledger,
            workspace.consumed,
            pair,
            offers.need[k],
            offers.per[k],
            workspace.step_day,
            workspace.step_count,
            end,
        )
        workspace.effort[0] += added - end
        end = merge_least(workspace.step_day, workspace.step_count, 0, end, added) if k > first else added
    return int(end)


@inlined
def _count_on(workspace: Workspace, offer: int, origin: int, pick: int) -> int:
    """How many of an offer a branch can ship on a day, everything consumed so far being of that day."""
    offers, branches = workspace.offers, len(workspace.supply.branch)
    least = MAX
    for k in range(offers.part_start[offer], offers.part_start[offer + 1]):
        pair = offers.component[k] * branches + origin
        if workspace.ledger.code[pair] != OK:
            return 0
        least = min(
            least, count_on(workspace.ledger, workspace.consumed, pair, offers.need[k], offers.per[k], pick)
        )
        workspace.effort[0] += 1
    return int(least)


@inlined
def _fill_slots(workspace: Workspace, offer: int, first: int, last: int, only_day: int, wanted: int) -> None:
    """The slots of an offer at the branches [first, last): all, or those of one local day; at most `wanted` each."""
    slots, horizon = workspace.slots, workspace.supply.horizon_days
    end = 0
    for origin in range(first, last):
        slots.start[origin] = end
        if only_day != ANY_DAY:
            pick = only_day - workspace.supply.today[origin]
            if 0 <= pick < horizon and workspace.picks.next_pick[origin, pick] == pick:
                count = min(wanted, _count_on(workspace, offer, origin, pick))
                if count > 0:
                    slots.pick[end], slots.capacity[end] = pick, count
                    end += 1
            slots.end[origin] = end
            continue
        steps, k, most = _count_steps(workspace, offer, origin), 0, 0
        while k < steps and most < wanted:
            pick = workspace.picks.next_pick[origin, workspace.step_day[k]]
            if pick >= horizon:
                break
            while k + 1 < steps and workspace.step_day[k + 1] <= pick:
                k += 1
            count = min(wanted, workspace.step_count[k])
            # a later day that adds nothing is never needed
            if count > most:
                slots.pick[end], slots.capacity[end] = pick, count
                most = count
                end += 1
            k += 1
        slots.end[origin] = end


@inlined
def _least(workspace: Workspace, line: int, unit: int, wanted: int) -> int:
    """The minimum shipment in shippable quantities: capped at the request, of which only `wanted` can be shipped."""
    minimum = workspace.rules.minimum
    if minimum > workspace.quantity[line]:
        return max(1, wanted)
    return max(1, -(-minimum // unit))


@inlined
def _consume_parts(workspace: Workspace, first: int, last: int, sign: int) -> bool:
    """Consume what the parts [first, last) need of their components, each rounded up in all, or return it (sign -1)."""
    parts, offers, branches = workspace.parts, workspace.offers, len(workspace.supply.branch)
    offer = -1
    for at in range(first, last):
        if parts.offer[at] != offer:
            offer = parts.offer[at]
            workspace.used[:] = 0
        origin = parts.origin[at]
        before, after = workspace.used[origin], workspace.used[origin] + parts.shipped[at]
        workspace.used[origin] = after
        for k in range(offers.part_start[offer], offers.part_start[offer + 1]):
            need, per = offers.need[k], offers.per[k]
            micros = -(-after * need // per) + (-before * need // per)
            pair = offers.component[k] * branches + origin
            if not consume(workspace.consumed, pair, parts.pick[at], sign * micros):
                return False
    return True


@part
def _promise_from(
    workspace: Workspace, line: int, first: int, last: int, only_day: int, trial: bool
) -> tuple[int, int]:
    """(code, what stays open in micros of the asked unit) of a line served by the branches [first, last).

    The asked SKU as far as it goes, then its substitutes. The parts are written and what they need is consumed; a trial
    consumes only what its own later offers must not use again.
    """
    offers, parts, plan = workspace.offers, workspace.parts, workspace.plan
    open_micros = workspace.quantity[line]
    for offer in range(offers.start[line], offers.start[line + 1]):
        unit = offers.unit[offer]
        wanted = open_micros // unit
        if wanted == 0:
            continue
        _fill_slots(workspace, offer, first, last, only_day, wanted)
        least = _least(workspace, line, unit, wanted)
        if least <= 1:
            plan_freely(workspace.slots, workspace.supply.today, first, last, wanted, plan)
        else:
            code = plan_with_least(
                workspace.slots,
                workspace.supply.today,
                first,
                last,
                wanted,
                least,
                plan,
                workspace.day,
                workspace.effort,
                workspace.rules.effort_max,
            )
            if code == TOO_COMPLEX:
                return TOO_COMPLEX, 0
        begin, shipments = parts.size[0], plan.size[0]
        if begin + shipments > len(parts.origin):
            return FULL, 0
        for k in range(shipments):
            parts.origin[begin + k], parts.offer[begin + k] = plan.origin[k], offer
            parts.pick[begin + k], parts.shipped[begin + k] = plan.pick[k], plan.shipped[k]
            open_micros -= plan.shipped[k] * unit
        parts.size[0] = begin + shipments
        if trial and offer + 1 == offers.start[line + 1]:
            continue
        if not _consume_parts(workspace, begin, begin + shipments, 1):
            return FULL, 0
    return OK, open_micros


@part
def _promise_line(workspace: Workspace, line: int, only_day: int) -> tuple[int, int]:
    """One line from all branches, or with `no_split` from the one that gives most, then soonest, then first."""
    branches, parts = len(workspace.supply.branch), workspace.parts
    if not workspace.rules.no_split:
        return _promise_from(workspace, line, 0, branches, only_day, False)
    begin, chosen, least_open, soonest = parts.size[0], -1, workspace.quantity[line], 0
    for origin in range(branches):
        code, open_micros = _promise_from(workspace, line, origin, origin + 1, only_day, True)
        if code != OK:
            return code, 0
        end, done = parts.size[0], 0
        for k in range(begin, end):
            done = max(done, workspace.supply.today[origin] + parts.pick[k])
        booked = begin
        while booked < end and parts.offer[booked] + 1 < workspace.offers.start[line + 1]:
            booked += 1
        _consume_parts(workspace, begin, booked, -1)
        parts.size[0] = begin
        if open_micros < least_open or (chosen >= 0 and open_micros == least_open and done < soonest):
            chosen, least_open, soonest = origin, open_micros, done
    if chosen < 0:
        return OK, workspace.quantity[line]
    return _promise_from(workspace, line, chosen, chosen + 1, only_day, False)


@part
def _promise_lines(
    workspace: Workspace, status: NDArray[np.uint8], shortage: NDArray[np.int64], part_end: NDArray[np.int64]
) -> int:
    """Promise the lines with status OK, in order: OK, FULL or TOO_COMPLEX."""
    for line in range(len(status)):
        if status[line] == OK:
            code, open_micros = _promise_line(workspace, line, ANY_DAY)
            if code != OK:
                return code
            if workspace.effort[0] > workspace.rules.effort_max:
                return TOO_COMPLEX
            shortage[line] = open_micros
        part_end[line] = workspace.parts.size[0]
    return OK


@part
def _promise_complete(
    workspace: Workspace, days: NDArray[np.int64], shortage: NDArray[np.int64], part_end: NDArray[np.int64]
) -> int:
    """Every line in full on the first of the `days` on which all can be picked, or nothing at all (A7).

    OK, FULL or TOO_COMPLEX. A line that failed is asked first on the next day, by itself: without substitutes
    more supply never makes a line less complete, so if it fails then, so does the day.
    """
    lines = len(workspace.quantity)
    failed = 0
    for day in days:
        reset_consumed(workspace.consumed)
        workspace.parts.size[0] = 0
        if workspace.offers.start[failed + 1] - workspace.offers.start[failed] == 1:
            code, open_micros = _promise_line(workspace, failed, day)
            if code != OK:
                return code
            if open_micros > 0:
                continue
            reset_consumed(workspace.consumed)
            workspace.parts.size[0] = 0
        complete = True
        for line in range(lines):
            code, open_micros = _promise_line(workspace, line, day)
            if code != OK:
                return code
            if workspace.effort[0] > workspace.rules.effort_max:
                return TOO_COMPLEX
            part_end[line] = workspace.parts.size[0]
            if open_micros > 0:
                failed, complete = line, False
                break
        if complete:
            shortage[:] = 0
            return OK
    reset_consumed(workspace.consumed)
    workspace.parts.size[0] = 0
    part_end[:] = 0
    return OK


@compiled
def promise_order(
    workspace: Workspace,
    days: NDArray[np.int64],
    status: NDArray[np.uint8],
    shortage: NDArray[np.int64],
    part_end: NDArray[np.int64],
) -> int:
    """Promise an order by its rules, `days` being those on which it could be complete: OK, FULL or TOO_COMPLEX.

    One kernel for both kinds of order: what they share would be compiled for each.
    """
    if workspace.rules.ship_complete:
        return _promise_complete(workspace, days, shortage, part_end)
    return _promise_lines(workspace, status, shortage, part_end)
