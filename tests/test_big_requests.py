"""Big requests are answered a few at a time, in threads of their own."""

import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from pricegrid import v1
from pricegrid.errors import error_from_rpc
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.later import Later
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.pools import BIG_BYTES, BigRequests, CountingPool, ThreadPools
from pricegrid.service.rpc.response import Response
from tests.fakes import AbortedError, FakeContext
from tests.servers import until


class Big:
    """A server whose big requests end when they are told to."""

    def __init__(self, *, running: int, most: int, threads: int = 4) -> None:
        self.begun: list[bytes] = []
        self.go_on = threading.Event()
        self.threads: set[str] = set()
        pool = CountingPool(threads)
        self.server = grpc.server(pool)
        pools = ThreadPools()
        pools.big = BigRequests(running, most, jitter=lambda: 0.0)
        offered = {v1.PRICING_SERVICE: {"PriceLines": self._answer}}
        self.handlers = Handlers(offered, NoMetrics(), pool.queue, pools=pools)
        self.handlers.register(self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._call = self.channel.unary_unary(f"/{v1.PRICING_SERVICE}/PriceLines")

    def _answer(self, raw: bytes, _: object) -> Response:
        name = raw[:1]
        if len(raw) > BIG_BYTES:
            self.begun.append(name)
            assert self.go_on.wait(20)
            if name == b"!":
                raise TimeoutError("of the ERP")
        self.threads.add(threading.current_thread().name)
        return Response(name)

    def ask(self, name: bytes, size: int = BIG_BYTES + 1, timeout_s: float = 60.0) -> grpc.Future:
        return self._call.future(name * size, timeout=timeout_s)

    def until_begun(self, count: int) -> None:
        ends_s = time.monotonic() + 20
        while len(self.begun) < count and time.monotonic() < ends_s:
            time.sleep(0.001)
        assert len(self.begun) == count

    def waiting(self) -> int:
        return self.handlers._pools.big._pool._work_queue.qsize()

    def end(self) -> None:
        self.go_on.set()
        self.channel.close()
        self.server.stop(0).wait()


@pytest.fixture
def big() -> Iterator[Big]:
    world = Big(running=2, most=4)
    yield world
    world.end()


def test_few_big_requests_run_at_a_time_in_their_order_and_too_many_are_refused(big):
    asked = []
    for number, name in enumerate((b"0", b"1", b"2", b"3")):
        asked.append(big.ask(name))
        if number < 2:
            big.until_begun(number + 1)
        until(lambda wanted=number - 1: big.waiting() >= wanted, "it has its place")
    refused = error_from_rpc(big.ask(b"4").exception())
    assert (str(refused), refused.metadata["limit"]) == ("too many big requests; ask again in 10 ms", "big")
    assert big.begun == [b"0", b"1"]
    big.go_on.set()

    assert [each.result(20) for each in asked] == [b"0", b"1", b"2", b"3"]
    assert big.begun == [b"0", b"1", b"2", b"3"]
    assert big.ask(b"5").result(20) == b"5"
    assert all(name.startswith("pricegrid-big") for name in big.threads)


def test_a_big_request_whose_time_is_over_is_not_begun(big):
    running = [big.ask(b"0"), big.ask(b"1")]
    big.until_begun(2)
    late = big.ask(b"2", timeout_s=0.05)
    assert late.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED
    time.sleep(0.05)
    big.go_on.set()

    assert [each.result(20) for each in running] == [b"0", b"1"]
    assert [big.ask(b"4").result(20) for _ in range(9)] == [b"4"] * 9, "every place was given back"
    assert set(big.begun) == {b"0", b"1", b"4"}


def test_a_big_request_whose_caller_has_gone_is_not_begun():
    begun = []
    queue = Queue()
    queue.defers = True
    offered = {v1.PRICING_SERVICE: {"PriceLines": lambda raw, _: begun.append(raw)}}
    context = FakeContext()
    with pytest.raises(Later) as later:
        Handlers(offered, NoMetrics(), queue).call(v1.PRICING_SERVICE, "PriceLines")(
            b"x" * (BIG_BYTES + 1), context
        )
    context.is_active = lambda: False
    with pytest.raises(AbortedError):
        later.value.behavior(later.value.raw, context)

    assert (begun, context.code) == ([], grpc.StatusCode.DEADLINE_EXCEEDED)


def test_a_big_request_that_fails_is_refused_and_gives_its_place_back(big):
    big.go_on.set()
    for _ in range(5):
        assert big.ask(b"!").exception().code() is grpc.StatusCode.INTERNAL
    assert big.ask(b"0").result(20) == b"0"


def test_big_requests_hold_no_thread_of_small_ones():
    world = Big(running=1, most=9, threads=2)
    try:
        asked = [world.ask(b"x") for _ in range(9)]
        world.until_begun(1)
        assert [world.ask(b"y", size).result(20) for size in (1, 100, BIG_BYTES)] == [b"y"] * 3
        assert len(world.begun) == 1
        world.go_on.set()
        assert [each.result(20) for each in asked] == [b"x"] * 9
    finally:
        world.end()


def test_a_big_request_is_answered_where_there_is_no_pool():
    handlers = Handlers(
        {v1.PRICING_SERVICE: {"PriceLines": lambda raw, _: Response(raw[:5])}}, NoMetrics(), Queue()
    )

    assert handlers.call(v1.PRICING_SERVICE, "PriceLines")(b"x" * (BIG_BYTES + 1), FakeContext()) == b"xxxxx"
