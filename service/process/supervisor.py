"""The supervisor: starts the workers and the writer, restarts dead or hanging ones, and rolls out new snapshots.

    store/current ──watcher thread: poll, verify──▶ supervisor ──pipe: Activate──▶ worker ──Serving──▶ supervisor

Workers are forked from a process that serves nothing (`forker`), and share the port by SO_REUSEPORT. The watcher
(`watcher`) verifies a new snapshot before workers get it; a damaged one is logged and the current one stays active. An
active one that is changed in place ends its processes, which verify what they open: no answer rather than a wrong one.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING

from pricegrid.cache.redis_options import RedisOptions
from pricegrid.loaders.store.snapshot import has_current
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.clock import now_us
from pricegrid.service.identity.messages import Keys
from pricegrid.service.limits import FOLLOW_POLL_S, GRACE_S, HANG_S, POLL_S, RESTART_DELAY_S, WORKER_THREADS
from pricegrid.service.live.writer import run_writer
from pricegrid.service.logs import LogOptions
from pricegrid.service.process import forker
from pricegrid.service.process.bootstrap import check_snapshot, trusted_keys
from pricegrid.service.process.children import ALONE_AFTER_DEATHS, Child
from pricegrid.service.process.follower import Follower, FollowOptions, open_follower
from pricegrid.service.process.reach import ServeError, check_reach, reserved_port
from pricegrid.service.process.scrub import Damaged
from pricegrid.service.process.service_manager import ServiceManager
from pricegrid.service.process.unix_socket import SCHEME, UnixSocket, held_socket
from pricegrid.service.process.watcher import SnapshotWatcher
from pricegrid.service.process.worker import Activate, Stop, WorkerConfig, run_worker
from pricegrid.service.rpc.metrics import use_counters
from pricegrid.service.tracing.options import TraceOptions
from pricegrid.service.transport.choice import HTTP2, Transport

if TYPE_CHECKING:
    from pricegrid.service.identity.config import AuthConfig
    from pricegrid.service.identity.keys import KeyKeeper

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of `pricegrid serve`."""

    store: Path
    host: str = "127.0.0.1"
    port: int = 50051
    """0: a free one."""
    unix_socket: UnixSocket | None = None
    """To be listened on in place of host and port."""
    workers: int = 1
    threads: int = WORKER_THREADS
    policy: ExceptionPolicy = field(default_factory=ExceptionPolicy)
    metrics_port: int | None = None
    """None: no metrics; 0: a free one."""
    metrics_host: str = "127.0.0.1"
    allow_remote: bool = False
    """A proxy that knows its callers and ends TLS stands before an address that others can reach."""
    auth: "AuthConfig | None" = None
    """Who may call; None: everybody who reaches the port, which must then be on loopback."""
    snapshot_keys: Path | None = None
    """The file of the keys of which one must have signed a snapshot; None: it needs no signature."""
    follow: FollowOptions | None = None
    """The object storage whose snapshots the store takes; None: the store gets them otherwise."""
    is_read_only: bool = False
    """There is no live state: reservations and events are refused."""
    transport: Transport = field(default_factory=Transport)
    grace_s: float = GRACE_S
    erp: Path | None = None
    """The configuration file of an ERP."""
    redis: RedisOptions | None = None
    """The Redis that shares live state with other hosts; None: live state is local to the store."""
    events_stream: str = ""
    """A stream of that Redis from which to ingest inventory events; '': none."""
    logs: LogOptions = field(default_factory=LogOptions)
    traces: TraceOptions | None = None
    """Where spans of calls go; None: there are none."""
    wait_s: float = 0.0
    """How long to wait for a store's first snapshot."""
    hang_s: float = HANG_S
    """A process that has been silent for this long is killed and replaced."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The server is ready: all workers serve."""

    host: str
    """Or the address of a unix socket; its port is 0."""
    port: int
    workers: int
    snapshot_version: str
    metrics_port: int | None

    @property
    def address(self) -> str:
        """As a client takes it."""
        if self.host.startswith(SCHEME):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Supervisor:
    """Runs the processes until stopped. Calls `announce` once, when all workers serve."""

    def __init__(self, options: ServeOptions, announce: Callable[[Ready], None]) -> None:
        check_reach(options)
        self._options = options
        self._keeper: KeyKeeper | None = None
        self._watcher: SnapshotWatcher | None = None
        self._follower: Follower | None = None
        self._announce = announce
        self._manager = ServiceManager()
        self._workers = [
            Child("worker", run_worker, forker.context, hang_s=options.hang_s) for _ in range(options.workers)
        ]
        self._writer = Child("writer", run_writer, forker.context, hang_s=options.hang_s)
        self._version = ""
        """The newest snapshot that a worker serves."""
        self._next = ""
        """The newest verified snapshot: the writer shows live state over it, then workers switch to it."""
        self._damaged = ""
        """The snapshot that was last found to be changed in place."""
        self._address = ""
        self._counters = ""
        self._listener: socket.socket | None = None
        """The unix socket that workers share."""
        self._ready = False
        self._stopping = False
        self._stop_calls = 0
        self._turned_s = 0.0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def stop(self) -> None:
        """Requests a stop; safe in a signal handler. A second call kills the workers."""
        self._stopping = True
        self._stop_calls += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def run(self) -> int:
        """Serves; returns 0 after a stop, 1 when workers can't start. Raises `ServeError` and `SnapshotError`."""
        options = self._options
        check = partial(check_snapshot, snapshot_keys=options.snapshot_keys)
        with contextlib.ExitStack() as stack:
            forker.context()
            metrics_port = self._start_metrics(stack)  # first, so that probes are answered while it starts
            if not self._has_snapshot(stack):
                return 0
            _log.info("verifying the snapshot")
            self._version = check(options.store, None, options.policy)
            host, port = self._hold(stack)
            reports, report = multiprocessing.Pipe(duplex=False)
            watcher = SnapshotWatcher(options.store, options.policy, self._version, report, check=check)
            self._watcher = watcher
            stack.callback(watcher.stop)
            new_keys = self._keep_keys(stack)
            stack.callback(self._stop_workers)
            ready = Ready(host, port, options.workers, self._version, metrics_port)
            self._address = ready.address
            self._next = self._version
            for child in self._everyone:
                child.start(self._config(child, self._next), time.monotonic())
            watcher.start()
            if self._follower is not None:
                self._follower.start()
            return self._loop(reports, new_keys, ready)

    def _has_snapshot(self, stack: contextlib.ExitStack) -> bool:
        """Begins to follow, and waits for the first snapshot where the store has none; False: stopped meanwhile."""
        options = self._options
        if options.follow is None:
            self._await_load()
            return not self._stopping

        def check(store: Path, version: str) -> str:
            return check_snapshot(store, version, options.policy, snapshot_keys=options.snapshot_keys)

        follower = open_follower(
            options.follow, options.store, check, lambda: trusted_keys(options.snapshot_keys)
        )
        self._follower = follower
        stack.callback(follower.stop)
        while not (has_current(options.store) or follower.poll()):
            self._manager.alive()
            if wait([self._wake_read], timeout=FOLLOW_POLL_S):
                return False
        return True

    def _await_load(self) -> None:
        """Waits for the first snapshot of a store that is loaded into, for as long as it may."""
        options, give_up_s = self._options, time.monotonic() + self._options.wait_s
        if options.wait_s and not has_current(options.store):
            _log.info("waiting for a first snapshot of %s", options.store)
        while not (self._stopping or has_current(options.store)) and time.monotonic() < give_up_s:
            wait([self._wake_read], timeout=POLL_S)

    def _hold(self, stack: contextlib.ExitStack) -> tuple[str, int]:
        """Holds the port, or the unix socket; returns what is listened on as `Ready` has it."""
        options = self._options
        if options.unix_socket is None:
            return options.host, stack.enter_context(reserved_port(options.host, options.port))
        held = stack.enter_context(held_socket(options.unix_socket))
        if options.transport.name == HTTP2:
            self._listener = held
        return options.unix_socket.address, 0

    def _keep_keys(self, stack: contextlib.ExitStack) -> Connection | None:
        """Reads the keys of token issuers, now and whenever they change; where the workers' new ones come from."""
        if self._options.auth is None:
            return None
        from pricegrid.service.identity.keys import KeyKeeper

        reports, report = multiprocessing.Pipe(duplex=False)
        self._keeper = KeyKeeper(self._options.auth, self._options.store, report.send)
        self._keeper.start()
        stack.callback(self._keeper.stop)
        return reports

    def _start_metrics(self, stack: contextlib.ExitStack) -> int | None:
        if self._options.metrics_port is None:
            return None
        self._counters = stack.enter_context(tempfile.TemporaryDirectory(prefix="pricegrid-metrics-"))
        use_counters(self._counters)
        from pricegrid.service.process.scrape import ScrapePort, Watched

        watched = Watched(
            store=self._options.store,
            snapshot_version=lambda: self._version,
            is_refused=lambda: self._watcher is not None and self._watcher.is_refusing,
            unproven_workers=lambda: sum(not worker.is_live_proven for worker in self._workers),
            ended=lambda: {"worker": sum(w.ended for w in self._workers), "writer": self._writer.ended},
            pids=self._pids,
            is_ready=lambda: self._ready and not self._stopping and any(w.serving for w in self._workers),
            has_erp=self._options.erp is not None,
            follower=lambda: self._follower,
        )
        host = self._options.metrics_host
        try:
            scrapes = ScrapePort(host, self._options.metrics_port, watched, now_us)
        except OSError as error:
            raise ServeError(
                f"can't serve metrics on {host}:{self._options.metrics_port}: {error.strerror}"
            ) from error
        stack.callback(scrapes.close)
        return scrapes.port

    def _pids(self) -> dict[str, list[int]]:
        """The processes that run, by what they are."""
        found = {"supervisor": [os.getpid()], "worker": list[int](), "writer": list[int]()}
        for child in self._everyone:
            pid = child.pid
            if pid is not None:
                found[child.name].append(pid)
        return found

    @property
    def _everyone(self) -> tuple[Child, ...]:
        return (*self._workers, self._writer)

    @property
    def _is_alone(self) -> bool:
        """Whether there is no writer whose live positions workers should wait for."""
        return self._writer.is_read_only or (
            self._writer.serving == "" and self._writer.deaths >= ALONE_AFTER_DEATHS
        )

    def _loop(self, reports: Connection, new_keys: Connection | None, ready: Ready) -> int:
        while not self._stopping:
            sources: list[Connection | int] = [reports, self._wake_read, *([new_keys] if new_keys else [])]
            for child in self._everyone:
                sources += child.sources
            happened = wait(sources, timeout=RESTART_DELAY_S)
            if reports in happened:
                self._hear(reports.recv())
            if new_keys is not None and new_keys in happened:
                self._tell_keys(new_keys.recv())
            self._manager.alive()
            self._forgive_own_pause()
            self._tend(self._writer)
            self._refuse_other_cache()
            for worker in self._workers:
                self._tend(worker)
                if worker.serving:
                    self._version = worker.serving
                if worker.deaths and not self._ready:
                    _log.error("a worker could not start")
                    return 1
            is_complete = all(worker.serving for worker in self._workers)
            if not self._ready and is_complete and (self._writer.serving or self._is_alone):
                self._ready = True
                self._announce(ready)
                self._manager.ready(f"snapshot {self._version} on {ready.address}")
        return 0

    def _refuse_other_cache(self) -> None:
        """Two servers on one store must agree on where live state is; one that serves already goes on."""
        found, self._writer.other_cache = self._writer.other_cache, None
        if found is not None and not self._ready:
            raise ServeError(
                f"another server keeps the live state of {self._options.store} {found.theirs}, and this one would "
                f"{found.ours}: give both the same --redis-url, or stop the other"
            )

    def _hear(self, news: str | Damaged) -> None:
        """From the watcher: a verified snapshot, or that the active one is damaged."""
        if isinstance(news, str):
            self._next = news
            _log.info("snapshot %s is verified", news)
            return
        self._damaged = news.snapshot_version
        for child in self._everyone:
            if child.process is not None:
                child.process.kill()  # it would answer from what was changed; the next one verifies what it opens

    def _tell_keys(self, keys: Keys) -> None:
        _log.info("keys of %d issuers were read", len(keys.sets))
        for worker in self._workers:
            worker.send(keys)

    def _forgive_own_pause(self) -> None:
        """If the supervisor itself was stopped, the silence of the children says nothing about them."""
        now_s = time.monotonic()
        if now_s - self._turned_s > self._options.hang_s / 2:
            for child in self._everyone:
                child.heard_s = now_s
        self._turned_s = now_s

    def _tend(self, child: Child) -> None:
        """Handles a process's messages, sends it a new snapshot, and restarts it when it is dead or hangs."""
        now_s = time.monotonic()
        if child.process is None:
            if now_s >= child.restart_at_s:
                # A new worker begins with the snapshot that the others serve, and switches as they do.
                is_newest = child is self._writer or self._version == self._damaged
                version = self._next if is_newest else self._version
                child.start(self._config(child, version, verify=True), now_s)
            return
        child.receive(now_s)
        if child.met_unknown_key and self._keeper is not None:
            child.met_unknown_key = False
            self._keeper.nudge()
        if not child.process.is_alive():
            child.reap(now_s)
        elif child.is_silent(now_s):
            _log.error("%s %s hangs; killed", child.name, child.process.pid)
            child.process.kill()
            child.process.join(RESTART_DELAY_S)
        else:
            child.switch_to(Activate(self._next, child is not self._writer and self._is_alone), now_s)

    def _config(self, child: Child, version: str, *, verify: bool = False) -> WorkerConfig:
        options = self._options
        child.begins_with(Activate(version))
        return WorkerConfig(
            store=options.store,
            snapshot_version=version,
            address=self._address,
            unix_socket=options.unix_socket,
            listener=None if child is self._writer else self._listener,
            policy=options.policy,
            counters=self._counters,
            threads=options.threads,
            transport=replace(options.transport, is_local=options.auth is None and not options.allow_remote),
            grace_s=options.grace_s,
            erp=options.erp,
            redis=options.redis,
            is_read_only=options.is_read_only,
            events_stream=options.events_stream,
            verify=verify,
            auth=options.auth,
            snapshot_keys=options.snapshot_keys,
            logs=options.logs,
            traces=options.traces,
            keys=None if self._keeper is None else self._keeper.keys,
        )

    def _stop_workers(self) -> None:
        """Stops the workers, then the writer, which their requests in flight may need. After `grace_s`, or at a second
        `stop`, kills them."""
        self._manager.stopping()
        asked = self._stop_calls
        deadline_s = time.monotonic() + self._options.grace_s + 1.0
        for group in (self._workers, [self._writer]):
            for child in group:
                child.send(Stop())
                child.end_if_starting()
            alive = [child.process for child in group if child.process is not None]
            while alive and time.monotonic() < deadline_s and self._stop_calls == asked:
                wait([process.sentinel for process in alive], timeout=0.1)
                alive = [process for process in alive if process.is_alive()]
            for process in alive:
                _log.warning("process %s did not end in time; killed", process.pid)
                process.kill()
                process.join()
            deadline_s = max(deadline_s, time.monotonic() + 1.0)
        for child in self._everyone:
            child.close()


def serve(options: ServeOptions, announce: Callable[[Ready], None]) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code. Raises `ServeError` and `SnapshotError` at the start."""
    supervisor = Supervisor(options, announce)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    return supervisor.run()
