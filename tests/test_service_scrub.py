"""The scrub of an active snapshot: what changed in place is found, at once where the system tells, else in its turn."""

import os

import pytest

from pricegrid.loaders.store.snapshot import current_version
from pricegrid.service.process.scrub import Scrub
from tests.stores import publish, stocked_rows


@pytest.fixture
def store(tmp_path):
    publish(tmp_path / "store", stocked_rows())
    return tmp_path / "store"


def array(store):
    return store / "snapshots" / current_version(store) / "cell_value.npy"


def flip(path, *, hides: bool) -> None:
    """Change the last byte; `hides` as a failing disk does, leaving the times of the file as they were."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([255 - last]))
    if hides:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_written_to_is_found_at_once_and_whole_again_when_it_is(store):
    scrub, version, path = Scrub(store, clock_s=lambda: 0.0), current_version(store), array(store)
    assert scrub.turn(version) is None
    flip(path, hides=False)
    found = scrub.turn(version)
    assert found is not None
    assert f"{path} has changed" in found.message
    assert scrub.turn(version) == found
    flip(path, hides=False)
    assert scrub.turn(version) is None


def test_what_the_system_does_not_tell_is_found_within_a_period(store, monkeypatch):
    now_s = [0.0]
    scrub, version, path = Scrub(store, clock_s=lambda: now_s[0]), current_version(store), array(store)
    monkeypatch.setattr(scrub, "_look", lambda name: (1,))
    assert scrub.turn(version) is None
    flip(path, hides=True)
    assert scrub.turn(version) is None
    found = None
    while found is None and now_s[0] < 2 * 600:
        now_s[0] += 1
        found = scrub.turn(version)
    assert found is not None
    assert now_s[0] <= 600 + 600 / 50


@pytest.mark.parametrize("what", ["gone", "cut short", "a link"])
def test_a_file_that_is_not_there_any_more_is_found(store, tmp_path, what):
    scrub, version, path = Scrub(store, clock_s=lambda: 0.0), current_version(store), array(store)
    assert scrub.turn(version) is None
    if what == "cut short":
        os.truncate(path, path.stat().st_size - 8)
    else:
        path.unlink()
        if what == "a link":
            path.symlink_to(tmp_path)
    assert scrub.turn(version) is not None
