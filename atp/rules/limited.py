"""Why nothing of a line can be promised though there is stock: its unit, the order multiple, the smallest shipment."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.model import (
    INT64_MAX,
    MICROS,
    AvailabilityStatus,
    CheckAnswers,
    CheckAsk,
    Limit,
    PromiseAnswers,
    PromiseAsk,
)

PAIRS_MAX: Final = 100
"""Pairs of lines and branches whose stock over the horizon is read for a reason; of the lines beyond, only the quantity
is examined."""


class LineTerms(NamedTuple):
    """What a line may be promised in."""

    asked_micros: int
    """In the asked unit."""
    units: Fraction
    """Base units in one asked unit."""
    is_unit_asked: bool
    multiple_micros: int
    """Order multiple in base units, 0 for none."""
    minimum_micros: int = 0
    """Smallest shipment, in the asked unit."""


def limit_of(line: LineTerms, free_micros: int | None) -> Limit:
    """Why nothing can be promised of so many free base units (None: of any number); NONE where something can."""
    asked = line.asked_micros * line.units
    usable = asked if free_micros is None else min(asked, Fraction(free_micros))
    if usable <= 0:
        return Limit.NONE
    step = Fraction(0)
    if line.is_unit_asked:
        step = MICROS * line.units
        if usable < step:
            return Limit.UNIT
    if line.multiple_micros:
        step = _least_common(step, Fraction(line.multiple_micros)) if step else Fraction(line.multiple_micros)
        if usable < step:
            return Limit.ORDER_MULTIPLE
    most = usable // step * step if step else usable
    least = min(line.minimum_micros, line.asked_micros) * line.units
    return Limit.MINIMUM_SHIPMENT if most < least else Limit.NONE


def whole_limit(line: LineTerms) -> Limit:
    """Why the quantity can never be promised in full, whatever the stock."""
    if line.is_unit_asked and line.asked_micros % MICROS:
        return Limit.UNIT
    base = line.asked_micros * line.units
    return Limit.ORDER_MULTIPLE if line.multiple_micros and base % line.multiple_micros else Limit.NONE


def _least_common(one: Fraction, other: Fraction) -> Fraction:
    """The least number that is a whole multiple of both."""
    return Fraction(
        math.lcm(one.numerator * other.denominator, other.numerator * one.denominator),
        one.denominator * other.denominator,
    )


class Terms:
    """What the lines of a question may be promised in."""

    def __init__(
        self,
        quantities_micros: NDArray[np.int64],
        numerator: NDArray[np.int64],
        denominator: NDArray[np.int64],
        is_unit_asked: NDArray[np.bool_],
        multiple_micros: NDArray[np.int64],
        minimum_micros: int = 0,
    ) -> None:
        self.is_unit_asked = is_unit_asked
        self.asked = quantities_micros
        self._numerator, self._denominator, self._multiple = numerator, denominator, multiple_micros
        self._minimum = minimum_micros
        step = np.where(multiple_micros > 0, multiple_micros, np.where(is_unit_asked, MICROS, 0))
        self.step: NDArray[np.int64] = np.where((multiple_micros > 0) & is_unit_asked, INT64_MAX, step)
        """(lines,) so many micros asked and free are surely no less than one step; 0: anything is."""
        self.is_bound: NDArray[np.bool_] = (self.step > 0) | (minimum_micros > 0)

    def line(self, line: int) -> LineTerms:
        """Of one line."""
        return LineTerms(
            int(self.asked[line]),
            Fraction(int(self._numerator[line]), int(self._denominator[line])),
            bool(self.is_unit_asked[line]),
            int(self._multiple[line]),
            self._minimum,
        )


def with_check_limits(
    answers: CheckAnswers, ask: CheckAsk, terms: Terms, check: Callable[[CheckAsk], CheckAnswers]
) -> CheckAnswers:
    """The answers with a reason where nothing of what is available can be promised; `check` answers in base units."""
    branches = len(answers.branches)
    each = np.repeat(np.arange(len(terms.asked)), branches)
    atp = answers.atp_micros
    is_near = (answers.status == AvailabilityStatus.OK) & (
        np.minimum(terms.asked[each], atp) < terms.step[each]
    )
    is_part = is_near & terms.is_unit_asked[each] & (atp == 0)
    near = np.flatnonzero(is_part | (is_near & (atp > 0))).tolist()
    if not near:
        return answers
    parts = sorted(set(each[is_part].tolist()))
    in_base = _in_base_units(ask, parts, check) if parts else {}
    limit = np.zeros(len(answers.status), dtype=np.uint8)
    for at in near:
        line, place = divmod(at, branches)
        of_line = terms.line(line)
        free = int(in_base[line][place]) if is_part[at] else math.floor(int(atp[at]) * of_line.units)
        limit[at] = limit_of(of_line, free)
    return replace(answers, limit=limit)


def _in_base_units(
    ask: CheckAsk, lines: Sequence[int], check: Callable[[CheckAsk], CheckAnswers]
) -> dict[int, NDArray[np.int64]]:
    found = check(_some(ask, lines))
    return dict(zip(lines, found.atp_micros.reshape(len(lines), -1), strict=True))


def _some(ask: CheckAsk, lines: Sequence[int]) -> CheckAsk:
    """Some of its lines, in base units."""
    return replace(
        ask,
        skus=[ask.skus[line] for line in lines],
        quantities_micros=np.full(len(lines), MICROS, dtype=np.int64),
        uoms=[b""] * len(lines),
        projected=False,
    )


def with_promise_limits(
    answers: PromiseAnswers,
    ask: PromiseAsk,
    branches: Sequence[bytes],
    terms: Terms,
    check: Callable[[CheckAsk], CheckAnswers],
) -> PromiseAnswers:
    """The answers with a reason for each line of which nothing is promised though there is stock on some day."""
    is_nothing = (answers.status == AvailabilityStatus.OK) & (np.diff(answers.part_start) == 0)
    lines: list[int] = np.flatnonzero(is_nothing & terms.is_bound).tolist()
    if not lines:
        return answers
    limit = np.zeros(len(answers.status), dtype=np.uint8)
    examined = lines[: PAIRS_MAX // max(1, len(branches))]
    best = _best(ask, branches, examined, check) if examined and branches else {}
    for line in lines:
        limit[line] = limit_of(terms.line(line), best.get(line))
    return replace(answers, limit=limit)


def _best(
    ask: PromiseAsk,
    branches: Sequence[bytes],
    lines: Sequence[int],
    check: Callable[[CheckAsk], CheckAnswers],
) -> dict[int, int]:
    """The most of each line that is free at one branch on one day, in base units."""
    found = check(
        CheckAsk(
            ask.as_of_us,
            [ask.skus[line] for line in lines],
            np.full(len(lines), MICROS, dtype=np.int64),
            [b""] * len(lines),
            branches,
            ask.supply,
            projected=True,
            exclude_reservation=ask.exclude_reservation,
        )
    )
    best = dict.fromkeys(lines, 0)
    steps = found.projected
    if steps is None:
        return best
    for at, line in enumerate(np.repeat(lines, len(branches)).tolist()):
        free = steps.atp_micros[int(steps.start[at]) : int(steps.start[at + 1])]
        best[line] = max(best[line], int(free.max(initial=0)))
    return best
