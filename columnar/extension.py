"""Kernels out of the extension: machine code that numba made of the same sources before, and is not needed for.

`pricegrid kernels build --extension` makes it; who names it in PRICEGRID_KERNEL_EXTENSION has seen that it is for these
sources and this Python (`service.process.kernel_cache`).
"""

import functools
import io
import os
import pickle
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Final

import numpy as np

from pricegrid.columnar.kernel_mode import EXTENSION_VARIABLE

MODULE: Final = "pricegrid_kernels"
"""The name by which the extension is initialised, wherever its file lies."""


def kernel_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled form of a function; one that raises RuntimeError if only other kernels call it."""
    name = f"{function.__module__}.{function.__qualname__}"
    kernel: Callable[..., Any] | None = _kernels().get(name)
    return kernel if kernel is not None else _called_by_kernels_alone(name)


def _called_by_kernels_alone(name: str) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise RuntimeError(f"{name} is not among the compiled kernels: {os.environ[EXTENSION_VARIABLE]}")

    return refuse


@functools.cache
def _kernels() -> dict[str, Any]:
    path = os.environ[EXTENSION_VARIABLE]
    loader = ExtensionFileLoader(MODULE, path)
    spec = spec_from_file_location(MODULE, path, loader=loader)
    if spec is None:
        raise ImportError(f"{EXTENSION_VARIABLE} {path} is no extension")
    extension: Any = module_from_spec(spec)
    loader.exec_module(extension)
    extension.set_helpers(describe, exception_of)
    kernels: dict[str, Any] = extension.kernels
    return kernels


def describe(arguments: tuple[Any, ...]) -> str:
    """The types of arguments, for who called a kernel with others than it is compiled for."""
    return ", ".join(_type_of(each) for each in arguments)


def _type_of(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        layout = "C" if argument.flags.c_contiguous else "strided"
        access = "" if argument.flags.writeable else "readonly "
        return f"{access}array({argument.dtype}, {argument.ndim}d, {layout})"
    if isinstance(argument, tuple):
        return f"{type(argument).__name__}({describe(argument)})"
    return type(argument).__name__


def exception_of(static: bytes, parts: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], Any]:
    """(class, arguments, place) of an exception some of whose arguments a kernel made when it raised it.

    `static` is what was known before, pickled, with a value of the compiler where one of `parts` belongs.
    """
    raised, arguments, place = _Unpickler(io.BytesIO(static)).load()
    made = iter(parts)
    return raised, tuple(next(made) if isinstance(each, _Made) else each for each in arguments), place


class _Made:
    """Stands for anything of llvmlite's, which need not be installed."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _Made if module.partition(".")[0] == "llvmlite" else super().find_class(module, name)
