"""Where compiled kernels are kept: one folder for each state of the sources."""

import hashlib
import importlib.util
import os
from collections.abc import MutableMapping
from pathlib import Path

_PACKAGES = ("atp", "loaders", "pricing_engine")


def use_compile_cache(environment: MutableMapping[str, str]) -> None:
    """Sets NUMBA_CACHE_DIR, unless it is set, to a folder named after the sources of all packages with kernels.

    numba looks only at the file of the function it compiles: a kernel whose callee changed would be run as it was. The
    folder lies beside the package, or in the user's cache directory if that is read-only. To be called before any
    kernel is imported.
    """
    if "NUMBA_CACHE_DIR" in environment:
        return
    folders = [
        Path(spec.origin).parent for spec in map(importlib.util.find_spec, _PACKAGES) if spec and spec.origin
    ]
    base = folders[-1] / "__pycache__"
    if not os.access(folders[-1], os.W_OK):
        base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pricegrid"
    environment["NUMBA_CACHE_DIR"] = str(base / f"kernels-{sources_digest(folders)}")


def sources_digest(folders: list[Path]) -> str:
    """A name for the state of all Python sources in some folders."""
    sources = hashlib.sha256()
    for source in sorted(path for folder in folders for path in folder.glob("*.py")):
        sources.update(source.name.encode() + b"\0" + source.read_bytes())
    return sources.hexdigest()[:16]
