"""Where a store keeps live state, who may write it, and how the processes of a host find its live positions.

STORE/live/state.sqlite      what is durable (`cache.embedded`)
STORE/live/writer.lock       held by the one writer
STORE/live/positions         names the file below and the snapshot it goes with; replaced in one step
STORE/live/positions-….live  live positions, mapped by every worker; made anew by each writer
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atp.live import LiveFileError, LiveWriter, open_live
from service.limits import LIVE_PAIRS, LIVE_WORDS
from service.snapshots import LoadedSnapshot

_log = logging.getLogger(__name__)
_POINTER = "positions"


class WriterBusyError(Exception):
    """Another process writes the live state of this store."""


def live_directory(store: Path) -> Path:
    """The directory, made if need be."""
    directory = store / "live"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def socket_path(store: Path) -> Path:
    """Where the writer of a store listens: short, because the name of a socket may have only 107 bytes."""
    directory = Path(tempfile.gettempdir()) / f"pricegrid-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to somebody else")
    return directory / f"{hashlib.sha256(os.fsencode(store.resolve())).hexdigest()[:16]}.sock"


@contextlib.contextmanager
def writer_lock(store: Path) -> Iterator[None]:
    """Holds the right to write; WriterBusyError while another process has it. That of a dead process is free."""
    with (live_directory(store) / "writer.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WriterBusyError(f"another process writes the live state of {store}") from None
        yield


class LiveFiles:
    """Makes the files of one snapshot's live positions; `point` shows the newest to the readers."""

    def __init__(self, store: Path, snapshot_version: str) -> None:
        self._directory = live_directory(store)
        self._version = snapshot_version
        self._path = self._directory / "none"

    def __call__(self, grown: int) -> LiveWriter:
        """A file with twice the room each time. Raises OSError when the disk is full."""
        self._path = self._directory / f"positions-{self._version}-{os.getpid()}-{grown}.live"
        self._path.unlink(missing_ok=True)
        return LiveWriter.create(self._path, LIVE_PAIRS << grown, LIVE_WORDS << grown)

    def point(self) -> None:
        """From now on readers of this snapshot map this file; older ones go when the last reader has let go."""
        pointer = self._directory / _POINTER
        temporary = pointer.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"snapshot_version": self._version, "file": self._path.name}))
        temporary.replace(pointer)
        for path in self._directory.glob("positions-*.live"):
            if path != self._path:
                path.unlink(missing_ok=True)


class LiveFollower:
    """Lets a worker's active snapshot see its live positions, and the next file when there is one."""

    def __init__(self, store: Path) -> None:
        self._directory = store / "live"
        self._seen = ""

    def look(self, loaded: LoadedSnapshot) -> None:
        """Cheap when nothing is new. What can't be mapped is logged; the positions stay as they are."""
        try:
            text = (self._directory / _POINTER).read_text()
        except OSError:
            return
        seen = f"{loaded.version} {text}"
        if seen == self._seen or loaded.availability is None:
            return
        try:
            pointer = json.loads(text)
            if pointer["snapshot_version"] != loaded.version:
                return
            loaded.availability.positions.follow(open_live(self._directory / str(pointer["file"])))
        except (LiveFileError, ValueError, KeyError) as error:
            _log.error("live positions can't be followed: %s", error)
            return
        self._seen = seen
