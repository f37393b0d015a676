"""Where compiled kernels are kept: one folder for each state of the sources."""

import hashlib
import importlib.util
import os
from collections.abc import Iterable, MutableMapping
from pathlib import Path

_SOURCES = {
    "atp": ("*.py",),
    "loaders": ("*.py",),
    "pricing_engine": ("*.py",),
    "service": ("*_kernel.py", "limits.py"),
}
"""By package: which of its files kernels are made of."""


def use_compile_cache(environment: MutableMapping[str, str]) -> None:
    """Sets NUMBA_CACHE_DIR, unless it is set, to a folder named after the sources of all packages with kernels.

    numba looks only at the file of the function it compiles: a kernel whose callee changed would be run as it was. The
    folder lies beside the package, or in the user's cache directory if that is read-only. To be called before any
    kernel is imported.
    """
    if "NUMBA_CACHE_DIR" in environment:
        return
    specs = {package: importlib.util.find_spec(package) for package in _SOURCES}
    folders = {package: Path(spec.origin).parent for package, spec in specs.items() if spec and spec.origin}
    home = folders["pricing_engine"]
    base = home / "__pycache__"
    if not os.access(home, os.W_OK):
        base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pricegrid"
    files = [
        path
        for package, folder in folders.items()
        for pattern in _SOURCES[package]
        for path in folder.glob(pattern)
    ]
    environment["NUMBA_CACHE_DIR"] = str(base / f"kernels-{sources_digest(files)}")


def sources_digest(files: Iterable[Path]) -> str:
    """A name for the state of some files."""
    sources = hashlib.sha256()
    for source in sorted(files):
        sources.update(source.name.encode() + b"\0" + source.read_bytes())
    return sources.hexdigest()[:16]
