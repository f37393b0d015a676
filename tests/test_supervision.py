"""Processes that are stopped, hang, die or are late: what a running server makes of it."""

import contextlib
import fcntl
import logging
import os
import re
import signal
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import grpc
import pytest

from pricegrid import (
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    Line,
    PricegridError,
    ReserveLine,
    v1,
)
from pricegrid.loaders.store.snapshot import activate
from pricegrid.service.process.children import Child
from tests.servers import until
from tests.stores import publish, stocked_rows
from tests.supervised import Supervised, pid_of, supervised

pytestmark = pytest.mark.slow
FOREVER_S = 600.0
AVAILABILITY = v1.AVAILABILITY_SERVICE


def publish_stock(store: Path, units: int, minute: int) -> str:
    """S4 at HAM has so many; what is loaded is fresh for years."""
    rows = stocked_rows()
    as_of = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    for row in (*rows["feeds"], *rows["stock"]):
        row["as_of"] = as_of
    for row in rows["feeds"]:
        row["stale_after_min"] = "1000000"
    next(row for row in rows["stock"] if row["sku"] == "S4")["on_hand"] = str(units)
    return publish(store, rows, minute=minute)


@pytest.fixture
def store(tmp_path) -> Path:
    publish_stock(tmp_path / "store", 100, minute=0)
    return tmp_path / "store"


def event(sequence: int, units: int) -> InventoryEvent:
    return InventoryEvent(
        InventorySource.ERP,
        sequence,
        datetime.now(UTC),
        InventoryMeasure.ON_HAND,
        InventoryEventKind.SET,
        "S4",
        "HAM",
        units,
    )


def told(served: Supervised, sequence: int, units: int, timeout_s: float = 30) -> bool:
    """Whether the writer took it in; else it is to be asked again, as the refusal says."""
    with served.client() as client, contextlib.suppress(PricegridError):
        client.publish_events([event(sequence, units)], timeout_s=timeout_s)
        return True
    return False


def replaced(child: Child, stopped: int) -> None:
    """Its process, which is stopped, has been silent for too long from now on; on a busy machine no other one has."""
    child._hang_s = 1.0
    until(lambda: pid_of(child) != stopped, "it is killed")
    child._hang_s = FOREVER_S
    until(lambda: pid_of(child) != 0, "another one is started")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ignored_by(pid: int) -> set[signal.Signals]:
    mask = int(re.search(r"^SigIgn:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1], 16)
    return {number for number in (signal.SIGINT, signal.SIGTERM) if mask >> number - 1 & 1}


def test_all_are_forked_from_one_which_signals_to_the_group_do_not_end_and_which_is_replaced(
    store, tmp_path, monkeypatch
):
    (tmp_path / "grpc.py").write_text("import pathlib; pathlib.Path(__file__).with_name('caught').touch()\n")
    monkeypatch.chdir(tmp_path)  # where nothing is imported from
    with supervised(store, workers=2, hang_s=FOREVER_S) as served:
        before = [served.pid(), served.pid(0), served.pid(1)]
        (forked_from,) = {parent_of(pid) for pid in before}
        assert forked_from != os.getpid()
        assert ignored_by(forked_from) == {signal.SIGINT, signal.SIGTERM}
        assert len(list(Path(f"/proc/{forked_from}/task").iterdir())) == 1, (
            "locks of other threads stay locked"
        )
        os.kill(forked_from, signal.SIGKILL)
        until(lambda: not {0, *before} & {served.pid(), served.pid(0), served.pid(1)}, "others are started")
        until(lambda: answers(served), "and answer")
        until(lambda: served.everyone_says(100, True), "all of them as before")
        assert len({parent_of(pid) for pid in (served.pid(), served.pid(0), served.pid(1))}) == 1
    assert not (tmp_path / "caught").exists()


def test_a_server_may_be_started_before_the_first_load(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with supervised(tmp_path / "store", is_ready=False, wait_s=FOREVER_S) as served:
        until(lambda: "waiting for a first snapshot" in caplog.text, "it waits")
        publish_stock(tmp_path / "store", 100, minute=0)
        until(lambda: bool(served.announced), "it serves")
        assert served.says()[:2] == (100, True)
    caplog.clear()
    with supervised(tmp_path / "none", is_ready=False, wait_s=FOREVER_S) as served:
        until(lambda: "waiting for a first snapshot" in caplog.text, "it waits")
        assert served.stop() == 0


def test_a_swap_that_takes_the_writer_long_ends_as_a_quick_one(store):
    """Longer than the retry interval of a failed swap: a repeated Activate once created the file again."""
    first = publish_stock(store, 200, minute=1)
    with supervised(store, workers=2, hang_s=FOREVER_S) as served:
        assert served.everyone_says(200, True, first)
        with served.stopped(served.pid()):
            second = publish_stock(store, 300, minute=2)
            until(lambda: served.everyone_says(200, False, first), "nobody vouches for what is not followed")
            until(lambda: served.health(AVAILABILITY) == "NOT_SERVING", "and health says so")
            assert served.health(v1.PRICING_SERVICE) == "SERVING"
            for _ in range(3):  # as a supervisor would that thinks that the swap has failed
                served.supervisor._writer._resend_at_s = 0.0
                until(lambda: served.supervisor._writer._resend_at_s is None, "it was told again")
        until(lambda: served.everyone_says(300, True, second), "both workers go over")
        assert told(served, 1, 77)
        until(lambda: served.everyone_says(77, True, second), "and see what is told then")
        until(lambda: served.health(AVAILABILITY) == "SERVING", "and health says so")
        live = list((store / "live").glob("positions-*.live"))
        assert len(live) == 1
        for worker in range(2):
            maps = Path(f"/proc/{served.pid(worker)}/maps").read_text()
            assert live[0].name in maps


def test_a_writer_that_is_stopped_is_replaced_and_nobody_vouches_for_it_meanwhile(store):
    with supervised(store, workers=2, hang_s=FOREVER_S) as served:
        assert told(served, 1, 50)
        until(lambda: served.everyone_says(50, True), "seen")
        stopped = served.pid()
        with served.stopped(stopped):
            until(lambda: served.everyone_says(50, False), "the answers say that they may be old")
            replaced(served.supervisor._writer, stopped)
            until(lambda: served.everyone_says(50, True), "which is followed, nothing lost")
        # it is followed before it listens, and a worker that found nobody connects again in a moment
        until(lambda: told(served, 2, 40), "it can be told something")
        until(lambda: served.everyone_says(40, True), "and takes in what comes")
        assert served.supervisor._writer.ended == 1


def test_a_writer_that_goes_on_in_time_stays(store):
    with supervised(store, hang_s=FOREVER_S) as served:
        writer = served.pid()
        with served.stopped(writer):
            until(lambda: served.everyone_says(100, False), "it is missed")
        until(lambda: served.everyone_says(100, True), "and is back")
        assert served.pid() == writer


def test_a_worker_that_is_stopped_is_replaced(store):
    with supervised(store, workers=2, hang_s=FOREVER_S) as served:
        stopped = served.pid(0)
        with served.stopped(stopped):
            replaced(served.supervisor._workers[0], stopped)
            until(lambda: served.supervisor._workers[0].serving != "", "and answers")
        assert served.supervisor._workers[0].ended == 1
        assert served.everyone_says(100, True)


def test_nobody_says_fresh_before_a_writer_has_shown_anything(store):
    """A process holds the right to write, and shows nothing."""
    (store / "live").mkdir()
    with (store / "live" / "writer.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with supervised(store, is_ready=False) as served:
            until(lambda: served.supervisor._workers[0].heard_s and answers(served), "it answers")
            assert served.says()[:2] == (100, False)
            assert (served.health(), served.health(AVAILABILITY)) == ("NOT_SERVING", "NOT_SERVING")
            assert served.health(v1.PRICING_SERVICE) == "SERVING"
            assert not served.announced
            fcntl.flock(lock, fcntl.LOCK_UN)
            until(lambda: bool(served.announced), "then it is ready")
            assert served.says()[:2] == (100, True)
            until(lambda: served.health() == served.health(AVAILABILITY) == "SERVING", "and says so")


def answers(served: Supervised) -> bool:
    with contextlib.suppress(PricegridError, grpc.RpcError):
        served.says()
        return True
    return False


def test_of_two_servers_none_goes_over_before_the_writer_shows_the_next_snapshot(store):
    with (
        supervised(store, hang_s=FOREVER_S) as first,
        supervised(store, hang_s=FOREVER_S) as second,
    ):
        assert told(second, 1, 10)
        until(lambda: first.everyone_says(10, True) and second.everyone_says(10, True), "both see it")
        before = first.says()[2]
        with first.stopped(first.pid()):
            after = publish_stock(store, 500, minute=3)
            until(
                lambda: first.supervisor._next == second.supervisor._next == after, "both know the next one"
            )
            until(lambda: second.everyone_says(10, False, before), "and wait for it")
            assert second.everyone_says(10, False, before)
        until(lambda: first.everyone_says(10, True, after), "the first goes over")
        until(lambda: second.everyone_says(10, True, after), "and the second")


def test_a_respawned_worker_verifies_what_it_opens(store):
    """A snapshot that was changed in place after the start is not served by a process that opens it again."""
    with supervised(store, workers=1, is_ready=True) as served:
        version = served.says()[2]
        victim = next((store / "snapshots" / version).glob("records.npy"))
        whole = victim.read_bytes()
        before = served.pid(0)
        with victim.open("r+b") as file:
            file.seek(len(whole) - 8)
            file.write(b"\x01" * 8)
        os.kill(before, signal.SIGKILL)
        until(lambda: served.supervisor._workers[0].deaths > 1, "the next worker refuses it")
        with victim.open("r+b") as file:
            file.write(whole)
        until(lambda: answers(served), "the file is restored")
        with served.client() as client:
            price = client.price_lines("", [Line("S4")], currency="EUR").lines[0].unit_price
        assert price == 10


def test_a_live_file_that_is_cut_or_taken_away_is_made_anew(store):
    with supervised(store, workers=1) as served:
        assert told(served, 1, 30)
        until(lambda: served.everyone_says(30, True), "seen")
        (path,) = (store / "live").glob("positions-*.live")
        path.unlink()
        until(lambda: served.supervisor._writer.ended > 0, "the writer notices")
        until(lambda: answers(served) and served.everyone_says(30, True), "and all is as before")


class ReadOnlyStore:
    """`STORE/live` lies where nobody may write, whoever one is."""

    def __init__(self, store: Path) -> None:
        (store / "live").symlink_to("/sys/kernel")


def test_a_store_that_cannot_be_written_serves_reads_and_refuses_changes(store):
    ReadOnlyStore(store)
    with supervised(store) as served:
        assert served.says()[:2] == (100, False)
        with served.client() as client:
            assert client.price_lines("", [Line("S4")], currency="EUR").lines[0].unit_price == 10
            with pytest.raises(PricegridError) as refused:
                client.reserve([ReserveLine("S4", 1, "HAM")], key="k")
        assert refused.value.reason == "LIVE_STATE_UNAVAILABLE"
        assert served.health() == "SERVING"
        assert served.health(AVAILABILITY) == "NOT_SERVING"


def test_a_server_ends_within_its_grace_though_a_caller_waits_for_a_stopped_writer(store, caplog):
    with supervised(store, workers=2, grace_s=2.0, hang_s=FOREVER_S) as served:
        workers = [served.pid(number) for number in range(2)]
        with served.stopped(served.pid()), served.client() as client:
            waiting = threading.Thread(target=lambda: told(served, 1, 5, timeout_s=60))
            waiting.start()
            assert client.price_lines("", [Line("S4")], currency="EUR").lines
            assert served.stop() == 0
            waiting.join()
    killed = [
        record.getMessage() for record in caplog.records if "did not end in time" in record.getMessage()
    ]
    assert [line for line in killed if any(str(pid) in line for pid in workers)] == []


def test_what_is_served_is_taken_up_again_when_activated_again(store):
    first = publish_stock(store, 200, minute=1)
    second = publish_stock(store, 300, minute=2)
    with supervised(store, workers=1) as served:
        assert served.everyone_says(300, True, second)
        for version, units in ((first, 200), (second, 300), (first, 200)):
            activate(store, version)
            until(lambda units=units, version=version: served.everyone_says(units, True, version), version)


def test_a_snapshot_changed_in_place_is_answered_from_no_more_and_another_one_is(store):
    newer = publish_stock(store, 200, minute=1)
    with supervised(store) as served:

        def price() -> Decimal | None:
            with served.client() as client:
                return client.price_lines("", [Line("S4")], currency="EUR").lines[0].unit_price

        before = price()
        path = store / "snapshots" / newer / "cell_value.npy"
        raw = bytearray(path.read_bytes())
        raw[-8:] = bytes(255 - byte for byte in raw[-8:])
        with path.open("r+b") as file:
            file.write(raw)
        until(lambda: refuses(price), "nobody answers from a damaged snapshot")
        publish_stock(store, 300, minute=2)
        until(lambda: not refuses(price), "the next snapshot is served")
        assert price() == before


def refuses(ask) -> bool:
    try:
        ask()
    except PricegridError:
        return True
    return False
