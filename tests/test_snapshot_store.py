"""The snapshot store keeps every byte it was given, and says which file is wrong when one is."""

import json
import os
import pickle
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pricegrid.loaders.errors import (
    LoaderBusyError,
    NoSnapshotError,
    SnapshotCorruptError,
    SnapshotVersionError,
)
from pricegrid.loaders.store.hashing import hash_file
from pricegrid.loaders.store.snapshot import (
    FORMAT_VERSION,
    _checksum,
    _content_hash,
    activate,
    current_version,
    list_snapshots,
    loader_lock,
    open_snapshot,
    read_manifest,
    write_snapshot,
)

MONDAY = datetime(2026, 3, 2, 4, 5, 6, tzinfo=UTC)
TUESDAY = datetime(2026, 3, 3, 4, 5, 6, tzinfo=UTC)
RECORD = np.dtype([("price", "<i8"), ("break", "<u4")])


def sample() -> dict[str, np.ndarray]:
    return {
        "prices": np.arange(1_000, dtype=np.int64),
        "pages": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "empty": np.zeros(0, np.int64),
        "cells": np.array([(5, 1), (7, 2)], RECORD),
        "column_order": np.asfortranarray(np.arange(6).reshape(2, 3)),
    }


def stored(store: Path, when: datetime = MONDAY) -> str:
    version = write_snapshot(store, sample(), {"counts": {"items": 3}, "time_zone": "UTC"}, created_at=when)
    activate(store, version)
    return version


def test_a_snapshot_comes_back_as_it_was_written(tmp_path: Path) -> None:
    version = stored(tmp_path)

    snapshot = open_snapshot(tmp_path)

    assert snapshot.version == version == current_version(tmp_path)
    assert version.startswith("20260302T040506Z-")
    assert snapshot.manifest["time_zone"] == "UTC"
    assert set(snapshot.arrays) == set(sample())
    for name, array in sample().items():
        np.testing.assert_array_equal(snapshot.arrays[name], array)
        assert snapshot.arrays[name].dtype == array.dtype


def test_arrays_are_read_only_and_aligned_to_cache_lines(tmp_path: Path) -> None:
    stored(tmp_path)

    for name, array in open_snapshot(tmp_path).arrays.items():
        assert not array.flags.writeable, name
        if array.size:
            assert array.ctypes.data % 64 == 0, name


def test_the_same_arrays_give_the_same_bytes_and_the_same_content_hash(tmp_path: Path) -> None:
    first, second = stored(tmp_path, MONDAY), stored(tmp_path, TUESDAY)

    assert first != second
    assert first.split("-")[1] == second.split("-")[1]
    for name in sample():
        one, two = (tmp_path / "snapshots" / v / f"{name}.npy" for v in (first, second))
        assert one.read_bytes() == two.read_bytes()


TWO_SIDES = {
    "sku_bytes": np.frombuffer(b"ABC", np.uint8),
    "sku_offsets": np.array([0, 1, 3]),
    "atp_sku_text": np.frombuffer(b"ABC", np.uint8),
    "atp_sku_offsets": np.array([0, 1, 3]),
    "atp_pair_branch": np.array([0], np.int32),
}


def test_prices_and_positions_have_one_name_table_of_skus(tmp_path: Path) -> None:
    first = write_snapshot(tmp_path, TWO_SIDES, {}, created_at=MONDAY)
    folder = tmp_path / "snapshots" / first
    prices = {"prices": np.zeros(2, np.int64)}  # as a delta: what did not change is linked
    unchanged = {name: folder / f"{name}.npy" for name in TWO_SIDES}
    second = write_snapshot(
        tmp_path, prices, {}, created_at=TUESDAY, link_from=unchanged, base=read_manifest(folder)
    )

    for version in (first, second):
        assert not list((tmp_path / "snapshots" / version).glob("atp_sku_*"))
        arrays = open_snapshot(tmp_path, version).arrays
        assert arrays["atp_sku_text"] is arrays["sku_bytes"]
        assert arrays["atp_sku_offsets"] is arrays["sku_offsets"]


@pytest.mark.parametrize("name", ["atp_sku_text", "atp_sku_offsets"])
def test_positions_of_other_items_than_prices_are_not_stored(tmp_path: Path, name: str) -> None:
    arrays = {**TWO_SIDES, name: TWO_SIDES[name] + 1}

    with pytest.raises(ValueError, match=f"{name}: not the same as sku_"):
        write_snapshot(tmp_path, arrays, {}, created_at=MONDAY)
    assert not list((tmp_path / "snapshots").iterdir())


def test_half_of_a_name_table_does_not_change(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / write_snapshot(tmp_path, TWO_SIDES, {}, created_at=MONDAY)
    linked = {"sku_bytes": folder / "sku_bytes.npy"}

    with pytest.raises(ValueError, match="both change, or neither"):
        write_snapshot(
            tmp_path,
            {"atp_sku_text": TWO_SIDES["atp_sku_text"]},
            {},
            created_at=TUESDAY,
            link_from=linked,
            base=read_manifest(folder),
        )


def test_prices_alone_have_no_names_of_positions(tmp_path: Path) -> None:
    prices = {name: array for name, array in TWO_SIDES.items() if not name.startswith("atp_")}
    activate(tmp_path, write_snapshot(tmp_path, prices, {}, created_at=MONDAY))

    assert set(open_snapshot(tmp_path).arrays) == set(prices)


def test_writing_does_not_activate(tmp_path: Path) -> None:
    stored(tmp_path)
    newer = write_snapshot(tmp_path, {"prices": np.zeros(2, np.int64)}, {}, created_at=TUESDAY)

    assert current_version(tmp_path) != newer
    assert [info.active for info in list_snapshots(tmp_path)] == [True, False]


def test_an_older_snapshot_can_be_activated_again(tmp_path: Path) -> None:
    first = stored(tmp_path, MONDAY)
    stored(tmp_path, TUESDAY)

    activate(tmp_path, first)

    assert open_snapshot(tmp_path).version == first


def test_a_store_without_snapshots_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoSnapshotError, match="no active snapshot"):
        open_snapshot(tmp_path)
    with pytest.raises(NoSnapshotError, match="no snapshot"):
        activate(tmp_path, "20260302T040506Z-00000000")
    with pytest.raises(NoSnapshotError):
        activate(tmp_path, "../../elsewhere")
    assert list_snapshots(tmp_path) == []


def _path(store: Path, name: str) -> Path:
    return store / "snapshots" / current_version(store) / name


@pytest.mark.parametrize("name", sorted(sample()))
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_flipped_byte_is_refused_and_the_file_named(tmp_path: Path, name: str, where: str) -> None:
    stored(tmp_path)
    path = _path(tmp_path, f"{name}.npy")
    data = bytearray(path.read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[where]] ^= 1
    path.write_bytes(data)

    with pytest.raises(SnapshotCorruptError, match=f"{name}.npy"):
        open_snapshot(tmp_path)


def test_a_truncated_file_is_refused_even_without_hashing(tmp_path: Path) -> None:
    stored(tmp_path)
    os.truncate(_path(tmp_path, "prices.npy"), 500)

    with pytest.raises(SnapshotCorruptError, match=r"prices.npy is truncated or changed: 500 bytes"):
        open_snapshot(tmp_path, verify=False)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    stored(tmp_path)
    _path(tmp_path, "pages.npy").unlink()

    with pytest.raises(SnapshotCorruptError, match=r"pages.npy is missing"):
        open_snapshot(tmp_path)


@pytest.mark.parametrize("found", [FORMAT_VERSION - 1, 99])
def test_a_snapshot_of_another_format_is_refused(tmp_path: Path, found: int) -> None:
    stored(tmp_path)
    path = _path(tmp_path, "manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": found}))

    told = f"manifest.json has format version {found}; this release reads {FORMAT_VERSION}: load again"
    with pytest.raises(SnapshotVersionError, match=told):
        open_snapshot(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    stored(tmp_path)
    _path(tmp_path, "manifest.json").write_text(text)

    with pytest.raises((SnapshotCorruptError, SnapshotVersionError), match=r"manifest.json"):
        open_snapshot(tmp_path)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    stored(tmp_path)
    path = _path(tmp_path, "manifest.json")
    path.write_text(path.read_text().replace('"UTC"', '"CET"'))

    with pytest.raises(SnapshotCorruptError, match="checksum"):
        open_snapshot(tmp_path)


def test_unchanged_arrays_are_linked_not_copied(tmp_path: Path) -> None:
    base = stored(tmp_path)
    source = tmp_path / "snapshots" / base / "prices.npy"

    version = write_snapshot(
        tmp_path,
        {"pages": np.zeros(3, np.int64)},
        {},
        created_at=TUESDAY,
        link_from={"prices": source},
        base=read_manifest(source.parent),
    )

    assert (tmp_path / "snapshots" / version / "prices.npy").samefile(source)
    arrays = open_snapshot(tmp_path, version).arrays
    np.testing.assert_array_equal(arrays["prices"], sample()["prices"])
    assert set(arrays) == {"pages", "prices"}


def test_what_a_dead_load_left_is_removed_by_the_next(tmp_path: Path) -> None:
    stored(tmp_path)
    leftover = tmp_path / "snapshots" / ".loading-dead"
    leftover.mkdir()
    (leftover / "prices.npy").write_bytes(b"half")

    assert len(list_snapshots(tmp_path)) == 1
    with loader_lock(tmp_path):
        assert not leftover.exists()
    assert open_snapshot(tmp_path).manifest["counts"] == {"items": 3}


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objects"):
        write_snapshot(tmp_path, {"a": np.zeros(2), "b": np.array([{}], object)}, {}, created_at=MONDAY)

    assert list((tmp_path / "snapshots").iterdir()) == []


def test_two_loads_never_hold_the_store_at_once(tmp_path: Path) -> None:
    with loader_lock(tmp_path), pytest.raises(LoaderBusyError, match="another load"), loader_lock(tmp_path):
        pass
    with loader_lock(tmp_path):
        pass


def _forge(store: Path, **changes: object) -> None:
    """Changes the manifest and its checksum with it, as somebody would who may write to the store."""
    path = _path(store, "manifest.json")
    manifest = {**json.loads(path.read_text()), **changes}
    manifest.pop("checksum")
    manifest["content_sha256"] = _content_hash(manifest["files"])
    manifest["checksum"] = _checksum(manifest)
    path.write_text(json.dumps(manifest))
    version = f"{MONDAY:%Y%m%dT%H%M%SZ}-{manifest['content_sha256'][:8]}"
    path.parent.rename(path.parent.parent / version)
    (store / "current").write_text(version + "\n")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../../outside.npy",
        "..",
        ".",
        "",
        "sub/prices.npy",
        "prices",
        "Prices.npy",
        "prices.npy\n",
        "\0.npy",
    ],
)
def test_a_manifest_that_names_what_lies_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    stored(tmp_path / "store")
    outside = tmp_path / "outside.npy"
    np.save(outside, np.arange(3))
    _forge(
        tmp_path / "store", files={name: {"sha256": hash_file(outside), "size_bytes": outside.stat().st_size}}
    )

    with pytest.raises(SnapshotCorruptError, match="which can't be an array of this snapshot") as raised:
        open_snapshot(tmp_path / "store")
    assert "pickle" not in str(raised.value)


@pytest.mark.parametrize(
    "entry", [None, [], {"sha256": 1, "size_bytes": 2}, {"sha256": "", "size_bytes": True}, {}]
)
def test_a_manifest_without_the_hash_or_size_of_a_file_is_refused(tmp_path: Path, entry: object) -> None:
    stored(tmp_path)
    path = _path(tmp_path, "manifest.json")
    manifest = {**json.loads(path.read_text()), "files": {"prices.npy": entry}}
    manifest.pop("checksum")
    path.write_text(json.dumps({**manifest, "checksum": _checksum(manifest)}))

    with pytest.raises(SnapshotCorruptError, match=r"no hash or size of prices.npy"):
        open_snapshot(tmp_path)


def test_a_manifest_whose_files_are_no_object_is_refused(tmp_path: Path) -> None:
    stored(tmp_path)
    path = _path(tmp_path, "manifest.json")
    manifest = {**json.loads(path.read_text()), "files": ["prices.npy"]}
    manifest.pop("checksum")
    path.write_text(json.dumps({**manifest, "checksum": _checksum(manifest)}))

    with pytest.raises(SnapshotCorruptError, match="it names no files"):
        open_snapshot(tmp_path)


@pytest.mark.parametrize("name", ["prices.npy", "manifest.json"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    stored(tmp_path / "store")
    path = _path(tmp_path / "store", name)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SnapshotCorruptError, match=f"{name} is not a plain file"):
        open_snapshot(tmp_path / "store")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    stored(tmp_path)
    path = _path(tmp_path, "prices.npy")
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(SnapshotCorruptError, match="is not a plain file"):
        open_snapshot(tmp_path)


def test_a_snapshot_that_is_a_link_to_another_folder_is_none(tmp_path: Path) -> None:
    version = stored(tmp_path / "store")
    folder = tmp_path / "store" / "snapshots" / version
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NoSnapshotError):
        open_snapshot(tmp_path / "store")


@pytest.mark.parametrize(
    "content", [b"root:x:0:0", pickle.dumps([1]), b"", b"PK\3\4", b"\x93NUMPY\1\0\xff\xff" + b"(" * 65_535]
)
def test_a_file_that_is_no_array_is_refused_without_advice_to_unpickle_it(
    tmp_path: Path, content: bytes
) -> None:
    stored(tmp_path)
    path = _path(tmp_path, "prices.npy")
    path.write_bytes(content)
    files = json.loads(_path(tmp_path, "manifest.json").read_text())["files"]
    _forge(tmp_path, files={**files, "prices.npy": {"sha256": hash_file(path), "size_bytes": len(content)}})

    with pytest.raises(
        SnapshotCorruptError, match=r"prices.npy is no array of numbers in the .npy format"
    ) as raised:
        open_snapshot(tmp_path)
    assert "pickle" not in str(raised.value)
