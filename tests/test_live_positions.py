"""Live positions in shared memory: a reader never sees half of a state, whatever the writer is doing, or was."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pricegrid.atp.arrays.decode import live_pair
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.kernels import live as live_kernel
from pricegrid.atp.live.layout import BLOCK, CHANGES, RECEIPTS, ROW_WORDS, VERSION, LiveArrays
from pricegrid.atp.live.positions import LiveFileError, LiveFullError, LiveWriter, PairImage, look, open_live
from pricegrid.atp.model import MICROS, NO_INSTANT, CheckAsk
from pricegrid.loaders.compile.positions import compile_positions
from tests.atp_world import TODAY, at, complete_feed, frames_of, world
from tests.servers import until

# Whatever round it is: on-hand less allocated is ten, and what comes in goes out on the same day.
WRITER = """
import itertools, sys
from pathlib import Path
from pricegrid.atp.live.positions import LiveWriter
from tests.test_live_positions import image
writer = LiveWriter.create(Path(sys.argv[1]), pairs=4, words=1 << 12)
print("ready", flush=True)
for round in itertools.count():
    for item in range(3):
        writer.put(item, 0, image(round + item))
"""


def image(number: int) -> PairImage:
    """One of many states that all leave ten units free."""
    count = number % 17
    figures = ((10 + number) * MICROS, 0, number * MICROS, 0, at(0), at(0), 0, 0, NO_INSTANT)
    day = TODAY + 3
    detail = b"" if number % 3 else b'{"a":[[%d,%d,null]],"r":[],"d":[],"v":[]}' % (number * MICROS, at(0))
    return PairImage(
        figures,
        [(day, MICROS, MICROS)] * count,
        [(day, MICROS)] * count,
        [(day, at(-1), 5, 7)] * count,
        detail,
    )


@pytest.fixture
def engine() -> AvailabilityEngine:
    rows = world("A", "B", "C")
    complete_feed(rows, "MAIN")
    return AvailabilityEngine(compile_positions(frames_of(rows)))


def free(engine: AvailabilityEngine, projected: bool = False) -> set[int]:
    skus = [b"A", b"B", b"C"] * 20
    ask = CheckAsk(at(0), skus, np.full(60, MICROS), [b""] * 60, (b"MAIN",), projected=projected)
    return set(engine.check(ask).atp_micros.tolist())


@pytest.mark.slow
def test_no_reader_sees_half_of_a_state_even_when_the_writer_is_killed(engine, tmp_path):
    path = tmp_path / "live"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    try:
        assert writer.stdout.readline() == b"ready\n"
        live = open_live(path)
        engine.positions.attach(live)
        until(lambda: int(live.live_head[CHANGES]) > 10, "the writer is at work")
        began = int(live.live_head[CHANGES])
        for number in range(600):
            assert free(engine, projected=number % 5 == 0) == {10 * MICROS}
            found = live_pair(engine.positions, 0, 0)
            assert not found.allocations or (
                found.stock.on_hand_micros - found.allocations[0].allocated_micros == 10 * MICROS
            )
        assert int(live.live_head[CHANGES]) > began + 100, "it was written meanwhile"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert free(engine) == {10 * MICROS}
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


class Killed(BaseException):
    """The writer ends here."""


class Words:
    """An array whose writer is killed after so many stores into any of them."""

    def __init__(self, words: np.ndarray, left: list[int]) -> None:
        self.words, self.left = words, left

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, at: Any) -> int:
        return int(self.words[at])

    def __setitem__(self, at: Any, value: int) -> None:
        if self.left[0] == 0:
            raise Killed
        self.left[0] -= 1
        self.words[at] = value


Call = tuple[Callable, tuple]
"""A function of `atp.kernels.live` and its arguments after the arrays."""


def killed_after(stores: int, arrays: LiveArrays, calls: list[Call]) -> tuple[LiveArrays, bool]:
    """(a copy of the arrays, changed as far as a writer comes in so many stores, whether it came to its end)."""
    copy, left = LiveArrays(*(array.copy() for array in arrays)), [stores]
    words = LiveArrays(*(Words(array, left) for array in copy))
    slot_of = live_kernel.slot_of
    with pytest.MonkeyPatch.context() as plain:  # as Python runs it, store by store
        for name in (
            "_size_class",
            "_allocate_block",
            "_free_block",
            "free_old_block",
            "_block_words",
            "_held_start",
        ):
            plain.setattr(live_kernel, name, getattr(live_kernel, name).py_func)
        plain.setattr(live_kernel, "slot_of", lambda slots, key: slot_of(slots.words, key))
        plain.setattr(live_kernel, "store_release", Words.__setitem__)
        plain.setattr(live_kernel, "fence", lambda: None)
        try:
            for function, arguments in calls:
                assert function.py_func(words, *arguments)
        except Killed:
            return copy, False
    return copy, True


def put(item: int, image: PairImage) -> Call:
    """What `LiveWriter.put` calls."""
    calls: list[tuple] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_kernel, "put_pair", lambda _, *arguments: calls.append(arguments) or True)
        LiveWriter.in_memory(1, 8).put(item, 0, image)
    return live_kernel.put_pair, calls[0]


def put_figures(item: int, image: PairImage) -> Call:
    """What `LiveWriter.put_figures` calls."""
    return live_kernel.put_figures, (np.array([item]), np.array([0]), np.array([image.figures]))


def words_of(live: LiveArrays, row: int, before: LiveArrays | None = None) -> tuple:
    """What stands in a row and in its block, which is where it was `before`; beside the version."""
    words, were = (
        arrays.live_rows[row * ROW_WORDS : (row + 1) * ROW_WORDS] for arrays in (live, before or live)
    )
    block = live.live_blocks[were[BLOCK] : were[BLOCK] + live_kernel._block_words(before or live, row)]
    return words[:VERSION].tolist(), words[RECEIPTS:].tolist(), block.tolist()


def state(live: LiveArrays, row: int) -> tuple | None:
    """All that a reader who has found this row finds in it, or in its sibling."""
    return None if row < 0 else words_of(live, live_kernel.begin_row_read(live.live_rows, row)[0])


def row_of(live: LiveArrays, item: int) -> int:
    return live_kernel.find_live(live.live_slots, item, 0)


CHANGES_TO = {
    "a pair": (0, put(0, image(6))),
    "a new pair": (2, put(2, image(6))),
    "a pair without lists": (0, put(0, image(17))),
    "figures": (0, put_figures(0, image(6))),
    "figures of a new pair": (2, put_figures(2, image(17))),
    "a reservation more": (0, (live_kernel.put_held, (0, 0, TODAY, at(1), 3, 99))),
    "a reservation less": (0, (live_kernel.put_held, (0, 0, TODAY, at(1), 0, 7))),
}


@pytest.mark.parametrize("change", CHANGES_TO)
def test_a_writer_killed_at_any_store_leaves_the_old_or_the_new_state(change):
    """Three changes of one pair, the last at each of their stores. Also who found the pair's row before them, and
    comes to read it only now, reads a whole state."""
    writer = LiveWriter.in_memory(pairs=4, words=1 << 12)
    for number in range(4):
        writer.put(0, 0, image(number))
        writer.put(1, 0, image(number))
    arrays, (item, call) = writer.arrays, CHANGES_TO[change]
    calls, row, beside = (
        [call, put(item, image(9)), call],
        row_of(arrays, item),
        state(arrays, row_of(arrays, 1)),
    )
    ends = [killed_after(1 << 30, arrays, calls[:count])[0] for count in range(4)]
    whole = [state(live, row_of(live, item)) for live in ends]
    assert whole[0] != whole[1] != whole[2] != whole[3]

    stores, is_done, turned = 0, False, 0
    while not is_done:
        live, is_done = killed_after(stores, arrays, calls)
        seen = state(live, row_of(live, item))
        assert seen in whole[turned : turned + 2], f"after {stores} stores"
        turned = whole.index(seen, turned)
        assert state(live, row) in whole, f"after {stores} stores, by the row of before"
        assert state(live, row_of(live, 1)) == beside
        if row >= 0 and words_of(live, row, arrays) != words_of(arrays, row):
            version = arrays.live_rows[row * ROW_WORDS + VERSION]
            assert not live_kernel.is_row_stable(live.live_rows, row, version), "who reads it now looks again"
        stores += 1
    assert turned == 3


def test_a_full_file_is_refused_and_changes_nothing(engine):
    writer = LiveWriter.in_memory(pairs=2, words=64)
    engine.positions.attach(writer.readable())
    writer.put(0, 0, image(1))
    with pytest.raises(LiveFullError):
        writer.put(0, 0, image(16))
    writer.put(1, 0, image(2))
    with pytest.raises(LiveFullError):
        writer.put(2, 0, image(3))

    assert look(writer.readable(), 0, 0).figures[0] == 11 * MICROS
    assert look(writer.readable(), 2, 0) is None


def test_a_file_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "live").write_bytes(b"no live positions" * 100)

    with pytest.raises(LiveFileError, match=str(tmp_path / "live")):
        open_live(tmp_path / "live")
    with pytest.raises(LiveFileError, match="nothing"):
        open_live(tmp_path / "nothing")


def test_a_full_disk_leaves_no_file(tmp_path):
    with pytest.raises(OSError, match=r"No space|too large"):
        LiveWriter.create(tmp_path / "live", pairs=16, words=1 << 50)

    assert not (tmp_path / "live").exists()
