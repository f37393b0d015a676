"""Live state behind servers, for tests: in a server itself, and behind the writer link of one."""

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import grpc

from pricegrid import InventoryEvent, InventoryEventKind, InventoryMeasure, InventorySource
from pricegrid.service.live.writer_link import WriterLink, build_writer_server
from pricegrid.service.rpc.call import Services
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.pools import CountingPool, ThreadPools
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot
from tests.live_memory import NOW_US, MemoryLive

DEADLINE_S = 30.0  # far beyond what anything here takes: reaching it is the failure
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@contextlib.contextmanager
def grpc_server(live: Services, pools: ThreadPools | None = None) -> Iterator[str]:
    pool = CountingPool(2)
    server = grpc.server(pool)
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US, live=live)
    Handlers(offered, NoMetrics(), pool.queue, pools=pools).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def writer(live: MemoryLive) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:  # the path of a unix socket must be short
        path = Path(directory) / "writer.sock"
        server = build_writer_server(live, path)
        server.start()
        try:
            yield path
        finally:
            server.stop(0).wait()


@contextlib.contextmanager
def linked(path: Path, pools: ThreadPools | None = None, timeout_s: float = DEADLINE_S) -> Iterator[str]:
    with (
        contextlib.closing(WriterLink(path, timeout_s=timeout_s)) as link,
        grpc_server(link.methods(), pools) as address,
    ):
        yield address


def on_hand(quantity: Decimal | int, sequence: int = 1, sku: str = "A", **fields) -> InventoryEvent:
    return InventoryEvent(
        InventorySource.ERP,
        sequence,
        NOON,
        InventoryMeasure.ON_HAND,
        InventoryEventKind.SET,
        sku,
        "HAM",
        quantity,
        **fields,
    )
