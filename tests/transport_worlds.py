"""A small service on each transport: what clients of gRPC rely on, apart from what the service is about."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc

from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.transport.server import Ages, Http2Server

SERVICE = "conformance.Test"
TRANSPORTS = ("grpcio", "http2")
AGES = Ages(7200.0, 20.0, 600.0, 3600.0)
STREAMS_MAX = 128


@dataclass
class Place:
    """A server, and what its methods noticed."""

    address: str = ""
    server: grpc.Server | Http2Server | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    """A call of Sleep or of a stream has ended."""
    begun: threading.Event = field(default_factory=threading.Event)
    taken: int = 0
    """Messages that a handler took of a stream."""
    go_on: threading.Event = field(default_factory=threading.Event)

    def empty(self, raw, context):
        return b""

    def echo(self, raw, context):
        return raw

    def large(self, raw, context):
        return b"x" * int(raw)

    def collect(self, messages, context):
        return b"%d" % sum(len(message) for message in messages)

    def collect_slowly(self, messages, context):
        self.begun.set()
        size = 0
        assert self.go_on.wait(30)
        for message in messages:
            self.taken += 1
            size += len(message)
        return b"%d" % size

    def emit(self, raw, context):
        try:
            for size in raw.split(b","):
                if size:
                    yield b"y" * int(size)
        finally:
            self.ended.set()

    def emit_for_ever(self, raw, context):
        try:
            while True:
                self.taken += 1
                yield raw
        finally:
            self.ended.set()

    def chat(self, messages, context):
        try:
            yield from messages
        finally:
            self.ended.set()

    def chat_early(self, messages, context):
        """Answers at once, whatever else its caller would send."""
        for _ in range(10):
            yield b"z" * 100_000

    def status(self, raw, context):
        code, _, text = raw.partition(b" ")
        sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
        context.set_trailing_metadata(tuple(sent))
        found = next(each for each in grpc.StatusCode if each.value[0] == int(code))
        context.abort(found, text.decode())

    def sleep(self, raw, context):
        over = threading.Event()
        assert context.add_callback(over.set)
        self.begun.set()
        if over.wait(30):
            self.ended.set()
        return b"" if context.is_active() else b"late"

    def fail(self, raw, context):
        raise ValueError("a secret")

    def left(self, raw, context):
        left_s = context.time_remaining()
        return b"none" if left_s is None or left_s > 1e9 else b"%d" % round(left_s)


def quick(raw, context):
    """Is answered on the loop, where there is one."""
    return raw


quick.on_loop = quick


def handlers(place: Place) -> dict[str, grpc.RpcMethodHandler]:
    one, out = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    into, both = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
    return {
        "Empty": one(place.empty), "Echo": one(place.echo), "Large": one(place.large), "Status": one(place.status),
        "Sleep": one(place.sleep), "Fail": one(place.fail), "Left": one(place.left), "Collect": into(place.collect),
        "CollectSlowly": into(place.collect_slowly), "Emit": out(place.emit), "EmitForEver": out(place.emit_for_ever),
        "Chat": both(place.chat), "ChatEarly": both(place.chat_early), "Quick": one(quick),
    }  # fmt: skip


@contextlib.contextmanager
def served(transport: str, *, ages: Ages = AGES, threads: int = 8) -> Iterator[Place]:
    place, pool = Place(), CountingPool(threads)
    limits = [
        ("grpc.max_receive_message_length", 4 * 1024 * 1024),
        ("grpc.max_connection_age_ms", int(ages.most_s * 1000)),
    ]
    server = (
        Http2Server(pool, ages, STREAMS_MAX)
        if transport == "http2"
        else grpc.server(pool, options=[*limits, ("grpc.so_reuseport", 1)])
    )
    found = handlers(place)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, found)])
    server.add_registered_method_handlers(SERVICE, found)
    place.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    place.server = server
    server.start()
    try:
        yield place
    finally:
        place.go_on.set()
        server.stop(0).wait(20)


def late(place: Place, ask: Callable[[float], grpc.StatusCode]) -> None:
    """A call of Sleep ends at its deadline, here and at the server. `ask` makes it with so much time, of which a busy
    machine may need a lot before it has begun there."""
    for timeout_s in (0.2, 2.0, 20.0):
        assert ask(timeout_s) is grpc.StatusCode.DEADLINE_EXCEEDED
        if place.begun.is_set():
            break
    assert place.ended.wait(20)


def is_told(ask: Callable[[float], bytes], timeout_s: float) -> bool:
    """Whether a handler has what is left of so much time, to the second."""
    began_s = time.monotonic()
    left_s = int(ask(timeout_s))
    return timeout_s - (time.monotonic() - began_s) - 1 < left_s <= timeout_s
