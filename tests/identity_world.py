"""Issuers, keys and tokens of tests, and a server that asks for an identity."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from pricegrid.service.identity.config import AuthConfig, Issuer
from pricegrid.service.identity.gate import Gate, GuardedServer, owner_checked
from pricegrid.service.identity.messages import Keys, UnknownKey
from pricegrid.service.rpc.call import Services, SnapshotSource
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.pools import CountingPool

ISSUER, AUDIENCE = "https://login.example", "pricegrid"
ALL = ["*"]


@cache
def ed_key(number: int = 0) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


KINDS = {
    "EdDSA": (ed_key, OKPAlgorithm),
    "RS256": (rsa_key, RSAAlgorithm),
    "ES256": (ec_key, ECAlgorithm),
}


def row(algorithm: str, number: int = 0) -> dict[str, Any]:
    """The public half of a key as a key set holds it; its id is the algorithm and the number."""
    make, codec = KINDS[algorithm]
    public = json.loads(codec.to_jwk(make(number).public_key()))
    return {**public, "kid": f"{algorithm}-{number}", "alg": algorithm, "use": "sig"}


def jwks(*rows: Mapping[str, Any]) -> str:
    return json.dumps({"keys": list(rows) or [row(algorithm) for algorithm in KINDS]})


def issuer(**fields: Any) -> Issuer:
    return Issuer(**{"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": Path("jwks.json"), **fields})


def claims(**changes: Any) -> dict[str, Any]:
    """Those of an administrator, valid for an hour; None leaves a claim out."""
    now_s = int(time.time())
    told = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "tests",
        "iat": now_s,
        "exp": now_s + 3_600,
        "pricegrid_role": "admin",
        "pricegrid_customers": ALL,
        **changes,
    }
    return {name: value for name, value in told.items() if value is not None}


def signed(
    told: Mapping[str, Any] | None = None, algorithm: str = "EdDSA", number: int = 0, **header: Any
) -> str:
    headers = {"typ": "at+jwt", "kid": f"{algorithm}-{number}", **header}
    headers = {name: value for name, value in headers.items() if value is not None or name == "typ"}
    return jwt.encode(dict(told or claims()), KINDS[algorithm][0](number), algorithm, headers=headers)


def token_for(role: str = "storefront", *customers: str, **changes: Any) -> str:
    return signed(claims(pricegrid_role=role, pricegrid_customers=list(customers), **changes))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def auth(**fields: Any) -> AuthConfig:
    return replace(AuthConfig(issuers=(issuer(),)), open_health=False, **fields)


def new_gate(config: AuthConfig | None = None, keys: str | None = None) -> tuple[Gate, list[UnknownKey]]:
    """A gate, and what it tells the supervisor."""
    told: list[UnknownKey] = []
    return Gate(config or auth(), Keys({ISSUER: keys or jwks()}), told.append), told


@contextlib.contextmanager
def guarded_server(
    offered: Services, snapshots: SnapshotSource, gate: Gate, add: Any = lambda server: None
) -> Iterator[str]:
    """A server of these services behind the gate; `add` adds handlers of others."""
    pool = CountingPool(4)
    server = grpc.server(pool)
    handlers = Handlers(owner_checked(offered, snapshots), NoMetrics(), pool.queue, gate=gate)
    handlers.register(server)
    add(GuardedServer(server, gate, handlers.admit))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        handlers.end_watches()
        server.stop(0).wait()
