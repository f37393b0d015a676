"""Whose word is taken for who calls: that of the gateway alone, over mutual TLS, for callers whom the file knows."""

import base64
import json
from typing import Any

import grpc
import pytest

from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.identity.config import CertificateRule, Gateway
from pricegrid.service.identity.gate import Gate
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.scopes import Role
from tests.identity_world import ISSUER, auth, bearer, claims, issuer, new_gate, token_for

PROXY, WEB, APP, DESK = "spiffe://mesh/proxy", "spiffe://shop/web", "app.shop", "desk.example"
XFCC, USERINFO = "x-forwarded-client-cert", "x-endpoint-api-userinfo"
RULES = {
    san: CertificateRule(san, role, CustomerGrant.of(["C7"]))
    for san, role in ((WEB, Role.STOREFRONT), (APP, Role.STOREFRONT), (DESK, Role.DESK))
}


class Peer:
    """Who is at the other end."""

    def __init__(self, *names: str) -> None:
        self._names = [name.encode() for name in names]

    def peer_identities(self) -> list[bytes] | None:
        return self._names or None


def gate(header: str = XFCC, **fields: Any) -> Gate:
    gateway = Gateway(frozenset({PROXY}), header, fields.pop("roles", frozenset({Role.STOREFRONT})))
    return new_gate(auth(certificates=RULES, gateway=gateway, **fields))[0]


def caller(at: Gate, peer: Peer, *metadata: tuple[str, str]) -> str:
    """The subject, or '' for nobody."""
    context: Any = peer
    try:
        return at.identity(metadata, context).subject
    except RequestRefusedError as refused:
        return "" if refused.code is grpc.StatusCode.UNAUTHENTICATED else refused.message


def packed(told: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode()


@pytest.mark.parametrize(
    ("said", "who"),
    [
        (f"URI={WEB}", WEB),
        (f'By=spiffe://mesh/us;Hash=ab12;Subject="CN=a,O=\\"b;c\\"";URI={WEB};DNS=other', WEB),
        (f'uri="{WEB}"', WEB),
        (f"DNS={APP}", APP),
        (f"URI={WEB};DNS={APP}", ""),  # one certificate, two callers
        (f"URI={DESK}", ""),  # a role that it may not pass on
        (f"By={WEB};Hash=ab", ""),
        (f'Subject="URI={WEB}"', ""),
        (f'Subject="x;URI={WEB}"', ""),
        (f'Subject="\\";URI={WEB}"', ""),
        (f"URI={WEB},URI={WEB}", ""),  # hops
        (f"URI={APP}x,URI={WEB}", ""),
        (f"URI={WEB};", WEB),
        (f"URI={WEB};;", ""),
        (f"URI={WEB} ", ""),
        (f'URI="{WEB}', ""),
        (f"URI={PROXY}", ""),
        ("URI=nobody", ""),
        ("Hash=\u00e9;URI=" + WEB, ""),
        ("", ""),
        (f"URI={WEB};Hash={'a' * 8192}", ""),
    ],
)
def test_of_a_forwarded_certificate(said, who):
    assert caller(gate(), Peer(PROXY), (XFCC, said)) == (who and f"certificate {who}")


@pytest.mark.parametrize("names", [(), (WEB,), (DESK,), ("spiffe://mesh/proxy/more",), (PROXY, DESK)])
def test_the_word_of_anybody_else_is_refused(names):
    at, said = gate(), (XFCC, f"URI={WEB}")
    assert caller(at, Peer(*names), said) == ""
    assert caller(at, Peer(*names), said, *bearer(token_for("desk", "*"))) == "", "with a good token too"


def test_a_gateway_is_nobody_itself_and_passes_tokens_on():
    at = gate()
    assert caller(at, Peer(PROXY)) == ""
    assert caller(at, Peer(PROXY), *bearer(token_for("desk", "*"))) == f"{ISSUER} tests"
    said = (XFCC, f"URI={WEB}")
    assert caller(at, Peer(PROXY), said, *bearer(token_for("desk", "*"))) == f"{ISSUER} tests"
    assert caller(at, Peer(PROXY), said, *bearer("bad")) == ""
    assert caller(at, Peer(PROXY), said, said) == "", "twice"


def test_others_call_as_before():
    assert caller(gate(), Peer(WEB)) == f"certificate {WEB}"
    assert caller(gate(), Peer(), *bearer(token_for("desk", "*"))) == f"{ISSUER} tests"
    without = new_gate(auth(certificates=RULES))[0]
    assert caller(without, Peer(PROXY), (XFCC, f"URI={WEB}")) == "", "off by default"
    assert caller(without, Peer(WEB), (XFCC, f"URI={DESK}")) == f"certificate {WEB}"


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({}, "tests"),
        ({"exp": 1}, ""),
        ({"exp": None}, ""),
        ({"aud": "other"}, ""),
        ({"iss": "https://other"}, ""),
        ({"nbf": 2**40}, ""),
        ({"iat": 2**40}, ""),
        ({"sub": ""}, ""),
        ({"pricegrid_role": "desk"}, ""),
        ({"pricegrid_role": None}, ""),
        ({"pricegrid_customers": [7]}, ""),
    ],
)
def test_of_the_claims_of_a_token(changes, who):
    said = packed(claims(**{"pricegrid_role": "storefront", **changes}))
    for text in (said, said.rstrip("=")):
        assert caller(gate(USERINFO), Peer(PROXY), (USERINFO, text)) == (who and f"{ISSUER} {who}")
    assert caller(gate(USERINFO), Peer(WEB), (USERINFO, said)) == ""
    assert caller(gate(), Peer(PROXY), (USERINFO, said)) == "", "it is the other header that counts"


def test_roles_of_an_issuer_hold_for_what_is_passed_on():
    said = packed(claims(pricegrid_role="desk"))
    roles = frozenset({Role.DESK})
    assert caller(gate(USERINFO, roles=roles), Peer(PROXY), (USERINFO, said)) == f"{ISSUER} tests"
    shop = (issuer(roles=frozenset({Role.STOREFRONT})),)
    assert caller(gate(USERINFO, roles=roles, issuers=shop), Peer(PROXY), (USERINFO, said)) == ""


@pytest.mark.parametrize(
    "said", ["", ".", "a.b", "e30", "bnVsbA", "W10", packed("x"), "%%%", packed(claims())[:-9]]
)
def test_what_are_no_claims(said):
    assert caller(gate(USERINFO), Peer(PROXY), (USERINFO, said)) == ""
