"""Looks for arrays of the active snapshot that changed after they were verified, by a failing disk or another program.

Processes map the files, so such a change is in the answers at once. A file whose size, inode or modification time
changes is hashed again immediately; besides, all of them are, one after another, once in `SCRUB_S`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pricegrid.loaders.store.hashing import hash_file
from pricegrid.loaders.store.snapshot import read_manifest, snapshot_folder

SCRUB_S: Final = 600.0
"""In which all files are hashed again."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """The active snapshot is not what was verified."""

    snapshot_version: str
    message: str


@dataclass(slots=True)
class _Files:
    """The arrays of one snapshot."""

    version: str = ""
    folder: Path = Path()
    hashes: dict[str, str] = field(default_factory=dict)
    looks: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """What the system said of each file when it was last seen to be right."""
    wrong: dict[str, str] = field(default_factory=dict)
    """What is wrong with a file, by its name."""
    next_file: int = 0
    next_at_s: float = 0.0


class Scrub:
    """Used by one thread."""

    def __init__(
        self, store: Path, *, clock_s: Callable[[], float] = time.monotonic, period_s: float = SCRUB_S
    ) -> None:
        self._store = store
        self._clock_s = clock_s
        self._period_s = period_s
        self._files = _Files()

    def turn(self, version: str) -> Damaged | None:
        """Look once at a snapshot that was verified; returns what is wrong with it, None while nothing is."""
        if version != self._files.version:
            self._begin(version)
        files = self._files
        for name in files.hashes:
            if self._look(name) != files.looks[name]:
                self._check(name)
        if files.hashes and self._clock_s() >= files.next_at_s:
            names = list(files.hashes)
            self._check(names[files.next_file % len(names)])
            files.next_file += 1
            files.next_at_s = self._clock_s() + self._period_s / len(names)
        for message in files.wrong.values():
            return Damaged(version, message)
        return None

    def _begin(self, version: str) -> None:
        folder = snapshot_folder(self._store, version)
        entries = read_manifest(folder)["files"]
        hashes = {name: entry["sha256"] for name, entry in entries.items()}
        self._files = _Files(version, folder, hashes)
        self._files.looks = {name: self._look(name) for name in hashes}
        self._files.next_at_s = self._clock_s() + self._period_s / max(1, len(hashes))

    def _look(self, name: str) -> tuple[int, ...]:
        try:
            status = (self._files.folder / name).lstat()
        except OSError:
            return ()
        return status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns

    def _check(self, name: str) -> None:
        path, look = self._files.folder / name, self._look(name)
        self._files.looks[name] = look
        self._files.wrong.pop(name, None)
        try:
            if hash_file(path) != self._files.hashes[name]:
                self._files.wrong[name] = f"{path} has changed since it was verified"
        except OSError as error:
            self._files.wrong[name] = str(error)
