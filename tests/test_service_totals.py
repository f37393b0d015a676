"""The sum over branches: each at least 0, what is unknown adds nothing, and no sum wraps around."""

import numpy as np
import pytest

from pricegrid.atp.model import INT64_MAX, AvailabilityStatus, CheckAnswers
from pricegrid.service.methods.branch_totals import branch_totals

OK, BRANCH, STOCK, RANGE = (
    AvailabilityStatus.OK,
    AvailabilityStatus.UNKNOWN_BRANCH,
    AvailabilityStatus.UNKNOWN_STOCK,
    AvailabilityStatus.OUT_OF_RANGE,
)
UNKNOWN = AvailabilityStatus.UNKNOWN_ITEM


def answers(*branches: tuple[AvailabilityStatus, int]) -> CheckAnswers:
    """One line at some branches, as the engine answers it; the sum is held at the greatest number."""
    available = np.array([max(0, figure) for _, figure in branches])
    return CheckAnswers(
        branches=np.arange(len(branches), dtype=np.int32),
        status=np.array([status for status, _ in branches], np.uint8),
        atp_micros=np.array([figure for _, figure in branches]),
        available_micros=available,
        shortage_micros=np.maximum(8 - available, 0),
        dropped_receipts=np.zeros(len(branches), np.int32),
        freshness=np.array([[number, 0, 2] for number in range(len(branches))], np.uint8),
        source_as_of_us=np.array([[100 - number, 5, 7] for number in range(len(branches))]),
        total_available_micros=np.array([min(INT64_MAX, sum(available.tolist()))]),
    )


SUMS = [
    ("one branch", [(OK, 5)], OK, 5, 3),
    ("five and minus three", [(OK, 5), (OK, -3)], OK, 5, 3),
    ("enough together", [(OK, 5), (OK, 6)], OK, 11, 0),
    ("one is unknown", [(STOCK, 0), (OK, 5)], OK, 5, 3),
    ("one does not exist", [(OK, 5), (BRANCH, 0)], BRANCH, 0, 0),
    ("all are unknown", [(STOCK, 0), (STOCK, 0)], STOCK, 0, 0),
    ("none is known", [(STOCK, 0), (BRANCH, 0)], BRANCH, 0, 0),
    ("no such item", [(UNKNOWN, 0), (UNKNOWN, 0)], UNKNOWN, 0, 0),
    ("one is out of range", [(OK, 5), (RANGE, 0)], RANGE, 0, 0),
    ("the sum is out of range", [(OK, INT64_MAX), (OK, 1)], RANGE, 0, 0),
    ("the greatest number of one", [(OK, INT64_MAX)], OK, INT64_MAX, 0),
]


@pytest.mark.parametrize(
    ("branches", "status", "available", "shortage"), [row[1:] for row in SUMS], ids=[row[0] for row in SUMS]
)
def test_sums(branches, status, available, shortage):
    totals = branch_totals(answers(*branches), np.array([8]))

    assert totals.status.tolist() == [status]
    assert totals.available_micros.tolist() == [available]
    assert totals.shortage_micros.tolist() == [shortage]


def test_the_worst_and_oldest_data_counts():
    totals = branch_totals(answers((OK, 1), (OK, 1)), np.array([8]))

    assert totals.freshness.tolist() == [[1, 0, 2]]
    assert totals.source_as_of_us.tolist() == [[99, 5, 7]]
