"""Identity through a running server: keys that come and go, a provider that is away, TLS, and the command."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pricegrid import (
    Client,
    CustomerNotAllowedError,
    Line,
    NotPermittedError,
    PricegridError,
    UnauthenticatedError,
    UnavailableError,
)
from pricegrid.service.cli.main import main
from tests.authority import Authority
from tests.identity_world import claims, jwks, row, signed
from tests.ports import free_port
from tests.servers import Server, running, until
from tests.stores import price_rows, publish


@pytest.fixture
def store(tmp_path):
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    publish(directory, price_rows())
    return directory


def write_auth(tmp_path: Path, keys: str, more: str = "") -> str:
    path = tmp_path / "auth.toml"
    path.write_text(f'[[issuer]]\nissuer = "pricegrid-token"\naudience = "pricegrid"\n{keys}\n{more}')
    return str(path)


def run(*words: str, capsys: Any) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out.strip()


def mint(tmp_path: Path, capsys: Any, *words: str, key: str = "key.pem") -> str:
    return run("token", "mint", "--key", str(tmp_path / key), *words, capsys=capsys)


def asked(address: str, token: str | None, customer: str = "C1", **tls: Any) -> str:
    """'OK' or the reason, over a connection of its own: any worker may answer."""
    try:
        with Client(address, token=token, **tls) as client:
            client.price_lines(customer, [Line("S4", 1)], timeout_s=20)
    except PricegridError as error:
        return error.reason
    return "OK"


def everyone_says(server: Server, token: str, wanted: str) -> bool:
    options = [("grpc.use_local_subchannel_pool", 1)]
    found = set()
    for _ in range(8):
        with grpc.insecure_channel(server.address, options=options) as channel:
            call = channel.unary_unary("/pricegrid.v1.AdminService/ListResets")
            try:
                call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=20)
                found.add("OK")
            except grpc.RpcError as error:
                found.add(error.code().name)
    return found == {wanted}


@pytest.mark.slow
def test_first_steps(store, tmp_path, capsys):
    """Keys, a server and tokens by commands alone; keys come and go while it runs."""
    jwks_file = str(tmp_path / "jwks.json")
    run("token", "keys", "--key", str(tmp_path / "key.pem"), "--jwks", jwks_file, capsys=capsys)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("key.pem", "jwks.json")} == {0o600}
    auth = write_auth(tmp_path, 'jwks_file = "jwks.json"')
    shop = mint(tmp_path, capsys, "--role", "storefront", "--customers", "C1")
    admin = mint(tmp_path, capsys, "--role", "admin", "--customers", "*")
    with running(store, "--workers", "2", "--auth", auth) as server:
        assert asked(server.address, shop) == "OK"
        assert asked(server.address, None) == "UNAUTHENTICATED"
        others = [(store / "live" / name).stat().st_mode & 0o007 for name in ("", "writer.sock")]
        assert others == [0, 0]
        assert [asked(server.address, shop, who) for who in ("C2", "C9")] == ["CUSTOMER_NOT_ALLOWED"] * 2
        with Client(server.address, token=shop) as client, pytest.raises(NotPermittedError):
            client.dead_letters()
        with Client(server.address) as client, pytest.raises(UnauthenticatedError):
            client.dead_letters()

        new = run("token", "keys", "--key", str(tmp_path / "new.pem"), "--jwks", jwks_file, capsys=capsys)
        other = mint(tmp_path, capsys, "--role", "admin", "--customers", "*", key="new.pem")
        until(lambda: everyone_says(server, other, "OK"), "the new key is taken")
        assert everyone_says(server, admin, "OK")
        run("token", "withdraw", "--jwks", jwks_file, new, capsys=capsys)
        until(lambda: everyone_says(server, other, "UNAUTHENTICATED"), "the key is withdrawn")
        assert everyone_says(server, admin, "OK")
        log = "".join(server.log)
    for secret in (shop, admin, other, (tmp_path / "key.pem").read_text().splitlines()[1]):
        assert secret not in log
        assert secret.rpartition(".")[2] not in log


class Provider:
    """An identity provider over HTTP; while it is away nothing listens."""

    def __init__(self) -> None:
        self.text = jwks(row("EdDSA"))
        self.server: http.server.ThreadingHTTPServer | None = None
        self.port = free_port()

    def start(self) -> None:
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(provider.text.encode())

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def leave(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self._thread.join()
            self.server = None


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    found.start()
    yield found
    found.leave()


@pytest.mark.slow
def test_a_provider_that_is_away_refuses_nobody(store, tmp_path, provider):
    """Away, and the server started anew meanwhile; and a new key is known soon after a token has named it."""
    keys = f'jwks_url = "http://127.0.0.1:{provider.port}/keys"\nrefresh_s = 1'
    auth = write_auth(tmp_path, keys)
    told = claims(iss="pricegrid-token")
    token, newer = signed(told), signed(told, number=1)
    with running(store, "--workers", "1", "--auth", auth) as server:
        until(lambda: asked(server.address, token) == "OK", "the keys are fetched")
        provider.leave()
        assert {asked(server.address, token) for _ in range(5)} == {"OK"}
    with running(store, "--workers", "1", "--auth", auth) as server:
        assert {asked(server.address, token) for _ in range(5)} == {"OK"}
        assert asked(server.address, newer) == "UNAUTHENTICATED"
        provider.text = jwks(row("EdDSA", 1))
        provider.start()
        until(lambda: asked(server.address, newer) == "OK", "the new key is known")
        assert asked(server.address, token) == "UNAUTHENTICATED"


@pytest.mark.slow
def test_tls_and_the_command(store, tmp_path, capsys, monkeypatch):
    servers, clients = Authority("servers"), Authority("clients")
    servers.issue("localhost").write(tmp_path / "server.pem", tmp_path / "server.key")
    clients.issue("spiffe://shop/web").write(tmp_path / "web.pem", tmp_path / "web.key")
    (tmp_path / "roots.pem").write_bytes(servers.pem)
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    (tmp_path / "jwks.json").write_text(jwks())
    more = (
        '[tls]\ncertificate = "server.pem"\nkey = "server.key"\nclient_ca = "clients.pem"\n'
        '[[certificate]]\nsan = "spiffe://shop/web"\nrole = "storefront"\ncustomers = ["C1"]\n'
    )
    auth = write_auth(tmp_path, 'jwks_file = "jwks.json"', more)
    with running(store, "--workers", "1", "--auth", auth, "--host", "0.0.0.0") as server:
        address = server.address.replace("0.0.0.0", "localhost")
        ask = ["quote", "--address", address, "--json", "--wait", "30", "S4:2"]
        tls = ["--tls-ca", str(tmp_path / "roots.pem")]
        tls += ["--tls-cert", str(tmp_path / "web.pem"), "--tls-key", str(tmp_path / "web.key")]

        assert json.loads(run(*ask, *tls, "--customer", "C1", capsys=capsys))[0]["status"] == "OK"
        assert main([*ask, *tls, "--customer", "C2"]) == 1
        assert "CUSTOMER_NOT_ALLOWED" in capsys.readouterr().err
        token_file = tmp_path / "token"
        token_file.write_text(signed(claims(iss="pricegrid-token")) + "\n")
        monkeypatch.setenv("PRICEGRID_TOKEN_FILE", str(token_file))
        assert json.loads(run(*ask, *tls, "--customer", "C2", capsys=capsys))[0]["status"] == "OK"
        web = ((tmp_path / "web.pem").read_bytes(), (tmp_path / "web.key").read_bytes())
        with Client(address, root_certificates=servers.pem, client_certificate=web) as client:
            with pytest.raises(CustomerNotAllowedError):
                client.price_lines("C2", [Line("S4", 1)])
            assert client.price_lines("C1", [Line("S4", 1)]).lines
        with Client(address, root_certificates=servers.pem) as client, pytest.raises(UnavailableError):
            client.price_lines("C1", [Line("S4", 1)])


@pytest.mark.slow
def test_without_identity_a_server_says_so(store):
    with running(store, "--workers", "1") as server:
        assert asked(server.address, None) == "OK"
    assert "no --auth: whoever reaches the port may ask and change everything" in "".join(server.log)


@pytest.mark.slow
def test_a_quota_holds_over_all_workers(store, tmp_path, capsys):
    """Whichever worker is asked, and after a restart. A third request could be answered after half an hour."""
    jwks_file = str(tmp_path / "jwks.json")
    run("token", "keys", "--key", str(tmp_path / "key.pem"), "--jwks", jwks_file, capsys=capsys)
    limit = '[[limit]]\nrole = "storefront"\nlines_per_second = 1\nlines_burst = 10000\n'
    auth = write_auth(tmp_path, 'jwks_file = "jwks.json"', limit)
    shop = mint(tmp_path, capsys, "--role", "storefront", "--customers", "C1")
    desk = mint(tmp_path, capsys, "--role", "desk", "--customers", "*")

    def lines(address: str, token: str, count: int) -> str:
        try:
            with Client(address, token=token) as client:
                client.price_lines("C1", [Line("S4", 1)] * count, timeout_s=20)
        except PricegridError as error:
            return error.reason
        return "OK"

    with running(store, "--workers", "2", "--auth", auth) as server:
        assert [lines(server.address, shop, 4_000) for _ in range(6)] == ["OK", "OK"] + ["QUOTA_EXCEEDED"] * 4
    with running(store, "--workers", "2", "--auth", auth) as server:
        assert lines(server.address, shop, 4_000) == "QUOTA_EXCEEDED"
        assert lines(server.address, desk, 4_000) == "OK"
    (quotas,) = (store / "live").glob("quotas-*")
    assert quotas.stat().st_mode & 0o777 == 0o600
