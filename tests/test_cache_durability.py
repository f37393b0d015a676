"""Several processes, kill -9, disks that fail and files that are damaged."""

import collections
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.open import open_state_cache
from pricegrid.cache.protocol import START, CacheCorruptError, Commit, Health, Put, Record
from pricegrid.cache.redis_store import RedisStateCache
from tests.cache_worlds import healthy, made, options, set_to
from tests.redis_servers import redis_server

ROOT = Path(__file__).parent.parent


def child(directory, port, name, wins, *failing) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.cache_child", directory, port, name, wins, *failing]
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def won(lines) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("won")]


def race(directories, port) -> list[list[int]]:
    """Four processes commit on one key; the last is killed in the middle. Returns the versions that each has won."""
    racers = [
        child(directory, port, f"p{n}", 100_000 if n == 3 else 150) for n, directory in enumerate(directories)
    ]
    victim = racers[-1]
    told = []
    for line in victim.stdout:
        told.append(line)
        if len(won(told)) == 60:
            victim.kill()
            break
    told += victim.stdout.readlines()
    victim.stdout.close()
    assert victim.wait() == -9
    results = [won(racer.communicate(timeout=60)[0].splitlines()) for racer in racers[:-1]]
    assert [racer.returncode for racer in racers[:-1]] == [0, 0, 0]
    return [*results, won(line for line in told if line.endswith("\n"))]


def check_race(wins, store, begin) -> None:
    counted = collections.Counter(version for versions in wins for version in versions)
    changes = [change for change in store.changes(begin, 10_000) if change.records]
    log = [change.records[0].version for change in changes]
    winner = {change.records[0].version: change.records[0].value for change in changes}

    assert max(counted.values()) == 1  # exactly one winner of each version
    assert log == list(range(1, len(log) + 1))
    assert store.get([("s", "x")])[0].version == len(log)
    for number, versions in enumerate(wins):
        assert all(winner[version] == b"p%d" % number for version in versions)  # nothing acknowledged is lost
    assert len(log) - sum(counted.values()) in {0, 1}  # the one that the kill left untold


@pytest.mark.slow
def test_processes_on_one_file_win_each_version_once_and_a_kill_loses_nothing(tmp_path):
    wins = race([tmp_path] * 4, 0)

    store = EmbeddedStateCache(tmp_path)
    check_race(wins, store, START)
    store.close()


@pytest.mark.slow
def test_processes_on_two_hosts_win_each_version_once_and_a_kill_loses_nothing(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        watcher = RedisStateCache(options(server.address), tmp_path / "watcher")
        healthy(watcher)
        begin = watcher.position()
        # Two share a mirror, as workers of one host do.
        wins = race([tmp_path / "a", tmp_path / "a", tmp_path / "b", tmp_path / "b"], server.port)
        check_race(wins, watcher, begin)
        watcher.close()


@pytest.mark.parametrize("failing", ["full", "fsync"])
def test_a_failing_disk_is_an_error_and_leaves_the_old_or_the_new_state(tmp_path, failing):
    process = child(tmp_path, 0, "p0", 40, failing)
    lines = process.communicate(timeout=60)[0].splitlines()

    told = won(lines)
    assert told == list(range(1, 21))
    assert any("state.sqlite" in line and "Error" in line for line in lines), lines
    assert "stands 20" in lines
    store = EmbeddedStateCache(tmp_path)
    (record,) = store.get([("s", "x")])
    assert record.version in {20, 21}
    assert [change.records[0].version for change in store.changes(START, 100)] == list(
        range(1, record.version + 1)
    )
    made(store, set_to("x", b"after", record.version))
    store.close()


def test_a_file_that_is_not_ours_is_refused_by_name(tmp_path):
    (tmp_path / "state.sqlite").write_bytes(b"not a database, by far long enough to be looked at" * 40)

    with pytest.raises(CacheCorruptError, match=r"state\.sqlite"):
        open_state_cache(tmp_path)


def read_all(directory) -> list[Record]:
    with contextlib.closing(EmbeddedStateCache(directory)) as store:
        return list(store.scan("s"))


@pytest.mark.parametrize("part", ["page", "value"])
def test_damage_is_found(tmp_path, part):
    store = EmbeddedStateCache(tmp_path)
    made(store, Commit(puts=[Put("s", f"{n:05}", b"abcdefgh" * 20) for n in range(500)]))
    store.close()
    path = tmp_path / "state.sqlite"
    content = bytearray(path.read_bytes())
    if part == "page":
        content[4096 * 3 : 4096 * 3 + 64] = b"\xff" * 64
    else:
        content = bytearray(bytes(content).replace(b"abcdefgh", b"abcdefgX"))
    path.write_bytes(content)

    with pytest.raises(CacheCorruptError, match=r"state\.sqlite"):
        read_all(tmp_path)


def test_what_was_committed_is_there_after_reopening(tmp_path):
    store = open_state_cache(tmp_path)
    (done,) = made(store, set_to("x", b"1", 0))
    store.close()

    again = open_state_cache(tmp_path)

    assert (again.get([("s", "x")]), again.position()) == ([Record("s", "x", 1, b"1")], done.position)
    assert again.health is Health.OK
    again.close()
