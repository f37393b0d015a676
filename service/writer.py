"""The writer process of a host: the one that changes live state. Workers ask it over a unix socket, and read what it
shows in shared memory; while it is away they go on reading, and refuse what would change something."""

import contextlib
import errno
import logging
import os
import platform
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from cache.open import open_state_cache
from cache.protocol import CacheError, StateCache
from cache.reserve_room import ReserveRoom
from service.errors import RequestRefusedError
from service.event_stream import StreamIntake
from service.instants import now_us
from service.limits import EXPIRE_S, FOLLOW_S, FORGET_S, HOUSEKEEPING_S, STANDBY_S
from service.link_metrics import LinkMetrics, open_link_metrics
from service.live_files import LiveFiles, WriterBusyError, live_directory, socket_path, writer_lock
from service.live_state import LiveState
from service.runtime import load_snapshot
from service.worker import Activate, Serving, SwapFailed, WorkerConfig, name_process
from service.writer_link import build_writer_server

T = TypeVar("T")

_log = logging.getLogger(__name__)
STREAM_GROUP = "pricegrid"
"""All hosts read an event stream as one group: each entry is taken in by one, and told to the others."""


def run_writer(config: WorkerConfig, supervisor: Connection) -> None:
    """The process: serves the workers until told to stop, or until the supervisor is gone."""
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s %(levelname)s writer {os.getpid()} %(message)s"
    )
    name_process("pricegrid-write")
    stopping = [False]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stopping.__setitem__(0, True))
    try:
        with contextlib.ExitStack() as stack:
            version = _become_writer(config, supervisor, stack, stopping)
            if version:
                _write(config, supervisor, version, stopping)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _log.warning("the supervisor is gone; stopping")


def _become_writer(
    config: WorkerConfig, supervisor: Connection, stack: contextlib.ExitStack, stopping: list[bool]
) -> str:
    """Wait until no other server writes this store, whose writer serves these workers meanwhile; the snapshot to
    begin with, '' when told to stop."""
    version = config.snapshot_version
    is_standing_by = False
    while not stopping[0]:
        try:
            stack.enter_context(writer_lock(config.store))
        except WriterBusyError as error:
            if not is_standing_by:
                _log.info("%s: its writer is used, this one stands by", error)
                supervisor.send(Serving(version))
                is_standing_by = True
            if supervisor.poll(STANDBY_S):
                match supervisor.recv():
                    case Activate(newer):
                        version = newer
                        supervisor.send(Serving(version))
                    case _:
                        return ""
        else:
            return version
    return ""


def _write(config: WorkerConfig, supervisor: Connection, version: str, stopping: list[bool]) -> None:
    """Serve the workers until told to stop."""
    with contextlib.closing(open_state_cache(live_directory(config.store), config.redis)) as cache:
        live = _in_room(config, lambda: open_live_state(config, cache, version))
        server: Any = None
        if live is not None:
            server = build_writer_server(live, socket_path(config.store))
            server.start()
        intake = None
        if live is not None and config.redis is not None and config.events_stream:
            consumer = f"{platform.node()}-{os.getpid()}"
            intake = StreamIntake(live, config.redis, config.events_stream, STREAM_GROUP, consumer)
        try:
            supervisor.send(Serving(version))
            _tend(config, supervisor, live, open_link_metrics(cache, metrics=config.metrics), stopping)
        finally:
            if intake is not None:
                intake.close()
            if server is not None:
                server.stop(config.grace_s).wait()


def _in_room(config: WorkerConfig, work: Callable[[], T]) -> T:
    """Do something that needs room on the disk; on a full one in the room that is kept back."""
    try:
        return work()
    except OSError as error:
        if error.errno != errno.ENOSPC or not ReserveRoom(live_directory(config.store)).give_back():
            raise
        return work()


def open_live_state(config: WorkerConfig, cache: StateCache, version: str) -> LiveState | None:
    """Live state over a snapshot of the store, shown to its readers; None: the snapshot has no positions."""
    loaded = load_snapshot(config.store, version, config.policy, verify=False)
    if loaded.availability is None:
        return None
    files = LiveFiles(config.store, version)
    live = LiveState(cache, loaded.availability, version, loaded.created_at_us, files, now_us, files.point)
    files.point()
    return live


def _tend(
    config: WorkerConfig,
    supervisor: Connection,
    live: LiveState | None,
    link_metrics: LinkMetrics | None,
    stopping: list[bool],
) -> None:
    next_expiry_s = next_forget_s = time.monotonic()
    while not stopping[0]:
        if supervisor.poll(FOLLOW_S if config.redis else HOUSEKEEPING_S):
            match supervisor.recv():
                case Activate(version):
                    supervisor.send(_switch(config, live, version))
                case _:
                    return
        if link_metrics is not None:
            link_metrics.show()
        if live is None:
            continue
        try:
            live.follow()
            if time.monotonic() >= next_expiry_s:
                next_expiry_s = time.monotonic() + EXPIRE_S
                live.expire()
            if time.monotonic() >= next_forget_s:
                next_forget_s = time.monotonic() + FORGET_S
                live.forget()
        except (RequestRefusedError, CacheError, OSError) as error:
            _log.warning("live state could not be tended, tried again: %s", error)


def _switch(config: WorkerConfig, live: LiveState | None, version: str) -> Serving | SwapFailed:
    """Show live state over the next snapshot; what readers of the old one have stays as it is."""
    if live is None:
        return SwapFailed(version, "the snapshot that the writer began with has no positions: serve again")
    try:
        loaded = load_snapshot(config.store, version, config.policy, verify=False)
        if loaded.availability is None:
            return SwapFailed(version, "the snapshot has no positions")
        files = LiveFiles(config.store, version)
        live.use(loaded.availability, version, loaded.created_at_us, files, files.point)
        files.point()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the writer goes on with what it has
        _log.exception("live state can't be shown over snapshot %s", version)
        return SwapFailed(version, repr(error))
    return Serving(version)
