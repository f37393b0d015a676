"""The snapshot store: immutable directories of arrays, and one pointer to the one that is served (design section 7).

    STORE/snapshots/VERSION/manifest.json, NAME.npy ...
    STORE/current            the version that is served, replaced atomically
    STORE/lock               held by a load from its beginning to its end
    STORE/rejects/TABLE.csv  what the last load could not use

VERSION is `YYYYMMDDTHHMMSSZ-` and eight hexadecimal digits of the content hash, the SHA-256 over the names and
SHA-256 of all arrays. A snapshot is written in a hidden directory beside the others, every file and directory is
synced, then it is renamed: a crash leaves a hidden directory, which the next load removes, and never a snapshot that
lacks something. The data of every array begins at a multiple of 64 bytes.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from loaders.errors import (
    LoaderBusyError,
    NoSnapshotError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotVersionError,
)
from loaders.hashing import hash_file

FORMAT_VERSION: Final = 3
MANIFEST: Final = "manifest.json"
ALIGNMENT_BYTES: Final = 64
_CHUNK_BYTES: Final = 1 << 24
_LEFTOVER: Final = ".loading-"
_ARRAY_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
_VERSION: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_CHECKSUM: Final = "checksum"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot of a store, as `snapshots list` shows it."""

    version: str
    created_at: str
    size_bytes: int
    counts: Mapping[str, int]
    active: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An opened snapshot; `arrays` are read-only maps of its files, so they cost no private memory."""

    version: str
    manifest: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]]


def write_snapshot(
    store: Path,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    manifest: Mapping[str, object],
    *,
    created_at: datetime,
    link_from: Mapping[str, Path] = MappingProxyType({}),
) -> str:
    """Writes a snapshot beside the others and returns its version; doesn't activate it.

    `link_from` gives arrays that did not change: files of another snapshot, linked and not copied, with the
    hash of that snapshot's manifest (checked whenever a snapshot is opened). The same content in the same second is
    the same version."""
    snapshots = store / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_LEFTOVER, dir=snapshots))
    try:
        files: dict[str, dict[str, object]] = {}
        for name in sorted({*arrays, *link_from}):
            if not _ARRAY_NAME.fullmatch(name):
                raise ValueError(f"{name!r} can't name an array")
            target = folder / f"{name}.npy"
            files[target.name] = (
                _link(link_from[name], target) if name in link_from else _write(arrays[name], target)
            )
        content = _content_hash(files)
        created = created_at.astimezone(UTC)
        whole: dict[str, object] = {
            **manifest,
            "format_version": FORMAT_VERSION,
            "created_at": created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "content_sha256": content,
            "files": files,
        }
        whole[_CHECKSUM] = _checksum(whole)
        _write_text(folder / MANIFEST, json.dumps(whole, indent=1, sort_keys=True) + "\n")
        _sync_directory(folder)
        version = f"{created.strftime('%Y%m%dT%H%M%SZ')}-{content[:8]}"
        return _publish(folder, snapshots / version)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _publish(folder: Path, target: Path) -> str:
    if target.exists():
        shutil.rmtree(folder)
    else:
        folder.chmod(0o755)
        folder.rename(target)
        _sync_directory(target.parent)
    return target.name


def _write(array: np.ndarray[Any, Any], target: Path) -> dict[str, object]:
    """Writes one array as .npy, hashing what is written; its header ends at a multiple of 64 bytes."""
    if array.dtype.hasobject:
        raise ValueError(f"{target.name}: arrays of Python objects can't be mapped")
    array = np.ascontiguousarray(array).reshape(array.shape)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    data, first = array.reshape(-1).view(np.uint8), _CHUNK_BYTES - head.tell()
    # the header goes with the first chunk: what is written at once, from a multiple of 2 MB on and out of memory that
    # was read before, the system keeps in large pages, and who maps the file gets those
    chunks: list[bytes | memoryview] = [
        head.getvalue() + data[:first].tobytes(),
        *(data[begin : begin + _CHUNK_BYTES].data for begin in range(first, len(data), _CHUNK_BYTES)),
    ]
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        size = file.tell()
        file.flush()
        _sync_file(file.fileno())
    return {"sha256": digest.hexdigest(), "size_bytes": size}


def _link(source: Path, target: Path) -> dict[str, object]:
    entry: dict[str, object] = _read_manifest(source.parent)["files"][source.name]
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            _sync_file(file.fileno())
    return entry


def _write_text(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        _sync_file(file.fileno())


def _sync_file(descriptor: int) -> None:
    os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _content_hash(files: Mapping[str, Mapping[str, object]]) -> str:
    text = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _checksum(manifest: Mapping[str, object]) -> str:
    rest = {key: value for key, value in manifest.items() if key != _CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode("utf-8")).hexdigest()


def activate(store: Path, version: str) -> None:
    """Points the store at `version`, in one step. NoSnapshotError if the store doesn't hold it."""
    _folder(store, version)
    temporary = store / f"{_LEFTOVER}current-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    _write_text(temporary, version + "\n")
    temporary.replace(store / "current")
    _sync_directory(store)


def current_version(store: Path) -> str:
    """The version that is served. NoSnapshotError if nothing has been published."""
    try:
        version = (store / "current").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise NoSnapshotError(f"store {store} has no active snapshot: run `pricegrid load` first") from None
    if not _VERSION.fullmatch(version):
        raise SnapshotCorruptError(f"{store / 'current'} doesn't hold the name of a snapshot")
    return version


def _folder(store: Path, version: str) -> Path:
    folder = store / "snapshots" / version
    if not _VERSION.fullmatch(version) or not folder.is_dir() or folder.is_symlink():
        raise NoSnapshotError(f'store {store} has no snapshot "{version}"')
    return folder


def list_snapshots(store: Path) -> list[SnapshotInfo]:
    """All snapshots of a store, oldest first. One whose manifest can't be read raises SnapshotError naming it."""
    try:
        active = current_version(store)
    except NoSnapshotError:
        active = ""
    answer: list[SnapshotInfo] = []
    folders = (store / "snapshots").iterdir() if (store / "snapshots").is_dir() else iter(())
    for folder in sorted(f for f in folders if _VERSION.fullmatch(f.name)):
        manifest = _read_manifest(folder)
        size = sum(entry["size_bytes"] for entry in manifest["files"].values())
        counts = manifest.get("counts", {})
        answer.append(SnapshotInfo(folder.name, manifest["created_at"], size, counts, folder.name == active))
    return sorted(answer, key=lambda each: (each.created_at, each.version))


def open_snapshot(store: Path, version: str | None = None, *, verify: bool = True) -> Snapshot:
    """Maps a snapshot, the active one unless told otherwise. With `verify` every byte is compared with the manifest's
    hashes; sizes are always compared. Raises NoSnapshotError, SnapshotCorruptError naming the file,
    SnapshotVersionError."""
    version = current_version(store) if version is None else version
    folder = _folder(store, version)
    manifest = _read_manifest(folder)
    if manifest.get("content_sha256") != _content_hash(manifest["files"]):
        raise SnapshotCorruptError(f"{folder / MANIFEST} is corrupt: its content hash doesn't fit its files")
    if not version.endswith(manifest["content_sha256"][:8]):
        raise SnapshotCorruptError(f"{folder / MANIFEST} is corrupt: it belongs to another version")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, entry in manifest["files"].items():
        arrays[name.removesuffix(".npy")] = _map(folder / name, entry, verify=verify)
    return Snapshot(version, MappingProxyType(manifest), MappingProxyType(arrays))


def _map(path: Path, entry: Mapping[str, Any], *, verify: bool) -> np.ndarray[Any, Any]:
    try:
        size = _plain_file(path).st_size
        if size != entry["size_bytes"]:
            raise SnapshotCorruptError(
                f"{path} is truncated or changed: {size} bytes, not {entry['size_bytes']}"
            )
        if verify and hash_file(path) != entry["sha256"]:
            raise SnapshotCorruptError(f"{path} is corrupt: its SHA-256 is not the manifest's")
        array: np.ndarray[Any, Any] = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise SnapshotCorruptError(f"{path} is missing") from None
    except OSError as error:
        raise SnapshotCorruptError(f"{path} can't be read: {error}") from error
    except (ValueError, TypeError, OverflowError) as error:  # whose text may advise to unpickle it
        raise SnapshotCorruptError(f"{path} is no array of numbers in the .npy format, version 1") from error
    if array.size and array.ctypes.data % ALIGNMENT_BYTES:
        raise SnapshotCorruptError(f"{path} is not aligned to {ALIGNMENT_BYTES} bytes")
    return array


def _plain_file(path: Path) -> os.stat_result:
    """What the system says of a file, unless it is a link, a directory or a device: those may lead out of the store."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise SnapshotCorruptError(f"{path} is not a plain file: a snapshot holds no links and no devices")
    return status


def _check_files(path: Path, files: object) -> None:
    """A manifest names arrays that lie beside it, with their hashes and sizes, and nothing else."""
    if not isinstance(files, dict):
        raise SnapshotCorruptError(f"{path} is corrupt: it names no files")
    for name, entry in files.items():
        if not name.endswith(".npy") or not _ARRAY_NAME.fullmatch(name.removesuffix(".npy")):
            raise SnapshotCorruptError(f"{path} names {name!r}, which can't be an array of this snapshot")
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("sha256"), str)
            or type(entry.get("size_bytes")) is not int
        ):
            raise SnapshotCorruptError(f"{path} is corrupt: no hash or size of {name}")


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        _plain_file(path)
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SnapshotCorruptError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise SnapshotCorruptError(f"{path} is corrupt: {error}") from error
    if not isinstance(manifest, dict):
        raise SnapshotCorruptError(f"{path} is corrupt: not a JSON object")
    if manifest.get("format_version") != FORMAT_VERSION:
        found = manifest.get("format_version")
        raise SnapshotVersionError(
            f"{path} has format version {found}; this release reads {FORMAT_VERSION}: load again"
        )
    if manifest.get(_CHECKSUM) != _checksum(manifest):
        raise SnapshotCorruptError(f"{path} is corrupt: its checksum doesn't fit")
    _check_files(path, manifest.get("files"))
    return manifest


@contextlib.contextmanager
def loader_lock(store: Path) -> Iterator[None]:
    """Holds the store for one load, and removes what dead loads left behind. LoaderBusyError while another one
    holds it; the lock of a process that died is free."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        file = (store / "lock").open("a")
    except OSError as error:
        raise SnapshotError(f"store {store} can't be written: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LoaderBusyError(f"another load is running on store {store}") from None
        _remove_leftovers(store)
        yield


def _remove_leftovers(store: Path) -> None:
    for leftover in (store / "snapshots").glob(f"{_LEFTOVER}*"):
        shutil.rmtree(leftover, ignore_errors=True)
