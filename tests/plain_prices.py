"""The plain reading of a dataset's price tables, as texts, for the reference: nothing here is the loader's."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from pricegrid.pricing_engine.model import (
    ALWAYS_US,
    MICROS,
    NEVER_US,
    PRIORITY_LAST,
    Agreement,
    BelowMinimum,
    Book,
    BreakMode,
    BreakOn,
    Cost,
    Customer,
    CustomerClass,
    Entitlement,
    Entry,
    Item,
    Ladder,
    Layer,
    Method,
    Mode,
    PriceData,
    Rate,
    RoundingMode,
    Windows,
)


def day_start_us(day: date, zone: str) -> int:
    """First instant of a local day: the first of all minutes that the zone calls by that date."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(ZoneInfo(zone)).date() < day:
        moment += timedelta(minutes=15)
    return int(moment.timestamp()) * MICROS


def _micros(text: str) -> int:
    return int(Decimal(text) * MICROS)


def _increment(row: dict[str, str]) -> int:
    ending = row.get("price_ending") or "0"
    if row["rounding_increment"] or Decimal(ending) == 0:
        return _micros(row["rounding_increment"] or "0.000001")
    power = 1
    while power <= _micros(ending):
        power *= 10
    return power


def _classes(rows: list[dict[str, str]]) -> dict[str, tuple[CustomerClass, ...]]:
    classes: dict[str, list[CustomerClass]] = {}
    for row in rows:
        priority = int(row["priority"]) if row.get("priority") else PRIORITY_LAST
        each = CustomerClass(row["customer_id"], row["price_class"], priority)
        classes.setdefault(each.customer_id, []).append(each)
    return {customer: tuple(each) for customer, each in classes.items()}


def plain_data(rows: Mapping[str, list[dict[str, str]]], zone: str) -> PriceData:
    """The rows as the reference takes them, read one by one."""

    def start(row: dict[str, str]) -> int:
        text = row.get("valid_from")
        return day_start_us(date.fromisoformat(text), zone) if text else ALWAYS_US

    def end(row: dict[str, str]) -> int:
        text = row.get("valid_to")
        return day_start_us(date.fromisoformat(text) + timedelta(days=1), zone) if text else NEVER_US

    def enum(kind: type, text: str | None, default: str) -> object:
        return kind[(text or default).upper()]

    agreements: dict[str, list[Agreement]] = {}
    if not rows["agreements"]:  # no such table: every book applies to everyone
        agreements = {r["book_id"]: [Agreement(r["book_id"], everyone=True)] for r in rows["price_books"]}
    for row in rows["agreements"]:
        agreements.setdefault(row["book_id"], []).append(
            Agreement(
                row["book_id"],
                row.get("customer_id"),
                row.get("price_class"),
                row.get("everyone") == "true",
                int(row["priority"]) if row["priority"] else PRIORITY_LAST,
                start(row),
                end(row),
                row["inherit"] != "false",
            )
        )
    entries: dict[str, list[Entry]] = {}
    for row in rows["price_entries"]:
        cost_based = row["method"] in ("markup_pct", "margin_pct")
        of_basis = 0 if row["method"] != "net" and row["basis"] not in ("", "cost") else 1
        entries.setdefault(row["book_id"], []).append(
            Entry(
                row["book_id"],
                row["sku"] or None,
                row["product_group"] or None,
                row["price_class"] or None,
                row["uom"] or None,
                _micros(row["min_quantity"] or "0"),
                enum(Method, row["method"], ""),
                _micros(row["value"]),
                row["basis"] or ("cost" if cost_based else None),
                start(row),
                end(row),
                row["explicit_zero"] == "true",
                row["entry_id"],
                price_per=int(row.get("price_per") or of_basis),
                branch=row.get("branch") or None,
            )
        )
    costs: dict[str, list[Cost]] = {}
    for row in rows["costs"]:
        costs.setdefault(row["sku"], []).append(
            Cost(row["sku"], _micros(row["cost"]), row["currency"], row["branch"] or None, start(row))
        )
    return PriceData(
        items={
            r["sku"]: Item(
                r["sku"],
                r["base_uom"],
                r["product_group"] or None,
                r["price_source"] == "erp",
                r.get("break_group") or None,
            )
            for r in rows["items"]
        },
        group_parent={r["product_group"]: r["parent"] or None for r in rows["product_groups"]},
        uoms={
            (r["sku"], r["uom"]): Fraction(r["numerator"]) / Fraction(r["denominator"] or 1)
            for r in rows["uoms"]
        },
        customers={
            r["customer_id"]: Customer(
                r["customer_id"],
                r["currency"],
                r.get("parent_id") or None,
                r["price_class"] or None,
                r.get("branch") or None,
            )
            for r in rows["customers"]
        },
        group_breaks={
            r["product_group"]: r["break_group"] for r in rows["product_groups"] if r.get("break_group")
        },
        customer_classes=_classes(rows.get("customer_classes", [])),
        layers={
            r["layer"]: Layer(
                r["layer"], int(r["rank"]), enum(Mode, r["mode"], "first"), enum(Ladder, r["ladder"], "owner")
            )
            for r in rows["layers"]
        },
        books={
            r["book_id"]: Book(
                r["book_id"],
                r["layer"],
                r["currency"],
                start(r),
                end(r),
                enum(BelowMinimum, r["below_minimum"], "fall_through"),
                _increment(r),
                enum(RoundingMode, r["rounding_mode"], "half_up"),
                Fraction(r["floor_margin_pct"]) / 100 if r["floor_margin_pct"] else None,
                enum(Windows, r["windows"], "each_break"),
                _micros(r.get("price_ending") or "0"),
                enum(BreakMode, r.get("break_mode"), "volume"),
                enum(BreakOn, r.get("break_on"), "quantity"),
                r.get("break_group") or None,
            )
            for r in rows["price_books"]
        },
        agreements={book: tuple(each) for book, each in agreements.items()},
        entries={book: tuple(each) for book, each in entries.items()},
        costs={sku: tuple(each) for sku, each in costs.items()},
        rates=tuple(
            Rate(r["from_currency"], r["to_currency"], Fraction(r["rate"]), start(r))
            for r in rows["exchange_rates"]
        ),
        entitlements=tuple(
            Entitlement(
                r.get("customer_id"),
                r.get("price_class"),
                r.get("sku"),
                r.get("product_group"),
                r["allowed"] == "true",
            )
            for r in rows["entitlements"]
        ),
    )
