"""A server whose supervisor runs in the test's own process, with limits of the test's choice."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pricegrid import AvailabilityResult, Client, FreshnessState, Line
from pricegrid.service.process.children import Child
from pricegrid.service.process.supervisor import Ready, ServeOptions, Supervisor
from tests.servers import until

OWN_CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


def pid_of(child: Child) -> int:
    process = child.process  # looked at once: it may end meanwhile
    return (process and process.pid) or 0


class Supervised:
    """The server: its processes by what they are, and what any of its workers says."""

    def __init__(self, options: ServeOptions) -> None:
        self.announced: list[Ready] = []
        self.supervisor = Supervisor(options, self.announced.append)
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int | None:
        self.supervisor.stop()
        self._thread.join()
        return self.code

    @property
    def address(self) -> str:
        return self.supervisor._address

    def pid(self, worker: int | None = None) -> int:
        """Of a worker; without a number, of the writer. 0 while there is none."""
        return pid_of(self.supervisor._writer if worker is None else self.supervisor._workers[worker])

    @contextlib.contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def says(self, sku: str = "S4", branch: str = "HAM") -> tuple[int | None, bool, str]:
        """(whole units free, whether all of it is FRESH, snapshot version), over a connection of its own."""
        with self.client() as client:
            found: AvailabilityResult = client.check_availability(
                [Line(sku, 1)], branches=[branch], timeout_s=30
            )
        pair = found.lines[0].branches[0]
        states = {pair.freshness.erp.state, pair.freshness.wms.state}
        units = None if pair.available is None else int(pair.available)
        return units, states == {FreshnessState.FRESH}, found.snapshot_version

    def everyone_says(self, *wanted: object) -> bool:
        """Whether all of some answers begin so; the workers are few, so each was asked."""
        return {self.says()[: len(wanted)] for _ in range(10)} == {wanted}

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with (
            grpc.insecure_channel(self.address, options=OWN_CHANNEL) as channel,
            Client(channel=channel) as client,
        ):
            yield client

    def health(self, service: str = "") -> str:
        with grpc.insecure_channel(self.address, options=OWN_CHANNEL) as channel:
            asked: Any = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=30)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


_RUNNING: set[Supervised] = set()
"""They share what forks their processes."""


@contextlib.contextmanager
def supervised(store: Path, *, is_ready: bool = True, **options: Any) -> Iterator[Supervised]:
    """Starts one on a free port; with `is_ready` when all of it answers."""
    served = Supervised(ServeOptions(store, port=0, **{"grace_s": 3.0, **options}))
    _RUNNING.add(served)
    served.start()
    try:
        if is_ready:
            until(lambda: bool(served.announced) or served.code is not None, "the server is ready")
            assert served.announced, "it could not start"
        yield served
    finally:
        served.stop()
        _RUNNING.remove(served)
        if not _RUNNING:  # the next test's is to have that one's environment, and write where that one looks
            forkserver._forkserver._stop()
