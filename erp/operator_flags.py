"""Operator flags, set while servers run: flagged customers, items and books, and invalidated cached answers.

They are in one small file of the store, which is replaced atomically; every process checks it a few times a second. A
flag makes an exception of every line of its customer, item or book (P13). A flag with a snapshot version ends when
another snapshot becomes active.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

_log = logging.getLogger(__name__)

FLAGS_FILE: Final = "erp-control.json"
RELOAD_S: Final = 0.2
"""How often the file is checked."""
KINDS: Final = ("customer", "sku", "book")
INVALIDATIONS_MAX: Final = 1_000
"""Beyond this number the oldest are merged into one that invalidates everything before it."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag."""

    kind: str
    """One of KINDS."""
    name: str
    since_us: int
    reason: str = ""
    snapshot_version: str | None = None
    """Valid only while this snapshot is active; None: until it is removed."""


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Invalidates the answers for a customer and item ('' for any) that were cached at or before an instant."""

    customer_id: str
    sku: str
    before_us: int


@dataclass(frozen=True, slots=True)
class FlagSet:
    """The flags and invalidations of the file."""

    flags: tuple[Flag, ...] = ()
    invalidations: tuple[Invalidation, ...] = ()
    _names: dict[str, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_books(self) -> bool:
        """Whether any book is flagged."""
        return any(flag.kind == "book" for flag in self.flags)

    def flagged(self, kind: str, snapshot_version: str) -> frozenset[str]:
        """The flagged names of a kind, for lines of that snapshot."""
        key = f"{kind} {snapshot_version}"
        if key not in self._names:
            self._names[key] = frozenset(
                flag.name
                for flag in self.flags
                if flag.kind == kind and flag.snapshot_version in {None, snapshot_version}
            )
        return self._names[key]

    def is_invalidated(self, customer_id: str, sku: str, stored_at_us: int) -> bool:
        """Whether an answer that was cached at an instant is invalidated."""
        return any(
            stored_at_us <= each.before_us and each.customer_id in {"", customer_id} and each.sku in {"", sku}
            for each in self.invalidations
        )


NO_FLAGS: Final = FlagSet()
"""Nothing is flagged or invalidated."""


class OperatorFlags:
    """Reads and changes the file of one store. `state` is safe to call from any thread."""

    def __init__(self, store: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = store / FLAGS_FILE
        self._clock = clock
        self._lock = threading.Lock()
        self._checked_at_s = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._unreadable: tuple[int, int] | None = None
        """The stamp of a file that could not be read, which is logged once."""
        self._state = FlagSet()

    def state(self) -> FlagSet:
        """The current flags; while the file can't be read, the previous ones."""
        if self._clock() - self._checked_at_s >= RELOAD_S and self._lock.acquire(blocking=False):
            try:
                self._reload()
                self._checked_at_s = self._clock()
            finally:
                self._lock.release()
        return self._state

    def _reload(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._state = None, FlagSet()
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp in {self._stamp, self._unreadable}:
            return
        try:
            self._state, self._stamp = self.read(), stamp
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with the file, requests are served
            self._unreadable = stamp
            _log.error("%s can't be read; its previous flags stay in force: %r", self._path, error)

    def read(self) -> FlagSet:
        """Reads the file now."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return FlagSet()
        return FlagSet(
            tuple(Flag(**each) for each in document["flags"]),
            tuple(Invalidation(**each) for each in document["invalidations"]),
        )

    def flag(self, flag: Flag) -> bool:
        """Adds or replaces a flag; returns whether it is new."""
        with self._changing() as state:
            same = any((f.kind, f.name) == (flag.kind, flag.name) for f in state.flags)
            others = [f for f in state.flags if (f.kind, f.name) != (flag.kind, flag.name)]
            self._write([*others, flag], state.invalidations)
            return not same

    def unflag(self, kind: str, name: str) -> bool:
        """Removes a flag; returns whether it existed."""
        with self._changing() as state:
            others = [f for f in state.flags if (f.kind, f.name) != (kind, name)]
            self._write(others, state.invalidations)
            return len(others) < len(state.flags)

    def invalidate(self, customer_id: str, sku: str, before_us: int) -> None:
        """Invalidates cached answers."""
        with self._changing() as state:
            kept = [
                each for each in state.invalidations if (each.customer_id, each.sku) != (customer_id, sku)
            ]
            kept.append(Invalidation(customer_id, sku, before_us))
            if len(kept) > INVALIDATIONS_MAX:
                oldest = kept[: len(kept) - INVALIDATIONS_MAX + 1]
                everything = Invalidation("", "", max(each.before_us for each in oldest))
                kept = [everything, *kept[len(oldest) :]]
            self._write(state.flags, kept)

    @contextmanager
    def _changing(self) -> Iterator[FlagSet]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.read()

    def _write(self, flags: Any, invalidations: Any) -> None:
        document = {
            "flags": [asdict(each) for each in flags],
            "invalidations": [asdict(each) for each in invalidations],
        }
        making = self._path.with_suffix(".new")
        with making.open("w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        making.rename(self._path)
        self._checked_at_s = float("-inf")
