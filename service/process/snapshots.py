"""Which snapshot answers: the active one, those kept beside it, and how the next takes over (design section 7).

A request reads the active snapshot once and works with that to its end, so none sees two versions. What is replaced
stays mapped for requests that name it, and is let go by the worker's own loop, never by a request: unmapping
gigabytes takes a while.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pricegrid.service.limits import KEPT_SNAPSHOTS_MAX

if TYPE_CHECKING:
    from pricegrid.atp.engine import AvailabilityEngine
    from pricegrid.pricing_engine.engine import PriceEngine
    from pricegrid.service.fast_path.path import Lane


def _no_branch(_: str) -> str:
    return ""


class LiveProof(Protocol):
    """Whether what a snapshot shows of live positions is what the writer shows."""

    def __call__(self) -> bool:
        """Asked before live positions are read: what can't be proven is STALE from then on. Cheap."""
        ...

    def look(self) -> bool:
        """Look which live file is announced, and read that one from now on; whether all is proven then."""
        ...


class NothingToProve:
    """Live positions of this process, or none at all: there is no file that could be another one."""

    def __call__(self) -> bool:
        """See `LiveProof`."""
        return True

    def look(self) -> bool:
        """See `LiveProof`."""
        return True


NOTHING_TO_PROVE: Final = NothingToProve()


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class LoadedSnapshot:
    """A snapshot ready to answer. Requests hold this object; who holds it last decides nothing but when it goes."""

    version: str
    created_at_us: int
    engine: PriceEngine
    time_zone: str
    """Of the dataset: where a date begins (P10)."""
    availability: AvailabilityEngine | None = None
    """None: the snapshot was made without positions."""
    branch_of: Callable[[str], str] = field(default=_no_branch)
    """The branch of a customer, '' for none."""
    lane: Lane | None = None
    """The short way of plain requests; None: all go the usual way."""
    live: LiveProof = NOTHING_TO_PROVE
    """To be asked before `availability` or `lane` say how much there is."""


class SnapshotHolder:
    """The snapshots of one worker. `get` may be called by any thread, the rest by the worker's loop alone."""

    def __init__(
        self,
        active: LoadedSnapshot,
        open_version: Callable[[str], LoadedSnapshot],
        *,
        kept_max: int = KEPT_SNAPSHOTS_MAX,
    ) -> None:
        self._active = active
        self._open_version = open_version
        self._kept_max = kept_max
        self._kept: OrderedDict[str, LoadedSnapshot] = OrderedDict()
        self._retired: list[tuple[weakref.ref[LoadedSnapshot], tuple[object, ...]]] = []
        self._lock = threading.Lock()

    @property
    def active(self) -> LoadedSnapshot:
        """The snapshot that answers requests which name none."""
        return self._active

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; opened if need be, raising what `open_version` does."""
        active = self._active
        if not version or version == active.version:
            return active
        with self._lock:
            kept = self._kept.get(version)
            if kept is None:
                kept = self._open_version(version)
                self._keep(kept)
            self._kept.move_to_end(version)
            return kept

    def activate(self, loaded: LoadedSnapshot) -> None:
        """From the next request on, `loaded` answers."""
        with self._lock:
            replaced = self._active
            self._active = loaded
            same = self._kept.pop(loaded.version, None)
            if same is not None and same is not loaded:
                self._retire(same)
            if replaced.version != loaded.version:
                self._keep(replaced)
            elif replaced is not loaded:
                self._retire(replaced)

    def kept(self, version: str) -> LoadedSnapshot | None:
        """The snapshot of that version if it is mapped already."""
        with self._lock:
            return self._kept.get(version)

    def let_go(self) -> int:
        """Unmaps the replaced snapshots that no request uses any more; how many still wait.

        Does nothing while a request opens a snapshot, which can take long: the worker's loop must go on.
        """
        if not self._lock.acquire(blocking=False):
            return len(self._retired)
        try:
            retired = self._retired
            self._retired = [entry for entry in retired if entry[0]() is not None]
            waiting = len(self._retired)
        finally:
            self._lock.release()
        retired.clear()  # outside the lock: this is what takes a while
        return waiting

    def _keep(self, loaded: LoadedSnapshot) -> None:
        self._kept[loaded.version] = loaded
        while len(self._kept) > self._kept_max:
            self._retire(self._kept.popitem(last=False)[1])

    def _retire(self, loaded: LoadedSnapshot) -> None:
        # These hold the maps. A request that still runs keeps `loaded` alive, which the weak reference shows.
        maps = (loaded.engine, loaded.availability, loaded.branch_of, loaded.lane)
        self._retired.append((weakref.ref(loaded), maps))
