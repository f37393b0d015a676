"""numba imports this to find where a kernel's cache is (NUMBA_CACHE_LOCATOR_CLASSES): by module, not by path.

A kernel is looked for among those that came with the installation, which may lie where nothing can be written, then
among those that were compiled here. What is in neither is compiled, and kept if that can be.
"""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, Final, Self

from numba.core import caching
from numba.core.caching import IndexDataCacheFile, _CacheLocator

from pricegrid.service.process.kernel_cache import SHIPPED_VARIABLE, compile_reason


class PackageLocator(_CacheLocator):
    """A folder a package in NUMBA_CACHE_DIR.

    `service.process.kernel_cache` names the directory after all sources; the stamp here is that of the one file, and no
    time and no path, so that a copy elsewhere is as good."""

    def __init__(self, kernel: FunctionType, source: str) -> None:
        self._py_file = source
        self._line = kernel.__code__.co_firstlineno
        self._folder = Path(os.environ["NUMBA_CACHE_DIR"]) / kernel.__module__.rpartition(".")[0]

    def get_cache_path(self) -> str:
        """The folder of the kernel's package."""
        return str(self._folder)

    def ensure_cache_path(self) -> None:
        """Nothing: `KernelFile` makes the folder, and goes on without one."""

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
        return cls(kernel, source)


class Compiling:
    """What this process compiles: told to a listener, if there is one, else said once to the user."""

    def __init__(self) -> None:
        self.listener: Callable[[str, float], None] | None = None
        """Takes the name of a kernel and the CPU seconds that it took without those that it calls."""
        self.used: set[str] = set()
        """The names of all kernels that this process has asked for."""
        self._begun: list[tuple[str, float, float]] = []
        self._said: set[str] = set()

    def begin(self, name: str) -> None:
        """A kernel is in no cache: it is compiled next, after those that it calls."""
        if self.listener is None:
            self._say(f"compiling kernels, once: {compile_reason() or 'this installation lacks some'}")
        self._begun.append((name, time.process_time(), 0.0))

    def end(self, name: str) -> None:
        """It is compiled."""
        while self._begun:
            begun, since_s, callees_s = self._begun.pop()
            took_s = time.process_time() - since_s
            if self._begun:
                caller, caller_since_s, others_s = self._begun[-1]
                self._begun[-1] = caller, caller_since_s, others_s + took_s
            if begun == name:  # those above it did not come to an end
                if self.listener is not None:
                    self.listener(name, took_s - callees_s)
                break

    def not_kept(self, folder: str, error: OSError) -> None:
        """It is used all the same."""
        self._say(
            f"compiled kernels can't be kept in {folder} ({error.strerror}), the next start compiles them again; "
            "set PRICEGRID_KERNEL_CACHE to a folder that can be written"
        )

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            sys.stderr.write(f"pricegrid: {text}\n")
            sys.stderr.flush()


COMPILING: Final = Compiling()


class KernelFile(IndexDataCacheFile):
    """The cache of one kernel: read from two folders, written to one, or to none."""

    def __init__(self, cache_path: str, filename_base: str, source_stamp: object) -> None:
        super().__init__(cache_path, filename_base, source_stamp)
        self._name = f"{Path(cache_path).name}.{filename_base}"
        shipped = os.environ.get(SHIPPED_VARIABLE)
        self._shipped = None
        if shipped and Path(cache_path).parent == Path(os.environ.get("NUMBA_CACHE_DIR", "")):
            folder = str(Path(shipped) / Path(cache_path).name)
            self._shipped = IndexDataCacheFile(folder, filename_base, source_stamp)

    def load(self, key: object) -> Any:
        """The compiled kernel of this signature, None if it has to be compiled."""
        COMPILING.used.add(self._name)
        found = self._shipped.load(key) if self._shipped else None
        if found is None:
            with contextlib.suppress(OSError):  # a folder that we may not read has none for us
                found = super().load(key)
        if found is None:
            COMPILING.begin(self._name)
        return found

    def save(self, key: object, data: object) -> None:
        """Keeps what was compiled; where that can't be it is said once."""
        try:
            Path(self._cache_path).mkdir(parents=True, exist_ok=True)
            super().save(key, data)
        except OSError as error:
            COMPILING.not_kept(str(Path(self._cache_path).parent), error)
        COMPILING.end(self._name)


# numba has no setting for what writes a cache, only for where; what it makes here before looks for it by this name
caching.IndexDataCacheFile = KernelFile  # type: ignore[misc]
