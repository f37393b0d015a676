"""Compiled: the balance of one pair (item, branch) over the days of a request, and how fresh it is (A1 to A5, A11).

`project_balance` starts with what the pair's record says is on hand, less what is unavailable, allocated and kept as
safety stock, then merges three lists that ascend by day (receipts, demands, reservations) and the late receipts: on
each day on which any of them has an entry it adds and subtracts what is due by then, and goes on to the earliest day
that any list names next. It stops at the horizon; it costs one step an entry, and none for a day without one.

What cannot be said in int64, and what is rare, is marked RECHECK: the reference (`atp.rules.reference`) answers
instead. The kernels check no array bounds: `Positions` has checked the offsets, the engine the ordinals. An *origin* is
the index of a branch in the order of sourcing.
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
from pricegrid.atp.kernels.pair_access import (
    Lists,
    demand_of,
    figure,
    held_of,
    lists_of,
    receipt_of,
)
from pricegrid.atp.live.layout import LINK_LOST, LIVE, TRANSIT_AS_OF
from pricegrid.atp.model import MICROS, NO_INSTANT
from pricegrid.columnar.exact import sum_overflows
from pricegrid.columnar.jit import inlined

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
def _opening(tables: Tables, pair: int, is_row: bool) -> tuple[bool, int]:
    """(fits, on-hand less what is unavailable, allocated and kept as safety stock) (A1)."""
    balance = figure(tables, pair, ON_HAND) if is_row else 0
    for column in (UNAVAILABLE, ALLOCATED, SAFETY):
        reduction = figure(tables, pair, column) if is_row or column != UNAVAILABLE else 0
        if sum_overflows(balance, -reduction):
            return False, 0
        balance -= reduction
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
                if sum_overflows(late, quantity):
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
def _subtract_held(
    tables: Tables, supply: Supply, lists: Lists, held: int, today: int, day: int, balance: int
) -> tuple[bool, int, int, int]:
    """(fits, the next reservation, its day offset, balance) less those that hold from `day` or before (A8)."""
    while held < lists.helds:
        first_day, expires_us, quantity, number = held_of(tables, lists, held)
        if first_day - today > day:
            return True, held, first_day - today, balance
        if supply.as_of_us < expires_us and supply.exclude_reservation != number:
            if sum_overflows(balance, -quantity):
                return False, held, FAR, balance
            balance -= quantity
        held += 1
    return True, held, FAR, balance


@inlined
def _add_receipts(
    tables: Tables,
    supply: Supply,
    origin: int,
    lists: Lists,
    receipt: int,
    today: int,
    day: int,
    balance: int,
) -> tuple[bool, int, int, int]:
    """(fits, the next receipt, the day offset it can be picked on, balance) after those of `day` or before."""
    while receipt < lists.receipts:
        expected, quantity, confidence = receipt_of(tables, lists, receipt)
        usable = expected - today
        usable = supply.usable[origin, usable] if usable < supply.horizon_days else FAR
        if usable > day:
            return True, receipt, usable, balance
        if confidence >= supply.min_confidence_micros:
            if sum_overflows(balance, quantity):
                return False, receipt, FAR, balance
            balance += quantity
        receipt += 1
    return True, receipt, FAR, balance


@inlined
def _subtract_demands(
    tables: Tables, lists: Lists, demand: int, today: int, day: int, balance: int
) -> tuple[bool, int, int, int]:
    """(fits, the next demand, its day offset, balance) after those due on `day` or before."""
    while demand < lists.demands:
        due, net = demand_of(tables, lists, demand)
        if due - today > day:
            return True, demand, due - today, balance
        if sum_overflows(balance, -net):
            return False, demand, FAR, balance
        balance -= net
        demand += 1
    return True, demand, FAR, balance


@inlined
def project_balance(
    tables: Tables,
    supply: Supply,
    origin: int,
    pair: int,
    days: NDArray[np.int32],
    balances: NDArray[np.int64],
    base: int,
    keep: bool,
) -> tuple[int, int, int, int, int]:
    """The balance of a pair over its receipts, demands and reservations, day by day (A1 to A5).

    Returns (code, lowest balance of the first look_days, highest of all, dropped receipts, steps). With `keep` the
    days on which the balance changes and the balances from then on are written from `base` on, at most as many as
    `step_room` says; RECHECK when the room ends before, as it can when a live pair changes.
    """
    branch = supply.branch[origin]
    is_row = pair >= 0 and figure(tables, pair, ERP_AS_OF) != NO_INSTANT
    is_lost = pair >= 0 and figure(tables, pair, FLAGS) & UNKNOWN_STOCK_ROW != 0
    if not is_row and (is_lost or not tables.feed_complete[branch, 0]):
        return UNKNOWN_STOCK, 0, 0, 0, 0
    if pair < 0:
        if keep:
            days[base], balances[base] = 0, 0
        return OK, 0, 0, 0, 1
    today = supply.today[origin]
    fits, balance = _opening(tables, pair, is_row)
    is_inside, lists = lists_of(tables, pair)
    if not (fits and is_inside) or _excludes_confirmed(tables, supply, lists):
        return RECHECK, 0, 0, 0, 0
    on_time, late, dropped, receipt = _late_receipts(tables, supply, lists, today)
    if not on_time:
        return RECHECK, 0, 0, 0, 0
    counts = late > 0 and supply.past_due_offset_days < supply.horizon_days
    late_day = supply.usable[origin, supply.past_due_offset_days] if counts else FAR
    demand, held = lists.demand, lists.held
    day, lowest, highest, steps = 0, MAX, -MAX, 0
    while day < supply.horizon_days:
        if late_day == day:
            if sum_overflows(balance, late):
                return RECHECK, 0, 0, 0, 0
            balance += late
            late_day = FAR
        fits, held, following, balance = _subtract_held(tables, supply, lists, held, today, day, balance)
        if not fits:
            return RECHECK, 0, 0, 0, 0
        following = min(following, late_day)
        fits, receipt, next_receipt, balance = _add_receipts(
            tables, supply, origin, lists, receipt, today, day, balance
        )
        came, demand, next_demand, balance = _subtract_demands(tables, lists, demand, today, day, balance)
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
def write_freshness(
    tables: Tables,
    supply: Supply,
    origin: int,
    pair: int,
    is_first: bool,
    at: int,
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
) -> None:
    """Write freshness and instant of each source (A11); unless `is_first`, only what is worse or older."""
    branch = supply.branch[origin]
    is_lost = tables.live_head[LINK_LOST] != 0 or tables.live_doubt[0] != 0
    for source in range(3):
        source_us = np.int64(NO_INSTANT)
        if pair >= 0 and source < 2:
            source_us = np.int64(figure(tables, pair, ERP_AS_OF + source))
        elif pair >= LIVE:
            source_us = np.int64(figure(tables, pair, TRANSIT_AS_OF))
        feed = tables.feed_as_of[branch, source]
        if tables.feed_complete[branch, source] or (source_us == NO_INSTANT and source != 0):
            source_us = max(source_us, feed)
        state = 0
        has_gap = pair >= 0 and (figure(tables, pair, GAPS) >> source) & 1
        if source_us == NO_INSTANT:
            state = UNKNOWN
        elif is_lost or has_gap or supply.as_of_us - source_us >= tables.feed_stale_us[branch, source]:
            state = STALE
        if is_first:
            fresh[at, source] = state
            as_of[at, source] = source_us
        else:
            fresh[at, source] = max(fresh[at, source], state)
            as_of[at, source] = min(as_of[at, source], source_us)


@inlined
def suffix_minimum(values: NDArray[np.int64], first: int, end: int) -> None:
    """Turn balances [first, end) of one pair into ATP, in place: each the lowest from there on (A2).

    The reference is `reference.lowest_ahead`.
    """
    for k in range(end - 2, first - 1, -1):
        values[k] = min(values[k], values[k + 1])


@inlined
def whole_units(micros: int, need: int, per: int, numerator: int, denominator: int) -> tuple[int, int]:
    """(code, micros of whole asked units): floor of micros over need / per over numerator / denominator (A6).

    The reference is `reference.whole_units`."""
    if per == 0 or per > MAX // denominator or need > MAX // MICROS // numerator:
        return RECHECK, 0
    limit = MAX // (per * denominator)
    if micros > limit or micros < -limit:
        return RECHECK, 0
    count = (micros * per * denominator) // (need * numerator * MICROS)
    if count > MAX // MICROS or count < -(MAX // MICROS):
        return RECHECK, 0
    return OK, count * MICROS
