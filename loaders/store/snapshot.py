"""The snapshot store (docs/snapshot-format.md): immutable directories of arrays, a pointer to the one that is served.

    STORE/snapshots/VERSION/manifest.json, NAME.npy ..., kept_...
    STORE/current            the version that is served, replaced atomically
    STORE/lock               held by a load from its beginning to its end
    STORE/rejects/TABLE.csv  what the last load could not use

VERSION is `YYYYMMDDTHHMMSSZ-` and eight hexadecimal digits of the content hash, the SHA-256 over the names and
SHA-256 of all arrays. A snapshot is written in a hidden directory beside the others, every file and directory is
synced, then it is renamed: a crash leaves a hidden directory, which the next load removes, and never a snapshot that
lacks something. The data of every array begins at a multiple of 64 bytes.

Equal content is stored once: a file whose bytes another snapshot of the store has is a hard link to that one, and the
name table of SKUs, which prices and positions both read, is one pair of files (`ONE_TABLE`). Files named `kept_...` are
for the gates and comparisons of later loads (`loaders.store.kept`); no server opens them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
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
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pricegrid.loaders.errors import (
    LoaderBusyError,
    NoSnapshotError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotVersionError,
)
from pricegrid.loaders.store.files import store_once, sync_directory, sync_file, write_array, write_text
from pricegrid.loaders.store.hashing import hash_file
from pricegrid.loaders.store.signing import SIGNATURE, TrustedKeys, signature_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT_VERSION: Final = 8
ONE_TABLE: Final = MappingProxyType({"atp_sku_text": "sku_bytes", "atp_sku_offsets": "sku_offsets"})
"""Arrays of positions that are arrays of prices under another name: an item has the same ordinal on both sides."""
MANIFEST: Final = "manifest.json"
STORE_MODE: Final = 0o750
"""Of directories: others than the owner and the group have no business with prices, unless the operator says so."""
ALIGNMENT_BYTES: Final = 64
_LEFTOVER: Final = ".loading-"
_ARRAY_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")
KEPT_NAME: Final = re.compile(r"kept_[a-z0-9_]{1,80}\.(npy|parquet)")
_VERSION: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_CHECKSUM: Final = "checksum"
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What says nothing of a file: there are no more files or memory. It passes as the OSError that it is."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot of a store, as `snapshots list` shows it."""

    version: str
    created_at: str
    size_bytes: int
    counts: Mapping[str, int]
    active: bool
    shared_bytes: int = 0
    """Of `size_bytes`: what other snapshots of the store have too, stored once."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An opened snapshot; `arrays` are read-only maps of its files, so they cost no private memory."""

    version: str
    manifest: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]]


KeptFile = bytes | np.ndarray[Any, Any] | Path
"""The content of a file that a snapshot keeps for later loads; a path: the same file of another snapshot."""


def write_snapshot(
    store: Path,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    manifest: Mapping[str, object],
    *,
    created_at: datetime,
    link_from: Mapping[str, Path] = MappingProxyType({}),
    base: Mapping[str, Any] = MappingProxyType({}),
    kept: Mapping[str, KeptFile] = MappingProxyType({}),
    key: Ed25519PrivateKey | None = None,
) -> str:
    """Writes a snapshot beside the others and returns its version; doesn't activate it.

    `link_from` gives arrays that did not change: files of another snapshot, linked and not copied, with the hashes of
    its manifest `base`, as it was opened (checked whenever a snapshot is opened). So is every other file whose bytes a
    snapshot of the store has already. `kept` gives files by name that later loads compare with. `key` signs
    the manifest (`loaders.store.signing`). The same content in the same second is the same version."""
    snapshots = store / "snapshots"
    for folder in (store, snapshots):
        folder.mkdir(mode=STORE_MODE, parents=True, exist_ok=True)
    known = known_files(snapshots)
    folder = Path(tempfile.mkdtemp(prefix=_LEFTOVER, dir=snapshots))
    try:
        files: dict[str, dict[str, object]] = {}
        for name in sorted({*arrays, *link_from} - _under_another_name(arrays, link_from)):
            if not _ARRAY_NAME.fullmatch(name):
                raise ValueError(f"{name!r} can't name an array")
            target = folder / f"{name}.npy"
            files[target.name] = (
                _link(link_from[name], target, base)
                if name in link_from
                else write_array(arrays[name], target, known)
            )
        content = _content_hash(files)
        created = created_at.astimezone(UTC)
        whole: dict[str, object] = {
            **manifest,
            "format_version": FORMAT_VERSION,
            "created_at": created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "content_sha256": content,
            "files": files,
            "kept_files": {
                name: _write_kept(kept[name], folder / name, known, base) for name in sorted(kept)
            },
        }
        whole.pop(SIGNATURE, None)
        if key is not None:
            whole[SIGNATURE] = signature_of(whole, key)
        whole[_CHECKSUM] = _checksum(whole)
        write_text(folder / MANIFEST, json.dumps(whole, indent=1, sort_keys=True) + "\n")
        sync_directory(folder)
        return _publish(folder, snapshots / _version(created, content))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _version(created: datetime, content: str) -> str:
    return f"{created.strftime('%Y%m%dT%H%M%SZ')}-{content[:8]}"


def _under_another_name(
    arrays: Mapping[str, np.ndarray[Any, Any]], link_from: Mapping[str, Path]
) -> frozenset[str]:
    """Those of `ONE_TABLE` that are stored as the array that they are. Raises ValueError if one is not that."""
    given = {*arrays, *link_from}
    shared = {name: one for name, one in ONE_TABLE.items() if name in given and one in given}
    for name, one in shared.items():
        if (name in arrays) != (one in arrays):
            raise ValueError(f"{name} and {one} are one array: both change, or neither")
        if name in arrays and not np.array_equal(arrays[name], arrays[one]):
            raise ValueError(f"{name}: not the same as {one}")
    return frozenset(shared)


def known_files(snapshots: Path) -> dict[str, Path]:
    """A file of some snapshot by its SHA-256; that it still has these bytes is checked before it is linked."""
    known: dict[str, Path] = {}
    for folder in sorted(f for f in snapshots.iterdir() if _VERSION.fullmatch(f.name)):
        with contextlib.suppress(SnapshotError):
            manifest = read_manifest(folder, any_format=True)
            for section in ("files", "kept_files"):
                for name, entry in manifest.get(section, {}).items():
                    known[entry["sha256"]] = folder / name
    return known


def _publish(folder: Path, target: Path) -> str:
    if target.exists():
        ours, there = (read_manifest(each, any_format=True).get(SIGNATURE) for each in (folder, target))
        if ours is not None and there != ours:
            raise SnapshotError(
                f"snapshot {target.name} is there already, without this signature: load again"
            )
        shutil.rmtree(folder)
    else:
        folder.chmod(STORE_MODE)
        folder.rename(target)
        sync_directory(target.parent)
    return target.name


def _write_kept(
    content: KeptFile, target: Path, known: Mapping[str, Path], base: Mapping[str, Any]
) -> dict[str, object]:
    if not KEPT_NAME.fullmatch(target.name):
        raise ValueError(f"{target.name!r} can't name a kept file")
    if isinstance(content, Path):
        return _link(content, target, base)
    if isinstance(content, np.ndarray):
        return write_array(content, target, known)
    return store_once(lambda: iter([content]), len(content), target, known)


def _link(source: Path, target: Path, base: Mapping[str, Any]) -> dict[str, object]:
    entry: dict[str, object] = {**base["files"], **base.get("kept_files", {})}[source.name]
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            sync_file(file.fileno())
    return entry


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
    write_text(temporary, version + "\n")
    temporary.replace(store / "current")
    sync_directory(store)


def current_version(store: Path) -> str:
    """The version that is served. NoSnapshotError if nothing has been published."""
    try:
        version = (store / "current").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise NoSnapshotError(f"store {store} has no active snapshot: run `pricegrid load` first") from None
    if not _VERSION.fullmatch(version):
        raise SnapshotCorruptError(f"{store / 'current'} doesn't hold the name of a snapshot")
    return version


def has_current(store: Path) -> bool:
    """Whether a snapshot was ever activated; it may be damaged."""
    return (store / "current").exists()


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
        manifest = read_manifest(folder, any_format=True)
        size, shared = file_sizes(store, folder.name)
        counts, created = manifest.get("counts", {}), manifest["created_at"]
        answer.append(SnapshotInfo(folder.name, created, size, counts, folder.name == active, shared))
    return sorted(answer, key=lambda each: (each.created_at, each.version))


def file_sizes(store: Path, version: str) -> tuple[int, int]:
    """Bytes of the files of a snapshot, and how many of them other snapshots have too."""
    folder = _folder(store, version)
    manifest = read_manifest(folder, any_format=True)
    files = {**manifest["files"], **manifest.get("kept_files", {})}
    size = sum(entry["size_bytes"] for entry in files.values())
    return size, sum(entry["size_bytes"] for name, entry in files.items() if _is_shared(folder / name))


def _is_shared(path: Path) -> bool:
    try:
        return path.stat().st_nlink > 1
    except OSError:
        return False


def prune(store: Path, keep: int) -> list[str]:
    """Removes all snapshots but the newest `keep` and the active one; the versions that went, oldest first.

    Call it with the lock of the store in hand. A server that has mapped one goes on reading it. A crash leaves
    a snapshot whole or gone."""
    if keep < 1:
        raise ValueError("at least one snapshot is kept")
    snapshots = store / "snapshots"
    names = (
        sorted(f.name for f in snapshots.iterdir() if _VERSION.fullmatch(f.name))
        if snapshots.is_dir()
        else []
    )
    active = current_version(store)  # damaged: then nothing is removed
    gone = [name for name in names[:-keep] if name != active]
    for name in gone:
        doomed = snapshots / f"{_LEFTOVER}pruned-{name}"
        (snapshots / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    if gone:
        sync_directory(snapshots)
    return gone


def snapshot_folder(store: Path, version: str) -> Path:
    """The directory of a snapshot. NoSnapshotError if the store doesn't hold it."""
    return _folder(store, version)


def open_snapshot(
    store: Path, version: str | None = None, *, verify: bool = True, keys: TrustedKeys | None = None
) -> Snapshot:
    """Maps a snapshot, the active one unless told otherwise. With `verify` every byte is compared with the manifest's
    hashes; sizes are always compared. With `keys` one of them must have signed it. Raises NoSnapshotError,
    SnapshotCorruptError naming the file, SnapshotVersionError, SnapshotUnsignedError; OSError if files or memory
    are exhausted."""
    version = current_version(store) if version is None else version
    folder = _folder(store, version)
    manifest = manifest_of(folder, version, keys)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, entry in manifest["files"].items():
        arrays[name.removesuffix(".npy")] = _map(folder / name, entry, verify=verify)
    if any(name.startswith("atp_") for name in arrays):
        arrays.update({name: arrays[one] for name, one in ONE_TABLE.items() if one in arrays})
    return Snapshot(version, MappingProxyType(manifest), MappingProxyType(arrays))


def manifest_of(folder: Path, version: str, keys: TrustedKeys | None = None) -> dict[str, Any]:
    """The manifest in a folder, which must be that of a version and signed by one of the keys. Raises as
    `open_snapshot`."""
    manifest = read_manifest(folder)
    if keys is not None:
        keys.check(manifest, f"snapshot {version}")
    if manifest.get("content_sha256") != _content_hash(manifest["files"]):
        raise SnapshotCorruptError(f"{folder / MANIFEST} is corrupt: its content hash doesn't fit its files")
    if version != _version(datetime.fromisoformat(manifest["created_at"]), manifest["content_sha256"]):
        raise SnapshotCorruptError(f"{folder / MANIFEST} is corrupt: it belongs to another version")
    return manifest


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
        if error.errno in _EXHAUSTED:
            raise
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


def read_manifest(folder: Path, *, any_format: bool = False) -> dict[str, Any]:
    """The manifest of a snapshot, its checksum compared; with `any_format` also that of another release. Raises
    SnapshotCorruptError, SnapshotVersionError."""
    path = folder / MANIFEST
    try:
        _plain_file(path)
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SnapshotCorruptError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            raise
        raise SnapshotCorruptError(f"{path} is corrupt: {error}") from error
    if not isinstance(manifest, dict):
        raise SnapshotCorruptError(f"{path} is corrupt: not a JSON object")
    if not any_format and manifest.get("format_version") != FORMAT_VERSION:
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
        store.mkdir(mode=STORE_MODE, parents=True, exist_ok=True)
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
