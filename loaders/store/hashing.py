"""Hashes of files; imports nothing heavy, for whoever only opens snapshots."""

import hashlib
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 22


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
