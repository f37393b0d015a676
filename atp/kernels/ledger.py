"""What the (component, branch) pairs of one request hold, laid out once, and what the request has taken of them.

A pair is numbered `component * branches + place`: components are the distinct base items that the lines draw on, places
the branches in sourcing order. Day offsets count from the as_of day of the pair's branch.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.kernels.availability import Supply, _ages, walk
from pricegrid.atp.kernels.jit import compiled, inlined
from pricegrid.atp.kernels.pair_access import find_pair, is_unchanged, settled


class Ledger(NamedTuple):
    """Balance and ATP of each pair as a step function, without what the request takes; see `lay_out_pairs`."""

    code: NDArray[np.uint8]
    """(pairs,) as `kernel.walk` says it: OK, UNKNOWN_STOCK or RECHECK."""
    start: NDArray[np.int64]
    """(pairs + 1,): the steps of pair p are `start[p]:start[p + 1]`; the first is day 0."""
    day: NDArray[np.int32]
    balance: NDArray[np.int64]
    atp: NDArray[np.int64]
    """Micros from `day` on; never falls within a pair."""
    dropped: NDArray[np.int32]
    """(pairs,) receipts too late to count (A3)."""
    fresh: NDArray[np.uint8]
    """(pairs, 3) by `Source` (A11)."""
    as_of: NDArray[np.int64]
    """(pairs, 3) instants by `Source`."""


class Taken(NamedTuple):
    """What the request has taken: a list of (pick day offset, micros) for each pair, ascending, one entry a day."""

    head: NDArray[np.int32]
    """(pairs,) first entry, -1: none."""
    following: NDArray[np.int32]
    """(entries,) the next one of the same pair, -1: none."""
    day: NDArray[np.int32]
    micros: NDArray[np.int64]
    size: NDArray[np.int64]
    """(1,) entries in use."""


def empty_ledger(pairs: int, steps: int) -> Ledger:
    """Room for `steps` steps of all pairs together."""
    return Ledger(
        np.zeros(pairs, dtype=np.uint8),
        np.zeros(pairs + 1, dtype=np.int64),
        np.empty(steps, dtype=np.int32),
        np.empty(steps, dtype=np.int64),
        np.empty(steps, dtype=np.int64),
        np.zeros(pairs, dtype=np.int32),
        np.zeros((pairs, 3), dtype=np.uint8),
        np.zeros((pairs, 3), dtype=np.int64),
    )


def nothing_taken(pairs: int, entries: int) -> Taken:
    """Room for `entries` takes on different days of different pairs."""
    return Taken(
        np.full(pairs, -1, dtype=np.int32),
        np.empty(entries, dtype=np.int32),
        np.empty(entries, dtype=np.int32),
        np.empty(entries, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@inlined
def _lay_out(tables: Tables, supply: Supply, item: int, place: int, at: int, ledger: Ledger) -> int:
    """Write the steps of one pair as pair number `at`; returns how many. The only place that reads a live pair."""
    pair = find_pair(tables, item, supply.branch[place])
    base = ledger.start[at]
    while True:
        pair, version = settled(tables, pair)
        code, _, _, dropped, steps = walk(tables, supply, place, pair, ledger.day, ledger.balance, base, True)
        _ages(tables, supply, place, pair, True, at, ledger.fresh, ledger.as_of)
        if is_unchanged(tables, pair, version):
            break
    ledger.code[at], ledger.dropped[at] = code, dropped
    return int(steps)


@compiled
def lay_out_pairs(tables: Tables, supply: Supply, components: NDArray[np.int32], ledger: Ledger) -> None:
    """Fill the ledger of every component at every branch of `supply`."""
    branches = len(supply.branch)
    for component in range(len(components)):
        for place in range(branches):
            at = component * branches + place
            base = ledger.start[at]
            end = base + _lay_out(tables, supply, components[component], place, at, ledger)
            for k in range(base, end):
                ledger.atp[k] = ledger.balance[k]
            for k in range(end - 2, base - 1, -1):
                ledger.atp[k] = min(ledger.atp[k], ledger.atp[k + 1])
            ledger.start[at + 1] = end


@compiled
def take(taken: Taken, pair: int, day: int, micros: int) -> bool:
    """Take from a pair on a day, or give back if negative; False: there is no room for another entry."""
    before, entry = -1, taken.head[pair]
    while entry >= 0 and taken.day[entry] < day:
        before, entry = entry, taken.following[entry]
    if entry >= 0 and taken.day[entry] == day:
        taken.micros[entry] += micros
        return True
    size = taken.size[0]
    if size == len(taken.day):
        return False
    taken.day[size], taken.micros[size], taken.following[size] = day, micros, entry
    if before < 0:
        taken.head[pair] = size
    else:
        taken.following[before] = size
    taken.size[0] = size + 1
    return True


@compiled
def take_nothing(taken: Taken) -> None:
    """Forget what was taken."""
    taken.head[:] = -1
    taken.size[0] = 0


@compiled
def write_counts(
    ledger: Ledger,
    taken: Taken,
    pair: int,
    need: int,
    per: int,
    days: NDArray[np.int32],
    counts: NDArray[np.int64],
    base: int,
) -> int:
    """Write from `base` on how many quantities of need / per micros are left from each day on; returns the end.

    The caller has checked that the greatest ATP times `per` fits int64. What is taken never exceeds what was left, so
    no balance less it overflows.
    """
    step, last = ledger.start[pair], ledger.start[pair + 1]
    entry = taken.head[pair]
    if entry < 0:
        for k in range(step, last):
            days[base + k - step] = ledger.day[k]
            counts[base + k - step] = max(0, ledger.atp[k]) * per // need
        return int(base + last - step)
    gone, end = 0, base
    step += 1
    balance, day = ledger.balance[step - 1], np.int32(0)
    while True:
        if entry >= 0 and taken.day[entry] == day:
            gone += taken.micros[entry]
            entry = taken.following[entry]
        days[end], counts[end] = day, balance - gone
        end += 1
        if step < last and (entry < 0 or ledger.day[step] <= taken.day[entry]):
            balance, day = ledger.balance[step], ledger.day[step]
            step += 1
        elif entry >= 0:
            day = taken.day[entry]
        else:
            break
    lowest = counts[end - 1]
    for k in range(end - 1, base - 1, -1):
        lowest = min(lowest, counts[k])
        counts[k] = max(0, lowest) * per // need
    return int(end)


@compiled
def count_on(ledger: Ledger, taken: Taken, pair: int, need: int, per: int, day: int) -> int:
    """How many quantities of need / per micros are left on `day`, everything taken so far being of that day."""
    low, high = ledger.start[pair], ledger.start[pair + 1] - 1
    while low < high:
        middle = (low + high + 1) // 2
        if ledger.day[middle] <= day:
            low = middle
        else:
            high = middle - 1
    left = ledger.atp[low]
    entry = taken.head[pair]
    while entry >= 0:
        left -= taken.micros[entry]
        entry = taken.following[entry]
    return int(max(0, left) * per // need)


@compiled
def merge_least(days: NDArray[np.int32], counts: NDArray[np.int64], base: int, middle: int, end: int) -> int:
    """Replace two rising step functions, [base, middle) and [middle, end), by the lesser of both; returns its end.

    Uses the room from `end` on, as much again.
    """
    one, other, out = base, middle, end
    while True:
        day = max(days[one], days[other])
        count = min(counts[one], counts[other])
        if out > end and count == counts[out - 1]:
            pass
        else:
            days[out], counts[out] = day, count
            out += 1
        one_next = days[one + 1] if one + 1 < middle else np.int32(2**30)
        other_next = days[other + 1] if other + 1 < end else np.int32(2**30)
        if one_next == other_next == np.int32(2**30):
            break
        if one_next <= other_next:
            one += 1
        if other_next <= one_next:
            other += 1
    for k in range(end, out):
        days[base + k - end], counts[base + k - end] = days[k], counts[k]
    return int(base + out - end)
