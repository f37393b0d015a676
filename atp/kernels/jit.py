"""A typed door to numba: every compiled function of this package is declared with `compiled`."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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


# numba passes the typing context itself: to a type checker these take the other arguments


@intrinsic
def _pointer(_: Any, address: Any) -> Any:  # noqa: ARG001
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def _fetch(_: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.gep(data, [context.cast(builder, args[1], signature.args[1], types.int64)])
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[ir.IntType(32)] * 3])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")  # type: ignore[no-untyped-call]
        words = (ir.Constant(ir.IntType(32), word) for word in (0, 3, 1))
        builder.call(prefetch, [builder.bitcast(place, cgutils.voidptr_t), *words])
        return context.get_dummy_value()

    return types.void(array, index), codegen


pointer: Any = _pointer
"""An address as numba's `carray` takes it."""
fetch: Any = _fetch
"""Begin to bring an element (counted over all dimensions) into the cache: nothing is read, it need not exist."""
