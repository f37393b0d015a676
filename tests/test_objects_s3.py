"""The same through a server of the S3 protocol: what it promises is what `loaders.objects.storage` takes for granted.

It is moto's. moto is not S3, and no other storage is here: of Google's, Azure's and others it is obstore's word that
they do the same.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricegrid.loaders.errors import SnapshotReplayedError, StorageError
from pricegrid.loaders.objects.storage import Answer, Got
from tests.object_worlds import World, s3_server, shown
from tests.ports import free_port

pytestmark = pytest.mark.slow
COMMAND = (sys.executable, "-m", "pricegrid.service.cli.main", "snapshots")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def world(s3: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in s3.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return World(tmp_path, f"s3://shop/{tmp_path.name}")


def test_objects_are_created_once_read_by_mark_and_swapped_if_unchanged(world: World) -> None:
    storage = world.storage

    assert storage.get("a", 10) is Answer.ABSENT
    assert storage.size("a") is None
    assert [storage.create("a", b"old"), storage.create("a", b"new")] == [True, False]
    got = storage.get("a", 10)
    assert isinstance(got, Got)
    assert (got.content, storage.size("a")) == (b"old", 3)
    assert storage.get("a", 10, unless=got.mark) is Answer.UNCHANGED
    with pytest.raises(StorageError, match="has more than 2 bytes"):
        storage.get("a", 2)
    assert [storage.swap("a", b"new", got.mark), storage.swap("a", b"newer", got.mark)] == [True, False]
    assert [storage.swap("b", b"one", None), storage.swap("b", b"two", None)] == [True, False]


def test_of_many_producers_at_once_one_wins(world: World) -> None:
    world.published(0)
    versions = [world.make(minute, changed=minute, store=f"made{minute}") for minute in range(1, 5)]
    outcomes: list[str] = []

    def publish(minute: int, version: str) -> None:
        try:
            world.push(version, store=f"made{minute}", back=True)
        except StorageError as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append(version)

    threads = [threading.Thread(target=publish, args=each) for each in enumerate(versions, start=1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    won = [each for each in outcomes if each in versions]
    assert set(outcomes) - set(won) <= {"PublishedMeanwhileError"}
    pulled = world.pull()
    assert pulled.snapshot in won
    assert shown(world.folder / "served") == versions.index(pulled.snapshot) + 1


def test_commands_push_and_pull(world: World, s3: dict[str, str]) -> None:
    first = world.make(0)
    store = ["--store", str(world.folder / "made")]
    pushed = subprocess.run(
        [*COMMAND, "push", world.url, *store], env=s3, capture_output=True, text=True, check=True
    )
    served = ["--store", str(world.folder / "served")]
    pulled = subprocess.run(
        [*COMMAND, "pull", world.url, *served], env=s3, capture_output=True, text=True, check=True
    )

    assert f"{first} is served from now on as current, publication 1" in pushed.stdout
    assert f"active: {first}" in pulled.stdout


def test_a_storage_that_is_away_is_no_answer_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.published(0)
    world.pull()
    monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(StorageError, match="can't be used"):
        world.pull()
    assert shown(world.folder / "served") == 0
    assert first


def test_an_old_pointer_is_refused(world: World) -> None:
    world.published(0)
    old = world.storage.get("current", 10_000)
    assert isinstance(old, Got)
    world.published(1, changed=1)
    world.pull()
    world.storage.replace("current", old.content)

    with pytest.raises(SnapshotReplayedError):
        world.pull()
