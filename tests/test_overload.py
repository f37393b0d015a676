"""Under overload a worker refuses what it could not answer in time, and says when to ask again."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from queue import SimpleQueue
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from pricegrid import Client, Line, UnavailableError, v1
from pricegrid.errors import DETAILS_KEY, DOMAIN, error_from_rpc
from pricegrid.service.errors import Reason, RequestRefusedError, trailing_metadata
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import (
    INTERVAL_S,
    PUSHBACK_MAX_MS,
    PUSHBACK_MIN_MS,
    ROOM,
    TARGET_S,
    Queue,
    Slots,
    pushback_ms,
)
from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.rpc.response import Response
from pricegrid.service.transport.server import SLICE_S, Http2Server
from tests.fakes import AbortedError, FakeContext
from tests.servers import until
from tests.transport_worlds import AGES, STREAMS_MAX

TOO_LONG_S = 2 * TARGET_S


class World:
    """A queue, at a clock that is set."""

    def __init__(self, **settings) -> None:
        self.now_s = 1_000.0
        self.depth = ROOM * 4 + 1  # more than may wait for 4 threads
        self.queue = Queue(
            lambda: self.depth, 4, most=18, clock_s=lambda: self.now_s, jitter=lambda: 0.5, **settings
        )

    def asked(self, waited_s: float, left_s: float | None = None, size: int = 40) -> str:
        """'OK', or which limit refused a call that has waited so long."""
        self.queue.begin(self.now_s - waited_s)
        return self._checked(left_s, size)

    def _checked(self, left_s: float | None, size: int) -> str:
        try:
            self.queue.check(None if left_s is None else self.now_s + left_s, size)
        except RequestRefusedError as refused:
            self.refused = refused
            return refused.metadata["limit"]
        return "OK"

    def for_an_interval(self, waited_s: float) -> list[str]:
        """Calls every hundredth of an interval, a whole one long and a little more."""
        found = []
        for _ in range(101):
            found.append(self.asked(waited_s))
            self.now_s += INTERVAL_S / 100
        return found


def test_a_burst_is_answered():
    world = World()

    assert {world.asked(wait * 0.02) for wait in range(100)} == {"OK"}
    world.now_s += INTERVAL_S
    assert world.asked(TOO_LONG_S) == "OK", "the luckiest of the interval had not waited"


def test_when_nobody_finds_a_free_thread_for_an_interval_those_who_waited_too_long_are_refused():
    world = World()

    assert set(world.for_an_interval(TOO_LONG_S)) == {"OK"}
    assert set(world.for_an_interval(TOO_LONG_S)) == {"waiting"}
    assert world.refused.reason is Reason.OVERLOADED
    assert world.asked(TARGET_S / 2) == "OK", "whoever has not waited is answered all the same"


def test_where_few_wait_nobody_is_refused_for_a_wait_that_others_did_not_cause():
    world = World()
    world.depth = ROOM * 4
    world.for_an_interval(TOO_LONG_S)

    assert set(world.for_an_interval(TOO_LONG_S)) == {"OK"}
    world.depth = ROOM * 4 + 1
    assert world.asked(TOO_LONG_S) == "waiting"


def test_overload_ends_when_somebody_finds_a_free_thread():
    world = World()
    world.for_an_interval(TOO_LONG_S)
    world.asked(0)
    world.now_s += INTERVAL_S

    assert set(world.for_an_interval(TOO_LONG_S)) == {"OK"}


def test_overload_is_forgotten_in_a_pause():
    world = World()
    world.for_an_interval(TOO_LONG_S)
    world.now_s += 3 * INTERVAL_S

    assert world.asked(TOO_LONG_S) == "OK"


def test_where_calls_take_long_a_wait_as_long_as_one_is_no_overload():
    world = World()
    for _ in range(200):
        world.queue.answered(0.2, 40)

    world.for_an_interval(0.1)
    assert set(world.for_an_interval(0.1)) == {"OK"}
    world.for_an_interval(0.3)
    assert set(world.for_an_interval(0.3)) == {"waiting"}


def test_changes_are_refused_for_their_number_alone():
    world = World(sheds=False)
    world.for_an_interval(TOO_LONG_S)

    assert set(world.for_an_interval(TOO_LONG_S)) == {"OK"}
    assert world.asked(TOO_LONG_S, left_s=0.0) == "OK", "a change is carried out though its caller has gone"
    world.depth = 19
    assert world.asked(0) == "queue"


@pytest.mark.parametrize(
    ("left_s", "said"), [(None, "OK"), (0.0, "deadline"), (0.009, "deadline"), (0.011, "OK")]
)
def test_a_call_that_can_not_be_answered_in_time_is_refused(left_s, said):
    world = World()
    world.queue.answered(0.000_001, 100)  # of a small one a byte says nothing
    world.queue.answered(0.010, 10_000)  # the least: a microsecond a byte

    assert world.asked(0, left_s, 10_000) == said
    if said != "OK":
        assert (world.refused.reason, world.refused.retry_ms) == (Reason.DEADLINE_EXCEEDED, 0)


def test_the_least_time_of_a_call_follows_a_machine_that_got_slower():
    world = World()
    world.queue.answered(0.001, 1_024)
    assert world.asked(0, 0.002, 1_024) == "OK"

    for _ in range(2_000):
        world.queue.answered(0.01, 1_024)

    assert world.asked(0, 0.002, 1_024) == "deadline"


def test_one_slow_call_does_not_keep_quick_ones_out_for_good():
    """A request that opened a snapshot, or waited for the ERP, says little of the next one's time."""
    world = World()
    world.queue.answered(2.0, 1_100)
    refusals = 0
    for _ in range(30):
        try:
            world.queue.check(world.now_s + 0.1, 1_100)
            break
        except RequestRefusedError:
            refusals += 1
    assert 0 < refusals < 10


def test_the_push_back_is_the_time_in_which_the_queue_is_done():
    world = World()
    for _ in range(500):
        world.queue.answered(0.040, 40)
    world.depth = 19  # and this one: 20 of 40 ms on 4 threads, and half as much again

    assert world.asked(0) == "queue"
    assert world.refused.retry_ms == 300
    assert world.refused.message == "too many requests; ask again in 300 ms"


def test_push_backs_differ_and_have_bounds():
    assert len({pushback_ms(1.0, at / 10) for at in range(10)}) == 10
    assert [pushback_ms(0.0, 0.5), pushback_ms(100.0, 0.5)] == [PUSHBACK_MIN_MS, PUSHBACK_MAX_MS]


def test_a_pool_measures_how_long_its_tasks_wait():
    pool, blocked = CountingPool(1), threading.Event()
    waits: list[float] = []
    begin = pool.begin

    def noting(arrived_s):
        waits.append(time.monotonic() - arrived_s)
        begin(arrived_s)

    pool.begin = noting
    ended: SimpleQueue[str] = SimpleQueue()
    first = pool.submit(blocked.wait)
    first.add_done_callback(lambda _: ended.put("first"))
    second = pool.submit(int, "7")
    time.sleep(0.05)
    blocked.set()
    pool.shutdown()
    second.add_done_callback(lambda _: ended.put("second"))  # also whoever asks too late is told

    assert [ended.get(timeout=10), ended.get(timeout=10)] == ["first", "second"]
    assert ended.empty()
    assert waits[1] >= 0.05 > waits[0] - 1
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(int)


# ---- the client


class Busy(grpc.GenericRpcHandler):
    """A server that refuses the first calls of every method as overloaded, or all."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals
        self.calls: list[str] = []

    def service(self, details):
        def answer(raw, context):
            self.calls.append(details.method.rpartition("/")[2])
            if self.left:
                self.left -= 1
                refused = RequestRefusedError(Reason.OVERLOADED, "too many requests", retry_ms=10)
                context.set_trailing_metadata(trailing_metadata(refused, ""))
                context.abort(refused.code, refused.message)
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(params=["grpcio", "http2"])
def busy(request):
    server = grpc.server(ThreadPoolExecutor(2))
    handler = Busy(0)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}", transport=request.param) as client:
        yield handler, client
    server.stop(0).wait()


def test_a_read_is_asked_again_when_the_server_says_so(busy):
    handler, client = busy
    handler.left = 2

    client.price_lines("C", [Line("A", 1)])

    assert handler.calls == ["PriceLines"] * 3


def test_a_change_is_asked_once(busy):
    handler, client = busy
    handler.left = 1

    with pytest.raises(UnavailableError) as refused:
        client.release_reservation("R1", customer_id="C")
    assert (handler.calls, refused.value.retry_after_s) == (["ReleaseReservation"], 0.01)


def test_where_most_calls_fail_nothing_is_asked_again(busy):
    handler, client = busy
    handler.left = 10**9

    for _ in range(20):
        with pytest.raises(UnavailableError):
            client.price_lines("C", [Line("A", 1)])

    assert 20 < len(handler.calls) < 30


def test_a_server_with_too_much_to_do_refuses_those_who_waited_and_recovers():
    pool, have_come = CountingPool(2), threading.Event()
    server = grpc.server(pool)

    def method(raw, caller):
        assert have_come.wait(30)
        time.sleep(0.02)
        return Response(raw)

    Handlers({v1.PRICING_SERVICE: {"PriceLines": method}}, NoMetrics(), pool.queue).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(f"/{v1.PRICING_SERVICE}/PriceLines")
        asked = [call.future(b"a", timeout=60) for _ in range(200)]
        until(lambda: pool._work_queue.qsize() == 198, "all others wait")
        have_come.set()
        errors = [each.exception() for each in asked]
        reasons = [error_from_rpc(error).metadata["limit"] for error in errors if error is not None]
        assert call(b"b", timeout=60) == b"b"
    server.stop(0).wait()

    assert set(reasons) == {"waiting"}
    assert 100 < len(reasons) < 198


def test_a_refusal_before_the_deadline_is_one_that_handlers_make():
    context = FakeContext()
    context.time_remaining = lambda: -0.1
    handlers = Handlers({v1.PRICING_SERVICE: {"PriceLines": lambda raw, caller: 1 / 0}}, NoMetrics(), Queue())

    with pytest.raises(AbortedError):
        handlers.call(v1.PRICING_SERVICE, "PriceLines")(b"", context)

    assert context.code is grpc.StatusCode.DEADLINE_EXCEEDED


# ---- places of streams


def held(slots: Slots, subject: str, tries: int) -> list[AbstractContextManager[None]]:
    """The places that a caller gets."""
    found = []
    for _ in range(tries):
        place = slots.hold(subject)
        try:
            place.__enter__()
        except RequestRefusedError:
            break
        found.append(place)
    return found


def test_no_caller_takes_the_places_of_all_others():
    slots = Slots(8)

    one = held(slots, "shop", 20)

    assert len(one) == 6
    others = [held(slots, f"shop-{number}", 2) for number in range(3)]
    assert [len(places) for places in others] == [1, 1, 0]
    with pytest.raises(RequestRefusedError) as refused, slots.hold("shop-2"):
        pass
    assert (refused.value.reason, refused.value.limit) == (Reason.TOO_MANY_STREAMS, "streams")
    one[0].__exit__(None, None, None)
    others.append(held(slots, "shop-2", 2))
    assert len(others[-1]) == 1, "the last place is for one who holds none"
    for place in one[1:4]:
        place.__exit__(None, None, None)
    assert len(held(slots, "shop", 9)) == 1


def test_where_nobody_is_asked_who_they_are_all_places_are_everybodys():
    slots = Slots(8)

    assert len(held(slots, "", 20)) == 8


def test_a_place_is_given_back_when_a_stream_ends():
    slots = Slots(1)

    for _ in range(3):
        with slots.hold("shop"):
            assert held(slots, "other", 1) == []


# ---- what a refusal costs


@pytest.mark.parametrize(
    "correlation_id", ["", "a", "x" * 15, "x" * 16, "0123456789abcdef" * 2, "y" * 128, "z" * 129, "ü" * 20]
)
def test_the_details_of_a_refusal_are_the_same_however_they_are_made(correlation_id):
    for retry_ms in (0, 10, 4_999):
        refused = RequestRefusedError(
            Reason.QUOTA_EXCEEDED, "more", retry_ms=retry_ms, limit="calls", burst="7"
        )
        for _ in range(2):  # the second is made of the first
            found = status_pb2.Status.FromString(
                dict(trailing_metadata(refused, correlation_id))[DETAILS_KEY]
            )
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            found.details[0].Unpack(info)
            if retry_ms:
                found.details[1].Unpack(retry)

            assert (found.message, info.reason, info.domain) == ("more", "QUOTA_EXCEEDED", DOMAIN)
            assert dict(info.metadata) == {"limit": "calls", "burst": "7", "correlation_id": correlation_id}
            assert retry.retry_delay.ToMilliseconds() == retry_ms


def test_a_flood_of_refusals_leaves_time_for_answers(monkeypatch):
    """Each turn of the loop of HTTP/2 answers for a slice, however many it refused before."""
    server = Http2Server(CountingPool(1), AGES, STREAMS_MAX)
    handled: list[float] = []

    def handle(call):
        time.sleep(SLICE_S / 4)
        handled.append(call.arrived_s)

    monkeypatch.setattr(server, "_on_loop", handle)
    server.sheds = lambda arrived_s: arrived_s == 0.0
    server.ready.extend(
        SimpleNamespace(arrived_s=arrived_s, request=b"") for arrived_s in [0.0] * 40 + [1.0] * 40
    )

    server._work()

    assert handled.count(0.0) == 40
    assert 1 <= handled.count(1.0) <= 5
    server._loop.close()
