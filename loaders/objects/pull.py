"""Pulls a snapshot from object storage into a store: only what the store lacks, verified, then activated.

    STORE/snapshots/.pulling-VERSION/  manifest.json, files that are whole, NAME.part

A pull that is cut off leaves that folder, and the next one goes on with it: what a part has is told by the hashes of
its chunks. A file that a snapshot of the store has is linked, after its hash was compared; of another one, what the
active snapshot's file of that name has is copied; the rest is fetched. A storage can say what it likes: a chunk counts
by its hash, a file by the manifest's, the manifest by the pointer's and its signature.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pricegrid.loaders.errors import NoSnapshotError, SnapshotCorruptError, SnapshotError, StorageError
from pricegrid.loaders.objects.chunks import Chunk
from pricegrid.loaders.objects.layout import (
    MANIFEST_BYTES_MAX,
    chunks_key,
    decoded_chunks,
    has_list,
    is_sha256,
    list_bytes_max,
    manifest_key,
    object_key,
)
from pricegrid.loaders.objects.seen import Seen
from pricegrid.loaders.objects.storage import Answer, ObjectStorage
from pricegrid.loaders.objects.target import Target
from pricegrid.loaders.store.files import sync_directory, sync_file
from pricegrid.loaders.store.hashing import hash_file
from pricegrid.loaders.store.signing import TrustedKeys
from pricegrid.loaders.store.snapshot import (
    KEPT_NAME,
    MANIFEST,
    STORE_MODE,
    activate,
    current_version,
    known_files,
    loader_lock,
    manifest_of,
    prune,
    read_manifest,
)

AT_ONCE: Final = 8
"""Requests under way."""
_PULLING: Final = ".pulling-"
_REFUSED: Final = ".loading-refused-"
"""The next load or pull removes what is left of it."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did."""

    snapshot: str
    is_new: bool
    """False: it is the active one already."""
    size_bytes: int = 0
    """Of the files that were wanted."""
    fetched_bytes: int = 0
    fetched_objects: int = 0
    removed: tuple[str, ...] = ()


def _never() -> bool:
    return False


@dataclass(slots=True)
class Puller:
    """Pulls snapshots of one storage into one store; used by one thread."""

    storage: ObjectStorage
    store: Path
    check: Callable[[Path, str], object]
    """Verifies a snapshot of the store; raises SnapshotError."""
    keep: int | None = None
    """Snapshots to keep besides the active one; None: all."""
    with_kept: bool = True
    """Also what later loads compare with; a server needs none of it."""
    is_stopping: Callable[[], bool] = _never
    fetched_bytes: int = 0
    fetched_objects: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _hashes: dict[tuple[int, ...], str] = field(default_factory=dict)
    """Of files of the store, by what the system says of them."""

    def take(self, target: Target, keys: TrustedKeys | None) -> Pulled:
        """Makes the target the active snapshot of the store. Raises StorageError, SnapshotError and OSError, and the
        active one stays."""
        bytes_before, objects_before = self.fetched_bytes, self.fetched_objects
        with loader_lock(self.store):
            is_new, size = self._active() != target.snapshot, 0
            if is_new:
                size = self._bring(target, keys)
            for pointer in target.pointers:
                Seen(self.store, self.storage.url).note(pointer)
            if is_new:
                activate(self.store, target.snapshot)
            removed = prune(self.store, self.keep) if is_new and self.keep is not None else []
            return Pulled(
                target.snapshot,
                is_new,
                size,
                self.fetched_bytes - bytes_before,
                self.fetched_objects - objects_before,
                tuple(removed),
            )

    def _active(self) -> str:
        try:
            return current_version(self.store)
        except NoSnapshotError:
            return ""

    def _bring(self, target: Target, keys: TrustedKeys | None) -> int:
        """Has the snapshot in the store and verified; returns its size."""
        snapshots = self.store / "snapshots"
        place, size = snapshots / target.snapshot, 0
        if is_fresh := not place.is_dir():
            size = self._fetch(target, keys)
            (snapshots / f"{_PULLING}{target.snapshot}").rename(place)
            sync_directory(snapshots)
        try:
            self.check(self.store, target.snapshot)
        except SnapshotError:
            if is_fresh:
                doomed = snapshots / f"{_REFUSED}{target.snapshot}"
                place.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            raise
        for left in snapshots.glob(f"{_PULLING}*"):
            shutil.rmtree(left, ignore_errors=True)
        return size

    def _fetch(self, target: Target, keys: TrustedKeys | None) -> int:
        snapshots = self.store / "snapshots"
        folder = snapshots / f"{_PULLING}{target.snapshot}"
        folder.mkdir(mode=STORE_MODE, parents=True, exist_ok=True)
        snapshots.chmod(STORE_MODE)
        manifest = self._manifest(folder, target, keys)
        entries = {**manifest["files"], **(manifest.get("kept_files", {}) if self.with_kept else {})}
        known = known_files(snapshots)
        missing = {
            name: entry for name, entry in entries.items() if not self._is_here(folder / name, entry, known)
        }
        self._check_space(folder, missing)
        self._assemble(folder, missing)
        for path in folder.iterdir():
            if path.name not in entries and path.name != MANIFEST:
                path.unlink()
        sync_directory(folder)
        return sum(entry["size_bytes"] for entry in entries.values())

    def _manifest(self, folder: Path, target: Target, keys: TrustedKeys | None) -> dict[str, Any]:
        key = manifest_key(target.snapshot)
        content = self._object(key, MANIFEST_BYTES_MAX)
        if target.manifest_sha256 and hashlib.sha256(content).hexdigest() != target.manifest_sha256:
            raise SnapshotCorruptError(f"{self.storage.url}/{key} is not the manifest that the pointer names")
        path = folder / MANIFEST
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            sync_file(file.fileno())
        try:
            manifest = manifest_of(folder, target.snapshot, keys)
            _check_entries(manifest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SnapshotCorruptError(f"{self.storage.url}/{key} is no manifest: {error!r}") from error
        return manifest

    def _is_here(self, path: Path, entry: Entry, known: Mapping[str, Path]) -> bool:
        """Whether the file is whole, from a pull before or linked now."""
        if self._has(path, entry):
            return True
        path.unlink(missing_ok=True)
        equal = known.get(entry["sha256"])
        if equal is None or not self._has(equal, entry):
            return False
        try:
            path.hardlink_to(equal)
        except OSError:  # too many links, or a file system without them
            shutil.copyfile(equal, path)
            with path.open("rb") as file:
                sync_file(file.fileno())
        return True

    def _has(self, path: Path, entry: Entry) -> bool:
        try:
            status = path.lstat()
            if status.st_size != entry["size_bytes"]:
                return False
            look = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if look not in self._hashes:
                self._hashes[look] = hash_file(path)
        except OSError:
            return False
        return self._hashes[look] == str(entry["sha256"])

    def _check_space(self, folder: Path, missing: Mapping[str, Entry]) -> None:
        wanted = sum(entry["size_bytes"] for entry in missing.values())
        free = shutil.disk_usage(folder).free
        if wanted > free:
            raise SnapshotError(
                f"{self.store} has no room for a snapshot: {wanted} bytes, and {free} are free"
            )

    def _assemble(self, folder: Path, missing: Mapping[str, Entry]) -> None:
        """Fetches files, several chunks at once."""
        local = self._local_chunks(missing)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                lists = dict(zip(missing, pool.map(self._chunks, missing.values()), strict=True))
                under_way: dict[str, list[Future[None]]] = {}
                for name, entry in missing.items():
                    part = folder / f"{name}.part"
                    resumed = part.exists()
                    with part.open("ab") as file:
                        file.truncate(entry["size_bytes"])
                    under_way[name] = [
                        pool.submit(self._chunk, part, chunk, offsets, local, resumed=resumed)
                        for chunk, offsets in _places(lists[name]).items()
                    ]
                for name, futures in under_way.items():
                    for each in futures:
                        each.result()
                    self._finish(folder / f"{name}.part", folder / name, missing[name])
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _chunks(self, entry: Entry) -> tuple[Chunk, ...]:
        size, sha256 = entry["size_bytes"], entry["sha256"]
        if not has_list(size):
            return (Chunk(size, sha256),)
        key = chunks_key(sha256)
        return decoded_chunks(self._object(key, list_bytes_max(size)), size, f"{self.storage.url}/{key}")

    def _local_chunks(self, missing: Mapping[str, Entry]) -> dict[str, tuple[Path, int]]:
        """Where the files of the active snapshot have chunks: it is asked as well which those are."""
        found: dict[str, tuple[Path, int]] = {}
        active = self._active()
        if not active:
            return found
        folder = self.store / "snapshots" / active
        try:
            manifest = read_manifest(folder)
        except SnapshotError:
            return found
        for name in missing:
            entry = manifest["files"].get(name)
            if entry is None or not has_list(entry["size_bytes"]):
                continue
            try:
                chunks, begin = self._chunks(entry), 0
            except (SnapshotCorruptError, StorageError):  # not pushed from here, or not to there
                continue
            for chunk in chunks:
                found.setdefault(chunk.sha256, (folder / name, begin))
                begin += chunk.size
        return found

    def _chunk(
        self,
        part: Path,
        chunk: Chunk,
        offsets: Iterable[int],
        local: Mapping[str, tuple[Path, int]],
        *,
        resumed: bool,
    ) -> None:
        if self.is_stopping():
            raise StorageError("the pull is stopped")
        places = [(part, offset) for offset in offsets]
        here = [*(places if resumed else ()), *([local[chunk.sha256]] if chunk.sha256 in local else ())]
        for path, offset in here:
            content = _read(path, offset, chunk.size)
            if hashlib.sha256(content).hexdigest() == chunk.sha256:
                break
        else:
            content = self._object(key := object_key(chunk.sha256), chunk.size)
            if hashlib.sha256(content).hexdigest() != chunk.sha256:
                raise SnapshotCorruptError(
                    f"{self.storage.url}/{key} is damaged: its SHA-256 is not its name"
                )
        with part.open("r+b") as file:
            for _, offset in places:
                os.pwrite(file.fileno(), content, offset)

    def _finish(self, part: Path, target: Path, entry: Entry) -> None:
        if hash_file(part) != entry["sha256"]:
            part.unlink()
            raise SnapshotCorruptError(
                f"{self.storage.url}: the chunks of {target.name} are not those of the manifest"
            )
        with part.open("rb") as file:
            sync_file(file.fileno())
        part.rename(target)

    def _object(self, key: str, size_max: int) -> bytes:
        got = self.storage.get(key, size_max)
        if isinstance(got, Answer):
            raise SnapshotCorruptError(f"{self.storage.url}/{key} is missing")
        with self._lock:
            self.fetched_bytes += len(got.content)
            self.fetched_objects += 1
        return got.content


def _check_entries(manifest: Mapping[str, Any]) -> None:
    """A manifest names files of its own folder alone: `read_manifest` has looked at the arrays. Raises ValueError."""
    kept = manifest.get("kept_files", {})
    for name in kept:
        if KEPT_NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} can't be a kept file")
    for name, entry in (*manifest["files"].items(), *kept.items()):
        if not is_sha256(entry["sha256"]) or type(entry["size_bytes"]) is not int or entry["size_bytes"] < 0:
            raise ValueError(f"no hash or size of {name}")


def _places(chunks: Iterable[Chunk]) -> dict[Chunk, list[int]]:
    """Where each chunk stands in its file: one that is there several times is fetched once."""
    found: dict[Chunk, list[int]] = {}
    begin = 0
    for chunk in chunks:
        found.setdefault(chunk, []).append(begin)
        begin += chunk.size
    return found


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return os.pread(file.fileno(), size, offset)
    except OSError:
        return b""
