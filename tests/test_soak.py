"""The soak in a short form; `python -m tests.soak` is the long one."""

import os

import pytest

from tests.soak import soak

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
SECONDS = 120.0 if LONG else 30.0


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
    )

    seen = counts.of
    assert (seen["wrong"], seen["FRESH that are not"]) == (0, 0), counts.examples
    assert seen["swaps"], seen
    assert seen["changes acknowledged"] > 10, seen
    assert min(seen["prices checked"], seen["availability checked"]) > 1_000, seen
    assert seen["processes killed"] + seen["processes stopped"] > 1, seen
