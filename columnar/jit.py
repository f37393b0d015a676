"""A typed door to numba: kernels are declared with `compiled` or `inlined`, and find memory by its address."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, keep the machine code on disk, run without the GIL."""
    return cast(Callable[P, R], numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, and merged into its callers: a tuple of many arrays costs more to pass than to use."""
    return cast(
        Callable[P, R], numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)(function)
    )


@intrinsic
def _pointer(_: Any, address: Any) -> Any:  # noqa: ARG001 - numba passes the typing context
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


# numba passes the typing context itself: to a type checker this takes the address alone
pointer: Any = _pointer
"""An address as numba's `carray` takes it."""
