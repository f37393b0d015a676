"""numba imports this to find where a kernel's cache is (NUMBA_CACHE_LOCATOR_CLASSES): by module, not by path."""

import hashlib
import os
from pathlib import Path
from types import FunctionType
from typing import Self

from numba.core.caching import _CacheLocator


class PackageLocator(_CacheLocator):
    """A folder a package in NUMBA_CACHE_DIR, which may be read-only.

    `service.process.kernel_cache` names the directory after all sources; the stamp here is that of the one file, and no
    time and no path, so that a copy elsewhere is as good."""

    def __init__(self, kernel: FunctionType, source: str) -> None:
        self._py_file = source
        self._line = kernel.__code__.co_firstlineno
        self._folder = Path(os.environ["NUMBA_CACHE_DIR"]) / kernel.__module__.rpartition(".")[0]

    def get_cache_path(self) -> str:
        """The folder of the kernel's package."""
        return str(self._folder)

    def get_source_stamp(self) -> bytes:
        """SHA-256 of the kernel's file."""
        return hashlib.sha256(Path(self._py_file).read_bytes()).digest()

    def get_disambiguator(self) -> str:
        """The line it begins at."""
        return str(self._line)

    @classmethod
    def from_function(cls, kernel: FunctionType, source: str) -> Self | None:
        """None, for the next locator, if there is no directory or the source is no file."""
        if "NUMBA_CACHE_DIR" not in os.environ or not Path(source).is_file():
            return None
        locator = cls(kernel, source)
        try:
            locator._folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return locator if locator._folder.is_dir() else None
        return locator
