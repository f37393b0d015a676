"""The compiled form of `promising` for the plain policy: earliest pick day, then the order of branches (A7)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atp.jit import compiled, inlined
from atp.kernel import FAR, MAX, OK, RECHECK, UNKNOWN_STOCK, Supply, walk
from atp.model import MICROS
from atp.pair_access import find_pair, is_unchanged, settled
from atp.positions import Tables


class Picks(NamedTuple):
    """When each branch can pick, as day offsets."""

    next_pick: NDArray[np.int32]
    """(b, horizon): the first allowed pick day at or after a day; FAR: none."""
    ship: NDArray[np.int32]
    arrival: NDArray[np.int32]


@inlined
def _line_terms(
    quantity: int, numerator: int, denominator: int, is_unit_asked: bool, multiple: int
) -> tuple[bool, int, int]:
    """(fits, smallest shippable quantity in base micros, how many of it are asked for) of a line (A6)."""
    smallest = 1
    if is_unit_asked:
        if numerator > MAX // MICROS or (numerator * MICROS) % denominator != 0:
            return False, 0, 0
        smallest = numerator * MICROS // denominator
    if multiple > 0:
        left, right = smallest, multiple
        while right != 0:
            left, right = right, left % right
        if smallest // left > MAX // multiple:
            return False, 0, 0
        smallest = smallest // left * multiple
    if quantity > MAX // numerator or denominator > MAX // smallest:
        return False, 0, 0
    wanted = quantity * numerator // (denominator * smallest)
    if wanted > MAX // smallest or wanted * smallest > MAX // denominator:
        return False, 0, 0
    return True, smallest, wanted


@inlined
def _next_slot(
    supply: Supply,
    picks: Picks,
    place: int,
    at: NDArray[np.int64],
    end: int,
    days: NDArray[np.int32],
    atp: NDArray[np.int64],
    smallest: int,
    used: int,
) -> tuple[int, int]:
    """(pick day offset, how many can be picked) of a branch's next pick day with anything left; FAR: none."""
    while at[place] < end:
        step = at[place]
        pick = picks.next_pick[place, days[step]]
        if pick >= supply.horizon_days:
            at[place] = end
            break
        while step + 1 < end and days[step + 1] <= pick:
            step += 1
        at[place] = step
        count = max(0, atp[step]) // smallest - used
        if count > 0:
            return int(pick), count
        at[place] += 1
    return FAR, 0


@inlined
def _lay_out(
    tables: Tables,
    supply: Supply,
    item: int,
    days: NDArray[np.int32],
    atp: NDArray[np.int64],
    at: NDArray[np.int64],
    end: NDArray[np.int64],
    used: NDArray[np.int64],
) -> tuple[int, int]:
    """Write the item's ATP steps, those of branch `place` at [at, end); (code, branches whose stock is known)."""
    known, base = 0, 0
    for place in range(len(supply.branch)):
        pair = find_pair(tables, item, supply.branch[place])
        while True:
            pair, version = settled(tables, pair)
            code, _, _, _, steps = walk(tables, supply, place, pair, days, atp, base, True)
            if is_unchanged(tables, pair, version):
                break
        if code == RECHECK:
            return RECHECK, 0
        known += code == OK
        at[place], end[place], used[place] = base, base + steps, 0
        for k in range(base + steps - 2, base - 1, -1):
            atp[k] = min(atp[k], atp[k + 1])
        base += steps
    return OK, known


@inlined
def _soonest(
    supply: Supply,
    picks: Picks,
    at: NDArray[np.int64],
    end: NDArray[np.int64],
    days: NDArray[np.int32],
    atp: NDArray[np.int64],
    smallest: int,
    used: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """(branch or -1, its local day, pick day offset, how many) of the earliest pick day; ties to the first branch."""
    best, best_day, best_pick, best_count = -1, np.int64(MAX), 0, 0
    for place in range(len(supply.branch)):
        pick, count = _next_slot(supply, picks, place, at, end[place], days, atp, smallest, used[place])
        if pick < FAR and supply.today[place] + pick < best_day:
            best, best_day, best_pick, best_count = place, supply.today[place] + pick, pick, count
    return best, int(best_day), best_pick, best_count


@compiled
def promise_lines(
    tables: Tables,
    supply: Supply,
    picks: Picks,
    items: NDArray[np.int32],
    quantity: NDArray[np.int64],
    numerator: NDArray[np.int64],
    denominator: NDArray[np.int64],
    is_unit_asked: NDArray[np.bool_],
    multiple: NDArray[np.int64],
    first_line: int,
    scratch_steps: int,
    status: NDArray[np.uint8],
    shortage: NDArray[np.int64],
    part_end: NDArray[np.int64],
    part_place: NDArray[np.int32],
    part_quantity: NDArray[np.int64],
    part_days: NDArray[np.int32],
) -> int:
    """Promise the lines with status OK so far, from `first_line` on: earliest pick day, then order of branches (A7).

    No two lines may draw on one pair, none may be a kit. Returns the line at which the room for parts was too small
    (its parts are not counted: call again from there with more room), or the number of lines.
    """
    branches = len(supply.branch)
    days = np.empty(scratch_steps, np.int32)
    atp = np.empty(scratch_steps, np.int64)
    at = np.empty(branches, np.int64)
    end = np.empty(branches, np.int64)
    used = np.empty(branches, np.int64)
    part = part_end[first_line - 1] if first_line > 0 else np.int64(0)
    for i in range(first_line, len(items)):
        begin = part_end[i] = part
        if status[i] != OK:
            continue
        fits, smallest, left = _line_terms(
            quantity[i], numerator[i], denominator[i], is_unit_asked[i], multiple[i]
        )
        if not fits:
            status[i] = RECHECK
            continue
        code, known = _lay_out(tables, supply, items[i], days, atp, at, end, used)
        if code == RECHECK:
            status[i] = RECHECK
            continue
        if known == 0:
            status[i] = UNKNOWN_STOCK
            continue
        while left > 0:
            best, best_day, best_pick, best_count = _soonest(
                supply, picks, at, end, days, atp, smallest, used
            )
            if best < 0:
                break
            if part == len(part_place):
                return i
            count = min(left, best_count)
            part_place[part] = best
            part_quantity[part] = count * smallest * denominator[i] // numerator[i]
            part_days[part, 0] = best_day
            part_days[part, 1] = supply.today[best] + picks.ship[best, best_pick]
            part_days[part, 2] = supply.today[best] + picks.arrival[best, best_pick]
            part += 1
            used[best] += count
            left -= count
            at[best] += 1
        for k in range(begin, part):
            shortage[i] -= part_quantity[k]
        part_end[i] = part
    return len(items)
