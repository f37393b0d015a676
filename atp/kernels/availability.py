"""The compiled form of `reference` and `promising` for thousands of lines a call.

Whatever cannot be said in int64, and what is rare, is marked RECHECK: the engine asks the reference instead. The
kernels check no array bounds; `Positions` has checked the offsets, the engine the ordinals. Scratch space is made
inside each call, none is shared between threads.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import (
    ALLOCATED,
    ERP_AS_OF,
    FLAGS,
    GAPS,
    ON_HAND,
    SAFETY,
    UNAVAILABLE,
    UNKNOWN_STOCK_ROW,
    Tables,
)
from pricegrid.atp.kernels.jit import compiled, inlined
from pricegrid.atp.kernels.pair_access import (
    Lists,
    demand_of,
    figure,
    find_pair,
    held_of,
    is_unchanged,
    lists_of,
    receipt_of,
    settled,
)
from pricegrid.atp.live.layout import LINK_LOST, LIVE, TRANSIT_AS_OF
from pricegrid.atp.model import MICROS, NO_INSTANT

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
    exclude_reservation: int
    """The number of a reservation that does not count; 0: none."""


@inlined
def _overflows(one: int, other: int) -> bool:
    """Whether one + other leaves int64, asked before adding: a signed overflow is undefined to the compiler."""
    if other >= 0:
        return one > MAX - other
    return one < -MAX - 1 - other


@inlined
def _opening(tables: Tables, pair: int, is_row: bool) -> tuple[bool, int]:
    """(fits, on-hand less what is unavailable, allocated and kept as safety stock) (A1)."""
    balance = figure(tables, pair, ON_HAND) if is_row else 0
    for column in (UNAVAILABLE, ALLOCATED, SAFETY):
        taken = figure(tables, pair, column) if is_row or column != UNAVAILABLE else 0
        if _overflows(balance, -taken):
            return False, 0
        balance -= taken
    return True, balance


@inlined
def _late_receipts(tables: Tables, supply: Supply, lists: Lists, today: int) -> tuple[bool, int, int, int]:
    """(fits, quantity of receipts before today that still count, how many no longer do, the first other one) (A3)."""
    receipt = lists.receipt
    late, dropped = 0, 0
    while receipt < lists.receipts:
        day, quantity, confidence = receipt_of(tables, lists, receipt)
        if day >= today:
            break
        if confidence >= supply.min_confidence_micros:
            if today - day > supply.past_due_max_days:
                dropped += 1
            else:
                if _overflows(late, quantity):
                    return False, 0, 0, 0
                late += quantity
        receipt += 1
    return True, late, dropped, receipt


@inlined
def _excludes_confirmed(tables: Tables, supply: Supply, lists: Lists) -> bool:
    """Whether a confirmed reservation does not count: demands are net of it, so the reference must look."""
    if supply.exclude_reservation != 0:
        for held in range(lists.held, lists.helds):
            _, expires_us, _, number = held_of(tables, lists, held)
            if number == supply.exclude_reservation and expires_us == MAX:
                return True
    return False


@inlined
def _take_held(
    tables: Tables, supply: Supply, lists: Lists, held: int, today: int, day: int, balance: int
) -> tuple[bool, int, int, int]:
    """(fits, the next reservation, its day offset, balance) after those that hold from `day` on or before (A8)."""
    while held < lists.helds:
        first_day, expires_us, quantity, number = held_of(tables, lists, held)
        if first_day - today > day:
            return True, held, first_day - today, balance
        if supply.as_of_us < expires_us and supply.exclude_reservation != number:
            if _overflows(balance, -quantity):
                return False, held, FAR, balance
            balance -= quantity
        held += 1
    return True, held, FAR, balance


@inlined
def _take_receipts(
    tables: Tables, supply: Supply, place: int, lists: Lists, receipt: int, today: int, day: int, balance: int
) -> tuple[bool, int, int, int]:
    """(fits, the next receipt, the day offset it can be picked on, balance) after those of `day` or before."""
    while receipt < lists.receipts:
        expected, quantity, confidence = receipt_of(tables, lists, receipt)
        usable = expected - today
        usable = supply.usable[place, usable] if usable < supply.horizon_days else FAR
        if usable > day:
            return True, receipt, usable, balance
        if confidence >= supply.min_confidence_micros:
            if _overflows(balance, quantity):
                return False, receipt, FAR, balance
            balance += quantity
        receipt += 1
    return True, receipt, FAR, balance


@inlined
def _take_demands(
    tables: Tables, lists: Lists, demand: int, today: int, day: int, balance: int
) -> tuple[bool, int, int, int]:
    """(fits, the next demand, its day offset, balance) after those due on `day` or before."""
    while demand < lists.demands:
        due, net = demand_of(tables, lists, demand)
        if due - today > day:
            return True, demand, due - today, balance
        if _overflows(balance, -net):
            return False, demand, FAR, balance
        balance -= net
        demand += 1
    return True, demand, FAR, balance


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
    days on which the balance changes and the balances from then on are written from `base` on, at most as many as
    `step_room` says; RECHECK when the room ends before, as it can when a live pair changes.
    """
    branch = supply.branch[place]
    is_row = pair >= 0 and figure(tables, pair, ERP_AS_OF) != NO_INSTANT
    is_lost = pair >= 0 and figure(tables, pair, FLAGS) & UNKNOWN_STOCK_ROW != 0
    if not is_row and (is_lost or not tables.feed_complete[branch, 0]):
        return UNKNOWN_STOCK, 0, 0, 0, 0
    if pair < 0:
        if keep:
            days[base], balances[base] = 0, 0
        return OK, 0, 0, 0, 1
    today = supply.today[place]
    fits, balance = _opening(tables, pair, is_row)
    in_place, lists = lists_of(tables, pair)
    if not (fits and in_place) or _excludes_confirmed(tables, supply, lists):
        return RECHECK, 0, 0, 0, 0
    on_time, late, dropped, receipt = _late_receipts(tables, supply, lists, today)
    if not on_time:
        return RECHECK, 0, 0, 0, 0
    counts = late > 0 and supply.past_due_offset_days < supply.horizon_days
    late_day = supply.usable[place, supply.past_due_offset_days] if counts else FAR
    demand, held = lists.demand, lists.held
    day, lowest, highest, steps = 0, MAX, -MAX, 0
    while day < supply.horizon_days:
        if late_day == day:
            if _overflows(balance, late):
                return RECHECK, 0, 0, 0, 0
            balance += late
            late_day = FAR
        fits, held, following, balance = _take_held(tables, supply, lists, held, today, day, balance)
        if not fits:
            return RECHECK, 0, 0, 0, 0
        following = min(following, late_day)
        fits, receipt, next_receipt, balance = _take_receipts(
            tables, supply, place, lists, receipt, today, day, balance
        )
        came, demand, next_demand, balance = _take_demands(tables, lists, demand, today, day, balance)
        if not (fits and came):
            return RECHECK, 0, 0, 0, 0
        following = min(following, next_receipt, next_demand)
        if day < supply.look_days:
            lowest = min(lowest, balance)
        highest = max(highest, balance)
        if keep:
            if base + steps >= len(days):
                return RECHECK, 0, 0, 0, 0
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
    is_lost = tables.live_head[LINK_LOST] != 0 or tables.live_doubt[0] != 0
    for source in range(3):
        said = np.int64(NO_INSTANT)
        if pair >= 0 and source < 2:
            said = np.int64(figure(tables, pair, ERP_AS_OF + source))
        elif pair >= LIVE:
            said = np.int64(figure(tables, pair, TRANSIT_AS_OF))
        feed = tables.feed_as_of[branch, source]
        if tables.feed_complete[branch, source] or (said == NO_INSTANT and source != 0):
            said = max(said, feed)
        state = 0
        has_gap = pair >= 0 and (figure(tables, pair, GAPS) >> source) & 1
        if said == NO_INSTANT:
            state = UNKNOWN
        elif is_lost or has_gap or supply.as_of_us - said >= tables.feed_stale_us[branch, source]:
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
def _read(
    tables: Tables,
    supply: Supply,
    place: int,
    pair: int,
    is_first: bool,
    at: int,
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
    no_days: NDArray[np.int32],
    no_balances: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """(code, lowest, highest, dropped receipts) of `walk` and the ages, of one state of the pair."""
    before_fresh = (fresh[at, 0], fresh[at, 1], fresh[at, 2])
    before_as_of = (as_of[at, 0], as_of[at, 1], as_of[at, 2])
    while True:
        pair, version = settled(tables, pair)
        _ages(tables, supply, place, pair, is_first, at, fresh, as_of)
        code, lowest, highest, dropped, _ = walk(tables, supply, place, pair, no_days, no_balances, 0, False)
        if is_unchanged(tables, pair, version):
            return code, lowest, highest, dropped
        for source in range(3):
            fresh[at, source], as_of[at, source] = before_fresh[source], before_as_of[source]


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
        code, atp, highest, more = _read(
            tables, supply, place, pair, k == first, at, fresh, as_of, no_days, no_balances
        )
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
                    in_place, lists = lists_of(tables, pair)
                    if in_place:
                        room[i] += lists.receipts - lists.receipt
                        room[i] += lists.demands - lists.demand
                        room[i] += lists.helds - lists.held
    return room


@compiled
def project_lines(
    tables: Tables,
    supply: Supply,
    items: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    status: NDArray[np.uint8],
    now_atp: NDArray[np.int64],
    dropped: NDArray[np.int32],
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
    start: NDArray[np.int64],
    days: NDArray[np.int32],
    atp: NDArray[np.int64],
    balances: NDArray[np.int64],
) -> int:
    """Write the step functions of the wanted results one after another; returns how many steps were written.

    What is told of these results is of the same state of their pairs: their figures and ages are written again.
    """
    branches = len(supply.branch)
    end = 0
    for i in range(len(items)):
        for place in range(branches):
            at = i * branches + place
            start[at] = end
            if not wanted[at]:
                continue
            pair = find_pair(tables, items[i], supply.branch[place])
            while True:
                pair, version = settled(tables, pair)
                _ages(tables, supply, place, pair, True, at, fresh, as_of)
                code, now, _, lost, steps = walk(tables, supply, place, pair, days, balances, end, True)
                if is_unchanged(tables, pair, version):
                    break
            status[at], now_atp[at], dropped[at] = code, now, lost
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


@compiled
def free_from(tables: Tables, supply: Supply, item: int, day: int) -> tuple[int, int]:
    """(code, lowest balance from day offset `day` to the horizon) of a base item at the only branch of `supply`."""
    pair = find_pair(tables, item, supply.branch[0])
    while True:
        pair, version = settled(tables, pair)
        room = 2
        if pair >= 0:
            in_place, lists = lists_of(tables, pair)
            if in_place:
                room += (
                    lists.receipts - lists.receipt + lists.demands - lists.demand + lists.helds - lists.held
                )
        days, balances = np.empty(room, np.int32), np.empty(room, np.int64)
        code, _, _, _, steps = walk(tables, supply, 0, pair, days, balances, 0, True)
        if is_unchanged(tables, pair, version):
            break
    lowest = MAX
    for k in range(steps - 1, -1, -1):
        lowest = min(lowest, balances[k])
        if days[k] <= day:
            break
    return code, lowest
