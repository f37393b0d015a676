"""`pricegrid` with a clock that a test sets: the eight bytes of the file that PRICEGRID_TEST_CLOCK names, microseconds.

The processes of a server are forked from one that runs the top of this file too, before anything of the product has
taken the clock.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path

from pricegrid.service import clock
from pricegrid.service.process import forker

_CLOCKS: list[mmap.mmap] = []


def use_clock(path: Path) -> None:
    """From now on this process and those it forks take the time from that file."""
    with path.open("rb") as file:
        _CLOCKS[:] = [mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)]


def now_us() -> int:
    return struct.unpack("<q", _CLOCKS[0][:8])[0] if _CLOCKS else time.time_ns() // 1_000


clock.now_us = now_us
forker.PRELOADED.insert(0, "clocked_server")  # the folder of a script is on the path
if "PRICEGRID_TEST_CLOCK" in os.environ:
    use_clock(Path(os.environ["PRICEGRID_TEST_CLOCK"]))

if __name__ == "__main__":
    from pricegrid.service.cli.main import main

    sys.exit(main())
