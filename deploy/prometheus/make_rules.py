"""Makes `rules.yml` and `rules_test.yml` from one list of alerts: `python -m deploy.prometheus.make_rules`.

Each alert comes with series under which it fires and series under which it must not; `promtool test rules` tries both.
Expressions take the names of metrics from the table of the server, so none is of a metric that there is not.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pricegrid.service import metric_table as table
from pricegrid.service.metric_kinds import Metric

HERE: Final = Path(__file__).parent
RULES, TESTS = HERE / "rules.yml", HERE / "rules_test.yml"
GUIDE: Final = "docs/operate.md"
_HEAD: Final = "# Made by `python -m deploy.prometheus.make_rules`; change that, not this.\n"
FAILED: Final = "OVERLOADED|INTERNAL_ERROR|LIVE_STATE_UNAVAILABLE|DEADLINE_EXCEEDED|SNAPSHOT_UNUSABLE"
"""Outcomes by which a caller who asked rightly got no answer."""
BUDGET: Final = 0.001
"""The share of such answers that a month may have."""

Series = Mapping[str, str]
"""Values of promtool by series."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An expression that others use, under a name."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What calls a person, and its proof."""

    name: str
    expression: str
    lasts: str
    """How long it must be so."""
    severity: str
    """`page`: at night too; `ticket`: the next morning."""
    summary: str
    section: str
    """Of the operations guide: what to do."""
    fires: Series
    quiet: Series
    after: str
    """When both are looked at."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the alert that fires has besides its severity."""


def _of(metric: Metric, **labels: str) -> str:
    """A series of a metric; KeyError for a label that it does not have."""
    for label in labels:
        if label not in metric.labels:
            raise KeyError(f"{metric.name} has no label {label}")
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{metric.name}{{{told}}}"


def _failing(window: str) -> str:
    asked, failed = (
        f"sum(rate({table.REQUESTS.name}[{window}]))",
        f'{table.REQUESTS.name}{{outcome=~"{FAILED}"}}',
    )
    return f"sum(rate({failed}[{window}])) / {asked}"


DAY_AND_LOAD_H: Final = 26
"""A day, and what a load takes: older prices are too old."""
STALENESS: Final = "pricegrid:source_staleness:ratio"
PARITY: Final = "pricegrid:parity_mismatch:ratio1h"
FAILING_1H: Final = "pricegrid:requests_failed:ratio1h"
FAILING_5M: Final = "pricegrid:requests_failed:ratio5m"
LATENCY: Final = "pricegrid:request_seconds:p99_5m"
RECORDED: Final = (
    Recorded(STALENESS, f"{table.SOURCE_AGE.name} / {table.SOURCE_STALE_AFTER.name}"),
    Recorded(
        PARITY,
        f"sum by (book_id) (increase({table.PARITY_MISMATCHES.name}[1h])) "
        f"/ (sum by (book_id) (increase({table.PARITY_CHECKS.name}[1h])) >= 20)",
    ),
    Recorded(FAILING_1H, _failing("1h")),
    Recorded(FAILING_5M, _failing("5m")),
    Recorded(
        LATENCY,
        f"histogram_quantile(0.99, sum by (method, le) (rate({table.REQUEST_SECONDS.name}_bucket[5m])))",
    ),
)

_BRANCH: Final = {"branch": "HAM", "source": "ERP"}
_DAY: Final = "86400+0x60"
ALERTS: Final = (
    Alert(
        "PricegridBranchRefreshLate",
        f"{STALENESS} > 0.8",
        "15m",
        "ticket",
        "A source of a branch turns STALE soon: its extract was not in the last loads.",
        "the-night-load",
        {_of(table.SOURCE_AGE, **_BRANCH): "72000+60x60", _of(table.SOURCE_STALE_AFTER, **_BRANCH): _DAY},
        {_of(table.SOURCE_AGE, **_BRANCH): "36000+60x60", _of(table.SOURCE_STALE_AFTER, **_BRANCH): _DAY},
        "40m",
        _BRANCH,
    ),
    Alert(
        "PricegridBranchStale",
        f"{STALENESS} >= 1",
        "5m",
        "page",
        "A source of a branch is STALE: callers are told so, and promises rest on old figures.",
        "the-night-load",
        {_of(table.SOURCE_AGE, **_BRANCH): "86400+60x60", _of(table.SOURCE_STALE_AFTER, **_BRANCH): _DAY},
        {_of(table.SOURCE_AGE, **_BRANCH): "80000+60x60", _of(table.SOURCE_STALE_AFTER, **_BRANCH): _DAY},
        "20m",
        _BRANCH,
    ),
    Alert(
        "PricegridPricesOld",
        f"{table.SNAPSHOT_AGE.name} > {DAY_AND_LOAD_H} * 3600",
        "10m",
        "page",
        "The served prices are older than a day and the time that a load takes.",
        "the-night-load",
        {table.SNAPSHOT_AGE.name: "93600+60x60"},
        {table.SNAPSHOT_AGE.name: "82800+60x60"},
        "30m",
    ),
    Alert(
        "PricegridLoadFailed",
        f"{table.LOAD_FAILED.name} == 1",
        "10m",
        "page",
        "The last load published nothing; pricegrid_snapshot_gate_refused names the gate if one refused it.",
        "the-night-load",
        {table.LOAD_FAILED.name: "1+0x60"},
        {table.LOAD_FAILED.name: "0+0x60"},
        "20m",
    ),
    Alert(
        "PricegridSnapshotRefused",
        f"{table.SNAPSHOT_REFUSED.name} == 1",
        "5m",
        "page",
        "The snapshot that the store names is damaged or can't be used.",
        "roll-back",
        {table.SNAPSHOT_REFUSED.name: "1+0x60"},
        {table.SNAPSHOT_REFUSED.name: "0+0x60"},
        "20m",
    ),
    Alert(
        "PricegridDeadLettersOld",
        f"max({table.DEAD_LETTERS_OLDEST.name}) > 86400",
        "15m",
        "ticket",
        "Events that could not be applied wait for more than a day.",
        "feeds-and-dead-letters",
        {_of(table.DEAD_LETTERS_OLDEST, reason="UNKNOWN_ITEM"): "86400+60x60"},
        {_of(table.DEAD_LETTERS_OLDEST, reason="UNKNOWN_ITEM"): "3600+60x60"},
        "30m",
    ),
    Alert(
        "PricegridEventsSilent",
        f"{table.EVENTS_LAG.name} > 4 * 3600",
        "15m",
        "ticket",
        "A source that sent events has sent none for hours.",
        "feeds-and-dead-letters",
        {_of(table.EVENTS_LAG, source="ERP"): "14400+60x60"},
        {_of(table.EVENTS_LAG, source="ERP"): "60+0x60"},
        "30m",
        {"source": "ERP"},
    ),
    Alert(
        "PricegridOrdersNotReported",
        f"{table.UNREPORTED_OLDEST.name} > 86400",
        "15m",
        "ticket",
        "The warehouse has not taken over a reservation that was confirmed more than a day ago.",
        "feeds-and-dead-letters",
        {table.UNREPORTED_OLDEST.name: "86400+60x60"},
        {table.UNREPORTED_OLDEST.name: "0+0x60"},
        "30m",
    ),
    Alert(
        "PricegridParityMismatch",
        f"{PARITY} > 0.01",
        "15m",
        "ticket",
        "More than 1 % of the compared prices of a book differ from the ERP's.",
        "what-to-watch",
        {
            _of(table.PARITY_CHECKS, book_id="LIST"): "0+10x120",
            _of(table.PARITY_MISMATCHES, book_id="LIST"): "0+1x120",
        },
        {
            _of(table.PARITY_CHECKS, book_id="LIST"): "0+10x120",
            _of(table.PARITY_MISMATCHES, book_id="LIST"): "0+0x120",
        },
        "100m",
        {"book_id": "LIST"},
    ),
    Alert(
        "PricegridRequestsFail",
        f"{FAILING_1H} > 14.4 * {BUDGET} and {FAILING_5M} > 14.4 * {BUDGET}",
        "2m",
        "page",
        "Calls fail so often that the budget of a month is used up in two days.",
        "capacity",
        {
            _of(table.REQUESTS, method="QuoteLines", outcome="OK"): "0+600x120",
            _of(table.REQUESTS, method="QuoteLines", outcome="INTERNAL_ERROR"): "0+30x120",
        },
        {
            _of(table.REQUESTS, method="QuoteLines", outcome="OK"): "0+6000x120",
            _of(table.REQUESTS, method="QuoteLines", outcome="INTERNAL_ERROR"): "0+3x120",
        },
        "90m",
    ),
    Alert(
        "PricegridProcessesEnd",
        f"increase({table.PROCESSES_ENDED.name}[15m]) > 3",
        "0m",
        "page",
        "Processes of the server end again and again.",
        "processes",
        {_of(table.PROCESSES_ENDED, process="writer"): "0+1x60"},
        {_of(table.PROCESSES_ENDED, process="writer"): "0+0x20 1+0x40"},
        "30m",
        {"process": "writer"},
    ),
    Alert(
        "PricegridLivePositionsUnproven",
        f"{table.UNPROVEN_WORKERS.name} > 0",
        "2m",
        "page",
        "Workers can't prove their live positions: availability is STALE.",
        "what-to-watch",
        {table.UNPROVEN_WORKERS.name: "1+0x60"},
        {table.UNPROVEN_WORKERS.name: "0+0x60"},
        "20m",
    ),
    Alert(
        "PricegridWriterBusy",
        f"min_over_time({table.WRITER_QUEUE.name}[5m]) > 0",
        "5m",
        "ticket",
        "Changes of live state always wait for the writer.",
        "capacity",
        {table.WRITER_QUEUE.name: "4+0x60"},
        {table.WRITER_QUEUE.name: "4 0 4 0 4 0 4 0 4 0 4 0 4 0 4 0 4 0 4 0 4 0"},
        "20m",
    ),
    Alert(
        "PricegridRedisAway",
        f'{table.REDIS_HEALTH.name}{{health="OK"}} == 0',
        "1m",
        "page",
        "The link to Redis is not well: reservations are refused.",
        "redis",
        {_of(table.REDIS_HEALTH, health="OK"): "0+0x60"},
        {_of(table.REDIS_HEALTH, health="OK"): "1+0x60"},
        "20m",
        {"health": "OK"},
    ),
    Alert(
        "PricegridErpAway",
        f"max_over_time({table.ERP_BREAKER_OPEN.name}[2m]) > 0",
        "5m",
        "ticket",
        "The ERP does not answer: exceptions have the last known answer, or the price of the matrices.",
        "the-erp-is-slow-or-down",
        {table.ERP_BREAKER_OPEN.name: "1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0"},
        {table.ERP_BREAKER_OPEN.name: "0 0 0 1 0 0 0 0 0 1 0 0 0 0 0 1 0 0 0 1 0 0"},
        "20m",
    ),
)


def rules() -> str:
    """The file of rules."""
    return (
        _HEAD
        + "\n".join(["groups:", *_group("pricegrid-recorded", _recorded()), *_group("pricegrid", _alerts())])
        + "\n"
    )


def proofs() -> str:
    """The file that proves them."""
    lines = ["rule_files:", "- rules.yml", "evaluation_interval: 1m", "tests:"]
    for alert in ALERTS:
        for series, is_firing in ((alert.fires, True), (alert.quiet, False)):
            lines += _test(alert, series, is_firing=is_firing)
    return _HEAD + "\n".join(lines) + "\n"


def _group(name: str, lines: Iterator[str]) -> Iterator[str]:
    yield from (f"- name: {name}", "  rules:")
    yield from lines


def _recorded() -> Iterator[str]:
    for each in RECORDED:
        yield from (f"  - record: {each.name}", f"    expr: {json.dumps(each.expression)}")


def _alerts() -> Iterator[str]:
    for each in ALERTS:
        yield from (
            f"  - alert: {each.name}",
            f"    expr: {json.dumps(each.expression)}",
            f"    for: {each.lasts}",
        )
        yield from ("    labels:", f"      severity: {each.severity}", "    annotations:")
        yield from (f"      {name}: {json.dumps(text)}" for name, text in _annotations(each).items())


def _annotations(alert: Alert) -> dict[str, str]:
    return {"summary": alert.summary, "runbook": f"{GUIDE}#{alert.section}"}


def _test(alert: Alert, series: Series, *, is_firing: bool) -> Iterator[str]:
    yield from ("- interval: 1m", "  input_series:")
    for name, values in series.items():
        yield from (f"  - series: {json.dumps(name)}", f"    values: {json.dumps(values)}")
    yield from ("  alert_rule_test:", f"  - eval_time: {alert.after}", f"    alertname: {alert.name}")
    if not is_firing:
        yield "    exp_alerts: []"
        return
    labels = {"severity": alert.severity, **alert.labels}
    yield "    exp_alerts:"
    yield f"    - exp_labels: {json.dumps(labels)}"
    yield f"      exp_annotations: {json.dumps(_annotations(alert))}"


if __name__ == "__main__":
    RULES.write_text(rules(), encoding="utf-8")
    TESTS.write_text(proofs(), encoding="utf-8")
