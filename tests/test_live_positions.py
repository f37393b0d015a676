"""Live positions in shared memory: a reader never sees half of a state, whatever the writer is doing, or was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atp.decode import live_pair
from atp.engine import AvailabilityEngine
from atp.live import LiveFileError, LiveFullError, LiveWriter, PairImage, look, open_live
from atp.live_layout import CHANGES
from atp.model import MICROS, NO_INSTANT, CheckAsk
from loaders.compile_positions import compile_positions
from tests.atp_world import TODAY, at, complete_feed, frames_of, world
from tests.servers import until

# Whatever round it is: on-hand less allocated is ten, and what comes in goes out on the same day.
WRITER = """
import itertools, sys
from pathlib import Path
from atp.live import LiveWriter
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
        engine.positions.follow(live)
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


def test_a_full_file_is_refused_and_changes_nothing(engine):
    writer = LiveWriter.in_memory(pairs=2, words=64)
    engine.positions.follow(writer.readable())
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
