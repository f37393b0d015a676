"""What calls pass on their way, and how deep imports go: what is counted, and the bounds that are kept."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from bench.call_trace import Trace, levels, measure, table, trace
from pricegrid.columnar.decimals import decimal_text
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.service.codec.event_json import event_from_json, event_json
from pricegrid.service.codec.scan_kernel import HEAD_SIZE, LIMITS, scan_arrays
from tests.test_service_event_codec import GOOD_EVENT

LEVELS_MAX = 8
BOUNDS = {
    "quote, general path": 18,
    "quote, fast path": 8,
    "inventory event": 12,
    "inventory event of a Redis stream": 16,
}
"""Files of Python."""


def test_a_call_within_a_file_is_no_move():
    text = event_json(GOOD_EVENT)

    assert trace(lambda: decimal_text(1)) == Trace(["columnar/decimals.py"], [], calls=1, moves=0)
    found = trace(lambda: event_from_json(text))
    assert found.files == [
        "service/codec/event_json.py",
        "service/clock.py",
        "columnar/instants.py",
        "service/codec/request.py",
    ]
    assert found.calls > 20
    assert found.moves == 7  # two calls for the instant, one for each name


def test_kernels_are_counted_apart():
    lines = LineColumns([b"A"], np.array([1]), [b""])
    text, rows = lines.for_kernel()
    call = partial(scan_arrays, text, np.zeros(HEAD_SIZE, np.int64), rows, LIMITS)
    call()  # fetches the kernel

    assert trace(call) == Trace([], ["service/codec/scan_kernel.py"], calls=1, moves=0)


@pytest.fixture(scope="module")
def deep() -> dict[str, int]:
    return levels()


def test_no_folder_imports_deeper_than_it_should(deep):
    assert {folder: found for folder, found in deep.items() if found > LEVELS_MAX} == {}


def test_levels_are_modules_in_a_row(deep):
    assert deep["service/fast_path"] == 2  # path, kernel
    assert deep["service/codec"] > 3  # prices, plain_writer, availability, request


@pytest.mark.slow
def test_calls_pass_no_more_files_than_they_should(tmp_path: Path):
    found = measure(tmp_path)

    assert {
        name: each.files for name, each in found.items() if len(each.files) > BOUNDS.get(name, 1_000)
    } == {}
    assert all(each.calls > each.moves > 0 for each in found.values())
    assert table(found, levels()).count("\n|") == 1 + len(found)
