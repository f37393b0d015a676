"""The plain reading of a dataset's availability tables, as texts, for the reference: nothing here is the loader's."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

from pricegrid.atp.model import MICROS, Source
from pricegrid.atp.rules.rows import (
    Allocation,
    Branch,
    Calendar,
    Demand,
    Feed,
    Item,
    Lane,
    Receipt,
    Rows,
    Stock,
)
from pricegrid.columnar.instants import day_number

Table = Sequence[Mapping[str, str]]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def plain_rows(tables: Mapping[str, Table]) -> Rows:
    """The rows of a dataset whose time zone is UTC; every one must be valid."""

    def of(table: str) -> Table:
        return tables.get(table, ())

    rows = Rows()
    for row in of("items"):
        rows.items[row["sku"]] = Item(
            row["sku"],
            row["base_uom"],
            _micros(row["order_multiple"]) if row.get("order_multiple") else None,
            row.get("superseded_by") or None,
        )
    for row in of("uoms"):
        factor = Fraction(row["numerator"]) / Fraction(row.get("denominator") or 1)
        rows.uoms[row["sku"], row["uom"]] = factor
    for row in of("branches"):
        rows.branches[row["branch"]] = Branch(
            row["branch"],
            row.get("time_zone") or "UTC",
            _second(row["cutoff"]) if row.get("cutoff") else None,
            int(row.get("inbound_handling_days") or 0),
            int(row.get("outbound_handling_days") or 0),
            row.get("calendar") or None,
        )
    for row in of("kits"):
        rows.kits.setdefault(row["kit_sku"], []).append((row["component_sku"], Fraction(row["quantity"])))
    for row in of("lanes"):
        to = row.get("to_branch") or row["ship_zone"]
        rank = int(row["rank"]) if row.get("rank") else None
        rows.lanes.append(Lane(row["from_branch"], to, int(row["transit_days"]), rank))
    for row in of("feeds"):
        more = {"stale_after_min": int(row["stale_after_min"])} if row.get("stale_after_min") else {}
        feed = Feed(_instant(row["as_of"]), row.get("complete") == "true", **more)
        rows.feeds[row["branch"], Source[row["source"].upper()]] = feed
    _add_calendars(rows, of("calendars"))
    _add_supply(rows, of)
    return rows


def _add_calendars(rows: Rows, table: Table) -> None:
    for name in {row["calendar"] for row in table}:
        mine = [row for row in table if row["calendar"] == name]
        rows.calendars[name] = Calendar(
            {
                day_number(date.fromisoformat(row["date"])): row["working"] == "true"
                for row in mine
                if row.get("date")
            },
            {WEEKDAYS.index(row["weekday"]): row["working"] == "true" for row in mine if row.get("weekday")},
        )


def _add_supply(rows: Rows, of: Callable[[str], Table]) -> None:
    for row in of("stock"):
        unavailable = _micros(row.get("unavailable") or "0")
        rows.stock[_pair(row)] = Stock(_micros(row["on_hand"]), _instant(row["as_of"]), unavailable)
    for row in of("safety_stock"):
        rows.safety_stock[_pair(row)] = _micros(row["quantity"])
    for row in of("allocations"):
        rows.allocations.setdefault(_pair(row), []).append(
            Allocation(
                _micros(row["allocated"]),
                _instant(row["as_of"]),
                row.get("order_ref") or None,
                row.get("order_line") or None,
                _micros(row.get("shipped") or "0"),
            )
        )
    for row in of("receipts"):
        rows.receipts.setdefault(_pair(row), []).append(
            Receipt(
                _micros(row["quantity"]),
                _instant(row["expected_at"]),
                _micros(row.get("confidence") or "1"),
                row.get("kind") or "purchase",
                row.get("reference") or None,
                row.get("line") or None,
                row.get("supersedes") or None,
            )
        )
    for row in of("demands"):
        demand = Demand(
            _micros(row["quantity"]),
            _instant(row["due_at"]),
            row.get("order_ref") or None,
            row.get("order_line") or None,
        )
        rows.demands.setdefault(_pair(row), []).append(demand)


def _pair(row: Mapping[str, str]) -> tuple[str, str]:
    return row["sku"], row["branch"]


def _micros(text: str) -> int:
    return int(Decimal(text) * MICROS)


def _second(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _instant(text: str) -> int:
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * MICROS
