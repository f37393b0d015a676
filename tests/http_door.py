"""A server with all services for tests of what it speaks besides gRPC."""

import http.client
import json

import grpc

from pricegrid import v1
from pricegrid.service.identity.gate import Gate
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.rpc.services import services
from pricegrid.service.transport.server import Ages, Http2Server
from tests.fakes import OneSnapshot, fake_snapshot
from tests.transport_worlds import AGES, STREAMS_MAX

NOW_US = 1_772_452_800_000_000
PRICE = f"/{v1.PRICING_SERVICE}/PriceLines"
SHOP = "https://shop.example"


class Door:
    """A server with all services, over a made-up snapshot."""

    def __init__(self, *, is_local: bool = False, gate: Gate | None = None, ages: Ages = AGES) -> None:
        pool = CountingPool(4)
        self.server = Http2Server(pool, ages, STREAMS_MAX, origins=[SHOP], is_local=is_local)
        queue = Queue(self.server.ready.__len__, room=32)
        queue.defers = True
        self.server.turn = queue.begin
        offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US)
        handlers = Handlers(offered, NoMetrics(), pool.queue, loop=(queue, pool), gate=gate)
        handlers.register(self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def ask(self, body: bytes, path: str = PRICE, method: str = "POST", **headers: str):
        """(status, headers, body) over HTTP/1.1."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            found = connection.getresponse()
            return found.status, dict(found.getheaders()), found.read()
        finally:
            connection.close()

    def ask_json(self, question: object, path: str = PRICE, **headers: str):
        status, _, body = self.ask(
            json.dumps(question).encode(), path, content_type="application/json", **headers
        )
        return status, json.loads(body)

    def by_grpc(self, request: bytes) -> bytes:
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            return channel.unary_unary(PRICE)(request, timeout=30)
