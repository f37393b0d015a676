"""Panels that several roles look at."""

from typing import Final

from deploy.grafana.layout import Kind, Panel, Query
from deploy.grafana.queries import more, most, own, rate, total
from deploy.prometheus.make_rules import DAY_AND_LOAD_H
from pricegrid.service import metric_table as table

DAY_AND_LOAD_S: Final = DAY_AND_LOAD_H * 3600.0

SCRAPED = Panel(
    "Servers that answer",
    Kind.STAT,
    "percentunit",
    "Below 100 %, a server is down, or Prometheus does not reach its metrics port.",
    "processes",
    (Query(f"avg({own('up', job='$job')})", "answered"),),
    green_from=1,
)
WORKERS = Panel(
    "Workers",
    Kind.STAT,
    "none",
    "Workers that run. Below --workers, some are being replaced: look at the log, and at memory.",
    "processes",
    (Query(total(table.PROCESSES_ALIVE, process="worker"), "workers"),),
    green_from=1,
)
SNAPSHOT_AGE = Panel(
    "Age of the prices",
    Kind.STAT,
    "s",
    "Above a day and what a load takes, last night's load was refused or did not run.",
    "the-night-load",
    (Query(most(table.SNAPSHOT_AGE), "age"),),
    yellow_from=DAY_AND_LOAD_S - 3600,
    red_from=DAY_AND_LOAD_S,
)
LOAD_FAILED = Panel(
    "Last load published nothing",
    Kind.STAT,
    "none",
    "1: it was refused, by the gate that pricegrid_snapshot_gate_refused names, or could not be done.",
    "the-night-load",
    (Query(most(table.LOAD_FAILED), "failed"),),
    red_from=1,
)
SNAPSHOT_REFUSED = Panel(
    "Snapshot not taken over",
    Kind.STAT,
    "none",
    "1: the snapshot that the store names is damaged or can't be used; the log says why. Roll back.",
    "roll-back",
    (Query(most(table.SNAPSHOT_REFUSED), "refused"),),
    red_from=1,
)
UNPROVEN = Panel(
    "Workers with unproven positions",
    Kind.STAT,
    "none",
    "Above 0, availability is STALE: look at the log, the disk and Redis.",
    "what-to-watch",
    (Query(total(table.UNPROVEN_WORKERS), "workers"),),
    red_from=1,
)
ENDED = Panel(
    "Processes that ended in an hour",
    Kind.SERIES,
    "none",
    "Died or killed, and replaced. Again and again: the log, and memory.",
    "processes",
    (Query(more(table.PROCESSES_ENDED, "1h", "process"), "{{process}}"),),
    red_from=3,
)
ERP_LINES = Panel(
    "Exceptions by result",
    Kind.SERIES,
    "ops",
    "Lines that the ERP should confirm. LAST_KNOWN has an old answer; UNAVAILABLE and REFUSED have none of it.",
    "the-erp-is-slow-or-down",
    (Query(rate(table.ERP_LINES, "result"), "{{result}}"),),
)
LINES = Panel(
    "Priced lines by status",
    Kind.SERIES,
    "ops",
    "When the share of NO_PRICE or UNKNOWN_ITEM jumps after a load: pricegrid snapshots diff, and roll back.",
    "roll-back",
    (Query(rate(table.LINES, "status"), "{{status}}"),),
)
REDIS_HEALTH = Panel(
    "Link to Redis",
    Kind.SERIES,
    "none",
    "1 for the current state. Only in OK are reservations granted and answers fresh.",
    "redis",
    (Query(most(table.REDIS_HEALTH, "health"), "{{health}}"),),
)
BREAKERS = Panel(
    "Open circuit breakers",
    Kind.STAT,
    "none",
    "Processes that ask the ERP no more. Exceptions have the last known answer, or the price of the matrices.",
    "the-erp-is-slow-or-down",
    (Query(total(table.ERP_BREAKER_OPEN), "processes"),),
    red_from=1,
)
