"""Which snapshot answers, and how one takes over from another."""

import contextlib
import gc
import os
import resource
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.process.bootstrap import version_opener
from pricegrid.service.process.snapshots import LoadedSnapshot, SnapshotHolder
from tests.fakes import fake_snapshot
from tests.stores import publish, stocked_rows


class Store:
    """Opens snapshots by version and remembers what was opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, version: str) -> LoadedSnapshot:
        if version == "missing":
            raise RequestRefusedError(Reason.UNKNOWN_SNAPSHOT, "there is no such snapshot")
        self.opened.append(version)
        return fake_snapshot(version)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def holder(store: Store) -> SnapshotHolder:
    return SnapshotHolder(fake_snapshot("v1"), store.open, kept_max=2)


def test_no_version_and_the_active_version_are_the_same(holder, store):
    assert holder.get("") is holder.get("v1")
    assert store.opened == []


def test_another_version_is_opened_once(holder, store):
    assert holder.get("v0") is holder.get("v0")
    assert store.opened == ["v0"]


def test_a_missing_version_is_the_requests_error(holder):
    with pytest.raises(RequestRefusedError):
        holder.get("missing")


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """The process can't open another file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        stack.enter_context(Path(os.devnull).open())
        yield


def test_a_snapshot_is_not_called_damaged_because_there_are_no_more_files(tmp_path):
    version = publish(tmp_path, stocked_rows())
    open_version = version_opener(tmp_path, ExceptionPolicy(), lambda _: False)
    assert open_version(version).version == version

    with no_more_files(), pytest.raises(RequestRefusedError) as refused:
        open_version(version)
    assert refused.value.reason is Reason.OVERLOADED
    assert open_version(version).version == version


def test_the_next_request_is_answered_from_the_new_snapshot(holder):
    holder.activate(fake_snapshot("v2"))

    assert holder.get("").version == "v2"


def test_what_was_replaced_still_answers_those_who_name_it(holder, store):
    before = holder.get("")

    holder.activate(fake_snapshot("v2"))

    assert holder.get("v1") is before
    assert store.opened == []


def test_going_back_to_a_kept_snapshot_opens_nothing(holder, store):
    first = holder.get("")
    holder.activate(fake_snapshot("v2"))

    holder.activate(holder.kept("v1"))

    assert holder.get("") is first
    assert holder.get("v2").version == "v2"
    assert store.opened == []


def test_only_so_many_are_kept_and_the_least_used_goes(holder, store):
    for version in ("a", "b", "a", "c", "a", "b"):
        holder.get(version)

    assert store.opened == ["a", "b", "c", "b"]


def test_a_request_under_way_keeps_its_snapshot_and_its_end_unmaps_nothing(holder):
    under_way = holder.get("")
    engine = weakref.ref(under_way.engine)
    for version in ("v2", "v3", "v4"):
        holder.activate(fake_snapshot(version))

    assert holder.let_go() == 1

    del under_way
    gc.collect()
    assert engine() is not None, "the end of a request must not be what unmaps gigabytes"
    assert holder.let_go() == 0
    gc.collect()
    assert engine() is None


def test_a_second_copy_of_the_active_version_takes_its_place(holder):
    again = fake_snapshot("v1")

    holder.activate(again)

    assert holder.get("v1") is again
    assert holder.kept("v1") is None


@pytest.mark.slow
def test_a_server_needs_no_loader_and_that_of_one_host_no_redis():
    """What opens snapshots must not bring Polars into every process, nor what could share live state redis-py."""
    code = "import sys, pricegrid.service.process.supervisor; sys.exit(not {'polars', 'redis'}.isdisjoint(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
