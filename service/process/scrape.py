"""What Prometheus and probes ask: `/metrics`, `/healthz` and `/readyz`, on a port of their own.

The supervisor serves them in threads of its own. What needs a look at the store or at processes is looked at here, when
it is asked for: no worker does that, and nobody does while nobody asks.
"""

import http.server
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from pricegrid.erp.dead_letters import DeadLetterFile
from pricegrid.loaders.store.book_ages import BookAges, readable_ages
from pricegrid.loaders.store.last_load import last_load
from pricegrid.service import metric_table as table
from pricegrid.service.clock import created_at_us
from pricegrid.service.metric_kinds import Metric
from pricegrid.service.process.follower import Follower
from pricegrid.service.process.processes import Usage, is_running
from pricegrid.service.process.source_ages import SourceAges

Family = GaugeMetricFamily | CounterMetricFamily
CALLER_S: Final = 10.0
"""How long a caller of this port may be silent."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What the supervisor knows; all of it is asked from other threads."""

    store: Path
    snapshot_version: Callable[[], str]
    """'' before the first one is verified."""
    is_refused: Callable[[], bool]
    """Whether the snapshot that the store names is not taken over."""
    unproven_workers: Callable[[], int]
    ended: Callable[[], Mapping[str, int]]
    """Processes that ended, by what they were."""
    pids: Callable[[], Mapping[str, Sequence[int]]]
    """Processes that run, by what they are."""
    is_ready: Callable[[], bool]
    has_erp: bool = False
    follower: Callable[[], Follower | None] = lambda: None
    """None: there is none, or it has not begun."""


class SupervisorMetrics:
    """Collects what the supervisor knows, and what it finds in the store."""

    def __init__(self, watched: Watched, now_us: Callable[[], int]) -> None:
        self._watched = watched
        self._now_us = now_us
        self._started_s = now_us() / 1e6
        self._lock = threading.Lock()
        self._usage = Usage()
        self._sources = SourceAges(watched.store)
        self._books: tuple[str, BookAges | None] = "", None
        self._version = version("pricegrid")

    def collect(self) -> Iterable[Family]:
        """See `prometheus_client`."""
        with self._lock:  # each caller of the port has a thread
            return list(self._look())

    def _look(self) -> Iterator[Family]:
        watched, now_us = self._watched, self._now_us()
        served = watched.snapshot_version()
        if served:
            yield _gauge(table.SNAPSHOT_AGE, {(): _age_s(now_us, created_at_us(served))})
            yield from self._source_ages(served, now_us)
            yield from self._book_ages(served, now_us)
        yield _gauge(table.SNAPSHOT_REFUSED, {(): watched.is_refused()})
        yield from _following(watched.follower())
        yield _gauge(table.UNPROVEN_WORKERS, {(): watched.unproven_workers()})
        yield _counter(table.PROCESSES_ENDED, {(name,): count for name, count in watched.ended().items()})
        yield from self._processes()
        yield from _loads(watched.store, now_us)
        if watched.has_erp:
            yield from _erp_letters(watched.store, now_us)
        python = ".".join(map(str, sys.version_info[:3]))
        yield _gauge(table.BUILD, {(self._version, python): 1})
        yield _gauge(table.START_TIME, {(): self._started_s})

    def _source_ages(self, served: str, now_us: int) -> Iterator[Family]:
        found = self._sources.oldest(served, table.BRANCHES_MAX)
        yield _gauge(
            table.SOURCE_AGE,
            {(each.branch, each.source.name): _age_s(now_us, each.as_of_us) for each in found},
        )
        yield _gauge(
            table.SOURCE_STALE_AFTER,
            {(each.branch, each.source.name): each.stale_after_us / 1e6 for each in found},
        )

    def _book_ages(self, served: str, now_us: int) -> Iterator[Family]:
        if self._books[0] != served:
            self._books = served, readable_ages(self._watched.store, served)
        ages = self._books[1]
        if ages is None:
            return
        yield _gauge(table.BOOKS, {(age,): count for age, count in ages.counts(now_us).items()})
        span = ages.span(now_us)
        if span is not None:
            yield _gauge(table.BOOKS_OLDEST, {(): _age_s(now_us, span[0])})
            yield _gauge(table.BOOKS_NEWEST, {(): _age_s(now_us, span[1])})

    def _processes(self) -> Iterator[Family]:
        pids = self._watched.pids()
        used = self._usage.look(pids)
        yield _gauge(table.PROCESSES_ALIVE, {(name,): len(each) for name, each in pids.items()})
        yield _counter(table.PROCESS_CPU, {(name,): each.cpu_s for name, each in used.items()})
        yield _gauge(table.PROCESS_MEMORY, {(name,): each.memory_bytes for name, each in used.items()})
        yield _gauge(table.PROCESS_FILES, {(name,): each.open_files for name, each in used.items()})


def _following(follower: Follower | None) -> Iterator[Family]:
    if follower is not None:
        yield _gauge(table.FOLLOW_AGE, {(): follower.age_s})
        yield _gauge(table.FOLLOW_REFUSED, {(): follower.is_refusing})
        yield _counter(table.FOLLOW_FETCHED, {(): follower.fetched_bytes})


def _loads(store: Path, now_us: int) -> Iterator[Family]:
    last = last_load(store)
    if last is None:
        return
    yield _gauge(table.LOAD_AGE, {(): _age_s(now_us, last.at_us)})
    yield _gauge(table.LOAD_FAILED, {(): not last.published})
    refused: dict[tuple[str, ...], float] = {
        (gate,): float(not passed and not last.published) for gate, passed in sorted(last.gates.items())
    }
    yield _gauge(table.GATE_REFUSED, refused)


def _erp_letters(store: Path, now_us: int) -> Iterator[Family]:
    try:
        found = DeadLetterFile(store).oldest()
    except sqlite3.Error:  # locked for long, or damaged: `dead-letters list` says so
        return
    yield _gauge(table.ERP_DEAD_LETTERS, {(reason,): count for reason, (count, _) in found.items()})
    yield _gauge(
        table.ERP_DEAD_LETTERS_OLDEST,
        {(reason,): _age_s(now_us, at_us) for reason, (_, at_us) in found.items()},
    )


def _age_s(now_us: int, then_us: int) -> float:
    return max(0, now_us - then_us) / 1e6


def _gauge(metric: Metric, values: Mapping[tuple[str, ...], float]) -> Family:
    name, meaning, labels = metric.declared
    return _filled(GaugeMetricFamily(name, meaning, labels=labels), values)


def _counter(metric: Metric, values: Mapping[tuple[str, ...], float]) -> Family:
    name, meaning, labels = metric.declared
    return _filled(CounterMetricFamily(name, meaning, labels=labels), values)


def _filled(family: Family, values: Mapping[tuple[str, ...], float]) -> Family:
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


class _TheDead:
    """Forgets what processes that have ended said of themselves, such as that a breaker is open; what they counted
    stays."""

    def collect(self) -> Iterable[Family]:
        """See `prometheus_client`."""
        for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
            pid = path.stem.rpartition("_")[2]
            if pid.isdecimal() and not is_running(int(pid)):
                path.unlink(missing_ok=True)
        return ()


class _Answering(http.server.BaseHTTPRequestHandler):
    """One connection."""

    server: "_Server"
    timeout = CALLER_S

    def do_GET(self) -> None:
        """`http.server` calls it."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("accept") or "")
            self._answer(200, kind, encode(self.server.registry))
        elif path == "/healthz":
            self._answer(200, _PLAIN, b"alive\n")
        elif path == "/readyz":
            is_ready = self.server.is_ready()
            self._answer(200 if is_ready else 503, _PLAIN, b"ready\n" if is_ready else b"not ready\n")
        else:
            self._answer(404, _PLAIN, b"here are /metrics, /healthz and /readyz\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """What the `Server` header says."""
        return "pricegrid"

    def log_message(self, *_: Any) -> None:
        """Nothing: a probe asks every few seconds."""


_PLAIN: Final = "text/plain; charset=utf-8"


class _Server(http.server.ThreadingHTTPServer):
    """The port."""

    daemon_threads = True

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, is_ready: Callable[[], bool]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.registry = registry
        self.is_ready = is_ready
        super().__init__((host, port), _Answering)

    def handle_error(self, *_: Any) -> None:
        """Nothing: its caller went away."""


class ScrapePort:
    """Serves the sums over all processes, and what the supervisor knows, until closed."""

    def __init__(self, host: str, port: int, watched: Watched, now_us: Callable[[], int]) -> None:
        """`port` 0: a free one. Raises OSError."""
        registry = CollectorRegistry()
        registry.register(_TheDead())  # first: what they said is not added up
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        registry.register(SupervisorMetrics(watched, now_us))
        self._server = _Server(host, port, registry, watched.is_ready)
        self.port = int(self._server.server_port)
        threading.Thread(target=self._server.serve_forever, name="pricegrid-scrape", daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
