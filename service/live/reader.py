"""Reads live positions that another process writes, and proves for every request that they are current.

They are proven if the mapped file belongs to the served snapshot, is the announced one, is not retired, and its writer
was at work just now. Otherwise every source is STALE at once, and the figures stay those last read (A11).
"""

import dataclasses
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import Positions
from pricegrid.atp.live.layout import BEAT, BOOT, NOTHING_LIVE, RETIRED, SNAPSHOT
from pricegrid.atp.live.positions import LiveFileError, open_live
from pricegrid.service.clock import host_number, host_us, number_of
from pricegrid.service.limits import SILENCE_S
from pricegrid.service.live.files import announced
from pricegrid.service.process.snapshots import LoadedSnapshot

_log = logging.getLogger(__name__)
_NEVER_US = -(1 << 62)


class _OtherSnapshotError(Exception):
    """The announced file belongs to another snapshot: during a swap, and for snapshots that were replaced."""


class LiveReader:
    """The live positions of one snapshot (`LiveProof`); safe to use from many threads.

    A thread that finds them unproven sets the `doubt` word, which the kernels read. Only `refresh` clears it, under the
    lock and together with everything that proves it, so a thread never reads as proven what it has doubted itself.
    """

    def __init__(
        self,
        store: Path,
        snapshot_version: str,
        positions: Positions,
        *,
        clock_us: Callable[[], int] = host_us,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._directory = store / "live"
        self._version = snapshot_version
        self._identity = number_of(snapshot_version), host_number()
        self._positions = positions
        self._clock_us = clock_us
        self._silence_us = int(silence_s * 1_000_000)
        self._lock = threading.Lock()
        self._name = ""
        self._last_error = ""
        self._announced_us = _NEVER_US
        doubt = np.ones(1, dtype=np.int64)
        word = doubt.view()
        word.flags.writeable = False
        positions.attach(NOTHING_LIVE._replace(live_doubt=word))
        self._current = _as_memoryview(NOTHING_LIVE.live_head), _as_memoryview(doubt)

    def __call__(self) -> bool:
        """See `LiveProof`."""
        head, doubt = self._current
        if self._is_shown(head):
            return not doubt[0]
        if not doubt[0]:
            with self._lock:
                doubt[0] = 1
        return False

    def refresh(self) -> bool:
        """See `LiveProof`. An error is logged once."""
        with self._lock:
            began_us = self._clock_us()
            try:
                self._find()
            except _OtherSnapshotError:
                self._announced_us = _NEVER_US
            except (OSError, LiveFileError, ValueError) as error:
                self._announced_us = _NEVER_US
                if str(error) != self._last_error:
                    self._last_error = str(error)
                    if not self._name and isinstance(error, FileNotFoundError):
                        _log.info("no live positions yet, availability is STALE until the writer shows them")
                    else:
                        level = logging.ERROR if self._name else logging.INFO  # no live file exists yet
                        _log.log(level, "live positions can't be read, availability is STALE: %s", error)
            else:
                self._last_error = ""
                self._announced_us = began_us
            head, doubt = self._current
            is_proven = self._is_shown(head)
            doubt[0] = 0 if is_proven else 1
            return is_proven

    def _is_shown(self, head: "memoryview[int]") -> bool:
        now_us, silence_us = self._clock_us(), self._silence_us
        return (
            not head[RETIRED]
            and abs(now_us - head[BEAT]) < silence_us
            and now_us - self._announced_us < silence_us
        )

    def _find(self) -> None:
        """Map the announced file if it is not mapped yet."""
        version, name = announced(self._directory)
        if version != self._version:
            raise _OtherSnapshotError
        if name == self._name:
            return
        doubt = np.ones(1, dtype=np.int64)
        live = open_live(self._directory / name, doubt)
        if (int(live.live_head[SNAPSHOT]), int(live.live_head[BOOT])) != self._identity:
            raise LiveFileError(f"{name} belongs to another snapshot, or to another boot of this host")
        before = self._current[1]
        head = _as_memoryview(live.live_head)
        # In doubt until `refresh` has proven them.
        self._positions.attach(live)
        self._current = head, _as_memoryview(doubt)
        before[0] = 1
        self._name = name


def _as_memoryview(array: NDArray[np.int64]) -> "memoryview[int]":
    """The same memory as a memoryview, whose elements are read in a third of the time."""
    return memoryview(array)  # type: ignore[arg-type]


class OnDemandReader(LiveReader):
    """Refreshes at every request, for processes without a loop that does."""

    def __call__(self) -> bool:
        """See `LiveProof`."""
        return self.refresh()


def reading(store: Path, loaded: LoadedSnapshot, reader: type[LiveReader] = LiveReader) -> LoadedSnapshot:
    """The snapshot with live positions that another process writes; unproven until `refresh` has mapped them."""
    if loaded.availability is None:
        return loaded
    return dataclasses.replace(loaded, live=reader(store, loaded.version, loaded.availability.positions))
