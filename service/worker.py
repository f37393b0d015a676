"""One serving process: maps the snapshot, answers gRPC calls, swaps to the next snapshot when told."""

import contextlib
import logging
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from atp.live_layout import CHANGES
from cache.redis_options import RedisOptions
from erp.control import ErpControl
from pricing_engine.model import ExceptionPolicy
from service.erp_fallback import ErpFallback, open_worker_erp
from service.exchange import Services
from service.flagging import Flagging
from service.handlers import CountingPool, Handlers
from service.instants import now_us
from service.limits import (
    GRACE_S,
    HOUSEKEEPING_S,
    KEEPALIVE_MS,
    KEEPALIVE_TIMEOUT_MS,
    RECEIVE_BYTES_MAX,
    SEND_BYTES_MAX,
    WORKER_THREADS,
)
from service.live_files import LiveFollower, socket_path
from service.metrics import Metrics, NoMetrics, PrometheusMetrics
from service.runtime import load_snapshot, version_opener
from service.services import SERVICES, services
from service.snapshots import SnapshotHolder
from service.watching import Changes, PolledChanges
from service.writer_link import WriterLink

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker needs to know."""

    store: Path
    snapshot_version: str
    """Verified by the supervisor."""
    address: str
    policy: ExceptionPolicy
    metrics: bool = False
    threads: int = WORKER_THREADS
    grace_s: float = GRACE_S
    erp: Path | None = None
    """The configuration of an ERP."""
    redis: RedisOptions | None = None
    """The Redis that shares live state with other hosts."""
    events_stream: str = ""
    """A stream of inventory events in that Redis."""


@dataclass(frozen=True, slots=True)
class Activate:
    """To a worker: answer from this snapshot, which was verified."""

    snapshot_version: str


@dataclass(frozen=True, slots=True)
class Stop:
    """To a worker: end what is in flight and go."""


@dataclass(frozen=True, slots=True)
class Serving:
    """From a worker: it answers from this snapshot."""

    snapshot_version: str


@dataclass(frozen=True, slots=True)
class SwapFailed:
    """From a worker: it could not take this snapshot and goes on with its own."""

    snapshot_version: str
    message: str


def build_server(
    holder: SnapshotHolder,
    metrics: Metrics,
    *,
    threads: int = WORKER_THREADS,
    live: Services | None = None,
    changes: Changes | None = None,
    erp: ErpFallback | None = None,
    flagging: Flagging | None = None,
) -> tuple[grpc.Server, health.HealthServicer, Handlers]:
    """A server, without a port yet, with all services, health and reflection; the last three as in `services`."""
    pool = CountingPool(threads)
    server = grpc.server(
        pool,
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
            ("grpc.max_send_message_length", SEND_BYTES_MAX),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ],
    )
    offered = services(holder, now_us, live=live, changes=changes, erp=erp, flagging=flagging)
    handlers = Handlers(offered, metrics, pool.waiting)
    handlers.register(server)
    health_servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection((*offered, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server, health_servicer, handlers


def run_worker(config: WorkerConfig, supervisor: Connection) -> None:
    """The process: serves until told to stop, or until the supervisor is gone."""
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s %(levelname)s worker {os.getpid()} %(message)s"
    )
    name_process("pricegrid-work")
    stopping = [False]
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the supervisor says when to stop
    signal.signal(signal.SIGTERM, lambda *_: stopping.__setitem__(0, True))
    verified = {config.snapshot_version}
    active = load_snapshot(config.store, config.snapshot_version, config.policy, verify=False)
    holder = SnapshotHolder(active, version_opener(config.store, config.policy, verified.__contains__))
    erp = open_worker_erp(config.erp, config.store, metrics=config.metrics) if config.erp else None
    follower = LiveFollower(config.store)
    follower.look(active)
    link = WriterLink(socket_path(config.store))
    metrics = PrometheusMetrics() if config.metrics else NoMetrics()
    server, health_servicer, handlers = build_server(
        holder,
        metrics,
        threads=config.threads,
        live=link.methods(),
        changes=PolledChanges(lambda: _live_version(holder)),
        erp=erp,
        flagging=Flagging(ErpControl(config.store)),
    )
    server.add_insecure_port(config.address)
    server.start()
    for service in (health.OVERALL_HEALTH, *SERVICES):
        health_servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    del active
    try:
        supervisor.send(Serving(config.snapshot_version))
        while not stopping[0]:
            follower.look(holder.active)
            metrics.flush()
            if not supervisor.poll(HOUSEKEEPING_S):
                holder.let_go()
                continue
            match supervisor.recv():
                case Activate(version):
                    verified.add(version)
                    supervisor.send(_swap(holder, config, version, follower))
                case _:
                    break
    except (EOFError, BrokenPipeError, ConnectionResetError):
        _log.warning("the supervisor is gone; stopping")
    health_servicer.enter_graceful_shutdown()
    handlers.end_watches()
    server.stop(config.grace_s).wait()
    metrics.flush()
    if erp:
        erp.close()
    link.close()


def name_process(name: str) -> None:
    """What `ps` and `top` call this process: at most 15 characters count."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _live_version(holder: SnapshotHolder) -> object:
    """Another one whenever availability may be another."""
    loaded = holder.active
    if loaded.availability is None:
        return loaded.version
    live = loaded.availability.positions.live
    return loaded.version, live.live_head.ctypes.data, int(live.live_head[CHANGES])


def _swap(
    holder: SnapshotHolder, config: WorkerConfig, version: str, follower: LiveFollower
) -> Serving | SwapFailed:
    try:
        loaded = holder.kept(version) or load_snapshot(config.store, version, config.policy, verify=False)
        follower.look(loaded)
    except Exception as error:  # noqa: BLE001 -- whatever it is, this worker goes on with what it has
        return SwapFailed(version, repr(error))
    holder.activate(loaded)
    return Serving(version)
