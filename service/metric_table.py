"""Every metric that a server exports: its name, labels and meaning. What counts builds its metrics from here, and
docs/metrics.md is made from it (`service.metric_page`)."""

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from pricegrid import v1
from pricegrid.atp.model import AvailabilityStatus, Source
from pricegrid.atp.rules.events import DeadReason, EventStatus
from pricegrid.atp.rules.reservations import LIVING
from pricegrid.cache.protocol import Health
from pricegrid.erp.observe import BreakerState, CallOutcome, LineResult, Turned
from pricegrid.erp.protocol import Refusal
from pricegrid.loaders.store.book_age_ranges import AGE_RANGES
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.service.errors import Reason
from pricegrid.service.metric_kinds import Exported, Kind, Metric

METHODS: Final = tuple(
    method.name
    for file in (
        v1.PRICING_SERVICE_FILE,
        v1.AVAILABILITY_SERVICE_FILE,
        v1.QUOTE_SERVICE_FILE,
        v1.ORDER_SERVICE_FILE,
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
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
ERP_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BOOKS_MAX: Final = 1_000
"""Books with counters of their own; the others count as `OTHER_BOOK`, to bound the number of labels."""
OTHER_BOOK: Final = "(other)"
BRANCHES_MAX: Final = 300
"""Branches that are told the age of their sources, those with the oldest first."""
_BRANCHES: Final = f"the branches with the oldest extracts, {BRANCHES_MAX} at most"


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
BOOKS = Metric(
    "pricegrid_books",
    Kind.GAUGE,
    "Price books of the active snapshot that are in force, by how long they are unchanged.",
    "books",
    {"unchanged": AGE_RANGES},
)
BOOKS_OLDEST = Metric(
    "pricegrid_books_oldest_seconds",
    Kind.GAUGE,
    "How long the book in force is unchanged that did not change for longest; not there while that is not known.",
    "seconds",
)
BOOKS_NEWEST = Metric(
    "pricegrid_books_newest_seconds",
    Kind.GAUGE,
    "How long ago a book in force changed last: it grows while loads bring the same prices again.",
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
    "Processes whose circuit breaker is open: the ERP has not answered a probe since calls of it failed.",
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

PROCESSES: Final = ("supervisor", "worker", "writer")
BUILD = Metric(
    "pricegrid_build_info",
    Kind.GAUGE,
    "1, with the release that serves.",
    "1",
    {"version": "the release", "python": "the release of Python"},
)
START_TIME = Metric(
    "pricegrid_start_time_seconds",
    Kind.GAUGE,
    "When the server started.",
    "seconds since 1970 in UTC",
)
PROCESSES_ALIVE = Metric(
    "pricegrid_processes",
    Kind.GAUGE,
    "Processes that run.",
    "processes",
    {"process": PROCESSES},
)
PROCESS_CPU = Metric(
    "pricegrid_process_cpu_seconds_total",
    Kind.COUNTER,
    "Processor time of the server, those of its processes that have ended too.",
    "seconds",
    {"process": PROCESSES},
)
PROCESS_MEMORY = Metric(
    "pricegrid_process_memory_bytes",
    Kind.GAUGE,
    "Memory that processes have for themselves; the snapshot, which all map, is not in it.",
    "bytes",
    {"process": PROCESSES},
)
PROCESS_FILES = Metric(
    "pricegrid_process_open_files",
    Kind.GAUGE,
    "Files, sockets and pipes that are open.",
    "files",
    {"process": PROCESSES},
)
SOURCE_AGE = Metric(
    "pricegrid_source_age_seconds",
    Kind.GAUGE,
    "Age of the newest extract that the active snapshot has of a source at a branch.",
    "seconds",
    {"branch": _BRANCHES, "source": _names(Source)},
)
SOURCE_STALE_AFTER = Metric(
    "pricegrid_source_stale_after_seconds",
    Kind.GAUGE,
    "The age from which on that source counts as STALE at that branch.",
    "seconds",
    {"branch": _BRANCHES, "source": _names(Source)},
)
LOAD_AGE = Metric(
    "pricegrid_load_age_seconds",
    Kind.GAUGE,
    "How long ago the last load ended, whatever became of it; not there before the first one.",
    "seconds",
)
LOAD_FAILED = Metric(
    "pricegrid_load_failed",
    Kind.GAUGE,
    "1 while the last load published nothing: it was refused, or could not be done.",
    "0 or 1",
)
GATE_REFUSED = Metric(
    "pricegrid_snapshot_gate_refused",
    Kind.GAUGE,
    "1 for a gate that refused the last load.",
    "0 or 1",
    {"gate": "the gates that the last load came to (docs/dataset.md)"},
)
SNAPSHOT_REFUSED = Metric(
    "pricegrid_snapshot_refused",
    Kind.GAUGE,
    "1 while the snapshot that the store names is not taken over, because something is wrong with it, or is damaged "
    "since.",
    "0 or 1",
)
FOLLOW_AGE = Metric(
    "pricegrid_follow_age_seconds",
    Kind.GAUGE,
    "How long ago the object storage of --follow last named a snapshot that this server has or took.",
    "seconds",
    when=Exported.FOLLOW,
)
FOLLOW_REFUSED = Metric(
    "pricegrid_follow_refused",
    Kind.GAUGE,
    "1 while what the object storage of --follow names is refused: damaged, not signed, or older than was seen.",
    "0 or 1",
    when=Exported.FOLLOW,
)
FOLLOW_FETCHED = Metric(
    "pricegrid_follow_fetched_bytes_total",
    Kind.COUNTER,
    "What was fetched from the object storage of --follow.",
    "bytes",
    when=Exported.FOLLOW,
)
WRITER_QUEUE = Metric(
    "pricegrid_writer_queue",
    Kind.GAUGE,
    "Changes of live state that wait for a thread of the writer.",
    "requests",
)
EVENTS_LAG = Metric(
    "pricegrid_events_lag_seconds",
    Kind.GAUGE,
    "How long ago the newest applied event of a source took effect; it grows while none comes, and is 0 before the "
    "first.",
    "seconds",
    {"source": _names(Source)},
)
RESERVATIONS = Metric(
    "pricegrid_reservations",
    Kind.GAUGE,
    "Reservations that hold stock.",
    "reservations",
    {"status": _names(LIVING)},
)
UNREPORTED_OLDEST = Metric(
    "pricegrid_reservations_unreported_oldest_seconds",
    Kind.GAUGE,
    "How long ago the oldest reservation was confirmed that the warehouse has not wholly taken over; 0: none.",
    "seconds",
)
DEAD_LETTERS = Metric(
    "pricegrid_dead_letters",
    Kind.GAUGE,
    "Events that could not be applied, and are kept.",
    "events",
    {"reason": _names(DeadReason)},
)
DEAD_LETTERS_OLDEST = Metric(
    "pricegrid_dead_letters_oldest_seconds",
    Kind.GAUGE,
    "How long ago the oldest of them came; 0: there is none.",
    "seconds",
    {"reason": _names(DeadReason)},
)
STREAM_LAG = Metric(
    "pricegrid_events_stream_lag_seconds",
    Kind.GAUGE,
    "How long the last events of `--events-stream` waited in Redis until they were applied; only with that option.",
    "seconds",
    when=Exported.REDIS,
)
ERP_DEAD_LETTERS = Metric(
    "pricegrid_erp_dead_letters",
    Kind.GAUGE,
    "Refused answers of the ERP that are kept.",
    "answers",
    {"reason": _values(Refusal)},
    Exported.ERP,
)
ERP_DEAD_LETTERS_OLDEST = Metric(
    "pricegrid_erp_dead_letters_oldest_seconds",
    Kind.GAUGE,
    "How long ago the oldest of them came.",
    "seconds",
    {"reason": _values(Refusal)},
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
            BOOKS,
            BOOKS_OLDEST,
            BOOKS_NEWEST,
            UNPROVEN_WORKERS,
            SNAPSHOT_REFUSED,
            SOURCE_AGE,
            SOURCE_STALE_AFTER,
            LOAD_AGE,
            LOAD_FAILED,
            GATE_REFUSED,
            FOLLOW_AGE,
            FOLLOW_REFUSED,
            FOLLOW_FETCHED,
            EVENTS_LAG,
            DEAD_LETTERS,
            DEAD_LETTERS_OLDEST,
            RESERVATIONS,
            UNREPORTED_OLDEST,
            WRITER_QUEUE,
            PROCESSES_ENDED,
            PROCESSES_ALIVE,
            PROCESS_CPU,
            PROCESS_MEMORY,
            PROCESS_FILES,
            BUILD,
            START_TIME,
            REDIS_HEALTH,
            REDIS_LOST_RECORDS,
            REDIS_DAMAGED,
            QUOTA_HOSTS,
            STREAM_LAG,
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
            ERP_DEAD_LETTERS,
            ERP_DEAD_LETTERS_OLDEST,
            PARITY_CHECKS,
            PARITY_MISMATCHES,
        )
    }
)
"""By name, in the order of the page."""
