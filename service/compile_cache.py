"""Where compiled kernels are kept when the package itself is installed read-only."""

import importlib.util
import os
from collections.abc import MutableMapping
from pathlib import Path


def use_writable_compile_cache(environment: MutableMapping[str, str]) -> None:
    """Sets NUMBA_CACHE_DIR to the user's cache directory if the package's own can't be written and it isn't set.

    To be called before the engine is imported: numba refuses `cache=True` when it has nowhere to write.
    """
    spec = importlib.util.find_spec("pricing_engine")
    if "NUMBA_CACHE_DIR" in environment or spec is None or spec.origin is None:
        return
    if not os.access(Path(spec.origin).parent, os.W_OK):
        home = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        environment["NUMBA_CACHE_DIR"] = str(Path(home) / "pricegrid" / "numba")
