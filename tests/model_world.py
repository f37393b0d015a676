"""What the independent model of availability keeps: tables as loaded, events as told, reservations as asked.

See `model_availability`, to which this belongs: written from the rules alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

Table = Sequence[Mapping[str, str]]
Tables = Mapping[str, Table]
Pair = tuple[str, str]

HORIZON_DAYS = 90
PAST_DUE_OFFSET_DAYS = 1
PAST_DUE_MAX_DAYS = 30
LATEST = datetime.max.replace(tzinfo=UTC)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
ZERO = Fraction(0)
SOURCE_OF = {
    "on_hand": "erp",
    "unavailable": "erp",
    "allocated": "wms",
    "receipt": "transit",
    "demand": "transit",
}


def instant(text: str) -> datetime:
    """An instant or a date of a table (the dataset's zone is UTC)."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Told:
    """One event as a source told it (A10)."""

    source: str
    sequence: int
    effective: datetime
    measure: str
    kind: str
    sku: str
    branch: str
    quantity: Fraction = ZERO
    expected_at: datetime | None = None
    order_ref: str = ""
    order_line: str = ""
    version: int = 0
    shipped: Fraction | None = None
    confidence: Fraction | None = None
    supersedes: str = ""


@dataclass(frozen=True)
class Asked:
    """One line of a reservation as it was asked."""

    sku: str
    branch: str
    quantity: Fraction
    uom: str = ""
    from_date: date | None = None
    order_line: str = ""


@dataclass(frozen=True)
class Ask:
    """A reservation as it was asked."""

    key: str
    customer: str
    lines: tuple[Asked, ...]
    ttl: timedelta
    allow_partial: bool = False
    all_or_nothing: bool = False
    order_ref: str = ""
    exclude: str = ""
    replace: str = ""


@dataclass
class Hold:
    """A reservation: what was asked, granted, named, given back, and when."""

    number: int
    ask: Ask
    made: datetime
    ends: datetime
    granted: list[Fraction]  # in the units asked
    factors: list[Fraction]  # base units in one of them
    needs: list[dict[str, Fraction]]  # of each base item, for one base unit
    order_ref: str
    order_lines: list[str]
    given_back: list[Fraction] = field(default_factory=list)
    confirmed: datetime | None = None
    released: datetime | None = None
    named: datetime = LATEST  # when it named its order
    replaces: "Hold | None" = None  # the one that it took the place of, for the same order
    inherited: dict[tuple[int, str], Fraction] = field(
        default_factory=dict
    )  # of it, by (line, item), in base units
    passed_on: dict[tuple[int, str], Fraction] = field(default_factory=dict)  # to the one that took its place

    def ended_by(self, now: datetime) -> datetime | None:
        """When it was released, or its time ended before it was confirmed; None while neither was."""
        if self.released is not None:
            return self.released
        return self.ends if self.confirmed is None and now >= self.ends else None

    def whole(self, line: int) -> Fraction:
        """What is held of a line, in base units, whether the warehouse has taken it over or not."""
        return (self.granted[line] - self.given_back[line]) * self.factors[line]


@dataclass(frozen=True)
class Load:
    """A dataset and when it was loaded."""

    tables: Tables
    at: datetime

    def rows(self, table: str, pair: Pair) -> list[Mapping[str, str]]:
        return [row for row in self.tables.get(table, ()) if (row["sku"], row["branch"]) == pair]

    def feed(self, branch: str, source: str) -> Mapping[str, str] | None:
        found = [r for r in self.tables.get("feeds", ()) if (r["branch"], r["source"]) == (branch, source)]
        return found[-1] if found else None

    def is_complete(self, branch: str, source: str) -> bool:
        feed = self.feed(branch, source)
        return feed is not None and feed.get("complete", "") == "true"

    def said_at(self, branch: str, source: str) -> datetime:
        """When its receipts and demands were so."""
        feed = self.feed(branch, source)
        return self.at if feed is None else instant(feed["as_of"])

    def needs(self, sku: str) -> dict[str, Fraction]:
        """Base items in one of this, kits in kits opened (A6)."""
        parts = [row for row in self.tables.get("kits", ()) if row["kit_sku"] == sku]
        if not parts:
            return {sku: Fraction(1)}
        total: dict[str, Fraction] = {}
        for row in parts:
            for base, need in self.needs(row["component_sku"]).items():
                total[base] = total.get(base, ZERO) + need * Fraction(row["quantity"])
        return total

    def is_kit(self, sku: str) -> bool:
        return any(row["kit_sku"] == sku for row in self.tables.get("kits", ()))

    def factor(self, sku: str, uom: str) -> Fraction:
        """Base units in one `uom`."""
        for row in self.tables.get("uoms", ()):
            if (row["sku"], row["uom"]) == (sku, uom):
                return Fraction(row["numerator"]) / Fraction(row["denominator"])
        return Fraction(1)

    def branch(self, name: str) -> Mapping[str, str]:
        return next(row for row in self.tables["branches"] if row["branch"] == name)

    def day(self, branch: str, moment: datetime) -> date:
        zone = self.branch(branch).get("time_zone", "") or "UTC"
        return moment.astimezone(ZoneInfo(zone)).date()
