"""How a process reads live positions that another one writes, and proves on every look that they are what it thinks.

Proven is: the file is of the snapshot that is served, it is the announced one, it is not retired, and its writer was
at work just now. Anything else makes every source STALE, at once; the figures stay those last seen (A11).
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
    """What is announced is of another snapshot: as long as one swaps, and for those that were replaced."""


class LiveReader:
    """The live positions of one snapshot (`LiveProof`); safe to use from many threads.

    A thread that doubts says so in the word that the kernels look at; only `look` takes that back, under a lock with
    all that leads to it, so no thread reads as proven what it has found in doubt itself.
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
        self._marks = number_of(snapshot_version), host_number()
        self._positions = positions
        self._clock_us = clock_us
        self._silence_us = int(silence_s * 1_000_000)
        self._lock = threading.Lock()
        self._name = ""
        self._said = ""
        self._announced_us = _NEVER_US
        doubt = np.ones(1, dtype=np.int64)
        word = doubt.view()
        word.flags.writeable = False
        positions.attach(NOTHING_LIVE._replace(live_doubt=word))
        self._current = _words(NOTHING_LIVE.live_head), _words(doubt)

    def __call__(self) -> bool:
        """See `LiveProof`."""
        head, doubt = self._current
        if self._is_shown(head):
            return not doubt[0]
        if not doubt[0]:
            with self._lock:
                doubt[0] = 1
        return False

    def look(self) -> bool:
        """See `LiveProof`. What is wrong is logged once."""
        with self._lock:
            began_us = self._clock_us()
            try:
                self._find()
            except _OtherSnapshotError:
                self._announced_us = _NEVER_US
            except (OSError, LiveFileError, ValueError) as error:
                self._announced_us = _NEVER_US
                if str(error) != self._said:
                    self._said = str(error)
                    level = logging.ERROR if self._name else logging.INFO  # there are none yet
                    _log.log(level, "live positions can't be followed, all is STALE: %s", error)
            else:
                self._said = ""
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
        """Map the announced file unless it is mapped."""
        version, name = announced(self._directory)
        if version != self._version:
            raise _OtherSnapshotError
        if name == self._name:
            return
        doubt = np.ones(1, dtype=np.int64)
        live = open_live(self._directory / name, doubt)
        if (int(live.live_head[SNAPSHOT]), int(live.live_head[BOOT])) != self._marks:
            raise LiveFileError(f"{name} is of another snapshot, or of another start of this host")
        before = self._current[1]
        head = _words(live.live_head)
        # `look` goes on to say whether they are proven: until then who reads them finds them in doubt
        self._positions.attach(live)
        self._current = head, _words(doubt)
        before[0] = 1
        self._name = name


def _words(array: NDArray[np.int64]) -> "memoryview[int]":
    """The same memory; an element is had in a third of the time."""
    return memoryview(array)  # type: ignore[arg-type]


class LookingReader(LiveReader):
    """For who has no loop that looks: every question does."""

    def __call__(self) -> bool:
        """See `LiveProof`."""
        return self.look()


def reading(store: Path, loaded: LoadedSnapshot, reader: type[LiveReader] = LiveReader) -> LoadedSnapshot:
    """A snapshot whose live positions another process writes: in doubt until `look` has found them."""
    if loaded.availability is None:
        return loaded
    return dataclasses.replace(loaded, live=reader(store, loaded.version, loaded.availability.positions))
