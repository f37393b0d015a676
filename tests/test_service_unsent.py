"""Callers who take a thread and send no message: others are answered all the same."""

import contextlib
import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pricegrid import Client, Line, v1
from pricegrid.service.rpc.unsent import LOOKS, PATIENCE_S, Unsent
from tests.servers import Server, running, until
from tests.stores import publish, stocked_rows


class Call:
    """A call as far as `Unsent` knows it."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


class Holders:
    """Threads that hold a call each until they are told that its message has come."""

    def __init__(self, unsent: Unsent) -> None:
        self._unsent = unsent
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()

    def add(self, arrived_s: float = 0.0) -> Call:
        call, holds = Call(), threading.Event()

        def run() -> None:
            self._unsent.holds(call, arrived_s)
            holds.set()
            self._over.wait()
            self._unsent.has_come()

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()
        holds.wait()
        return call

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_only_who_is_late_is_ended_and_once():
    now_s = [PATIENCE_S / 2]
    unsent = Unsent(8, clock_s=lambda: now_s[0])
    holders = Holders(unsent)
    early, late = holders.add(0.0), holders.add(PATIENCE_S / 2)

    assert [unsent.look() for _ in range(2 * LOOKS)] == [0] * 2 * LOOKS
    now_s[0] = PATIENCE_S
    assert (unsent.look(), early.cancelled, late.cancelled) == (1, 1, 0)
    assert unsent.look() == 0
    holders.end()
    now_s[0] = 10.0
    assert (unsent.look(), late.cancelled) == (0, 0)


def test_a_call_that_waited_long_for_its_thread_is_not_late_at_once():
    """Its message is there, and has only to be read."""
    unsent = Unsent(8, clock_s=lambda: 10.0)
    holders = Holders(unsent)
    call = holders.add(0.0)

    assert [unsent.look() for _ in range(LOOKS)] == [0] * (LOOKS - 1) + [1]
    assert call.cancelled == 1
    holders.end()


def test_a_call_that_can_not_be_ended_keeps_no_other_one():
    unsent = Unsent(8, clock_s=lambda: 10.0)
    holders = Holders(unsent)
    first, second = holders.add(0.0), holders.add(0.0)
    first.cancel = lambda: 1 / 0

    assert [unsent.look() for _ in range(LOOKS)][-1] == 2
    assert second.cancelled == 1
    holders.end()


def test_half_of_the_threads_may_wait_as_long_as_they_like():
    unsent = Unsent(8)
    holders = Holders(unsent)
    few = [holders.add() for _ in range(3)]
    assert not unsent._is_watched

    more = [holders.add() for _ in range(5)]
    until(lambda: sum(call.cancelled for call in (*few, *more)) >= 5, "ended while half was held")
    until(lambda: not unsent._is_watched, "nobody watches any more")
    holders.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("served") / "store"
    publish(store, stocked_rows())
    with running(store, "--workers", "1") as server:
        yield server


def headers_alone(channel: grpc.Channel, method: str, over: threading.Event) -> grpc.Future:
    """A call of which only the headers are sent."""

    def nothing() -> Iterator[bytes]:
        over.wait()
        yield from ()

    call = channel.stream_unary(method, request_serializer=bytes, response_deserializer=bytes)
    return call.future(nothing())


@pytest.mark.parametrize(
    "method",
    [
        f"/{v1.PRICING_SERVICE}/PriceLines",
        f"/{v1.AVAILABILITY_SERVICE}/Reserve",
        f"/{v1.AVAILABILITY_SERVICE}/WatchAvailability",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_headers_without_a_message_stop_nobody(served, method):
    """More of them than any pool has threads, from one connection each; without the remedy nobody is answered."""
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(over.set)
        channels = [stack.enter_context(grpc.insecure_channel(served.address)) for _ in range(2)]
        calls = [headers_alone(channels[at % 2], method, over) for at in range(120)]
        with Client(served.address) as client, grpc.insecure_channel(served.address) as channel:
            for _ in range(5):
                assert client.price_lines("", [Line("S4", 1)], currency="EUR", timeout_s=20).lines
                health = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=20
                )
                assert health.status == health_pb2.HealthCheckResponse.SERVING
        over.set()
        for call in calls:
            call.cancel()


def test_a_message_that_comes_late_to_an_idle_server_is_answered(served):
    """Few who wait are left alone, however long they take."""
    come = threading.Event()

    def late() -> Iterator[bytes]:
        come.wait()
        yield v1.PriceLinesRequest(
            lines=[v1.PriceLine(sku="S4", quantity_micros=1)], currency="EUR"
        ).SerializeToString()

    with grpc.insecure_channel(served.address) as channel:
        method = f"/{v1.PRICING_SERVICE}/PriceLines"
        call = channel.stream_unary(method, request_serializer=bytes, response_deserializer=bytes).future(
            late()
        )
        threading.Event().wait(3 * PATIENCE_S)
        come.set()
        assert v1.PriceLinesResponse.FromString(call.result(timeout=20)).snapshot_version
