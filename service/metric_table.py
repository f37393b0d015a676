"""Every metric that a server exports: its name, labels and meaning. What counts builds its metrics from here, and
docs/metrics.md is made from it: `python -m pricegrid.service.metric_table`."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pricegrid import v1
from pricegrid.atp.model import AvailabilityStatus
from pricegrid.atp.rules.events import EventStatus
from pricegrid.cache.protocol import Health
from pricegrid.erp.observe import BreakerState, CallOutcome, LineResult, Turned
from pricegrid.erp.protocol import Refusal
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.service.errors import Reason

PLACE = Path("docs/metrics.md")
METHODS: Final = tuple(
    method.name
    for file in (
        v1.PRICING_SERVICE_FILE,
        v1.AVAILABILITY_SERVICE_FILE,
        v1.QUOTE_SERVICE_FILE,
        v1.INVENTORY_FEED_SERVICE_FILE,
        v1.ADMIN_SERVICE_FILE,
    )
    for service in file.services_by_name.values()
    for method in service.methods
)
LIMITS: Final = (
    "calls",
    "lines",
    "queue",
    "waiting",
    "big",
    "deadline",
    "streams",
    "idle",
    "unread",
    "snapshots",
)
"""What a call can be refused by, apart from what is wrong with it."""
BUCKETS_S: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
)
ERP_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BOOKS_MAX: Final = 1_000
"""Books with counters of their own; the others count as `OTHER_BOOK`, to bound the number of labels."""
OTHER_BOOK: Final = "(other)"


class Kind(enum.Enum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Exported(enum.Enum):
    """When it is exported."""

    ALWAYS = "Always"
    REDIS = "With `--redis-url`"
    ERP = "With `--erp-config`"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is exported."""

    name: str
    """Of a counter with `_total`."""
    kind: Kind
    help: str
    unit: str
    labels: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    """By label its values, or in words what they are where they are names of a snapshot."""
    when: Exported = Exported.ALWAYS
    buckets: tuple[float, ...] = ()

    @property
    def declared(self) -> tuple[str, str, tuple[str, ...]]:
        """Name, help and labels, as `prometheus_client` takes them: it adds `_total` itself."""
        return self.name.removesuffix("_total"), self.help, tuple(self.labels)


def _values(of: Iterable[enum.Enum]) -> tuple[str, ...]:
    return tuple(str(each.value) for each in of)


def _names(of: Iterable[enum.Enum]) -> tuple[str, ...]:
    return tuple(each.name for each in of)


REQUESTS = Metric(
    "pricegrid_requests_total",
    Kind.COUNTER,
    "Requests by method and outcome: OK or the reason of the refusal.",
    "requests",
    {"method": METHODS, "outcome": ("OK", *_values(Reason))},
)
REQUEST_SECONDS = Metric(
    "pricegrid_request_seconds",
    Kind.HISTOGRAM,
    "Time from decoding the request to the encoded response.",
    "seconds",
    {"method": METHODS},
    buckets=BUCKETS_S,
)
LINES = Metric(
    "pricegrid_lines_total",
    Kind.COUNTER,
    "Lines priced by status.",
    "lines",
    {"status": _names(LineStatus)},
)
AVAILABILITY_LINES = Metric(
    "pricegrid_availability_lines_total",
    Kind.COUNTER,
    "Lines answered with availability by status.",
    "lines",
    {"status": _names(AvailabilityStatus)},
)
LIMITED = Metric(
    "pricegrid_limited_total",
    Kind.COUNTER,
    "Requests refused by a limit of their caller or of the server, by which (docs/limits.md).",
    "requests",
    {"limit": LIMITS},
)
EVENTS = Metric(
    "pricegrid_events_total",
    Kind.COUNTER,
    "Published events by outcome; events counted under GAP or RESTART have another outcome too.",
    "events",
    {"outcome": (*_names(EventStatus), "REFUSED", "GAP", "RESTART")},
)
SNAPSHOT_AGE = Metric(
    "pricegrid_snapshot_age_seconds",
    Kind.GAUGE,
    "Age of the active snapshot.",
    "seconds",
)
UNPROVEN_WORKERS = Metric(
    "pricegrid_live_unproven_workers",
    Kind.GAUGE,
    "Workers that can't prove that their live positions are current: they answer STALE.",
    "workers",
)
PROCESSES_ENDED = Metric(
    "pricegrid_processes_ended_total",
    Kind.COUNTER,
    "Processes that died or were killed, and were replaced.",
    "processes",
    {"process": ("worker", "writer")},
)
REDIS_HEALTH = Metric(
    "pricegrid_redis_health",
    Kind.GAUGE,
    "1 for the current state of the link to Redis; only in OK are reservations granted and answers fresh.",
    "0 or 1",
    {"health": _values(Health)},
    Exported.REDIS,
)
REDIS_LOST_RECORDS = Metric(
    "pricegrid_redis_lost_records",
    Kind.GAUGE,
    "Records that were acknowledged here and then lost to another host's, since the writer started.",
    "records",
    when=Exported.REDIS,
)
REDIS_DAMAGED = Metric(
    "pricegrid_redis_damaged",
    Kind.GAUGE,
    "Entries, records and messages in Redis that could not be read, since the writer started.",
    "entries",
    when=Exported.REDIS,
)
QUOTA_HOSTS = Metric(
    "pricegrid_quota_hosts",
    Kind.GAUGE,
    "Hosts that share the quotas of callers, this one too; 0 while Redis is away, or if there is no quota.",
    "hosts",
    when=Exported.REDIS,
)
ERP_CALLS = Metric(
    "pricegrid_erp_calls_total",
    Kind.COUNTER,
    "Calls of the ERP by outcome.",
    "calls",
    {"outcome": _values(CallOutcome)},
    Exported.ERP,
)
ERP_CALL_SECONDS = Metric(
    "pricegrid_erp_call_seconds",
    Kind.HISTOGRAM,
    "Duration of a call of the ERP.",
    "seconds",
    when=Exported.ERP,
    buckets=ERP_BUCKETS_S,
)
ERP_TURNED_AWAY = Metric(
    "pricegrid_erp_turned_away_total",
    Kind.COUNTER,
    "Calls of the ERP that were not made.",
    "calls",
    {"why": _values(Turned)},
    Exported.ERP,
)
ERP_RETRIES = Metric(
    "pricegrid_erp_retries_total", Kind.COUNTER, "Retried calls of the ERP.", "calls", when=Exported.ERP
)
ERP_COALESCED_LINES = Metric(
    "pricegrid_erp_coalesced_lines_total",
    Kind.COUNTER,
    "Lines that shared the call of an equal question.",
    "lines",
    when=Exported.ERP,
)
ERP_BREAKER_OPEN = Metric(
    "pricegrid_erp_breaker_open",
    Kind.GAUGE,
    "Processes whose circuit breaker is not closed.",
    "processes",
    when=Exported.ERP,
)
ERP_BREAKER_CHANGES = Metric(
    "pricegrid_erp_breaker_changes_total",
    Kind.COUNTER,
    "Changes of the circuit breaker.",
    "changes",
    {"state": _values(BreakerState)},
    Exported.ERP,
)
ERP_PROBES = Metric(
    "pricegrid_erp_probes_total",
    Kind.COUNTER,
    "Probes of an ERP that did not answer.",
    "probes",
    {"answered": ("true", "false")},
    Exported.ERP,
)
ERP_REFUSED_ANSWERS = Metric(
    "pricegrid_erp_refused_answers_total",
    Kind.COUNTER,
    "Answers of the ERP that were refused.",
    "answers",
    {"reason": _values(Refusal)},
    Exported.ERP,
)
ERP_LINES = Metric(
    "pricegrid_erp_lines_total",
    Kind.COUNTER,
    "Lines for the ERP, by result.",
    "lines",
    {"result": _values(LineResult)},
    Exported.ERP,
)
_BOOKS: Final = f"the books that were compared, {BOOKS_MAX:,} at most, the rest as `{OTHER_BOOK}`"
PARITY_CHECKS = Metric(
    "pricegrid_parity_checks_total",
    Kind.COUNTER,
    "Ordinary prices compared with the ERP's.",
    "prices",
    {"book_id": _BOOKS},
    Exported.ERP,
)
PARITY_MISMATCHES = Metric(
    "pricegrid_parity_mismatches_total",
    Kind.COUNTER,
    "Ordinary prices that differed from the ERP's.",
    "prices",
    {"book_id": _BOOKS},
    Exported.ERP,
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            REQUESTS,
            REQUEST_SECONDS,
            LINES,
            AVAILABILITY_LINES,
            LIMITED,
            EVENTS,
            SNAPSHOT_AGE,
            UNPROVEN_WORKERS,
            PROCESSES_ENDED,
            REDIS_HEALTH,
            REDIS_LOST_RECORDS,
            REDIS_DAMAGED,
            QUOTA_HOSTS,
            ERP_CALLS,
            ERP_CALL_SECONDS,
            ERP_TURNED_AWAY,
            ERP_RETRIES,
            ERP_COALESCED_LINES,
            ERP_BREAKER_OPEN,
            ERP_BREAKER_CHANGES,
            ERP_PROBES,
            ERP_REFUSED_ANSWERS,
            ERP_LINES,
            PARITY_CHECKS,
            PARITY_MISMATCHES,
        )
    }
)
"""By name, in the order of the page."""

_HEAD: Final = """\
# Metrics

`pricegrid serve --metrics-port PORT` serves Prometheus metrics at `http://127.0.0.1:PORT/metrics`, added up over all
processes of the server. They begin at 0 when the server starts, and count an answered request up to a tenth of a second
after it. `pricegrid_events_total` and the counters of books appear with the first thing that they count.

[operate.md](operate.md) says which of them to watch, and what to do. This page is made by
`python -m pricegrid.service.metric_table`.
"""


def reference() -> str:
    """The page."""
    parts = [_HEAD]
    for when in Exported:
        parts.append(f"## {when.value}\n")
        parts += [_section(metric) for metric in METRICS.values() if metric.when is when]
    return "\n".join(parts)


def _section(metric: Metric) -> str:
    rows = [f"### `{metric.name}`\n", f"{metric.help}\n", "| | |", "|---|---|"]
    rows += [f"| type | {metric.kind.value} |", f"| unit | {metric.unit} |"]
    for label, values in metric.labels.items():
        told = values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)
        rows.append(f"| label `{label}` | {told} |")
    if metric.buckets:
        rows.append(f"| buckets | {', '.join(f'{bound:g}' for bound in metric.buckets)} |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    PLACE.write_text(reference(), encoding="utf-8")
