"""What the supervisor tells Prometheus and probes, without a server."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import prometheus_client  # noqa: F401 -- before a supervisor says where processes add up
import pytest

from pricegrid.loaders.store.last_load import LastLoad, last_load, note_load
from pricegrid.service.process.processes import Usage
from pricegrid.service.process.reach import ServeError
from pricegrid.service.process.scrape import ScrapePort, Watched
from pricegrid.service.process.source_ages import SourceAges
from pricegrid.service.process.supervisor import ServeOptions, Supervisor
from tests.stores import publish, stocked_rows

NOW_US = 1_800_000_000_000_000


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """Where processes would add up what they count."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def watched(store, **more) -> Watched:
    """What a supervisor without processes knows."""
    nothing = {
        "snapshot_version": lambda: "",
        "is_refused": lambda: False,
        "unproven_workers": lambda: 0,
        "ended": lambda: {"worker": 0, "writer": 0},
        "pids": lambda: {"supervisor": [os.getpid()], "worker": [], "writer": []},
        "is_ready": lambda: True,
    }
    return Watched(store=store, **{**nothing, **more})


def status(port: int, path: str) -> int:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def test_ready_is_what_the_server_is_and_alive_is_not(counted):
    ready = [False]
    port = ScrapePort("127.0.0.1", 0, watched(counted, is_ready=lambda: ready[0]), lambda: NOW_US)
    try:
        found = [status(port.port, path) for path in ("/healthz", "/readyz", "/metrics", "/")]
        ready[0] = True
        found.append(status(port.port, "/readyz"))
    finally:
        port.close()

    assert found == [200, 503, 200, 404, 200]


def test_the_dead_have_counted_and_say_nothing_of_themselves_any_more(counted):
    """A worker that was killed while its breaker was open left an open breaker behind, until the server ended."""
    code = "import sys; from prometheus_client import Counter, Gauge; Counter('calls', '.').inc()\n"
    code += "Gauge('breaker_open', '.', multiprocess_mode='livesum').set(1)\n"
    code += "print(flush=True); sys.stdin.readline()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    # as children of another process, as those are that a server forks
    command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, code]
    children = [subprocess.Popen(command, **pipes) for _ in range(2)]
    port = ScrapePort("127.0.0.1", 0, watched(counted), lambda: NOW_US)
    try:
        for child in children:
            child.stdout.readline()
        told = [read(port.port, "/metrics")]
        for child in children:
            child.communicate(b"\n")
            told.append(read(port.port, "/metrics"))
    finally:
        port.close()
        for child in children:
            child.kill()

    assert ["breaker_open 2.0" in told[0], "breaker_open 1.0" in told[1], "breaker_open" in told[2]] == [
        *(True, True, False)
    ]
    assert all("calls_total 2.0" in each for each in told)


def test_a_breaker_whose_erp_answers_probes_again_counts_as_open_no_more():
    """Nobody may ask the ERP for hours: until then it is half open, and nothing is wrong."""
    code = "from prometheus_client import REGISTRY; from pricegrid.erp.observe import BreakerState as State\n"
    code += "from pricegrid.service.erp_overlay.metrics import PrometheusErpMetrics\n"
    code += "metrics = PrometheusErpMetrics()\n"
    code += "for state in (State.CLOSED, State.OPEN, State.HALF_OPEN):\n    metrics.breaker(state)\n"
    code += "    print(REGISTRY.get_sample_value('pricegrid_erp_breaker_open'))\n"
    alone = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}

    told = subprocess.run(
        [sys.executable, "-c", code], env=alone, capture_output=True, text=True, check=True
    ).stdout

    assert told.split() == ["0.0", "1.0", "0.0"]


def test_a_metrics_port_that_is_taken_is_named(counted):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        supervisor = Supervisor(ServeOptions(store=counted, metrics_port=port), print)

        with pytest.raises(ServeError, match=rf"metrics on 127\.0\.0\.1:{port}: Address already in use"):
            supervisor.run()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "metrics.example"])
def test_metrics_stay_on_loopback_unless_it_is_allowed(tmp_path, host):
    options = {"store": tmp_path, "metrics_port": 0, "metrics_host": host}

    with pytest.raises(ServeError, match=host):
        Supervisor(ServeOptions(**options), print)
    Supervisor(ServeOptions(**options, allow_remote=True), print)
    Supervisor(ServeOptions(**{**options, "metrics_port": None}), print)


def test_the_branches_with_the_oldest_extracts_are_told(tmp_path):
    rows = stocked_rows()
    for feed in rows["feeds"]:
        if feed["branch"] == "RTM" and feed["source"] == "wms":
            feed["as_of"] = "2026-03-01T06:00:00Z"
    version = publish(tmp_path, rows)

    ages = SourceAges(tmp_path)

    assert {each.branch for each in ages.oldest(version, 9)} == {"HAM", "RTM"}
    told = ages.oldest(version, 1)
    assert (told[0].branch, told[0].source.name) == ("RTM", "WMS")
    assert {each.branch for each in told} == {"RTM"}
    assert len(told) == 3
    assert SourceAges(tmp_path).oldest("20260101T000000Z-00000000", 9) == []


def test_what_ended_processes_used_counts_on():
    usage = Usage()
    child = subprocess.Popen(["sh", "-c", "read line; exit"], stdin=subprocess.PIPE)
    try:
        before = usage.look({"worker": [os.getpid(), child.pid]})["worker"]
    finally:
        child.communicate(b"\n")
    after = usage.look({"worker": [child.pid]})["worker"]

    assert before.cpu_s > 0
    assert before.memory_bytes > 1 << 20
    assert before.open_files > 2
    assert after.cpu_s == before.cpu_s
    assert after.open_files == 0


def test_how_a_load_ended_is_kept_and_nothing_else_is_taken_for_it(tmp_path):
    assert last_load(tmp_path) is None
    noted = LastLoad(NOW_US, False, {"items": True, "change": False})
    note_load(tmp_path, noted)
    assert last_load(tmp_path) == noted
    assert [path.name for path in tmp_path.iterdir()] == ["last-load.json"]
    for text in ("", "[]", '{"at_us": 1}', '{"at_us": "x", "published": true, "gates": {}}'):
        (tmp_path / "last-load.json").write_text(text)
        assert last_load(tmp_path) is None
    note_load(tmp_path / "nowhere", noted)
    assert not (tmp_path / "nowhere").exists()
