"""Room on the disk that is kept back, so that a full one can be freed: a file that is given up when it is needed."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

FILE: Final = "reserve"
BYTES: Final = 16 << 20

_log = logging.getLogger(__name__)


class ReserveRoom:
    """A file beside the database that holds nothing."""

    def __init__(self, directory: Path, size: int = BYTES) -> None:
        self._path = directory / FILE
        self._size = size

    def keep(self) -> bool:
        """Take the room, if it is not taken yet and there is enough on the disk; whether it is there."""
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
            _log.error("no room can be kept back in %s: %s", self._path.parent, error)
            return False
        return True

    def give_back(self) -> bool:
        """Give the room to whoever writes next; False: there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        _log.error(
            "the disk that holds %s is full: the room kept back is given to what frees some",
            self._path.parent,
        )
        return True
