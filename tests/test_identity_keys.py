"""The keys of issuers: read again and again, kept for the next start, and never lost because an issuer is away."""

import http.server
import json
import threading
from pathlib import Path

import pytest

from pricegrid.service.identity.config import AuthConfig
from pricegrid.service.identity.keys import KeyKeeper, fetch
from pricegrid.service.identity.limits import JWKS_BYTES_MAX, NUDGE_S
from pricegrid.service.identity.messages import Keys
from tests.identity_world import ISSUER, issuer, jwks, row

URL = "https://login.example/keys"
OLD, NEW = jwks(row("EdDSA")), jwks(row("EdDSA", 1))


class Provider:
    """An identity provider, which may be away."""

    def __init__(self) -> None:
        self.text: str | None = OLD
        self.asked = 0

    def __call__(self, url: str) -> str:
        assert url == URL
        self.asked += 1
        if self.text is None:
            raise OSError("the provider is away")
        return self.text


class World:
    """A keeper on a clock of the test's own."""

    def __init__(self, store: Path, **fields) -> None:
        self.now_s = 1_000.0
        self.provider = Provider()
        self.told: list[Keys] = []
        self.config = AuthConfig(issuers=(issuer(**fields),))
        self.store = store
        self.restart()

    def restart(self) -> None:
        self.keeper = KeyKeeper(
            self.config,
            self.store,
            self.told.append,
            clock_s=lambda: self.now_s,
            fetch_from=self.provider,
        )

    def after(self, seconds: float) -> str:
        """The keys after that long."""
        self.now_s += seconds
        self.keeper.turn()
        return self.keeper.keys.sets.get(ISSUER, "")


@pytest.fixture
def away(tmp_path):
    return World(tmp_path, jwks_file=None, jwks_url=URL, refresh_s=60)


def test_keys_behind_a_url_are_fetched_when_they_are_due(away):
    assert away.after(0) == OLD
    away.provider.text = NEW
    assert [away.after(59), away.provider.asked] == [OLD, 1]
    assert [away.after(1), away.provider.asked] == [NEW, 2]
    assert away.told == [Keys({ISSUER: OLD}), Keys({ISSUER: NEW})]


def test_a_provider_that_is_away_for_an_hour_takes_no_key_away(away, caplog):
    assert away.after(0) == OLD
    away.provider.text = None

    assert {away.after(60) for _ in range(60)} == {OLD}
    assert "the last good ones stay: the provider is away" in caplog.text
    assert len(caplog.records) <= 60


def test_after_a_restart_meanwhile_the_keys_are_those_of_the_store(away):
    away.after(0)
    away.provider.text = None

    away.restart()

    assert away.keeper.keys == Keys({ISSUER: OLD})
    assert away.after(60) == OLD
    kept = away.store / "identity" / "keys.json"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("kept", ["", "[", "[]", "{}", '{"x": 1}'])
def test_kept_keys_that_can_not_be_used_are_left_alone(away, kept):
    away.after(0)
    (away.store / "identity" / "keys.json").write_text(kept)
    away.provider.text = None

    away.restart()

    assert away.keeper.keys == Keys({})


def test_keys_that_were_kept_for_another_place_are_not_taken(away):
    away.after(0)
    away.provider.text = None
    away.config = AuthConfig(issuers=(issuer(jwks_file=None, jwks_url=f"{URL}/elsewhere"),))

    away.restart()

    assert away.keeper.keys == Keys({})


@pytest.mark.parametrize(
    "text", ["", "{}", '{"keys": []}', jwks({**row("EdDSA"), "d": "private"}), '{"keys": [{"kty": "oct"}]}']
)
def test_a_set_that_can_not_be_used_takes_no_key_away(away, text):
    away.after(0)
    away.provider.text = text

    assert away.after(60) == OLD
    assert len(away.told) == 1


def test_an_unknown_key_makes_it_fetch_at_once_and_not_again_for_a_while(away):
    away.after(0)
    away.provider.text = NEW
    away.keeper.nudge()
    assert [away.after(1), away.provider.asked] == [NEW, 2]

    for _ in range(int(NUDGE_S) - 1):
        away.keeper.nudge()
        away.after(1)
    assert away.provider.asked == 2
    away.keeper.nudge()
    away.after(1)
    assert away.provider.asked == 3


def test_keys_in_a_file_are_read_when_it_changes(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(OLD)
    world = World(tmp_path / "store", jwks_file=path)
    (tmp_path / "store").mkdir()
    assert world.after(0) == OLD

    other = tmp_path / "other"
    other.write_text(NEW)
    other.replace(path)

    assert [world.after(0.5), world.after(0.5)] == [OLD, NEW]
    path.unlink()
    assert world.after(2) == NEW


def test_a_store_that_can_not_be_written_costs_the_next_start_alone(tmp_path, caplog):
    (tmp_path / "store").write_text("no directory")
    world = World(tmp_path / "store", jwks_file=None, jwks_url=URL)

    assert world.after(0) == OLD
    assert "can't be kept" in caplog.text


# ---- over HTTP


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with keys, too much, or the way to somewhere else."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/keys")
            self.end_headers()
            return
        body = b" " * (JWKS_BYTES_MAX + 1) if self.path == "/large" else OLD.encode()
        self.send_response(500 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Nothing."""


@pytest.fixture
def provider():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_keys_are_fetched_from_the_very_address(provider):
    assert json.loads(fetch(f"{provider}/keys")) == json.loads(OLD)
    for path in ("/moved", "/broken", "/large"):
        with pytest.raises((OSError, ValueError)):
            fetch(f"{provider}{path}")
