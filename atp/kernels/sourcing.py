"""Compiled: which branch ships how much of a line on which day; the reference is `atp.rules.sourcing`.

Slots lie by branch: those of origin p are `start[p]:end[p]`, ascending by pick day and by capacity, no capacity above
what is wanted (more is never shipped), so no sum that matters leaves int64.

Without a minimum shipment all slots are sorted by (day, origin) and consumed in that order until nothing is wanted:
n log n of the slots.

A minimum shipment makes the choice of a day a knapsack: what ships today is lost to a later shipment that needs the
minimum too. The total is known first; then, day by day, the most is shipped that leaves the total within reach. Mostly
a simple bound is reached and decides the day. Otherwise labels (shipments today, shipments later, most today, reach)
are kept for the branches from each one on, those that no other beats in all four; the most of the day is read off, and
then branch by branch the most that some label still completes. Both are exact; the number of labels has no useful
bound, so the effort is counted and a request that needs too much of it is refused.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.balance import MAX
from pricegrid.columnar.jit import compiled

LABELS_MAX: Final = 20_000
"""Labels of one day of one line."""
SORTED_BY_HAND_MAX: Final = 48
DONE: Final = 0
TOO_COMPLEX: Final = 1


class Slots(NamedTuple):
    """When and how much each branch could ship of a line."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    pick: NDArray[np.int32]
    """Pick day offset of the branch."""
    capacity: NDArray[np.int64]
    """How many could be shipped in all by then."""


class Plan(NamedTuple):
    """The shipments of a line in sourcing order, (shipments,) each; `size` (1,) is their number."""

    origin: NDArray[np.int32]
    pick: NDArray[np.int32]
    shipped: NDArray[np.int64]
    size: NDArray[np.int64]
    order: NDArray[np.int64]
    """Scratch to sort slots in."""


class Day(NamedTuple):
    """Scratch of one day's choice; `origin` to `shipped` have one entry for each branch that takes part."""

    origin: NDArray[np.int64]
    now: NDArray[np.int64]
    """What the branch can ship today; 0: less than the minimum."""
    later: NDArray[np.int64]
    """What it could ship from the next day on if it shipped nothing today; 0: less than the minimum, or no slot."""
    shipped: NDArray[np.int64]
    used: NDArray[np.int64]
    """(branches,) what each has shipped before."""
    spare: NDArray[np.int64]
    """Values sorted from the greatest down, while they are chosen from."""
    sums: NDArray[np.int64]
    """(branches + 1,) sums of the first of them."""
    level: NDArray[np.int64]
    """(branches + 2,): the labels of the branches from i on are `level[n - i]:level[n - i + 1]`."""
    today_count: NDArray[np.int32]
    later_count: NDArray[np.int32]
    today_sum: NDArray[np.int64]
    reach: NDArray[np.int64]


def day_room(branches: int, labels: int) -> Day:
    """Scratch for so many branches and labels."""
    origin, now, later, shipped, used, spare, sums, level = (
        np.zeros(branches + 2, dtype=np.int64) for _ in range(8)
    )
    today_count, later_count = (np.zeros(labels, dtype=np.int32) for _ in range(2))
    today_sum, reach = (np.zeros(labels, dtype=np.int64) for _ in range(2))
    return Day(
        origin, now, later, shipped, used, spare, sums, level, today_count, later_count, today_sum, reach
    )


@compiled
def _add(one: int, other: int, limit: int) -> int:
    """The sum of two numbers of 0 to `limit`, at most `limit`."""
    return limit if one > limit - other else one + other


@compiled
def _insert(sorted_values: NDArray[np.int64], size: int, value: int) -> None:
    """Insert a value among `size` others, greatest first."""
    at = size
    while at > 0 and sorted_values[at - 1] < value:
        sorted_values[at] = sorted_values[at - 1]
        at -= 1
    sorted_values[at] = value


@compiled
def _remove(sorted_values: NDArray[np.int64], size: int, value: int) -> None:
    """Take out one value that is there."""
    at = 0
    while sorted_values[at] != value:
        at += 1
    for k in range(at, size - 1):
        sorted_values[k] = sorted_values[k + 1]


@compiled
def _sift(values: NDArray[np.int64], root: int, size: int) -> None:
    """Let the value at `root` of a heap of `size` values sink to its place, the greatest on top."""
    value = values[root]
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and values[child + 1] > values[child]:
            child += 1
        if values[child] <= value:
            break
        values[root] = values[child]
        root = child
    values[root] = value


@compiled
def sort_up(values: NDArray[np.int64], size: int) -> None:
    """Sort the first `size` values, least first: few by insertion, many by a heap.

    numba's own sort takes longer to compile than all that this module does.
    """
    if size <= SORTED_BY_HAND_MAX:
        for k in range(1, size):
            value, at = values[k], k
            while at > 0 and values[at - 1] > value:
                values[at] = values[at - 1]
                at -= 1
            values[at] = value
        return
    for root in range(size // 2 - 1, -1, -1):
        _sift(values, root, size)
    for end in range(size - 1, 0, -1):
        values[0], values[end] = values[end], values[0]
        _sift(values, 0, end)


@compiled
def _sort_down(values: NDArray[np.int64], size: int) -> None:
    """Sort the first `size` values, greatest first."""
    sort_up(values, size)
    for k in range(size // 2):
        values[k], values[size - 1 - k] = values[size - 1 - k], values[k]


@compiled
def _ship(plan: Plan, origin: int, pick: int, count: int) -> None:
    at = plan.size[0]
    plan.origin[at], plan.pick[at], plan.shipped[at] = origin, pick, count
    plan.size[0] = at + 1


@compiled
def plan_freely(
    slots: Slots, today: NDArray[np.int64], first: int, last: int, wanted: int, plan: Plan
) -> None:
    """Earliest day first, then the order of the branches [first, last): take what is there."""
    plan.size[0] = 0
    width, n = last - first, 0
    for origin in range(first, last):
        for k in range(slots.start[origin], slots.end[origin]):
            # (day, origin, slot) in one number: sorted, it is the sourcing order
            plan.order[n] = ((today[origin] + slots.pick[k]) * width + origin - first) * len(slots.pick) + k
            n += 1
    if width > 1:
        sort_up(plan.order, n)
    for at in range(n):
        k = plan.order[at] % len(slots.pick)
        origin = first + plan.order[at] // len(slots.pick) % width
        before = slots.capacity[k - 1] if k > slots.start[origin] else 0
        # an earlier slot of the branch was used up, or the line would be served
        count = min(wanted, slots.capacity[k] - before)
        _ship(plan, origin, slots.pick[k], count)
        wanted -= count
        if wanted == 0:
            break


@compiled
def plan_with_least(
    slots: Slots,
    today: NDArray[np.int64],
    first: int,
    last: int,
    wanted: int,
    least: int,
    plan: Plan,
    day: Day,
    effort: NDArray[np.int64],
    effort_max: int,
) -> int:
    """The largest total first, then day by day the most that still leaves it within reach; DONE or TOO_COMPLEX."""
    plan.size[0] = 0
    open_count = _most_in_all(slots, first, last, wanted, least, day)
    at = slots.start.copy()
    day.used[: last - first] = 0
    while open_count > 0:
        soonest = MAX
        for origin in range(first, last):
            if at[origin] < slots.end[origin]:
                soonest = min(soonest, today[origin] + slots.pick[at[origin]])
        if soonest == MAX:
            break
        branches, ships = 0, False
        for origin in range(first, last):
            has_slot = at[origin] < slots.end[origin] and today[origin] + slots.pick[at[origin]] == soonest
            used = day.used[origin - first]
            now = slots.capacity[at[origin]] - used if has_slot else 0
            at[origin] += has_slot
            left = slots.capacity[slots.end[origin] - 1] - used if at[origin] < slots.end[origin] else 0
            now, left = now if now >= least else 0, left if left >= least else 0
            if now > 0 or left > 0:
                day.origin[branches], day.now[branches], day.later[branches] = origin, now, left
                ships |= now > 0
                branches += 1
        effort[0] += last - first
        if ships and _best_day(day, branches, open_count, least, effort, effort_max) == TOO_COMPLEX:
            return TOO_COMPLEX
        for b in range(branches if ships else 0):
            if day.shipped[b] > 0:
                origin = day.origin[b]
                _ship(plan, origin, int(soonest - today[origin]), day.shipped[b])
                day.used[origin - first] += day.shipped[b]
                open_count -= day.shipped[b]
    return DONE


@compiled
def _most_in_all(slots: Slots, first: int, last: int, wanted: int, least: int, day: Day) -> int:
    """The largest total: a branch can give any count from `least` to its last capacity in one late shipment."""
    size = 0
    for origin in range(first, last):
        if slots.end[origin] > slots.start[origin] and slots.capacity[slots.end[origin] - 1] >= least:
            day.spare[size] = slots.capacity[slots.end[origin] - 1]
            size += 1
    _sort_down(day.spare, size)
    total = 0
    for k in range(min(size, wanted // least)):
        total = _add(total, day.spare[k], wanted)
    return int(total)


@compiled
def _best_day(
    day: Day, n: int, open_count: int, least: int, effort: NDArray[np.int64], effort_max: int
) -> int:
    """Choose what each of `n` branches ships today: the most in all, then the most from those named first."""
    day.shipped[:n] = 0
    size = 0
    for b in range(n):
        if day.now[b] > 0:
            day.spare[size] = day.now[b]
            size += 1
    _sort_down(day.spare, size)
    shipments = open_count // least
    most, everything = 0, 0
    for k in range(size):
        everything = _add(everything, day.spare[k], open_count)
        if k < shipments:
            most = everything
    if most == open_count:
        effort[0] += n * n
        _ship_all_today(day, n, size, open_count, least)
        return DONE
    if size < shipments and _can_follow(day, n, open_count - everything, least):
        day.shipped[:n] = day.now[:n]
        return DONE
    if not _build_labels(day, n, open_count, least, effort, effort_max):
        return TOO_COMPLEX
    total = 0
    for k in range(day.level[n], day.level[n + 1]):
        if day.reach[k] == open_count:
            total = max(total, min(day.today_sum[k], open_count - day.later_count[k] * least))
    if total > 0:
        _choose_shipments(day, n, total, open_count - total, least, effort)
    return DONE


@compiled
def _ship_all_today(day: Day, n: int, size: int, open_count: int, least: int) -> None:
    """All of it ships today: each branch gives the most that those after it can complete."""
    for b in range(n):
        if day.now[b] == 0:
            continue
        _remove(day.spare, size, day.now[b])
        size -= 1
        others, k = 0, 0
        while True:
            count = min(day.now[b], open_count - k * least)
            if count < least:
                break
            if others >= open_count - count:
                day.shipped[b] = count
                open_count -= count
                break
            if k == size:
                break
            others = _add(others, day.spare[k], open_count)
            k += 1


@compiled
def _can_follow(day: Day, n: int, rest: int, least: int) -> bool:
    """Whether the rest can be shipped later when every branch ships today all it can."""
    size = 0
    for b in range(n):
        if day.later[b] - day.now[b] >= least:
            day.spare[size] = day.later[b] - day.now[b]
            size += 1
    _sort_down(day.spare, size)
    total = 0
    for k in range(min(size, rest // least)):
        total = _add(total, day.spare[k], rest)
    return bool(total == rest)


@compiled
def _build_labels(
    day: Day, n: int, open_count: int, least: int, effort: NDArray[np.int64], effort_max: int
) -> bool:
    """Make the labels of the branches from each one on; False: there are too many.

    A branch ships nothing, only today, only later, or both; what can't reach the total even if all branches before
    give everything is left out.
    """
    day.today_count[0], day.later_count[0], day.today_sum[0], day.reach[0] = 0, 0, 0, 0
    day.level[0], day.level[1] = 0, 1
    before = day.sums  # what the branches before each one can give at most
    before[0] = 0
    for b in range(n):
        before[b + 1] = _add(before[b], min(open_count, max(day.now[b], day.later[b])), open_count)
    size = 1
    for b in range(n - 1, -1, -1):
        begin = size
        for k in range(day.level[n - b - 1], day.level[n - b]):
            for option in range(4):
                today, later, most, reach = _option(day.now[b], day.later[b], option, least)
                if option > 0 and today + later == 0:
                    continue
                today, later = today + day.today_count[k], later + day.later_count[k]
                most = _add(day.today_sum[k], min(most, open_count), open_count)
                reach = _add(day.reach[k], min(reach, open_count), open_count)
                if today + later > open_count // least or _add(before[b], reach, open_count) < open_count:
                    continue
                effort[0] += size - begin + 1
                if size == len(day.reach) or effort[0] > effort_max:
                    return False
                size = _keep(day, begin, size, today, later, most, reach)
        day.level[n - b + 1] = size
    return True


@compiled
def _option(now: int, later: int, option: int, least: int) -> tuple[int, int, int, int]:
    """(shipments today, later, the most today, reach) of nothing, today, later, both; no shipments: not possible."""
    if option == 1 and now > 0:
        return 1, 0, now, now
    if option == 2 and later > 0:
        return 0, 1, 0, later
    if option == 3 and now > 0 and later >= 2 * least:
        return 1, 1, min(now, later - least), later
    return 0, 0, 0, 0


@compiled
def _keep(day: Day, begin: int, size: int, today: int, later: int, most: int, reach: int) -> int:
    """Add a label to those from `begin` on unless one is as good in all four, and drop those it is as good as."""
    k = begin
    while k < size:
        if (
            day.today_count[k] <= today
            and day.later_count[k] <= later
            and day.today_sum[k] >= most
            and day.reach[k] >= reach
        ):
            return size
        if (
            day.today_count[k] >= today
            and day.later_count[k] >= later
            and day.today_sum[k] <= most
            and day.reach[k] <= reach
        ):
            size -= 1
            day.today_count[k], day.later_count[k] = day.today_count[size], day.later_count[size]
            day.today_sum[k], day.reach[k] = day.today_sum[size], day.reach[size]
        else:
            k += 1
    day.today_count[size], day.later_count[size] = today, later
    day.today_sum[size], day.reach[size] = most, reach
    return size + 1


@compiled
def _choose_shipments(day: Day, n: int, total: int, rest: int, least: int, effort: NDArray[np.int64]) -> None:
    """Ship `total` today and leave `rest`: branch by branch the most that some label still completes.

    `total` is the most of the day. So either everything chosen ships all it can today, or every later shipment is the
    minimum: otherwise one more could ship today.
    """
    size = 0  # of the branches decided, those with enough left to ship later
    for b in range(n):
        day.sums[0] = 0
        for k in range(size):
            day.sums[k + 1] = _add(day.sums[k], min(day.spare[k], rest), rest)
        best = 0
        first = day.level[n - b - 1]
        for k in range(first, day.level[n - b]):
            if day.today_count[k] * least <= total and day.later_count[k] <= rest // least:
                best = max(best, _most_from(day, b, k, size, total, rest, least))
        effort[0] += day.level[n - b] - first + size
        day.shipped[b] = best
        total -= best
        if day.later[b] - best >= least:
            _insert(day.spare, size, day.later[b] - best)
            size += 1


@compiled
def _most_from(day: Day, b: int, k: int, size: int, total: int, rest: int, least: int) -> int:
    """The most branch `b` can ship today if those after it do as label `k`; 0 also if they can't.

    `spare` holds what the `size` branches decided before could ship later, `sums` their sums.
    """
    laters = rest // least - day.later_count[k]  # how many of the branches up to b may ship later
    now, later, best = day.now[b], day.later[b], 0
    reserved = total - day.today_count[k] * least
    missing = total - day.today_sum[k]
    if rest % least == 0:
        count = min(now, reserved)
        if laters <= size and count >= max(least, missing):
            best = max(best, count)
        count = min(count, later - least)
        if 1 <= laters <= size + 1 and count >= max(least, missing):
            best = max(best, count)
    if missing > best and least <= missing <= now:
        later_from_others = day.reach[k] - day.today_sum[k]
        if _add(day.sums[min(laters, size)], min(later_from_others, rest), rest) == rest:
            return int(missing)
        if laters >= 1 and later - missing >= least:
            before = _add(day.sums[min(laters - 1, size)], min(later_from_others, rest), rest)
            if _add(before, min(later - missing, rest), rest) == rest:
                return int(missing)
    return best
