"""The link to live state: streams and thread pools, and calls from a worker to the writer."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

import pricegrid
from pricegrid import Client, ReserveLine, v1
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.live.writer_link import build_writer_server
from pricegrid.service.methods.live import live_methods, no_live_methods
from pricegrid.service.rpc.handlers import ThreadPools
from pricegrid.service.rpc.in_process import InProcessChannel
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot
from tests.live_memory import NOW_US, MemoryLive
from tests.live_servers import DEADLINE_S, grpc_server, linked, on_hand, writer


@pytest.fixture
def live() -> MemoryLive:
    return MemoryLive()


def test_where_there_is_no_live_state_each_method_says_so():
    for methods in no_live_methods().values():
        assert methods
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US)
    with Client(channel=InProcessChannel(offered, service_desk=True)) as connected:
        for ask in (
            lambda: connected.reserve([ReserveLine("A", 1, "HAM")], key="k"),
            lambda: connected.publish_events([on_hand(1)]),
            connected.dead_letters,
        ):
            with pytest.raises(pricegrid.UnavailableError) as refused:
                ask()
            assert refused.value.reason == "LIVE_STATE_UNAVAILABLE"


def test_a_writer_that_is_not_there_is_told_and_found_when_it_comes(live):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "writer.sock"
        with linked(path) as address, Client(address) as connected:
            with pytest.raises(pricegrid.UnavailableError, match="can't be reached") as refused:
                connected.dead_letters()
            assert (refused.value.reason, refused.value.retry_after_s) == ("LIVE_STATE_UNAVAILABLE", 0.25)
            server = build_writer_server(live, path)
            server.start()
            try:
                found = _asked_until_answered(connected)
            finally:
                server.stop(0).wait()
    assert found == ()


def _asked_until_answered(connected: Client) -> object:
    give_up = datetime.now(UTC) + timedelta(seconds=DEADLINE_S)
    while datetime.now(UTC) < give_up:
        with contextlib.suppress(pricegrid.UnavailableError):
            return connected.dead_letters()
    raise AssertionError("the writer was never found")


def all_that_is_said(call) -> list:
    """The status of a call and its details, whose metadata is a map: its bytes have no order."""
    trailing = dict(call.trailing_metadata())
    status, info = Status.FromString(trailing.pop("grpc-status-details-bin")), ErrorInfo()
    assert status.details[0].Unpack(info)
    return [call.code(), call.details(), trailing, status.code, status.message, len(status.details), info]


def test_a_refusal_of_the_writer_reaches_the_caller_word_for_word(live):
    def refuse(_: str) -> None:
        raise RequestRefusedError(Reason.KEY_REUSED, "the key was used before: ü", key="k", until="noon")

    live.before = refuse
    request = v1.ReserveRequest(idempotency_key="k", lines=[v1.ReserveLine(sku="A", branch="HAM")])
    said = []
    with writer(live) as path, linked(path) as address, grpc_server(live_methods(live, lambda: 0)) as direct:
        for target in (address, direct):
            with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as refused:
                v1.AvailabilityServiceStub(channel).Reserve(
                    request, metadata=(("x-correlation-id", "web-7"),), timeout=DEADLINE_S
                )
            said.append(all_that_is_said(refused.value))

    assert said[0] == said[1]
    assert said[0][-1].metadata == {"correlation_id": "web-7", "key": "k", "until": "noon"}


def test_a_writer_that_takes_too_long_may_have_done_it(live):
    go_on = threading.Event()
    live.before = lambda _: go_on.wait(DEADLINE_S)
    with writer(live) as path, linked(path, timeout_s=0.2) as address, Client(address) as connected:
        with pytest.raises(pricegrid.UnavailableError, match="may have been carried out") as refused:
            connected.reserve([ReserveLine("A", 1, "HAM")], key="k", timeout_s=DEADLINE_S)
        go_on.set()
        live.before = lambda _: None
        with linked(path) as patient, Client(patient) as later:
            again = later.reserve([ReserveLine("A", 1, "HAM")], key="k", timeout_s=DEADLINE_S)

    assert refused.value.reason == "LIVE_STATE_UNAVAILABLE"
    assert len(live.held) == 1
    assert again.reservation.reservation_id == "R1"


@pytest.mark.parametrize("way", ["over gRPC", "by the writer link"])
def test_a_caller_that_goes_away_cancels_nothing(live, way):
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def hold(_: str) -> None:
        begun.set()
        go_on.wait(DEADLINE_S)
        done.set()

    live.before = hold
    with contextlib.ExitStack() as stack:
        if way == "over gRPC":
            address = stack.enter_context(grpc_server(live_methods(live, lambda: NOW_US)))
        else:
            address = stack.enter_context(linked(stack.enter_context(writer(live))))
        channel = stack.enter_context(grpc.insecure_channel(address))
        request = v1.ReserveRequest(
            idempotency_key="k", lines=[v1.ReserveLine(sku="A", branch="HAM", quantity_micros=1_000_000)]
        )
        call = v1.AvailabilityServiceStub(channel).Reserve.future(request)
        assert begun.wait(DEADLINE_S)
        call.cancel()
        go_on.set()
        assert done.wait(DEADLINE_S)
        stack.close()  # waits for the handlers

    assert live.stock["A", "HAM"] == 9_000_000


def test_a_publisher_that_goes_away_leaves_what_was_applied(live):
    applied = threading.Event()
    never = threading.Event()

    def messages() -> Iterator[v1.PublishEventsRequest]:
        yield v1.PublishEventsRequest(
            events=[
                v1.InventoryEvent(
                    source=1,
                    sequence=1,
                    effective_us=1,
                    measure=1,
                    kind=1,
                    sku="A",
                    branch="HAM",
                    quantity_micros=5,
                )
            ]
        )
        never.wait(DEADLINE_S)

    pools = ThreadPools(publish_streams=1)
    with grpc_server(live_methods(live, lambda: NOW_US), pools) as address, Client(address) as connected:
        with grpc.insecure_channel(address) as channel:
            live.before = lambda _: applied.set()
            call = v1.InventoryFeedServiceStub(channel).PublishEvents.future(messages())
            assert applied.wait(DEADLINE_S)
            with pytest.raises(pricegrid.UnavailableError) as refused:
                connected.publish_events([on_hand(1)], timeout_s=DEADLINE_S)
            call.cancel()
            never.set()
        give_up = datetime.now(UTC) + timedelta(seconds=DEADLINE_S)
        while datetime.now(UTC) < give_up:  # the one place is free again
            with contextlib.suppress(pricegrid.UnavailableError):
                result = connected.publish_events([on_hand(7, 2)], timeout_s=DEADLINE_S)
                break

    assert (refused.value.reason, refused.value.retry_after_s) == ("TOO_MANY_STREAMS", 0.25)
    assert refused.value.__cause__.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert result.applied == 1
    assert (0, "A", "HAM", 1) in live.seen


def test_a_writer_that_hangs_keeps_no_read_waiting(live):
    go_on, waiting = threading.Event(), threading.Semaphore(0)

    def hold(_: str) -> None:
        waiting.release()
        go_on.wait(DEADLINE_S)

    live.before = hold
    pools = ThreadPools(mutation_threads=3)
    with (
        grpc_server(live_methods(live, lambda: NOW_US), pools) as address,
        Client(address) as connected,
        grpc.insecure_channel(address) as channel,
    ):
        stub = v1.AdminServiceStub(channel)
        calls = [stub.ListDeadLetters.future(v1.ListDeadLettersRequest()) for _ in range(9)]
        for _ in range(3):
            assert waiting.acquire(timeout=DEADLINE_S)
        priced = connected.price_lines("C", [pricegrid.Line("A")], timeout_s=DEADLINE_S)
        go_on.set()
        answered = [call.result(DEADLINE_S) for call in calls]

    assert priced.lines[0].status.value == "OK"
    assert len(answered) == 9
