"""Files of a store: written beside, synced, and stored once where another snapshot has the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

_CHUNK_BYTES: Final = 1 << 24


def write_array(
    array: np.ndarray[Any, Any], target: Path, known: Mapping[str, Path] = MappingProxyType({})
) -> dict[str, object]:
    """Stores one array as .npy; its header ends at a multiple of 64 bytes."""
    if array.dtype.hasobject:
        raise ValueError(f"{target.name}: arrays of Python objects can't be mapped")
    array = np.ascontiguousarray(array).reshape(array.shape)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    data, first = array.reshape(-1).view(np.uint8), _CHUNK_BYTES - head.tell()

    # the header goes with the first chunk: what is written at once, from a multiple of 2 MB on and out of memory that
    # was read before, the system keeps in large pages, and who maps the file gets those
    def chunks() -> Iterator[bytes | memoryview]:
        yield head.getvalue() + data[:first].tobytes()
        yield from (
            data[begin : begin + _CHUNK_BYTES].data for begin in range(first, len(data), _CHUNK_BYTES)
        )

    return store_once(chunks, head.tell() + len(data), target, known)


def store_once(
    chunks: Callable[[], Iterable[bytes | memoryview]], size: int, target: Path, known: Mapping[str, Path]
) -> dict[str, object]:
    """Links a file that has these bytes, or writes one."""
    digest = hashlib.sha256()
    for chunk in chunks():
        digest.update(chunk)
    entry: dict[str, object] = {"sha256": digest.hexdigest(), "size_bytes": size}
    equal = known.get(digest.hexdigest())
    if equal is not None and _has_bytes(equal, size, chunks()):
        with contextlib.suppress(OSError):  # too many links, or a file system without them
            target.hardlink_to(equal)
            return entry
    with target.open("xb") as file:
        for chunk in chunks():
            file.write(chunk)
        file.flush()
        sync_file(file.fileno())
    return entry


def _has_bytes(path: Path, size: int, chunks: Iterable[bytes | memoryview]) -> bool:
    try:
        if path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in chunks)
    except OSError:
        return False


def write_text(path: Path, text: str) -> None:
    """Writes a new file and syncs it. Raises OSError."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        sync_file(file.fileno())


def sync_file(descriptor: int) -> None:
    """What was written to an open file survives a power cut from now on."""
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """The same of what was created and renamed in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
