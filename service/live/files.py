"""Where a store keeps live state, who may write it, and how the processes of a host find its live positions.

STORE/live/state.sqlite      what is durable (`cache.embedded`)
STORE/live/writer.lock       held by the one writer
STORE/live/writer.sock       where the writer listens
STORE/live/positions         names the file below and the snapshot it goes with; replaced in one step
STORE/live/positions-….live  live positions, mapped by every worker; made anew by each writer, under a name of its own

A file whose place another takes is marked as retired before it goes: who still maps it knows at once.
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
from pricegrid.service.clock import host_number, host_us, number_of
from pricegrid.service.limits import LIVE_PAIRS, LIVE_WORDS

_log = logging.getLogger(__name__)
POINTER = "positions"
_SOCKET = "writer.sock"
_SOCKET_BYTES_MAX = 100
"""The name of a unix socket has room for 107 bytes."""


class WriterBusyError(Exception):
    """Another process writes the live state of this store."""


def live_directory(store: Path) -> Path:
    """The directory, made if need be."""
    directory = store / "live"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def socket_path(store: Path) -> Path:
    """Where the writer of a store listens: in the store, whose owner decides who may reach it.

    A path that is too long for a socket is gone by way of an open directory, whose name is short.
    """
    directory = (store / "live").resolve()
    if len(os.fsencode(directory / _SOCKET)) <= _SOCKET_BYTES_MAX:
        return directory / _SOCKET
    return Path(f"/proc/self/fd/{_opened(live_directory(store).resolve())}") / _SOCKET


@functools.cache
def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def writer_lock(store: Path) -> Iterator[None]:
    """Holds the right to write; WriterBusyError while another process has it. That of a dead process is free.

    Raises OSError where the store can't be written.
    """
    with (live_directory(store) / "writer.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WriterBusyError(f"another process writes the live state of {store}") from None
        yield


def is_read_only(error: OSError) -> bool:
    """Whether an error says that nobody of us may write there."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


class Beacon:
    """Keeps the announced live file alive: readers doubt one whose writer is silent."""

    def __init__(self, clock_us: Callable[[], int] = host_us) -> None:
        self.clock_us = clock_us
        self._shown: tuple[Path, LiveWriter] | None = None

    def show(self, path: Path, writer: LiveWriter) -> None:
        """From now on this file is the announced one."""
        self._shown = path, writer

    def beat(self, at_work_us: int) -> None:
        """Say when the writer was at work; safe from another thread."""
        shown = self._shown
        if shown is not None:
            shown[1].beat(at_work_us)

    def is_in_place(self) -> bool:
        """Whether readers find the announced file: nobody has taken it away, cut it or announced another one."""
        if self._shown is None:
            return True
        path, writer = self._shown
        size = 8 * sum(int(words) for words in writer.arrays.live_head[-4:])
        try:
            return path.stat().st_size == size and announced(path.parent)[1] == path.name
        except (OSError, ValueError):
            return False


class LiveFiles:
    """Makes the files of one snapshot's live positions; `point` shows the newest to the readers."""

    def __init__(self, store: Path, snapshot_version: str, beacon: Beacon | None = None) -> None:
        self._directory = live_directory(store)
        self._version = snapshot_version
        self._beacon = beacon or Beacon()
        self._path = self._directory / "none"
        self._writer: LiveWriter | None = None

    def __call__(self, grown: int) -> LiveWriter:
        """A file with twice the room each time. Raises OSError when the disk is full."""
        if self._writer is not None and not self._is_announced():
            self._path.unlink(missing_ok=True)  # it was too small before anybody saw it
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
        """From now on readers of this snapshot map this file; older ones go when the last reader has let go.

        Those are marked before this one is announced: at no instant do two count. Raises OSError, before anything has
        changed if the disk is full.
        """
        if self._writer is None:
            return
        pointer = self._directory / POINTER
        temporary = pointer.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"snapshot_version": self._version, "file": self._path.name}))
        others = [path for path in self._directory.glob("positions-*.live") if path != self._path]
        for path in others:
            with contextlib.suppress(OSError):  # its writer is gone, and so are its beats
                retire(path)
        self._writer.beat(self._beacon.clock_us())
        temporary.replace(pointer)
        self._beacon.show(self._path, self._writer)
        for path in others:
            path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Take away the newest file if nobody was told of it."""
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
