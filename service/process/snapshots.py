"""The snapshots of a worker: the active one, those kept besides it, and the swap to the next (docs/architecture.md).

A request reads the active snapshot once and uses it to its end, so no request sees two versions. A replaced snapshot
stays mapped for requests that name it. The worker's loop unmaps snapshots, never a request, because unmapping gigabytes
takes a while.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import KEPT_SNAPSHOTS_MAX, PUSHBACK_MS

if TYPE_CHECKING:
    from pricegrid.atp.engine import AvailabilityEngine
    from pricegrid.pricing_engine.arrays.other_names import OtherNames
    from pricegrid.pricing_engine.engine import PriceEngine
    from pricegrid.service.fast_path.path import FastPath

OPENINGS_MAX: Final = 3
"""Requests that open a snapshot or wait to: each holds a thread of reads."""
OPENING_COST: Final = 10
"""Seconds that an opening of one second counts as: a tenth of a core."""
OPENING_AHEAD_S: Final = 10.0
"""How far ahead of that they may be: a comparison of some versions is not slowed down."""


def _no_branch(_: str) -> str:
    return ""


class LiveProof(Protocol):
    """Whether the live positions of a snapshot are those that the writer shows."""

    def __call__(self) -> bool:
        """Call before reading live positions: if they are unproven, they are STALE from then on. Cheap."""
        ...

    def refresh(self) -> bool:
        """Map the announced live file; returns whether live positions are proven then."""
        ...


class NothingToProve:
    """For live positions of this process, or none: there is no file that could be the wrong one."""

    def __call__(self) -> bool:
        """See `LiveProof`."""
        return True

    def refresh(self) -> bool:
        """See `LiveProof`."""
        return True


NOTHING_TO_PROVE: Final = NothingToProve()


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class LoadedSnapshot:
    """A snapshot ready to serve. A request holds a reference, which keeps the snapshot mapped."""

    version: str
    created_at_us: int
    engine: PriceEngine
    time_zone: str
    """Of the dataset, in which dates begin (P10)."""
    availability: AvailabilityEngine | None = None
    """None: the snapshot has no positions."""
    branch_of: Callable[[str], str] = field(default=_no_branch)
    """The branch of a customer, '' for none."""
    fast_path: FastPath | None = None
    """For simple requests; None: all requests take the general path."""
    live: LiveProof = NOTHING_TO_PROVE
    """Call it before `availability` or `fast_path` read live positions."""
    names: OtherNames | None = None
    """How others call what it has; None: nobody is asked."""
    whole: LoadedSnapshot | None = None
    """Of a view that is limited to some customers: the snapshot itself, which must stay mapped as long."""


class Openings:
    """Who may open a snapshot that a request names: it reads and hashes gigabytes, for sixty bytes.

    One request at a time, and a tenth of a core in the long run; of those that wait some, the others are told when to
    ask again. So neither threads nor cores are used up by requests that name one version after the other.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._opening = threading.Lock()
        self._lock = threading.Lock()
        self._here = 0
        self._due_s = 0.0
        """When the next one would be due of requests that use a tenth of a core."""

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Holds the right to open one; raises OVERLOADED."""
        with self._lock:
            early_s = self._due_s - self._clock_s() - OPENING_AHEAD_S
            if self._here >= OPENINGS_MAX or early_s > 0:
                retry_ms = max(PUSHBACK_MS, math.ceil(early_s * 1_000))
                raise RequestRefusedError(
                    Reason.OVERLOADED,
                    f"too many snapshots are opened for requests that name them; ask again in {retry_ms} ms",
                    retry_ms=retry_ms,
                    limit="snapshots",
                )
            self._here += 1
        began_s = self._clock_s()
        try:
            with self._opening:
                began_s = self._clock_s()
                yield
        finally:
            with self._lock:
                now_s = self._clock_s()
                cost_s = min((now_s - began_s) * OPENING_COST, OPENING_AHEAD_S)
                self._due_s = max(self._due_s, now_s) + cost_s
                self._here -= 1


class SnapshotHolder:
    """The snapshots of one worker. `get` is safe to call from any thread, the rest from the worker's loop alone."""

    def __init__(
        self,
        active: LoadedSnapshot,
        open_version: Callable[[str], LoadedSnapshot],
        *,
        kept_max: int = KEPT_SNAPSHOTS_MAX,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._active = active
        self._open_version = open_version
        self._kept_max = kept_max
        self._kept: OrderedDict[str, LoadedSnapshot] = OrderedDict()
        self._retired: list[tuple[weakref.ref[LoadedSnapshot], tuple[object, ...]]] = []
        self._lock = threading.Lock()
        self._openings = Openings(clock_s)

    @property
    def active(self) -> LoadedSnapshot:
        """The snapshot for requests that name none."""
        return self._active

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; opens it if necessary, and raises as `open_version`."""
        active = self._active
        if not version or version == active.version:
            return active
        kept = self._kept_used(version)
        if kept is not None:
            return kept
        with self._openings.turn():
            kept = self._kept_used(version)  # another request may have opened it meanwhile
            if kept is None:
                kept = self._open_version(version)
                with self._lock:
                    if self._active.version == version:  # it became active meanwhile
                        self._retire(kept)
                        return self._active
                    self._keep(kept)
            return kept

    def _kept_used(self, version: str) -> LoadedSnapshot | None:
        with self._lock:
            kept = self._kept.get(version)
            if kept is not None:
                self._kept.move_to_end(version)
            return kept

    def activate(self, loaded: LoadedSnapshot) -> None:
        """Make `loaded` the active snapshot from the next request on."""
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
        """The snapshot of that version if it is mapped."""
        with self._lock:
            return self._kept.get(version)

    def let_go(self) -> int:
        """Unmaps replaced snapshots that no request uses any more; returns how many are still in use."""
        with self._lock:
            retired = self._retired
            self._retired = [entry for entry in retired if entry[0]() is not None]
            waiting = len(self._retired)
        retired.clear()  # outside the lock: unmapping takes a while
        return waiting

    def _keep(self, loaded: LoadedSnapshot) -> None:
        self._kept[loaded.version] = loaded
        while len(self._kept) > self._kept_max:
            self._retire(self._kept.popitem(last=False)[1])

    def _retire(self, loaded: LoadedSnapshot) -> None:
        # These objects hold the maps. The weak reference tells when no request holds `loaded` any more.
        maps = (loaded.engine, loaded.availability, loaded.branch_of, loaded.fast_path, loaded.names)
        self._retired.append((weakref.ref(loaded), maps))
