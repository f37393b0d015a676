"""TLS and mutual TLS: who gets a connection, who its owner is, and certificates that change under load."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pricegrid import v1
from pricegrid.service.identity.certificates import (
    CertificateFiles,
    owner,
    server_contexts,
    server_credentials,
)
from pricegrid.service.identity.config import AuthConfig, CertificateRule, Gateway, TlsFiles
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.scopes import Role
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.rpc.response import Response
from pricegrid.service.transport.server import Http2Server
from tests.authority import Authority, Issued
from tests.identity_world import auth, bearer, new_gate, token_for
from tests.servers import until
from tests.transport_worlds import AGES, STREAMS_MAX, TRANSPORTS

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
SWAPS = 1_000 if LONG else 40
WEB, DESK = "spiffe://shop/web", "desk.example"
RULES = {
    WEB: CertificateRule(WEB, Role.STOREFRONT, CustomerGrant.of(["C7"])),
    DESK: CertificateRule(DESK, Role.DESK, CustomerGrant.of(["*"])),
}
PROXY = "spiffe://mesh/proxy"
GATEWAY = Gateway(frozenset({PROXY}), "x-forwarded-client-cert", frozenset({Role.STOREFRONT}))
METHOD = f"/{v1.QUOTE_SERVICE}/QuoteLines"
REFUSED = {grpc.StatusCode.UNAVAILABLE}
SERVERS, CLIENTS, FOREIGN = Authority("servers"), Authority("clients"), Authority("foreign")


class Tls:
    """A server with one method, and whom it was called by."""

    def __init__(self, folder: Path, config: AuthConfig, files: CertificateFiles, transport: str) -> None:
        self.folder, self.files = folder, files
        self.callers: list[Caller] = []
        pool = CountingPool(4)
        self.server: Any = grpc.server(pool)
        if transport == "http2":
            self.server = Http2Server(pool, AGES, STREAMS_MAX)
        gate, _ = new_gate(config)
        offered: Any = {v1.QUOTE_SERVICE: {"QuoteLines": self.called}}
        Handlers(offered, NoMetrics(), pool.queue, gate=gate).register(self.server)
        if transport == "http2":
            self.port = self.server.add_tls_port("127.0.0.1:0", server_contexts(files))
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", server_credentials(files))
        self.server.start()

    def called(self, raw: bytes, caller: Caller) -> Response:
        self.callers.append(caller)
        return Response(b"done")

    def channel(self, client: Issued | None = None, roots: bytes = SERVERS.pem) -> grpc.Channel:
        key, chain = (client.key, client.certificate) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options)

    def status(self, channel: grpc.Channel, metadata: Any = ()) -> grpc.StatusCode:
        with channel:
            try:
                channel.unary_unary(METHOD)(b"", metadata=metadata, timeout=10)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    def until_ok(self, channel: Callable[[], grpc.Channel], metadata: Any = ()) -> None:
        """A connection soon succeeds: with grpcio the next, else within the second in which the files are looked at."""
        until(lambda: self.status(channel(), metadata) is grpc.StatusCode.OK, "the new files hold")

    def renew(self, issued: Issued) -> None:
        issued.write(self.folder / "server.pem", self.folder / "server.key")


@contextlib.contextmanager
def serving(folder: Path, transport: str, *, mutual: bool, clock_s: Any = None) -> Iterator[Tls]:
    names = folder / "server.pem", folder / "server.key"
    SERVERS.issue("localhost").write(*names)
    (folder / "clients.pem").write_bytes(CLIENTS.pem)
    files = TlsFiles(*names, folder / "clients.pem" if mutual else None)
    ticks = iter(range(10_000_000))
    tls = Tls(
        folder,
        auth(tls=files, certificates=RULES if mutual else {}, gateway=GATEWAY if mutual else None),
        CertificateFiles(
            files, clock_s=clock_s or (lambda: float(next(ticks)))
        ),  # each look is a second later
        transport,
    )
    try:
        yield tls
    finally:
        tls.server.stop(0).wait()


@pytest.fixture(params=TRANSPORTS)
def transport(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=TRANSPORTS)
def mutual(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    with serving(tmp_path_factory.mktemp("tls"), request.param, mutual=True) as tls:
        yield tls


@pytest.fixture(autouse=True)
def forgotten(request):
    if "mutual" in request.fixturenames:
        request.getfixturevalue("mutual").callers.clear()


@pytest.mark.parametrize(
    ("client", "why"),
    [
        (None, "none"),
        (FOREIGN.issue(WEB), "another authority's"),
        (CLIENTS.issue(WEB, days=-1), "expired"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_certificate_that_does_not_hold_gets_no_connection(mutual, client, why):
    assert mutual.status(mutual.channel(client), bearer(token_for("admin", "*"))) in REFUSED
    assert mutual.callers == []


def test_plaintext_gets_no_connection(mutual):
    channel = grpc.insecure_channel(
        f"127.0.0.1:{mutual.port}", options=[("grpc.use_local_subchannel_pool", 1)]
    )

    assert mutual.status(channel, bearer(token_for("admin", "*"))) in REFUSED
    assert mutual.callers == []


def test_the_owner_of_a_certificate_is_who_its_rule_says(mutual):
    assert mutual.status(mutual.channel(CLIENTS.issue(WEB))) is grpc.StatusCode.OK
    assert mutual.status(mutual.channel(CLIENTS.issue(DESK))) is grpc.StatusCode.OK

    web, desk = mutual.callers
    assert (web.service_desk, web.customers is not None) == (False, True)
    assert (desk.service_desk, desk.customers is not None) == (True, False)


@pytest.mark.parametrize("names", [("nobody.example",), (WEB, DESK), ("spiffe://shop/web/more",)])
def test_a_certificate_without_a_rule_of_its_own_is_nobodys(mutual, names):
    assert mutual.status(mutual.channel(CLIENTS.issue(*names))) is grpc.StatusCode.UNAUTHENTICATED
    assert mutual.callers == []


def test_the_common_name_is_not_a_name(mutual):
    assert owner([b"tests"], {}) is None
    assert owner(None, {}) is None


def test_with_a_token_the_token_decides(mutual):
    web = CLIENTS.issue(WEB)
    assert mutual.status(mutual.channel(web), bearer(token_for("desk", "*"))) is grpc.StatusCode.OK
    assert mutual.callers[0].service_desk

    assert mutual.status(mutual.channel(web), bearer("bad")) is grpc.StatusCode.UNAUTHENTICATED


def test_a_gateway_says_who_called_it(mutual):
    proxy, said = CLIENTS.issue(PROXY), (("x-forwarded-client-cert", f"Hash=ab;URI={WEB}"),)
    assert mutual.status(mutual.channel(proxy), said) is grpc.StatusCode.OK
    assert mutual.callers[0].subject == f"certificate {WEB}"

    for client, metadata in ((proxy, ()), (CLIENTS.issue(WEB), said), (CLIENTS.issue(DESK), said)):
        assert mutual.status(mutual.channel(client), metadata) is grpc.StatusCode.UNAUTHENTICATED
    assert len(mutual.callers) == 1


def test_a_client_does_not_take_another_server_for_this_one(mutual):
    channel = mutual.channel(CLIENTS.issue(WEB), roots=FOREIGN.pem)

    assert mutual.status(channel) in REFUSED


# ---- files that change


def test_new_handshakes_get_the_new_certificate_and_open_connections_go_on(tmp_path, transport):
    with serving(tmp_path, transport, mutual=False) as tls, tls.channel() as open_channel:
        ask = open_channel.unary_unary(METHOD)
        metadata = bearer(token_for("admin", "*"))
        assert ask(b"", metadata=metadata, timeout=10) == b"done"

        tls.renew(FOREIGN.issue("localhost"))

        tls.until_ok(lambda: tls.channel(roots=FOREIGN.pem), metadata)
        assert tls.status(tls.channel(), metadata) in REFUSED
        assert ask(b"", metadata=metadata, timeout=10) == b"done"


def test_another_client_authority_holds_from_the_next_handshake_on(tmp_path, transport):
    with serving(tmp_path, transport, mutual=True) as tls:
        assert tls.status(tls.channel(CLIENTS.issue(WEB))) is grpc.StatusCode.OK

        (tmp_path / "clients.pem").write_bytes(FOREIGN.pem)

        tls.until_ok(lambda: tls.channel(FOREIGN.issue(WEB)))
        assert tls.status(tls.channel(CLIENTS.issue(WEB))) in REFUSED


def test_a_pair_that_does_not_fit_is_passed_over(tmp_path, caplog, transport):
    with serving(tmp_path, transport, mutual=False) as tls:
        metadata = bearer(token_for("admin", "*"))
        (tmp_path / "server.pem").write_bytes(FOREIGN.issue("localhost").certificate)

        for _ in range(3):
            assert tls.status(tls.channel(), metadata) is grpc.StatusCode.OK

        until(lambda: "the last good ones stay" in caplog.text, "it was looked at")
        assert tls.status(tls.channel(), metadata) is grpc.StatusCode.OK
        assert caplog.text.count("the last good ones stay") == 1
        assert "PRIVATE KEY" not in caplog.text
        (tmp_path / "server.key").unlink()
        assert tls.status(tls.channel(), metadata) is grpc.StatusCode.OK
        tls.renew(SERVERS.issue("localhost"))
        assert tls.status(tls.channel(), metadata) is grpc.StatusCode.OK
        until(lambda: tls.files.pems[1] == (tmp_path / "server.pem").read_bytes(), "they are read again")


def test_files_are_looked_at_twice_a_second_at_most(tmp_path):
    now_s = [0.0]
    names = tmp_path / "server.pem", tmp_path / "server.key"
    SERVERS.issue("localhost").write(*names)
    files = CertificateFiles(TlsFiles(*names), clock_s=lambda: now_s[0])
    SERVERS.issue("localhost").write(*names)

    assert not files.changed()
    now_s[0] = 0.5
    assert files.changed()
    now_s[0] = 1.0
    assert not files.changed()


def test_certificates_are_swapped_under_load_without_a_failed_call(tmp_path, transport):
    """Callers come with new connections and go on with old ones, while the pair is replaced again and again."""
    metadata = bearer(token_for("admin", "*"))
    with serving(tmp_path, transport, mutual=False) as tls, tls.channel() as old:
        failed: list[object] = []
        calls = [0]
        done = threading.Event()

        def call_on(channel: grpc.Channel) -> None:
            try:
                channel.unary_unary(METHOD)(b"", metadata=metadata, timeout=30)
                calls[0] += 1
            except grpc.RpcError as error:
                failed.append((error.code(), error.details()))

        def keep_calling() -> None:
            while not done.is_set():
                call_on(old)
                with tls.channel() as fresh:
                    call_on(fresh)

        callers = [threading.Thread(target=keep_calling) for _ in range(2)]
        for caller in callers:
            caller.start()
        pairs = [SERVERS.issue("localhost") for _ in range(20)]
        for number in range(SWAPS):
            before = calls[0]
            tls.renew(pairs[number % len(pairs)])
            while calls[0] < before + 2 and not failed:
                done.wait(0.001)
        done.set()
        for caller in callers:
            caller.join()

    assert failed == []
    assert calls[0] >= 2 * SWAPS
