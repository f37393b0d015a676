"""Where compiled kernels are kept: one folder for each state of the sources that they are made of.

numba compares a kernel with its own file only. A kernel whose callee changed, or whose tuple of arrays has its fields
in another order, would run as it was: so the folder is named after everything that kernels are made of, and nothing
else, which lets a change elsewhere find the kernels that are there. Inside, `kernel_locator` names no path of this
machine: a folder that was built on one is found on another.
"""

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Final

CACHE_VARIABLE: Final = "PRICEGRID_KERNEL_CACHE"
"""A folder in which the kernels of all states of the sources are kept, each in its own; optional."""
LOCATOR: Final = "pricegrid.service.process.kernel_locator.PackageLocator"
_PACKAGES: Final = ("atp", "columnar", "loaders", "pricing_engine", "service")
_COMPILED: Final = re.compile(rb"^(?:from|import) numba|^from pricegrid\.columnar\.jit", re.MULTILINE)
_TUPLE: Final = re.compile(rb"^class \w+\(NamedTuple", re.MULTILINE)
_TUPLES_IN: Final = ("atp", "pricing_engine")
_IMPORT: Final = re.compile(
    rb"^[ \t]*(?:from ([\w.]+) import (\([^)]*\)|[^\n]*)|import ([\w.]+))", re.MULTILINE
)


def use_kernel_cache(environment: MutableMapping[str, str]) -> None:
    """Tells numba where the kernels are, unless NUMBA_CACHE_DIR says it. To be called before any kernel is imported.

    The folder lies in that of PRICEGRID_KERNEL_CACHE; if that is not set beside the package, or in the user's cache
    directory if that is read-only. Kernels are compiled for any CPU of this architecture: they were measured to be as
    fast as those for one, and can be carried along.
    """
    if "NUMBA_CACHE_DIR" in environment:
        return
    folders = _folders()
    base = environment.get(CACHE_VARIABLE)
    environment["NUMBA_CACHE_DIR"] = str(
        (Path(base) if base else _home(folders["pricing_engine"], environment)) / f"kernels-{digest(folders)}"
    )
    environment.setdefault("NUMBA_CACHE_LOCATOR_CLASSES", LOCATOR)
    environment.setdefault("NUMBA_CPU_NAME", "generic")


def _folders() -> dict[str, Path]:
    specs = {package: importlib.util.find_spec(f"pricegrid.{package}") for package in _PACKAGES}
    return {package: Path(spec.origin).parent for package, spec in specs.items() if spec and spec.origin}


def _home(package: Path, environment: Mapping[str, str]) -> Path:
    if os.access(package, os.W_OK):
        return package / "__pycache__"
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pricegrid"


def digest(folders: Mapping[str, Path]) -> str:
    """A name for the state of the sources that kernels are made of; `folders` by package."""
    sources = hashlib.sha256()
    for module, source in sorted(kernel_sources(folders).items()):
        sources.update(module.encode() + b"\0" + hashlib.sha256(source).digest())
    return sources.hexdigest()[:16]


def kernel_sources(folders: Mapping[str, Path]) -> dict[str, bytes]:
    """The modules that hold kernels, all that they import of these packages, and those with tuples that they are
    compiled for; by name."""
    modules = {
        _name(package, folder, path): path
        for package, folder in folders.items()
        for path in folder.rglob("*.py")
    }
    sources = {module: path.read_bytes() for module, path in modules.items()}
    found = {
        module: source
        for module, source in sources.items()
        if module.split(".")[1] in _TUPLES_IN and _TUPLE.search(source)
    }
    followed: set[str] = set()
    left = [module for module, source in sources.items() if _COMPILED.search(source)]
    while left:
        module = left.pop()
        if module in sources and module not in followed:
            followed.add(module)
            left += _imports(sources[module])
    return found | {module: sources[module] for module in followed}


def _name(package: str, folder: Path, path: Path) -> str:
    parts = ("pricegrid", package, *path.relative_to(folder).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source: bytes) -> Iterable[str]:
    """What a module imports, and what of it may be modules too."""
    for match in _IMPORT.finditer(source):
        module = (match[1] or match[3]).decode()
        yield module
        yield from (f"{module}.{name.decode()}" for name in re.findall(rb"\w+", match[2] or b""))
