"""The writer process: the one process of a host that changes live state.

Workers call it over a unix socket and read its live positions in shared memory. While it is down they go on answering
reads, and refuse mutations.
"""

import contextlib
import errno
import logging
import os
import platform
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

from pricegrid.cache.open import cache_name, open_state_cache
from pricegrid.cache.protocol import CacheError, StateCache
from pricegrid.cache.reserve_room import ReserveRoom
from pricegrid.loaders.errors import SnapshotError
from pricegrid.service.clock import now_us
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.limits import (
    EXPIRE_S,
    FOLLOW_S,
    FORGET_S,
    HOUSEKEEPING_S,
    LIVE_CHECK_S,
    RESTART_DELAY_MAX_S,
    STALL_S,
    STANDBY_S,
    WRITER_THREADS,
)
from pricegrid.service.live.files import (
    Beacon,
    LiveFiles,
    OtherCacheError,
    WriterBusyError,
    is_read_only,
    live_directory,
    socket_path,
    writer_lock,
)
from pricegrid.service.live.granting import RESERVATION
from pricegrid.service.live.state import LiveState
from pricegrid.service.live.writer_link import build_writer_server
from pricegrid.service.logs import begin_logging
from pricegrid.service.process.bootstrap import load_snapshot
from pricegrid.service.process.heartbeat import Beat, Pulse, Reporter
from pricegrid.service.process.loading import Loading
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.process.worker import (
    Activate,
    OtherCache,
    ReadOnly,
    Serving,
    SwapFailed,
    WorkerConfig,
    name_process,
)
from pricegrid.service.rpc.metrics import use_counters
from pricegrid.service.rpc.pools import ThreadPools

if TYPE_CHECKING:
    from pricegrid.service.live.writer_metrics import StreamMetrics, WriterMetrics
    from pricegrid.service.quota.leaser import Leaser
    from pricegrid.service.tracing.spans import Traces

T = TypeVar("T")

_log = logging.getLogger(__name__)
STREAM_GROUP = "pricegrid"
"""All hosts read an event stream as one group: one host ingests an entry, and shares it with the others."""


def run_writer(config: WorkerConfig, supervisor: Connection) -> None:
    """The main function of the process: serves the workers until it is stopped or the supervisor is gone."""
    begin_logging("writer", config.logs.format)
    use_counters(config.counters)
    name_process("pricegrid-write")
    stopping = [False]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stopping.__setitem__(0, True))
    reporter, beacon = Reporter(supervisor), Beacon()
    # With Redis, the loop reads the changes of other hosts, so live state is as old as its last turn. Without it, a
    # loop that is delayed by a long message of events misses nothing.
    unheard_us = 0 if config.redis else int(STALL_S * 1_000_000)
    show = partial(_beat, beacon, unheard_us)
    try:
        with Pulse(lambda: reporter.beat(Beat()), show) as pulse:
            _run(_Process(config, supervisor, reporter, beacon, pulse, stopping))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _log.warning("the supervisor is gone; stopping")
    except SnapshotError as error:
        _log.error("snapshot %s can't be served: %s", config.snapshot_version, error)
        raise SystemExit(1) from None
    logging.shutdown()
    os._exit(0)  # everything is durable and reported; a clean exit takes seconds on a busy machine


def _beat(beacon: Beacon, unheard_us: int, turned_us: int) -> None:
    beacon.beat(min(beacon.clock_us(), turned_us + unheard_us))


@dataclass(frozen=True, slots=True)
class _Process:
    """What the functions of this process share."""

    config: WorkerConfig
    supervisor: Connection
    reporter: Reporter
    beacon: Beacon
    pulse: Pulse
    stopping: list[bool]


class UnwritableError(Exception):
    """Live state can't be opened now; the text says why."""


def _run(process: _Process) -> None:
    """Serve the workers; while live state can't be opened, as on a full disk, try again and again."""
    version, trouble = process.config.snapshot_version, ""
    if process.config.is_read_only:
        _stay_away(process)
        return
    while version:
        with contextlib.ExitStack() as stack:
            version = _become_writer(process, stack, version)
            if not version:
                return
            try:
                _write(process, version)
            except UnwritableError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    _log.error("live state can't be opened, changes are refused until it can: %s", trouble)
            else:
                return
        process.reporter.send(ReadOnly())
        version = _paused(process, version)


def _stay_away(process: _Process) -> None:
    """Write nothing, and say so to whoever asks what this process shows."""
    _log.info("this server is read-only: reservations and events are refused")
    process.reporter.send(ReadOnly())
    while not process.stopping[0]:
        process.pulse.turn()
        if process.supervisor.poll(STANDBY_S):
            if not isinstance(process.supervisor.recv(), Activate):
                return
            process.reporter.send(ReadOnly())


def _paused(process: _Process, version: str) -> str:
    """Wait before the next attempt; the snapshot to begin with then, '' when stopped."""
    until_s = time.monotonic() + RESTART_DELAY_MAX_S
    while not process.stopping[0] and time.monotonic() < until_s:
        process.pulse.turn()
        if process.supervisor.poll(STANDBY_S):
            match process.supervisor.recv():
                case Activate(newer):
                    version = newer
                    process.reporter.send(ReadOnly())
                case _:
                    return ""
    return "" if process.stopping[0] else version


def _become_writer(process: _Process, stack: contextlib.ExitStack, version: str) -> str:
    """Wait until this process holds the writer lock; meanwhile the other server's writer serves our workers. Returns
    the snapshot to begin with, '' when stopped."""
    ours = cache_name(process.config.redis)
    why, seen = "", ""
    while not process.stopping[0]:
        process.pulse.turn()
        try:
            stack.enter_context(writer_lock(process.config.store, ours))
        except OtherCacheError as error:
            # Seen twice, because one that has just become the writer may not have said so yet.
            if why != "other cache" and error.theirs == seen:
                why = "other cache"
                _log.error("another server keeps the live state of this store %s, not %s", seen, ours)
                process.reporter.send(OtherCache(seen, ours))
            seen = error.theirs
        except WriterBusyError as error:
            if why != "busy":
                why = "busy"
                _log.info("%s: using that writer, this one is on standby", error)
                process.reporter.send(Serving(version))
        except OSError as error:
            if not is_read_only(error):
                raise
            if why != "read-only":
                why = "read-only"
                _log.warning("the store is read-only, mutations are refused: %s", error)
                process.reporter.send(ReadOnly())
        else:
            return version
        if process.supervisor.poll(STANDBY_S):
            match process.supervisor.recv():
                case Activate(newer):
                    version = newer
                    process.reporter.send(ReadOnly() if why == "read-only" else Serving(version))
                case _:
                    return ""
    return ""


def _write(process: _Process, version: str) -> None:
    """Serve the workers until stopped. Raises UnwritableError at the beginning."""
    config = process.config
    with contextlib.ExitStack() as stack:
        leaser = _leaser(config)
        try:
            with process.pulse.busy():
                cache = stack.enter_context(
                    contextlib.closing(
                        open_state_cache(
                            live_directory(config.store), config.redis, conditional=(RESERVATION,)
                        )
                    )
                )
                traces, traced = _traced(config, cache, stack)
                live = _with_reserve(config, lambda: open_live_state(config, traced, version, process.beacon))
                server: Any = None
                pools = ThreadPools(mutation_threads=WRITER_THREADS)
                if live is not None:
                    server = build_writer_server(live, socket_path(config.store), pools=pools, traces=traces)
                    server.start()
        except (OSError, CacheError) as error:
            if leaser is not None:
                leaser.close()
            raise UnwritableError(str(error)) from error
        ingest = None
        if live is not None and config.redis is not None and config.events_stream:
            from pricegrid.service.live.event_stream import EventIngest

            consumer = f"{platform.node()}-{os.getpid()}"
            counted = _stream_metrics(config)
            ingest = EventIngest(live, config.redis, config.events_stream, STREAM_GROUP, consumer, counted)
        try:
            process.reporter.send(Serving(version))
            metrics = _metrics(config, cache, leaser, pools.mutations.waiting)
            _tend(process, live, version, metrics)
        finally:
            with process.pulse.busy():
                if leaser is not None:
                    leaser.close()
                if ingest is not None:
                    ingest.close()
                if server is not None:
                    server.stop(config.grace_s).wait()


def _traced(
    config: WorkerConfig, cache: StateCache, stack: contextlib.ExitStack
) -> "tuple[Traces | None, StateCache]":
    """What traces the calls of workers that are traced there, and the cache with spans for its commits."""
    if config.traces is None:
        return None, cache
    from pricegrid.service.tracing.export import open_tracing
    from pricegrid.service.tracing.parts import traced_cache

    tracing = open_tracing(replace(config.traces, ratio=0.0, follows_caller=True), "writer")
    stack.callback(tracing.close)
    return tracing.traces, traced_cache(cache, "redis" if config.redis else "sqlite", tracing.traces)


def _metrics(
    config: WorkerConfig, cache: StateCache, leaser: "Leaser | None", waiting: Callable[[], int]
) -> "WriterMetrics | None":
    if not config.counters:
        return None
    from pricegrid.service.live.writer_metrics import WriterMetrics

    link = None
    if config.redis is not None:
        from pricegrid.service.rpc.link_metrics import open_link_metrics

        link = open_link_metrics(cache, lambda: leaser.hosts if leaser else 0)
    return WriterMetrics(link, waiting, now_us)


def _stream_metrics(config: WorkerConfig) -> "StreamMetrics | None":
    if not config.counters:
        return None
    from pricegrid.service.live.writer_metrics import StreamMetrics

    return StreamMetrics(now_us)


def _leaser(config: WorkerConfig) -> "Leaser | None":
    """What shares the quotas of callers with other hosts, in a thread of its own; None: nothing does."""
    if config.auth is None or not config.auth.limits:
        return None
    from pricegrid.service.quota.leaser import open_leaser

    return open_leaser(config.store, config.redis)


def _with_reserve(config: WorkerConfig, work: Callable[[], T]) -> T:
    """Do work that needs disk space; on a full disk, use the reserve."""
    try:
        return work()
    except OSError as error:
        if error.errno != errno.ENOSPC or not ReserveRoom(live_directory(config.store)).give_back():
            raise
        return work()


def open_live_state(
    config: WorkerConfig, cache: StateCache, version: str, beacon: Beacon
) -> LiveState | None:
    """Live state over a snapshot of the store, announced to readers; None: the snapshot has no positions."""
    loaded = load_snapshot(
        config.store, version, config.policy, verify=config.verify, snapshot_keys=config.snapshot_keys
    )
    if loaded.availability is None:
        return None
    files = LiveFiles(config.store, version, beacon)
    return LiveState(cache, loaded.availability, version, loaded.created_at_us, files, now_us, files.announce)


def _tend(process: _Process, live: LiveState | None, version: str, metrics: "WriterMetrics | None") -> None:
    """The loop: obey the supervisor, follow other hosts, expire reservations, switch to the next snapshot."""
    config = process.config
    switch = Switch(
        live,
        version,
        lambda newer: load_snapshot(
            config.store, newer, config.policy, verify=False, snapshot_keys=config.snapshot_keys
        ),
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
            _log.info("the next snapshot has positions, the last one had none: restarting")
            return
        if metrics is not None:
            metrics.show(None if live is None else live.figures)
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
            _log.warning("maintenance of live state failed, retrying: %s", error)
        if time.monotonic() >= next_check_s:
            next_check_s = time.monotonic() + LIVE_CHECK_S
            if not process.beacon.is_in_place():
                _log.error("the live file was removed or replaced: restarting")
                return


class Switch:
    """Switches live state to another snapshot. Used by the writer's loop alone."""

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
        """The next snapshot has positions and the last one had none: the process must restart to show them."""

    def request(self, version: str) -> None:
        """Switch to this snapshot. Idempotent: one that is shown or being opened is not opened again."""
        if version == self._loading.version:
            return
        self._loading.forget()
        if version == self._shown:
            self._report(Serving(version))
        else:
            self._loading.begin(version)

    def turn(self) -> None:
        """Switch if the next snapshot is open; readers of the old one notice at once."""
        opened = self._loading.done()
        if opened is None:
            return
        version, loaded, error = opened
        if loaded is None:
            self._report(SwapFailed(version, repr(error)))
        elif loaded.availability is None:  # it has no positions to show
            self._report(Serving(version))
        elif self._live is None:
            self.must_begin_again = True
        else:
            files = self._files_of(version)
            try:
                self._live.use(loaded.availability, version, loaded.created_at_us, files, files.announce)
            except Exception as failed:  # noqa: BLE001 -- whatever it is, the writer keeps the current snapshot
                files.drop()
                _log.exception("live state can't be shown over snapshot %s", version)
                self._report(SwapFailed(version, repr(failed)))
                return
            self._shown = version
            self._report(Serving(version))
