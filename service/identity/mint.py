"""Keys and tokens for first steps and for tests: what an identity provider does, without one.

A key is Ed25519, in a file that its owner alone may read; its public half goes into a key set (JWKS).
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import OKPAlgorithm

from pricegrid.loaders.store.signing import SigningKeyError, key_id, key_rows, read_private_key
from pricegrid.service.identity.files import write_private
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.scopes import Role, Scope

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"


class MintError(Exception):
    """A key or a token can't be made; the text holds neither."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token is to say."""

    issuer: str
    audience: str
    subject: str
    role: Role
    customers: tuple[str, ...] = ()
    scopes: tuple[Scope, ...] = ()
    """Of the role's scopes only these; empty: all of them."""
    ttl_s: int = 3_600


def make_key(key: Path, jwks: Path) -> str:
    """Makes a key and adds its public half to a key set; returns the key's id. Raises MintError and OSError."""
    if key.exists():
        raise MintError(f"{key} exists: a key is not overwritten")
    rows = _rows(jwks)
    made = Ed25519PrivateKey.generate()
    row = public_row(made)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    write_private(key, pem)
    write_private(jwks, json.dumps({"keys": [*rows, row]}, indent=2) + "\n")
    return str(row["kid"])


def withdraw_key(jwks: Path, name: str) -> None:
    """Removes a key from a key set: tokens signed by it are refused from then on. Raises MintError and OSError."""
    rows = _rows(jwks)
    kept = [row for row in rows if row.get("kid") != name]
    if len(kept) == len(rows):
        raise MintError(f"{jwks} has no key {name!r}")
    write_private(jwks, json.dumps({"keys": kept}, indent=2) + "\n")


def _rows(jwks: Path) -> list[dict[str, Any]]:
    try:
        return key_rows(jwks)
    except FileNotFoundError:
        return []
    except SigningKeyError as error:
        raise MintError(str(error)) from None


def public_row(key: Ed25519PrivateKey) -> Mapping[str, object]:
    """The public half of a key as a key set holds it."""
    row = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    return {**row, "kid": key_id(key.public_key().public_bytes_raw()), "alg": ALGORITHM, "use": "sig"}


def read_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file; raises MintError and OSError."""
    try:
        return read_private_key(path)
    except SigningKeyError as error:
        raise MintError(str(error)) from None


def mint(key: Ed25519PrivateKey, grant: Grant, now_s: int) -> str:
    """A signed token; raises MintError."""
    try:
        CustomerGrant.of(grant.customers)
    except ValueError as error:
        raise MintError(str(error)) from None
    claims: dict[str, object] = {
        "iss": grant.issuer,
        "aud": grant.audience,
        "sub": grant.subject,
        "iat": now_s,
        "exp": now_s + grant.ttl_s,
        "jti": secrets.token_hex(8),
        "pricegrid_role": str(grant.role),
        "pricegrid_customers": list(grant.customers),
    }
    if grant.scopes:
        claims["pricegrid_scopes"] = [str(scope) for scope in grant.scopes]
    name = str(public_row(key)["kid"])
    return jwt.encode(claims, key, ALGORITHM, headers={"typ": TYPE, "kid": name})
