"""Hostile callers of `http2` over TLS, and certificates that change."""

import contextlib
import socket
import ssl
from collections.abc import Iterator

import grpc
import pytest

from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.transport import server as servers
from pricegrid.service.transport.server import Http2Server
from tests import http2_frames as h2
from tests.authority import Authority
from tests.hostile_worlds import errors
from tests.servers import until
from tests.transport_worlds import AGES, SERVICE, STREAMS_MAX, Place, handlers

GOOD = h2.PREFACE + h2.settings() + h2.call(1)


@pytest.fixture
def hurried(monkeypatch):
    """A server looks after its connections all the time."""
    monkeypatch.setattr(servers, "TEND_S", 0.02)


def context(tmp_path, name) -> ssl.SSLContext:
    """TLS as a certificate just issued has it."""
    Authority(name).issue(name).write(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_alpn_protocols(["h2"])
    made.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
    return made


class Secure:
    """A server with a port of TLS and one without; `next` has the certificates that it is given next."""

    def __init__(self, first: ssl.SSLContext) -> None:
        self.next: list[ssl.SSLContext] = [first]
        self.server = Http2Server(CountingPool(2), AGES, STREAMS_MAX)
        self.server.add_registered_method_handlers(SERVICE, handlers(Place()))
        self.plain = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.port = self.server.add_tls_port("127.0.0.1:0", lambda: self.next.pop() if self.next else None)

    def connect(self, protocols: list[str]) -> ssl.SSLSocket:
        """A caller who offers these protocols, and takes any certificate."""
        offers = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        offers.check_hostname, offers.verify_mode = False, ssl.CERT_NONE
        offers.set_alpn_protocols(protocols)
        return offers.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 10))


@pytest.fixture
def secure(tmp_path, hurried):
    with started(tmp_path) as made:
        yield made


@pytest.fixture
def impatient(tmp_path, hurried, monkeypatch):
    """With those alone whom a test is about: others may need longer to connect on a busy machine."""
    monkeypatch.setattr(servers, "PREFACE_S", 0.5)
    with started(tmp_path) as made:
        yield made
        monkeypatch.undo()


@contextlib.contextmanager
def started(tmp_path) -> Iterator[Secure]:
    made = Secure(context(tmp_path, "first"))
    with errors() as texts:
        made.server.start()
        yield made
        with grpc.insecure_channel(made.plain) as channel:
            assert channel.unary_unary(f"/{SERVICE}/Quick")(b"still", timeout=30) == b"still"
        assert made.server.stop(0).wait(20)
    assert not texts, texts[0]


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
def test_who_does_not_choose_http2_is_let_go(impatient, protocols):
    with contextlib.suppress(OSError), impatient.connect(protocols) as caller:
        caller.sendall(GOOD)
        while caller.recv(1_000):
            pass
    until(lambda: not impatient.server.connections, "the connection is gone")


@pytest.mark.parametrize("begun", [b"", bytes.fromhex("16030100c8010000c40303"), GOOD])
def test_whoever_does_not_finish_the_handshake_is_let_go(impatient, begun):
    with socket.create_connection(("127.0.0.1", impatient.port), 10) as caller:
        caller.sendall(begun)
        with contextlib.suppress(ConnectionError):
            while caller.recv(1_000):
                pass


def test_certificates_change_while_connections_are_open(secure, tmp_path):
    with secure.connect(["h2"]) as before:
        before.sendall(GOOD)
        secure.next.append(context(tmp_path, "second"))
        first = before.getpeercert(binary_form=True)

        def changed() -> bool:
            with secure.connect(["h2"]) as after:
                return after.getpeercert(binary_form=True) != first

        until(changed, "new connections get the new certificate")
        before.sendall(h2.call(3, "Quick", b"as before"))
        found = b""
        while b"as before" not in found:
            more = before.recv(10_000)
            assert more
            found += more


def test_certificates_that_can_not_be_used_leave_the_former(tmp_path, hurried):
    def broken() -> ssl.SSLContext:
        raise ssl.SSLError("half a file")

    with errors() as texts:
        secure = Secure(context(tmp_path, "first"))
        secure.server.start()
        listener, _ = secure.server._sockets[1]
        secure.server._sockets[1] = (listener, broken)
        until(lambda: len(texts) > 2, "it was tried again")
        with secure.connect(["h2"]) as caller:
            caller.sendall(GOOD)
            assert caller.recv(1_000)
        assert secure.server.stop(0).wait(20)
