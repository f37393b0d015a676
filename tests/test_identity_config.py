"""`auth.toml` is read strictly, and what a server looks at before it starts."""

import re

import pytest

from pricegrid.service.identity.check import check_auth
from pricegrid.service.identity.config import AuthConfig, AuthConfigError, read_auth
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.scopes import Role
from pricegrid.service.process.reach import ServeError
from pricegrid.service.process.supervisor import ServeOptions, Supervisor
from pricegrid.service.quota.rules import LimitRule, Rate
from tests.authority import Authority
from tests.identity_world import jwks

ISSUER = """
[[issuer]]
issuer = "https://login.example"
audience = "pricegrid"
jwks_file = "jwks.json"
"""
TLS = """
[tls]
certificate = "server.pem"
key = "server.key"
client_ca = "clients.pem"
"""
RULE = """
[[certificate]]
san = "spiffe://shop/web"
role = "storefront"
customers = ["C7", "G1/*"]
"""
LIMIT = "\n[[limit]]\n"
GATEWAY = """
[gateway]
sans = ["spiffe://mesh/proxy"]
header = "x-forwarded-client-cert"
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> AuthConfig:
        (tmp_path / "auth.toml").write_text(text)
        return read_auth(tmp_path / "auth.toml")

    return read


def test_a_whole_file_is_read(read, tmp_path):
    found = read(
        TLS
        + ISSUER
        + 'algorithms = ["ES256"]\nleeway_s = 5\nroles = ["desk"]\n'
        + RULE
        + GATEWAY
        + "[open]\nhealth = false\n"
    )

    (issuer,) = found.issuers
    assert (issuer.jwks_file, issuer.algorithms, issuer.leeway_s) == (tmp_path / "jwks.json", ("ES256",), 5)
    assert issuer.roles == {Role.DESK}
    assert found.certificates["spiffe://shop/web"].customers == CustomerGrant.of(["C7", "G1/*"])
    assert (found.gateway.sans, found.gateway.roles) == ({"spiffe://mesh/proxy"}, {Role.STOREFRONT})
    assert (found.tls.key, found.open_health, found.open_reflection) == (
        tmp_path / "server.key",
        False,
        False,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[issuer", "is not TOML"),
        ("", r"no \[\[issuer\]\] and no \[\[certificate\]\]"),
        ("[tls]\ncertificate = 'a'\n" + ISSUER, "tls.key must be a text"),
        ("[tls]\ncertificate = 'a'\nkey = 'b'\nciphers = 'c'\n" + ISSUER, "tls.ciphers"),
        (ISSUER + "jwks_uri = 'x'\n", "issuer.0..jwks_uri"),
        (ISSUER + "jwks_url = 'https://x'\n", "jwks_file or jwks_url: give one"),
        (ISSUER.replace('jwks_file = "jwks.json"', ""), "jwks_file or jwks_url: give one"),
        (ISSUER.replace('jwks_file = "jwks.json"', 'jwks_url = "http://login.example/k"'), "must be https"),
        (
            ISSUER.replace('jwks_file = "jwks.json"', 'jwks_url = "https://u:p@login.example"'),
            "must be https",
        ),
        (ISSUER.replace('jwks_file = "jwks.json"', 'jwks_url = "file:///etc/passwd"'), "must be https"),
        (ISSUER + 'algorithms = ["HS256"]\n', "issuer.0..algorithms .*HS256"),
        (ISSUER + 'algorithms = ["none"]\n', "issuer.0..algorithms"),
        (ISSUER + "algorithms = []\n", "issuer.0..algorithms"),
        (ISSUER + "leeway_s = -1\n", "issuer.0..leeway_s"),
        (ISSUER + "leeway_s = 3600\n", "issuer.0..leeway_s"),
        (ISSUER + 'roles = ["root"]\n', "issuer.0..roles .*root"),
        (ISSUER + ISSUER, "named twice"),
        (ISSUER.replace('"pricegrid"', '""'), "issuer.0..audience must be a text"),
        (ISSUER + RULE, "tls.client_ca, which is missing"),
        (TLS + RULE.replace("storefront", "root"), "certificate.0..role .*root"),
        (TLS + RULE.replace('"G1/*"', '"/*"'), "certificate.0..customers"),
        (TLS + RULE.replace('["C7", "G1/*"]', '"C7"'), "certificate.0..customers must be a list"),
        (TLS + RULE + RULE, "san is named twice"),
        (ISSUER + "[open]\nmetrics = true\n", "open.metrics"),
        (ISSUER + "[open]\nhealth = 'yes'\n", "open.health"),
        ("issuer = 1\n", "array of tables"),
        (ISSUER + GATEWAY, "gateway: its certificate is verified by tls.client_ca"),
        (TLS + ISSUER + GATEWAY, r"there is no \[\[certificate\]\] to know callers by"),
        (TLS + RULE + GATEWAY.replace("client-cert", "for"), "gateway.header .*x-forwarded-for"),
        (TLS + RULE + "[gateway]\nsans = ['a']\n", "gateway.header"),
        (TLS + RULE + GATEWAY.replace('["spiffe://mesh/proxy"]', "[]"), "gateway.sans names no certificate"),
        (TLS + RULE + GATEWAY.replace("mesh/proxy", "shop/web"), "would be the gateway's own"),
        (TLS + RULE + GATEWAY + "roles = ['root']\n", "gateway.roles .*root"),
        (TLS + RULE + GATEWAY + "trusted = true\n", "gateway.trusted"),
        (LIMIT, "limit.0..calls_per_second or lines_per_second: give at least one"),
        (ISSUER + LIMIT + "calls_per_second = 0\n", "limit.0..calls_per_second .*1 to"),
        (ISSUER + LIMIT + "calls_per_second = 0.5\n", "limit.0..calls_per_second .*whole number"),
        (ISSUER + LIMIT + "calls_per_second = 9\ncalls_burst = 0\n", "limit.0..calls_burst"),
        (ISSUER + LIMIT + "calls_per_second = 9\nlines_burst = 10000\n", "limit.0..lines_burst"),
        (ISSUER + LIMIT + "lines_per_second = 9\nlines_burst = 9999\n", "limit.0..lines_burst .*10000 to"),
        (ISSUER + LIMIT + "role = 'root'\ncalls_per_second = 9\n", "limit.0..role .*root"),
        (
            ISSUER + LIMIT + "role = 'desk'\nsubject = 'a'\ncalls_per_second = 9\n",
            "role or subject: give one",
        ),
        (
            ISSUER + LIMIT + "subject = 'shop-7'\ncalls_per_second = 9\n",
            "the subject 'shop-7' is nobody",
        ),
        (ISSUER + 2 * (LIMIT + "role = 'desk'\ncalls_per_second = 9\n"), "named twice"),
        ("tls = 1\n" + ISSUER, "tls must be a table"),
        ("colour = 1\n" + ISSUER, "colour"),
    ],
)
def test_a_mistake_is_named_by_its_key(read, text, why):
    with pytest.raises(AuthConfigError, match=why):
        read(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AuthConfigError, match=r"nowhere\.toml can't be read"):
        read_auth(tmp_path / "nowhere.toml")


def test_limits_are_read_with_what_may_come_at_once(read):
    found = read(
        ISSUER
        + LIMIT
        + "calls_per_second = 50\nlines_per_second = 2000\n"
        + LIMIT
        + "role = 'loader'\nlines_per_second = 20000\nlines_burst = 100000\n"
        + LIMIT
        + "subject = 'https://login.example shop-7'\ncalls_per_second = 9\ncalls_burst = 1\n"
    )

    assert found.limits == (
        LimitRule("", "", Rate(50, 50), Rate(2_000, 10_000)),
        LimitRule("loader", "", None, Rate(20_000, 100_000)),
        LimitRule("", "https://login.example shop-7", Rate(9, 1), None),
    )


# ---- before a server starts


@pytest.fixture
def ready(tmp_path, read):
    """Files that are right, and what is said of them after one was spoilt."""
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    authority = Authority("server authority")
    authority.issue("localhost").write(tmp_path / "server.pem", tmp_path / "server.key")
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    (tmp_path / "jwks.json").write_text(jwks())

    def said() -> str:
        try:
            check_auth(read(TLS + ISSUER), store)
        except AuthConfigError as error:
            return str(error)
        return ""

    return said


def test_a_store_in_which_nothing_can_be_counted_is_named(tmp_path, read):
    (tmp_path / "store").write_text("no folder")
    (tmp_path / "jwks.json").write_text(jwks())

    with pytest.raises(AuthConfigError, match=r"limit: what callers use is counted in .*store/live"):
        check_auth(read(ISSUER + LIMIT + "calls_per_second = 9\n"), tmp_path / "store")


def test_files_that_are_right_are_taken(ready):
    assert ready() == ""


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("server.pem", b"", "tls.certificate"),
        ("server.pem", None, "server.pem can't be read"),
        ("server.key", b"-----BEGIN SECRET-----", "tls.key"),
        ("clients.pem", b"?", "tls.client_ca"),
        ("jwks.json", b"{", r"issuer\[0\].jwks_file"),
        ("jwks.json", None, r"issuer\[0\].jwks_file"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_by_its_key(ready, tmp_path, name, content, why):
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)

    assert re.search(why, ready())
    assert "SECRET" not in ready()


def test_the_key_of_another_certificate_is_refused(ready, tmp_path):
    Authority("other").issue("localhost").write(tmp_path / "other.pem", tmp_path / "server.key")

    assert "is not the key of" in ready()


def test_a_store_that_everybody_can_change_is_refused(ready, tmp_path, caplog):
    (tmp_path / "store").chmod(0o755)
    assert ready() == ""
    assert "can read the prices" in caplog.text
    (tmp_path / "store").chmod(0o777)

    assert "chmod o-w" in ready()


def test_an_address_that_others_reach_takes_identity_and_tls(tmp_path, read):
    plain, tls = read(ISSUER), read(TLS + ISSUER)
    for options, why in (
        (ServeOptions(tmp_path, host="0.0.0.0"), "--auth FILE"),
        (ServeOptions(tmp_path, host="0.0.0.0", auth=plain), r"add \[tls\]"),
    ):
        with pytest.raises(ServeError, match=why):
            Supervisor(options, lambda ready: None)
    for options in (
        ServeOptions(tmp_path, host="0.0.0.0", auth=tls),
        ServeOptions(tmp_path, host="0.0.0.0", auth=plain, allow_remote=True),
        ServeOptions(tmp_path, host="127.0.0.1", auth=plain),
    ):
        Supervisor(options, lambda ready: None)


@pytest.mark.parametrize(
    "grants", [[""], ["  "], ["/*"], [7], [None], ["x" * 200], [f"C{number}" for number in range(1_001)]]
)
def test_a_grant_that_names_nobody_is_refused(grants):
    with pytest.raises(ValueError):
        CustomerGrant.of(grants)
