"""Compiled: what the (component, branch) pairs of one request hold, read once, and what the request consumes of them.

`lay_out_pairs` loops over components and their branches and writes the balance of each pair as a step function, then
its ATP from the last step back (A2, the suffix minimum): one pass forward and one backward over the steps. A promise
never reads a pair again, so all its lines see one state. What lines consume is a list for each pair, ascending by day,
one entry a day; `write_counts` merges both into how many shippable quantities are left from each day on: as many steps
as both lists have.

A pair is numbered `component * branches + origin`: components are the distinct base items that the lines draw on,
origins the branches in sourcing order. Day offsets count from the as_of day of the pair's branch.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.kernels.balance import Supply, project_balance, suffix_minimum, write_freshness
from pricegrid.atp.kernels.pair_access import begin_read, find_pair, is_read_stable
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.search import first_at_least


class Ledger(NamedTuple):
    """Balance and ATP of each pair as a step function, before the request consumes anything."""

    code: NDArray[np.uint8]
    """(pairs,) as `project_balance` has it: OK, UNKNOWN_STOCK or RECHECK."""
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


class Consumed(NamedTuple):
    """What the request has consumed: a list of (pick day offset, micros) for each pair, ascending, one entry a day."""

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


def nothing_consumed(pairs: int, entries: int) -> Consumed:
    """Room for `entries` different days of different pairs."""
    return Consumed(
        np.full(pairs, -1, dtype=np.int32),
        np.empty(entries, dtype=np.int32),
        np.empty(entries, dtype=np.int32),
        np.empty(entries, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@inlined
def _lay_out(tables: Tables, supply: Supply, item: int, origin: int, at: int, ledger: Ledger) -> int:
    """Write the steps of one pair as pair number `at`; returns how many. Nothing else here reads a live pair."""
    pair = find_pair(tables, item, supply.branch[origin])
    base = ledger.start[at]
    while True:
        pair, version = begin_read(tables, pair)
        code, _, _, dropped, steps = project_balance(
            tables, supply, origin, pair, ledger.day, ledger.balance, base, True
        )
        write_freshness(tables, supply, origin, pair, True, at, ledger.fresh, ledger.as_of)
        if is_read_stable(tables, pair, version):
            break
    ledger.code[at], ledger.dropped[at] = code, dropped
    return int(steps)


@compiled
def lay_out_pairs(tables: Tables, supply: Supply, components: NDArray[np.int32], ledger: Ledger) -> None:
    """Fill the ledger of every component at every branch of `supply`."""
    branches = len(supply.branch)
    for component in range(len(components)):
        for origin in range(branches):
            at = component * branches + origin
            base = ledger.start[at]
            end = base + _lay_out(tables, supply, components[component], origin, at, ledger)
            for k in range(base, end):
                ledger.atp[k] = ledger.balance[k]
            suffix_minimum(ledger.atp, base, end)
            ledger.start[at + 1] = end


@compiled
def consume(consumed: Consumed, pair: int, day: int, micros: int) -> bool:
    """Consume of a pair on a day, or return if negative; False: there is no room for another entry."""
    before, entry = -1, consumed.head[pair]
    while entry >= 0 and consumed.day[entry] < day:
        before, entry = entry, consumed.following[entry]
    if entry >= 0 and consumed.day[entry] == day:
        consumed.micros[entry] += micros
        return True
    size = consumed.size[0]
    if size == len(consumed.day):
        return False
    consumed.day[size], consumed.micros[size], consumed.following[size] = day, micros, entry
    if before < 0:
        consumed.head[pair] = size
    else:
        consumed.following[before] = size
    consumed.size[0] = size + 1
    return True


@compiled
def reset_consumed(consumed: Consumed) -> None:
    """Nothing is consumed."""
    consumed.head[:] = -1
    consumed.size[0] = 0


@compiled
def write_counts(
    ledger: Ledger,
    consumed: Consumed,
    pair: int,
    need: int,
    per: int,
    days: NDArray[np.int32],
    counts: NDArray[np.int64],
    base: int,
) -> int:
    """Write from `base` on how many quantities of need / per micros are left from each day on; returns the end.

    The caller has checked that the greatest ATP times `per` fits int64. No more is consumed than was left, so no
    balance less it overflows.
    """
    step, last = ledger.start[pair], ledger.start[pair + 1]
    entry = consumed.head[pair]
    if entry < 0:
        for k in range(step, last):
            days[base + k - step] = ledger.day[k]
            counts[base + k - step] = max(0, ledger.atp[k]) * per // need
        return int(base + last - step)
    used, end = 0, base
    step += 1
    balance, day = ledger.balance[step - 1], np.int32(0)
    while True:
        if entry >= 0 and consumed.day[entry] == day:
            used += consumed.micros[entry]
            entry = consumed.following[entry]
        days[end], counts[end] = day, balance - used
        end += 1
        if step < last and (entry < 0 or ledger.day[step] <= consumed.day[entry]):
            balance, day = ledger.balance[step], ledger.day[step]
            step += 1
        elif entry >= 0:
            day = consumed.day[entry]
        else:
            break
    suffix_minimum(counts, base, end)
    for k in range(base, end):
        counts[k] = max(0, counts[k]) * per // need
    return int(end)


@compiled
def count_on(ledger: Ledger, consumed: Consumed, pair: int, need: int, per: int, day: int) -> int:
    """How many quantities of need / per micros are left on `day`, everything consumed so far being of that day."""
    step = first_at_least(ledger.day, day + 1, ledger.start[pair] + 1, ledger.start[pair + 1]) - 1
    left = ledger.atp[step]
    entry = consumed.head[pair]
    while entry >= 0:
        left -= consumed.micros[entry]
        entry = consumed.following[entry]
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
