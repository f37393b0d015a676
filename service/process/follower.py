"""Follows object storage: a thread of the supervisor that pulls what is published there into the store.

    URL/current ──poll every 2 s, by ETag──▶ pull, verify, activate ──STORE/current──▶ watcher ──▶ workers

What can't be reached or trusted changes nothing: the last good snapshot stays, and the age of the last good answer says
so. Workers know nothing of it: `loaders.objects` and obstore are imported by the supervisor alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pricegrid.loaders.errors import LoaderBusyError, LoadError, StorageError
from pricegrid.service.limits import (
    CHECK_NICENESS,
    FOLLOW_KEEP,
    FOLLOW_LOG_S,
    FOLLOW_POLL_S,
    REFUSED_RETRY_MAX_S,
    REFUSED_RETRY_S,
)
from pricegrid.service.process.children import backed_off

if TYPE_CHECKING:
    from pricegrid.loaders.objects.pull import Pulled
    from pricegrid.loaders.objects.target import Target
    from pricegrid.loaders.store.signing import TrustedKeys

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """What `serve --follow` says."""

    url: str
    pin: str = ""
    """The version to serve, whatever is published; '' for what is published."""
    is_canary: bool = False


class _Pointers(Protocol):
    """See `loaders.objects.target.Pointers`."""

    def look(self, keys: TrustedKeys | None) -> Target:
        """What is to be served."""
        ...


class _Puller(Protocol):
    """See `loaders.objects.pull.Puller`."""

    fetched_bytes: int

    def take(self, target: Target, keys: TrustedKeys | None) -> Pulled:
        """Makes it the active snapshot."""
        ...


class Follower:
    """Polls one storage for one store. Its figures may be read from any thread."""

    def __init__(
        self,
        url: str,
        pointers: _Pointers,
        puller: _Puller,
        keys: Callable[[], TrustedKeys | None],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keys` gives the trusted keys as they are now, None for any."""
        self._url = url
        self._pointers = pointers
        self._puller = puller
        self._keys = keys
        self._clock_s = clock_s
        self._good_at_s = clock_s()
        self._taken = ""
        self._is_failing = False
        self._is_refusing = False
        self._told_at_s = 0.0
        self._refused: Target | None = None
        """What was refused after its pointer was read: not tried again at once, for it takes a while."""
        self._refusals = 0
        self._again_at_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-follower", daemon=True)

    @property
    def age_s(self) -> float:
        """Since the storage last named a snapshot that this store has."""
        return max(0.0, self._clock_s() - self._good_at_s)

    @property
    def is_refusing(self) -> bool:
        """Whether what the storage names is refused."""
        return self._is_refusing

    @property
    def fetched_bytes(self) -> int:
        """Since the start."""
        return self._puller.fetched_bytes

    def start(self) -> None:
        """Starts to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stops polling; a pull that is under way ends soon, and is gone on with at the next start."""
        self._stopping.set()

    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def poll(self) -> bool:
        """Asks once, and takes what is new; returns whether the store has what the storage names."""
        target: Target | None = None
        try:
            keys = self._keys()
            target = self._pointers.look(keys)
            if target == self._refused and self._clock_s() < self._again_at_s:
                return False
            if target.snapshot != self._taken:
                self._take(target, keys)
        except (StorageError, LoaderBusyError) as error:
            if self._is_to_tell():
                _log.error(
                    "%s gives no snapshot since %.0f s, the last good one stays: %s",
                    self._url,
                    self.age_s,
                    error,
                )
            return False
        except (LoadError, OSError) as error:
            return self._refuse(target, str(error))
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with it, the last good snapshot stays
            return self._refuse(target, repr(error))
        if self._is_failing:
            _log.info("%s is followed again, after %.0f s", self._url, self.age_s)
        self._good_at_s = self._clock_s()
        self._is_failing = self._is_refusing = False
        self._refused, self._refusals = None, 0
        return True

    def _take(self, target: Target, keys: TrustedKeys | None) -> None:
        pulled = self._puller.take(target, keys)
        self._taken = target.snapshot
        if pulled.is_new:
            _log.info(
                "snapshot %s is pulled: %d of %d bytes were fetched",
                pulled.snapshot,
                pulled.fetched_bytes,
                pulled.size_bytes,
            )

    def _refuse(self, target: Target | None, message: str) -> bool:
        if self._is_to_tell() or not self._is_refusing:
            _log.error(
                "what %s names is refused since %.0f s, the last good snapshot stays: %s",
                self._url,
                self.age_s,
                message,
            )
        self._is_refusing = True
        self._refused = target
        self._again_at_s = self._clock_s() + backed_off(REFUSED_RETRY_S, self._refusals, REFUSED_RETRY_MAX_S)
        self._refusals += 1
        return False

    def _is_to_tell(self) -> bool:
        """Whether to log a failure: the first one in a row, and one in `FOLLOW_LOG_S`, since texts differ each time."""
        now_s = self._clock_s()
        if self._is_failing and now_s - self._told_at_s < FOLLOW_LOG_S:
            return False
        self._is_failing, self._told_at_s = True, now_s
        return True

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # for this thread alone: verifying must not slow down requests
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CHECK_NICENESS)
        chance = random.Random()  # noqa: S311 -- so that followers that began together do not ask together
        while not self._stopping.wait(FOLLOW_POLL_S * chance.uniform(0.75, 1.25)):
            self.poll()


def open_follower(
    options: FollowOptions,
    store: Path,
    check: Callable[[Path, str], object],
    keys: Callable[[], TrustedKeys | None],
) -> Follower:
    """A follower that is not started yet. `check` verifies a snapshot of the store. Raises StorageError."""
    from pricegrid.loaders.objects.pull import Puller
    from pricegrid.loaders.objects.storage import open_storage
    from pricegrid.loaders.objects.target import Pointers

    storage = open_storage(options.url)
    puller = Puller(storage, store, check, keep=FOLLOW_KEEP, with_kept=False)
    pointers = Pointers(storage, store, options.is_canary, options.pin)
    follower = Follower(options.url, pointers, puller, keys)
    puller.is_stopping = follower.is_stopping
    return follower
