"""What goes wrong around a server at its start, while it runs and at its end: said once, and lived with."""

import contextlib
import logging
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from pricegrid import v1
from pricegrid.cache.open import cache_name
from pricegrid.cache.protocol import DiskFullError, Value
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.clock import host_ns
from pricegrid.service.erp_overlay import fallback
from pricegrid.service.live import writer
from pricegrid.service.live.files import Beacon, OtherCacheError, WriterBusyError, writer_lock
from pricegrid.service.process import forker
from pricegrid.service.process.heartbeat import Pulse, Reporter
from pricegrid.service.process.worker import ReadOnly, Serving, Stop, WorkerConfig
from pricegrid.service.quota.accounts import open_accounts
from tests.redis_servers import HOST, RedisServer, free_port, redis_server
from tests.servers import DEADLINE_S, until
from tests.stores import publish, stocked_rows
from tests.supervised import supervised

ALONE = cache_name(None)
HERE, THERE = (cache_name(RedisOptions(((HOST, port),))) for port in (7001, 7002))


@pytest.fixture
def store(tmp_path) -> Path:
    publish(tmp_path / "store", stocked_rows())
    return tmp_path / "store"


def said(caplog, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_a_redis_that_is_away_is_said_once_and_again_when_that_changes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    redis = RedisServer(tmp_path / "redis")
    options = RedisOptions(((HOST, redis.port),), password="top-secret", retry_max_s=0.06)
    with contextlib.closing(RedisStateCache(options, tmp_path / "host")) as cache:
        until(lambda: said(caplog, "live state is not shared"), "it is said")
        attempts = cache._agent._link._at((HOST, redis.port))
        seen = attempts._failures
        until(lambda: attempts._failures > seen + 3, "it is tried again and again")
        (line,) = said(caplog, "live state is not shared")
        assert f"{HOST}:{redis.port}" in line
        assert "UNREACHABLE" in line

        redis.arguments, redis.password = ("--requirepass", "top-secret"), "top-secret"
        try:
            redis.start()
            until(
                lambda: said(caplog, f"live state is shared over redis://{HOST}:{redis.port}"), "it is well"
            )
            before = len(said(caplog, "live state is not shared"))
            redis.kill()
            until(lambda: len(said(caplog, "live state is not shared")) > before, "it is said again")
            until(lambda: "refused" in said(caplog, "live state is not shared")[-1], "and then as it was")
            assert len(said(caplog, "live state is not shared")) <= before + 2
        finally:
            redis.kill()
    assert "top-secret" not in caplog.text


@pytest.mark.parametrize(("password", "why"), [("wrong", "password"), ("", "Authentication required")])
def test_a_redis_that_refuses_the_password_is_said(tmp_path, caplog, password, why):
    with redis_server(tmp_path / "redis", password="right") as redis:
        options = RedisOptions((redis.address,), password=password)
        with contextlib.closing(RedisStateCache(options, tmp_path / "host")):
            until(lambda: said(caplog, "live state is not shared"), "it is said")
    line = said(caplog, "live state is not shared")[0]
    assert f"{HOST}:{redis.port}" in line
    assert why in line
    assert "wrong" not in line


def test_a_writer_says_where_live_state_is_and_others_must_agree(store):
    with writer_lock(store, HERE):
        with pytest.raises(WriterBusyError) as busy, writer_lock(store, HERE):
            pass
        assert not isinstance(busy.value, OtherCacheError)
        for other in (THERE, ALONE):
            with pytest.raises(OtherCacheError) as refused, writer_lock(store, other):
                pass
            assert refused.value.theirs == HERE
    with writer_lock(store), pytest.raises(WriterBusyError) as unknown, writer_lock(store, HERE):
        pass
    assert not isinstance(unknown.value, OtherCacheError)
    with writer_lock(store, ALONE):  # what it was before binds nobody
        assert (store / "live" / "writer.lock").read_text() == ALONE


def test_the_name_of_a_cache_holds_no_secret_and_tells_histories_apart():
    url = "redis+sentinel://user:secret@two,one/main/3?prefix=shop"
    assert cache_name(RedisOptions.from_url(url)) == (
        "in redis+sentinel://one:26379,two:26379/main, database 3, under shop"
    )


@pytest.mark.slow
def test_a_second_server_with_another_cache_is_refused(store):
    with supervised(store) as first:
        command = [sys.executable, "-m", "pricegrid.service.cli.main", "serve", "--store", str(store)]
        command += ["--port", "0", "--workers", "1", "--redis-url", f"redis://{HOST}:{free_port()}"]
        second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        assert first.says()[0] == 10
    assert second.returncode == 1
    last = second.stderr.splitlines()[-1]
    assert last.startswith(
        f"pricegrid: another server keeps the live state of {store} in the store alone, and"
    )
    assert "give both the same --redis-url, or stop the other" in last
    assert second.stdout == ""


def test_a_full_disk_is_said_once_and_the_writer_goes_on_when_there_is_room(store, monkeypatch, caplog):
    """As the process does it; its loop runs here."""
    refusals = [DiskFullError("state.sqlite: database or disk is full (SQLITE_FULL)")] * 2
    opened = writer.open_state_cache

    def on_a_full_disk(*args, **options):
        if refusals:
            raise refusals.pop()
        return opened(*args, **options)

    monkeypatch.setattr(writer, "open_state_cache", on_a_full_disk)
    monkeypatch.setattr(writer, "RESTART_DELAY_MAX_S", 0.0)
    version = (store / "current").read_text().strip()
    ours, theirs = multiprocessing.Pipe()
    ours.send(Stop())  # which is heard when it serves
    config = WorkerConfig(store, version, "", ExceptionPolicy())
    pulse = Pulse(lambda: None)
    writer._run(writer._Process(config, theirs, Reporter(theirs), Beacon(), pulse, [False]))
    assert [ours.recv() for _ in range(2)] == [ReadOnly(), ReadOnly()]
    (line,) = said(caplog, "live state can't be opened, changes are refused until it can")
    assert "disk is full" in line
    assert [r.exc_info for r in caplog.records if r.exc_info] == []
    assert ours.recv() == Serving(version)


@pytest.mark.slow
def test_a_server_whose_live_state_can_t_be_opened_is_ready_for_reads_and_heals(store, capfd):
    damaged = store / "live" / "state.sqlite"
    damaged.parent.mkdir()
    damaged.write_bytes(b"no database, but long enough to be looked at " * 100)
    with supervised(store) as served:
        assert served.says()[:2] == (10, False)
        assert served.health() == "SERVING"
        first = served.pid()
        damaged.unlink()
        until(lambda: served.health(v1.AVAILABILITY_SERVICE) == "SERVING", "it goes on by itself")
        assert served.pid() == first
        assert served.supervisor._writer.ended == 0
    told = capfd.readouterr().err
    assert told.count("live state can't be opened, changes are refused until it can") == 1
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_process_that_has_not_begun_does_not_delay_the_end(store, monkeypatch, caplog):
    """One that imports for itself, which takes a while."""
    monkeypatch.setattr(forker, "context", lambda: multiprocessing.get_context("spawn"))
    with supervised(store, is_ready=False, grace_s=0.1) as served:
        until(lambda: bool(served.pid(0) and served.pid()), "its processes are started")
        with served.stopped(served.pid(0)), served.stopped(served.pid()):
            assert served.stop() == 0
    assert said(caplog, "did not end in time") == []


def unwritable(tmp_path) -> Path:
    """A store in which a file is where folders should be made."""
    for name in ("live", fallback.CACHE_FOLDER):
        (tmp_path / name).write_text("")
    return tmp_path


def test_quotas_hold_in_each_worker_where_the_store_can_t_be_written(tmp_path, caplog):
    accounts = open_accounts(unwritable(tmp_path), host_ns)
    assert [accounts.account(key)[1] for key in (7, 8, 7)] == [7, 8, 7]
    assert len(said(caplog, "this worker counts for itself")) == 1


def test_answers_of_the_erp_are_kept_in_memory_where_the_store_can_t_be_written(tmp_path, caplog):
    cache = fallback._kept(unwritable(tmp_path))
    cache.put([Value("C1", "k", b"answer", 1, 10)])
    assert [value.value for value in cache.get("C1", ["k"], 5) if value] == [b"answer"]
    assert len(said(caplog, "kept in memory alone")) == 1
