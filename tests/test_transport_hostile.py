"""What hostile callers of `http2` try, and that nobody else notices."""

import contextlib
import dataclasses
import gc
import gzip
import logging
import socket
import threading
import time

import grpc
import pytest

from pricegrid.service.transport import call as calls
from pricegrid.service.transport import server as servers
from pricegrid.service.transport import wire
from pricegrid.service.transport.call import Call
from pricegrid.service.transport.connection import Connection
from pricegrid.service.transport.dialect import Dialect
from pricegrid.service.transport.server import Ages
from tests import http2_frames as h2
from tests.hostile_worlds import errors, resident_bytes
from tests.http2_frames import Caller
from tests.servers import until
from tests.transport_worlds import SERVICE, served

MB = 1024 * 1024
BOMB = gzip.compress(b"\0" * (4 * MB))
PACKED = (b"grpc-encoding", b"gzip")


@pytest.fixture
def place():
    with errors() as texts, served("http2") as place:
        yield place
        is_quiet(place)
    assert not texts, texts[0]


@pytest.fixture
def hurried(monkeypatch):
    """A server looks after its connections all the time."""
    monkeypatch.setattr(servers, "TEND_S", 0.02)


def is_quiet(place) -> None:
    """Nothing is left of callers who went, and others are answered."""
    server = place.server
    place.go_on.set()
    if not server.is_stopping:
        with grpc.insecure_channel(place.address) as channel:
            assert channel.unary_unary(f"/{SERVICE}/Quick")(b"still", timeout=30) == b"still"
    until(lambda: not any(each.calls for each in list(server.connections)), "no call is kept")
    until(lambda: not server._posted, "nothing posted is left")
    assert (server.kept_bytes, len(server.ready)) == (0, 0)


def answer(caller, stream) -> bytes:
    """The bytes that a stream gets."""
    return b"".join(payload for kind, _, payload in caller.until_end(stream) if kind == h2.DATA)


GOOD = h2.PREFACE + h2.settings() + h2.call(1)
ATTACKS = {
    "nothing": b"",
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\1" * 200,
    "noise": bytes(range(256)) * 8,
    "noise behind the preface": h2.PREFACE + bytes(range(256)) * 8,
    "no settings": h2.PREFACE + h2.call(1),
    "a frame that is too long": GOOD + h2.frame(h2.DATA, 0, 1, b"x" * 20_000),
    "a length of 16 MB": GOOD + h2.frame(h2.DATA, 0, 1, b"x" * 100, length=(1 << 24) - 1),
    "data on stream 0": GOOD + h2.frame(h2.DATA, 0, 0, b"x"),
    "headers on stream 0": GOOD + h2.headers(0),
    "an even stream": GOOD + h2.headers(2),
    "an idle stream": GOOD + h2.frame(h2.DATA, 0, 99, b"x"),
    "a closed stream": GOOD + h2.data(1, b"x"),
    "a stream that goes back": GOOD + h2.call(7) + h2.call(3),
    "padding longer than its frame": GOOD + h2.headers(3) + h2.frame(h2.DATA, h2.PADDED, 3, b"\xffx"),
    "a window of 0": GOOD + h2.headers(3) + h2.window(0, 3) + h2.window(0),
    "a window that is too wide": GOOD + h2.headers(3) + h2.window(2**31 - 1, 3) + h2.window(2**31 - 1),
    "settings that are no settings": GOOD + h2.settings(s4=2**32 - 1) + h2.settings(s5=1) + h2.frame(4, 0, 0, b"12345"),
    "an acknowledgement with settings": GOOD + h2.frame(h2.SETTINGS, h2.ACK, 0, b"123456"),
    "pings": GOOD + h2.frame(h2.PING, 0, 0, b"12345678") * 50_000,
    "settings": GOOD + h2.settings(s4=70_000) * 50_000,
    "continuations": GOOD + h2.headers(3, flags=0) + h2.frame(h2.CONTINUATION, 0, 3, b"\0\1a\1b") * 100,
    "a continuation of nothing": GOOD + h2.frame(h2.CONTINUATION, 4, 3, b"\0\1a\1b"),
    "headers that are too many": GOOD + h2.call(3, "Echo", b"x", *((b"x-%d" % n, b"v") for n in range(1_000))),
    "a header that is too long": GOOD + h2.frame(h2.HEADERS, 4, 3, h2.asked("Echo", (b"x-a", b"v" * 16_200))),
    "an index of no header": GOOD + h2.frame(h2.HEADERS, 4, 3, b"\xff\xff\xff\x7f"),
    "a size of the table that is too large": GOOD + h2.frame(h2.HEADERS, 4, 3, b"\x3f\xff\xff\xff\x7f"),
    "a push promise": GOOD + h2.frame(h2.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + h2.asked("Echo")),
    "a goodbye": GOOD + h2.headers(3) + h2.frame(h2.GOAWAY, 0, 0, bytes(8)) + h2.call(5),
    "a stream that needs itself": GOOD + h2.frame(h2.PRIORITY, 0, 3, b"\0\0\0\3\x10"),
    "frames of unknown kinds": GOOD + b"".join(h2.frame(kind, 255, kind, b"x" * kind) for kind in range(10, 256)),
    "resets": GOOD + b"".join(h2.headers(n) + h2.frame(3, 0, n, b"\0\0\0\x08") for n in range(3, 6_001, 2)),
    "resets of streams": GOOD + b"".join(
        h2.headers(n, "Chat") + h2.data(n, h2.message(b"x")) + h2.frame(3, 0, n, b"\0\0\0\x08")
        for n in range(3, 1_001, 2)
    ),
    "more calls than there may be": GOOD + b"".join(h2.headers(n) for n in range(3, 2_001, 2)),
}  # fmt: skip


@pytest.mark.parametrize("raw", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
def test_whatever_comes_fails_nothing_but_its_connection(place, raw, reads):
    with Caller(place.address, greets=False, receive_bytes=None if reads else 4096) as caller:
        caller.send(raw, wait_s=1.0)
        if reads:
            caller.is_closed_within(0.1)
        with grpc.insecure_channel(place.address) as channel:
            assert channel.unary_unary(f"/{SERVICE}/Quick")(b"ok", timeout=30) == b"ok"


CALLS = {
    "a message that is too long": h2.data(1, h2.message(b"", length=2**32 - 1)),
    "a message that is longer than it says": h2.data(1, h2.message(b"abc", length=2), is_end=True),
    "a message that is shorter than it says": h2.data(1, h2.message(b"abc", length=9), is_end=True),
    "two messages": h2.data(1, h2.message(b"a") + h2.message(b"b"), is_end=True),
    "no message": h2.data(1, b"", is_end=True),
    "compressed without an encoding": h2.data(1, h2.message(b"abc", flag=1), is_end=True),
    "neither compressed nor not": h2.data(1, h2.message(b"abc", flag=7), is_end=True),
}


@pytest.mark.parametrize("raw", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("method", ["Echo", "Quick"])
def test_a_call_that_is_wrong_gets_a_status_and_the_next_one_its_answer(place, method, raw):
    with Caller(place.address) as caller:
        caller.send(h2.headers(1, method) + raw + h2.call(3, "Echo", b"right"))
        assert caller.until_end(1)[0][0] == h2.HEADERS
        assert answer(caller, 3) == h2.message(b"right")


HEADERS = {
    "upper case": (b"X-Shop", b"a"),
    "a length that lies": (b"content-length", b"99"),
    "not base64": (b"x-trace-bin", b"***"),
    "connection": (b"connection", b"close"),
    "a line": (b"x-a", b"b\r\nc: d"),
    "no timeout": (b"grpc-timeout", b""),
    "a timeout below zero": (b"grpc-timeout", b"-1S"),
    "a timeout without a unit": (b"grpc-timeout", b"1"),
    "a timeout of nine digits": (b"grpc-timeout", b"123456789n"),
    "an encoding nobody knows": (b"grpc-encoding", b"zstd"),
    "a second path": (b":path", b"/x"),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_wrong_ends_its_call_alone(place, header):
    with Caller(place.address) as caller:
        caller.send(h2.call(1, "Echo", b"wrong", header) + h2.call(3, "Echo", b"right"))
        assert answer(caller, 1) != h2.message(b"wrong")
    with Caller(place.address) as caller:
        caller.send(h2.call(1, "Echo", b"wrong", header) + h2.call(3, "Echo", b"right"))
        assert answer(caller, 3) == h2.message(b"right")


@pytest.mark.parametrize("value", [b"99999999H", b"0n", b"00000000S", b"1n"])
def test_the_longest_and_the_shortest_timeout(place, value):
    with Caller(place.address) as caller:
        caller.send(h2.call(1, "Echo", b"x", (b"grpc-timeout", value)))
        assert caller.until_end(1)[-1][0] == h2.HEADERS


def test_a_call_may_have_as_many_headers_as_their_size_allows(place):
    with Caller(place.address) as caller:
        caller.send(h2.call(1, "Echo", b"x", *((b"x-%d" % n, b"v") for n in range(300))))
        assert answer(caller, 1) == h2.message(b"x")


def test_a_call_that_is_cancelled_with_its_headers_ends_no_other(place):
    reset = h2.frame(h2.RST_STREAM, 0, 3, b"\0\0\0\x08")
    with Caller(place.address) as caller:
        caller.send(
            h2.headers(1) + h2.headers(3, "No") + reset + h2.data(1, h2.message(b"mine"), is_end=True)
        )
        assert answer(caller, 1) == h2.message(b"mine")


def test_half_a_preface_and_silence(monkeypatch, hurried, place):
    with monkeypatch.context() as patch, Caller(place.address, greets=False) as caller:
        patch.setattr(servers, "PREFACE_S", 0.2)
        caller.send(h2.PREFACE[:11])
        assert caller.is_closed_within(10)


def test_whoever_drips_the_preface_has_no_longer_than_others(monkeypatch, hurried, place):
    with monkeypatch.context() as patch, Caller(place.address, greets=False) as caller:
        patch.setattr(servers, "PREFACE_S", 0.2)
        for byte in (h2.PREFACE + h2.settings())[:20]:
            caller.send(bytes((byte,)))
            if caller.is_closed_within(0.1):
                return
        pytest.fail("a byte at a time kept the connection")


WIDE = h2.settings(s4=2**31 - 1) + h2.window(2**30)


def unread_bytes(place) -> int:
    return sum(each._transport.get_write_buffer_size() for each in list(place.server.connections))


def lingering(place) -> Caller:
    """A caller who takes their leave when the sockets are full and all is answered, and reads nothing of it."""
    caller = Caller(place.address, receive_bytes=4096)
    caller.send(WIDE)
    stream = 1
    while not unread_bytes(place):
        caller.send(h2.call(stream, "Large", b"20000"))
        time.sleep(0.005)
        stream += 2
        assert place.server.connections, "the connection has ended"
    caller.send(h2.frame(h2.GOAWAY, 0, 0, bytes(8)))
    return caller


def full(place) -> Caller:
    """A caller who asks for more than sockets hold, reads nothing, and breaks the protocol."""
    caller = Caller(place.address, receive_bytes=4096)
    caller.send(WIDE + b"".join(h2.call(n, "Large", b"8000000") for n in (1, 3)))
    until(lambda: any(each._is_full for each in list(place.server.connections)), "its socket is full")
    caller.send(h2.frame(h2.DATA, 0, 0, b"x"))
    return caller


@pytest.mark.parametrize("unread", [lingering, full])
def test_whoever_reads_nothing_is_let_go_and_others_are_looked_after(monkeypatch, hurried, unread):
    monkeypatch.setattr(servers, "CLOSING_S", 1.0)
    with errors() as texts, served("http2") as place, unread(place):
        place.server._ages = Ages(0.3, 0.3, 1.0, 3600.0)  # not before: a busy machine needs longer to begin
        until(lambda: not place.server.connections, "the connection is let go")
        with Caller(place.address) as silent:
            assert silent.is_closed_within(10), "nobody looks after connections any more"
        is_quiet(place)
    assert not texts, texts[0]


@pytest.mark.parametrize("unread", [lingering, full])
def test_a_connection_that_is_read_no_more_does_not_keep_a_server_from_stopping(unread):
    with errors() as texts, served("http2") as place, unread(place):
        assert place.server.stop(0.2).wait(20)
    assert not texts, texts[0]


def test_a_stream_of_bombs_is_inflated_message_by_message(place):
    with Caller(place.address) as caller:
        before = resident_bytes()
        caller.send(h2.headers(1, "CollectSlowly", PACKED))
        assert place.begun.wait(20)
        caller.send(h2.data(1, h2.message(BOMB, flag=1) * 100) + h2.call(3, "Quick", b"x"))
        assert caller.until_end(3)
        assert resident_bytes() - before < 64 * MB, "what a handler has not taken was inflated"


def test_a_bomb_is_inflated_in_a_thread(monkeypatch, place):
    seen = []
    inflated = wire.inflated

    def watched(message, encoding, bytes_max, code):
        seen.append((threading.current_thread().name, bytes_max))
        return inflated(message, encoding, bytes_max, code)

    monkeypatch.setattr(wire, "inflated", watched)
    with Caller(place.address) as caller:
        caller.send(WIDE)
        for stream, method in ((1, "Quick"), (3, "Echo")):
            bomb = h2.data(stream, h2.message(BOMB, flag=1), is_end=True)
            caller.send(h2.headers(stream, method, PACKED) + bomb)
            assert answer(caller, stream) == h2.message(b"\0" * 4 * MB)
    assert [size for name, size in seen if name == "pricegrid-http2"] == [servers.LOOP_BYTES]


@pytest.mark.parametrize("method", ["Collect", "Chat", "Echo", "Quick"])
def test_a_message_that_can_not_be_inflated_gets_a_status(place, method):
    with Caller(place.address) as caller:
        caller.send(h2.headers(1, method, PACKED) + h2.data(1, h2.message(b"no gzip", flag=1), is_end=True))
        found = caller.until_end(1)
        assert found
        assert found[-1][0] == h2.HEADERS


def test_messages_of_nothing_are_counted_too(place):
    with Caller(place.address) as caller:
        caller.send(h2.headers(1, "CollectSlowly"))
        assert place.begun.wait(20)
        caller.send(h2.data(1, b"\0\0\0\0\0" * 180_000))
        wider = sum(
            int.from_bytes(more, "big") for kind, _, of, more in caller.frames(1.0) if (kind, of) == (8, 1)
        )
        assert wider < 200_000, "so many messages wait that nobody took, and more may come"


def test_the_connection_that_keeps_most_ends_and_no_other(monkeypatch, place):
    monkeypatch.setattr(servers, "KEPT_BYTES_MAX", 8 * MB)
    begun = h2.message(b"", length=4 * MB) + b"x" * 100_000
    asked = h2.message(b"y" * 200_000)
    with Caller(place.address) as honest, Caller(place.address) as greedy:
        honest.send(WIDE + h2.headers(1) + h2.data(1, asked[:100_000]))
        for stream in range(1, 200, 2):
            greedy.send(h2.headers(stream) + h2.data(stream, begun), wait_s=0.2)
        honest.send(h2.data(1, asked[100_000:150_000]))
        assert greedy.is_closed_within(10)
        honest.send(h2.data(1, asked[150_000:], is_end=True))
        assert answer(honest, 1) == asked


def test_small_answers_that_nobody_reads_are_counted_too(monkeypatch, place):
    monkeypatch.setattr(servers, "KEPT_BYTES_MAX", 4 * MB)
    with Caller(place.address) as greedy:
        greedy.send(h2.settings(s4=0))
        for stream in range(1, 250, 2):
            greedy.send(h2.call(stream, "Large", b"60000"), wait_s=0.5)
        assert greedy.is_closed_within(10)


def test_a_request_has_to_come_whole_in_time(monkeypatch, hurried, place):
    with monkeypatch.context() as patch, Caller(place.address) as caller:
        patch.setattr(servers, "HALF_S", 0.2)
        caller.send(h2.headers(1) + h2.data(1, h2.message(b"x", length=1_000)))
        assert caller.until_end(1)[-1][0] in {h2.HEADERS, h2.RST_STREAM}


def test_an_answer_is_whole_though_its_caller_would_send_more(place):
    size = 0
    with Caller(place.address) as caller:
        caller.send(h2.headers(1, "ChatEarly"))
        for kind, flags, of, payload in caller.frames(10):
            if (kind, of) == (h2.DATA, 1):
                size += len(payload)
                caller.send(h2.window(len(payload)) + h2.window(len(payload), 1) if payload else b"")
            elif of == 1 and (kind == h2.RST_STREAM or flags & h2.END_STREAM):
                break
    assert (kind, size) == (h2.HEADERS, 10 * 100_005)


def test_a_handler_does_not_wait_for_ever_for_a_caller_who_does_not_read(monkeypatch, place):
    monkeypatch.setattr(calls, "UNREAD_S", 0.2)
    with Caller(place.address) as caller:
        caller.send(h2.call(1, "EmitForEver", b"x" * 100_000))
        assert place.ended.wait(20)


def test_what_a_connection_brings_at_once_is_small(monkeypatch, place):
    most = [0]
    handle = Connection._handle

    def watched(self, events):
        most[0] = max(most[0], len(events))
        handle(self, events)

    monkeypatch.setattr(Connection, "_handle", watched)
    with Caller(place.address) as caller:
        caller.send(h2.window(1) * 100_000 + h2.call(1))
        assert caller.until_end(1)
    assert 0 < most[0] < 4_000


def test_a_call_that_fails_on_the_loop_holds_nobody_up():
    done = threading.Event()
    with errors() as texts, served("http2") as place:
        server = place.server

        def both() -> None:
            server.post(int, "no number")
            server.post(done.set)

        server._loop.call_soon_threadsafe(both)
        assert done.wait(5)
    assert len(texts) == 1


def test_a_status_may_say_anything(place):
    assert wire.trailers(wire.Status(grpc.StatusCode.INTERNAL, "a \ud800"))[1] == (b"grpc-message", b"a ?")


def test_metadata_that_is_no_text_of_headers_gets_a_status(place, monkeypatch):
    def status(raw, context):
        context.set_trailing_metadata((("x-shop", "\u2603"),))
        context.abort(grpc.StatusCode.ABORTED, "with a snowman")

    monkeypatch.setattr(servers, "_log", logging.getLogger("apart"))
    logging.getLogger("apart").propagate = False
    method = place.server.methods.get(f"/{SERVICE}/Quick".encode(), Dialect.GRPC)
    for on_loop in (None, status):
        place.server.methods.add(
            dataclasses.replace(method, path=f"/{SERVICE}/Odd", behavior=status, on_loop=on_loop)
        )
        with Caller(place.address) as caller:
            caller.send(h2.call(1, "Odd"))
            assert [kind for kind, _, _ in caller.until_end(1)] == [h2.HEADERS]


def test_requests_of_callers_who_went_are_not_kept(place):
    with served("http2", threads=1) as busy, Caller(busy.address) as caller:
        caller.send(h2.call(1, "Sleep"))
        assert busy.begun.wait(20)
        for stream in range(3, 11, 2):
            caller.send(h2.headers(stream) + h2.data(stream, h2.message(b"x" * 500_000), is_end=True))
            caller.send(h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08"))
        caller.send(h2.call(11, "Quick"))
        assert caller.until_end(11)
        gc.collect()  # what other tests have left
        kept = [each for each in gc.get_objects() if isinstance(each, Call) and each.is_over and each.request]
        assert not kept


@pytest.mark.parametrize(
    "method", ["Echo", "Quick", "Chat", "Collect", "CollectSlowly", "EmitForEver", "Sleep"]
)
def test_a_connection_that_is_cut_anywhere(place, method):
    raw = h2.PREFACE + h2.settings() + h2.call(1, method, b"abcdef") + h2.call(3, method, b"ghi")
    for end in (*range(0, len(raw), 7), len(raw)):
        with Caller(place.address, greets=False) as caller:
            caller.send(raw[:end])
            if end % 2:
                linger = b"\1\0\0\0\0\0\0\0"
                caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def test_cancelling_and_deadlines_that_race_with_the_answer(place):
    with Caller(place.address) as caller:
        for number in range(300):
            stream = 2 * number + 1
            method = ("Echo", "Quick", "Emit", "Chat")[number % 4]
            caller.send(h2.call(stream, method, b"1", (b"grpc-timeout", b"%du" % (number * 5 + 1))))
            if number % 3 == 0:
                caller.send(h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08"))
            elif number % 20 == 19:  # a connection may have 128 calls
                assert caller.until_end(stream)


def test_stopping_while_new_calls_come():
    with errors() as texts, served("http2") as place:
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                with contextlib.suppress(OSError), Caller(place.address) as caller:
                    caller.send(b"".join(h2.call(n, "Echo") for n in range(1, 100, 2)))
                    caller.until_end(99, 0.05)

        callers = [threading.Thread(target=ask) for _ in range(4)]
        for each in callers:
            each.start()
        assert place.server.stop(1.0).wait(20)
        is_over.set()
        for each in callers:
            each.join(20)
        until(place.server._loop.is_closed, "the loop is closed")
        place.server.post(print, "nobody hears this")
    assert not texts, texts[0]
