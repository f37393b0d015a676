"""What the IT manager looks at."""

from typing import Final

from deploy.grafana import shared
from deploy.grafana.layout import Dashboard, Kind, Panel, Query, Row
from deploy.grafana.queries import most, one, own, rate, total
from pricegrid.service import metric_table as table

_SERVERS: Final = (
    shared.SCRAPED,
    shared.WORKERS,
    Panel(
        "Last start",
        Kind.STAT,
        "dateTimeFromNow",
        "Of the server that started last.",
        "start-stop-restart",
        (Query(f"max({one(table.START_TIME)}) * 1000", "started"),),
    ),
    shared.BREAKERS,
    Panel(
        "Releases",
        Kind.TABLE,
        "none",
        "Of Pricegrid and of Python, with the number of servers. Hosts on one Redis run one release.",
        "upgrade",
        (Query(total(table.BUILD, "version", "python"), "servers"),),
    ),
    Panel(
        "Scrapes",
        Kind.TABLE,
        "none",
        "By server. Down: is it stopped, or its metrics port not reached?",
        "what-to-watch",
        (
            Query(own("up", job="$job"), "up"),
            Query(own("scrape_duration_seconds", job="$job"), "took", "s"),
            Query(own("scrape_samples_scraped", job="$job"), "samples"),
        ),
    ),
)
_PROCESSES: Final = (
    Panel(
        "Processor time",
        Kind.SERIES,
        "none",
        "Cores that are busy, by process. Near the number of cores: more of them, or another host.",
        "capacity",
        (Query(rate(table.PROCESS_CPU, "process"), "{{process}}"),),
    ),
    Panel(
        "Memory",
        Kind.SERIES,
        "bytes",
        "What processes have for themselves; the snapshot, which all map, comes once beside it.",
        "capacity",
        (Query(total(table.PROCESS_MEMORY, "process"), "{{process}}"),),
    ),
    Panel(
        "Open files",
        Kind.SERIES,
        "none",
        "Files, sockets and pipes; each connection is one. Near the limit of the service (ulimit -n): raise it.",
        "capacity",
        (Query(total(table.PROCESS_FILES, "process"), "{{process}}"),),
    ),
    Panel(
        "Processes",
        Kind.SERIES,
        "none",
        "That run, by server.",
        "processes",
        (Query(total(table.PROCESSES_ALIVE, "instance", "process"), "{{instance}} {{process}}"),),
    ),
    shared.ENDED,
    shared.REDIS_HEALTH,
)
_CALLERS: Final = (
    Panel(
        "Callers over their quota",
        Kind.SERIES,
        "reqps",
        "Refused by a quota of auth.toml, of calls or of lines (docs/limits.md).",
        "capacity",
        (Query(rate(table.LIMITED, "limit", limit=("calls", "lines")), "{{limit}}"),),
    ),
    Panel(
        "Quotas by method",
        Kind.SERIES,
        "reqps",
        "Calls that were told QUOTA_EXCEEDED.",
        "capacity",
        (Query(rate(table.REQUESTS, "method", outcome="QUOTA_EXCEEDED"), "{{method}}"),),
    ),
    Panel(
        "Hosts that share quotas",
        Kind.SERIES,
        "none",
        "Fewer than there are: some do not reach Redis. 0: no quotas, or no Redis.",
        "redis",
        (Query(most(table.QUOTA_HOSTS), "hosts"),),
    ),
    Panel(
        "Connections and streams that were ended",
        Kind.SERIES,
        "reqps",
        "Too many streams, idle ones, answers that nobody reads, snapshots that were asked for too fast.",
        "capacity",
        (Query(rate(table.LIMITED, "limit", limit=("streams", "idle", "unread", "snapshots")), "{{limit}}"),),
    ),
    Panel(
        "Too much to do",
        Kind.SERIES,
        "reqps",
        "Refused by how long calls waited, by their deadline, or by the number of big ones.",
        "capacity",
        (Query(rate(table.LIMITED, "limit", limit=("queue", "waiting", "big", "deadline")), "{{limit}}"),),
    ),
    Panel(
        "Callers who were not let in",
        Kind.SERIES,
        "reqps",
        "UNAUTHENTICATED after a change of keys or certificates: the caller's are old (docs/identity.md).",
        "logs",
        (
            Query(
                rate(
                    table.REQUESTS,
                    "outcome",
                    outcome=("UNAUTHENTICATED", "NOT_PERMITTED", "CUSTOMER_NOT_ALLOWED"),
                ),
                "{{outcome}}",
            ),
        ),
    ),
)

IT: Final = Dashboard(
    "it",
    "Pricegrid: IT",
    "What it runs on, what it takes, and who is refused.",
    (
        Row("Servers", _SERVERS),
        Row("Processes", _PROCESSES),
        Row("Callers", _CALLERS),
    ),
)
