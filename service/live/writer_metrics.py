"""What the writer knows, for Prometheus (`service.rpc.metrics` describes how processes add up)."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import DeadReason
from pricegrid.atp.rules.reservations import LIVING
from pricegrid.service import metric_table as table
from pricegrid.service.live.api import PublishResult
from pricegrid.service.live.figures import LiveFigures
from pricegrid.service.methods.live import outcomes_of
from pricegrid.service.metric_kinds import Metric

if TYPE_CHECKING:
    from prometheus_client import Gauge

    from pricegrid.service.rpc.link_metrics import LinkMetrics

LOOK_S: Final = 5.0
"""How often live state is looked through: that takes a microsecond a reservation, and its lock."""


class WriterMetrics:
    """Gauges of the writer process; a host has one writer."""

    def __init__(
        self, link: "LinkMetrics | None", waiting: Callable[[], int], now_us: Callable[[], int]
    ) -> None:
        """`waiting`: how many changes wait for a thread; `link`: None without Redis."""
        self._link = link
        self._waiting = waiting
        self._now_us = now_us
        self._queue = _gauges(table.WRITER_QUEUE)[()]
        self._lag = _gauges(table.EVENTS_LAG, [(each.name,) for each in Source])
        self._held = _gauges(table.RESERVATIONS, [(each.name,) for each in LIVING])
        self._unreported = _gauges(table.UNREPORTED_OLDEST)[()]
        reasons = [(each.name,) for each in DeadReason]
        self._letters = _gauges(table.DEAD_LETTERS, reasons)
        self._letters_oldest = _gauges(table.DEAD_LETTERS_OLDEST, reasons)
        self._next_s = 0.0

    def show(self, figures: Callable[[], LiveFigures] | None) -> None:
        """Updates the gauges; called at each turn of the writer's loop."""
        if self._link is not None:
            self._link.show()
        self._queue.set(self._waiting())
        if figures is not None and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + LOOK_S
            self._show(figures())

    def _show(self, found: LiveFigures) -> None:
        now_us = self._now_us()
        for source, effective_us in found.newest_us.items():
            self._lag[source.name,].set(_age_s(now_us, effective_us))
        for status, count in found.reservations.items():
            self._held[status.name,].set(count)
        self._unreported.set(_age_s(now_us, found.unreported_us))
        for (reason,), gauge in self._letters.items():
            count, at_us = found.dead_letters.get(reason, (0, None))
            gauge.set(count)
            self._letters_oldest[reason,].set(_age_s(now_us, at_us))


class StreamMetrics:
    """What becomes of the events of a Redis stream, which no worker counts."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        from prometheus_client import Counter

        self._now_us = now_us
        self._events = Counter(*table.EVENTS.declared)
        self._lag = _gauges(table.STREAM_LAG)[()]

    def applied(self, result: PublishResult, last_id: str) -> None:
        """Entries of the stream were; `last_id` is that of the last of them, which begins with its milliseconds."""
        for outcome, count in outcomes_of(result).items():
            if count:
                self._events.labels(outcome).inc(count)
        self._lag.set(_age_s(self._now_us(), int(last_id.partition("-")[0]) * 1_000))


def _age_s(now_us: int, then_us: int | None) -> float:
    return 0.0 if then_us is None else max(0, now_us - then_us) / 1e6


def _gauges(metric: Metric, labels: Sequence[tuple[str, ...]] = ()) -> Mapping[tuple[str, ...], "Gauge"]:
    from prometheus_client import Gauge

    gauge = Gauge(*metric.declared, multiprocess_mode="mostrecent")
    return {each: gauge.labels(*each) for each in labels} if labels else {(): gauge}
