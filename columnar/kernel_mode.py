"""How kernels run in this process: numba compiles them, an extension has them already, or Python runs them.

It is settled by the first module that holds kernels, for the whole process.
"""

import enum
import os
import sys
from typing import Final

EXTENSION_VARIABLE: Final = "PRICEGRID_KERNEL_EXTENSION"
"""The file of the extension that kernels are taken from; not set, or empty: there is none."""


class KernelMode(enum.Enum):
    """Where the code of a kernel comes from."""

    COMPILED = enum.auto()
    """numba compiles it, or has kept it."""
    EXTENSION = enum.auto()
    """It was compiled ahead of time: numba is not needed."""
    PLAIN = enum.auto()
    """Python runs the function as it stands."""


_settled: KernelMode | None = None


def kernel_mode() -> KernelMode:
    """The mode of this process; from now on it stays as it is."""
    global _settled  # noqa: PLW0603 - one for the process
    if _settled is None:
        _settled = KernelMode.EXTENSION if os.environ.get(EXTENSION_VARIABLE) else KernelMode.COMPILED
    return _settled


def run_plainly() -> bool:
    """Have Python run the kernels; whether that was possible: not where they are in use already, or numba is."""
    global _settled  # noqa: PLW0603
    if _settled is None and "numba" not in sys.modules:
        _settled = KernelMode.PLAIN
    return _settled is KernelMode.PLAIN


def are_plain() -> bool:
    """Whether Python runs the kernels; settles nothing."""
    return _settled is KernelMode.PLAIN
