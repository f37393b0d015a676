"""What lies where below the URL of object storage.

    objects/ab/SHA256       the bytes of a chunk, of all snapshots that have it
    chunks/ab/SHA256        the chunks of a file above 64 KB, by the hash of the file; a smaller one is one chunk
    manifests/VERSION.json  the manifest of a snapshot, byte for byte
    current, canary         pointers: which snapshot is to be served (`loaders.objects.pointer`)

All but the pointers is written once and never changed. A list of chunks is written after its chunks, a manifest after
its files, a pointer last: whoever finds one of them finds all that it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from pricegrid.loaders.errors import SnapshotCorruptError
from pricegrid.loaders.objects.chunks import CHUNK_MAX, CHUNK_MIN, Chunk

CURRENT: Final = "current"
CANARY: Final = "canary"
MANIFEST_BYTES_MAX: Final = 4 << 20
CHUNK_LIST_ENTRY_BYTES_MAX: Final = 90
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: object) -> bool:
    """Whether this is one as manifests write it: it becomes part of a key."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def object_key(sha256: str) -> str:
    """Of a chunk."""
    return f"objects/{sha256[:2]}/{sha256}"


def chunks_key(sha256: str) -> str:
    """Of the chunks of a file."""
    return f"chunks/{sha256[:2]}/{sha256}"


def manifest_key(version: str) -> str:
    """Of the manifest of a snapshot."""
    return f"manifests/{version}.json"


def has_list(size: int) -> bool:
    """Whether a file of so many bytes has a list of chunks, and is not one itself."""
    return size > CHUNK_MIN


def encoded_chunks(chunks: Sequence[Chunk]) -> bytes:
    """A list of chunks as it is stored."""
    return json.dumps([[chunk.size, chunk.sha256] for chunk in chunks], separators=(",", ":")).encode()


def list_bytes_max(size: int) -> int:
    """What the list of a file of so many bytes may have."""
    return (size // CHUNK_MIN + 2) * CHUNK_LIST_ENTRY_BYTES_MAX


def decoded_chunks(content: bytes, size: int, name: str) -> tuple[Chunk, ...]:
    """The chunks of a file of `size` bytes. Raises SnapshotCorruptError, naming the list."""
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError):
        rows = None
    if (
        not isinstance(rows, list)
        or not all(
            isinstance(row, list)
            and len(row) == 2
            and type(row[0]) is int
            and 0 < row[0] <= CHUNK_MAX
            and is_sha256(row[1])
            for row in rows
        )
        or sum(row[0] for row in rows) != size
    ):
        raise SnapshotCorruptError(f"{name} is no list of the chunks of a file of {size} bytes")
    return tuple(Chunk(*row) for row in rows)
