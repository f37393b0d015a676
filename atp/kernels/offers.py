"""What each line of a request may be served with: the asked SKU, its substitutes, their components and quantities."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.kernels.availability import MAX, OK, RECHECK, UNKNOWN_STOCK
from pricegrid.atp.kernels.jit import compiled
from pricegrid.atp.kernels.ledger import Ledger
from pricegrid.atp.model import MICROS


class Offers(NamedTuple):
    """The offers of line i are `start[i]:start[i + 1]`, in order; a line that was answered already has none."""

    start: NDArray[np.int64]
    item: NDArray[np.int32]
    numerator: NDArray[np.int64]
    """Base units in an asked unit."""
    denominator: NDArray[np.int64]
    is_whole: NDArray[np.bool_]
    """Whether a unit was asked for: only whole ones are promised."""
    multiple: NDArray[np.int64]
    """Order multiple in micros of the base unit, 0: none."""
    unit: NDArray[np.int64]
    """Micros of the asked unit in the least quantity that can be shipped."""
    part_start: NDArray[np.int64]
    """The components of offer o are `part_start[o]:part_start[o + 1]`; the item itself when it is no kit."""
    component: NDArray[np.int32]
    """Number of the component in the request's ledger."""
    need: NDArray[np.int64]
    """The least quantity that can be shipped takes need / per micros of the component."""
    per: NDArray[np.int64]


class Ages(NamedTuple):
    """What is said of every line whatever is promised of it: (lines, 3), (lines, 3) and (lines,)."""

    fresh: NDArray[np.uint8]
    as_of: NDArray[np.int64]
    dropped: NDArray[np.int32]


@compiled
def open_kits(
    tables: Tables, items: NDArray[np.int32], part_start: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """(base components, needs, pers) of each item: a base unit takes need / per of each. Fills `part_start`."""
    total = 0
    for i in range(len(items)):
        part_start[i] = total
        total += max(1, tables.kit_start[items[i] + 1] - tables.kit_start[items[i]])
    part_start[len(items)] = total
    component = np.empty(total, np.int32)
    need = np.ones(total, np.int64)
    per = np.ones(total, np.int64)
    for i in range(len(items)):
        first, at = tables.kit_start[items[i]], part_start[i]
        count = tables.kit_start[items[i] + 1] - first
        if count == 0:
            component[at] = items[i]
        for k in range(count):
            component[at + k] = tables.kit_component[first + k]
            need[at + k] = tables.kit_numerator[first + k]
            per[at + k] = tables.kit_denominator[first + k]
    return component, need, per


@compiled
def _divisor(one: int, other: int) -> int:
    """The greatest common divisor."""
    while other != 0:
        one, other = other, one % other
    return one


@compiled
def _common_multiple(one: int, other: int) -> int:
    """The least common multiple; 0: it leaves int64."""
    part = one // _divisor(one, other)
    return 0 if part > MAX // other else part * other


@compiled
def _shippable(offers: Offers, offer: int, is_kit: bool) -> bool:
    """Work out `unit`: whole asked units (or micros), whole kits, whole order multiples (A6); False: leaves int64."""
    numerator, denominator = offers.numerator[offer], offers.denominator[offer]
    unit = MICROS if offers.is_whole[offer] else 1
    whole = MICROS if is_kit and not offers.is_whole[offer] else 1
    if offers.multiple[offer] > 0:
        whole = _common_multiple(whole, offers.multiple[offer])
    if whole == 0:
        return False
    if whole > 1:
        # the least unit whose unit * numerator is a multiple of whole * denominator
        if whole > MAX // denominator:
            return False
        step = whole * denominator
        unit = _common_multiple(unit, step // _divisor(step, numerator))
    offers.unit[offer] = unit
    return unit > 0


@compiled
def _needs(offers: Offers, offer: int) -> bool:
    """Turn each component's need of a base unit into that of the least shippable quantity; False: leaves int64."""
    for k in range(offers.part_start[offer], offers.part_start[offer + 1]):
        if offers.per[k] == 0:
            return False
        need, per = offers.need[k], offers.per[k]
        # need / per * numerator / denominator * unit, reduced on the way
        for numerator, denominator in (
            (offers.numerator[offer], offers.denominator[offer]),
            (offers.unit[offer], 1),
        ):
            across, other = _divisor(numerator, per), _divisor(need, denominator)
            up, down = numerator // across, denominator // other
            need, per = need // other, per // across
            if need > MAX // up or per > MAX // down:
                return False
            need, per = need * up, per * down
        offers.need[k], offers.per[k] = need, per
    return True


@compiled
def _line_status(offers: Offers, ledger: Ledger, line: int, branches: int) -> int:
    """OK when any offer is known at any branch, else UNKNOWN_STOCK; RECHECK when int64 can't hold what it takes."""
    known = False
    for offer in range(offers.start[line], offers.start[line + 1]):
        first, last = offers.part_start[offer], offers.part_start[offer + 1]
        for place in range(branches):
            is_known = True
            for k in range(first, last):
                pair = offers.component[k] * branches + place
                code = ledger.code[pair]
                if code == RECHECK:
                    return RECHECK
                is_known &= code == OK
                if code == OK and ledger.atp[ledger.start[pair + 1] - 1] > MAX // offers.per[k]:
                    return RECHECK
            known |= is_known
    return OK if known else UNKNOWN_STOCK


@compiled
def _age(
    offers: Offers, ledger: Ledger, line: int, branches: int, ages: Ages, seen: NDArray[np.int64]
) -> None:
    """The worst state, the oldest instant, and the sum of dropped receipts over all pairs the line looks at.

    `seen` is the last line that looked at a component: one of two offers counts once.
    """
    ages.fresh[line], ages.as_of[line] = 0, MAX
    for k in range(offers.part_start[offers.start[line]], offers.part_start[offers.start[line + 1]]):
        component = offers.component[k]
        for place in range(branches if seen[component] != line else 0):
            pair = component * branches + place
            ages.dropped[line] += ledger.dropped[pair]
            for source in range(3):
                ages.fresh[line, source] = max(ages.fresh[line, source], ledger.fresh[pair, source])
                ages.as_of[line, source] = min(ages.as_of[line, source], ledger.as_of[pair, source])
        seen[component] = line


@compiled
def judge_lines(
    tables: Tables, offers: Offers, ledger: Ledger, branches: int, status: NDArray[np.uint8], ages: Ages
) -> None:
    """Settle each open line's status and ages, and its offers' quantities.

    A line that the kernels can't answer is RECHECK, and so is every line that shares a component with one.
    """
    components = len(ledger.code) // branches
    spoilt = np.zeros(components, np.bool_)
    seen = np.full(components, -1, np.int64)
    for line in range(len(status)):
        if status[line] != OK and status[line] != RECHECK:
            continue
        _age(offers, ledger, line, branches, ages, seen)
        fits = True
        for offer in range(offers.start[line], offers.start[line + 1]):
            item = offers.item[offer]
            is_kit = tables.kit_start[item + 1] > tables.kit_start[item]
            fits &= _shippable(offers, offer, is_kit) and _needs(offers, offer)
        if status[line] == OK:
            status[line] = _line_status(offers, ledger, line, branches) if fits else RECHECK
    changed = True
    while changed:
        changed = False
        for line in range(len(status)):
            if status[line] != OK and status[line] != RECHECK:
                continue
            first, last = offers.part_start[offers.start[line]], offers.part_start[offers.start[line + 1]]
            if status[line] == OK:
                for k in range(first, last):
                    if spoilt[offers.component[k]]:
                        status[line] = RECHECK
            if status[line] == RECHECK and not spoilt[offers.component[first:last]].all():
                spoilt[offers.component[first:last]] = True
                changed = True
