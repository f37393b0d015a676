"""A typed door to numba: every compiled function of this package is declared with `compiled`."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, keep the machine code on disk, run without the GIL."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, and merged into its callers: tables are tuples of many arrays, dear to hand over."""
    return cast(
        Callable[P, R], numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function)
    )
