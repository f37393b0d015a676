"""What the cases of gRPC's interoperability suite ask for, over both transports, by gRPC's own client."""

import asyncio
import itertools
import threading
from dataclasses import replace

import grpc
import pytest

from pricegrid.service.transport import server as servers
from tests.servers import until
from tests.transport_worlds import AGES, SERVICE, TRANSPORTS, is_told, late, served

HTTP2_ALONE = pytest.mark.parametrize("place", ["http2"], indirect=True)
LIMIT = 4 * 1024 * 1024


@pytest.fixture(params=TRANSPORTS)
def place(request):
    with served(request.param) as place:
        yield place


@pytest.fixture
def channel(place):
    big = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(place.address, options=big) as channel:
        yield channel


def unary(channel, name, service=SERVICE):
    return channel.unary_unary(f"/{service}/{name}")


def refused(call, *args, **kwargs) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, timeout=30, **kwargs)
    return caught.value


def test_empty_unary(channel):
    assert unary(channel, "Empty")(b"", timeout=30) == b""


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 65_536, 271_828, LIMIT])
def test_large_unary(channel, size):
    assert unary(channel, "Echo")(b"z" * size, timeout=30) == b"z" * size


def test_a_large_answer_comes_under_flow_control(channel):
    assert len(unary(channel, "Large")(b"20000000", timeout=60)) == 20_000_000


def test_many_calls_on_one_connection_get_their_own_answers(channel):
    call = unary(channel, "Echo")
    asked = [call.future(b"%d" % number * (number % 50 + 1), timeout=60) for number in range(1_000)]

    assert [each.result() for each in asked] == [
        b"%d" % number * (number % 50 + 1) for number in range(1_000)
    ]


def test_client_streaming(channel):
    call = channel.stream_unary(f"/{SERVICE}/Collect")

    assert call(iter([b"a" * 27_182, b"b" * 8, b"c" * 1_828, b"d" * 45_904]), timeout=30) == b"74922"
    assert call(iter([]), timeout=30) == b"0"


def test_server_streaming(channel):
    call = channel.unary_stream(f"/{SERVICE}/Emit")

    assert [len(each) for each in call(b"31415,9,2653,58979", timeout=30)] == [31_415, 9, 2_653, 58_979]
    assert list(call(b"", timeout=30)) == []


def test_ping_pong_and_empty_stream(channel):
    call = channel.stream_stream(f"/{SERVICE}/Chat")
    answers: list[bytes] = []
    turn = threading.Semaphore(1)

    def asked():
        for size in (27_182, 8, 1_828, 45_904):
            assert turn.acquire(timeout=30)
            yield b"p" * size

    for answer in call(asked(), timeout=30):
        answers.append(answer)
        turn.release()

    assert [len(each) for each in answers] == [27_182, 8, 1_828, 45_904]
    assert list(call(iter([]), timeout=30)) == []


def test_cancel_after_begin(place, channel):
    never = threading.Event()
    call = channel.stream_unary(f"/{SERVICE}/Collect").future(iter(never.wait, True), timeout=30)
    call.cancel()

    assert call.cancelled() or call.code() is grpc.StatusCode.CANCELLED
    assert unary(channel, "Empty")(b"", timeout=30) == b""


def test_cancel_after_the_first_response_ends_the_handler(place, channel):
    call = channel.unary_stream(f"/{SERVICE}/EmitForEver")(b"e" * 1_000, timeout=30)
    assert next(call) == b"e" * 1_000
    call.cancel()

    assert place.ended.wait(20)


def test_a_caller_who_goes_away_ends_the_handler(place):
    with grpc.insecure_channel(place.address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Sleep").future(b"")
        assert place.begun.wait(20)
        call.cancel()

        assert place.ended.wait(20)


def test_timeout_on_a_sleeping_server(place, channel):
    late(place, lambda timeout_s: unary(channel, "Sleep").future(b"", timeout=timeout_s).exception().code())


def test_the_deadline_reaches_the_handler(channel):
    assert is_told(lambda timeout_s: unary(channel, "Left")(b"", timeout=timeout_s), 50)
    assert unary(channel, "Left")(b"") == b"none"


def test_custom_metadata_comes_and_goes_text_and_bytes(channel):
    sent = (("x-shop", "web shop"), ("x-trace-bin", b"\xab\xab\0\xff"), ("x-shop", "again"))
    error = refused(unary(channel, "Status"), b"5 ", metadata=sent)

    assert sorted(error.trailing_metadata()) == sorted(sent)


def test_status_code_and_message(channel):
    error = refused(unary(channel, "Status"), b"2 test status message")
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "test status message")


@pytest.mark.parametrize("code", range(1, 17))
def test_every_status(channel, code):
    assert refused(unary(channel, "Status"), b"%d x" % code).code().value[0] == code


def test_special_status_message(channel):
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈 and 100 %\t\n"
    assert refused(unary(channel, "Status"), b"2 " + text.encode()).details() == text


def test_unimplemented_method_and_service(channel):
    for call in (unary(channel, "No"), unary(channel, "Empty", "conformance.No")):
        assert refused(call, b"").code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests(channel, compression):
    one, many = unary(channel, "Echo"), channel.stream_unary(f"/{SERVICE}/Collect")

    assert one(b"c" * 100_000, timeout=30, compression=compression) == b"c" * 100_000
    assert many(iter([b"c" * 50_000, b"", b"d" * 7]), timeout=30, compression=compression) == b"50007"


def test_a_request_that_inflates_to_too_much_is_refused(channel):
    error = refused(unary(channel, "Echo"), b"\0" * (LIMIT + 1), compression=grpc.Compression.Gzip)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_request_that_is_too_large_is_refused(channel):
    assert refused(unary(channel, "Echo"), b"z" * (LIMIT + 1)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert unary(channel, "Empty")(b"", timeout=30) == b""


@HTTP2_ALONE
def test_a_handler_that_fails_shows_nothing_of_its_error(place, channel):
    error = refused(unary(channel, "Fail"), b"")
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "the call failed")
    assert unary(channel, "Empty")(b"", timeout=30) == b""


def test_whoever_sends_a_stream_is_slowed_down_by_its_handler(place, channel):
    sent = [0]

    def messages():
        for _ in range(400):
            sent[0] += 1
            yield b"m" * 100_000

    call = channel.stream_unary(f"/{SERVICE}/CollectSlowly").future(messages(), timeout=60)
    assert place.begun.wait(20)
    steady = -1
    while steady != sent[0]:
        steady = sent[0]
        threading.Event().wait(0.3)
    assert steady < 200, "twenty megabytes were taken in though nobody took them up"
    place.go_on.set()

    assert call.result() == b"40000000"


def test_whoever_reads_a_stream_slowly_slows_its_handler_down(place, channel):
    call = channel.unary_stream(f"/{SERVICE}/EmitForEver")(b"e" * 100_000, timeout=60)
    assert len(next(call)) == 100_000
    steady = -1
    while steady != place.taken:
        steady = place.taken
        threading.Event().wait(0.3)
    assert steady < 300
    for _ in range(400):
        next(call)
    call.cancel()

    assert place.ended.wait(20)


def test_a_server_that_stops_finishes_what_is_under_way(place, channel):
    call = channel.unary_stream(f"/{SERVICE}/Emit")(b",".join([b"1000"] * 50), timeout=60)
    first = next(call)
    stopped = place.server.stop(20)

    assert [len(each) for each in (first, *call)] == [1_000] * 50
    assert stopped.wait(20)


def test_a_server_that_stops_ends_what_takes_longer_than_its_grace(place, channel):
    call = unary(channel, "Sleep").future(b"", timeout=60)
    assert place.begun.wait(20)
    stopped = place.server.stop(0.1)

    assert call.exception().code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert place.ended.wait(20)
    assert stopped.wait(20)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_connection_that_was_used_long_enough_is_replaced_and_nobody_notices(transport, monkeypatch):
    """Unary calls go on, and a stream that is under way ends with its last message."""
    monkeypatch.setattr(servers, "TEND_S", 0.02)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with (
        served(transport, ages=replace(AGES, most_s=0.2)) as place,
        # it asks anew what it had not sent when it was told to go elsewhere, unless all retries are off
        grpc.insecure_channel(place.address, options=options) as channel,
    ):
        asked, ended = itertools.count(), threading.Event()

        def slowly():
            while not ended.is_set():
                yield b"m"
                ended.wait(0.05)

        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        chat = channel.stream_stream(f"/{SERVICE}/Chat")(slowly(), timeout=60)
        while states.count(grpc.ChannelConnectivity.READY) < 4:
            raw = b"%d" % next(asked)
            assert unary(channel, "Echo")(raw, timeout=30) == raw
        ended.set()
        assert set(chat) == {b"m"}


def test_the_asynchronous_client(place):
    async def ask() -> None:
        async with grpc.aio.insecure_channel(place.address) as channel:
            echo = channel.unary_unary(f"/{SERVICE}/Echo")
            assert await asyncio.gather(*(echo(b"%d" % n, timeout=30) for n in range(300))) == [
                b"%d" % n for n in range(300)
            ]
            emit = channel.unary_stream(f"/{SERVICE}/Emit")(b"1,2,3", timeout=30)
            assert [len(each) async for each in emit] == [1, 2, 3]
            collect = channel.stream_unary(f"/{SERVICE}/Collect")
            assert await collect(iter([b"a", b"bc"]), timeout=30) == b"3"
            chat = channel.stream_stream(f"/{SERVICE}/Chat")(iter([b"a", b"b"]), timeout=30)
            assert [each async for each in chat] == [b"a", b"b"]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{SERVICE}/Status")(b"9 no", timeout=30)
            assert (caught.value.code(), caught.value.details()) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "no",
            )

    asyncio.run(ask())


@HTTP2_ALONE
def test_nothing_is_left_of_calls_that_are_over(place, channel):
    call = unary(channel, "Echo")
    for number in range(200):
        call(b"%d" % number, timeout=30)
    until(lambda: all(not each.calls for each in place.server.connections), "no call is kept")
    assert (place.server.kept_bytes, len(place.server.ready)) == (0, 0)
