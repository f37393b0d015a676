"""A disk that is full: what is stored can be read, deleted and freed; nothing else is promised."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import Commit, DiskFullError, Put
from pricegrid.cache.reserve_room import FILE, ReserveRoom
from tests.cache_worlds import made

LETTER = b"x" * 60_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MB of its own."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def filled(store) -> list[str]:
    names: list[str] = []
    with contextlib.suppress(DiskFullError):
        while True:
            made(store, Commit(puts=[Put("letter", f"{len(names):05}", LETTER)]))
            names.append(f"{len(names):05}")
    return names


def drop(names) -> Commit:
    return Commit(puts=[Put("letter", name, None) for name in names])


def test_a_full_disk_is_freed_by_dropping(small_disk):
    with contextlib.closing(EmbeddedStateCache(small_disk)) as store:
        names = filled(store)
        assert len(names) > 100
        before = (small_disk / "state.sqlite").stat().st_size

        made(store, drop(names))

        assert list(store.scan("letter")) == []
        assert sum(path.stat().st_size for path in small_disk.glob("state.sqlite*")) < before / 4
        assert ReserveRoom(small_disk).keep()
        made(store, Commit(puts=[Put("letter", "again", LETTER)]))


def test_a_store_on_a_full_disk_is_opened_again(small_disk):
    with contextlib.closing(EmbeddedStateCache(small_disk)) as store:
        names = filled(store)
    with contextlib.suppress(OSError), (small_disk / "others").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    with contextlib.closing(EmbeddedStateCache(small_disk)) as store:
        assert len(list(store.scan("letter"))) == len(names)
        made(store, drop(names))


def test_a_file_gives_back_what_was_dropped(tmp_path):
    with contextlib.closing(EmbeddedStateCache(tmp_path)) as store:
        names = [f"{n:05}" for n in range(300)]
        for name in names:
            made(store, Commit(puts=[Put("letter", name, LETTER)]))
        made(store, Commit(puts=[Put("letter", "stays", LETTER)]))

        for some in (names[:150], names[150:]):
            made(store, drop(some))

        assert (tmp_path / "state.sqlite").stat().st_size < 2_000_000
        assert [record.name for record in store.scan("letter")] == ["stays"]
        changes = store.changes("", 1000)
        assert [record.value for change in changes for record in change.records].count(LETTER) == 1


def test_a_file_of_an_earlier_release_learns_to_give_back(tmp_path):
    script = """
import sqlite3, sys
from pricegrid.cache import embedded
file = sqlite3.connect(sys.argv[1] + "/state.sqlite", isolation_level=None)
for statement in embedded.SCHEMA.split(";"):
    file.execute(statement)
file.execute(f"PRAGMA application_id={embedded.FORMAT}")
assert file.execute("PRAGMA auto_vacuum").fetchone() == (0,)
"""
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parent.parent
    )
    with contextlib.closing(EmbeddedStateCache(tmp_path)) as store:
        assert store.database.rows("PRAGMA auto_vacuum") == [(2,)]
        assert (tmp_path / FILE).stat().st_size > 1 << 20
