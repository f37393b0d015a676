"""A process that charges one caller's account as often as it is told, as fast as it can: several of them charge the
same one at the same time."""

import os
import sys
from pathlib import Path

from pricegrid.service.process.kernel_cache import use_kernel_cache

use_kernel_cache(os.environ)

import numba  # noqa: E402
import numpy as np  # noqa: E402

from pricegrid.service.quota import kernel  # noqa: E402
from pricegrid.service.quota.accounts import Accounts, key_of  # noqa: E402
from pricegrid.service.quota.rules import Rate  # noqa: E402


@numba.njit(nogil=True)
def admitted(slot, terms, raw, tag, now_ns, tries):
    count = 0
    for _ in range(tries):
        count += kernel.charge(slot, terms, raw, tag, now_ns) == 0
    return count


def main(path: str, now_ns: int, calls: int, lines: int, tries: int) -> None:
    """Prints how many of the tries were admitted; begins when told by a line of input."""
    slot, key = Accounts(Path(path), lambda: now_ns).account(key_of("shop"))
    of_calls, of_lines = Rate(1_000, calls), Rate(1_000, lines)
    terms = np.array([key, of_calls.cost_ns, of_calls.ahead_ns, of_lines.cost_ns, of_lines.ahead_ns])
    request = np.frombuffer(3 * b"\x12\x00", np.uint8)  # three empty lines
    admitted(slot, terms, request, 0x12, now_ns, 0)
    print("ready", flush=True)
    sys.stdin.readline()
    print(admitted(slot, terms, request, 0x12, now_ns, tries), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
