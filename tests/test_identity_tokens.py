"""Tokens: which are refused, what a good one says, and how long it is remembered."""

import time

import pytest

from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.identity.config import Issuer
from pricegrid.service.identity.keys import KeySetError, key_set
from pricegrid.service.identity.limits import REFUSED_KEPT_US, TOKEN_KEPT_US
from pricegrid.service.identity.messages import Keys
from pricegrid.service.identity.scopes import SCOPES, Role, Scope
from pricegrid.service.identity.tokens import BadTokenError, Identity, TokenCache, TokenVerifier
from tests.hostile_tokens import TOKENS
from tests.identity_world import (
    AUDIENCE,
    ISSUER,
    KINDS,
    auth,
    claims,
    issuer,
    jwks,
    row,
    signed,
)


def verifier(*issuers: Issuer, keys: dict[str, str] | None = None, asked: list[int] | None = None):
    told = [] if asked is None else asked
    config = auth(issuers=issuers or (issuer(),))
    return TokenVerifier(config, Keys(keys or {ISSUER: jwks()}), lambda: told.append(1))


def raw(name: str) -> str:
    """A hostile token without its header; '' where there is none."""
    metadata = TOKENS[name]()
    return metadata[0][1].removeprefix("Bearer ") if len(metadata) == 1 else ""


@pytest.mark.parametrize("name", TOKENS)
def test_a_hostile_token_says_nothing(name):
    with pytest.raises(BadTokenError):
        verifier().identity(raw(name))


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_good_token_says_who_calls(algorithm):
    found = verifier().identity(signed(algorithm=algorithm))

    assert (found.subject, found.role, found.customers.is_all) == (f"{ISSUER} tests", Role.ADMIN, True)
    assert found.scopes == SCOPES[Role.ADMIN]


def test_an_audience_may_be_one_of_several():
    assert verifier().identity(signed(claims(aud=["other", AUDIENCE]))).role is Role.ADMIN


def test_clocks_may_differ_by_the_leeway():
    token = signed(claims(exp=int(time.time()) - 10))

    assert verifier().identity(token)
    with pytest.raises(BadTokenError):
        verifier(issuer(leeway_s=5)).identity(token)


def test_scopes_narrow_a_role_and_never_widen_it():
    told = claims(pricegrid_role="storefront", pricegrid_scopes="prices.read dead_letters.manage")

    assert verifier().identity(signed(told)).scopes == {Scope.PRICES_READ}


def test_an_issuer_grants_the_roles_that_it_may():
    limited = verifier(issuer(roles=frozenset({Role.STOREFRONT})))

    assert limited.identity(signed(claims(pricegrid_role="storefront"))).role is Role.STOREFRONT
    with pytest.raises(BadTokenError):
        limited.identity(signed(claims(pricegrid_role="admin")))


def test_an_issuer_signs_with_the_algorithms_that_it_may():
    limited = verifier(issuer(algorithms=("EdDSA",)))

    assert limited.identity(signed())
    with pytest.raises(BadTokenError):
        limited.identity(signed(algorithm="RS256"))


def test_a_key_vouches_for_its_own_issuer_alone():
    other = issuer(issuer="https://other.example")
    both = verifier(issuer(), other, keys={ISSUER: jwks(row("EdDSA")), other.issuer: jwks(row("EdDSA", 1))})

    assert both.identity(signed())
    assert both.identity(signed(claims(iss=other.issuer), number=1))
    with pytest.raises(BadTokenError):
        both.identity(signed(claims(iss=ISSUER), number=1))


def test_two_issuers_may_have_keys_of_the_same_id():
    other = issuer(issuer="https://other.example")
    theirs = {**row("EdDSA", 1), "kid": "EdDSA-0"}
    both = verifier(issuer(), other, keys={ISSUER: jwks(row("EdDSA")), other.issuer: jwks(theirs)})

    assert both.identity(signed())
    assert both.identity(signed(claims(iss=other.issuer), number=1, kid="EdDSA-0"))


def test_an_unknown_key_is_asked_for_and_a_bad_signature_is_not():
    asked: list[int] = []
    asking = verifier(asked=asked)
    for token in (signed(kid="new"), raw("another's key"), raw("expired")):
        with pytest.raises(BadTokenError):
            asking.identity(token)

    assert len(asked) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "not JSON"),
        ("[]", "no JWKS"),
        ('{"keys": {}}', "no JWKS"),
        ('{"keys": []}', "no key with an id"),
        (jwks({**row("EdDSA"), "d": "c2VjcmV0"}), "private or shared"),
        (jwks({"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}), "private or shared"),
        (jwks({**row("EdDSA"), "kid": None}), "no key with an id"),
        (jwks(row("EdDSA"), row("EdDSA")), "two keys"),
        (jwks({**row("RS256"), "use": "enc"}), "no key with an id"),
        (jwks(*[{**row("EdDSA"), "kid": str(number)} for number in range(65)]), "at most 64"),
    ],
)
def test_a_key_set_that_can_not_be_used_says_why_and_shows_no_key(text, why):
    with pytest.raises(KeySetError, match=why) as raised:
        key_set(text, issuer())

    assert "c2VjcmV0" not in str(raised.value)


class CountedVerifier(TokenVerifier):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(auth(), Keys({ISSUER: jwks()}), lambda: None)
        self.asked = 0

    def identity(self, token: str) -> Identity:
        self.asked += 1
        return super().identity(token)


class Remembered:
    """A cache on a clock of the test's own."""

    def __init__(self, **limits: int) -> None:
        self.now_us = int(time.time()) * 1_000_000
        self.verifier = CountedVerifier()
        self.cache = TokenCache(self.verifier, lambda: self.now_us, **limits)

    def is_refused(self, token: str) -> bool:
        try:
            self.cache.identity(token)
        except RequestRefusedError as refused:
            return refused.reason == "UNAUTHENTICATED"
        return False


def test_a_token_is_verified_once_in_five_minutes():
    world, token = Remembered(), signed()

    assert not any(world.is_refused(token) for _ in range(3))
    assert world.verifier.asked == 1
    world.now_us += TOKEN_KEPT_US
    assert not world.is_refused(token)
    assert world.verifier.asked == 2


def test_a_remembered_token_ends_when_it_expires():
    world = Remembered()
    token = signed(claims(exp=int(time.time()) + 20))
    assert not world.is_refused(token)

    world.now_us += (
        51_000_000  # its 20 s and the leeway of 30 s are over: it is verified again, by the clock of PyJWT
    )
    world.is_refused(token)

    assert world.verifier.asked == 2


def test_a_refused_token_is_refused_for_a_moment_without_a_look():
    world, token = Remembered(), raw("another's key")

    assert [world.is_refused(token) for _ in range(3)] == [True] * 3
    assert world.verifier.asked == 1
    world.now_us += REFUSED_KEPT_US
    assert world.is_refused(token)
    assert world.verifier.asked == 2


def test_other_keys_empty_the_memory_of_good_and_of_bad_tokens():
    world, old, new = Remembered(), signed(), signed(number=1)
    assert [world.is_refused(old), world.is_refused(new)] == [False, True]

    world.cache.use(Keys({ISSUER: jwks(row("EdDSA", 1))}))

    assert [world.is_refused(old), world.is_refused(new)] == [True, False]


def test_the_memory_is_bounded():
    world = Remembered(tokens_max=2, refused_max=2)
    good = [signed(claims(jti=str(number))) for number in range(3)]
    bad = [f"{number}" for number in range(3)]
    for token in (*good, *bad):
        world.is_refused(token)
    assert (len(world.cache._known), len(world.cache._refused), world.verifier.asked) == (2, 2, 6)

    world.is_refused(good[2])
    world.is_refused(bad[2])
    assert world.verifier.asked == 6
    world.is_refused(good[0])
    world.is_refused(bad[0])
    assert world.verifier.asked == 8
