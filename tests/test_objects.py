"""Snapshots through object storage: what is sent and fetched, what is refused, and what a cut leaves."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from pricegrid.loaders.errors import (
    LoaderBusyError,
    PublishedMeanwhileError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotReplayedError,
    SnapshotUnsignedError,
    StorageError,
)
from pricegrid.loaders.objects.chunks import CHUNK_MAX, CHUNK_MIN, cut_file, ends
from pricegrid.loaders.objects.pointer import read_pointer
from pricegrid.loaders.objects.storage import Answer, ObjectStorage, open_storage
from pricegrid.loaders.objects.target import Pointers
from pricegrid.loaders.store.snapshot import (
    _checksum,
    current_version,
    list_snapshots,
    loader_lock,
    read_manifest,
    snapshot_folder,
)
from tests.object_worlds import WORDS, World, file_world, http_door, shown, unsigned


@pytest.fixture
def world(tmp_path: Path) -> World:
    return file_world(tmp_path)


@pytest.fixture
def signing(tmp_path: Path) -> World:
    return file_world(tmp_path, signs=True)


def whole_size(world: World, version: str) -> int:
    folder = snapshot_folder(world.folder / "made", version)
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json")


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_chunks_are_found_again_behind_what_is_put_in(width: int) -> None:
    words = np.random.default_rng(width).integers(0, 256, (3 << 20) // width * width, np.uint8)
    put = np.concatenate([words[: 4096 * width], words[:width], words[4096 * width :]])

    before, after = (ends(content, 0, width) for content in (words, put))

    sizes = np.diff([0, *before])
    assert before[-1] == len(words)
    assert sizes.max() <= CHUNK_MAX
    assert sizes[:-1].min() >= CHUNK_MIN
    assert len({end + width for end in before} & set(after)) >= len(before) - 1


@pytest.mark.parametrize("size", [0, 1, CHUNK_MIN, CHUNK_MIN + 1, CHUNK_MAX + 1])
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_chunks_make_the_whole_file(tmp_path: Path, size: int, suffix: str) -> None:
    path = tmp_path / f"some{suffix}"
    if suffix == ".npy":
        np.save(path, np.zeros(size, np.uint8))
    else:
        path.write_bytes(bytes(size))

    assert sum(chunk.size for chunk in cut_file(path).chunks) == path.stat().st_size


def test_a_snapshot_is_pulled_as_it_was_pushed_and_equal_objects_travel_once(world: World) -> None:
    first = world.make(0)
    sent = world.push(first)
    fetched = world.pull()

    lists = sum(path.stat().st_size for path in (world.remote / "chunks").rglob("*") if path.is_file())
    assert sent.sent_bytes == whole_size(world, first) + lists
    assert (fetched.snapshot, fetched.is_new, shown(world.folder / "served")) == (first, True, 0)
    second = world.published(1, changed=1)
    fetched = world.pull()
    assert shown(world.folder / "served") == 1
    assert 0 < fetched.fetched_bytes < whole_size(world, second) / 2
    same = [snapshot_folder(world.folder / "served", each) / "same.npy" for each in (first, second)]
    assert same[0].samefile(same[1])
    assert not world.pull().is_new


def test_what_is_there_is_not_sent_again_and_what_is_cut_is(world: World) -> None:
    version = world.published(0)
    sha256 = read_manifest(snapshot_folder(world.folder / "made", version))["files"]["few.npy"]["sha256"]

    assert (world.push(version).sent_bytes, world.push(version).is_new) == (0, False)
    whole = world.object_of(sha256).read_bytes()
    world.object_of(sha256).write_bytes(whole[:-1])
    assert world.push(version).sent_objects == 1
    assert world.object_of(sha256).read_bytes() == whole


def test_a_server_does_without_what_later_loads_need(world: World) -> None:
    version = world.published(0)

    world.pull("served", with_kept=False)
    world.pull("copy")

    assert not (snapshot_folder(world.folder / "served", version) / "kept_sample.parquet").exists()
    kept = snapshot_folder(world.folder / "copy", version) / "kept_sample.parquet"
    assert kept.read_bytes() == b"for later loads"


def broken_objects(world: World, version: str) -> dict[str, Path]:
    """Files of the storage by what they are of `values`, which has a list of chunks."""
    sha256 = read_manifest(snapshot_folder(world.folder / "made", version))["files"]["values.npy"]["sha256"]
    listed = world.remote / "chunks" / sha256[:2] / sha256
    return {
        "pointer": world.remote / "current",
        "manifest": world.remote / "manifests" / f"{version}.json",
        "list": listed,
        "chunk": world.object_of(json.loads(listed.read_text())[1][1]),
    }


@pytest.mark.parametrize("kind", ["pointer", "manifest", "list", "chunk"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_what_is_torn_is_refused_and_the_last_good_one_stays(signing: World, kind: str, damage: str) -> None:
    first = signing.published(0)
    signing.pull()
    second = signing.published(1, changed=WORDS)
    victim = broken_objects(signing, second)[kind]
    whole = victim.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    if damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes({"cut": whole[:-2], "flipped": bytes(flipped), "empty": b""}[damage])

    with pytest.raises((SnapshotError, StorageError)):
        signing.pull()

    assert current_version(signing.folder / "served") == first
    assert [info.version for info in list_snapshots(signing.folder / "served")] == [first]
    victim.write_bytes(whole)
    assert signing.pull().snapshot == second


def test_a_chunk_counts_by_its_hash_and_a_file_by_the_manifests(world: World) -> None:
    victims = broken_objects(world, world.published(0))
    listed = victims["list"].read_text()
    victims["list"].write_text(json.dumps(json.loads(listed)[::-1]))
    with pytest.raises(SnapshotCorruptError, match=r"the chunks of values.npy are not those of the manifest"):
        world.pull()
    victims["list"].write_text(listed)
    victims["chunk"].write_bytes(bytes(victims["chunk"].stat().st_size))
    with pytest.raises(SnapshotCorruptError, match="is damaged: its SHA-256 is not its name"):
        world.pull("another")


def test_what_nobody_trusted_has_signed_is_refused(signing: World) -> None:
    version = signing.make(0)
    unsigned(signing).push(version)

    with pytest.raises(SnapshotUnsignedError, match="current is not signed"):
        signing.pull()
    shutil.rmtree(signing.remote)
    shutil.copy(signing.folder / "other", signing.folder / "key")
    signing.push(signing.make(1, store="foreign"), store="foreign")
    with pytest.raises(SnapshotUnsignedError, match="a key that is not trusted"):
        signing.pull()
    assert not (signing.folder / "served" / "current").exists()


def test_a_pointer_says_nothing_but_what_is_signed(signing: World) -> None:
    first, second = signing.published(0), signing.published(1, changed=1)
    signing.push(second, canary=True)
    whole = (signing.remote / "current").read_text()

    for changes in ({"snapshot": first}, {"sequence": 99}, {"origin": "0" * 64}, {"signature": None}):
        signing.point(**changes)
        with pytest.raises(SnapshotUnsignedError):
            signing.pull()
        (signing.remote / "current").write_text(whole)
    shutil.copy(signing.remote / "canary", signing.remote / "current")
    with pytest.raises(SnapshotCorruptError, match="another pointer, 'canary'"):
        signing.pull()


def test_a_manifest_of_an_unsigned_storage_names_files_of_its_own_folder_alone(world: World) -> None:
    version = world.published(0)
    path = world.remote / "manifests" / f"{version}.json"
    good = json.loads(path.read_text())
    entry = good["kept_files"]["kept_sample.parquet"]
    for files in ({"../../evil": entry}, {"kept_a.npy": {**entry, "sha256": "../x"}}, {"kept_a.npy": 1}, []):
        manifest = {**good, "kept_files": files}
        world.point(manifest_sha256="0" * 64)
        with pytest.raises(SnapshotCorruptError, match="not the manifest that the pointer names"):
            world.pull()
        text = json.dumps({**manifest, "checksum": _checksum(manifest)})
        path.write_text(text)
        with pytest.raises(SnapshotCorruptError, match="is no manifest"):
            world.pull(pin=version)

    assert not (world.folder / "evil").exists()


def test_an_older_pointer_is_refused_unless_an_operator_says_so(signing: World) -> None:
    first = signing.published(0)
    old = (signing.remote / "current").read_text()
    second = signing.published(1, changed=1)
    signing.pull()
    (signing.remote / "current").write_text(old)

    with pytest.raises(SnapshotReplayedError, match="is publication 1, and 2 was seen there"):
        signing.pull()
    assert current_version(signing.folder / "served") == second
    assert signing.pull("new").snapshot == first, "who has seen nothing can't tell"
    assert signing.pull(accept_older=True).snapshot == first
    assert not signing.pull().is_new, "it is the one that was seen last now"


def test_another_storage_in_the_place_of_one_is_refused(signing: World) -> None:
    signing.published(0)
    signing.pull()
    shutil.rmtree(signing.remote)
    second = signing.published(1, changed=1)

    with pytest.raises(SnapshotReplayedError, match="is another storage than was followed there"):
        signing.pull()
    assert signing.pull(accept_older=True).snapshot == second


def test_going_back_is_a_publication_like_any_other(signing: World) -> None:
    first, second = signing.published(0), signing.published(1, changed=1)
    assert signing.pull().snapshot == second

    with pytest.raises(StorageError, match=f"which is newer than {first}: give --back"):
        signing.push(first)
    assert signing.push(first, back=True).sequence == 3
    assert signing.pull().snapshot == first
    assert shown(signing.folder / "served") == 0


def test_canaries_follow_whatever_was_published_last(world: World) -> None:
    first = world.published(0)
    second = world.make(1, changed=1)
    world.push(second, canary=True)

    assert (world.pull("served").snapshot, world.pull("canary", canary=True).snapshot) == (first, second)
    world.push(second)
    assert world.pull("served").snapshot == second
    third = world.published(2, changed=2)
    assert world.pull("canary", canary=True).snapshot == third


def test_a_pinned_snapshot_is_taken_whatever_the_pointer_says(signing: World) -> None:
    first, second = signing.published(0), signing.published(1, changed=1)

    assert signing.pull(pin=first).snapshot == first
    assert signing.pull().snapshot == second


class Racing(ObjectStorage):
    """Another producer publishes just before this one's pointer is written."""

    def __init__(self, world: World, other: str) -> None:
        super().__init__(world.url, world.storage._inner, world.remote)
        self._world, self._other = world, other

    def swap(self, *args: object) -> bool:
        if self._other:
            other, self._other = self._other, ""
            self._world.push(other)
        return super().swap(*args)

    def create(self, key: str, content: bytes) -> bool:
        return (
            self.swap(key, content, None)
            if key == "current" and self._other
            else super().create(key, content)
        )


@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_producers_one_wins_and_nothing_is_mixed(
    world: World, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    if not is_first:
        world.published(0)
    mine, theirs = world.make(1, changed=1), world.make(2, changed=2)
    racing = Racing(world, theirs)
    monkeypatch.setattr(
        World, "storage", property(lambda _: racing if racing._other else open_storage(world.url))
    )

    with pytest.raises(PublishedMeanwhileError, match=f"has published {theirs}"):
        world.push(mine)

    assert world.pull().snapshot == theirs
    assert shown(world.folder / "served") == 2


def test_many_producers_at_once_take_turns_by_the_lock_of_files(world: World) -> None:
    version = world.published(0)
    read = read_pointer(world.storage, "current", None)
    assert not isinstance(read, Answer)
    swapped: list[bool] = []

    def swap(number: int) -> None:
        swapped.append(world.storage.swap("current", f"{number}".encode(), read.mark))

    threads = [threading.Thread(target=swap, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(swapped) == [False] * 7 + [True]
    assert version


class CutOff(ObjectStorage):
    """Is away after so many objects."""

    def __init__(self, world: World, after: int) -> None:
        super().__init__(world.url, world.storage._inner, world.remote)
        self.left, self.fetched = after, list[str]()

    def get(self, key: str, size_max: int, **options: object) -> object:
        if key.startswith("objects/"):
            if self.left == 0:
                raise StorageError("away")
            self.left -= 1
            self.fetched.append(key)
        return super().get(key, size_max, **options)


def test_a_pull_that_is_cut_off_is_gone_on_with(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    version = world.published(0)
    cut, rest = CutOff(world, 3), CutOff(world, 1 << 30)

    monkeypatch.setattr(World, "storage", cut)
    with pytest.raises(StorageError, match="away"):
        world.pull()
    assert not (world.folder / "served" / "current").exists()
    with loader_lock(world.folder / "served"):
        pass  # a load in between removes what dead loads left, and nothing of this
    monkeypatch.setattr(World, "storage", rest)
    assert world.pull().snapshot == version

    assert len(cut.fetched) == 3
    assert set(cut.fetched) & set(rest.fetched) == set()
    assert [path.name for path in (world.folder / "served" / "snapshots").iterdir()] == [version]


def test_a_file_of_the_store_that_is_damaged_is_not_linked(world: World) -> None:
    first = world.published(0)
    world.pull()
    victim = snapshot_folder(world.folder / "served", first) / "same.npy"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)

    second = world.published(1, changed=1)
    world.pull()

    assert snapshot_folder(world.folder / "served", second).joinpath("same.npy").read_bytes() != bytes(
        content
    )


def test_a_snapshot_that_can_not_be_served_is_not_activated(world: World) -> None:
    first = world.published(0)
    world.pull()
    second = world.published(1, changed=1)

    def refuse(_: Path, version: str) -> None:
        raise SnapshotError(f"{version} is nonsense")

    with pytest.raises(SnapshotError, match="is nonsense"):
        world.pull(check=refuse)
    assert [info.version for info in list_snapshots(world.folder / "served")] == [first]
    assert second


def test_old_snapshots_are_removed_once_the_new_one_is_active(world: World) -> None:
    versions = []
    for minute in range(3):
        versions.append(world.published(minute, changed=minute))
        pulled = world.pull(keep=2)

    assert pulled.removed == (versions[0],)


def test_one_store_is_loaded_or_pulled_into(world: World) -> None:
    world.published(0)

    with loader_lock(world.folder / "served"), pytest.raises(LoaderBusyError):
        world.pull()


def test_a_store_without_room_says_so_before_it_fetches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.published(0)
    usage = shutil.disk_usage(world.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))

    with pytest.raises(SnapshotError, match="has no room for a snapshot"):
        world.pull()


def test_a_manifest_that_is_another_one_there_is_never_replaced(world: World) -> None:
    version = world.published(0)
    (world.remote / "manifests" / f"{version}.json").write_text("other")

    with pytest.raises(StorageError, match="is another manifest than this store's"):
        world.push(version)


def test_who_signs_is_not_followed_by_who_does_not(signing: World) -> None:
    signing.published(0)
    version = signing.make(1, changed=1)

    with pytest.raises(SnapshotUnsignedError, match="give --sign-key"):
        unsigned(signing).push(version)


def test_a_web_server_over_a_storage_is_read_and_asked_for_changes_alone(world: World) -> None:
    version = world.published(0)
    with http_door(world.remote) as (url, asked):
        door = World(world.folder, url)
        assert door.pull(storage=open_storage(url)).snapshot == version
        pointers = Pointers(open_storage(url), world.folder / "served")
        asked.clear()
        assert pointers.look(None) == pointers.look(None)
        with pytest.raises(StorageError, match="can only be read"):
            open_storage(url, to_write=True)

    assert asked == [("/current", False), ("/current", True)]


def test_a_storage_that_is_away_or_empty_says_so(world: World) -> None:
    """A folder may be mounted later than its follower starts."""
    storage = open_storage(world.url)

    with pytest.raises(StorageError, match="can't be used"):
        storage.get("current", 10)
    assert not world.remote.exists()
    with pytest.raises(StorageError, match="has no snapshot yet"):
        world.pull()  # which makes the folder, as a push does
    assert storage.get("current", 10) is Answer.ABSENT
