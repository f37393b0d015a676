"""Kernels as the plain Python that they are written in: for a process that answers one small question and ends.

Importing numba and fetching compiled kernels takes a command longer than its whole answer. What the references and the
decoders of arrays take of the kernels are a few short functions, which Python runs as they stand. So numba's place is
taken by decorators that leave a function as it is, and by Python for the operations that a processor has and Python
lacks. A kernel that needs more of numba says so when it is called: nothing is answered by half.

Only for a process in which numba has not been imported, and that never needs it afterwards.
"""

import platform
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, Final

ORDERS_LOADS: Final = platform.machine() in ("x86_64", "AMD64")
"""Whether this processor shows loads in the order of the program, as readers of what another process writes need it."""
_WORD: Final = (1 << 64) - 1
_MODULES: Final = (
    "numba",
    "numba.core",
    "numba.core.cgutils",
    "numba.core.typing",
    "numba.core.typing.templates",
    "numba.extending",
    "llvmlite",
)


def interpret_kernels() -> bool:
    """Takes numba's place; whether that was possible: not where numba is at work already."""
    if isinstance(sys.modules.get("numba"), _Absent):
        return True
    if "numba" in sys.modules:
        return False
    module: ModuleType
    for name in _MODULES:
        module = _Absent(name)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    for module in (sys.modules["numba"], sys.modules["numba.extending"]):
        vars(module).update(_DECORATORS)
    return True


def are_interpreted() -> bool:
    """Whether numba's place is taken."""
    return isinstance(sys.modules.get("numba"), _Absent)


class _Absent(ModuleType):
    """A module of numba: what of it is named and not among the decorators stands for a type."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _TYPE


class _Type:
    """A type of numba's, which nothing looks into here; can be called, and be a base class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self

    def __mro_entries__(self, _: object) -> tuple[type, ...]:
        return (object,)


_TYPE: Final = _Type()


def _unchanged(function: Any = None, **_: object) -> Any:
    """`@njit` and `@njit(...)`."""
    return _same if function is None else function


def _same(function: Any) -> Any:
    return function


def _aside(*_: object, **__: object) -> Callable[[Any], Any]:
    """`@overload(len)` and its like: what it decorates is for the compiler."""
    return _same


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the function has a processor do, in Python; or a clear error when it is called."""
    name = function.__module__, function.__name__

    def compiled_only(*_: object) -> Any:
        raise RuntimeError(f"{'.'.join(name)} works compiled alone")

    return _OPERATIONS.get(name, compiled_only)


def _count_ones(word: Any) -> int:
    return (int(word) & _WORD).bit_count()


def _load(words: Any, index: int) -> int:
    """An acquiring load, where the processor makes every load one: see ORDERS_LOADS."""
    return int(words[index])


_OPERATIONS: Final[Mapping[tuple[str, str], Callable[..., Any]]] = MappingProxyType(
    {
        ("pricegrid.columnar.bits", "_count_ones"): _count_ones,
        ("pricegrid.atp.kernels.atomic", "_load"): _load,
        ("pricegrid.atp.kernels.atomic", "_fence"): lambda: None,
    }
)
_DECORATORS: Final = {
    "njit": _unchanged,
    "register_jitable": _unchanged,
    "intrinsic": _intrinsic,
    "infer_getattr": _same,
    "lower_getattr_generic": _aside,
    "overload": _aside,
    "register_model": _aside,
}
