"""The soak in a short form; `python -m tests.soak` is the long one."""

import os
from collections import Counter

import pytest

from tests.soak import soak

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
SECONDS = 120.0 if LONG else 30.0


def is_enough(seen: Counter[str]) -> bool:
    return (
        seen["swaps"] > 0
        and seen["changes acknowledged"] > 10
        and min(seen["prices checked"], seen["availability checked"]) > 1_000
        and seen["processes killed"] + seen["processes stopped"] > 1
    )


@pytest.mark.slow
def test_nothing_is_wrong_while_everything_happens_at_once(tmp_path):
    counts = soak(
        tmp_path / "store",
        SECONDS,
        swap_s=6.0,
        disturb_s=(2.0, 6.0),
        stopped_s=(0.5, 4.0),
        spinners=1,
        report_s=10.0,
        is_enough=is_enough,
    )

    seen = counts.of
    assert (seen["wrong"], seen["FRESH that are not"]) == (0, 0), counts.examples
    assert is_enough(seen), seen
