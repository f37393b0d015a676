"""Bearer tokens: signed statements of an issuer about who calls (JWT, RFC 9068), verified once and then remembered.

A storefront sends the same token thousands of times, so what a token says is remembered by its SHA-256: until it
expires, for five minutes at most, and until keys change. A refused token is remembered too, for a moment.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from pricegrid.service.errors import unauthenticated
from pricegrid.service.identity.config import AuthConfig, Issuer
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.keys import keys_of
from pricegrid.service.identity.limits import (
    REFUSED_KEPT_US,
    REFUSED_TOKENS_MAX,
    TOKEN_BYTES_MAX,
    TOKEN_KEPT_US,
    TOKENS_MAX,
)
from pricegrid.service.identity.messages import Keys
from pricegrid.service.identity.scopes import SCOPES, Role, Scope

ROLE_CLAIM: Final = "pricegrid_role"
CUSTOMERS_CLAIM: Final = "pricegrid_customers"
SCOPES_CLAIM: Final = "pricegrid_scopes"
"""Optional: of the role's scopes only these."""
NEVER_US: Final = 2**63 - 1
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_NAMES_A_KEY: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "zip", "enc"})
"""Header fields by which a token would say how it should be verified; an access token needs none of them."""
CHECKS: Final[Any] = {"require": ["exp", "iat", "iss", "aud", "sub"], "strict_aud": False}
"""Keycloak and Entra send lists of audiences, which `strict_aud` would refuse."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, and what they may do."""

    subject: str
    role: Role
    scopes: frozenset[Scope]
    customers: CustomerGrant
    expires_us: int = NEVER_US


class BadTokenError(Exception):
    """A token says nothing about its caller; why is not told to anyone."""


class TokenVerifier:
    """Verifies tokens with the keys that it was given last. Knows no cache, and no clock but PyJWT's."""

    def __init__(self, config: AuthConfig, keys: Keys, on_unknown_key: Callable[[], None]) -> None:
        self._issuers = config.issuers
        self._on_unknown_key = on_unknown_key
        self.use(keys)

    def use(self, keys: Keys) -> None:
        """Verify with these keys from now on."""
        self._keys = keys_of(keys, self._issuers)

    def identity(self, token: str) -> Identity:
        """What a token says; raises BadTokenError."""
        try:
            return self._identity(token)
        except BadTokenError:
            raise
        except Exception as error:  # whatever is wrong with it, its caller is not known
            raise BadTokenError from error

    def _identity(self, token: str) -> Identity:
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise BadTokenError
        header = jwt.get_unverified_header(token)
        name, algorithm, kind = header.get("kid"), header.get("alg"), header.get("typ")
        if not (isinstance(name, str) and isinstance(algorithm, str) and isinstance(kind, str)):
            raise BadTokenError
        if kind.lower() not in _TYPES or _NAMES_A_KEY & header.keys():
            raise BadTokenError
        keys = self._keys.get(name)
        if keys is None:
            self._on_unknown_key()
            raise BadTokenError
        for issuer, key in keys[:-1]:
            try:
                return _verified(token, algorithm, issuer, key)
            except (BadTokenError, jwt.PyJWTError):
                continue  # another issuer has a key of the same id
        return _verified(token, algorithm, *keys[-1])


def _verified(token: str, algorithm: str, issuer: Issuer, key: jwt.PyJWK) -> Identity:
    if algorithm != key.algorithm_name:  # `_key` took it for one that the issuer may use
        raise BadTokenError
    claims = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=issuer.audience,
        issuer=issuer.issuer,
        leeway=issuer.leeway_s,
        options=CHECKS,
    )
    return identity_of(claims, issuer)


def identity_of(claims: Mapping[str, Any], issuer: Issuer) -> Identity:
    """What verified claims say; raises BadTokenError and ValueError."""
    role = Role(claims[ROLE_CLAIM])
    subject = claims["sub"]
    if role not in issuer.roles or not isinstance(subject, str) or not subject:
        raise BadTokenError
    scopes = SCOPES[role]
    if SCOPES_CLAIM in claims:
        scopes &= frozenset(map(Scope, _texts(claims[SCOPES_CLAIM])))
    customers = CustomerGrant.of(_texts(claims.get(CUSTOMERS_CLAIM, [])))
    expires_us = (int(claims["exp"]) + issuer.leeway_s) * 1_000_000
    return Identity(f"{issuer.issuer} {subject}", role, scopes, customers, expires_us)


def _texts(value: object) -> list[str]:
    """A list of texts, which may also be one text with blanks between them."""
    if isinstance(value, str):
        return value.split()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadTokenError
    return value


class TokenCache:
    """What tokens said before; safe to use from many threads."""

    def __init__(
        self,
        verifier: TokenVerifier,
        now_us: Callable[[], int],
        *,
        tokens_max: int = TOKENS_MAX,
        refused_max: int = REFUSED_TOKENS_MAX,
    ) -> None:
        self._verifier = verifier
        self._now_us = now_us
        self._tokens_max = tokens_max
        self._refused_max = refused_max
        self._known: dict[bytes, tuple[Identity, int]] = {}
        self._refused: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def use(self, keys: Keys) -> None:
        """Verify with these keys from now on, and everything again."""
        with self._lock:
            self._verifier.use(keys)
            self._known, self._refused = {}, {}

    def identity(self, token: str) -> Identity:
        """What a token says; raises UNAUTHENTICATED."""
        digest = hashlib.sha256(token.encode()).digest()
        known, refused, now_us = self._known, self._refused, self._now_us()
        found = known.get(digest)
        if found is not None and now_us < found[1]:
            return found[0]
        if now_us < refused.get(digest, 0):
            raise unauthenticated()
        try:
            identity = self._verifier.identity(token)
        except BadTokenError:
            self._put(refused, digest, now_us + REFUSED_KEPT_US, self._refused_max)
            raise unauthenticated() from None
        until_us = min(identity.expires_us, now_us + TOKEN_KEPT_US)
        self._put(known, digest, (identity, until_us), self._tokens_max)
        return identity

    def _put(self, memory: dict[bytes, Any], digest: bytes, value: object, most: int) -> None:
        """Remembers the newest; into a memory of before the last change of keys, which nobody reads any more, too."""
        with self._lock:
            memory.pop(digest, None)
            while len(memory) >= most:
                del memory[next(iter(memory))]
            memory[digest] = value
