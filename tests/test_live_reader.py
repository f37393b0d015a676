"""A reader of live positions never says FRESH with a file that is not the announced one, is of another snapshot, is
retired, or whose writer is silent: under random swaps, growth, delays, kills and stops of the writer."""

import functools
import json
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.layout import BEAT, LINK_LOST
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import MICROS, CheckAsk, Freshness
from pricegrid.loaders.compile.positions import compile_positions
from pricegrid.service.live import files as live_files
from pricegrid.service.live.files import Beacon, LiveFiles, is_read_only, socket_path
from pricegrid.service.live.reader import LiveReader
from tests.atp_world import at, complete_feed, frames_of, world
from tests.profiles import examples

VERSIONS = ("20260302T060000Z-00000000", "20260302T070000Z-00000001")
SILENCE_US = 2 * MICROS
LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
DELAYS_US = (1, 50_000, 200_000, SILENCE_US - 1, SILENCE_US, 60 * MICROS)


class Clock:
    """Of the host."""

    def __init__(self) -> None:
        self.now_us = 1_000 * MICROS

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(live_files, "LIVE_PAIRS", 4)
    monkeypatch.setattr(live_files, "LIVE_WORDS", 64)


@functools.cache
def arrays() -> dict:
    rows = world("A")
    complete_feed(rows, "MAIN")
    return compile_positions(frames_of(rows))


def is_fresh(engine: AvailabilityEngine) -> bool:
    """As the compiled answer says it."""
    ask = CheckAsk(at(0), [b"A"], np.array([MICROS]), [b""], (b"MAIN",))
    return bool((engine.check(ask).freshness == Freshness.FRESH).any())


class Host:
    """A store, the one writer of it that may run, and what is so of its live file: an oracle of its own."""

    def __init__(self, store: Path) -> None:
        self.store, self.clock = store, Clock()
        self.engines = {version: AvailabilityEngine(arrays()) for version in VERSIONS}
        self.readers = {version: self.reader(version) for version in VERSIONS}
        self.beacon: Beacon | None = None
        self.is_stopped = False
        self.shown: tuple[str, LiveWriter] | None = None
        self.beat_us = self.spoiled_us = -(1 << 60)

    def reader(self, version: str) -> LiveReader:
        positions = self.engines[version].positions
        return LiveReader(self.store, version, positions, clock_us=self.clock, silence_s=SILENCE_US / MICROS)

    @property
    def pointer(self) -> Path:
        return self.store / "live" / "positions"

    def start_writer(self) -> None:
        self.beacon, self.is_stopped = Beacon(self.clock), False

    def show(self, version: str, grown: int = 0) -> LiveFiles:
        files = LiveFiles(self.store, version, self.beacon)
        writer = files(grown)
        files.announce()
        self.shown, self.beat_us, self.spoiled_us = (version, writer), self.clock(), -(1 << 60)
        return files

    def beat(self) -> None:
        if self.beacon and not self.is_stopped:
            self.beacon.beat(self.clock())
            if self.beacon._shown is not None:
                self.beat_us = self.clock()

    def spoil(self, content: str | None) -> None:
        self.spoiled_us = self.clock()
        if content is None:
            self.pointer.unlink(missing_ok=True)
        else:
            self.pointer.write_text(content)

    def may_be_fresh(self, version: str) -> bool:
        now_us = self.clock()
        if self.shown is None or self.shown[0] != version or now_us - self.beat_us >= SILENCE_US:
            return False
        if self.spoiled_us > 0 and now_us - self.spoiled_us >= SILENCE_US:
            return False
        # whatever is written to the shown file is seen: it is the very one
        head, seen = self.shown[1].arrays.live_head, self.engines[version].positions.live.live_head
        head[7] += 1
        return bool(seen[7] == head[7])


class LiveFileMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.host = Host(Path(self.directory.name))
        self.host.start_writer()
        self.host.show(VERSIONS[0])
        self.host.readers[VERSIONS[0]].refresh()

    def teardown(self) -> None:
        self.directory.cleanup()

    @rule(version=st.sampled_from(VERSIONS), grown=st.integers(0, 1))
    def shows_another_file(self, version, grown) -> None:
        """Also of the same snapshot, as when it grows."""
        if self.host.beacon and not self.host.is_stopped:
            self.host.show(version, grown)

    @rule(version=st.sampled_from(VERSIONS))
    def makes_a_file_that_is_never_shown(self, version) -> None:
        """A swap that fails half-way."""
        if self.host.beacon and not self.host.is_stopped:
            LiveFiles(self.host.store, version, self.host.beacon)(0)

    @rule(version=st.sampled_from(VERSIONS))
    def next_writer(self, version) -> None:
        """That of before is dead now."""
        self.host.start_writer()
        self.host.show(version)

    @rule()
    def is_killed(self) -> None:
        self.host.beacon = None

    @rule(is_stopped=st.booleans())
    def is_stopped_or_goes_on(self, is_stopped) -> None:
        self.host.is_stopped = is_stopped

    @rule()
    def beats(self) -> None:
        self.host.beat()

    @rule(delay_us=st.sampled_from(DELAYS_US))
    def time_passes(self, delay_us) -> None:
        self.host.clock.now_us += delay_us

    @rule()
    def looks(self) -> None:
        for reader in self.host.readers.values():
            reader.refresh()

    @rule(content=st.sampled_from([None, "", "[1", '{"snapshot_version": 3, "file": "x"}']))
    def pointer_is_spoiled(self, content) -> None:
        if self.host.pointer.exists():
            self.host.spoil(content)

    @rule(version=st.sampled_from(VERSIONS), is_believed=st.booleans())
    def pointer_says_what_is_not_so(self, version, is_believed) -> None:
        for path in sorted((self.host.store / "live").glob("positions-*.live")):
            if version not in path.name:
                self.host.spoil(json.dumps({"snapshot_version": version, "file": path.name}))
                if is_believed:
                    self.looks()

    @invariant()
    def what_is_fresh_is_proven(self) -> None:
        for version, reader in self.host.readers.items():
            said = reader()
            fresh = is_fresh(self.host.engines[version])
            assert fresh == said, "the kernels doubt as the reader does"
            assert not fresh or self.host.may_be_fresh(version)


TestLiveFiles = LiveFileMachine.TestCase
TestLiveFiles.settings = settings(
    max_examples=400 if LONG else examples(30), stateful_step_count=60 if LONG else 40, deadline=None
)


@pytest.fixture
def host(tmp_path) -> Host:
    host = Host(tmp_path)
    host.start_writer()
    return host


def test_a_file_is_fresh_when_it_was_looked_at_and_stale_the_moment_another_is_shown(host):
    version = VERSIONS[0]
    reader, engine = host.readers[version], host.engines[version]
    host.show(version)
    assert not reader()
    assert not is_fresh(engine)

    assert reader.refresh()
    assert is_fresh(engine)

    host.show(version, grown=1)
    assert not reader(), "at once, before it looks again"
    assert not is_fresh(engine)
    assert reader.refresh()
    assert is_fresh(engine)


def test_what_is_shown_goes_stale_with_its_writer_and_comes_back_with_it(host):
    reader = host.readers[VERSIONS[0]]
    host.show(VERSIONS[0])
    assert reader.refresh()
    host.clock.now_us += SILENCE_US
    assert not reader.refresh()

    host.beat()

    assert reader.refresh()


def test_a_reader_that_did_not_look_doubts(host):
    """Its loop hangs: another file may be announced long since."""
    reader = host.readers[VERSIONS[0]]
    host.show(VERSIONS[0])
    assert reader.refresh()

    host.clock.now_us += SILENCE_US
    host.beat()

    assert not reader()


def test_a_file_from_before_the_host_started_anew_is_not_followed(host, monkeypatch, caplog):
    monkeypatch.setattr(live_files, "host_number", lambda: 7)
    host.show(VERSIONS[0])

    with caplog.at_level("INFO"):
        assert [host.readers[VERSIONS[0]].refresh() for _ in range(3)] == [False] * 3
    assert caplog.text.count("another boot of this host") == 1, "told once"


def test_names_of_files_never_come_again_and_old_ones_go(host):
    names = set()
    for _ in range(3):
        host.show(VERSIONS[0])
        names |= {path.name for path in (host.store / "live").glob("positions-*.live")}
        assert len(list((host.store / "live").glob("positions-*.live"))) == 1

    assert len(names) == 3


def test_a_disk_that_is_full_leaves_what_is_shown(host, monkeypatch):
    host.show(VERSIONS[0])
    reader = host.readers[VERSIONS[0]]
    assert reader.refresh()
    files = LiveFiles(host.store, VERSIONS[1], host.beacon)
    files(0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            files.announce()
    files.drop()

    assert reader.refresh()
    assert len(list((host.store / "live").glob("positions-*.live"))) == 1


@pytest.mark.parametrize("harm", ["taken away", "cut", "another announced"])
def test_a_writer_notices_that_its_file_is_not_in_its_place(host, harm):
    host.show(VERSIONS[0])
    assert host.beacon.is_in_place()
    (path,) = (host.store / "live").glob("positions-*.live")
    if harm == "taken away":
        path.unlink()
    elif harm == "cut":
        with path.open("r+b") as file:
            file.truncate(4096)
    else:
        host.spoil(json.dumps({"snapshot_version": VERSIONS[0], "file": "positions-other.live"}))

    assert not host.beacon.is_in_place()


def test_no_thread_reads_as_proven_what_it_doubts(host):
    """While `refresh` is slow, a thread that finds the file unproven must not see it proven."""
    version = VERSIONS[0]
    reader, engine = host.readers[version], host.engines[version]
    writer = host.show(version)._writer
    assert reader.refresh()
    began, go_on = threading.Event(), threading.Event()
    is_shown = reader._is_shown

    def slowly(head):
        answer = is_shown(head)
        if threading.current_thread() is refresher:
            began.set()
            assert go_on.wait(30)
        return answer

    reader._is_shown = slowly
    refresher = threading.Thread(target=reader.refresh)
    refresher.start()
    assert began.wait(30)
    writer.arrays.live_head[BEAT] = 0
    verdicts = []
    asker = threading.Thread(target=lambda: verdicts.append((reader(), is_fresh(engine))))
    asker.start()
    go_on.set()
    refresher.join()
    asker.join()

    assert verdicts == [(False, False)]


def test_the_link_to_other_hosts_counts_as_before(host):
    version = VERSIONS[0]
    writer = host.show(version)._writer
    assert host.readers[version].refresh()
    writer.arrays.live_head[LINK_LOST] = 1

    assert host.readers[version]()
    assert not is_fresh(host.engines[version])


def test_the_writers_socket_is_in_the_store_however_long_its_name(tmp_path):
    short, long = socket_path(Path("/a/store")), socket_path(tmp_path / ("n" * 90) / "store")

    assert short == Path("/a/store/live/writer.sock")
    assert len(str(long)) < 100
    assert long.parent.samefile(tmp_path / ("n" * 90) / "store" / "live")


def test_only_what_says_so_is_a_read_only_store():
    assert is_read_only(OSError(30, "Read-only file system"))
    assert is_read_only(PermissionError(13, "Permission denied"))
    assert not is_read_only(OSError(28, "No space left on device"))
