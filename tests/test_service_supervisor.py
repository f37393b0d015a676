"""What the supervisor decides without starting a process."""

import multiprocessing
import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pricegrid.loaders.errors import SnapshotError
from pricegrid.loaders.store.snapshot import activate, write_snapshot
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.process.children import Child
from pricegrid.service.process.heartbeat import Beat, Pulse
from pricegrid.service.process.reach import ServeError, is_loopback, reserved_port
from pricegrid.service.process.supervisor import ServeOptions, Supervisor
from pricegrid.service.process.watcher import SnapshotWatcher
from pricegrid.service.process.worker import Activate, Serving, SwapFailed
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
    assert watcher.poll() is None


def test_a_new_snapshot_is_reported_once(watcher, tmp_path):
    version = publish(tmp_path, price_rows("20"), minute=1)

    assert [watcher.poll(), watcher.poll()] == [version, None]


def test_a_damaged_snapshot_is_logged_once_and_passed_over(watcher, tmp_path, caplog):
    version = publish(tmp_path, price_rows("20"), minute=1)
    victim = min((tmp_path / "snapshots" / version).glob("*.npy"))
    victim.write_bytes(victim.read_bytes()[:-1])

    assert [watcher.poll(), watcher.poll()] == [None, None]
    assert caplog.text.count(victim.name) == 1


class Checks:
    """Checks snapshots with given results: an error, or None for a good one."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers, self.now_s = list(answers), 0.0

    def __call__(self, store: Path, version: str, policy: ExceptionPolicy) -> str:
        error = self.answers.pop(0)
        if error is not None:
            raise error
        return version

    def clock_s(self) -> float:
        return self.now_s


def looking(store: Path, checks: Checks, version: str = "before") -> SnapshotWatcher:
    _, report = multiprocessing.Pipe(duplex=False)
    return SnapshotWatcher(store, ExceptionPolicy(), version, report, clock_s=checks.clock_s, check=checks)


def test_a_refused_snapshot_is_looked_at_again_with_patience(tmp_path, caplog):
    """Out of memory or file handles for a moment, or restored in place: no visible change of the files."""
    version = publish(tmp_path, price_rows("20"), minute=1)
    checks = Checks(*[OSError(24, "Too many open files")] * 3, None)
    watcher = looking(tmp_path, checks)

    seen = []
    for _ in range(8):
        seen.append((watcher.poll(), len(checks.answers)))
        checks.now_s += 1

    #  refused at 0, 1 and 3 s; whole at 7 s
    assert [left for _, left in seen] == [3, 2, 2, 1, 1, 1, 1, 0]
    assert [found for found, _ in seen] == [None] * 7 + [version]
    assert caplog.text.count("Too many open files") == 1, "told once"
    assert watcher.poll() is None


@pytest.mark.parametrize("mended", ["a file", "the pointer", "a late manifest"])
def test_a_refused_snapshot_is_looked_at_again_as_soon_as_it_is_mended(tmp_path, mended):
    version = publish(tmp_path, price_rows("20"), minute=1)
    checks = Checks(SnapshotError("damaged"), None)
    watcher = looking(tmp_path, checks)
    directory = tmp_path / "snapshots" / version
    victim = directory / "manifest.json"
    if mended == "a late manifest":
        victim.rename(tmp_path / "late")
    assert watcher.poll() is None
    assert watcher.poll() is None
    assert len(checks.answers) == 1, "nothing has changed, and it is not time"

    if mended == "the pointer":
        activate(tmp_path, version)
    elif mended == "a late manifest":
        (tmp_path / "late").rename(victim)
    else:
        (directory / "copy").write_bytes(victim.read_bytes())
        (directory / "copy").rename(victim)

    assert watcher.poll() == version


def test_a_pointer_that_stays_wrong_is_told_once(watcher, tmp_path, caplog):
    (tmp_path / "current").write_text("../../etc/passwd\n")

    for _ in range(2_000):  # some minutes
        assert watcher.poll() is None

    assert caplog.text.count("snapshot refused") == 1


def test_a_snapshot_of_another_release_is_passed_over(watcher, tmp_path, caplog):
    version = write_snapshot(tmp_path, {"odd": np.arange(3)}, {}, created_at=datetime(2026, 1, 2, tzinfo=UTC))
    activate(tmp_path, version)

    assert watcher.poll() is None
    assert version in caplog.text
    assert "Traceback" not in caplog.text


def test_a_pointer_that_is_gone_for_a_moment_changes_nothing(watcher, tmp_path):
    (tmp_path / "current").unlink()

    assert watcher.poll() is None


class Process:
    """A process that says what the test says."""

    pid, exitcode, sentinel = 7, None, 0

    def __init__(self, *_: object, **__: object) -> None:
        self.is_dead = False

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return not self.is_dead

    def join(self) -> None:
        pass


class Context:
    """Starts nothing."""

    Process = Process
    Pipe = staticmethod(multiprocessing.Pipe)


class Life:
    """A child, and the other end of its pipe."""

    def __init__(self) -> None:
        self.context = Context()
        self.context.Pipe = self.pipe
        self.child = Child("writer", lambda *_: None, lambda: self.context, hang_s=10.0)
        self.ends: list = []
        self.child.begins_with(Activate("v1"))
        self.child.start(None, 0.0)

    def pipe(self):
        ours, theirs = multiprocessing.Pipe()
        self.ends.append(theirs)
        return ours, Held()

    def say(self, message: object, now_s: float) -> None:
        self.ends[-1].send(message)
        self.child.receive(now_s)

    def heard(self) -> list[object]:
        found = []
        while self.ends[-1].poll():
            found.append(self.ends[-1].recv())
        return found


class Held:
    """The end of a pipe that the process would have."""

    def close(self) -> None:
        pass


def test_who_does_not_beat_is_silent_and_who_starts_has_more_time():
    life = Life()
    assert not life.child.is_silent(100.0), "it compiles, or checks its snapshot"
    assert life.child.is_silent(121.0)
    life.say(Beat(), 121.0)

    assert not life.child.is_silent(131.0)
    assert life.child.is_silent(131.1)


def test_a_snapshot_is_told_once_and_again_after_failures_with_more_and_more_patience():
    life, newer = Life(), Activate("v2")
    tells = []
    for now_s in range(60):
        life.child.switch_to(newer, float(now_s))
        if life.heard():
            tells.append(now_s)
            life.say(SwapFailed("v2", "full"), float(now_s))

    assert tells == [0, 5, 15, 35]
    life.say(Serving("v2"), 60.0)
    life.child.switch_to(newer, 1_000.0)
    assert life.heard() == []


def test_deaths_in_a_row_are_logged_ever_less(caplog):
    life = Life()
    for number in range(16):
        life.child.reap(float(number))
        life.child.start(None, float(number))

    assert caplog.text.count("in a row") == 5
    assert (life.child.deaths, life.child.ended) == (16, 16)


@pytest.mark.parametrize("error", [EOFError("unexpected EOF"), OSError(12, "no memory")])
def test_what_can_t_be_started_is_tried_again_ever_later(caplog, error):
    class Refused(Process):
        def start(self) -> None:
            raise error

    life = Life()
    life.child.reap(0.0)
    life.context.Process = Refused
    life.child.start(None, 1.0)
    first_s = life.child.restart_at_s
    life.child.start(None, 2.0)

    assert (life.child.process, life.child.deaths, life.child.sources) == (None, 3, [])
    assert life.child.restart_at_s - 2.0 > first_s - 1.0 > 0
    assert caplog.text.count("writer could not be started, again in") == 2
    life.context.Process = Process
    life.child.start(None, 3.0)
    assert life.child.pid == 7


def test_a_loop_that_does_not_turn_is_not_vouched_for_unless_it_is_known_to_be_busy():
    said, shown, clock = [], [], [0]
    pulse = Pulse(lambda: said.append(clock[0]), shown.append, clock_us=lambda: clock[0], stall_s=5.0)
    for second in range(9):
        clock[0] = second * 1_000_000
        pulse.beat()
    assert (said[-1], shown[-1]) == (4_000_000, 0), "a writer's file is as old as its last turn"

    with pulse.busy():
        clock[0] += 60_000_000
        pulse.beat()
        assert (said[-1], shown[-1]) == (clock[0], 0)
    pulse.beat()
    assert shown[-1] == clock[0]
