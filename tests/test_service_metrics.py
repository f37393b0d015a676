"""Each line that the fast path counted for its thread is shown once, whichever snapshot answered it."""

import functools
import threading

import numpy as np
import prometheus_client
import pytest

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.service.rpc.metrics import PrometheusMetrics
from pricegrid.service.rpc.response import COUNTED, COUNTS, STATUSES, Response


@pytest.fixture
def registry(monkeypatch):
    registry = prometheus_client.CollectorRegistry()
    for name in ("Counter", "Histogram"):
        made = functools.partial(getattr(prometheus_client, name), registry=registry)
        monkeypatch.setattr(prometheus_client, name, made)
    return registry


def shown(registry):
    """(lines priced, lines with availability) by status, those that were met."""
    found = [{}, {}]
    for place, name in enumerate(("pricegrid_lines_total", "pricegrid_availability_lines_total")):
        for status in (LineStatus, AvailabilityStatus)[place]:
            value = registry.get_sample_value(name, {"status": status.name})
            if value:
                found[place][status.name] = int(value)
    return found


def answer(counts, *places):
    """Counts lines as the kernel does."""
    for place in places:
        counts[COUNTED, place] += 1
    return Response(b"", None, None, counts)


OK, UNKNOWN = int(LineStatus.OK), int(LineStatus.UNKNOWN_ITEM)
FREE = STATUSES + int(AvailabilityStatus.OK)


def test_every_line_is_shown_once(registry):
    metrics, counts = PrometheusMetrics(), np.zeros((2, COUNTS), np.int64)

    metrics.answered("QuoteLines", answer(counts, OK, OK, FREE), 0.001)
    metrics.flush()
    metrics.flush()
    assert shown(registry) == [{"OK": 2}, {"OK": 1}]

    metrics.answered("QuoteLines", answer(counts, UNKNOWN, FREE), 0.001)
    metrics.answered("PriceLines", Response(b"", np.array([OK]), None), 0.001)
    metrics.flush()
    assert shown(registry) == [{"OK": 3, "UNKNOWN_ITEM": 1}, {"OK": 2}]


def test_none_is_lost_or_shown_twice_when_snapshots_change(registry):
    metrics, one, other = PrometheusMetrics(), *np.zeros((2, 2, COUNTS), np.int64)

    for counts in (one, other, one, one, other):  # a thread may still meet the one before
        metrics.answered("QuoteLines", answer(counts, OK), 0.001)
    metrics.flush()

    assert shown(registry) == [{"OK": 5}, {}]


def test_threads_count_apart_and_are_added_up(registry):
    metrics = PrometheusMetrics()

    def work():
        counts = np.zeros((2, COUNTS), np.int64)
        for _ in range(50):
            metrics.answered("QuoteLines", answer(counts, OK), 0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.flush()

    assert shown(registry) == [{"OK": 200}, {}]


def test_what_became_of_events_is_counted(registry):
    metrics = PrometheusMetrics()

    for _ in range(2):
        metrics.answered("PublishEvents", Response(b"", events={"APPLIED": 3, "REFUSED": 1, "GAP": 0}), 0.001)

    told = {
        name: registry.get_sample_value("pricegrid_events_total", {"outcome": name})
        for name in ("APPLIED", "REFUSED")
    }
    assert told == {"APPLIED": 6, "REFUSED": 2}
