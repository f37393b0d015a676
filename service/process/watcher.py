"""Watches the store for another active snapshot, and the active one for damage; a thread of the supervisor."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from pricegrid.loaders.errors import SnapshotError
from pricegrid.loaders.store.snapshot import current_version
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.limits import CHECK_NICENESS, POLL_S, REFUSED_RETRY_MAX_S, REFUSED_RETRY_S
from pricegrid.service.process.bootstrap import check_snapshot
from pricegrid.service.process.children import backed_off
from pricegrid.service.process.scrub import Damaged, Scrub

_log = logging.getLogger(__name__)


class SnapshotWatcher:
    """Polls the store for a newly active snapshot, verifies it and reports it.

    A refused snapshot is checked again when its files or the pointer have changed, and periodically with a backoff. The
    active one is scrubbed.
    """

    def __init__(
        self,
        store: Path,
        policy: ExceptionPolicy,
        version: str,
        report: Connection,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        check: Callable[[Path, str | None, ExceptionPolicy], str] = check_snapshot,
    ) -> None:
        self._store = store
        self._policy = policy
        self._seen = version
        self._report = report
        self._clock_s = clock_s
        self._check = check
        self._scrub = Scrub(store, clock_s=clock_s)
        self._damage: Damaged | None = None
        self._last_error = ""
        self._refused: tuple[int, ...] = ()
        self._refusals = 0
        self._again_at_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-watcher", daemon=True)

    @property
    def is_refusing(self) -> bool:
        """Whether the snapshot that the store names is not taken over, or is damaged since."""
        return self._last_error != "" or self._damage is not None

    def start(self) -> None:
        """Starts to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stops polling; a verification that is running ends with the process."""
        self._stopping.set()

    def poll(self) -> str | None:
        """The newly active and verified version, if there is one; an error is logged once."""
        files: tuple[int, ...] = ()
        try:
            version = current_version(self._store)
            files = self._files(version)
            if version == self._seen:
                self._forget()
                return None
            if self._refused == files and self._clock_s() < self._again_at_s:
                return None
            self._check(self._store, version, self._policy)
        except (SnapshotError, OSError) as error:
            self._refuse(str(error), files)
            return None
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with it, the current snapshot stays
            self._refuse(repr(error), files)
            return None
        self._seen = version
        self._forget()
        return version

    def damage(self) -> Damaged | None:
        """What has newly become wrong with the active snapshot, if anything; logged once."""
        try:
            found = self._scrub.turn(self._seen)
        except (SnapshotError, OSError) as error:
            found = Damaged(self._seen, str(error))
        if found == self._damage:
            return None
        self._damage = found
        if found is None:
            _log.info("snapshot %s is whole again", self._seen)
        else:
            _log.error("the active snapshot is damaged: %s; activate or load another one", found.message)
        return found

    def _files(self, version: str) -> tuple[int, ...]:
        """Changes when a snapshot is repaired or activated again."""
        directory = self._store / "snapshots" / version
        found = []
        for path in (self._store / "current", directory, directory / "manifest.json"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found += [status.st_ino, status.st_mtime_ns]
        return tuple(found)

    def _refuse(self, message: str, files: tuple[int, ...]) -> None:
        if message != self._last_error:
            self._last_error = message
            _log.error("snapshot refused, the current one stays active: %s", message)
        self._refused = files
        delay_s = backed_off(REFUSED_RETRY_S, self._refusals, REFUSED_RETRY_MAX_S)
        self._refusals += 1
        self._again_at_s = self._clock_s() + delay_s

    def _forget(self) -> None:
        self._last_error, self._refused, self._refusals = "", (), 0

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # for this thread alone: verifying must not slow down requests
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CHECK_NICENESS)
        while not self._stopping.wait(POLL_S):
            for news in (self.poll(), self.damage()):
                if news is not None:
                    self._report.send(news)
