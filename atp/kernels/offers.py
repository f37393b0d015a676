"""Compiled: what each line of a request may be served with: the asked SKU, its substitutes, their components (A6, A7).

`open_kits` writes the components of each item, `resolve_lines` then loops over the lines: it merges the freshness of
all pairs that a line looks at, works out the least quantity of each offer that can be shipped (whole units, whole kits,
whole order multiples: a least common multiple) and what it takes of each component. A line whose figures leave int64 is
for the reference, and so is every line that shares a component with it, directly or through others: the loop over the
lines is repeated until no more is found. That is one pass for each line in such a chain at most, and one in practice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.kernels.balance import MAX, OK, RECHECK, UNKNOWN_STOCK
from pricegrid.atp.kernels.ledger import Ledger
from pricegrid.atp.model import MICROS
from pricegrid.columnar.exact import common_divisor, common_multiple
from pricegrid.columnar.jit import compiled


class Offers(NamedTuple):
    """The offers of line i are `start[i]:start[i + 1]`, in order; a line that has a status already has none."""

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


class LineFreshness(NamedTuple):
    """Of every line, whatever is promised of it: (lines, 3) states, (lines, 3) instants, (lines,) dropped receipts."""

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
def least_shipment(numerator: int, denominator: int, is_whole: bool, multiple: int, is_kit: bool) -> int:
    """The micros of the asked unit in the least quantity that can be shipped; 0: leaves int64 (A6).

    Whole asked units if `is_whole`, else whole kits of a kit; whole order multiples (micros of the base unit, 0: none).
    `numerator / denominator` base units are one asked unit.
    """
    unit = MICROS if is_whole else 1
    whole = MICROS if is_kit and not is_whole else 1
    if multiple > 1:
        whole = common_multiple(whole, multiple)
    if whole == 1:  # as of most lines, which spares them a division
        return unit
    if whole == 0 or whole > MAX // denominator:
        return 0
    # the least unit whose unit * numerator is a multiple of whole * denominator
    step = whole * denominator
    return int(common_multiple(unit, step // common_divisor(step, numerator)))


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
            across, other = common_divisor(numerator, per), common_divisor(need, denominator)
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
        for origin in range(branches):
            is_known = True
            for k in range(first, last):
                pair = offers.component[k] * branches + origin
                code = ledger.code[pair]
                if code == RECHECK:
                    return RECHECK
                is_known &= code == OK
                if code == OK and ledger.atp[ledger.start[pair + 1] - 1] > MAX // offers.per[k]:
                    return RECHECK
            known |= is_known
    return OK if known else UNKNOWN_STOCK


@compiled
def _merge_freshness(
    offers: Offers,
    ledger: Ledger,
    line: int,
    branches: int,
    freshness: LineFreshness,
    seen: NDArray[np.int64],
) -> None:
    """The worst state, the oldest instant, and the sum of dropped receipts over all pairs that the line reads.

    `seen` is the last line that read a component: one of two offers counts once.
    """
    freshness.fresh[line], freshness.as_of[line] = 0, MAX
    for k in range(offers.part_start[offers.start[line]], offers.part_start[offers.start[line + 1]]):
        component = offers.component[k]
        for origin in range(branches if seen[component] != line else 0):
            pair = component * branches + origin
            freshness.dropped[line] += ledger.dropped[pair]
            for source in range(3):
                freshness.fresh[line, source] = max(freshness.fresh[line, source], ledger.fresh[pair, source])
                freshness.as_of[line, source] = min(freshness.as_of[line, source], ledger.as_of[pair, source])
        seen[component] = line


@compiled
def resolve_lines(
    tables: Tables,
    offers: Offers,
    ledger: Ledger,
    branches: int,
    status: NDArray[np.uint8],
    freshness: LineFreshness,
) -> None:
    """Write the status and freshness of each open line, and the quantities of its offers.

    A line that the kernels can't answer is RECHECK, and so is every line that shares a component with one.
    """
    components = len(ledger.code) // branches
    needs_recheck = np.zeros(components, np.bool_)
    seen = np.full(components, -1, np.int64)
    for line in range(len(status)):
        if status[line] != OK and status[line] != RECHECK:
            continue
        _merge_freshness(offers, ledger, line, branches, freshness, seen)
        fits = True
        for offer in range(offers.start[line], offers.start[line + 1]):
            item = offers.item[offer]
            is_kit = tables.kit_start[item + 1] > tables.kit_start[item]
            offers.unit[offer] = least_shipment(
                offers.numerator[offer],
                offers.denominator[offer],
                offers.is_whole[offer],
                offers.multiple[offer],
                is_kit,
            )
            fits &= offers.unit[offer] > 0 and _needs(offers, offer)
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
                    if needs_recheck[offers.component[k]]:
                        status[line] = RECHECK
            if status[line] == RECHECK and not needs_recheck[offers.component[first:last]].all():
                needs_recheck[offers.component[first:last]] = True
                changed = True
