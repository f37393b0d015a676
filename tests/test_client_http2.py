"""The channel of clients that ask much does what grpcio's channel does, over both servers."""

import contextlib
import os
import socket
import threading

import grpc
import pytest

from pricegrid import Client, Line, UnavailableError, http2_channel
from pricegrid.errors import error_from_rpc
from pricegrid.http2_calls import CallError
from pricegrid.http2_channel import Http2Channel
from tests import http2_frames as h2
from tests.http2_scripts import (
    Script,
    answers,
    breaks_the_protocol,
    goes,
    refuses,
    says_goodbye,
    says_goodbye_behind,
    speaks_http,
    trickles,
    vanishes,
)
from tests.served_worlds import shop
from tests.servers import running, until
from tests.stores import SKUS, publish
from tests.test_identity_certificates import CLIENTS, METHOD, SERVERS, Tls, mutual  # noqa: F401 -- a fixture
from tests.transport_worlds import SERVICE, TRANSPORTS, is_told, late, served

MB = 1024 * 1024

pytestmark = pytest.mark.http2


@pytest.fixture(params=TRANSPORTS)
def place(request):
    with served(request.param) as place:
        yield place


@pytest.fixture
def channel(place):
    with opened(place.address) as channel:
        yield channel


def opened(address: str, **settings) -> Http2Channel:
    return Http2Channel(
        address, streams=lambda: grpc.insecure_channel(address), receive_bytes_max=64 * MB, **settings
    )


def unary(channel, name: str):
    return channel.unary_unary(f"/{SERVICE}/{name}")


def failed(call, *args, **settings) -> CallError:
    with pytest.raises(CallError) as caught:
        call(*args, **settings)
    return caught.value


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 65_536, 1_000_000, 4 * MB])
def test_messages_of_every_size(channel, size):
    assert unary(channel, "Echo")(b"z" * size, timeout=30) == b"z" * size


def test_a_large_answer_and_one_that_is_too_large(place, channel):
    assert len(unary(channel, "Large")(b"20000000", timeout=60)) == 20_000_000
    with Http2Channel(place.address, streams=lambda: None, receive_bytes_max=1000) as small:
        assert len(unary(small, "Large")(b"1000", timeout=30)) == 1000
        assert failed(unary(small, "Large"), b"1001", timeout=30).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(unary(small, "Large")(b"1000", timeout=30)) == 1000


def test_every_status_with_its_text_and_metadata(channel):
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        text = f"{code.name} ä € 100% 漢字"
        error = failed(
            unary(channel, "Status"),
            f"{code.value[0]} {text}".encode(),
            timeout=30,
            metadata=(("x-one", "text"), ("x-two-bin", b"\0\xff\x80")),
        )
        assert (error.code(), error.details()) == (code, text)
        assert {("x-one", "text"), ("x-two-bin", b"\0\xff\x80")} <= set(error.trailing_metadata())


def test_methods_that_do_not_exist_and_handlers_that_fail(channel):
    assert failed(channel.unary_unary("/no.Service/Method"), b"").code() is grpc.StatusCode.UNIMPLEMENTED
    assert failed(unary(channel, "Fail"), b"").code() is grpc.StatusCode.UNKNOWN
    assert unary(channel, "Echo")(b"still") == b"still"


def test_the_deadline_is_told_and_kept(place, channel):
    assert unary(channel, "Left")(b"") == b"none"
    for timeout_s in (50, 5_000):
        assert is_told(lambda timeout_s: unary(channel, "Left")(b"", timeout=timeout_s), timeout_s)
    late(place, lambda timeout_s: failed(unary(channel, "Sleep"), b"", timeout=timeout_s).code())
    assert failed(unary(channel, "Echo"), b"", timeout=0).code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_threads_share_it(channel):
    echo, wrong = unary(channel, "Echo"), []

    def ask(first: int) -> None:
        for number in range(200):
            raw = b"%d" % (first + number) * (number % 40)
            if echo(raw, timeout=60) != raw:
                wrong.append(raw)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 8_000, 1_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= len(channel._free) <= 8
    assert not channel._busy


def test_a_process_that_was_forked_has_connections_of_its_own(place, channel):
    echo = unary(channel, "Echo")
    echo(b"before", timeout=30)
    child = os.fork()
    if child == 0:
        is_right = False
        try:
            is_right = all(echo(b"c%d" % n, timeout=30) == b"c%d" % n for n in range(50))
        finally:  # whatever fails: it must not go on with the tests of its parent
            os._exit(0 if is_right else 1)
    assert all(echo(b"p%d" % n, timeout=30) == b"p%d" % n for n in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_streams_go_over_grpcio(channel):
    assert channel.stream_unary(f"/{SERVICE}/Collect")(iter([b"a", b"bc"]), timeout=30) == b"3"
    assert [len(each) for each in channel.unary_stream(f"/{SERVICE}/Emit")(b"1,2,3", timeout=30)] == [1, 2, 3]
    assert list(channel.stream_stream(f"/{SERVICE}/Chat")(iter([b"a", b"b"]), timeout=30)) == [b"a", b"b"]


def test_closing_ends_what_is_under_way(place, channel):
    ends = []

    def sleep() -> None:
        ends.append(failed(unary(channel, "Sleep"), b"", timeout=60).code())

    sleeping = threading.Thread(target=sleep)
    sleeping.start()
    assert place.begun.wait(20)
    channel.close()
    sleeping.join()
    assert ends == [grpc.StatusCode.CANCELLED]
    with pytest.raises(ValueError, match="closed"):
        unary(channel, "Echo")(b"")


def test_a_server_that_is_not_there():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with opened(f"127.0.0.1:{nobody.getsockname()[1]}") as channel:
            error = failed(unary(channel, "Echo"), b"", timeout=5)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert isinstance(error_from_rpc(error), UnavailableError)


@pytest.mark.parametrize("address", ["host", "host:", "dns:///host:1", ":50051", "host:http"])
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match="HOST:PORT"):
        opened(address)


@pytest.mark.parametrize("first", [goes, refuses])
def test_what_the_server_has_not_looked_at_is_asked_on_another_connection(first):
    script = Script(first, answers)
    with opened(script.address) as channel:
        assert unary(channel, "Echo")(b"", timeout=30) == b"done"
    assert script.asked == 2


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (vanishes, grpc.StatusCode.UNAVAILABLE),
        (trickles, grpc.StatusCode.UNAVAILABLE),
        (speaks_http, grpc.StatusCode.UNAVAILABLE),
        (breaks_the_protocol, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_what_may_have_been_carried_out_is_not_asked_again(act, code):
    script = Script(act, answers)
    with opened(script.address) as channel:
        assert failed(unary(channel, "Echo"), b"", timeout=30).code() is code
        assert unary(channel, "Echo")(b"", timeout=30) == b"done"
    assert script.asked == 2


def test_a_read_is_asked_again():
    script = Script(vanishes, vanishes, answers)
    with opened(script.address, retried=[f"/{SERVICE}/Echo"]) as channel:
        assert unary(channel, "Echo")(b"", timeout=30) == b"done"
    assert script.asked == 3


def test_a_connection_that_was_closed_meanwhile_is_not_used(place, channel):
    unary(channel, "Echo")(b"", timeout=30)
    (kept,) = channel._free
    kept.sock.shutdown(socket.SHUT_RDWR)
    assert unary(channel, "Echo")(b"again", timeout=30) == b"again"
    assert kept not in channel._free


def test_a_refusal_has_its_reason(tmp_path):
    publish(tmp_path, shop(1))
    with running(tmp_path, "--workers", "1", "--transport", "http2") as server:
        with Client(server.address, transport="http2") as ours, Client(server.address) as theirs:
            lines = [Line(sku, quantity) for sku in SKUS for quantity in (1, "2.5")]
            mine = ours.quote_lines("C1", lines, branches=["HAM"])
            other = theirs.quote_lines("C1", lines, branches=["HAM"])
            assert [line.price for line in mine.lines] == [line.price for line in other.lines]
            found = []
            for client in (ours, theirs):
                with pytest.raises(Exception) as caught:
                    client.price_lines("nobody", [Line("S4", 1)])
                found.append((type(caught.value), caught.value.reason, str(caught.value)))
                assert caught.value.correlation_id
            assert found[0] == found[1]
            held = ours.watch_availability([Line("S4", 1)], branches=["HAM"], timeout_s=60)
            assert next(iter(held)).changes
        assert server.stop() == 0
        with (
            Client(server.address, transport="http2") as late,
            pytest.raises(UnavailableError),
        ):
            late.price_lines("C1", [Line("S4", 1)])


@pytest.mark.parametrize("settings", [{"transport": "http3"}, {"transport": ""}])
def test_a_transport_that_is_none(settings):
    with pytest.raises(ValueError, match="transport"):
        Client("127.0.0.1:1", **settings)


def test_a_channel_brings_its_transport(place):
    with grpc.insecure_channel(place.address) as channel, pytest.raises(ValueError, match="channel's to say"):
        Client(channel=channel, transport="http2")


def test_tls_with_and_without_a_certificate(mutual: Tls):  # noqa: F811
    address = f"localhost:{mutual.port}"
    service, _, name = METHOD[1:].partition("/")
    issued = CLIENTS.issue("spiffe://shop/storefront")

    def ask(**settings) -> grpc.StatusCode:
        with Client(address, transport="http2", root_certificates=SERVERS.pem, **settings) as client:
            try:
                client._channel.unary_unary(f"/{service}/{name}")(b"", timeout=10)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    with mutual.channel(issued) as channel:
        with_grpcio = mutual.status(channel)
    with_ours = ask(client_certificate=(issued.certificate, issued.key))
    assert with_ours is with_grpcio
    assert ask() is grpc.StatusCode.UNAVAILABLE
    with Client(address, transport="http2", use_tls=True) as stranger, pytest.raises(UnavailableError):
        stranger.price_lines("C1", [Line("S4", 1)], timeout_s=10)


def test_a_token_goes_with_every_call(place):
    with Client(place.address, transport="http2", token="abc") as client:
        error = failed(client._channel.unary_unary(f"/{SERVICE}/Status"), b"5 no", timeout=30)
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_the_flow_of_a_server_that_holds_back(place, channel):
    """Large requests, one after the other, on one connection: the server's window is opened as it takes them."""
    for _ in range(20):
        assert len(unary(channel, "Echo")(b"q" * 3_900_000, timeout=60)) == 3_900_000
    until(lambda: len(channel._free) == 1, "one connection was enough")


@pytest.mark.parametrize("act", [says_goodbye, says_goodbye_behind])
def test_an_answer_with_a_goodbye_is_one(act):
    script = Script(act, answers)
    with opened(script.address) as channel:
        assert unary(channel, "Echo")(b"", timeout=30) == b"done"
        assert unary(channel, "Echo")(b"", timeout=30) == b"done"
    assert script.asked == 2


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("when", ["recv", "sendall"])
def test_a_call_that_is_interrupted_leaves_no_connection_behind(channel, when):
    unary(channel, "Echo")(b"", timeout=30)
    (kept,) = channel._free

    class Sock:
        def __getattr__(self, name):
            if name == when:
                raise Interrupted
            return getattr(sock, name)

    sock, kept.sock = kept.sock, Sock()
    with pytest.raises(Interrupted):
        unary(channel, "Sleep")(b"", timeout=30)
    assert not channel._free
    assert unary(channel, "Echo")(b"again", timeout=30) == b"again"


def test_an_answer_that_ends_before_its_request_is_sent():
    """A proxy may say no without a word more: its window stays shut, and no RST comes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        with listener:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(h2.settings(s4=0))
                headers = h2.packed(
                    (b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"8")
                )
                sock.recv(1 << 16)
                sock.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, 1, headers))
                while sock.recv(1 << 16):
                    pass

    threading.Thread(target=refuse, daemon=True).start()
    with opened(f"127.0.0.1:{listener.getsockname()[1]}") as channel:
        error = failed(unary(channel, "Echo"), b"x" * 3_000_000, timeout=60)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_child_that_closes_what_it_was_forked_with_ends_nothing_of_its_parents(channel):
    unary(channel, "Echo")(b"", timeout=30)
    (kept,) = channel._free
    channel._free, channel._busy = [], {kept}  # as if a call were under way
    child = os.fork()
    if child == 0:
        channel.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    channel._give_back(kept)
    assert unary(channel, "Echo")(b"still", timeout=30) == b"still"
    assert channel._free == [kept]


def test_connections_that_nobody_uses_are_closed(channel, monkeypatch):
    echo = unary(channel, "Echo")
    threads = [threading.Thread(target=lambda: unary(channel, "Echo")(b"z" * 2_000_000)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(http2_channel, "FREE_S", 0.0)
    echo(b"", timeout=30)
    echo(b"", timeout=30)
    assert len(channel._free) == 1


def test_many_descriptors(channel):
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        for _ in range(5):
            assert unary(channel, "Echo")(b"x", timeout=30) == b"x"
        (kept,) = channel._free
        assert kept.sock.fileno() > 1024
    finally:
        for each in taken:
            os.close(each)


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-a", "line\nline"),),
        (("A", "b"),),
        (("a b", "c"),),
        (("x-bin", "text"),),
        (("x", b"bytes"),),
        (("x-big", "a" * 70_000),),
    ],
)
def test_metadata_that_can_not_be_sent(channel, metadata):
    with pytest.raises(ValueError, match="metadata"):
        unary(channel, "Echo")(b"", timeout=30, metadata=metadata)
    assert unary(channel, "Echo")(b"", timeout=30) == b""


@pytest.mark.parametrize("timeout_s", [99.9, 100.1, 4_294_967.4, 1e10])
def test_long_deadlines(channel, timeout_s):
    left_s = float(unary(channel, "Left")(b"", timeout=timeout_s))
    assert left_s == pytest.approx(min(timeout_s, 99_999), rel=0.01)


def test_a_unix_socket_and_its_tls():
    with pytest.raises(ValueError, match="unix socket"):
        Client("unix:/run/pricegrid.sock", transport="http2", use_tls=True)


def test_a_name_that_can_be_none():
    with opened(f"{'x' * 70}.example:1") as channel:
        assert failed(unary(channel, "Echo"), b"", timeout=5).code() is grpc.StatusCode.UNAVAILABLE


def test_a_deadline_while_connecting(monkeypatch):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", silent.getsockname())] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        with contextlib.ExitStack() as stack:
            for _ in range(3):  # so that no more fit in
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            with opened("silent:1") as channel:
                error = failed(unary(channel, "Echo"), b"", timeout=0.3)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
