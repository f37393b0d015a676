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
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pricegrid.cache.open import open_state_cache
from pricegrid.cache.protocol import CacheError, StateCache
from pricegrid.cache.reserve_room import ReserveRoom
from pricegrid.service.clock import now_us
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.limits import (
    EXPIRE_S,
    FOLLOW_S,
    FORGET_S,
    HOUSEKEEPING_S,
    LIVE_CHECK_S,
    STALL_S,
    STANDBY_S,
)
from pricegrid.service.live.event_stream import EventIngest
from pricegrid.service.live.files import (
    Beacon,
    LiveFiles,
    WriterBusyError,
    is_read_only,
    live_directory,
    socket_path,
    writer_lock,
)
from pricegrid.service.live.granting import RESERVATION
from pricegrid.service.live.state import LiveState
from pricegrid.service.live.writer_link import build_writer_server
from pricegrid.service.process.bootstrap import load_snapshot
from pricegrid.service.process.heartbeat import Beat, Pulse, Reporter
from pricegrid.service.process.loading import Loading
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.process.worker import (
    Activate,
    ReadOnly,
    Serving,
    SwapFailed,
    WorkerConfig,
    name_process,
)
from pricegrid.service.rpc.link_metrics import LinkMetrics, open_link_metrics

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
    reporter, beacon = Reporter(supervisor), Beacon()
    # What other hosts do is heard by the loop: then live state is as old as its last turn. Alone, a loop that waits for
    # a long message of events misses nothing.
    unheard_us = 0 if config.redis else int(STALL_S * 1_000_000)
    show = partial(_beat, beacon, unheard_us)
    try:
        with Pulse(lambda: reporter.beat(Beat()), show) as pulse, contextlib.ExitStack() as stack:
            process = _Process(config, supervisor, reporter, beacon, pulse, stopping)
            version = _become_writer(process, stack)
            if version:
                _write(process, version)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _log.warning("the supervisor is gone; stopping")
    logging.shutdown()
    os._exit(0)  # all is durable and told: to tidy up takes seconds on a busy machine


def _beat(beacon: Beacon, unheard_us: int, turned_us: int) -> None:
    beacon.beat(min(beacon.clock_us(), turned_us + unheard_us))


@dataclass(frozen=True, slots=True)
class _Process:
    """What all of this process work with."""

    config: WorkerConfig
    supervisor: Connection
    reporter: Reporter
    beacon: Beacon
    pulse: Pulse
    stopping: list[bool]


def _become_writer(process: _Process, stack: contextlib.ExitStack) -> str:
    """Wait until no other server writes this store, whose writer serves these workers meanwhile, and until it can be
    written; the snapshot to begin with, '' when told to stop."""
    version = process.config.snapshot_version
    why = ""
    while not process.stopping[0]:
        process.pulse.turn()
        try:
            stack.enter_context(writer_lock(process.config.store))
        except WriterBusyError as error:
            if why != "busy":
                why = "busy"
                _log.info("%s: its writer is used, this one stands by", error)
                process.reporter.send(Serving(version))
        except OSError as error:
            if not is_read_only(error):
                raise
            if why != "read-only":
                why = "read-only"
                _log.warning("the store can't be written, nothing can be changed: %s", error)
                process.reporter.send(ReadOnly())
        else:
            return version
        if process.supervisor.poll(STANDBY_S):
            match process.supervisor.recv():
                case Activate(newer):
                    version = newer
                    process.reporter.send(Serving(version) if why == "busy" else ReadOnly())
                case _:
                    return ""
    return ""


def _write(process: _Process, version: str) -> None:
    """Serve the workers until told to stop."""
    config = process.config
    cache = open_state_cache(live_directory(config.store), config.redis, conditional=(RESERVATION,))
    with contextlib.closing(cache):
        with process.pulse.busy():
            live = _in_room(config, lambda: open_live_state(config, cache, version, process.beacon))
        server: Any = None
        if live is not None:
            server = build_writer_server(live, socket_path(config.store))
            server.start()
        ingest = None
        if live is not None and config.redis is not None and config.events_stream:
            consumer = f"{platform.node()}-{os.getpid()}"
            ingest = EventIngest(live, config.redis, config.events_stream, STREAM_GROUP, consumer)
        try:
            process.reporter.send(Serving(version))
            _tend(process, live, version, open_link_metrics(cache, metrics=config.metrics))
        finally:
            with process.pulse.busy():
                if ingest is not None:
                    ingest.close()
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


def open_live_state(
    config: WorkerConfig, cache: StateCache, version: str, beacon: Beacon
) -> LiveState | None:
    """Live state over a snapshot of the store, shown to its readers; None: the snapshot has no positions."""
    loaded = load_snapshot(config.store, version, config.policy, verify=config.verify)
    if loaded.availability is None:
        return None
    files = LiveFiles(config.store, version, beacon)
    return LiveState(cache, loaded.availability, version, loaded.created_at_us, files, now_us, files.announce)


def _tend(process: _Process, live: LiveState | None, version: str, link_metrics: LinkMetrics | None) -> None:
    """The loop: hear the supervisor and other hosts, end what is over, go over to the next snapshot."""
    config = process.config
    switch = Switch(
        live,
        version,
        lambda newer: load_snapshot(config.store, newer, config.policy, verify=False),
        lambda newer: LiveFiles(config.store, newer, process.beacon),
        process.reporter.send,
    )
    next_expiry_s = next_forget_s = next_check_s = time.monotonic()
    while not process.stopping[0]:
        process.pulse.turn()
        if process.supervisor.poll(FOLLOW_S if config.redis else HOUSEKEEPING_S):
            match process.supervisor.recv():
                case Activate(newer):
                    switch.request(newer)
                case _:
                    return
        with process.pulse.busy():
            switch.turn()
        if switch.must_begin_again:
            _log.info("the next snapshot has positions, that of before had none: beginning again")
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
        if time.monotonic() >= next_check_s:
            next_check_s = time.monotonic() + LIVE_CHECK_S
            if not process.beacon.is_in_place():
                _log.error("the live file is not in its place any more: beginning again")
                return


class Switch:
    """Which snapshot live state goes over to. Used by the writer's loop alone."""

    def __init__(
        self,
        live: LiveState | None,
        version: str,
        open_version: Callable[[str], LoadedSnapshot],
        files_of: Callable[[str], LiveFiles],
        report: Callable[[Serving | SwapFailed], None],
    ) -> None:
        self._live = live
        self._files_of = files_of
        self._report = report
        self._shown = version
        self._loading = Loading(open_version)
        self.must_begin_again = False
        """The snapshot to go over to has positions, the one of before had none: another writer shows them."""

    def request(self, version: str) -> None:
        """Go over to this snapshot. One that is shown, or is being opened, is left alone: its file is made once."""
        if version == self._loading.version:
            return
        self._loading.forget()
        if version == self._shown:
            self._report(Serving(version))
        else:
            self._loading.begin(version)

    def turn(self) -> None:
        """Show live state over the next snapshot when it is open; readers of the old one know at once."""
        opened = self._loading.done()
        if opened is None:
            return
        version, loaded, error = opened
        if loaded is None:
            self._report(SwapFailed(version, repr(error)))
        elif loaded.availability is None:  # its readers need no live positions
            self._report(Serving(version))
        elif self._live is None:
            self.must_begin_again = True
        else:
            files = self._files_of(version)
            try:
                self._live.use(loaded.availability, version, loaded.created_at_us, files, files.announce)
            except Exception as failed:  # noqa: BLE001 -- whatever it is, the writer goes on with what it has
                files.drop()
                _log.exception("live state can't be shown over snapshot %s", version)
                self._report(SwapFailed(version, repr(failed)))
                return
            self._shown = version
            self._report(Serving(version))
