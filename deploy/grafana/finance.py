"""What the pricing analyst looks at."""

from typing import Final

from deploy.grafana import shared
from deploy.grafana.layout import Dashboard, Kind, Panel, Query, Row
from deploy.grafana.queries import more, most, rate
from deploy.prometheus.make_rules import PARITY
from pricegrid.service import metric_table as table

_PRICES: Final = (
    shared.SNAPSHOT_AGE,
    Panel(
        "Since the last load",
        Kind.STAT,
        "s",
        "Whatever became of it. Above a day: the timer does not run. Empty before the first one.",
        "the-night-load",
        (Query(most(table.LOAD_AGE), "ended"),),
        red_from=shared.DAY_AND_LOAD_S,
    ),
    shared.LOAD_FAILED,
    shared.SNAPSHOT_REFUSED,
    Panel(
        "Gates of the last load",
        Kind.TABLE,
        "none",
        "1: the gate that refused it. Look at what it compares before you load past it.",
        "the-night-load",
        (Query(most(table.GATE_REFUSED, "gate"), "refused"),),
        red_from=1,
    ),
    Panel(
        "Age of the prices over time",
        Kind.SERIES,
        "s",
        "It falls to 0 with each snapshot that is served.",
        "the-night-load",
        (Query(most(table.SNAPSHOT_AGE, "instance"), "{{instance}}"),),
        red_from=shared.DAY_AND_LOAD_S,
    ),
)
_BOOKS: Final = (
    Panel(
        "Since a book last changed",
        Kind.STAT,
        "s",
        "It grows while loads bring the same prices again: look whether the export writes what the ERP has now.",
        "the-night-load",
        (Query(most(table.BOOKS_NEWEST), "unchanged"),),
    ),
    Panel(
        "Longest unchanged book",
        Kind.STAT,
        "s",
        "Of those in force, counted from the first load that noted what it said: pricegrid inspect STORE names it.",
        "the-night-load",
        (Query(most(table.BOOKS_OLDEST), "unchanged"),),
    ),
    Panel(
        "Books in force by how long they are unchanged",
        Kind.SERIES,
        "none",
        "unknown: the snapshot was written by a release that did not note it; the next full load does.",
        "the-night-load",
        (Query(most(table.BOOKS, "unchanged"), "{{unchanged}}"),),
    ),
)
_PARITY: Final = (
    Panel(
        "Compared prices",
        Kind.STAT,
        "none",
        "Ordinary prices that were compared with the ERP's, over the shown time. 0: parity is not configured.",
        "what-to-watch",
        (Query(f"{more(table.PARITY_CHECKS, '$__range')} or vector(0)", "compared"),),
    ),
    Panel(
        "Prices that differed",
        Kind.STAT,
        "none",
        "From the ERP's, over the shown time: pricegrid parity --store STORE names them.",
        "what-to-watch",
        (Query(f"{more(table.PARITY_MISMATCHES, '$__range')} or vector(0)", "differed"),),
        yellow_from=1,
    ),
    Panel(
        "Parity by book",
        Kind.TABLE,
        "none",
        "Over the shown time. Empty until a price was compared.",
        "what-to-watch",
        (
            Query(more(table.PARITY_MISMATCHES, "$__range", "book_id"), "differed"),
            Query(more(table.PARITY_CHECKS, "$__range", "book_id"), "compared"),
        ),
    ),
    Panel(
        "Share that differed, by book",
        Kind.SERIES,
        "percentunit",
        "Of an hour, for books with at least 20 compared prices. Above 1 %: pricegrid parity --store STORE.",
        "what-to-watch",
        (Query(PARITY, "{{book_id}}"),),
        red_from=0.01,
    ),
)
_EXCEPTIONS: Final = (
    shared.ERP_LINES,
    Panel(
        "Refused answers of the ERP by reason",
        Kind.SERIES,
        "ops",
        "BAND: its price is too far from the matrices'. CURRENCY, UNIT, PRECISION: its master data.",
        "feeds-and-dead-letters",
        (Query(rate(table.ERP_REFUSED_ANSWERS, "reason"), "{{reason}}"),),
    ),
    Panel(
        "Kept refused answers by reason",
        Kind.SERIES,
        "none",
        "They wait for a decision: pricegrid dead-letters list.",
        "feeds-and-dead-letters",
        (Query(most(table.ERP_DEAD_LETTERS, "reason"), "{{reason}}"),),
    ),
    shared.LINES,
    Panel(
        "Lines without an ordinary price",
        Kind.SERIES,
        "ops",
        "NO_PRICE: no book has one. BELOW_MINIMUM: too small a quantity. ERP_UNAVAILABLE: the ERP had to confirm.",
        "roll-back",
        (
            Query(
                rate(
                    table.LINES,
                    "status",
                    status=("NO_PRICE", "BELOW_MINIMUM", "OUT_OF_RANGE", "ERP_UNAVAILABLE"),
                ),
                "{{status}}",
            ),
        ),
    ),
    Panel(
        "Why the ERP was not asked",
        Kind.SERIES,
        "reqps",
        "Exceptions that the ERP could not confirm.",
        "the-erp-is-slow-or-down",
        (Query(rate(table.ERP_TURNED_AWAY, "why"), "{{why}}"),),
    ),
)

FINANCE: Final = Dashboard(
    "finance",
    "Pricegrid: finance",
    "Are the prices those of last night, and those of the ERP?",
    (
        Row("Prices", _PRICES),
        Row("Price books", _BOOKS),
        Row("Parity with the ERP", _PARITY),
        Row("Exceptions", _EXCEPTIONS),
    ),
)
