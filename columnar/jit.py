"""A typed door to numba: kernels are declared with `compiled` or `inlined`, and find memory by its address.

What kernels name of numba they import from here. It is imported only where it compiles them (`columnar.kernel_mode`);
elsewhere the names are those of `columnar.stand_ins`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from pricegrid.columnar.kernel_mode import KernelMode, kernel_mode

if TYPE_CHECKING or kernel_mode() is KernelMode.COMPILED:
    from llvmlite import ir
    from numba import carray, types  # type: ignore[attr-defined]
    from numba.core import cgutils
    from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global, signature
    from numba.extending import (
        infer_getattr,
        intrinsic,
        lower_builtin,
        lower_getattr_generic,
        models,
        overload,
        register_jitable,
        register_model,
    )

    from pricegrid.columnar.dispatcher import dispatch
else:
    from pricegrid.columnar.stand_ins import (
        AbstractTemplate,
        AttributeTemplate,
        carray,
        cgutils,
        dispatch,
        infer_getattr,
        infer_global,
        intrinsic,
        ir,
        lower_builtin,
        lower_getattr_generic,
        models,
        overload,
        register_jitable,
        register_model,
        signature,
        types,
    )

__all__ = [
    "AbstractTemplate",
    "AttributeTemplate",
    "carray",
    "cgutils",
    "compiled",
    "infer_getattr",
    "infer_global",
    "inlined",
    "intrinsic",
    "ir",
    "kernel",
    "lower_builtin",
    "lower_getattr_generic",
    "models",
    "overload",
    "part",
    "pointer",
    "register_jitable",
    "register_model",
    "signature",
    "types",
]
P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Any = None, **options: Any) -> Any:
    """`@kernel` or `@kernel(...)` with options of numba's: compile on first call, keep the machine code on disk."""
    if function is None:
        return lambda function: dispatch(function, **options)
    return dispatch(function, **options)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, keep the machine code on disk, run without the GIL."""
    return cast(Callable[P, R], dispatch(function, nogil=True, error_model="numpy"))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, and merged into its callers: a tuple of many arrays costs more to pass than to use."""
    return cast(
        Callable[P, R],
        dispatch(function, nogil=True, error_model="numpy", forceinline=True, is_optimised=False),
    )


def part(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, of a kernel that is optimised with its callers alone: a large one of few callers."""
    return cast(Callable[P, R], dispatch(function, nogil=True, error_model="numpy", is_optimised=False))


@intrinsic
def _pointer(_: Any, address: Any) -> Any:  # noqa: ARG001 - numba passes the typing context
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


# numba passes the typing context itself: to a type checker this takes the address alone
pointer: Any = _pointer
"""An address as numba's `carray` takes it."""
