"""A reserve of disk space, so that data can be deleted on a full disk: a file that is removed when it is needed."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

FILE: Final = "reserve"
BYTES: Final = 16 << 20

_log = logging.getLogger(__name__)


class ReserveRoom:
    """A preallocated file beside the database."""

    def __init__(self, directory: Path, size: int = BYTES) -> None:
        self._path = directory / FILE
        self._size = size

    def keep(self) -> bool:
        """Create the reserve unless it exists; returns whether it exists."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_size >= self._size:
                return True
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            _log.error("no disk space can be reserved in %s: %s", self._path.parent, error)
            return False
        return True

    def give_back(self) -> bool:
        """Release the reserve for the next write; False: there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        _log.error(
            "the disk of %s is full: the reserve is released to free some space",
            self._path.parent,
        )
        return True
