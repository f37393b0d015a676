"""The compiled form of `reference` and `promising` for thousands of lines a call.

Whatever cannot be said in int64, and what is rare, is marked RECHECK: the engine asks the reference instead. The
kernels check no array bounds; `Positions` has checked the offsets, the engine the ordinals. Scratch space is made
inside each call, none is shared between threads.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atp.jit import compiled, inlined
from atp.model import MICROS, NO_INSTANT
from atp.positions import ALLOCATED, ERP_AS_OF, GAPS, ON_HAND, SAFETY, UNAVAILABLE, UNKNOWN_STOCK_ROW, Tables

OK: Final = 0
UNKNOWN_BRANCH: Final = 5
UNKNOWN_STOCK: Final = 6
RECHECK: Final = 255
"""Not a status: the reference must answer this one."""
MAX: Final = 2**63 - 1
FAR: Final = 2**30
STALE: Final = 1
UNKNOWN: Final = 2


class Supply(NamedTuple):
    """A question's policy and its branches' days as the kernels want them. Day offsets count from the as_of day."""

    as_of_us: int
    horizon_days: int
    look_days: int
    """Balances of the days [0, look_days) decide ATP on the as_of day."""
    past_due_offset_days: int
    past_due_max_days: int
    min_confidence_micros: int
    branch: NDArray[np.int32]
    """(b,) ordinals, -1 unknown."""
    today: NDArray[np.int64]
    """(b,) local as_of day since 1970-01-01."""
    usable: NDArray[np.int32]
    """(b, horizon): the day offset from which a receipt of that day offset can be picked; FAR or more: never."""


@inlined
def find_pair(tables: Tables, item: int, branch: int) -> int:
    """Binary search among the item's branches; -1: no row of any table speaks of the pair."""
    low, high = tables.pair_start[item], tables.pair_start[item + 1] - 1
    while low <= high:
        middle = (low + high) // 2
        value = tables.pair_branch[middle]
        if value == branch:
            return int(middle)
        if value < branch:
            low = middle + 1
        else:
            high = middle - 1
    return -1


@inlined
def _overflows(one: int, other: int) -> bool:
    """Whether one + other leaves int64, asked before adding: a signed overflow is undefined to the compiler."""
    if other >= 0:
        return one > MAX - other
    return one < -MAX - 1 - other


@inlined
def _opening(tables: Tables, pair: int, is_row: bool) -> tuple[bool, int]:
    """(fits, on-hand less what is unavailable, allocated and kept as safety stock) (A1)."""
    balance = tables.pair_record[pair, ON_HAND] if is_row else 0
    for column in (UNAVAILABLE, ALLOCATED, SAFETY):
        taken = tables.pair_record[pair, column] if is_row or column != UNAVAILABLE else 0
        if _overflows(balance, -taken):
            return False, 0
        balance -= taken
    return True, balance


@inlined
def _late_receipts(tables: Tables, supply: Supply, pair: int, today: int) -> tuple[bool, int, int, int]:
    """(fits, quantity of receipts before today that still count, how many no longer do, the first other one) (A3)."""
    receipt, receipts = tables.receipt_start[pair], tables.receipt_start[pair + 1]
    late, dropped = 0, 0
    while receipt < receipts and tables.receipt_day[receipt] < today:
        if tables.receipt_confidence[receipt] >= supply.min_confidence_micros:
            if today - tables.receipt_day[receipt] > supply.past_due_max_days:
                dropped += 1
            else:
                if _overflows(late, tables.receipt_quantity[receipt]):
                    return False, 0, 0, 0
                late += tables.receipt_quantity[receipt]
        receipt += 1
    return True, late, dropped, receipt


@inlined
def walk(
    tables: Tables,
    supply: Supply,
    place: int,
    pair: int,
    days: NDArray[np.int32],
    balances: NDArray[np.int64],
    base: int,
    keep: bool,
) -> tuple[int, int, int, int, int]:
    """Walk the balance of a pair at branch number `place` over its receipts and demands (A1 to A5).

    Returns (code, lowest balance of the first look_days, highest of all, dropped receipts, steps). With `keep` the
    days on which the balance changes and the balances from then on are written from `base` on: at most receipts +
    demands + 2 of them.
    """
    branch = supply.branch[place]
    is_row = pair >= 0 and tables.pair_record[pair, ERP_AS_OF] != NO_INSTANT
    is_lost = pair >= 0 and tables.pair_record[pair, UNKNOWN_STOCK_ROW] == 1
    if not is_row and (is_lost or not tables.feed_complete[branch, 0]):
        return UNKNOWN_STOCK, 0, 0, 0, 0
    if pair < 0:
        if keep:
            days[base], balances[base] = 0, 0
        return OK, 0, 0, 0, 1
    today = supply.today[place]
    fits, balance = _opening(tables, pair, is_row)
    on_time, late, dropped, receipt = _late_receipts(tables, supply, pair, today)
    if not (fits and on_time):
        return RECHECK, 0, 0, 0, 0
    receipts = tables.receipt_start[pair + 1]
    demand, demands = tables.demand_start[pair], tables.demand_start[pair + 1]
    counts = late > 0 and supply.past_due_offset_days < supply.horizon_days
    late_day = supply.usable[place, supply.past_due_offset_days] if counts else FAR
    day, lowest, highest, steps = 0, MAX, -MAX, 0
    while day < supply.horizon_days:
        if late_day == day:
            if _overflows(balance, late):
                return RECHECK, 0, 0, 0, 0
            balance += late
            late_day = FAR
        following = late_day
        while receipt < receipts:
            usable = tables.receipt_day[receipt] - today
            usable = supply.usable[place, usable] if usable < supply.horizon_days else FAR
            if usable > day:
                following = min(following, usable)
                break
            if tables.receipt_confidence[receipt] >= supply.min_confidence_micros:
                if _overflows(balance, tables.receipt_quantity[receipt]):
                    return RECHECK, 0, 0, 0, 0
                balance += tables.receipt_quantity[receipt]
            receipt += 1
        while demand < demands:
            due = tables.demand_day[demand] - today
            if due > day:
                following = min(following, due)
                break
            if _overflows(balance, -tables.demand_net[demand]):
                return RECHECK, 0, 0, 0, 0
            balance -= tables.demand_net[demand]
            demand += 1
        if day < supply.look_days:
            lowest = min(lowest, balance)
        highest = max(highest, balance)
        if keep:
            days[base + steps], balances[base + steps] = day, balance
        steps += 1
        day = following
    return OK, lowest, highest, dropped, steps


@inlined
def _ages(
    tables: Tables,
    supply: Supply,
    place: int,
    pair: int,
    is_first: bool,
    at: int,
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
) -> None:
    """Freshness and instant by source (A11), the worse and older of what `fresh` and `as_of` hold already."""
    branch = supply.branch[place]
    for source in range(3):
        said = np.int64(NO_INSTANT)
        if pair >= 0 and source < 2:
            said = tables.pair_record[pair, ERP_AS_OF + source]
        feed = tables.feed_as_of[branch, source]
        if tables.feed_complete[branch, source] or (said == NO_INSTANT and source != 0):
            said = max(said, feed)
        state = 0
        has_gap = pair >= 0 and (tables.pair_record[pair, GAPS] >> source) & 1
        if said == NO_INSTANT:
            state = UNKNOWN
        elif has_gap or supply.as_of_us - said >= tables.feed_stale_us[branch, source]:
            state = STALE
        if is_first:
            fresh[at, source] = state
            as_of[at, source] = said
        else:
            fresh[at, source] = max(fresh[at, source], state)
            as_of[at, source] = min(as_of[at, source], said)


@inlined
def _whole(micros: int, need: int, per: int, numerator: int, denominator: int) -> tuple[int, int]:
    """(code, micros of whole asked units): floor of micros over need / per over numerator / denominator (A6)."""
    if per == 0 or per > MAX // denominator or need > MAX // MICROS // numerator:
        return RECHECK, 0
    limit = MAX // (per * denominator)
    if micros > limit or micros < -limit:
        return RECHECK, 0
    count = (micros * per * denominator) // (need * numerator * MICROS)
    if count > MAX // MICROS or count < -(MAX // MICROS):
        return RECHECK, 0
    return OK, count * MICROS


@inlined
def _check_line(
    tables: Tables,
    supply: Supply,
    place: int,
    item: int,
    numerator: int,
    denominator: int,
    is_unit_asked: bool,
    at: int,
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
    no_days: NDArray[np.int32],
    no_balances: NDArray[np.int64],
) -> tuple[int, int, int]:
    """(code, ATP in the asked unit, dropped receipts) of one item or kit at one branch (A2, A6)."""
    first, last = tables.kit_start[item], tables.kit_start[item + 1]
    is_kit = last > first
    worst, least, dropped = OK, MAX, 0
    for k in range(first, last if is_kit else first + 1):
        pair = find_pair(tables, tables.kit_component[k] if is_kit else item, supply.branch[place])
        _ages(tables, supply, place, pair, k == first, at, fresh, as_of)
        code, atp, highest, more, _ = walk(tables, supply, place, pair, no_days, no_balances, 0, False)
        dropped += more
        if code == OK and (is_kit or is_unit_asked):
            need = tables.kit_numerator[k] if is_kit else 1
            per = tables.kit_denominator[k] if is_kit else 1
            code, _ = _whole(highest, need, per, numerator, denominator)
            if code == OK and supply.look_days == supply.horizon_days:
                code, atp = _whole(atp, need, per, numerator, denominator)
            else:
                code = RECHECK
        least = min(least, atp)
        # what is unknown outranks what must be looked at again
        worst = code if worst == OK or code == UNKNOWN_STOCK else worst
    if worst != OK:
        return worst, 0, 0
    return OK, least, dropped


@compiled
def check_lines(
    tables: Tables,
    supply: Supply,
    items: NDArray[np.int32],
    numerator: NDArray[np.int64],
    denominator: NDArray[np.int64],
    is_unit_asked: NDArray[np.bool_],
    status: NDArray[np.uint8],
    atp: NDArray[np.int64],
    dropped: NDArray[np.int32],
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
) -> None:
    """Fill the results of every line with status OK so far, at every branch of `supply`."""
    branches = len(supply.branch)
    no_days = np.empty(0, np.int32)
    no_balances = np.empty(0, np.int64)
    for i in range(len(items)):
        for place in range(branches):
            at = i * branches + place
            if status[at] != OK:
                continue
            if supply.branch[place] < 0:
                status[at] = UNKNOWN_BRANCH
                continue
            code, micros, lost = _check_line(
                tables,
                supply,
                place,
                items[i],
                numerator[i],
                denominator[i],
                is_unit_asked[i],
                at,
                fresh,
                as_of,
                no_days,
                no_balances,
            )
            status[at] = code
            atp[at] = micros
            dropped[at] = lost


@compiled
def step_room(tables: Tables, branch: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many steps each line can have at most, over all branches."""
    room = np.zeros(len(items), np.int64)
    for i in range(len(items)):
        for place in range(len(branch)):
            room[i] += 2
            if items[i] >= 0 and branch[place] >= 0:
                pair = find_pair(tables, items[i], branch[place])
                if pair >= 0:
                    room[i] += tables.receipt_start[pair + 1] - tables.receipt_start[pair]
                    room[i] += tables.demand_start[pair + 1] - tables.demand_start[pair]
    return room


@compiled
def project_lines(
    tables: Tables,
    supply: Supply,
    items: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    start: NDArray[np.int64],
    days: NDArray[np.int32],
    atp: NDArray[np.int64],
    balances: NDArray[np.int64],
) -> int:
    """Write the step functions of the wanted results one after another; returns how many steps were written."""
    branches = len(supply.branch)
    end = 0
    for i in range(len(items)):
        for place in range(branches):
            at = i * branches + place
            start[at] = end
            if not wanted[at]:
                continue
            pair = find_pair(tables, items[i], supply.branch[place])
            _, _, _, _, steps = walk(tables, supply, place, pair, days, balances, end, True)
            lowest = MAX
            for k in range(end + steps - 1, end - 1, -1):
                lowest = min(lowest, balances[k])
                atp[k] = lowest
            kept = end
            for k in range(end, end + steps):
                if k > end and atp[k] == atp[kept - 1] and balances[k] == balances[kept - 1]:
                    continue
                days[kept] = days[k] + supply.today[place]
                atp[kept] = atp[k]
                balances[kept] = balances[k]
                kept += 1
            end = kept
    start[len(items) * branches] = end
    return end
