"""Hashes of files and texts; imports nothing heavy, for whoever only opens snapshots."""

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


def hash_text(text: str) -> int:
    """64 bits of a text, the same in every release."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
