"""The client for asyncio answers as the other one, over grpcio and over its own connections."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import grpc
import pytest

from pricegrid import (
    AsyncClient,
    Client,
    CustomerNotAllowedError,
    Line,
    PricegridError,
    ReserveLine,
    UnavailableError,
)
from pricegrid.http2_async import CONNECTIONS, AsyncHttp2Channel
from pricegrid.http2_calls import CallError
from tests.http2_scripts import Script, answers, breaks_the_protocol, goes, refuses, speaks_http, vanishes
from tests.served_worlds import shop
from tests.servers import running
from tests.stores import SKUS, publish
from tests.test_overload import Busy
from tests.transport_worlds import SERVICE, TRANSPORTS, served

pytestmark = pytest.mark.http2
MB = 1024 * 1024


def asked(address: str, ask, **settings):
    """What a coroutine function makes of a channel."""

    async def run():
        channel = AsyncHttp2Channel(address, receive_bytes_max=64 * MB, **settings)
        try:
            return await ask(channel)
        finally:
            await channel.close()

    return asyncio.run(run())


def unary(channel, name: str):
    return channel.unary_unary(f"/{SERVICE}/{name}")


@pytest.fixture(params=TRANSPORTS)
def place(request):
    with served(request.param) as place:
        yield place


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_536, 1_000_000, 4 * MB])
def test_messages_of_every_size(place, size):
    assert (
        asked(place.address, lambda channel: unary(channel, "Echo")(b"z" * size, timeout=30)) == b"z" * size
    )


def test_many_calls_at_once_share_a_few_connections(place):
    async def ask(channel):
        echo = unary(channel, "Echo")
        raws = [b"%d" % number * (number % 60) for number in range(300)]
        found = await asyncio.gather(*(echo(raw, timeout=60) for raw in raws))
        assert len(channel._connections) <= CONNECTIONS
        assert not any(each.calls for each in channel._connections)
        return found == raws

    assert asked(place.address, ask)


def test_statuses_deadlines_and_large_answers(place):
    async def ask(channel):
        with pytest.raises(CallError) as refused:
            await unary(channel, "Status")(b"9 no \xc3\xa4", timeout=30, metadata=(("x-one-bin", b"\0\xff"),))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.value.details() == "no ä"
        assert ("x-one-bin", b"\0\xff") in refused.value.trailing_metadata()
        for timeout_s in (0.3, 3.0, 20.0):
            with pytest.raises(CallError) as late:
                await unary(channel, "Sleep")(b"", timeout=timeout_s)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if place.begun.is_set():  # a busy machine may need longer for that
                break
        assert await asyncio.to_thread(place.ended.wait, 20)
        assert len(await unary(channel, "Large")(b"20000000", timeout=60)) == 20_000_000
        began_s = time.monotonic()
        left_s = int(await unary(channel, "Left")(b"", timeout=50))
        assert 49 - (time.monotonic() - began_s) < left_s <= 50

    asked(place.address, ask)


def test_an_answer_that_is_too_large(place):
    async def ask(channel):
        channel._most = 1000
        assert len(await unary(channel, "Large")(b"1000", timeout=30)) == 1000
        with pytest.raises(CallError) as refused:
            await unary(channel, "Large")(b"5000000", timeout=30)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(await unary(channel, "Large")(b"1000", timeout=30)) == 1000

    asked(place.address, ask)


def test_a_task_that_is_cancelled_ends_its_call_alone(place):
    async def ask(channel):
        sleeping = asyncio.ensure_future(unary(channel, "Sleep")(b""))
        assert await asyncio.to_thread(place.begun.wait, 20)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        assert await asyncio.to_thread(place.ended.wait, 20)
        assert await unary(channel, "Echo")(b"still", timeout=30) == b"still"
        assert len(channel._connections) == 1

    asked(place.address, ask)


def test_closing_ends_what_is_under_way(place):
    async def ask(channel):
        sleeping = asyncio.ensure_future(unary(channel, "Sleep")(b""))
        assert await asyncio.to_thread(place.begun.wait, 20)
        await channel.close()
        with pytest.raises(CallError) as ended:
            await sleeping
        assert ended.value.code() is grpc.StatusCode.CANCELLED
        with pytest.raises(ValueError, match="closed"):
            await unary(channel, "Echo")(b"")

    asked(place.address, ask)


@pytest.mark.parametrize("first", [goes, refuses])
def test_what_the_server_has_not_looked_at_is_asked_on_another_connection(first):
    script = Script(first, answers)
    assert asked(script.address, lambda channel: unary(channel, "Echo")(b"", timeout=30)) == b"done"
    assert script.asked == 2


@pytest.mark.parametrize("act", [vanishes, speaks_http, breaks_the_protocol])
def test_what_may_have_been_carried_out_is_not_asked_again(act):
    async def ask(channel):
        with pytest.raises(CallError) as failed:
            await unary(channel, "Echo")(b"", timeout=30)
        return failed.value.code()

    assert asked(Script(act).address, ask) is grpc.StatusCode.UNAVAILABLE


def test_a_read_is_asked_again():
    script = Script(vanishes, vanishes, answers)
    found = asked(
        script.address, lambda channel: unary(channel, "Echo")(b"", timeout=30), retried=[f"/{SERVICE}/Echo"]
    )
    assert (found, script.asked) == (b"done", 3)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_read_is_asked_again_when_the_server_says_so(transport):
    server = grpc.server(ThreadPoolExecutor(2))
    handler = Busy(2)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    async def ask() -> None:
        async with AsyncClient(f"127.0.0.1:{port}", transport=transport) as client:
            await client.price_lines("C", [Line("A", 1)])
            handler.left = 1
            with pytest.raises(UnavailableError):
                await client.release_reservation("R1", customer_id="C")

    asyncio.run(ask())
    server.stop(0).wait()
    assert handler.calls == ["PriceLines"] * 3 + ["ReleaseReservation"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    store = tmp_path_factory.mktemp("asked-by-tasks")
    publish(store, shop(1))
    with running(store, "--workers", "2", "--transport", "http2") as server:
        yield server


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_method_answers_as_the_synchronous_client(server, transport):
    lines = [Line(sku, quantity) for sku in SKUS for quantity in (1, 12)]
    at = {"as_of": date(2026, 3, 2)}
    with Client(server.address) as client:
        there = [
            client.price_lines("C1", lines, **at).lines,
            client.explain_price("C1", lines[0], **at).line,
            [line.price for line in client.quote_lines("C1", lines, branches=["HAM"], **at).lines],
            [len(line.branches) for line in client.check_availability(lines, **at).lines],
            [line.promised for line in client.promise_order(lines, branches=["HAM"], **at).lines],
        ]

    async def ask() -> None:
        async with AsyncClient(server.address, transport=transport) as client:
            here = [
                (await client.price_lines("C1", lines, **at)).lines,
                (await client.explain_price("C1", lines[0], **at)).line,
                [
                    line.price
                    for line in (await client.quote_lines("C1", lines, branches=["HAM"], **at)).lines
                ],
                [len(line.branches) for line in (await client.check_availability(lines, **at)).lines],
                [line.promised for line in (await client.promise_order(lines, branches=["HAM"], **at)).lines],
            ]
            assert here == there
            held = (await client.reserve([ReserveLine("S4", 1, "HAM")], key=transport)).reservation
            found = await client.reservation(held.reservation_id)
            assert found.reservation_id == held.reservation_id
            later = await client.extend_reservation(held.reservation_id, ttl=timedelta(hours=1))
            assert later.expires > held.expires
            confirmed = await client.confirm_reservation(held.reservation_id, "SO-1")
            assert confirmed.order_ref == "SO-1"
            with pytest.raises(CustomerNotAllowedError) as refused:
                await client.price_lines("nobody", lines)
            assert refused.value.correlation_id
            with pytest.raises(PricegridError):
                await client.release_reservation("R0", customer_id="C1")

    asyncio.run(ask())


def test_settings_that_are_none():
    async def ask() -> None:
        with pytest.raises(ValueError, match="transport"):
            AsyncClient("127.0.0.1:1", transport="http3")
        with pytest.raises(ValueError, match="in the clear"):
            AsyncClient("example.org:1", token="t", transport="http2")
        with pytest.raises(ValueError, match="either a token"):
            AsyncClient("127.0.0.1:1", token="t", token_file="f")
        with pytest.raises(ValueError, match="HOST:PORT"):
            AsyncClient("example.org", transport="http2")

    asyncio.run(ask())
