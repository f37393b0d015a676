"""Random price datasets as raw text rows, the plain reading of such rows, and questions to ask of them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from zoneinfo import ZoneInfo

import polars as pl

from pricegrid.pricing_engine.model import (
    ALWAYS_US,
    MICROS,
    NEVER_US,
    PRIORITY_LAST,
    Agreement,
    BelowMinimum,
    Book,
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
    PriceQuestion,
    Rate,
    RoundingMode,
    Windows,
)
from tests.written import check_declared

Rows = dict[str, list[dict[str, str]]]

ZONES = ["UTC", "Europe/London", "America/Sao_Paulo", "Asia/Kolkata"]
CURRENCIES = ["EUR", "JPY", "KWD"]
SKUS = ["A", "B", "C"]
GROUPS = ["tools", "drills", "metal"]
UNITS = ["EA", "BOX", "THIRD"]
CLASSES = ["gold", "trade"]
OTHER_CLASS = "roofer"  # of `customer_classes` alone
CUSTOMERS = ["group", "company", "site", "lone"]
PRICE_UNITS = ["", "", "1", "100", "1000", "126", "7", "1000000"]
BOOKS = ["b1", "b2", "b3", "b4", "b5", "b6", "b7"]
# the Brazilian clock change of 2018 skips midnight of 4 November; the others surround it and a leap day
DATES = ["2018-11-03", "2018-11-04", "2018-11-05", "2019-03-31", "2020-02-29", "2020-03-01"]


def aside(rng: Random) -> Random:
    """Random numbers beside those of `rng`: what is drawn of them leaves as it was what a seed gives otherwise."""
    state = rng.getstate()[1]
    return Random(str((state[:4], state[-1])))


def _maybe(rng: Random, share: float, value: str) -> str:
    return value if rng.random() < share else ""


def _window(rng: Random, share: float) -> dict[str, str]:
    start = _maybe(rng, share, rng.choice(DATES))
    end = _maybe(rng, share, rng.choice(DATES))
    if start and end and end < start:
        start, end = end, start
    return {"valid_from": start, "valid_to": end}


def random_rows(rng: Random) -> Rows:
    """A small valid dataset that meets every rule often: raw text rows by table."""
    dated = rng.choice([0.0, 0.3, 0.6])
    rows: Rows = {
        "items": [
            {
                "sku": sku,
                "base_uom": "EA",
                "product_group": _maybe(rng, 0.8, rng.choice(GROUPS)),
                "price_source": "erp" if rng.random() < 0.1 else "",
            }
            for sku in SKUS
        ],
        "product_groups": [
            {"product_group": "tools", "parent": ""},
            {"product_group": "drills", "parent": "tools"},
            {"product_group": "metal", "parent": _maybe(rng, 0.7, "drills")},
        ],
        "uoms": [
            {"sku": sku, "uom": uom, "numerator": numerator, "denominator": denominator}
            for sku in SKUS
            for uom, numerator, denominator in (
                ("BOX", rng.choice(["12", "2.5", "0.45359237"]), ""),
                ("THIRD", "1", rng.choice(["3", "3", "2.000000000001"])),
            )
            if rng.random() < 0.9
        ],
        "customers": [
            {
                "customer_id": customer,
                "currency": rng.choice(CURRENCIES),
                "parent_id": parent,
                "price_class": _maybe(rng, 0.7, rng.choice(CLASSES)),
                "branch": _maybe(rng, 0.5, rng.choice(["north", "south"])),
            }
            for customer, parent in zip(CUSTOMERS, ["", "group", "company", ""], strict=True)
        ]
        + [
            {"customer_id": f"some {name}", "currency": "EUR", "price_class": name}
            for name in [*CLASSES, OTHER_CLASS]
        ],
        "layers": [
            {
                "layer": name,
                "rank": rank,
                "mode": rng.choice(["first", "first", "lowest", "highest", "newest"]),
                "ladder": rng.choice(["owner", "owner", "merge"]),
            }
            for name, rank in (("contract", "1"), ("list", rng.choice(["1", "2"])))
        ],
        "price_books": [
            {
                "book_id": book,
                "layer": rng.choice(["contract", "list"]),
                "currency": rng.choice(["EUR", "EUR", *CURRENCIES]),
                "below_minimum": rng.choice(["", "", "no_price", "first_break", "fall_through"]),
                "rounding_increment": rng.choice(["", "", "0.01", "0.05", "1", "0.000001", "3"]),
                "rounding_mode": rng.choice(["", "half_up", "half_even", "half_down", "up", "down"]),
                "floor_margin_pct": _maybe(rng, 0.3, rng.choice(["10", "33.3", "0"])),
                "windows": rng.choice(["", "each_break", "replace", "replace"]),
                **_window(rng, dated / 3),
            }
            for book in BOOKS[: rng.randint(1, len(BOOKS))]
        ],
    }
    books = [book["book_id"] for book in rows["price_books"]]
    rows["agreements"] = _random_agreements(rng, books, dated)
    rows["price_entries"] = _random_entries(rng, rows, books, dated)
    rows["costs"] = _random_costs(rng)
    rows["exchange_rates"] = [
        {
            "from_currency": source,
            "to_currency": target,
            "rate": rng.choice(["0.5", "1.25", "130.7", "0.007651", "1.541250015413", "0.000000000007"]),
            "valid_from": valid_from,
        }
        for source in CURRENCIES
        for target in CURRENCIES
        for valid_from in rng.sample(["1990-01-01", *DATES], 2)
        if source != target and rng.random() < 0.35
    ]
    owners = [("customer_id", c) for c in CUSTOMERS] + [("price_class", c) for c in CLASSES]
    targets = [{"sku": s} for s in SKUS] + [{"product_group": g} for g in GROUPS] + [{}]
    rows["entitlements"] = [
        {owner: name, **target, "allowed": rng.choice(["true", "false"])}
        for owner, name in owners
        for target in targets
        if rng.random() < 0.01
    ]
    _add_classes(aside(rng), rows)
    return rows


def _add_classes(rng: Random, rows: Rows) -> None:
    """Several classes for some customers, and books of the class that nobody has in a row of its own (P18)."""
    share = rng.choice([0, 0.3, 0.6])
    rows["customer_classes"] = [
        {
            "customer_id": customer,
            "price_class": name,
            "priority": _maybe(rng, 0.7, rng.choice(["1", "2", "-1"])),
        }
        for customer in CUSTOMERS
        for name in [*CLASSES, OTHER_CLASS]
        if rng.random() < share
    ]
    given = {row["book_id"] for row in rows["agreements"]}
    rows["agreements"] += [
        {"book_id": book, "price_class": OTHER_CLASS, "priority": "", "inherit": ""}
        for book in sorted(given)
        if rng.random() < share
    ]


def _random_agreements(rng: Random, books: list[str], dated: float) -> list[dict[str, str]]:
    audiences = [{"customer_id": c} for c in CUSTOMERS] + [{"price_class": c} for c in CLASSES]
    audiences += [{"everyone": "true"}] * 2
    together = rng.random() < 0.3  # all books for the same audiences: the merged form of a bundle
    common = rng.sample(audiences, rng.randint(1, 3))
    rows = []
    for book in books:
        for audience in common if together else rng.sample(audiences, rng.choice([0, 1, 2, 3])):
            for _ in range(rng.choice([1, 1, 2])):
                row = {
                    "book_id": book,
                    **audience,
                    "priority": _maybe(rng, 0.5, rng.choice(["1", "2", "-3"])),
                    "inherit": _maybe(rng, 0.3, rng.choice(["true", "false"])),
                    **_window(rng, dated / 2),
                }
                rows.append(row)
    unique = {
        tuple(sorted((k, v) for k, v in row.items() if k not in ("priority", "inherit"))): row for row in rows
    }
    return list(unique.values())


def _random_entries(rng: Random, rows: Rows, books: list[str], dated: float) -> list[dict[str, str]]:
    units = {(u["sku"], u["uom"]) for u in rows["uoms"]}
    somebody = {uom for _, uom in units} | {"EA"}
    increments = {
        book["book_id"]: (book["rounding_increment"], book["rounding_mode"]) for book in rows["price_books"]
    }
    terms = aside(rng)
    priced_per, at_branches = terms.random() < 0.5, terms.choice([0, 0.3])
    entries: dict[tuple[str, ...], dict[str, str]] = {}
    for number in range(rng.randint(1, 50)):
        at = rng.randrange(len(books))
        sku, group = rng.choice(
            [(rng.choice(SKUS), ""), (rng.choice(SKUS), ""), ("", rng.choice(GROUPS)), ("", "")]
        )
        uom = rng.choice(["", "", *UNITS])
        if uom and (uom not in somebody or (sku and uom != "EA" and (sku, uom) not in units)):
            uom = ""
        row = {
            "book_id": books[at],
            "sku": sku,
            "product_group": group,
            "price_class": _maybe(rng, 0.25, _any_class(terms, rng.choice(CLASSES))),
            "branch": _maybe(terms, at_branches, terms.choice(["north", "south"])),
            "uom": uom,
            "min_quantity": rng.choice(["", "", "1", "0.5", "10", "12", "100"]),
            "entry_id": f"e{number}",
            "explicit_zero": "",
            "price_per": terms.choice(PRICE_UNITS) if priced_per else "",
            **_window(rng, dated),
            # only later books of the same four: chains stay acyclic and at most three links long
            **_random_method(rng, books[at + 1 : (at // 4 + 1) * 4]),
        }
        if rng.random() < 0.1:
            row["explicit_zero"] = "true"
        for each in _ladders(rng, row, dated):
            if each["price_per"] and terms.random() < 0.3:
                each["price_per"] = "1"
            if _is_zero(each, increments[each["book_id"]]):
                each["explicit_zero"] = "true"
            key = (
                "book_id",
                "sku",
                "product_group",
                "price_class",
                "branch",
                "uom",
                "valid_from",
                "valid_to",
            )
            entries[*(each[k] for k in key), str(Decimal(each["min_quantity"] or 0))] = each
    return list(entries.values())


def _any_class(terms: Random, price_class: str) -> str:
    return OTHER_CLASS if terms.random() < 0.3 else price_class


def _ladders(rng: Random, row: dict[str, str], dated: float) -> list[dict[str, str]]:
    """The row, or more breaks of it in other windows too (P4)."""
    if rng.random() < 0.5:
        return [row]
    windows = [{"valid_from": row["valid_from"], "valid_to": row["valid_to"]}]
    windows += [_window(rng, max(dated, 0.5)) for _ in range(rng.randint(1, 2))]
    net = [each for each in ["8", "8.5", "7", "0.4"] if row["method"] == "net"]
    return [
        {
            **row,
            **rng.choice(windows),
            "min_quantity": rng.choice(["", "1", "0.5", "5", "10", "12", "24"]),
            "value": rng.choice([*net, row["value"]]),
            "entry_id": f"{row['entry_id']}.{number}",
        }
        for number in range(rng.randint(2, 9))
    ]


def _random_method(rng: Random, later: list[str]) -> dict[str, str]:
    """A method with one of the books that may be its basis, or cost."""
    method = rng.choice(["net", "net", "discount_pct", "multiplier", "markup_pct", "margin_pct"])
    if method == "net":
        return {
            "method": method,
            "value": rng.choice(["10", "9.99", "0.000001", "7.333333", "0", "1234567.89"]),
            "basis": "",
        }
    basis = rng.choice([*later, "cost"])
    value = {
        "discount_pct": ["25", "33.333333", "100", "-10", "0"],
        "multiplier": ["0.75", "1.1", "0", "0.333333"],
        "markup_pct": ["25", "-100", "-5", "33.3"],
        "margin_pct": ["25", "33.333333", "0", "-50"],
    }[method]
    written = (
        "" if basis == "cost" and method in ("markup_pct", "margin_pct") and rng.random() < 0.5 else basis
    )
    return {"method": method, "value": rng.choice(value), "basis": written}


def _is_zero(row: dict[str, str], rounding: tuple[str, str]) -> bool:
    """Whether the row is a price of zero, or a net one that its book rounds to zero (P9)."""
    if row["method"] == "net":
        increment, mode = Fraction(rounding[0] or "0.000001"), rounding[1] or "half_up"
        half = {"half_up": False, "half_even": True, "half_down": True}
        value = Fraction(row["value"])
        if mode == "up" or value >= increment:
            return value == 0
        return mode == "down" or value < increment / 2 or (value == increment / 2 and half[mode])
    return (row["method"], row["value"]) in {
        ("discount_pct", "100"),
        ("multiplier", "0"),
        ("markup_pct", "-100"),
    }


def _random_costs(rng: Random) -> list[dict[str, str]]:
    return [
        {
            "sku": sku,
            "cost": rng.choice(["5", "0", "8.123456", "90"]),
            "currency": rng.choice(["EUR", "EUR", *CURRENCIES]),
            "branch": branch,
            "valid_from": valid_from,
        }
        for sku in SKUS
        for branch in ("", "north", "south")
        for valid_from in rng.sample(["", *DATES], 2)
        if rng.random() < 0.4
    ]


def random_questions(rng: Random, zone: str, count: int) -> list[PriceQuestion]:
    """Questions that mostly hit the small dataset, at and around its edges in time and quantity."""
    instants = [_day_start_us(date.fromisoformat(d), zone) for d in DATES]
    return [
        PriceQuestion(
            customer_id=rng.choice([*CUSTOMERS, ""]),
            sku=rng.choice([*SKUS, *SKUS, "nothing"]) if rng.random() < 0.2 else rng.choice(SKUS),
            quantity_micros=rng.choice(
                [
                    1,
                    500_000,
                    MICROS,
                    10 * MICROS,
                    12 * MICROS,
                    833_333,
                    333_333 * 30,
                    100 * MICROS,
                    -MICROS,
                    -120 * MICROS,
                ]
            )
            if rng.random() < 0.95
            else rng.choice([0, 2**63 - 1, -(2**63) + 1]),
            as_of_us=rng.choice(instants) + rng.choice([0, 0, -1, 3_600_000_000, -86_400_000_000]),
            uom=rng.choice(["", "", "", *UNITS, *UNITS, "PALLET"]),
            currency=rng.choice(["EUR", "EUR", *CURRENCIES]) if rng.random() < 0.95 else "USD",
            branch=rng.choice(["", "north", "east"]),
        )
        for _ in range(count)
    ]


# -- the plain reading of rows, independent of the loader -------------------------------------------------------------


def as_frames(rows: Rows) -> dict[str, pl.DataFrame]:
    """The rows as the loader reads them from a file: every column text, blanks null."""
    frames = {}
    for table, records in rows.items():
        if records:
            columns = sorted({column for record in records for column in record})
            check_declared({table: columns})
            frames[table] = pl.DataFrame(
                {c: [record.get(c) or None for record in records] for c in columns},
                schema=dict.fromkeys(columns, pl.Utf8),
            )
    return frames


def _day_start_us(day: date, zone: str) -> int:
    """First instant of a local day: the first of all minutes that the zone calls by that date."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(ZoneInfo(zone)).date() < day:
        moment += timedelta(minutes=15)
    return int(moment.timestamp()) * MICROS


def _micros(text: str) -> int:
    return int(Decimal(text) * MICROS)


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
        return _day_start_us(date.fromisoformat(text), zone) if text else ALWAYS_US

    def end(row: dict[str, str]) -> int:
        text = row.get("valid_to")
        return _day_start_us(date.fromisoformat(text) + timedelta(days=1), zone) if text else NEVER_US

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
            r["sku"]: Item(r["sku"], r["base_uom"], r["product_group"] or None, r["price_source"] == "erp")
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
                _micros(r["rounding_increment"] or "0.000001"),
                enum(RoundingMode, r["rounding_mode"], "half_up"),
                Fraction(r["floor_margin_pct"]) / 100 if r["floor_margin_pct"] else None,
                enum(Windows, r["windows"], "each_break"),
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
