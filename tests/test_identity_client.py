"""How a client says who it is, and how `pricegrid token` makes what it says."""

import json
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pricegrid
from pricegrid import Client, Line, NotPermittedError, UnauthenticatedError
from pricegrid.credentials import TokenFile
from pricegrid.loaders.store.signing import key_id
from pricegrid.service.cli.main import main
from pricegrid.service.cli.token import ROLES
from pricegrid.service.identity.keys import key_set
from pricegrid.service.identity.scopes import Role
from pricegrid.service.methods.live import live_methods
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot
from tests.identity_world import guarded_server, issuer, new_gate, token_for
from tests.live_memory import NOW_US, MemoryLive

PEM = b"-----BEGIN CERTIFICATE-----"


@pytest.fixture(scope="module")
def address():
    snapshots = OneSnapshot(fake_snapshot())
    gate, _ = new_gate()
    offered = services(snapshots, lambda: NOW_US, live=live_methods(MemoryLive(), lambda: NOW_US))
    with guarded_server(offered, snapshots, gate) as found:
        yield found


def test_a_token_goes_with_every_kind_of_call(address):
    with Client(address, token=token_for("admin", "*")) as client:
        assert client.price_lines("C1", [Line("A", 1)]).lines
        assert client.publish_events([]).applied == 0
        assert client.dead_letters() is not None
        watch = client.watch_availability([Line("A", 1)])
        watch.close()


def test_without_a_token_the_error_says_so_and_nothing_more(address):
    with Client(address) as client, pytest.raises(UnauthenticatedError) as raised:
        client.price_lines("C1", [Line("A", 1)])

    assert (raised.value.reason, str(raised.value)) == (
        "UNAUTHENTICATED",
        "the call has no identity that is valid here",
    )
    assert raised.value.correlation_id


def test_a_token_that_may_not_do_it_is_told_so(address):
    token = token_for("storefront", "*")
    with Client(address, token=token) as client, pytest.raises(NotPermittedError) as raised:
        client.dead_letters()

    assert token not in f"{raised.value}{raised.value.metadata}{raised.value.__cause__}"


def test_a_function_is_asked_before_every_call(address):
    tokens = [token_for("admin", "*"), "bad"]
    with Client(address, token=lambda: tokens.pop(0)) as client:
        assert client.price_lines("C1", [Line("A", 1)]).lines
        with pytest.raises(UnauthenticatedError):
            client.price_lines("C1", [Line("A", 1)])


def test_a_token_file_is_read_again_when_it_changes(address, tmp_path):
    path = tmp_path / "token"
    path.write_text("bad\n")
    with Client(address, token_file=path) as client:
        with pytest.raises(UnauthenticatedError):
            client.price_lines("C1", [Line("A", 1)])
        newer = tmp_path / "newer"
        newer.write_text(f"  {token_for('admin', '*')}\n")
        newer.replace(path)
        assert client.price_lines("C1", [Line("A", 1)]).lines
        assert "bad" not in repr(TokenFile(path))


@pytest.mark.parametrize("content", ["", " \n", "two tokens"])
def test_a_file_that_holds_no_token_is_named(tmp_path, content):
    (tmp_path / "token").write_text(content)

    with pytest.raises(ValueError, match="holds no token"):
        TokenFile(tmp_path / "token")()


@pytest.mark.parametrize("there", ["10.0.0.1:1", "prices.example:443", "[2001:db8::1]:1", "dns:///x:1"])
def test_a_token_does_not_cross_a_network_in_the_clear(there):
    with pytest.raises(ValueError, match="in the clear") as raised:
        Client(there, token="s3cret")
    assert "s3cret" not in str(raised.value)

    Client(there, token="s3cret", use_tls=True).close()


@pytest.mark.parametrize("there", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/pricegrid.sock"])
def test_on_this_machine_it_may(there):
    Client(there, token="s3cret").close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"token": "a", "token_file": "b"}, "either a token or a file"),
        ({"root_certificates": PEM, "use_tls": False}, "use_tls is False"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        Client("127.0.0.1:1", **settings)


def test_a_channel_says_itself_who_calls():
    with grpc.insecure_channel("127.0.0.1:1") as channel, pytest.raises(ValueError, match="the channel's"):
        Client(channel=channel, token="a")


# ---- the command


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--tls-cert", "a"], "--tls-cert and --tls-key go together"),
        (["--tls-ca", "nowhere.pem"], "nowhere.pem can't be read"),
    ],
)
def test_options_that_can_not_be_used_are_named(options, why, capsys):
    assert main(["quote", "--address", "127.0.0.1:1", "--currency", "EUR", *options, "A"]) == 2
    assert why in capsys.readouterr().err


def test_a_token_file_of_the_environment_is_named_when_it_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("PRICEGRID_TOKEN_FILE", "/nowhere/token")

    assert main(["quote", "--address", "127.0.0.1:1", "--currency", "EUR", "A"]) != 0
    assert "/nowhere/token" in capsys.readouterr().err


def made(tmp_path: Path, capsys: Any) -> tuple[str, str, str]:
    """(key file, key set, key id)."""
    key, jwks = str(tmp_path / "key.pem"), str(tmp_path / "jwks.json")
    assert main(["token", "keys", "--key", key, "--jwks", jwks]) == 0
    return key, jwks, capsys.readouterr().out.strip()


def test_roles_of_the_command_are_those_of_the_server():
    assert set(ROLES) == set(Role)


def test_a_minted_token_says_what_was_asked_for(tmp_path, capsys):
    key, jwks, name = made(tmp_path, capsys)
    words = ["--role", "desk", "--customers", "C7", "G1/*", "--scopes", "prices.read", "--ttl", "60"]
    assert main(["token", "mint", "--key", key, *words, "--out", str(tmp_path / "t")]) == 0
    assert capsys.readouterr().out == ""

    token = (tmp_path / "t").read_text().strip()
    public = key_set(Path(jwks).read_text(), issuer())[name]
    told = jwt.decode(token, public, algorithms=["EdDSA"], audience="pricegrid")
    assert (told["pricegrid_role"], told["pricegrid_customers"]) == ("desk", ["C7", "G1/*"])
    assert (told["pricegrid_scopes"], told["exp"] - told["iat"]) == (["prices.read"], 60)
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_overwritten_nor_published(tmp_path, capsys):
    key, jwks, _ = made(tmp_path, capsys)
    before = Path(key).read_text()

    assert main(["token", "keys", "--key", key, "--jwks", jwks]) == 1
    assert "is not overwritten" in capsys.readouterr().err
    assert Path(key).read_text() == before
    (row,) = json.loads(Path(jwks).read_text())["keys"]
    assert set(row) == {"kty", "crv", "x", "kid", "alg", "use"}


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--role", "root"], 2, "invalid choice"),
        (["--role", "desk", "--customers", "/*"], 1, "neither a customer id"),
        (["--role", "desk", "--scopes", "all"], 2, "--scopes may hold"),
        (["--role", "desk", "--ttl", "0"], 2, "not a number of seconds"),
        (["--role", "desk", "--key", "nowhere.pem"], 1, "nowhere.pem"),
    ],
)
def test_what_can_not_be_minted_is_named(tmp_path, capsys, words, code, why):
    key, _, _ = made(tmp_path, capsys)

    assert main(["token", "mint", "--key", key, *words]) == code
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"]
)
def test_a_file_that_holds_no_key_is_named_and_not_shown(tmp_path, capsys, content):
    (tmp_path / "bad.pem").write_bytes(content)

    assert main(["token", "mint", "--key", str(tmp_path / "bad.pem"), "--role", "desk"]) == 1
    told = capsys.readouterr().err
    assert "bad.pem holds no PEM key" in told
    assert "c2VjcmV0" not in told


@pytest.mark.parametrize("content", ["[", "[]", '{"keys": 1}'])
def test_a_file_that_is_no_key_set_is_left_alone(tmp_path, capsys, content):
    (tmp_path / "jwks.json").write_text(content)

    assert main(["token", "keys", "--key", str(tmp_path / "k"), "--jwks", str(tmp_path / "jwks.json")]) == 1
    assert "jwks.json is no" in capsys.readouterr().err
    assert not (tmp_path / "k").exists()


def test_an_unknown_key_can_not_be_withdrawn(tmp_path, capsys):
    _, jwks, name = made(tmp_path, capsys)

    assert main(["token", "withdraw", "--jwks", jwks, "who"]) == 1
    assert "no key 'who'" in capsys.readouterr().err
    assert main(["token", "withdraw", "--jwks", jwks, name]) == 0
    assert json.loads(Path(jwks).read_text()) == {"keys": []}


@given(st.binary(min_size=32, max_size=32))
def test_the_id_of_a_key_can_be_typed_as_an_argument(public):
    assert key_id(public).isalnum()


def test_errors_of_identity_are_the_clients_own():
    assert issubclass(pricegrid.UnauthenticatedError, pricegrid.PricegridError)
    assert not issubclass(pricegrid.NotPermittedError, pricegrid.CustomerNotAllowedError)
