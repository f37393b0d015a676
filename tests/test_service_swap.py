"""How a worker and the writer swap to another snapshot: once, when it is ready, however often it is requested."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from pricegrid.service.live.writer import Switch
from pricegrid.service.process.snapshots import LoadedSnapshot, SnapshotHolder
from pricegrid.service.process.worker import Serving, Swap, SwapFailed
from tests.fakes import fake_snapshot

DEADLINE_S = 30.0  # far beyond what anything here takes: reaching it is the failure


class Proof:
    """Live positions that are in hand when the test says so."""

    def __init__(self) -> None:
        self.is_in_hand = False

    def __call__(self) -> bool:
        return self.is_in_hand

    def refresh(self) -> bool:
        return self.is_in_hand


class Worlds:
    """Snapshots whose opening the test controls, and the messages that were sent."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.said: list[object] = []
        self.proofs: dict[str, Proof] = {}
        self.gates: dict[str, threading.Event] = {}
        self.faults: dict[str, Exception] = {}

    def snapshot(self, version: str) -> LoadedSnapshot:
        return replace(fake_snapshot(version), live=self.proofs.setdefault(version, Proof()))

    def open(self, version: str) -> LoadedSnapshot:
        self.opened.append(version)
        gate = self.gates.get(version)
        assert gate is None or gate.wait(DEADLINE_S)
        if version in self.faults:
            raise self.faults.pop(version)
        return self.snapshot(version)


@pytest.fixture
def worlds() -> Worlds:
    return Worlds()


@pytest.fixture
def holder(worlds) -> SnapshotHolder:
    return SnapshotHolder(worlds.snapshot("v1"), worlds.open)


@pytest.fixture
def swap(worlds, holder) -> Swap:
    swap = Swap(holder, worlds.open, worlds.said.append)
    worlds.proofs["v1"].is_in_hand = True
    swap.turn()
    worlds.said.clear()
    return swap


def turn_until(turn: Callable[[], None], is_done: Callable[[], bool]) -> None:
    """As its loop does, until what is opened beside it has come."""
    pause = threading.Event()
    for _ in range(3_000):
        turn()
        if is_done():
            return
        pause.wait(0.01)
    raise AssertionError("it never came")


def test_a_worker_reports_when_its_first_live_positions_are_in_hand(worlds, holder):
    swap = Swap(holder, worlds.open, worlds.said.append)
    swap.turn()
    assert (worlds.said, swap.is_complete) == ([], False)

    worlds.proofs["v1"].is_in_hand = True
    swap.turn()

    assert (worlds.said, swap.is_complete) == ([Serving("v1")], True)


def test_a_worker_goes_over_with_the_live_positions_in_hand(swap, worlds, holder):
    swap.request("v2")
    turn_until(swap.turn, lambda: "v2" in worlds.proofs)
    for _ in range(3):
        swap.request("v2")  # again, as after a lost answer
        swap.turn()
    assert (holder.active.version, worlds.said, worlds.opened) == ("v1", [], ["v2"])

    worlds.proofs["v2"].is_in_hand = True
    turn_until(swap.turn, lambda: holder.active.version == "v2")

    assert (worlds.said, worlds.opened) == ([Serving("v2")], ["v2"])


def test_a_worker_told_that_it_is_alone_waits_for_nobody(swap, worlds, holder):
    swap.request("v2")
    turn_until(swap.turn, lambda: "v2" in worlds.proofs)

    swap.request("v2", is_alone=True)
    turn_until(swap.turn, lambda: holder.active.version == "v2")

    assert worlds.said == [Serving("v2")]


def test_a_worker_that_is_told_of_yet_another_forgets_the_one_before(swap, worlds, holder):
    worlds.gates["v2"] = threading.Event()
    worlds.proofs["v3"] = Proof()
    worlds.proofs["v3"].is_in_hand = True
    swap.request("v2")
    swap.request("v3")
    worlds.gates["v2"].set()
    turn_until(swap.turn, lambda: holder.active.version == "v3")

    assert worlds.said == [Serving("v3")]


def test_back_to_the_active_snapshot_while_another_is_on_its_way(swap, worlds, holder):
    swap.request("v2")
    turn_until(swap.turn, lambda: "v2" in worlds.proofs)

    swap.request("v1")
    swap.turn()
    worlds.proofs["v2"].is_in_hand = True
    swap.turn()

    assert (holder.active.version, worlds.said) == ("v1", [Serving("v1")])


def test_a_worker_that_cannot_open_a_snapshot_says_so_and_can_be_told_again(swap, worlds, holder):
    worlds.faults["v2"] = OSError("too many open files")
    swap.request("v2")
    turn_until(swap.turn, lambda: bool(worlds.said))
    (failed,) = worlds.said
    assert isinstance(failed, SwapFailed)
    assert "too many open files" in failed.message
    assert holder.active.version == "v1"

    swap.request("v2")
    turn_until(swap.turn, lambda: "v2" in worlds.proofs)
    worlds.proofs["v2"].is_in_hand = True
    turn_until(swap.turn, lambda: holder.active.version == "v2")


class Files:
    """The live files of a snapshot, counted."""

    made: list[str]
    dropped: list[str]

    def __init__(self, made: list[str], dropped: list[str], version: str) -> None:
        self._dropped, self._version = dropped, version
        made.append(version)

    def announce(self) -> None:
        pass

    def drop(self) -> None:
        self._dropped.append(self._version)


class Live:
    """Live state that is shown over a snapshot, or can't be."""

    def __init__(self) -> None:
        self.fault: Exception | None = None

    def use(self, *_: object) -> None:
        if self.fault is not None:
            raise self.fault


class Writing:
    """The writer's side."""

    def __init__(self, worlds: Worlds) -> None:
        self.made: list[str] = []
        self.dropped: list[str] = []
        self.live = Live()
        self.worlds = worlds
        self.switch = Switch(
            self.live,
            "v1",
            self.open,
            lambda version: Files(self.made, self.dropped, version),
            worlds.said.append,
        )

    def open(self, version: str) -> LoadedSnapshot:
        return replace(self.worlds.open(version), availability=object())


@pytest.fixture
def writing(worlds) -> Writing:
    return Writing(worlds)


def test_the_writer_makes_one_file_however_often_it_is_told(writing, worlds):
    worlds.gates["v2"] = threading.Event()
    for _ in range(5):
        writing.switch.request("v2")
        writing.switch.turn()
    worlds.gates["v2"].set()
    turn_until(writing.switch.turn, lambda: bool(worlds.said))
    for _ in range(5):
        writing.switch.request("v2")
        writing.switch.turn()

    assert (worlds.opened, writing.made) == (["v2"], ["v2"])
    assert set(worlds.said) == {Serving("v2")}


def test_a_writer_that_cannot_show_a_snapshot_keeps_its_own_and_leaves_no_file(writing, worlds, caplog):
    writing.live.fault = OSError(28, "No space left on device")
    writing.switch.request("v2")
    turn_until(writing.switch.turn, lambda: bool(worlds.said))
    assert isinstance(worlds.said[-1], SwapFailed)
    assert writing.dropped == ["v2"]

    writing.switch.request("v1")
    assert worlds.said[-1] == Serving("v1"), "that one it shows all the time"
    writing.live.fault = None
    writing.switch.request("v2")
    turn_until(writing.switch.turn, lambda: worlds.said[-1] == Serving("v2"))


def test_a_writer_whose_first_snapshot_had_no_positions_begins_again_for_one_that_has(worlds):
    switch = Switch(None, "v1", Writing(worlds).open, None, worlds.said.append)

    switch.request("v2")
    turn_until(switch.turn, lambda: switch.must_begin_again)

    assert worlds.said == []


def test_a_snapshot_without_positions_needs_no_live_file(worlds):
    switch = Switch(Live(), "v1", worlds.open, None, worlds.said.append)

    switch.request("v2")
    turn_until(switch.turn, lambda: bool(worlds.said))

    assert worlds.said == [Serving("v2")]
