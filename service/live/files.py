"""The files of live state: where they are, who may write them, and how processes find the live positions.

STORE/live/state.sqlite      the durable state (`cache.embedded`)
STORE/live/writer.lock       locked by the one writer
STORE/live/writer.sock       the socket on which the writer listens
STORE/live/positions         announces the file below and its snapshot; replaced atomically
STORE/live/positions-….live  live positions, mapped by every worker; each writer creates new ones under unique names

A file is marked as retired before the next one is announced and it is deleted: processes that still map it notice at
once.
"""

import contextlib
import errno
import fcntl
import functools
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from pricegrid.atp.live.positions import LiveWriter, retire
from pricegrid.loaders.store.snapshot import STORE_MODE
from pricegrid.service.clock import host_number, host_us, number_of
from pricegrid.service.limits import LIVE_PAIRS, LIVE_WORDS

_log = logging.getLogger(__name__)
POINTER = "positions"
_SOCKET = "writer.sock"
_SOCKET_BYTES_MAX = 100
"""The path of a unix socket is limited to 107 bytes."""


class WriterBusyError(Exception):
    """Another process has the writer lock of this store."""


class OtherCacheError(WriterBusyError):
    """It has, and keeps live state elsewhere than this process would."""

    def __init__(self, theirs: str) -> None:
        super().__init__(theirs)
        self.theirs = theirs


def live_directory(store: Path) -> Path:
    """The directory of live state, created if it does not exist."""
    directory = store / "live"
    store.mkdir(mode=STORE_MODE, parents=True, exist_ok=True)
    directory.mkdir(
        mode=0o770, exist_ok=True
    )  # others have no business with reservations and the writer's socket
    return directory


def socket_path(store: Path) -> Path:
    """The writer's socket. It is in the store, so the store's permissions decide who may connect.

    A path that is too long for a socket is replaced by one through an open directory, which is short.
    """
    directory = (store / "live").resolve()
    if len(os.fsencode(directory / _SOCKET)) <= _SOCKET_BYTES_MAX:
        return directory / _SOCKET
    return Path(f"/proc/self/fd/{_opened(live_directory(store).resolve())}") / _SOCKET


@functools.cache
def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def writer_lock(store: Path, cache: str = "") -> Iterator[None]:
    """Holds the writer lock, and tells others in its file which cache the live state is kept in; raises WriterBusyError
    while another process holds it, OtherCacheError if that names another cache. It is freed when a process dies.

    Raises OSError if the store can't be written.
    """
    with (live_directory(store) / "writer.lock").open("ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            theirs = file.read().decode(errors="replace")
            if theirs and cache and theirs != cache:
                raise OtherCacheError(theirs) from None
            raise WriterBusyError(f"another process writes the live state of {store}") from None
        with contextlib.suppress(OSError):  # on a full disk: others are not told
            file.truncate(0)
            file.write(cache.encode())
        yield


def is_read_only(error: OSError) -> bool:
    """Whether an error means that this process may not write there."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


class Beacon:
    """Writes the heartbeats of the announced live file; readers distrust a file whose writer is silent."""

    def __init__(self, clock_us: Callable[[], int] = host_us) -> None:
        self.clock_us = clock_us
        self._shown: tuple[Path, LiveWriter] | None = None

    def show(self, path: Path, writer: LiveWriter) -> None:
        """Beat in this file from now on."""
        self._shown = path, writer

    def beat(self, at_work_us: int) -> None:
        """Write when the writer was last at work; safe from another thread."""
        shown = self._shown
        if shown is not None:
            shown[1].beat(at_work_us)

    def is_in_place(self) -> bool:
        """Whether readers find the announced file: nobody has removed it, truncated it or announced another one."""
        if self._shown is None:
            return True
        path, writer = self._shown
        size = 8 * sum(int(words) for words in writer.arrays.live_head[-4:])
        try:
            return path.stat().st_size == size and announced(path.parent)[1] == path.name
        except (OSError, ValueError):
            return False


class LiveFiles:
    """Creates the live files of one snapshot; `announce` makes the newest one visible to readers."""

    def __init__(self, store: Path, snapshot_version: str, beacon: Beacon | None = None) -> None:
        self._directory = live_directory(store)
        self._version = snapshot_version
        self._beacon = beacon or Beacon()
        self._path = self._directory / "none"
        self._writer: LiveWriter | None = None

    def __call__(self, grown: int) -> LiveWriter:
        """A new file with capacity for 2^`grown` times as much. Raises OSError when the disk is full."""
        if self._writer is not None and not self._is_announced():
            self._path.unlink(missing_ok=True)  # it became too small before it was announced
        self._path = self._directory / f"positions-{self._version}-{os.getpid()}-{secrets.token_hex(8)}.live"
        self._writer = LiveWriter.create(
            self._path,
            LIVE_PAIRS << grown,
            LIVE_WORDS << grown,
            snapshot=number_of(self._version),
            boot=host_number(),
        )
        return self._writer

    def announce(self) -> None:
        """Announce the newest file to the readers of this snapshot, and delete the older ones.

        The older ones are retired before this one is announced, so two are never valid at once; readers keep their
        mapping until they let it go. Raises OSError; if the disk is full, nothing has changed.
        """
        if self._writer is None:
            return
        pointer = self._directory / POINTER
        temporary = pointer.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"snapshot_version": self._version, "file": self._path.name}))
        others = [path for path in self._directory.glob("positions-*.live") if path != self._path]
        for path in others:
            with contextlib.suppress(OSError):  # its writer is gone: it has no heartbeats
                retire(path)
        self._writer.beat(self._beacon.clock_us())
        temporary.replace(pointer)
        self._beacon.show(self._path, self._writer)
        for path in others:
            path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Delete the newest file unless it is announced."""
        if self._writer is not None and not self._is_announced():
            self._path.unlink(missing_ok=True)

    def _is_announced(self) -> bool:
        try:
            return announced(self._directory)[1] == self._path.name
        except (OSError, ValueError):
            return False


def announced(directory: Path) -> tuple[str, str]:
    """(snapshot version, file name) that a live directory announces; raises OSError and ValueError."""
    match json.loads((directory / POINTER).read_text()):
        case {"snapshot_version": str(version), "file": str(name)}:
            return version, name
    raise ValueError(f"{directory / POINTER} names no file")
