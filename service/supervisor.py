"""The serving processes together: starts them on one port, restarts the dead, tells them of a new snapshot.

    store/current ──watcher thread: poll, verify──▶ supervisor ──pipe: Activate──▶ worker ──Serving──▶ supervisor

Workers are started afresh (spawn): gRPC does not survive a fork. They share the port by SO_REUSEPORT. Only a snapshot
whose hashes the watcher has checked is passed on; a damaged one is logged and the old one stays.
"""

import contextlib
import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

from cache.redis_options import RedisOptions
from loaders.errors import SnapshotError
from loaders.snapshot import current_version
from pricing_engine.model import ExceptionPolicy
from service.instants import created_at_us, now_us
from service.limits import (
    CHECK_NICENESS,
    GRACE_S,
    HEALTHY_AFTER_S,
    POLL_S,
    RESTART_DELAY_MAX_S,
    RESTART_DELAY_S,
    SWAP_RETRY_S,
    WORKER_THREADS,
)
from service.runtime import check_snapshot
from service.worker import Activate, Serving, Stop, SwapFailed, WorkerConfig, run_worker
from service.writer import run_writer

_log = logging.getLogger(__name__)


class ServeError(Exception):
    """The server can't start; the text says why."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `pricegrid serve` was told."""

    store: Path
    host: str = "127.0.0.1"
    port: int = 50051
    """0: a free one."""
    workers: int = 1
    threads: int = WORKER_THREADS
    policy: ExceptionPolicy = field(default_factory=ExceptionPolicy)
    metrics_port: int | None = None
    """None: no metrics; 0: a free one. Loopback only."""
    allow_remote: bool = False
    """Without it, only a loopback address is served: there is no authentication yet."""
    grace_s: float = GRACE_S
    erp: Path | None = None
    """The configuration of an ERP for exceptions."""
    redis: RedisOptions | None = None
    """The Redis that shares live state with other hosts; None: it is this store's own."""
    events_stream: str = ""
    """A stream of that Redis to take inventory events from; '': none."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The server answers."""

    host: str
    port: int
    workers: int
    snapshot_version: str
    metrics_port: int | None

    @property
    def address(self) -> str:
        """Host and port as a client takes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Holds a port (0: a free one) that the workers share; raises `ServeError` if somebody else serves on it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_STREAM) as probe,
        socket.socket(family, socket.SOCK_STREAM) as held,
    ):
        try:
            # SO_REUSEPORT alone would share the port with another server of the same user: find out without it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            chosen = int(probe.getsockname()[1])
            probe.listen(1)
            probe.close()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((host, chosen))
        except OSError as error:
            raise ServeError(f"can't serve on {host}:{port}: {error.strerror}") from error
        yield chosen


class SnapshotWatcher:
    """Looks at the store's pointer and reports each newly active snapshot, seen to be whole and to answer."""

    def __init__(self, store: Path, policy: ExceptionPolicy, version: str, report: Connection) -> None:
        self._store = store
        self._policy = policy
        self._seen = version
        self._report = report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-watcher", daemon=True)

    def start(self) -> None:
        """Starts to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stops; a verification under way is left to end with the process."""
        self._stopping.set()

    def look(self) -> str | None:
        """The newly active and verified version, if there is one; a damaged one is logged once and passed over."""
        try:
            version = current_version(self._store)
            if version == self._seen:
                return None
            self._seen = version
            check_snapshot(self._store, version, self._policy)
        except (SnapshotError, OSError) as error:
            _log.error("snapshot refused, the running one stays: %s", error)
            return None
        except Exception:  # noqa: BLE001 -- whatever is wrong with it, what runs goes on
            _log.exception("snapshot refused, the running one stays")
            return None
        return version

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # of this thread alone: checking a snapshot must not slow answers
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), CHECK_NICENESS)
        while not self._stopping.wait(POLL_S):
            version = self.look()
            if version is not None:
                self._report.send(version)


@dataclass(slots=True)
class _Worker:
    """A place for a serving process, and the process in it."""

    process: SpawnProcess | None = None
    pipe: Connection | None = None
    serving: str = ""
    started_s: float = 0.0
    deaths: int = 0
    restart_at_s: float = 0.0
    told_at_s: float = 0.0
    run: Callable[[WorkerConfig, Connection], None] = run_worker


class Supervisor:
    """Runs the workers until told to stop. `announce` is called once, when all of them answer."""

    def __init__(self, options: ServeOptions, announce: Callable[[Ready], None]) -> None:
        if not options.allow_remote and not is_loopback(options.host):
            raise ServeError(
                f"{options.host} can be reached from outside: say --allow-remote if that is meant"
            )
        self._options = options
        self._announce = announce
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._workers = [_Worker() for _ in range(options.workers)]
        self._writer = _Worker(run=run_writer)
        self._version = ""
        self._next = ""
        """The newest verified snapshot: workers take it once the writer shows live state over it, or can't."""
        self._address = ""
        self._ready = False
        self._stopping = False
        self._stop_calls = 0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def stop(self) -> None:
        """Asks to stop; safe in a signal handler. A second time, workers are killed."""
        self._stopping = True
        self._stop_calls += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def run(self) -> int:
        """Serves; 0 when asked to stop, 1 when the workers can't start. Raises `ServeError` and `SnapshotError`."""
        options = self._options
        _log.info(
            "checking the snapshot; kernels that are not in the cache are compiled, which can take a minute"
        )
        self._version = check_snapshot(options.store, None, options.policy)
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(reserved_port(options.host, options.port))
            metrics_port = self._start_metrics(stack)
            reports, report = multiprocessing.Pipe(duplex=False)
            watcher = SnapshotWatcher(options.store, options.policy, self._version, report)
            stack.callback(watcher.stop)
            stack.callback(self._stop_workers)
            ready = Ready(options.host, port, options.workers, self._version, metrics_port)
            self._address = ready.address
            self._next = self._version
            for worker in (self._writer, *self._workers):
                self._start(worker)
            watcher.start()
            return self._loop(reports, ready)

    def _start_metrics(self, stack: contextlib.ExitStack) -> int | None:
        if self._options.metrics_port is None:
            return None
        # Read by prometheus_client when first imported, here and in the workers.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pricegrid-metrics-"))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        from service.metrics import SnapshotAge, serve_metrics

        return serve_metrics(
            self._options.metrics_port, SnapshotAge(lambda: created_at_us(self._version), now_us)
        )

    def _loop(self, reports: Connection, ready: Ready) -> int:
        while not self._stopping:
            sources: list[Connection | int] = [reports, self._wake_read]
            for worker in (self._writer, *self._workers):
                if worker.process is not None and worker.pipe is not None:
                    sources += [worker.pipe, worker.process.sentinel]
            happened = wait(sources, timeout=RESTART_DELAY_S)
            if reports in happened:
                self._next = reports.recv()
                _log.info("snapshot %s is verified", self._next)
            self._tend(self._writer, self._next)
            if self._version != self._next and (
                self._writer.serving == self._next or self._writer.process is None
            ):
                self._version = self._next
            for worker in self._workers:
                self._tend(worker, self._version)
                if worker.deaths and not self._ready:
                    _log.error("a worker could not start")
                    return 1
            if not self._ready and all(worker.serving for worker in (self._writer, *self._workers)):
                self._ready = True
                self._announce(ready)
        return 0

    def _tend(self, worker: _Worker, version: str) -> None:
        """Hears what a worker says, tells it of a new snapshot, starts it again when it is dead."""
        now_s = time.monotonic()
        if worker.process is None:
            if now_s >= worker.restart_at_s:
                self._start(worker)
            return
        self._hear(worker)
        if not worker.process.is_alive():
            worker.process.join()
            worker.deaths = 1 if now_s - worker.started_s > HEALTHY_AFTER_S else worker.deaths + 1
            delay_s = min(RESTART_DELAY_S * 2 ** (worker.deaths - 1), RESTART_DELAY_MAX_S)
            worker.restart_at_s = now_s + delay_s
            code = worker.process.exitcode
            _log.error("worker %s died with exit code %s; next in %.1f s", worker.process.pid, code, delay_s)
            self._close(worker)
        elif worker.serving not in {"", version} and now_s - worker.told_at_s > SWAP_RETRY_S:
            self._tell(worker, Activate(version))
            worker.told_at_s = now_s

    def _hear(self, worker: _Worker) -> None:
        with contextlib.suppress(EOFError, ConnectionResetError):
            while worker.pipe is not None and worker.pipe.poll():
                match worker.pipe.recv():
                    case Serving(version):
                        worker.serving = version
                        worker.told_at_s = 0.0
                        _log.info("worker %s answers from %s", worker.process and worker.process.pid, version)
                    case SwapFailed(version, message):
                        _log.error("a worker could not take snapshot %s: %s", version, message)
                        if worker is self._writer:
                            self._version = version

    def _start(self, worker: _Worker) -> None:
        ours, theirs = multiprocessing.Pipe()
        options = self._options
        config = WorkerConfig(
            store=options.store,
            snapshot_version=self._next if worker is self._writer else self._version,
            address=self._address,
            policy=options.policy,
            metrics=options.metrics_port is not None,
            threads=options.threads,
            grace_s=options.grace_s,
            erp=options.erp,
            redis=options.redis,
            events_stream=options.events_stream,
        )
        process = self._context.Process(target=worker.run, args=(config, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the end of either process is seen as the end of the pipe by the other
        worker.process, worker.pipe, worker.serving = process, ours, ""
        worker.started_s, worker.told_at_s = time.monotonic(), 0.0

    def _tell(self, worker: _Worker, message: Activate | Stop) -> None:
        with contextlib.suppress(OSError):
            if worker.pipe is not None:
                worker.pipe.send(message)

    def _close(self, worker: _Worker) -> None:
        if worker.pipe is not None:
            worker.pipe.close()
        worker.process, worker.pipe, worker.serving = None, None, ""

    def _stop_workers(self) -> None:
        """Lets every worker end what it has in flight, for `grace_s`; then, or when asked again, kills it."""
        asked = self._stop_calls
        everyone = (*self._workers, self._writer)
        for worker in everyone:
            self._tell(worker, Stop())
        deadline_s = time.monotonic() + self._options.grace_s + 1.0
        alive = [worker.process for worker in everyone if worker.process is not None]
        while alive and time.monotonic() < deadline_s and self._stop_calls == asked:
            wait([process.sentinel for process in alive], timeout=0.1)
            alive = [process for process in alive if process.is_alive()]
        for process in alive:
            _log.warning("worker %s did not end in time; killed", process.pid)
            process.kill()
            process.join()
        for worker in everyone:
            self._close(worker)


def serve(options: ServeOptions, announce: Callable[[Ready], None]) -> int:
    """Serves until SIGTERM or SIGINT; the exit code. Raises `ServeError` and `SnapshotError` if it can't start."""
    supervisor = Supervisor(options, announce)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    return supervisor.run()
