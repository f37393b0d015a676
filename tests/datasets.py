"""Random price datasets as raw text rows, and questions to ask of them; `plain_prices` reads such rows."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from random import Random

import polars as pl

from pricegrid.pricing_engine.model import MICROS, PriceQuestion
from tests.plain_prices import day_start_us
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
    terms = aside(rng)
    _add_classes(terms, rows)
    _add_endings(terms, rows["price_books"])
    _add_ladders(terms, rows)
    _add_break_groups(terms, rows)
    if terms.random() < 0.5:
        _add_surcharges(terms, rows, dated)
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


def _add_endings(rng: Random, books: list[dict[str, str]]) -> None:
    """Prices that end in 9, 99 and the like (P16)."""
    share = rng.choice([0, 0.5])
    for book in books:
        increment = book["rounding_increment"]
        below = ["0.99", "9", "0.5", "0.000001"] if increment == "" else ["0.01", "0.000007"]
        endings = [each for each in below if increment == "" or Decimal(each) < Decimal(increment)]
        if endings and rng.random() < share:
            book["price_ending"] = rng.choice(endings)


def _add_ladders(rng: Random, rows: Rows) -> None:
    """Graduated ladders, and breaks that are amounts (P19)."""
    shares = rng.choice([(0, 0), (0.5, 0.2)])
    ladders = {row["layer"]: row["ladder"] for row in rows["layers"]}
    for book in (each for each in rows["price_books"] if ladders[each["layer"]] != "merge"):
        if rng.random() < shares[0]:
            book["break_mode"] = "graduated"
        elif rng.random() < shares[1]:
            book["break_on"] = "amount"
            rows["price_entries"] = [
                row
                for row in rows["price_entries"]
                if row["book_id"] != book["book_id"]
                or Decimal(row["min_quantity"] or 0) == 0
                or row["basis"] not in ("", "cost")
            ]


def _add_break_groups(rng: Random, rows: Rows) -> None:
    """Items, product groups and books of which lines count together (P19)."""
    share = rng.choice([0, 0, 0, 0, 0.4])
    books = [book for book in rows["price_books"] if book.get("break_on") != "amount"]
    for row in (*rows["items"], *rows["product_groups"], *books):
        if rng.random() < share:
            row["break_group"] = rng.choice(["pallet", "truck"])


def _add_surcharges(rng: Random, rows: Rows, dated: float) -> None:
    """Books whose surcharges come on top of what answers (P16)."""
    audiences = [{"customer_id": c} for c in CUSTOMERS] + [{"price_class": c} for c in CLASSES]
    units = {(unit["sku"], unit["uom"]) for unit in rows["uoms"]}
    for layer in ("extra", "more"):
        rows["layers"].append(
            {"layer": layer, "rank": rng.choice(["0", "1", "9"]), "mode": "add", "ladder": ""}
        )
    for book in ("s1", "s2", "s3"):
        rows["price_books"].append(
            {
                "book_id": book,
                "layer": rng.choice(["extra", "more"]),
                "currency": rng.choice(["EUR", "EUR", *CURRENCIES]),
                "below_minimum": rng.choice(["", "", "no_price", "first_break"]),
                "rounding_increment": "",
                "rounding_mode": "",
                "floor_margin_pct": "",
                "windows": rng.choice(["each_break", "replace"]),
                **_window(rng, dated / 3),
            }
        )
        everyone = [{"everyone": "true"}] if rng.random() < 0.5 else []
        rows["agreements"] += [
            {"book_id": book, **audience, "priority": "", "inherit": "", **_window(rng, dated / 2)}
            for audience in [*rng.sample(audiences, 2), *everyone]
        ]
        entries = {}
        for number in range(rng.randint(0, 8)):
            sku = rng.choice([*SKUS, "", ""])
            uom = rng.choice(["", "", *UNITS])
            row = {
                "book_id": book,
                "sku": sku,
                "product_group": "" if sku else rng.choice([*GROUPS, ""]),
                "price_class": _maybe(rng, 0.2, rng.choice([*CLASSES, OTHER_CLASS])),
                "branch": _maybe(rng, 0.2, "north"),
                "uom": uom if (sku, uom) in units else "",
                "min_quantity": rng.choice(["", "", "1", "10", "12"]),
                "entry_id": f"{book}.{number}",
                "explicit_zero": "",
                "basis": "",
                "price_per": rng.choice(PRICE_UNITS),
                "method": rng.choice(["surcharge_pct", "surcharge_amount"]),
                "value": rng.choice(["0", "2", "0.333333", "12.5", "100"]),
                **_window(rng, dated),
            }
            same = ("sku", "product_group", "price_class", "branch", "uom", "min_quantity")
            entries[(*(row[name] for name in same), row["valid_from"], row["valid_to"])] = row
        rows["price_entries"] += entries.values()


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
        if row["basis"] and terms.random() < 0.25:
            row |= {"method": "amount_off", "value": terms.choice(["0", "2", "0.333333", "7.5", "99"])}
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
    instants = [day_start_us(date.fromisoformat(d), zone) for d in DATES]
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
