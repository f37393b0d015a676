"""The availability of each line in total over the requested branches (A7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.model import INT64_MAX, AvailabilityStatus, CheckAnswers


@dataclass(frozen=True, slots=True)
class BranchTotals:
    """One entry per line. Quantities are in the requested unit, and 0 unless `status` is OK."""

    status: NDArray[np.uint8]
    available_micros: NDArray[np.int64]
    shortage_micros: NDArray[np.int64]
    freshness: NDArray[np.uint8]
    """(lines, 3) by `Source`: the worst over the branches."""
    source_as_of_us: NDArray[np.int64]
    """(lines, 3) by `Source`: the oldest over the branches; NO_INSTANT where unknown."""


def branch_totals(answers: CheckAnswers, quantities_micros: NDArray[np.int64]) -> BranchTotals:
    """Adds up over the branches (at least one), each clamped at 0 (A7); a sum beyond int64 is OUT_OF_RANGE."""
    lines, branches = len(quantities_micros), len(answers.branches)
    if branches == 1:
        return BranchTotals(
            answers.status,
            answers.available_micros,
            answers.shortage_micros,
            answers.freshness,
            answers.source_as_of_us,
        )
    each = answers.status.reshape(lines, branches)
    total = answers.total_available_micros
    # The engine saturates sums at the greatest int64.
    beyond = (each == AvailabilityStatus.OUT_OF_RANGE).any(axis=1) | (total == INT64_MAX)
    # An unknown branch is an error of the request: it must not count as 0.
    worst = AvailabilityStatus.UNKNOWN_BRANCH
    mistaken = (each == worst).any(axis=1)
    least = np.where(mistaken & (each.min(axis=1) == AvailabilityStatus.OK), worst, each.min(axis=1))
    status = np.where(beyond & ~mistaken, AvailabilityStatus.OUT_OF_RANGE, least).astype(np.uint8)
    ok = status == AvailabilityStatus.OK
    available = np.where(ok, total, 0)
    return BranchTotals(
        status=status,
        available_micros=available,
        shortage_micros=np.where(ok, np.maximum(quantities_micros - available, 0), 0),
        freshness=answers.freshness.reshape(lines, branches, 3).max(axis=1),
        source_as_of_us=answers.source_as_of_us.reshape(lines, branches, 3).min(axis=1),
    )
