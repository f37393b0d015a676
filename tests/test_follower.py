"""What a follower does when the storage answers, is away, or says what can't be trusted; without a storage."""

import logging
from dataclasses import dataclass, field

import pytest

from pricegrid.loaders.errors import (
    LoaderBusyError,
    SnapshotCorruptError,
    SnapshotReplayedError,
    StorageError,
)
from pricegrid.loaders.objects.pull import Pulled
from pricegrid.loaders.objects.target import Target
from pricegrid.service.process.follower import Follower


@dataclass(slots=True)
class Site:
    """A storage and a store by script: an exception is raised, a version is named or taken."""

    named: object = "v1"
    takes: object = None
    taken: list[str] = field(default_factory=list)
    tries: int = 0
    fetched_bytes: int = 0
    now_s: float = 100.0

    def look(self, keys: object) -> Target:
        if isinstance(self.named, Exception):
            raise self.named
        return Target(str(self.named), "", ())

    def take(self, target: Target, keys: object) -> Pulled:
        self.tries += 1
        if isinstance(self.takes, Exception):
            raise self.takes
        self.taken.append(target.snapshot)
        self.fetched_bytes += 10
        return Pulled(target.snapshot, True, 1000, 10)

    def clock_s(self) -> float:
        return self.now_s


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def follower(site: Site, caplog: pytest.LogCaptureFixture) -> Follower:
    caplog.set_level(logging.INFO)
    return Follower("s3://shop", site, site, lambda: None, clock_s=site.clock_s)


def test_what_is_named_is_taken_once(
    site: Site, follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    assert [follower.poll(), follower.poll()] == [True, True]
    site.named = "v2"
    assert follower.poll()

    assert site.taken == ["v1", "v2"]
    assert follower.fetched_bytes == 20
    assert "snapshot v2 is pulled: 10 of 1000 bytes were fetched" in caplog.text


def test_the_age_grows_while_the_storage_is_away_and_is_told_once_a_minute(
    site: Site, follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    follower.poll()
    site.named = StorageError("no route")
    for _ in range(65):
        site.now_s += 2
        assert not follower.poll()

    assert follower.age_s == 130
    assert not follower.is_refusing
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told == [
        f"s3://shop gives no snapshot since {seconds} s, the last good one stays: no route"
        for seconds in (2, 62, 122)
    ]
    site.named = "v1"
    assert follower.poll()
    assert follower.age_s == 0
    assert "s3://shop is followed again, after 130 s" in caplog.text


@pytest.mark.parametrize(
    "error", [SnapshotReplayedError("older"), OSError(28, "No space"), KeyError("whatever")]
)
def test_what_is_refused_is_told_and_tried_again_with_patience(
    site: Site, follower: Follower, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    site.takes = error
    for _ in range(8):
        assert not follower.poll()
        site.now_s += 1

    assert site.tries == 4  # at 0, 1, 3 and 7 s
    assert follower.is_refusing
    assert follower.age_s == 8
    assert caplog.text.count("is refused") == 1
    site.takes = None
    site.now_s += 30
    assert follower.poll()
    assert not follower.is_refusing


def test_a_refused_pointer_does_not_keep_from_the_next_one(site: Site, follower: Follower) -> None:
    site.takes = SnapshotCorruptError("torn")
    follower.poll()
    site.named, site.takes = "v2", None

    assert follower.poll()
    assert site.taken == ["v2"]


def test_refusing_is_told_though_the_storage_was_just_away(
    site: Site, follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    site.named = StorageError("no route")
    follower.poll()
    site.named = SnapshotCorruptError("torn")
    follower.poll()

    assert "torn" in caplog.text
    assert follower.is_refusing


def test_a_store_that_is_busy_is_no_refusal(site: Site, follower: Follower) -> None:
    site.takes = LoaderBusyError("another load is running")
    assert not follower.poll()
    site.takes = None

    assert follower.poll()
    assert not follower.is_refusing


def test_a_key_file_that_is_gone_refuses(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def gone() -> None:
        raise SnapshotCorruptError("jwks can't be read")

    follower = Follower("s3://shop", site, site, gone, clock_s=site.clock_s)

    assert not follower.poll()
    assert follower.is_refusing
    assert site.taken == []


def test_a_stopped_follower_says_so_to_its_pull(follower: Follower) -> None:
    assert not follower.is_stopping()
    follower.stop()
    assert follower.is_stopping()
