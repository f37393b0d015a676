"""What the supervisor decides without starting a process."""

import multiprocessing
import socket
from datetime import UTC, datetime

import numpy as np
import pytest

from loaders.snapshot import activate, write_snapshot
from pricing_engine.model import ExceptionPolicy
from service.compile_cache import sources_digest, use_compile_cache
from service.supervisor import (
    ServeError,
    ServeOptions,
    SnapshotWatcher,
    Supervisor,
    is_loopback,
    reserved_port,
)
from tests.stores import price_rows, publish


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_knows_which_addresses_stay_on_this_machine(host, loopback):
    assert is_loopback(host) is loopback


def test_an_address_that_others_can_reach_must_be_meant(tmp_path):
    with pytest.raises(ServeError, match="--allow-remote"):
        Supervisor(ServeOptions(tmp_path, host="0.0.0.0"), lambda ready: None)


def test_workers_can_share_the_port_that_is_held():
    with reserved_port("127.0.0.1", 0) as port, socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", port))


def test_a_port_somebody_serves_on_is_not_shared():
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()

        with pytest.raises(ServeError, match="in use"), reserved_port("127.0.0.1", other.getsockname()[1]):
            pass


@pytest.fixture
def watcher(tmp_path):
    version = publish(tmp_path, price_rows("10"), minute=0)
    reports, report = multiprocessing.Pipe(duplex=False)
    with reports, report:
        yield SnapshotWatcher(tmp_path, ExceptionPolicy(), version, report)


def test_nothing_new_is_nothing_to_report(watcher):
    assert watcher.look() is None


def test_a_new_snapshot_is_reported_once(watcher, tmp_path):
    version = publish(tmp_path, price_rows("20"), minute=1)

    assert [watcher.look(), watcher.look()] == [version, None]


def test_a_damaged_snapshot_is_logged_once_and_passed_over(watcher, tmp_path, caplog):
    version = publish(tmp_path, price_rows("20"), minute=1)
    victim = min((tmp_path / "snapshots" / version).glob("*.npy"))
    victim.write_bytes(victim.read_bytes()[:-1])

    assert [watcher.look(), watcher.look()] == [None, None]
    assert caplog.text.count(victim.name) == 1


def test_a_snapshot_of_another_release_is_passed_over(watcher, tmp_path, caplog):
    version = write_snapshot(tmp_path, {"odd": np.arange(3)}, {}, created_at=datetime(2026, 1, 2, tzinfo=UTC))
    activate(tmp_path, version)

    assert watcher.look() is None
    assert version in caplog.text
    assert "Traceback" not in caplog.text


def test_a_pointer_that_is_gone_for_a_moment_changes_nothing(watcher, tmp_path):
    (tmp_path / "current").unlink()

    assert watcher.look() is None


def test_the_compile_cache_stays_where_the_operator_put_it():
    environment = {"NUMBA_CACHE_DIR": "/somewhere"}

    use_compile_cache(environment)

    assert environment == {"NUMBA_CACHE_DIR": "/somewhere"}


def test_the_compile_cache_is_another_one_when_a_source_changes(tmp_path):
    (tmp_path / "callee.py").write_text("ANSWER = 1\n")
    before = sources_digest([tmp_path / "callee.py"])
    same = sources_digest([tmp_path / "callee.py"])
    (tmp_path / "callee.py").write_text("ANSWER = 2\n")

    assert before == same != sources_digest([tmp_path / "callee.py"])
