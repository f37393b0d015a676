"""Pushes a snapshot of a store to object storage: what is missing there, then its manifest, then the pointer."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pricegrid.loaders.errors import (
    PublishedMeanwhileError,
    SnapshotCorruptError,
    SnapshotUnsignedError,
    StorageError,
)
from pricegrid.loaders.objects.chunks import Chunk, cut_file
from pricegrid.loaders.objects.layout import (
    CANARY,
    CURRENT,
    MANIFEST_BYTES_MAX,
    chunks_key,
    encoded_chunks,
    has_list,
    manifest_key,
    object_key,
)
from pricegrid.loaders.objects.pointer import Pointer, ReadPointer, is_older, read_pointer
from pricegrid.loaders.objects.storage import Answer, ObjectStorage
from pricegrid.loaders.store.signing import key_id, trust_of
from pricegrid.loaders.store.snapshot import MANIFEST, manifest_of, snapshot_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AT_ONCE: Final = 8
"""Requests under way."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    snapshot: str
    pointer: str
    sequence: int
    size_bytes: int
    """Of the whole snapshot."""
    sent_bytes: int
    sent_objects: int
    is_new: bool
    """False: it was there, and pointed to, already."""


def push(
    storage: ObjectStorage,
    store: Path,
    version: str,
    *,
    canary: bool = False,
    key: Ed25519PrivateKey | None = None,
    back: bool = False,
) -> Pushed:
    """Makes a snapshot the one that followers of `storage` serve; with `canary` only those who follow canaries.

    `key` signs the pointer, and must have signed the manifest. Without `back` it is refused if the pointer names a
    newer snapshot. Raises StorageError, PublishedMeanwhileError, SnapshotError and OSError, and the pointer stays.
    """
    name = CANARY if canary else CURRENT
    keys = None if key is None else trust_of(key)
    before = {each: _pointer(storage, each) for each in (CURRENT, CANARY)}
    _refuse_careless(storage, version, before[name], key, back=back)
    folder = snapshot_folder(store, version)
    manifest = manifest_of(folder, version, keys)
    text = (folder / MANIFEST).read_bytes()
    files = {**manifest["files"], **manifest.get("kept_files", {})}
    sent = _Sent(storage)
    sent.files(folder, files)
    _put_manifest(storage, version, text)
    pointer = _next(before, name, version, text)
    seen = before[name]
    is_new = seen is None or seen.pointer.snapshot != version or seen.signed_by != _id_of(key)
    if seen is not None and not is_new:
        pointer = seen.pointer
    elif not storage.swap(name, pointer.encoded(key), None if seen is None else seen.mark):
        winner = _pointer(storage, name)
        raise PublishedMeanwhileError(
            f"another producer has published {winner.pointer.snapshot if winner else 'something'} at {storage.url} "
            f"meanwhile, and it stays: push {version} again if that one is to be served"
        )
    size = sum(entry["size_bytes"] for entry in files.values())
    return Pushed(version, name, pointer.sequence, size, sent.size, sent.count, is_new)


def _id_of(key: Ed25519PrivateKey | None) -> str:
    return "" if key is None else key_id(key.public_key().public_bytes_raw())


def _pointer(storage: ObjectStorage, name: str) -> ReadPointer | None:
    read = read_pointer(storage, name, None)
    return None if isinstance(read, Answer) else read


def _refuse_careless(
    storage: ObjectStorage,
    version: str,
    seen: ReadPointer | None,
    key: Ed25519PrivateKey | None,
    *,
    back: bool,
) -> None:
    if seen is None:
        return
    if seen.signed_by and key is None:
        raise SnapshotUnsignedError(
            f"{storage.url} has signed snapshots, whose followers would refuse this one: give --sign-key"
        )
    if is_older(version, seen.pointer.snapshot) and not back:
        raise StorageError(
            f"{storage.url} serves {seen.pointer.snapshot}, which is newer than {version}: give --back to go back"
        )


def _next(before: Mapping[str, ReadPointer | None], name: str, version: str, manifest: bytes) -> Pointer:
    known = [read.pointer for read in before.values() if read is not None]
    origin = known[0].origin if known else secrets.token_hex(32)
    sequence = max((each.sequence for each in known), default=0) + 1
    return Pointer(name, origin, sequence, version, hashlib.sha256(manifest).hexdigest())


def _put_manifest(storage: ObjectStorage, version: str, text: bytes) -> None:
    key = manifest_key(version)
    if storage.create(key, text):
        return
    there = storage.get(key, MANIFEST_BYTES_MAX)
    if isinstance(there, Answer) or there.content != text:
        raise StorageError(
            f"{storage.url}/{key} is another manifest than this store's: load again, a snapshot never changes"
        )


@dataclass(slots=True)
class _Sent:
    """Sends what is missing, and counts it."""

    storage: ObjectStorage
    size: int = 0
    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def files(self, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
        """All chunks of the files, then the lists of chunks; one file is cut while others are sent."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                lists: dict[str, tuple[bytes, list[Future[None]]]] = {}
                for name in sorted(files):
                    cut, begin, chunks = cut_file(folder / name), 0, []
                    if cut.sha256 != files[name]["sha256"]:
                        raise SnapshotCorruptError(
                            f"{folder / name} is corrupt: its SHA-256 is not the manifest's"
                        )
                    for chunk in cut.chunks:
                        chunks.append(pool.submit(self._chunk, folder / name, begin, chunk))
                        begin += chunk.size
                    text = encoded_chunks(cut.chunks) if has_list(files[name]["size_bytes"]) else b""
                    lists[cut.sha256] = text, chunks
                for sha256, (text, chunks) in lists.items():
                    for each in chunks:
                        each.result()
                    if text:
                        self._object(chunks_key(sha256), text)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _chunk(self, path: Path, begin: int, chunk: Chunk) -> None:
        key = object_key(chunk.sha256)
        if self.storage.size(key) == chunk.size:
            return
        with path.open("rb") as file:
            content = os.pread(file.fileno(), chunk.size, begin)
        if hashlib.sha256(content).hexdigest() != chunk.sha256:
            raise SnapshotCorruptError(f"{path} changed while it was pushed")
        self._object(key, content)

    def _object(self, key: str, content: bytes) -> None:
        if not self.storage.create(key, content):
            if self.storage.size(key) == len(content):  # another producer was quicker
                return
            self.storage.replace(key, content)  # cut off, by whatever wrote it
        with self._lock:
            self.size += len(content)
            self.count += 1
