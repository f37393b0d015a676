"""What the operator looks at, at night too."""

from typing import Final

from deploy.grafana import shared
from deploy.grafana.layout import Dashboard, Kind, Panel, Query, Row
from deploy.grafana.queries import Not, more, most, one, own, quantile, rate, total
from deploy.prometheus.make_rules import BUDGET, FAILED, FAILING_1H, FAILING_5M, LATENCY
from pricegrid.service import metric_table as table
from pricegrid.service.metric_kinds import Metric

_FAILED: Final = tuple(FAILED.split("|"))


def _oldest(metric: Metric, title: str) -> Panel:
    return Panel(
        title,
        Kind.SERIES,
        "s",
        "Above a day nobody looks at them: list them, mend the cause, replay or drop them.",
        "feeds-and-dead-letters",
        (Query(most(metric, "reason"), "{{reason}}"),),
        red_from=86400,
    )


_WELL: Final = (
    shared.SCRAPED,
    Panel(
        "Alerts that fire",
        Kind.STAT,
        "none",
        "How many of rules.yml; Prometheus lists them.",
        "what-to-watch",
        (
            Query(
                f"count({own('ALERTS', alertstate='firing', alertname='Pricegrid.*')}) or vector(0)",
                "firing",
            ),
        ),
        red_from=1,
    ),
    shared.WORKERS,
    shared.UNPROVEN,
    Panel(
        "Failed answers of an hour",
        Kind.STAT,
        "percentunit",
        "The share of calls that asked rightly and got no answer. Red: the budget of a month is used up in two days.",
        "capacity",
        (Query(FAILING_1H, "failed"),),
        yellow_from=BUDGET,
        red_from=14.4 * BUDGET,
    ),
    Panel(
        "Link to Redis is well",
        Kind.STAT,
        "none",
        "0: reservations are refused, and availability is STALE.",
        "redis",
        (Query(f"min({one(table.REDIS_HEALTH, health='OK')})", "OK"),),
        green_from=1,
    ),
    shared.SNAPSHOT_AGE,
    shared.LOAD_FAILED,
    shared.SNAPSHOT_REFUSED,
    shared.BREAKERS,
)
_CALLS: Final = (
    Panel(
        "Calls by method",
        Kind.SERIES,
        "reqps",
        "Answered and refused ones.",
        "capacity",
        (Query(rate(table.REQUESTS, "method"), "{{method}}"),),
    ),
    Panel(
        "Failed answers by reason",
        Kind.SERIES,
        "reqps",
        "Callers who asked rightly got no answer. INTERNAL_ERROR: the log has the correlation id; report it.",
        "what-to-watch",
        (Query(rate(table.REQUESTS, "outcome", outcome=_FAILED), "{{outcome}}"),),
    ),
    Panel(
        "Share of failed answers",
        Kind.SERIES,
        "percentunit",
        "Of five minutes and of an hour; the alert PricegridRequestsFail looks at both.",
        "capacity",
        (Query(FAILING_5M, "5 minutes"), Query(FAILING_1H, "an hour")),
        red_from=14.4 * BUDGET,
    ),
    Panel(
        "Errors by method",
        Kind.SERIES,
        "reqps",
        "All but OK, whoever's fault it is.",
        "what-to-watch",
        (Query(rate(table.REQUESTS, "method", outcome=Not(("OK",))), "{{method}}"),),
    ),
    Panel(
        "Refusals of what callers asked",
        Kind.SERIES,
        "reqps",
        "Empty when there are none. One that jumps after a release of a caller is the caller's.",
        "logs",
        (Query(f"{rate(table.REQUESTS, 'outcome', outcome=Not(('OK', *_FAILED)))} > 0", "{{outcome}}"),),
    ),
    Panel(
        "Refused by a limit",
        Kind.SERIES,
        "reqps",
        "queue, waiting, big, deadline: the server has too much to do. The others: docs/limits.md.",
        "capacity",
        (Query(rate(table.LIMITED, "limit"), "{{limit}}"),),
    ),
    Panel(
        "Latency, median",
        Kind.SERIES,
        "s",
        "From the decoded request to the encoded response.",
        "capacity",
        (Query(quantile(0.5, table.REQUEST_SECONDS, "method"), "{{method}}"),),
    ),
    Panel(
        "Latency, 95th percentile",
        Kind.SERIES,
        "s",
        "One call in twenty takes longer.",
        "capacity",
        (Query(quantile(0.95, table.REQUEST_SECONDS, "method"), "{{method}}"),),
    ),
    Panel(
        "Latency, 99th percentile",
        Kind.SERIES,
        "s",
        "Of five minutes. When it leaves what your storefront can wait: more cores or hosts.",
        "capacity",
        (Query(LATENCY, "{{method}}"),),
    ),
)
_PROCESSES: Final = (
    Panel(
        "Processes",
        Kind.SERIES,
        "none",
        "Those that run. A dip is a process that was replaced.",
        "processes",
        (Query(total(table.PROCESSES_ALIVE, "process"), "{{process}}"),),
    ),
    shared.ENDED,
    Panel(
        "Queue of the writer",
        Kind.SERIES,
        "none",
        "Changes that wait for it. Always above 0: one writer makes all reservations, and has too many.",
        "capacity",
        (Query(most(table.WRITER_QUEUE, "instance"), "{{instance}}"),),
    ),
)
_EVENTS: Final = (
    Panel(
        "Lag by source",
        Kind.SERIES,
        "s",
        "Since the newest applied event. Above what a source is ever silent: that source, or what brings its events.",
        "feeds-and-dead-letters",
        (Query(most(table.EVENTS_LAG, "source"), "{{source}}"),),
        red_from=4 * 3600,
    ),
    Panel(
        "Events by outcome",
        Kind.SERIES,
        "ops",
        "DEAD_LETTER, REFUSED, GAP and RESTART call for a look. Empty until the first event.",
        "feeds-and-dead-letters",
        (Query(rate(table.EVENTS, "outcome"), "{{outcome}}"),),
    ),
    Panel(
        "Wait in the Redis stream",
        Kind.SERIES,
        "s",
        "How long the last events of --events-stream waited until they were applied.",
        "feeds-and-dead-letters",
        (Query(most(table.STREAM_LAG), "wait"),),
    ),
    Panel(
        "Dead letters by reason",
        Kind.SERIES,
        "none",
        "Events that could not be applied: pricegrid dead-letters list.",
        "feeds-and-dead-letters",
        (Query(most(table.DEAD_LETTERS, "reason"), "{{reason}}"),),
    ),
    _oldest(table.DEAD_LETTERS_OLDEST, "Oldest dead letter by reason"),
    _oldest(table.ERP_DEAD_LETTERS_OLDEST, "Oldest refused answer of the ERP by reason"),
)
_REDIS: Final = (
    shared.REDIS_HEALTH,
    Panel(
        "Lost records",
        Kind.SERIES,
        "none",
        "Acknowledged here and then lost to another host's, since the writer started.",
        "redis",
        (Query(most(table.REDIS_LOST_RECORDS, "instance"), "{{instance}}"),),
        red_from=1,
    ),
    Panel(
        "Damaged entries",
        Kind.SERIES,
        "none",
        "What could not be read in Redis, since the writer started; the log names it.",
        "redis",
        (Query(most(table.REDIS_DAMAGED, "instance"), "{{instance}}"),),
        red_from=1,
    ),
)
_ERP: Final = (
    Panel(
        "Calls of the ERP by outcome",
        Kind.SERIES,
        "reqps",
        "TIMEOUT and UNAVAILABLE open the circuit breaker.",
        "the-erp-is-slow-or-down",
        (Query(rate(table.ERP_CALLS, "outcome"), "{{outcome}}"),),
    ),
    Panel(
        "Duration of a call of the ERP",
        Kind.SERIES,
        "s",
        "When the 99th percentile comes near the time-out, exceptions lose their answers.",
        "the-erp-is-slow-or-down",
        (
            Query(quantile(0.5, table.ERP_CALL_SECONDS), "median"),
            Query(quantile(0.99, table.ERP_CALL_SECONDS), "99th percentile"),
        ),
    ),
    Panel(
        "Calls that were not made",
        Kind.SERIES,
        "reqps",
        "CIRCUIT: the breaker is open. BULKHEAD and RATE: more exceptions than the ERP may be asked for.",
        "the-erp-is-slow-or-down",
        (Query(rate(table.ERP_TURNED_AWAY, "why"), "{{why}}"),),
    ),
    Panel(
        "Changes of the breaker in an hour",
        Kind.SERIES,
        "none",
        "To which state. Open and half open in turns: the ERP comes and goes.",
        "the-erp-is-slow-or-down",
        (Query(more(table.ERP_BREAKER_CHANGES, "1h", "state"), "{{state}}"),),
    ),
    Panel(
        "Probes of an ERP that did not answer",
        Kind.SERIES,
        "ops",
        "The first that is answered closes the breaker.",
        "the-erp-is-slow-or-down",
        (Query(rate(table.ERP_PROBES, "answered"), "answered: {{answered}}"),),
    ),
    Panel(
        "Saved and repeated",
        Kind.SERIES,
        "ops",
        "Lines that shared the call of an equal question, and calls that were tried again.",
        "the-erp-is-slow-or-down",
        (
            Query(rate(table.ERP_COALESCED_LINES), "shared lines"),
            Query(rate(table.ERP_RETRIES), "retried calls"),
        ),
    ),
)

_FOLLOWED: Final = (
    Panel(
        "Since the storage was last heard",
        Kind.STAT,
        "s",
        "When it last named a snapshot that this server has or took. It grows: it is away, or empty.",
        "the-night-load",
        (Query(most(table.FOLLOW_AGE), "heard"),),
    ),
    Panel(
        "Storage is refused",
        Kind.STAT,
        "none",
        "1: what it names is damaged, not signed, or older than was seen; the log says which.",
        "roll-back",
        (Query(most(table.FOLLOW_REFUSED), "refused"),),
        red_from=1,
    ),
    Panel(
        "Fetched from the storage",
        Kind.SERIES,
        "Bps",
        "Snapshots that a load or an activation elsewhere named.",
        "the-night-load",
        (Query(rate(table.FOLLOW_FETCHED), "fetched"),),
    ),
)

OPERATIONS: Final = Dashboard(
    "operations",
    "Pricegrid: operations",
    "Does it answer, how fast, and what does it wait for?",
    (
        Row("Is it well?", _WELL),
        Row("Calls", _CALLS),
        Row("Processes and the writer", _PROCESSES),
        Row("Events and dead letters", _EVENTS),
        Row("Redis", _REDIS),
        Row("The ERP", _ERP),
        Row("Object storage", _FOLLOWED),
    ),
)
