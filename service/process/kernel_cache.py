"""Where compiled kernels are: one folder for each state of the sources that they are made of.

numba compares a kernel with its own file only. A kernel whose callee changed, or whose tuple of arrays has its fields
in another order, would run as it was: so the folder is named after everything that kernels are made of, and nothing
else, which lets a change elsewhere find the kernels that are there. Inside, `kernel_locator` names no path of this
machine: a folder that was built on one is found on another.

A wheel carries such a folder with all kernels in one extension (`kernel_extension`), for which numba is not needed; or
with the cache itself, which is read where it lies. What is not there is compiled into a folder that can be written, and
read from there the next time.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pricegrid.columnar.kernel_mode import EXTENSION_VARIABLE

CACHE_VARIABLE: Final = "PRICEGRID_KERNEL_CACHE"
"""A folder in which the kernels of all states of the sources are kept, each in its own; optional."""
SHIPPED_VARIABLE: Final = "PRICEGRID_SHIPPED_KERNELS"
"""The folder of the kernels that came with this installation, if they are those of its sources; set here."""
LOCATOR: Final = "pricegrid.service.process.kernel_locator.PackageLocator"
MADE_FOR: Final = "made-for.json"
"""In a folder of kernels: what they were compiled for."""
EXTENSION_FILE: Final = f"pricegrid_kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
"""In a folder of kernels: all of them in one extension, which needs no numba."""
_PACKAGES: Final = ("atp", "columnar", "loaders", "pricing_engine", "service")
_COMPILED: Final = re.compile(rb"^(?:from|import) numba|^from pricegrid\.columnar\.jit", re.MULTILINE)
_NOT_COMPILED: Final = {
    "pricegrid.columnar.extension",
    "pricegrid.columnar.kernel_mode",
    "pricegrid.columnar.stand_ins",
    "pricegrid.service.process.kernel_extension",
    "pricegrid.service.process.kernel_locator",
}
"""They find kernels, or do without."""
_TUPLE: Final = re.compile(rb"^class \w+\(NamedTuple", re.MULTILINE)
_TUPLES_IN: Final = ("atp", "pricing_engine")
_IMPORT: Final = re.compile(
    rb"^[ \t]*(?:from ([\w.]+) import (\([^)]*\)|[^\n]*)|import ([\w.]+))", re.MULTILINE
)


def use_kernel_cache(environment: MutableMapping[str, str]) -> None:
    """Says where the kernels are, unless NUMBA_CACHE_DIR does. To be called before any kernel is imported.

    With an extension of them, that of PRICEGRID_KERNEL_EXTENSION or that of this installation, numba is not needed; an
    empty PRICEGRID_KERNEL_EXTENSION says to do without. Raises OSError if one is named that can't be used here.

    Else numba is told. Those that came with this installation are read where they lie. What is compiled lies in the
    folder of PRICEGRID_KERNEL_CACHE; if that is not set beside the package, else in the user's cache directory, else in
    a private temporary one. Kernels are compiled for any CPU of this architecture: they were measured to be as fast as
    those for one, and can be carried along.
    """
    if "NUMBA_CACHE_DIR" in environment:
        if environment.get("NUMBA_CACHE_LOCATOR_CLASSES") != LOCATOR:  # not ours: another process's settings
            environment.pop(EXTENSION_VARIABLE, None)
        return
    folder = f"kernels-{_own_digest()}"
    base = environment.get(CACHE_VARIABLE)
    environment["NUMBA_CACHE_DIR"] = str(
        (Path(base) if base else _home(_package() / "service", environment)) / folder
    )
    environment["NUMBA_CACHE_LOCATOR_CLASSES"] = LOCATOR
    environment["NUMBA_CPU_NAME"], environment["NUMBA_CPU_FEATURES"] = "generic", ""
    environment.pop(SHIPPED_VARIABLE, None)
    shipped = _package() / "kernels" / folder
    if not unusable_reason(shipped) and any(shipped.glob("*/*.nbi")):
        environment[SHIPPED_VARIABLE] = str(shipped)
    environment[EXTENSION_VARIABLE] = _extension(shipped, environment.get(EXTENSION_VARIABLE))


def _extension(shipped: Path, named: str | None) -> str:
    if named == "":
        return ""
    path = Path(named).absolute() if named else shipped / EXTENSION_FILE
    reason = extension_reason(path)
    if reason and named:
        raise OSError(f"{EXTENSION_VARIABLE} can't be used: {reason}")
    return "" if reason else str(path)


def extension_reason(path: Path) -> str:
    """Why an extension of kernels can't be used here, '' if it can."""
    if not path.is_file():
        return f"{path} is no file"
    return _difference(path.parent, without="numba")


def made_for() -> dict[str, str]:
    """What kernels that are compiled now can be used with."""
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = "none"
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {"numba": numba, "python": python, "machine": platform.machine(), "digest": _own_digest()}


def unusable_reason(folder: Path) -> str:
    """Why the kernels of a folder can't be used here, '' if they can."""
    return _difference(folder)


def _difference(folder: Path, without: str = "") -> str:
    try:
        found = json.loads((folder / MADE_FOR).read_text())
    except (OSError, ValueError):
        return f"{folder} holds none"
    differ = [name for name, ours in made_for().items() if name != without and found.get(name) != ours]
    return ", ".join(f"they are for {name} {found.get(name)}, not {made_for()[name]}" for name in differ)


def compile_reason() -> str:
    """Why kernels are compiled instead of taken from this installation."""
    shipped = _package() / "kernels"
    folders = sorted(shipped.glob("kernels-*")) if shipped.is_dir() else []
    if not folders:
        return "this installation came without kernels"
    own = shipped / f"kernels-{_own_digest()}"
    if own not in folders:
        return "the kernels of this installation were compiled from other sources"
    reason = (
        _difference(own, without="numba") if any(own.glob("pricegrid_kernels*")) else unusable_reason(own)
    )
    return f"the kernels of this installation can't be used: {reason}" if reason else ""


def _package() -> Path:
    return Path(__file__).absolute().parents[2]


@functools.cache
def _own_digest() -> str:
    return digest({package: _package() / package for package in _PACKAGES})


def _home(package: Path, environment: Mapping[str, str]) -> Path:
    if os.access(package, os.W_OK):
        return package / "__pycache__"
    with contextlib.suppress(RuntimeError):  # a user who is in no list has no home
        user = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
        there = next(folder for folder in (user, *user.parents) if folder.exists())
        if os.access(there, os.W_OK | os.X_OK):
            return user / "pricegrid"
    with contextlib.suppress(OSError):
        return _private_folder(Path(tempfile.gettempdir()) / f"pricegrid-{os.getuid()}")
    return package / "__pycache__"  # nothing can be kept, which is said when it is tried


def _private_folder(folder: Path) -> Path:
    """A folder that nobody else can write: what is read from it is run. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


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
        if module in sources and module not in followed and module not in _NOT_COMPILED:
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
