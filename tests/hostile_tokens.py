"""What somebody sends who has no token, or wants to have another one: each must be refused by every method."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.identity_world import AUDIENCE, bearer, claims, ec_key, ed_key, row, rsa_key, signed

Metadata = tuple[tuple[str, str], ...]


def _b64(raw: bytes | str) -> str:
    return base64.urlsafe_b64encode(raw.encode() if isinstance(raw, str) else raw).rstrip(b"=").decode()


def _unsigned(algorithm: str) -> str:
    header = {"typ": "at+jwt", "alg": algorithm, "kid": "EdDSA-0"}
    return f"{_b64(json.dumps(header))}.{_b64(json.dumps(claims()))}."


def _keyed_by_the_public_key() -> str:
    """HS256 with the RSA key as everybody can read it: the oldest mix-up of all."""
    pem = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"typ": "at+jwt", "alg": "HS256", "kid": "RS256-0"}
    text = f"{_b64(json.dumps(header))}.{_b64(json.dumps(claims()))}"
    return f"{text}.{_b64(hmac.digest(pem, text.encode(), hashlib.sha256))}"


def _tampered() -> str:
    header, _, signature = signed(claims(pricegrid_role="storefront")).split(".")
    return f"{header}.{_b64(json.dumps(claims(pricegrid_role='admin')))}.{signature}"


def _stripped() -> str:
    return signed().rpartition(".")[0] + "."


def _embedded_key() -> str:
    """Signed by a key that the token brings along."""
    return signed(number=9, kid="EdDSA-0", jwk=row("EdDSA", 9))


def _nested() -> str:
    inner = signed()
    return jwt.api_jws.encode(
        inner.encode(), ed_key(), "EdDSA", headers={"typ": "at+jwt", "kid": "EdDSA-0", "cty": "JWT"}
    )


def _crit() -> str:
    return jwt.api_jws.encode(
        json.dumps(claims()).encode(),
        ed_key(),
        "EdDSA",
        headers={"typ": "at+jwt", "kid": "EdDSA-0", "crit": ["exp"], "exp": 1},
    )


def _now_s() -> int:
    return int(time.time())


TOKENS: dict[str, Callable[[], Metadata]] = {
    "no token": lambda: (),
    "an empty header": lambda: (("authorization", ""),),
    "an empty token": lambda: bearer(""),
    "basic authentication": lambda: (("authorization", "Basic YWRtaW46YWRtaW4="),),
    "two headers, one of them good": lambda: (*bearer(signed()), *bearer("x")),
    "none": lambda: bearer(_unsigned("none")),
    "NoNe": lambda: bearer(_unsigned("NoNe")),
    "HS256 with the RSA key": lambda: bearer(_keyed_by_the_public_key()),
    "ES256 under the id of an RSA key": lambda: bearer(signed(algorithm="ES256", kid="RS256-0")),
    "another's key": lambda: bearer(signed(number=1, kid="EdDSA-0")),
    "an embedded key": lambda: bearer(_embedded_key()),
    "a key's address": lambda: bearer(signed(number=9, jku="https://evil.example/jwks.json")),
    "a certificate's address": lambda: bearer(signed(x5u="https://evil.example/cert.pem")),
    "an unknown key": lambda: bearer(signed(kid="who")),
    "no key": lambda: bearer(signed(kid=None)),
    "another audience": lambda: bearer(signed(claims(aud="somebody-else"))),
    "the beginning of the audience": lambda: bearer(signed(claims(aud=AUDIENCE[:-1]))),
    "no audience": lambda: bearer(signed(claims(aud=None))),
    "another issuer": lambda: bearer(signed(claims(iss="https://login.example.evil"))),
    "no end": lambda: bearer(signed(claims(exp=None))),
    "an end without end": lambda: bearer(signed(claims(exp=float("inf")))),
    "expired": lambda: bearer(signed(claims(exp=_now_s() - 31, iat=_now_s() - 60))),
    "not yet valid": lambda: bearer(signed(claims(nbf=_now_s() + 60))),
    "issued in the future": lambda: bearer(signed(claims(iat=_now_s() + 60))),
    "no subject": lambda: bearer(signed(claims(sub=None))),
    "something critical": lambda: bearer(_crit()),
    "tampered": lambda: bearer(_tampered()),
    "without its signature": lambda: bearer(_stripped()),
    "padded": lambda: bearer(signed() + "="),
    "with something behind it": lambda: bearer(signed() + ".x"),
    "an ID token": lambda: bearer(signed(typ="JWT")),
    "no type": lambda: bearer(signed(typ=None)),
    "9 KB": lambda: bearer(signed(claims(more="x" * 9_000))),
    "a token in a token": lambda: bearer(_nested()),
    "an unknown role": lambda: bearer(signed(claims(pricegrid_role="root"))),
    "no role": lambda: bearer(signed(claims(pricegrid_role=None))),
    "an unknown scope": lambda: bearer(signed(claims(pricegrid_scopes=["everything"]))),
    "customers that are no list": lambda: bearer(signed(claims(pricegrid_customers={"*": 1}))),
    "another's signature of the same kind": lambda: bearer(
        jwt.encode(claims(), ec_key(7), "ES256", headers={"typ": "at+jwt", "kid": "ES256-0"})
    ),
}
