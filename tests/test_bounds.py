"""What callers may leave open: streams that say nothing, answers that they do not read, snapshots that they name."""

import contextlib
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from pricegrid import Client, Line, UnavailableError, v1
from pricegrid.errors import error_from_rpc
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.process.snapshots import (
    OPENING_AHEAD_S,
    OPENINGS_MAX,
    LoadedSnapshot,
    Openings,
    SnapshotHolder,
)
from pricegrid.service.process.worker import build_server
from pricegrid.service.rpc.call import Ingest
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.response import Response
from pricegrid.service.rpc.unread import UNREAD_MIN_BYTES, UNREAD_S, Unread
from tests.fakes import AbortedError, FakeContext, fake_snapshot

# ---- a publisher who says nothing


@contextlib.contextmanager
def publishing(idle_s: float):
    """A server that gives publishers so long for a message, and a call of its one method."""
    taken: list[bytes] = []
    ended = threading.Event()

    def ingest(messages, caller):
        try:
            taken.extend(messages)
        finally:
            ended.set()
        return Response(b"".join(taken))

    offered = {v1.INVENTORY_FEED_SERVICE: {"PublishEvents": Ingest(ingest)}}
    server = grpc.server(ThreadPoolExecutor(2))
    Handlers(offered, NoMetrics(), Queue(), publish_idle_s=idle_s).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.stream_unary(f"/{v1.INVENTORY_FEED_SERVICE}/PublishEvents"), taken, ended
    server.stop(0).wait()


@pytest.fixture
def publish():
    with publishing(60.0) as patient:
        yield patient


def test_a_publisher_who_sends_nothing_for_too_long_is_told_so():
    messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    for idle_s in (0.2, 2.0, 20.0):  # a busy machine may need longer for what is sent
        messages.put(b"a")
        with publishing(idle_s) as (call, taken, ended), pytest.raises(grpc.RpcError) as idle:
            call(iter(messages.get, None), timeout=30)
        assert idle.value.code() is grpc.StatusCode.ABORTED
        assert ended.is_set()
        if taken:
            break
        messages.put(None)

    assert taken == [b"a"]
    error = error_from_rpc(idle.value)
    assert isinstance(error, UnavailableError)
    assert (error.reason, error.metadata["limit"]) == ("STREAM_IDLE", "idle")
    messages.put(None)


def test_a_publisher_who_goes_on_is_heard_to_the_end(publish):
    call, _, _ = publish

    assert call(iter([b"a", b"b", b"c"]), timeout=30) == b"abc"


def test_no_thread_stays_behind_a_publisher(publish):
    call, _, _ = publish

    for _ in range(5):
        call(iter([b"a"]), timeout=30)

    names = [thread.name for thread in threading.enumerate()]
    for thread in threading.enumerate():
        if thread.name == "pricegrid-arriving":
            thread.join(10)
            assert not thread.is_alive(), names


# ---- answers that nobody reads


class Call(FakeContext):
    """A call whose end is told."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks = []
        self.is_over = False

    def is_active(self) -> bool:
        return not self.is_over

    def add_callback(self, callback) -> bool:
        if not self.is_over:
            self.callbacks.append(callback)
        return not self.is_over

    def end(self) -> None:
        self.is_over = True
        for callback in self.callbacks:
            callback()

    cancel = end


def refused(unread: Unread, subject: str) -> bool:
    try:
        unread.check(subject)
    except RequestRefusedError as error:
        return error.limit == "unread"
    return False


def test_whoever_leaves_too_much_unread_gets_no_more_and_others_do():
    unread, calls = Unread(caller_bytes=100, all_bytes=250), [Call() for _ in range(4)]
    for call in calls[:2]:
        unread.given("shop", 60, call)

    assert [refused(unread, "shop"), refused(unread, "other")] == [True, False]
    calls[0].end()
    assert not refused(unread, "shop")
    unread.given("shop", 100, calls[2])
    unread.given("", 100, calls[3])
    assert [refused(unread, "other"), refused(unread, "")] == [True, True], "all together leave too much"
    calls[1].end()
    assert [refused(unread, "other"), refused(unread, "")] == [False, False]
    for call in calls:
        call.end()
    assert (unread.total, refused(unread, "shop")) == (0, False)


def test_an_answer_that_is_not_read_is_taken_back_after_a_while():
    now_s = [100.0]
    unread, old, new = Unread(clock_s=lambda: now_s[0]), Call(), Call()
    unread.given("shop", 60, old)
    now_s[0] += UNREAD_S
    unread.given("shop", 60, new)

    assert unread.end_old() == 0
    now_s[0] += 1
    assert unread.end_old() == 1
    assert (old.is_over, new.is_over, unread.total) == (True, False, 60)
    assert unread.end_old() == 0


def test_a_call_that_has_ended_leaves_nothing_unread():
    unread, call = Unread(), Call()
    call.end()

    unread.given("shop", 60, call)

    assert unread.total == 0


def test_handlers_count_big_answers_until_their_calls_end():
    offered = {v1.PRICING_SERVICE: {"PriceLines": lambda raw, caller: Response(bytes(len(raw) * 1_000))}}
    handlers = Handlers(offered, NoMetrics(), Queue())
    handlers._unread = Unread(all_bytes=2 * UNREAD_MIN_BYTES)
    price, calls = handlers.call(v1.PRICING_SERVICE, "PriceLines"), [Call() for _ in range(5)]

    for at in range(2):
        price(b"x" * 70, calls[at])
    with pytest.raises(AbortedError):
        price(b"x", calls[2])
    assert calls[2].code is grpc.StatusCode.UNAVAILABLE
    calls[0].end()
    price(b"x", calls[3])


# ---- snapshots that requests name


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_opening_snapshots_takes_a_tenth_of_a_core_at_most():
    clock, opened = Clock(), 0
    openings = Openings(clock)
    ends_s, reasons = clock.now_s + 1_000, set()
    while clock.now_s < ends_s:
        try:
            with openings.turn():
                opened += 1
                clock.now_s += 0.5
        except RequestRefusedError as error:
            reasons.add((error.reason, error.limit))
            clock.now_s += error.retry_ms / 1_000

    assert reasons == {(Reason.OVERLOADED, "snapshots")}
    assert 1_000 * 0.1 <= opened * 0.5 <= 1_000 * 0.1 + OPENING_AHEAD_S


def test_a_comparison_of_some_versions_is_not_slowed_down():
    clock = Clock()
    holder = SnapshotHolder(fake_snapshot("v9"), _takes(clock, 0.2), clock_s=clock)

    assert [holder.get(f"v{number}").version for number in range(5)] == [f"v{number}" for number in range(5)]


def _takes(clock: Clock, seconds: float):
    def open_version(version: str) -> LoadedSnapshot:
        clock.now_s += seconds
        return fake_snapshot(version)

    return open_version


def test_while_one_is_opened_the_kept_ones_answer_and_few_wait():
    begun, go_on, opened = threading.Event(), threading.Event(), []

    def slowly(version: str) -> LoadedSnapshot:
        opened.append(version)
        if version == "slow":
            begun.set()
            assert go_on.wait(20)
        return fake_snapshot(version)

    holder = SnapshotHolder(fake_snapshot("active"), slowly)
    kept = holder.get("kept")
    with ThreadPoolExecutor(OPENINGS_MAX) as callers:
        waiting = [callers.submit(holder.get, "slow") for _ in range(OPENINGS_MAX)]
        assert begun.wait(20)
        while holder._openings._here < OPENINGS_MAX:
            pass
        assert holder.get("kept") is kept
        assert holder.get("").version == "active"
        with pytest.raises(RequestRefusedError, match="too many snapshots are opened"):
            holder.get("another")
        go_on.set()
        assert len({id(each.result(20)) for each in waiting}) == 1
    assert opened == ["kept", "slow"]


def test_what_becomes_active_while_a_request_opens_it_is_not_kept_twice():
    holder = None

    def open_version(version: str) -> LoadedSnapshot:
        holder.activate(fake_snapshot(version))
        return fake_snapshot(version)

    holder = SnapshotHolder(fake_snapshot("v1"), open_version)

    assert holder.get("v2") is holder.active
    assert holder.kept("v2") is None


# ---- services of others


def test_streams_that_say_nothing_hold_no_thread_of_reads():
    holder = SnapshotHolder(fake_snapshot(), fake_snapshot)
    server, _, handlers = build_server(holder, NoMetrics(), threads=1)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    silent: queue.SimpleQueue[None] = queue.SimpleQueue()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, Client(f"127.0.0.1:{port}") as client:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        streams = [reflection.ServerReflectionInfo(iter(silent.get, None)) for _ in range(40)]
        watches = [health.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(40)]

        assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.SERVING] * 40
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=30).status
        assert client.price_lines("C", [Line("A", 1)], timeout_s=30).lines

        for call in (*streams, *watches):
            call.cancel()
        for _ in streams:
            silent.put(None)
    handlers.end_watches()
    server.stop(0).wait()
