"""Compiled: what is free of each line of a quote over all its branches, and when all of it can be picked.

The simple quote in one pass: base items that no other line draws on, in any unit, at any number of branches, default
policies. Lines are taken in blocks of 32. For each block `_look_ahead` first fetches what its lines will read, one step
for all of them before the next (item record, branches of its pairs, pair records, blocks), so that the waits for memory
overlap. Then for each line, branch by branch in sourcing order, the pair's balance is projected; its lowest value adds
to what is available, and its suffix minimum gives the slots from which shipments of the whole quantity are planned. A
line that needs more (a kit, an item asked twice, a figure near the end of int64) gets the status RECHECK and is for
`engine.check` and `engine.promise`, with which this agrees; the other lines are answered. A line costs one projection a
branch.

Nothing here takes a tuple of arrays from Python, since passing one costs more than a line: arrays are described by
their addresses, and whoever describes them keeps them alive.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import (
    BLOCK_SHIFT,
    FLAGS,
    ITEM_IS_KIT,
    ITEM_MULTIPLE,
    ITEM_PAIRS,
    ITEM_PAIRS_END,
    Tables,
)
from pricegrid.atp.kernels.balance import (
    MAX,
    OK,
    RECHECK,
    Supply,
    project_balance,
    suffix_minimum,
    whole_units,
    write_freshness,
)
from pricegrid.atp.kernels.offers import least_shipment
from pricegrid.atp.kernels.pair_access import begin_read, find_pair, is_read_stable
from pricegrid.atp.kernels.sourcing import Plan, Slots, plan_freely
from pricegrid.atp.live.layout import DEMAND_WORDS, LIVE, RECEIPT_WORDS
from pricegrid.atp.model import MICROS, NO_INSTANT, Limit
from pricegrid.columnar.exact import common_divisor, sum_overflows
from pricegrid.columnar.jit import carray, compiled, inlined, pointer
from pricegrid.columnar.tables import fetch

# free (n, FREE_SIZE) int64: a line's AvailabilityStatus; micros of the unit asked over all branches, and short of what
# is asked; the last pick day of all of it, less than 0: not in full; by source the worst state and the oldest instant
FREE_STATUS, FREE_AVAILABLE, FREE_SHORTAGE, FREE_DAY, FREE_FRESH, FREE_AS_OF, FREE_SIZE = 0, 1, 2, 3, 4, 7, 10
# asked (n, ASKED_SIZE) int64: base units in one asked unit as a fraction; 1: only whole asked units count
ASKED_ITEM, ASKED_QUANTITY, ASKED_NUMERATOR, ASKED_DENOMINATOR, ASKED_IS_UNIT, ASKED_SIZE = range(6)
# window (WINDOW_SIZE,) int64: a Supply without its instant, and when each branch can pick
(
    WINDOW_BRANCHES,
    WINDOW_HORIZON,
    WINDOW_PAST_DUE_OFFSET,
    WINDOW_PAST_DUE_MAX,
    WINDOW_MIN_CONFIDENCE,
    WINDOW_BRANCH,  # addresses of arrays from here on
    WINDOW_TODAY,
    WINDOW_USABLE,
    WINDOW_NEXT_PICK,
    WINDOW_SIZE,
) = range(10)
NO_DAY: Final = -1
LIMITED_BY_UNIT: Final = NO_DAY - int(Limit.UNIT)
LIMITED_BY_MULTIPLE: Final = NO_DAY - int(Limit.ORDER_MULTIPLE)
"""In place of a day, as below it: why the quantity can never be promised in full."""
BLOCK: Final = 32
"""Lines looked ahead at a time."""
ORIGINS_FETCHED: Final = 4
"""Branches of each of them."""
COMMON_WORDS: Final = RECEIPT_WORDS + DEMAND_WORDS - 1
"""Behind the first of a block: it may lie in two cache lines."""
UNKNOWN_STOCK: Final = 6
FRESHNESS_UNKNOWN: Final = 2


class Workspace(NamedTuple):
    """Scratch of one request."""

    days: NDArray[np.int32]
    """(horizon + 1,) steps of a pair"""
    balances: NDArray[np.int64]
    fresh: NDArray[np.uint8]
    """(1, 3) of a pair"""
    instants: NDArray[np.int64]
    slots: Slots
    plan: Plan


@inlined
def _tables_of(described: NDArray[np.int64]) -> Tables:
    """`Tables` from the address, rows and columns of each."""
    d = described
    return Tables(
        carray(pointer(d[0, 0]), d[0, 1], np.int64),
        carray(pointer(d[1, 0]), d[1, 1], np.int32),
        carray(pointer(d[2, 0]), (d[2, 1], d[2, 2]), np.int64),
        carray(pointer(d[3, 0]), d[3, 1], np.int64),
        carray(pointer(d[4, 0]), d[4, 1], np.int64),
        carray(pointer(d[5, 0]), d[5, 1], np.int32),
        carray(pointer(d[6, 0]), d[6, 1], np.int64),
        carray(pointer(d[7, 0]), d[7, 1], np.int64),
        carray(pointer(d[8, 0]), (d[8, 1], d[8, 2]), np.int64),
        carray(pointer(d[9, 0]), (d[9, 1], d[9, 2]), np.bool_),
        carray(pointer(d[10, 0]), (d[10, 1], d[10, 2]), np.int64),
        carray(pointer(d[11, 0]), d[11, 1], np.int64),
        carray(pointer(d[12, 0]), d[12, 1], np.int64),
        carray(pointer(d[13, 0]), d[13, 1], np.int64),
        carray(pointer(d[14, 0]), d[14, 1], np.int64),
        carray(pointer(d[15, 0]), (d[15, 1], d[15, 2]), np.int64),
        carray(pointer(d[16, 0]), d[16, 1], np.int64),
    )


@inlined
def _supply_of(window: NDArray[np.int64], as_of_us: int) -> Supply:
    branches, horizon = window[WINDOW_BRANCHES], window[WINDOW_HORIZON]
    return Supply(
        as_of_us,
        horizon,
        horizon,
        window[WINDOW_PAST_DUE_OFFSET],
        window[WINDOW_PAST_DUE_MAX],
        window[WINDOW_MIN_CONFIDENCE],
        carray(pointer(window[WINDOW_BRANCH]), branches, np.int32),
        carray(pointer(window[WINDOW_TODAY]), branches, np.int64),
        carray(pointer(window[WINDOW_USABLE]), (branches, horizon), np.int32),
        0,
    )


@compiled
def _least_unit(numerator: int, denominator: int, is_unit: bool, multiple: int) -> tuple[int, int, int]:
    """(unit, need, per): the micros of the asked unit in the least quantity that can be shipped (A6), and the micros of
    the item that it takes as a fraction; unit 0: leaves int64."""
    unit = least_shipment(numerator, denominator, is_unit, multiple, False)
    if unit == 0:
        return 0, 1, 1
    across = common_divisor(unit, denominator)
    if numerator > MAX // (unit // across):
        return 0, 1, 1
    return unit, numerator * (unit // across), denominator // across


@inlined
def _add_slots(
    next_pick: NDArray[np.int32],
    origin: int,
    horizon: int,
    workspace: Workspace,
    steps: int,
    need: int,
    per: int,
    wanted: int,
    end: int,
) -> int:
    """The slots of a branch from its balances: its pick days, each with what it can ship in all by then; their end.

    -1: a figure leaves int64.
    """
    days, balances, slots = workspace.days, workspace.balances, workspace.slots
    if steps > 0 and balances[steps - 1] > MAX // per:
        return -1
    suffix_minimum(balances, 0, steps)
    k, most = 0, 0
    while k < steps and most < wanted:
        pick = next_pick[origin, days[k]]
        if pick >= horizon:
            break
        while k + 1 < steps and days[k + 1] <= pick:
            k += 1
        count = max(0, balances[k])
        count = min(wanted, count if per == need == 1 else count * per // need)
        if count > most:
            slots.pick[end], slots.capacity[end] = pick, count
            most = count
            end += 1
        k += 1
    return end


@inlined
def _last_pick(supply: Supply, workspace: Workspace, wanted: int) -> int:
    """The last day of the shipments that make up `wanted`, NO_DAY if they don't."""
    slots, plan = workspace.slots, workspace.plan
    branches = len(supply.branch)
    if branches == 1:
        end = slots.end[0]
        if end == 0 or slots.capacity[end - 1] < wanted:
            return NO_DAY
        return int(supply.today[0] + slots.pick[end - 1])
    plan_freely(slots, supply.today, 0, branches, wanted, plan)
    last = NO_DAY
    for k in range(plan.size[0]):
        wanted -= plan.shipped[k]
        last = max(last, supply.today[plan.origin[k]] + plan.pick[k])
    return last if wanted == 0 else NO_DAY


@inlined
def is_repeated(seen: NDArray[np.int64], item: int) -> bool:
    """Whether an item is in a set, to which it is added; `seen` is zeros at first, a power of two, twice the items."""
    mask = len(seen) - 1
    slot = (item * 40_503) & mask
    while seen[slot] != 0:
        if seen[slot] == item + 1:
            return True
        slot = (slot + 1) & mask
    seen[slot] = item + 1
    return False


@inlined
def _read_pair(
    tables: Tables,
    supply: Supply,
    origin: int,
    item: int,
    days: NDArray[np.int32],
    balances: NDArray[np.int64],
    fresh: NDArray[np.uint8],
    instants: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """(code, lowest, highest, steps) of `project_balance`, and freshness, of one state of an item's pair."""
    pair = find_pair(tables, item, supply.branch[origin])
    while True:
        pair, version = begin_read(tables, pair)
        write_freshness(tables, supply, origin, pair, True, 0, fresh, instants)
        code, lowest, highest, _, steps = project_balance(
            tables, supply, origin, pair, days, balances, 0, True
        )
        if is_read_stable(tables, pair, version):
            return code, lowest, highest, steps


@inlined
def _quote_line(
    tables: Tables,
    supply: Supply,
    next_pick: NDArray[np.int32],
    asked: NDArray[np.int64],
    multiple: int,
    free: NDArray[np.int64],
    workspace: Workspace,
    allows_unknown: bool,
) -> bool:
    """One line's row of `free` from its row of `asked`; False: it is for the engine."""
    quantity, is_unit = asked[ASKED_QUANTITY], asked[ASKED_IS_UNIT] != 0
    numerator, denominator = asked[ASKED_NUMERATOR], asked[ASKED_DENOMINATOR]
    unit, need, per = 1, 1, 1
    if is_unit or multiple > 0:
        unit, need, per = _least_unit(numerator, denominator, is_unit, multiple)
        if unit == 0:
            return False
    wanted, end, available, is_known = quantity if unit == 1 else quantity // unit, 0, 0, False
    for source in range(3):
        free[FREE_FRESH + source], free[FREE_AS_OF + source] = 0, MAX
    for origin in range(len(supply.branch)):
        code, lowest, highest, steps = _read_pair(
            tables,
            supply,
            origin,
            asked[ASKED_ITEM],
            workspace.days,
            workspace.balances,
            workspace.fresh,
            workspace.instants,
        )
        for source in range(3):
            free[FREE_FRESH + source] = max(free[FREE_FRESH + source], workspace.fresh[0, source])
            free[FREE_AS_OF + source] = min(free[FREE_AS_OF + source], workspace.instants[0, source])
        workspace.slots.start[origin] = end
        if code == OK:
            is_known = True
            if is_unit:
                code, _ = whole_units(highest, 1, 1, numerator, denominator)
                again, lowest = whole_units(lowest, 1, 1, numerator, denominator)
                code = max(code, again)
            if code != OK or sum_overflows(available, max(0, lowest)):
                return False
            available += max(0, lowest)
            end = _add_slots(next_pick, origin, supply.horizon_days, workspace, steps, need, per, wanted, end)
            if end < 0:
                return False
        elif code == RECHECK or not allows_unknown:
            return False
        workspace.slots.end[origin] = end
    free[FREE_STATUS] = OK if is_known else UNKNOWN_STOCK
    free[FREE_AVAILABLE] = available
    free[FREE_SHORTAGE] = max(0, quantity - available) if is_known else 0
    is_whole = is_known and wanted > 0 and wanted * unit == quantity
    free[FREE_DAY] = _last_pick(supply, workspace, wanted) if is_whole else NO_DAY
    if is_known and wanted * unit != quantity:
        free[FREE_DAY] = LIMITED_BY_UNIT if is_unit and quantity % MICROS != 0 else LIMITED_BY_MULTIPLE
    return True


@inlined
def _look_ahead(
    tables: Tables,
    supply: Supply,
    asked: NDArray[np.int64],
    free: NDArray[np.int64],
    first: int,
    end: int,
) -> None:
    """Bring into the cache what the lines [first, end) are about to read, so that the waits overlap.

    Each step fetches for all lines what the next one needs. Live pairs are found again when they are read.
    """
    origins, branches = min(len(supply.branch), ORIGINS_FETCHED), len(tables.feed_as_of)
    for i in range(first, end):
        if free[i, FREE_STATUS] == OK:
            fetch(tables.item_record, asked[i, ASKED_ITEM])
    for i in range(first, end):
        if free[i, FREE_STATUS] == OK:
            start = tables.item_record[asked[i, ASKED_ITEM], ITEM_PAIRS]
            if tables.item_record[asked[i, ASKED_ITEM], ITEM_PAIRS_END] - start != branches:
                fetch(tables.pair_branch, start)
    for i in range(first, end):
        for origin in range(origins if free[i, FREE_STATUS] == OK else 0):
            pair = find_pair(tables, asked[i, ASKED_ITEM], supply.branch[origin])
            if 0 <= pair < LIVE:
                fetch(tables.pair_record, pair)
    for i in range(first, end):
        for origin in range(origins if free[i, FREE_STATUS] == OK else 0):
            pair = find_pair(tables, asked[i, ASKED_ITEM], supply.branch[origin])
            if 0 <= pair < LIVE:
                block = tables.pair_record[pair, FLAGS] >> BLOCK_SHIFT
                if block > 0:
                    fetch(tables.pair_blocks, block - 1)
                    fetch(tables.pair_blocks, block + COMMON_WORDS)


@inlined
def _workspace_words(branches: int, horizon: int) -> int:
    """How many 8-byte words a workspace takes."""
    return 2 * (horizon + 1) + 3 + 3 + 6 * branches * horizon + 2 * branches + 1


@inlined
def _lay_out_workspace(memory: NDArray[np.int64], branches: int, horizon: int) -> Workspace:
    """A workspace in `_workspace_words` words of memory.

    Arrays of its own would be reference-counted whenever one is passed on, at twice the cost of a line.
    """
    at, steps, room = memory.ctypes.data, 8 * (horizon + 1), 8 * branches * horizon
    days, balances, fresh, instants = at, at + steps, at + 2 * steps, at + 2 * steps + 24
    starts = at + 2 * steps + 48
    picks = starts + 16 * branches
    planned = picks + 2 * room
    return Workspace(
        carray(pointer(days), horizon + 1, np.int32),
        carray(pointer(balances), horizon + 1, np.int64),
        carray(pointer(fresh), (1, 3), np.uint8),
        carray(pointer(instants), (1, 3), np.int64),
        Slots(
            carray(pointer(starts), branches, np.int64),
            carray(pointer(starts + 8 * branches), branches, np.int64),
            carray(pointer(picks), branches * horizon, np.int32),
            carray(pointer(picks + room), branches * horizon, np.int64),
        ),
        Plan(
            carray(pointer(planned), branches * horizon, np.int32),
            carray(pointer(planned + room), branches * horizon, np.int32),
            carray(pointer(planned + 2 * room), branches * horizon, np.int64),
            carray(pointer(planned + 3 * room), 1, np.int64),
            carray(pointer(planned + 3 * room + 8), branches * horizon, np.int64),
        ),
    )


@inlined
def _quote_all(
    tables: Tables,
    supply: Supply,
    next_pick: NDArray[np.int32],
    asked: NDArray[np.int64],
    free: NDArray[np.int64],
    workspace: Workspace,
    seen: NDArray[np.int64],
    allows_unknown: bool,
) -> bool:
    is_plain = True
    for i in range(len(asked)):
        if i % BLOCK == 0:
            _look_ahead(tables, supply, asked, free, i, min(i + BLOCK, len(asked)))
        if free[i, FREE_STATUS] != OK:
            for source in range(3):
                free[i, FREE_FRESH + source], free[i, FREE_AS_OF + source] = FRESHNESS_UNKNOWN, NO_INSTANT
            free[i, FREE_AVAILABLE] = free[i, FREE_SHORTAGE] = 0
            free[i, FREE_DAY] = NO_DAY
            continue
        item = asked[i, ASKED_ITEM]
        multiple = tables.item_record[item, ITEM_MULTIPLE]
        if (
            tables.item_record[item, ITEM_IS_KIT] != 0
            or is_repeated(seen, item)
            or not _quote_line(
                tables, supply, next_pick, asked[i], multiple, free[i], workspace, allows_unknown
            )
        ):
            free[i, FREE_STATUS], is_plain = RECHECK, False
    return is_plain


@compiled
def quote_lines(
    described: NDArray[np.int64],
    window: NDArray[np.int64],
    as_of_us: int,
    asked_lines: NDArray[np.int64],
    free_lines: NDArray[np.int64],
    allows_unknown: bool,
) -> bool:
    """Fill the lines of `free_lines` whose status is OK, and clear the others; False: some are RECHECK, for the engine.

    Of an item that is asked twice, the first line is answered as if it were alone: whoever answers the second must
    answer both.

    `described` (17, 3) int64 and `window` hold addresses; `asked_lines`
    (n, ASKED_SIZE) and `free_lines` (n, FREE_SIZE) int64. Unless `allows_unknown`, unknown stock is for the engine too.
    """
    tables, supply = _tables_of(described), _supply_of(window, as_of_us)
    branches, horizon = len(supply.branch), supply.horizon_days
    next_pick = carray(pointer(window[WINDOW_NEXT_PICK]), (branches, horizon), np.int32)
    size = 4
    while size < 2 * len(asked_lines):
        size *= 2
    memory, items = np.empty(_workspace_words(branches, horizon), np.int64), np.zeros(size, np.int64)
    workspace, seen = (
        _lay_out_workspace(memory, branches, horizon),
        carray(pointer(items.ctypes.data), size, np.int64),
    )
    asked = carray(pointer(asked_lines.ctypes.data), asked_lines.shape, np.int64)
    free = carray(pointer(free_lines.ctypes.data), free_lines.shape, np.int64)
    is_simple = _quote_all(tables, supply, next_pick, asked, free, workspace, seen, allows_unknown)
    return is_simple and len(memory) > 0 and len(items) > 0  # which keeps them alive
