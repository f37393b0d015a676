"""A gateway that passes on who called it, in place of a token: who it may be, and what its header says.

It is believed over mutual TLS alone, by a name in its own certificate. The same header from anybody else is refused, so
nobody is ever taken for a gateway's caller by mistake. What is passed on is a caller whom `auth.toml` knows.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import jwt

from pricegrid.service.identity.certificates import identities, owner
from pricegrid.service.identity.config import CERTIFICATE_HEADER, AuthConfig, Gateway, Issuer
from pricegrid.service.identity.limits import TOKEN_BYTES_MAX
from pricegrid.service.identity.tokens import CHECKS, Identity, identity_of

_PAIR: Final = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))(?:;|$)')
_NAMES: Final = frozenset({"uri", "dns"})
_UNSIGNED: Final = "eyJhbGciOiJub25lIn0"
"""The header of a token that has no signature: what is left of one that the gateway has verified is its claims."""
_CLAIMS_ALONE: Final[Any] = {
    **CHECKS, "verify_signature": False, "verify_exp": True, "verify_nbf": True, "verify_iat": True, "verify_aud": True,
    "verify_iss": True,
}  # fmt: skip


class Gateways:
    """Who calls through the gateways of `[gateway]`."""

    def __init__(self, gateway: Gateway, config: AuthConfig) -> None:
        self.header = gateway.header
        self._names = frozenset(san.encode() for san in gateway.sans)
        self._roles = gateway.roles
        self._certificates = identities(config.certificates)
        self._issuers: Mapping[str, Issuer] = {each.issuer: each for each in config.issuers}

    def is_one(self, names: Iterable[bytes] | None) -> bool:
        """Whether the owner of a certificate with these names is a gateway, and nobody else besides."""
        found = set(names or ())
        return not found.isdisjoint(self._names) and found.isdisjoint(self._certificates)

    def identity(self, said: str) -> Identity | None:
        """Who a gateway says that it was called by; None: nobody who is known, or in more than one way."""
        if len(said) > TOKEN_BYTES_MAX or not said.isascii():
            return None
        of_certificate = self.header == CERTIFICATE_HEADER
        found = owner(_names(said), self._certificates) if of_certificate else self._of_claims(said)
        return None if found is None or found.role not in self._roles else found

    def _of_claims(self, said: str) -> Identity | None:
        token = f"{_UNSIGNED}.{said.rstrip('=')}."
        for issuer in self._issuers.values():
            try:
                claims = jwt.decode(
                    token,
                    audience=issuer.audience,
                    issuer=issuer.issuer,
                    leeway=issuer.leeway_s,
                    options=_CLAIMS_ALONE,
                )
                return identity_of(claims, issuer)
            except Exception:  # noqa: BLE001, S112 -- another issuer's, or whatever is wrong with it: nobody is known
                continue
        return None


def _names(said: str) -> list[bytes]:
    """The URI and DNS names of the one certificate of an `x-forwarded-client-cert`.

    Several, with commas between them, are those of several hops: which of them is the caller is not for us to guess.
    """
    at, names = 0, []
    while at < len(said):
        pair = _PAIR.match(said, at)
        if pair is None:
            return []
        key, quoted, plain = pair.groups()
        if key.lower() in _NAMES:
            names.append((plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)).encode())
        at = pair.end()
    return names
