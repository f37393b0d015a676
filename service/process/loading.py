"""Opens snapshots beside the loop of a process, which goes on turning meanwhile."""

import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from pricegrid.service.process.snapshots import LoadedSnapshot


class Opened(NamedTuple):
    """What became of opening a snapshot."""

    version: str
    loaded: LoadedSnapshot | None
    error: Exception | None = None


class Loading:
    """One snapshot at a time counts: what was begun before another is let go when it comes."""

    def __init__(self, open_version: Callable[[str], LoadedSnapshot]) -> None:
        self._open_version = open_version
        self._opened: queue.SimpleQueue[Opened] = queue.SimpleQueue()
        self.version = ""
        """What is being opened; '' for nothing."""

    def begin(self, version: str) -> None:
        """Open this one."""
        self.version = version
        threading.Thread(target=self._open, args=(version,), name="pricegrid-loading", daemon=True).start()

    def forget(self) -> None:
        """Nothing is to be opened any more."""
        self.version = ""

    def done(self) -> Opened | None:
        """What was opened, once."""
        while True:
            try:
                opened = self._opened.get_nowait()
            except queue.Empty:
                return None
            if opened.version == self.version:
                self.version = ""
                return opened

    def _open(self, version: str) -> None:
        try:
            self._opened.put(Opened(version, self._open_version(version)))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the process goes on with what it has
            self._opened.put(Opened(version, None, error))
