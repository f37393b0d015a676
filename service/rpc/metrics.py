"""The metrics of the service, for Prometheus.

Several processes serve one port, so `prometheus_client` keeps their counters in files of a shared directory
(`PROMETHEUS_MULTIPROC_DIR`, set before its first import), which the supervisor adds up and serves. Labels are bound
once, and each thread counts in memory of its own; `flush` moves the counts into the files.
"""

import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.service import metric_table
from pricegrid.service.errors import Reason
from pricegrid.service.metric_table import BUCKETS_S, METHODS
from pricegrid.service.rpc.response import COUNTED, SHOWN, Response

FEW_LINES: Final = 16
"""Fewer lines are counted one by one."""


def use_counters(directory: str) -> None:
    """Has this process count in the files of a directory, if one is named; before `prometheus_client` is imported."""
    if directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory


class Metrics(Protocol):
    """What the handlers report."""

    def answered(self, method: str, response: Response, seconds: float) -> None:
        """Count a request that was answered, and the time it took."""

    def refused(self, method: str, reason: Reason, seconds: float) -> None:
        """Count a request that was refused."""

    def limited(self, limit: str) -> None:
        """Count that a limit refused something; one of `metric_table.LIMITS`."""

    def refused_unread(self, method: str, calls: int) -> None:
        """Count requests that were refused as OVERLOADED by their headers, in no time, since too many waited."""

    def flush(self) -> None:
        """Publish the counts; called periodically and at the end."""


class NoMetrics:
    """Counts nothing."""

    def answered(self, method: str, response: Response, seconds: float) -> None:
        """See `Metrics`."""

    def refused(self, method: str, reason: Reason, seconds: float) -> None:
        """See `Metrics`."""

    def limited(self, limit: str) -> None:
        """See `Metrics`."""

    def refused_unread(self, method: str, calls: int) -> None:
        """See `Metrics`."""

    def flush(self) -> None:
        """See `Metrics`."""


class _Tally:
    """The counts of one thread and method; no other thread writes them."""

    __slots__ = ("availability", "buckets", "lines", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0
        self.lines = [0] * len(LineStatus)
        self.availability = [0] * len(AvailabilityStatus)


class _Tallies(threading.local):
    """The tallies of one thread by method, and the lines that kernels counted for it (`Response.counts`)."""

    of: Mapping[str, _Tally] = {}
    counts: NDArray[np.int64] | None = None


class PrometheusMetrics:
    """Counts for Prometheus.

    Every increment of a Prometheus counter takes a lock and writes to a file, which costs as much as a quote of one
    line. So each thread counts in memory, and `flush` adds up.
    """

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        requests = Counter(*metric_table.REQUESTS.declared)
        lines = Counter(*metric_table.LINES.declared)
        availability = Counter(*metric_table.AVAILABILITY_LINES.declared)
        latency = Histogram(*metric_table.REQUEST_SECONDS.declared, buckets=BUCKETS_S)
        limited = Counter(*metric_table.LIMITED.declared)
        self._limited = {limit: limited.labels(limit) for limit in metric_table.LIMITS}
        self._events = Counter(*metric_table.EVENTS.declared)
        self._requests = {
            (method, outcome): requests.labels(method, outcome)
            for method in METHODS
            for outcome in ("OK", *Reason)
        }
        self._lines = [lines.labels(status.name) for status in LineStatus]
        self._availability = [availability.labels(status.name) for status in AvailabilityStatus]
        self._counters = [*self._lines, *self._availability]
        """In the order of `Response.counts`."""
        self._latency = {method: latency.labels(method) for method in METHODS}
        self._mine = _Tallies()
        self._all: list[tuple[str, _Tally, _Tally]] = []
        """(method, tally of a thread, the part of it that is flushed)."""
        self._counts: list[NDArray[np.int64]] = []
        """The counts that kernels keep for each thread."""
        self._lock = threading.Lock()

    def answered(self, method: str, response: Response, seconds: float) -> None:
        """See `Metrics`."""
        tally = self._mine.of.get(method) or self._new_tally(method)
        tally.seconds += seconds
        for outcome, count in (response.events or {}).items():
            self._events.labels(outcome).inc(count)
        tally.buckets[bisect_left(BUCKETS_S, seconds)] += 1
        if response.counts is None:
            _count(tally.lines, response.status)
            _count(tally.availability, response.availability)
        elif response.counts is not self._mine.counts:
            self._attach(response.counts)

    def refused(self, method: str, reason: Reason, seconds: float) -> None:
        """See `Metrics`."""
        self._requests[method, reason].inc()
        self._latency[method].observe(seconds)

    def limited(self, limit: str) -> None:
        """See `Metrics`."""
        self._limited[limit].inc()

    def refused_unread(self, method: str, calls: int) -> None:
        """See `Metrics`."""
        self._requests[method, Reason.OVERLOADED].inc(calls)
        self._latency[method]._buckets[0].inc(calls)  # noqa: SLF001 -- as below
        self._limited["waiting"].inc(calls)

    def flush(self) -> None:
        """See `Metrics`."""
        with self._lock:
            for method, tally, flushed in self._all:
                seconds, latency = tally.seconds, self._latency[method]
                answers = 0
                for bucket, count in _grown(tally.buckets, flushed.buckets):
                    latency._buckets[bucket].inc(count)  # noqa: SLF001 - there is no public way to add many
                    answers += count
                if answers:
                    latency._sum.inc(seconds - flushed.seconds)  # noqa: SLF001 - as above
                    flushed.seconds = seconds
                    self._requests[method, "OK"].inc(answers)
                for value, count in _grown(tally.lines, flushed.lines):
                    self._lines[value].inc(count)
                for value, count in _grown(tally.availability, flushed.availability):
                    self._availability[value].inc(count)

            for counts in self._counts:
                self._show(counts)

    def _show(self, counts: NDArray[np.int64]) -> None:
        """Add what a thread has counted since the last time."""
        counted = counts[COUNTED].copy()
        grown = counted - counts[SHOWN]
        for column in np.flatnonzero(grown).tolist():
            self._counters[column].inc(int(grown[column]))
        counts[SHOWN] = counted

    def _attach(self, counts: NDArray[np.int64]) -> None:
        """Read this thread's counts from this array from now on: each snapshot has its own."""
        with self._lock:
            before, self._mine.counts = self._mine.counts, counts
            if before is not None:
                self._show(before)
            self._counts = [each for each in self._counts if each is not before] + [counts]

    def _new_tally(self, method: str) -> _Tally:
        tally = _Tally()
        self._mine.of = {**self._mine.of, method: tally}
        with self._lock:
            self._all.append((method, tally, _Tally()))
        return tally


def _count(counts: list[int], status: NDArray[np.integer[Any]] | None) -> None:
    """Add the number of occurrences of each status."""
    if status is None:
        return
    if len(status) < FEW_LINES:
        for value in status.tolist():
            counts[value] += 1
    else:
        for value, count in enumerate(np.bincount(status).tolist()):
            counts[value] += count


def _grown(counts: list[int], flushed: list[int]) -> Iterator[tuple[int, int]]:
    """(index, increment) of the counts that have grown; notes them as flushed."""
    for index, count in enumerate(counts):
        if count != flushed[index]:
            yield index, count - flushed[index]
            flushed[index] = count
