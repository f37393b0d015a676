"""Opens snapshots in the background, while the loop of the process goes on."""

import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from pricegrid.service.process.snapshots import LoadedSnapshot


class Opened(NamedTuple):
    """The result of opening a snapshot: `loaded` or `error`."""

    version: str
    loaded: LoadedSnapshot | None
    error: Exception | None = None


class Loading:
    """Opens one snapshot at a time; the result of an earlier one that is no longer wanted is dropped."""

    def __init__(self, open_version: Callable[[str], LoadedSnapshot]) -> None:
        self._open_version = open_version
        self._opened: queue.SimpleQueue[Opened] = queue.SimpleQueue()
        self.version = ""
        """The version that is being opened; '' for none."""

    def begin(self, version: str) -> None:
        """Start to open this version."""
        self.version = version
        threading.Thread(target=self._open, args=(version,), name="pricegrid-loading", daemon=True).start()

    def forget(self) -> None:
        """Drop the version that is being opened."""
        self.version = ""

    def done(self) -> Opened | None:
        """The result, returned once; None: there is none yet."""
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
        except Exception as error:  # noqa: BLE001 -- whatever it is, the process keeps its current snapshot
            self._opened.put(Opened(version, None, error))
