"""Signatures of snapshots: who holds the key of the loader, and nobody else, makes snapshots that a server accepts.

A manifest names every file with its SHA-256, so one Ed25519 signature over it covers the whole snapshot. `load
--sign-key FILE` adds it, `serve --snapshot-keys FILE` demands it. Keys are those of `pricegrid token keys`: a PEM file
for the private one, a key set (JWKS, RFC 8037) for the public ones. `cryptography` is imported when it is used: most
stores have no signatures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pricegrid.loaders.errors import SnapshotError, SnapshotUnsignedError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE: Final = "signature"
"""The member of a manifest: `{"key": ID, "ed25519": 128 hexadecimal digits}`."""
MANIFEST_CONTEXT: Final = b"pricegrid snapshot manifest\n"
"""Before what is signed: a key may sign tokens and pointers too, and no signature must pass for another."""
_KEY_BYTES: Final = 32


class SigningKeyError(SnapshotError):
    """A file does not hold the keys that it should; the text names it and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The public keys whose signature makes a snapshot acceptable."""

    by_id: Mapping[str, bytes]
    """32 bytes each."""

    def check(self, manifest: Mapping[str, Any], name: str, context: bytes = MANIFEST_CONTEXT) -> None:
        """Raises SnapshotUnsignedError, naming the snapshot, unless one of the keys has signed the manifest."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        entry = manifest.get(SIGNATURE)
        if not isinstance(entry, dict):
            raise SnapshotUnsignedError(f"{name} is not signed: load, or push, again with --sign-key")
        public = self.by_id.get(str(entry.get("key")))
        if public is None:
            raise SnapshotUnsignedError(f"{name} is signed by a key that is not trusted")
        try:
            signature = bytes.fromhex(str(entry.get("ed25519")))
            Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_bytes(manifest, context))
        except (ValueError, InvalidSignature):
            raise SnapshotUnsignedError(f"{name} has changed since it was signed") from None


def signed_bytes(manifest: Mapping[str, Any], context: bytes = MANIFEST_CONTEXT) -> bytes:
    """What is signed: all members of the manifest but the signature and the checksum, which covers the signature."""
    rest = {key: value for key, value in manifest.items() if key not in {SIGNATURE, "checksum"}}
    return context + json.dumps(rest, sort_keys=True).encode()


def signature_of(
    manifest: Mapping[str, Any], key: Ed25519PrivateKey, context: bytes = MANIFEST_CONTEXT
) -> dict[str, str]:
    """The member `SIGNATURE` of a manifest."""
    return {
        "key": key_id(key.public_key().public_bytes_raw()),
        "ed25519": key.sign(signed_bytes(manifest, context)).hex(),
    }


def key_id(public: bytes) -> str:
    """The thumbprint of an Ed25519 key (RFC 7638), shortened, in hex: base64 may begin with `-`, as a flag does."""
    row = {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(public).decode().rstrip("=")}
    named = json.dumps(row, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()[:24]


def trust_of(key: Ed25519PrivateKey) -> TrustedKeys:
    """What trusts the owner of this key alone."""
    public = key.public_key().public_bytes_raw()
    return TrustedKeys({key_id(public): public})


def key_rows(path: Path) -> list[dict[str, Any]]:
    """The keys of a key set as it holds them. Raises SigningKeyError and OSError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise SigningKeyError(f"{path} is not JSON") from None
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SigningKeyError(f"{path} is no JWKS: no list `keys`")
    return rows


def read_trusted_keys(path: Path) -> TrustedKeys:
    """The Ed25519 keys of a key set. Raises SigningKeyError and OSError."""
    found = [_public_of(row, path) for row in key_rows(path) if row.get("crv") == "Ed25519"]
    if not found:
        raise SigningKeyError(f"{path} has no Ed25519 key: `pricegrid token keys` makes one")
    return TrustedKeys({key_id(public): public for public in found})


def _public_of(row: Mapping[str, object], path: Path) -> bytes:
    if "d" in row:
        raise SigningKeyError(f"{path} holds a private key: publish public ones")
    text = str(row.get("x"))
    try:
        public = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        public = b""
    if len(public) != _KEY_BYTES:
        raise SigningKeyError(f"{path}: the key {row.get('kid')!r} has no public half")
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 key in a PEM file. Raises SigningKeyError and OSError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        raise SigningKeyError(f"{path} holds no PEM key without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"{path} holds no Ed25519 key: `pricegrid token keys` makes one")
    if path.stat().st_mode & stat.S_IROTH:
        raise SigningKeyError(f"{path} can be read by every user of this machine: chmod o= {path}")
    return key
