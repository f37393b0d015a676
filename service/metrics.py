"""Counters of the service for Prometheus, with children bound beforehand: `labels()` at each request would cost 5 %.

Several processes serve one port, so they count in files of a shared directory (`PROMETHEUS_MULTIPROC_DIR`, set before
`prometheus_client` is first imported) that the supervisor adds up and serves.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from atp.model import AvailabilityStatus
from pricing_engine.model import LineStatus
from service.errors import Reason
from service.exchange import Answered

METHODS = (
    "PriceLines",
    "ExplainPrice",
    "CheckAvailability",
    "PromiseOrder",
    "QuoteLines",
    "PublishEvents",
    "Reserve",
    "ConfirmReservation",
    "ReleaseReservation",
    "WatchAvailability",
    "ListDeadLetters",
    "GetDeadLetter",
    "ReplayDeadLetters",
    "DropDeadLetters",
    "ListReservations",
)
BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics(Protocol):
    """What the handlers count."""

    def answered(self, method: str, answered: Answered, seconds: float) -> None:
        """A request that was answered, and the time it took."""

    def refused(self, method: str, reason: Reason, seconds: float) -> None:
        """A request that was refused."""


class NoMetrics:
    """Counts nothing."""

    def answered(self, method: str, answered: Answered, seconds: float) -> None:
        """See `Metrics`."""

    def refused(self, method: str, reason: Reason, seconds: float) -> None:
        """See `Metrics`."""


class PrometheusMetrics:
    """Counts for Prometheus."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        requests = Counter(
            "pricegrid_requests",
            "Requests by method and outcome: OK or the reason of the refusal.",
            ("method", "outcome"),
        )
        lines = Counter("pricegrid_lines", "Lines priced by status.", ("status",))
        availability = Counter(
            "pricegrid_availability_lines", "Lines answered with availability by status.", ("status",)
        )
        latency = Histogram(
            "pricegrid_request_seconds",
            "Time from decoding to the encoded answer.",
            ("method",),
            buckets=BUCKETS_S,
        )
        self._requests = {
            (method, outcome): requests.labels(method, outcome)
            for method in METHODS
            for outcome in ("OK", *Reason)
        }
        self._lines = [lines.labels(status.name) for status in LineStatus]
        self._availability = [availability.labels(status.name) for status in AvailabilityStatus]
        self._latency = {method: latency.labels(method) for method in METHODS}

    def answered(self, method: str, answered: Answered, seconds: float) -> None:
        """See `Metrics`."""
        self._requests[method, "OK"].inc()
        self._latency[method].observe(seconds)
        for counters, status in ((self._lines, answered.status), (self._availability, answered.availability)):
            for value, count in enumerate(np.bincount(status).tolist()):
                if count:
                    counters[value].inc(count)

    def refused(self, method: str, reason: Reason, seconds: float) -> None:
        """See `Metrics`."""
        self._requests[method, reason].inc()
        self._latency[method].observe(seconds)


class SnapshotAge:
    """The age of the active snapshot, worked out when it is asked for."""

    def __init__(self, created_at_us: Callable[[], int], now_us: Callable[[], int]) -> None:
        self._created_at_us = created_at_us
        self._now_us = now_us

    def collect(self) -> Iterable[object]:
        """One gauge."""
        from prometheus_client.core import GaugeMetricFamily

        age_s = max(0, self._now_us() - self._created_at_us()) / 1e6
        yield GaugeMetricFamily("pricegrid_snapshot_age_seconds", "Age of the active snapshot.", value=age_s)


def serve_metrics(port: int, age: SnapshotAge) -> int:
    """Serves the sum of all processes at http://127.0.0.1:`port`/metrics (0: a free one); the port it got."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(age)  # type: ignore[arg-type]
    server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    return int(server.server_port)
