"""The worker process: maps the snapshot, answers gRPC calls, and swaps to the next snapshot on command."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pricegrid.atp.live.layout import CHANGES
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.erp.dead_letters import DeadLetterFile
from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.loaders.errors import SnapshotError
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.clock import host_ns, now_us
from pricegrid.service.erp_overlay.fallback import ErpFallback, open_worker_erp
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.erp_overlay.letters import ErpLetters
from pricegrid.service.identity.messages import Keys
from pricegrid.service.limits import (
    GRACE_S,
    HOUSEKEEPING_S,
    KEEPALIVE_MS,
    KEEPALIVE_TIMEOUT_MS,
    LIVE_LOOK_S,
    RECEIVE_BYTES_MAX,
    SEND_BYTES_MAX,
    WORKER_THREADS,
)
from pricegrid.service.live.files import socket_path
from pricegrid.service.live.reader import reading
from pricegrid.service.live.writer_link import WriterLink
from pricegrid.service.logs import LogOptions, begin_logging
from pricegrid.service.methods.watch import Changes, PolledChanges
from pricegrid.service.process.bootstrap import load_snapshot, version_opener
from pricegrid.service.process.health_status import HealthStatuses
from pricegrid.service.process.heartbeat import Beat, Pulse, Reporter
from pricegrid.service.process.loading import Loading
from pricegrid.service.process.snapshots import LoadedSnapshot, SnapshotHolder
from pricegrid.service.process.unix_socket import UnixSocket, bound_with
from pricegrid.service.rpc.call import Services
from pricegrid.service.rpc.handlers import Handlers, SampledHandlers
from pricegrid.service.rpc.metrics import Metrics, NoMetrics, PrometheusMetrics, use_counters
from pricegrid.service.rpc.overload import ROOM, Queue
from pricegrid.service.rpc.pools import CountingPool, PooledServer
from pricegrid.service.rpc.services import services
from pricegrid.service.tracing.options import TraceOptions
from pricegrid.service.transport.choice import HTTP2, Transport

if TYPE_CHECKING:
    from pricegrid.service.identity.config import AuthConfig
    from pricegrid.service.identity.gate import Gate
    from pricegrid.service.quota.quotas import Quotas
    from pricegrid.service.tracing.export import Tracing
    from pricegrid.service.tracing.spans import Traces
    from pricegrid.service.transport.server import Http2Server

CONNECTION_CALLS_MAX: Final = 128
"""Calls under way on one connection; a client waits with those beyond. A worker queues twice as many."""
CONNECTION_IDLE_MS: Final = 600_000
"""How long a connection without a call stays open: a client opens another when it needs one."""
CONNECTION_MOST_MS: Final = 3_600_000
"""How long any takes calls, by chance a tenth more or less: callers spread anew over workers and hosts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The configuration of a worker or the writer."""

    store: Path
    snapshot_version: str
    """Verified by the supervisor."""
    address: str
    policy: ExceptionPolicy
    unix_socket: UnixSocket | None = None
    """What `address` means, if it is a unix socket."""
    listener: socket.socket | None = None
    """That socket, where workers share it."""
    counters: str = ""
    """The directory in which processes count for Prometheus; '': they count nothing."""
    threads: int = WORKER_THREADS
    transport: Transport = field(default_factory=Transport)
    grace_s: float = GRACE_S
    erp: Path | None = None
    """The configuration file of an ERP."""
    redis: RedisOptions | None = None
    """The Redis that shares live state with other hosts."""
    is_read_only: bool = False
    """There is no live state, and nobody writes any."""
    events_stream: str = ""
    """A stream of inventory events in that Redis."""
    verify: bool = False
    """Check the hashes again, because the supervisor did so some time ago."""
    auth: "AuthConfig | None" = None
    """Who may call; None: everybody who reaches the port."""
    keys: Keys | None = None
    """The keys of token issuers, as far as they are known at the start."""
    snapshot_keys: Path | None = None
    """The file of the keys of which one has signed a snapshot; None: it needs no signature."""
    logs: LogOptions = field(default_factory=LogOptions)
    traces: TraceOptions | None = None
    """Where spans of calls go; None: there are none."""


@dataclass(frozen=True, slots=True)
class Activate:
    """To a worker: serve this verified snapshot. To the writer: show live state over it. Idempotent."""

    snapshot_version: str
    is_alone: bool = False
    """There is no writer, and won't be soon: serve without live positions, so that availability is STALE."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a process: complete the requests in flight and exit."""


@dataclass(frozen=True, slots=True)
class Serving:
    """From a worker: it serves this snapshot with live positions. From the writer: it shows them."""

    snapshot_version: str


@dataclass(frozen=True, slots=True)
class SwapFailed:
    """From a process: it could not switch to this snapshot and keeps its current one."""

    snapshot_version: str
    message: str


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """From the writer: live state can't be written; it waits until it can."""


@dataclass(frozen=True, slots=True)
class OtherCache:
    """From the writer: another server writes the live state of this store, and keeps it elsewhere."""

    theirs: str
    ours: str
    """Where this server would keep it."""


def build_server(
    holder: SnapshotHolder,
    metrics: Metrics,
    *,
    threads: int = WORKER_THREADS,
    transport: Transport = Transport(),  # noqa: B008 -- it is frozen
    live: Services | None = None,
    changes: Changes | None = None,
    erp: ErpFallback | None = None,
    flagging: Flagging | None = None,
    erp_letters: ErpLetters | None = None,
    gate: "Gate | None" = None,
    traces: "Traces | None" = None,
    access_one_in: int = 0,
) -> tuple[grpc.Server, health.HealthServicer, Handlers]:
    """A server without a port yet, with all services, health and reflection; `live`, `changes`, `erp` and `erp_letters`
    as in `services`, `gate` and `traces` as in `Handlers`, `access_one_in` as in `LogOptions`."""
    pool = CountingPool(threads)
    server, loop = _server(transport, pool, threads)
    offered = services(
        holder, now_us, live=live, changes=changes, erp=erp, flagging=flagging, erp_letters=erp_letters
    )
    others = cast("grpc.Server", PooledServer(server))
    if gate is not None:
        from pricegrid.service.identity.gate import GuardedServer, owner_checked

        offered = owner_checked(offered, holder)
    handlers = (
        SampledHandlers(offered, metrics, pool.queue, access_one_in, loop=loop, gate=gate, traces=traces)
        if access_one_in
        else Handlers(offered, metrics, pool.queue, loop=loop, gate=gate, traces=traces)
    )
    handlers.register(server)
    if gate is not None:
        others = cast("grpc.Server", GuardedServer(others, gate, handlers.admit))
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, others)
    reflection.enable_server_reflection((*offered, health.SERVICE_NAME, reflection.SERVICE_NAME), others)
    return server, health_servicer, handlers


def _server(
    transport: Transport, pool: CountingPool, threads: int
) -> "tuple[grpc.Server, tuple[Queue, CountingPool] | None]":
    """A server without methods; with its queue and its pool, if it answers on a loop."""
    if transport.name == HTTP2:
        from pricegrid.service.transport.flood import Flood
        from pricegrid.service.transport.method import busy
        from pricegrid.service.transport.server import Ages, Http2Server

        ages = Ages(
            *(
                each / 1e3
                for each in (KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS, CONNECTION_IDLE_MS, CONNECTION_MOST_MS)
            )
        )
        made = Http2Server(
            pool, ages, CONNECTION_CALLS_MAX, origins=transport.origins, is_local=transport.is_local
        )
        queue = Queue(made.ready.__len__, room=(ROOM + 1) * threads)
        queue.defers = True
        made.turn, made.sheds = queue.begin, queue.sheds_now
        made.flood = Flood(queue.waiting, queue.room, partial(queue.overloaded, "waiting"))
        made.busy = partial(busy, queue)
        return cast("grpc.Server", made), (queue, pool)
    options = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ("grpc.max_send_message_length", SEND_BYTES_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.max_concurrent_streams", CONNECTION_CALLS_MAX),
        ("grpc.max_connection_idle_ms", CONNECTION_IDLE_MS),
        ("grpc.max_connection_age_ms", CONNECTION_MOST_MS),
    ]
    return grpc.server(pool, options=options), None


def run_worker(config: WorkerConfig, supervisor: Connection) -> None:
    """The main function of the process: serves until it is stopped or the supervisor is gone."""
    begin_logging("worker", config.logs.format)
    use_counters(config.counters)
    name_process("pricegrid-work")
    stopping = [False]
    # Ctrl-C reaches the whole process group; the supervisor decides when workers stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stopping.__setitem__(0, True))
    reporter = Reporter(supervisor)
    proven = [False]
    with Pulse(lambda: reporter.beat(Beat(proven[0]))) as pulse:
        with pulse.busy():
            try:
                active = _open(config, config.snapshot_version, verify=config.verify)
                tracing = _tracing(config)
            except (SnapshotError, OSError) as error:
                _log.error("snapshot %s can't be served: %s", config.snapshot_version, error)
                raise SystemExit(1) from None
        _serve(config, supervisor, reporter, active, tracing, pulse, proven, stopping)
    logging.shutdown()
    os._exit(0)  # threads that still wait for a writer or an ERP would keep the process alive


def _open(config: WorkerConfig, version: str, *, verify: bool = False) -> LoadedSnapshot:
    loaded = load_snapshot(
        config.store, version, config.policy, verify=verify, snapshot_keys=config.snapshot_keys
    )
    return loaded if config.is_read_only else reading(config.store, loaded)


def _named(config: WorkerConfig, verified: set[str]) -> Callable[[str], LoadedSnapshot]:
    """Opens the snapshot that a request names."""
    # with keys, what was verified once is verified again: its files may have changed since
    is_verified = verified.__contains__ if config.snapshot_keys is None else lambda _: False
    open_version = version_opener(config.store, config.policy, is_verified, config.snapshot_keys)
    return (
        open_version if config.is_read_only else lambda version: reading(config.store, open_version(version))
    )


def _serve(
    config: WorkerConfig,
    supervisor: Connection,
    reporter: Reporter,
    active: LoadedSnapshot,
    tracing: "Tracing | None",
    pulse: Pulse,
    proven: list[bool],
    stopping: list[bool],
) -> None:
    """Serve until stopped, or until the supervisor is gone."""
    verified = {config.snapshot_version}
    holder = SnapshotHolder(active, _named(config, verified))
    swap = Swap(holder, lambda version: _open(config, version), reporter.send)
    del active
    erp = _erp(config, tracing)
    link = WriterLink(socket_path(config.store), headers=tracing.headers if tracing else None)
    metrics = PrometheusMetrics() if config.counters else NoMetrics()
    gate = _gate(config, reporter)
    server, health_servicer, handlers = build_server(
        holder,
        metrics,
        threads=config.threads,
        transport=config.transport,
        live=None if config.is_read_only else link.methods(),
        changes=PolledChanges(lambda: live_version(holder)),
        erp=erp,
        flagging=Flagging(OperatorFlags(config.store)),
        erp_letters=ErpLetters(
            DeadLetterFile(config.store), erp.gateway if erp else None, lambda: holder.active, now_us
        ),
        gate=gate,
        traces=tracing.traces if tracing else None,
        access_one_in=config.logs.access_one_in,
    )
    health_status = HealthStatuses(health_servicer)
    health_status.update(is_complete=False, is_live_proven=False)
    _listen(server, config)
    server.start()
    threading.Thread(target=_follow, args=(holder,), name="pricegrid-follow", daemon=True).start()
    try:
        while not stopping[0]:
            pulse.turn()
            swap.turn()
            proven[0] = holder.active.live()
            health_status.update(is_complete=swap.is_complete, is_live_proven=proven[0])
            metrics.flush()
            handlers.end_unread()
            if not supervisor.poll(LIVE_LOOK_S if swap.is_under_way else HOUSEKEEPING_S):
                holder.let_go()
                continue
            match supervisor.recv():
                case Activate(version, is_alone):
                    verified.add(version)
                    swap.request(version, is_alone=is_alone)
                case Keys() as keys if gate is not None:
                    gate.use(keys)
                case _:
                    break
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _log.warning("the supervisor is gone; stopping")
    with pulse.busy():
        health_servicer.enter_graceful_shutdown()
        handlers.end_watches()
        server.stop(config.grace_s).wait()
        metrics.flush()
        for each in (erp, link, tracing):
            if each is not None:
                each.close()


def _tracing(config: WorkerConfig) -> "Tracing | None":
    if config.traces is None:
        return None
    from pricegrid.service.tracing.export import open_tracing

    return open_tracing(config.traces, "worker")


def _erp(config: WorkerConfig, tracing: "Tracing | None") -> ErpFallback | None:
    if config.erp is None:
        return None
    spans = None
    if tracing is not None:
        from pricegrid.service.tracing.parts import ErpSpans

        spans = ErpSpans(tracing.traces)
    return open_worker_erp(config.erp, config.store, metrics=bool(config.counters), spans=spans)


def _gate(config: WorkerConfig, reporter: Reporter) -> "Gate | None":
    """What asks callers who they are; None: nothing does."""
    if config.auth is None:
        return None
    from pricegrid.service.identity.gate import Gate
    from pricegrid.service.identity.views import warm_up

    warm_up()
    return Gate(config.auth, config.keys or Keys({}), reporter.tell, _quotas(config.auth, config.store))


def _quotas(auth: "AuthConfig", store: Path) -> "Quotas | None":
    """What says how much callers may use; None: nothing does."""
    if not auth.limits:
        return None
    from pricegrid.service.quota.accounts import open_accounts
    from pricegrid.service.quota.quotas import Quotas, warm_up

    warm_up()
    return Quotas(auth.limits, open_accounts(store, host_ns), host_ns)


def _listen(server: grpc.Server, config: WorkerConfig) -> None:
    if config.listener is not None:
        cast("Http2Server", server).add_listener(config.listener)
        return
    if config.unix_socket is not None:
        bound_with(config.unix_socket, partial(server.add_insecure_port, config.address))
        return
    if config.auth is None or config.auth.tls is None:
        server.add_insecure_port(config.address)
        return
    from pricegrid.service.identity.certificates import CertificateFiles, server_contexts, server_credentials

    files = CertificateFiles(config.auth.tls)
    if config.transport.name == HTTP2:
        cast("Http2Server", server).add_tls_port(config.address, server_contexts(files))
    else:
        server.add_secure_port(config.address, server_credentials(files))


def _follow(holder: SnapshotHolder) -> None:
    """Map newly announced live files, independently of the worker's loop."""
    while True:
        try:
            holder.active.live.refresh()
        except Exception:  # noqa: BLE001 -- without a refresh the reader finds them unproven
            _log.exception("live positions can't be read")
        time.sleep(LIVE_LOOK_S)


class Swap:
    """Swaps a worker to another snapshot once that is open and its live positions are proven.

    Until then the worker serves its current snapshot. Used by the worker's loop alone.
    """

    def __init__(
        self,
        holder: SnapshotHolder,
        open_version: Callable[[str], LoadedSnapshot],
        report: Callable[["Serving | SwapFailed"], None],
    ) -> None:
        self._holder = holder
        self._report = report
        self._loading = Loading(open_version)
        self._next: LoadedSnapshot | None = holder.active
        self._is_alone = False
        self.is_complete = False
        """It has served with live positions, or was told that there is no writer."""

    @property
    def is_under_way(self) -> bool:
        """Whether the loop has to turn often."""
        return self._next is not None or self._loading.version != ""

    def request(self, version: str, *, is_alone: bool = False) -> None:
        """Swap to this version; with `is_alone` without waiting for live positions. Idempotent."""
        self._is_alone = is_alone
        if self._loading.version == version or (self._next and self._next.version == version):
            return
        self._loading.forget()
        self._next = (
            self._holder.active if self._holder.active.version == version else self._holder.kept(version)
        )
        if self._next is None:
            self._loading.begin(version)

    def turn(self) -> None:
        """Swap if the snapshot is ready."""
        opened = self._loading.done()
        if opened is not None and opened.loaded is None:
            self._report(SwapFailed(opened.version, repr(opened.error)))
        elif opened is not None:
            self._next = opened.loaded
        if self._next is not None and (self._next.live.refresh() or self._is_alone):
            loaded, self._next = self._next, None
            self._holder.activate(loaded)
            self.is_complete = True
            self._report(Serving(loaded.version))


def name_process(name: str) -> None:
    """Sets the name of this process in `ps` and `top`, at most 15 characters."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def live_version(holder: SnapshotHolder) -> object:
    """Differs whenever availability may have changed."""
    loaded = holder.active
    if loaded.availability is None:
        return loaded.version
    is_proven = loaded.live()
    live = loaded.availability.positions.live
    return loaded.version, live.live_head.ctypes.data, int(live.live_head[CHANGES]), is_proven
