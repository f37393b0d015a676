"""What stands for numba where it compiles nothing: its decorators, and its types, which nothing looks into then.

A kernel is taken from the extension, or is the Python that it is written in; then Python also does the operations that
a processor has and it lacks. What needs more of numba says so when it is called: nothing is answered by half.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from pricegrid.columnar.kernel_mode import KernelMode, kernel_mode

_WORD: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63


class _Type:
    """A type of numba's, or a module of them: can be called, and be a base class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self

    def __mro_entries__(self, _: object) -> tuple[type, ...]:
        return (object,)


_TYPE: Final[Any] = _Type()
types = models = cgutils = ir = signature = AbstractTemplate = AttributeTemplate = _TYPE


def dispatch(function: Callable[..., Any], **_: object) -> Any:
    """A kernel as this process has it."""
    if kernel_mode() is KernelMode.PLAIN:
        return function
    from pricegrid.columnar.extension import kernel_of

    return kernel_of(function)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the function has a processor do, in Python; or a clear error when it is called."""
    name = function.__module__, function.__name__
    if kernel_mode() is KernelMode.PLAIN and name in _OPERATIONS:
        return _OPERATIONS[name]
    return _works_compiled_alone(".".join(name))


def _works_compiled_alone(name: str) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise RuntimeError(f"{name} works compiled alone")

    return refuse


carray: Final = _works_compiled_alone("numba.carray")


def register_jitable(function: Any) -> Any:
    """Leaves it as it is, as the next do: what they decorate is for the compiler, or good Python."""
    return function


def infer_getattr(template: Any) -> Any:
    """See `register_jitable`."""
    return template


def overload(*_: object) -> Callable[[Any], Any]:
    """`@overload(len)`."""
    return register_jitable


register_model = lower_builtin = lower_getattr_generic = infer_global = overload


def _count_ones(word: Any) -> int:
    return (int(word) & _WORD).bit_count()


def _mul_low(one: Any, other: Any) -> int:
    return _signed(int(one) * int(other))


def _add_low(one: Any, other: Any) -> int:
    return _signed(int(one) + int(other))


def _mul_high(one: Any, other: Any) -> int:
    return _signed((int(one) & _WORD) * (int(other) & _WORD) >> 64)


def _signed(number: int) -> int:
    """The lower 64 bits as an int64."""
    return ((number & _WORD) ^ _SIGN) - _SIGN


def _load(words: Any, index: int) -> int:
    """An acquiring load, where the processor makes every load one: see `service.process.interpreted.ORDERS_LOADS`."""
    return int(words[index])


_OPERATIONS: Final[Mapping[tuple[str, str], Callable[..., Any]]] = MappingProxyType(
    {
        ("pricegrid.columnar.bits", "_count_ones"): _count_ones,
        ("pricegrid.columnar.exact", "_mul_high"): _mul_high,
        ("pricegrid.columnar.exact", "_mul_low"): _mul_low,
        ("pricegrid.columnar.exact", "_add_low"): _add_low,
        ("pricegrid.atp.kernels.atomic", "_load"): _load,
        ("pricegrid.atp.kernels.atomic", "_fence"): lambda: None,
    }
)
