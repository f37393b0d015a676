"""Compiled: availability of items and kits at branches, thousands of lines a call (A1 to A6, A11).

`check_lines` loops over the lines and, for each, over the branches in sourcing order; it projects the balance of the
item there (`balance.project_balance`), of a kit that of each component, and keeps the lowest. `project_lines` writes
the whole step function, its ATP from the last step back (A2, the suffix minimum). Nothing is looked ahead at; a pair
that is written meanwhile is read again from the start (a stable read, see `atp.kernels.live`). Scratch space is made
inside each call, none is shared between threads.
"""

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.kernels.balance import (
    MAX,
    OK,
    RECHECK,
    UNKNOWN_BRANCH,
    UNKNOWN_STOCK,
    Supply,
    project_balance,
    suffix_minimum,
    whole_units,
    write_freshness,
)
from pricegrid.atp.kernels.pair_access import begin_read, find_pair, is_read_stable, lists_of
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.search import first_at_least


@inlined
def _read(
    tables: Tables,
    supply: Supply,
    origin: int,
    pair: int,
    is_first: bool,
    at: int,
    fresh: NDArray[np.uint8],
    as_of: NDArray[np.int64],
    no_days: NDArray[np.int32],
    no_balances: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """(code, lowest, highest, dropped receipts) of `project_balance`, and freshness, all of one state of the pair."""
    before_fresh = (fresh[at, 0], fresh[at, 1], fresh[at, 2])
    before_as_of = (as_of[at, 0], as_of[at, 1], as_of[at, 2])
    while True:
        pair, version = begin_read(tables, pair)
        write_freshness(tables, supply, origin, pair, is_first, at, fresh, as_of)
        code, lowest, highest, dropped, _ = project_balance(
            tables, supply, origin, pair, no_days, no_balances, 0, False
        )
        if is_read_stable(tables, pair, version):
            return code, lowest, highest, dropped
        for source in range(3):
            fresh[at, source], as_of[at, source] = before_fresh[source], before_as_of[source]


@inlined
def _check_line(
    tables: Tables,
    supply: Supply,
    origin: int,
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
        pair = find_pair(tables, tables.kit_component[k] if is_kit else item, supply.branch[origin])
        code, atp, highest, more = _read(
            tables, supply, origin, pair, k == first, at, fresh, as_of, no_days, no_balances
        )
        dropped += more
        if code == OK and (is_kit or is_unit_asked):
            need = tables.kit_numerator[k] if is_kit else 1
            per = tables.kit_denominator[k] if is_kit else 1
            code, _ = whole_units(highest, need, per, numerator, denominator)
            if code == OK and supply.look_days == supply.horizon_days:
                code, atp = whole_units(atp, need, per, numerator, denominator)
            else:
                code = RECHECK
        least = min(least, atp)
        # an unknown component decides, whatever the reference would say of the others
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
        for origin in range(branches):
            at = i * branches + origin
            if status[at] != OK:
                continue
            if supply.branch[origin] < 0:
                status[at] = UNKNOWN_BRANCH
                continue
            code, micros, lost = _check_line(
                tables,
                supply,
                origin,
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
        for origin in range(len(branch)):
            room[i] += 2
            if items[i] >= 0 and branch[origin] >= 0:
                pair = find_pair(tables, items[i], branch[origin])
                if pair >= 0:
                    is_inside, lists = lists_of(tables, pair)
                    if is_inside:
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

    Their figures and freshness are written again, so that everything in a result is of one state of its pair.
    """
    branches = len(supply.branch)
    end = 0
    for i in range(len(items)):
        for origin in range(branches):
            at = i * branches + origin
            start[at] = end
            if not wanted[at]:
                continue
            pair = find_pair(tables, items[i], supply.branch[origin])
            while True:
                pair, version = begin_read(tables, pair)
                write_freshness(tables, supply, origin, pair, True, at, fresh, as_of)
                code, now, _, lost, steps = project_balance(
                    tables, supply, origin, pair, days, balances, end, True
                )
                if is_read_stable(tables, pair, version):
                    break
            status[at], now_atp[at], dropped[at] = code, now, lost
            for k in range(end, end + steps):
                atp[k] = balances[k]
            suffix_minimum(atp, end, end + steps)
            kept = end
            for k in range(end, end + steps):
                if k > end and atp[k] == atp[kept - 1] and balances[k] == balances[kept - 1]:
                    continue
                days[kept] = days[k] + supply.today[origin]
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
        pair, version = begin_read(tables, pair)
        room = 2
        if pair >= 0:
            is_inside, lists = lists_of(tables, pair)
            if is_inside:
                room += (
                    lists.receipts - lists.receipt + lists.demands - lists.demand + lists.helds - lists.held
                )
        days, balances = np.empty(room, np.int32), np.empty(room, np.int64)
        code, _, _, _, steps = project_balance(tables, supply, 0, pair, days, balances, 0, True)
        if is_read_stable(tables, pair, version):
            break
    if steps == 0:
        return code, MAX
    suffix_minimum(balances, 0, steps)
    return code, balances[first_at_least(days, day + 1, 1, steps) - 1]
