"""The pointers of object storage: signed, numbered, and replaced by compare-and-swap.

Each publication has the next `sequence` of its storage, and a storage has an `origin`, drawn by chance when it is first
pushed to. A follower keeps the highest sequence that it has seen (`loaders.objects.seen`): so an older pointer that is
put back, and the pointer of another storage with the same key, are refused, while going back to an older snapshot is a
publication like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pricegrid.loaders.errors import SnapshotCorruptError
from pricegrid.loaders.objects.layout import is_sha256
from pricegrid.loaders.objects.storage import Answer, Mark, ObjectStorage
from pricegrid.loaders.store.signing import SIGNATURE, TrustedKeys, signature_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

POINTER_CONTEXT: Final = b"pricegrid snapshot pointer\n"
POINTER_BYTES_MAX: Final = 1 << 14
VERSION: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)
_SEQUENCE_MAX: Final = 1 << 53
_TIME: Final = slice(0, 16)
"""Of a version: when its snapshot was made."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which snapshot is to be served."""

    name: str
    """`current` or `canary`: what is signed for one must not pass for the other."""
    origin: str
    sequence: int
    snapshot: str
    manifest_sha256: str

    def encoded(self, key: Ed25519PrivateKey | None) -> bytes:
        """As it is stored; signed if a key is given."""
        document: dict[str, object] = asdict(self)
        if key is not None:
            document[SIGNATURE] = signature_of(document, key, POINTER_CONTEXT)
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class ReadPointer:
    """A pointer as it was read."""

    pointer: Pointer
    mark: Mark
    signed_by: str
    """The id of a key, not verified; '' for none."""


def is_older(version: str, than: str) -> bool:
    """Whether a snapshot was made before another one, to the second."""
    return version[_TIME] < than[_TIME]


def read_pointer(
    storage: ObjectStorage, name: str, keys: TrustedKeys | None, *, unless: Mark | None = None
) -> ReadPointer | Answer:
    """A pointer, with `keys` one that they trust. Raises StorageError, SnapshotCorruptError, SnapshotUnsignedError."""
    got = storage.get(name, POINTER_BYTES_MAX, unless=unless)
    if isinstance(got, Answer):
        return got
    where = f"{storage.url}/{name}"
    document = _object(got.content, where)
    if keys is not None:
        keys.check(document, where, POINTER_CONTEXT)
    entry = document.get(SIGNATURE)
    signed_by = str(entry.get("key")) if isinstance(entry, dict) else ""
    return ReadPointer(_pointer(document, name, where), got.mark, signed_by)


def _object(content: bytes, where: str) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SnapshotCorruptError(f"{where} is not whole: no JSON object")
    return document


def _pointer(document: Mapping[str, Any], name: str, where: str) -> Pointer:
    sequence, origin = document.get("sequence"), document.get("origin")
    snapshot, manifest = document.get("snapshot"), document.get("manifest_sha256")
    if document.get("name") != name:
        raise SnapshotCorruptError(f"{where} is another pointer, {document.get('name')!r}")
    if type(sequence) is not int or not 1 <= sequence <= _SEQUENCE_MAX:
        raise SnapshotCorruptError(f"{where} has no sequence from 1 on")
    if not isinstance(snapshot, str) or VERSION.fullmatch(snapshot) is None:
        raise SnapshotCorruptError(f"{where} names no snapshot")
    if not is_sha256(manifest) or not is_sha256(origin):
        raise SnapshotCorruptError(f"{where} has no hash of a manifest, or no origin")
    return Pointer(name, str(origin), sequence, snapshot, str(manifest))
