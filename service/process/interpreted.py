"""Kernels as the plain Python that they are written in: for a process that answers one small question and ends.

Importing numba and fetching compiled kernels takes a command longer than its whole answer. What the references and the
decoders of arrays take of the kernels are a few short functions, which Python runs as they stand
(`columnar.stand_ins`).

Only for a process that has imported no kernel, and that never needs one afterwards.
"""

import platform
from typing import Final

from pricegrid.columnar.kernel_mode import are_plain, run_plainly

ORDERS_LOADS: Final = platform.machine() in ("x86_64", "AMD64")
"""Whether this processor shows loads in the order of the program, as readers of what another process writes need it."""


def interpret_kernels() -> bool:
    """Leaves kernels as they are written; whether that was possible: not where compiled ones are at work already."""
    return run_plainly()


def are_interpreted() -> bool:
    """Whether they are."""
    return are_plain()
