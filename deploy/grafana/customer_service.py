"""What the service desk looks at."""

from typing import Final

from deploy.grafana import shared
from deploy.grafana.layout import Dashboard, Kind, Panel, Query, Row
from deploy.grafana.queries import most, rate
from deploy.prometheus.make_rules import STALENESS
from pricegrid.service import metric_table as table

_FRESHNESS: Final = (
    Panel(
        "Stale sources",
        Kind.STAT,
        "none",
        "Of branches: callers are told STALE, and promises rest on old figures. Say so on the phone.",
        "the-night-load",
        (Query(f"count({STALENESS} >= 1) or vector(0)", "stale"),),
        red_from=1,
    ),
    Panel(
        "Sources that turn stale soon",
        Kind.STAT,
        "none",
        "More than 80 % of their time is over, or all of it: their extract was not in the last loads.",
        "the-night-load",
        (Query(f"count({STALENESS} > 0.8) or vector(0)", "late"),),
        yellow_from=1,
    ),
    shared.UNPROVEN,
    shared.SNAPSHOT_AGE,
    Panel(
        "Freshness by branch and source",
        Kind.TABLE,
        "percentunit",
        "The age of the newest extract over its limit; at 100 % it is STALE. The oldest are on top.",
        "the-night-load",
        (
            Query(f"max by (branch, source) ({STALENESS})", "of its limit"),
            Query(most(table.SOURCE_AGE, "branch", "source"), "age", "s"),
            Query(most(table.SOURCE_STALE_AFTER, "branch", "source"), "limit", "s"),
        ),
        yellow_from=0.8,
        red_from=1,
    ),
    Panel(
        "The ten oldest",
        Kind.SERIES,
        "percentunit",
        "Age over limit. One that does not fall in the night had no new extract.",
        "the-night-load",
        (Query(f"topk(10, max by (branch, source) ({STALENESS}))", "{{branch}} {{source}}"),),
        red_from=1,
    ),
)
_ANSWERS: Final = (
    shared.LINES,
    Panel(
        "Availability by status",
        Kind.SERIES,
        "ops",
        "UNKNOWN_STOCK: nothing was loaded for that item at that branch.",
        "the-night-load",
        (Query(rate(table.AVAILABILITY_LINES, "status"), "{{status}}"),),
    ),
    Panel(
        "Share of lines without a price",
        Kind.SERIES,
        "percentunit",
        "By status. A jump after a load is the load's.",
        "roll-back",
        (
            Query(
                f"{rate(table.LINES, 'status', status=('NO_PRICE', 'UNKNOWN_ITEM', 'NOT_ENTITLED'))} "
                f"/ scalar({rate(table.LINES)})",
                "{{status}}",
            ),
        ),
    ),
)
_DEGRADED: Final = (
    Panel(
        "Exceptions without a new answer",
        Kind.SERIES,
        "ops",
        "LAST_KNOWN: the ERP's last answer stands. UNAVAILABLE: it did not answer. REFUSED: its answer was refused.",
        "the-erp-is-slow-or-down",
        (
            Query(
                rate(table.ERP_LINES, "result", result=("LAST_KNOWN", "REFUSED", "UNAVAILABLE")), "{{result}}"
            ),
        ),
    ),
    Panel(
        "Why the ERP was not asked",
        Kind.SERIES,
        "reqps",
        "CIRCUIT: it did not answer before. The others: it may not be asked for so much at once.",
        "the-erp-is-slow-or-down",
        (Query(rate(table.ERP_TURNED_AWAY, "why"), "{{why}}"),),
    ),
    Panel(
        "Calls without an answer",
        Kind.SERIES,
        "reqps",
        "LIVE_STATE_UNAVAILABLE: reservations can't be made now. OVERLOADED, DEADLINE_EXCEEDED: try again.",
        "what-to-watch",
        (
            Query(
                rate(
                    table.REQUESTS,
                    "outcome",
                    outcome=(
                        "LIVE_STATE_UNAVAILABLE",
                        "OVERLOADED",
                        "DEADLINE_EXCEEDED",
                        "SNAPSHOT_UNUSABLE",
                    ),
                ),
                "{{outcome}}",
            ),
        ),
    ),
)
_RESERVATIONS: Final = (
    Panel(
        "Held",
        Kind.STAT,
        "none",
        "They expire if nobody confirms them.",
        "feeds-and-dead-letters",
        (Query(most(table.RESERVATIONS, status="HELD"), "held"),),
    ),
    Panel(
        "Confirmed",
        Kind.STAT,
        "none",
        "For an order; the warehouse has not taken over all of it.",
        "feeds-and-dead-letters",
        (Query(most(table.RESERVATIONS, status="CONFIRMED"), "confirmed"),),
    ),
    Panel(
        "Oldest that nobody took over",
        Kind.STAT,
        "s",
        "Above a day the warehouse did not report: pricegrid reservations --unreported 60.",
        "feeds-and-dead-letters",
        (Query(most(table.UNREPORTED_OLDEST), "oldest"),),
        red_from=86400,
    ),
    Panel(
        "Reservations",
        Kind.SERIES,
        "none",
        "That hold stock.",
        "feeds-and-dead-letters",
        (Query(most(table.RESERVATIONS, "status"), "{{status}}"),),
    ),
    Panel(
        "What was asked of reservations",
        Kind.SERIES,
        "reqps",
        "By method, refused ones too.",
        "feeds-and-dead-letters",
        (
            Query(
                rate(
                    table.REQUESTS,
                    "method",
                    method=("Reserve", "ConfirmReservation", "ReleaseReservation", "ExtendReservation"),
                ),
                "{{method}}",
            ),
        ),
    ),
    Panel(
        "Reservations that were too late",
        Kind.SERIES,
        "reqps",
        "The caller confirmed, extended or released one that had expired or ended: ask for a longer time.",
        "feeds-and-dead-letters",
        (
            Query(
                rate(table.REQUESTS, "outcome", outcome=("RESERVATION_EXPIRED", "RESERVATION_ENDED")),
                "{{outcome}}",
            ),
        ),
    ),
)

CUSTOMER_SERVICE: Final = Dashboard(
    "customer-service",
    "Pricegrid: customer service",
    "Can what we tell callers be relied on, by branch?",
    (
        Row("Freshness", _FRESHNESS),
        Row("Answers", _ANSWERS),
        Row("Degraded answers", _DEGRADED),
        Row("Reservations", _RESERVATIONS),
    ),
)
