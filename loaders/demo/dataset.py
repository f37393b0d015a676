"""A believable distributor to try Pricegrid with: made up, seeded, the same bytes every time.

`generate` writes the tables of a dataset (docs/dataset.md) as CSV. The prices show every rule at work: contracts of
customers and of the groups above them, framework contracts shared by hundreds, class books, a class x group matrix of
discounts on list, cost-plus with floors, promotions with dates, quantity breaks, units of measure down to thirds of a
pack, and books in foreign currencies. `DemoDataset.basket` picks a line for each.

All dates hang on `as_of`, so the dataset never grows stale. Money is int64 micros until it is written as a decimal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from pricegrid.loaders.demo.catalogue import (
    HAZARDOUS_GROUP,
    KIT_LEAF,
    LEAVES,
    catalogue,
    product_groups,
    round_price,
)
from pricegrid.loaders.demo.prices import (
    AGREEMENT_COLUMNS,
    BOOK_COLUMNS,
    BOOKS,
    CLASSES,
    ENTRY_COLUMNS,
    LAYERS,
    SITE,
    Demo,
    decimal_text,
    table,
    with_columns,
)
from pricegrid.loaders.demo.showcase import BasketLine, basket, showcase_contracts, showcase_items
from pricegrid.loaders.demo.stock import BRANCHES, Extracts, stock_tables

TIME_ZONE = "Europe/Berlin"
CURRENCY = "EUR"
CUSTOMERS_MIN = 100
ITEMS_MIN = len(LEAVES)
"""One of each leaf of the catalogue."""
SHOWCASE_BRANCH = "HAM"
CURRENCIES = ("EUR",) * 16 + ("GBP", "USD", "SEK", "PLN")
RATES = (
    ("GBP", "1.1534", "1.1487"),
    ("USD", "0.9215", "0.9342"),
    ("SEK", "0.0884", "0.0871"),
    ("PLN", "0.2331", "0.2318"),
)


@dataclass(frozen=True, slots=True)
class DemoDataset:
    """What was written, and a question to start with: this customer, branch and instant, these lines."""

    directory: Path
    time_zone: str
    rows: Mapping[str, int]
    customer_id: str
    branch: str
    as_of: datetime
    currency: str
    basket: tuple[BasketLine, ...]


def generate(
    directory: Path,
    *,
    seed: int = 7,
    items: int = 30_000,
    customers: int = 4_000,
    as_of: date = date(2026, 1, 15),
    now: datetime | None = None,
) -> DemoDataset:
    """Write the dataset as CSV tables into `directory` (made if missing) and return what is in it.

    With `now` its day takes the place of `as_of`, and stock is some minutes old then.

    Raises ValueError for fewer than 41 items (one of each product group) or 100 customers.
    """
    if customers < CUSTOMERS_MIN:
        raise ValueError(f"the demo needs at least {CUSTOMERS_MIN} customers, got {customers}")
    if now is not None:
        as_of = now.astimezone(ZoneInfo(TIME_ZONE)).date()
    every_item = catalogue(items, np.random.default_rng([seed, 0]))
    showcase = showcase_items(every_item)
    shown = [str(item["sku"]) for item in showcase.values()]
    demo = Demo(
        items=every_item,
        open_items=every_item.filter(~pl.col("sku").is_in(shown)),
        customers=customer_tree(customers, np.random.default_rng([seed, 1])),
        showcase=showcase,
        as_of=as_of,
        seed=seed,
    )
    tables = price_tables(demo) | stock_tables(demo.items, shown, Extracts(as_of, now), demo.rng(50))
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in tables.items():
        content.write_csv(directory / f"{name}.csv")
    return DemoDataset(
        directory=directory,
        time_zone=TIME_ZONE,
        rows={name: content.height for name, content in tables.items()},
        customer_id=SITE,
        branch=SHOWCASE_BRANCH,
        as_of=now or datetime(as_of.year, as_of.month, as_of.day, 9, tzinfo=UTC),
        currency=CURRENCY,
        basket=basket(demo),
    )


def price_tables(demo: Demo) -> dict[str, pl.DataFrame]:
    """The price side of the dataset."""
    books, agreements, entries = [], [], []
    for build in (*BOOKS, showcase_contracts):
        part = build(demo)
        books.append(with_columns(part.books, BOOK_COLUMNS))
        agreements.append(with_columns(part.agreements, AGREEMENT_COLUMNS))
        entries.append(with_columns(part.entries, ENTRY_COLUMNS))
    return {
        "items": item_table(demo),
        "product_groups": product_groups(),
        "uoms": unit_table(demo),
        "customers": demo.customers,
        "layers": pl.DataFrame(
            [(name, str(rank), mode, "owner") for name, rank, mode in LAYERS],
            schema=["layer", "rank", "mode", "ladder"],
            orient="row",
        ),
        "price_books": pl.concat(books),
        "agreements": pl.concat(agreements),
        "price_entries": pl.concat(entries),
        "costs": cost_table(demo),
        "exchange_rates": rate_table(demo),
        "entitlements": entitlement_table(demo),
    }


# ---------------------------------------------------------------------------------------------- master data


_FAMILIES = [
    "Brandt",
    "Lindqvist",
    "Nowak",
    "Whitmore",
    "De Vries",
    "Moreau",
    "Keller",
    "Rossi",
    "Sato",
    "Hagen",
    "Ostrowski",
    "Baker",
]
_TRADES = [
    "Anlagenbau",
    "Elektrotechnik",
    "Maschinenbau",
    "Installations",
    "Workshops",
    "Construction",
    "Logistics",
    "Facilities",
]
_TOWNS = [
    "Kiel",
    "Bremen",
    "Utrecht",
    "Leeds",
    "Lodz",
    "Lyon",
    "Graz",
    "Bergen",
    "Aarhus",
    "Gent",
    "Brno",
    "Turin",
]


def customer_tree(count: int, rng: np.random.Generator) -> pl.DataFrame:
    """Groups, companies and sites; a company and its sites share a class, a currency and a branch."""
    groups, companies = count // 40, count // 4
    sites = count - groups - companies
    group_of = np.where(rng.random(companies) < 0.7, rng.integers(0, groups, companies), -1)
    company_of = np.sort(rng.integers(0, companies, sites))
    group_of[0], company_of[0] = 0, 0  # the showcase
    classes = rng.integers(0, len(CLASSES), companies)
    money = rng.integers(0, len(CURRENCIES), companies)
    home = rng.integers(0, len(BRANCHES), companies)
    classes[0], money[0], home[0] = 0, 0, 0
    branch_ids = [branch.branch for branch in BRANCHES]

    def named(number: int) -> str:
        return (
            "Nordmark"
            if number == 0
            else f"{_FAMILIES[number % len(_FAMILIES)]} {number // len(_FAMILIES) + 1}"
        )

    table = {
        "customer_id": [f"G{n + 1:05}" for n in range(groups)]
        + [f"C{n + 1:05}" for n in range(companies)]
        + [f"S{n + 1:05}" for n in range(sites)],
        "currency": [CURRENCY] * groups
        + [CURRENCIES[money[n]] for n in range(companies)]
        + [CURRENCIES[money[n]] for n in company_of],
        "parent_id": [None] * groups
        + [f"G{n + 1:05}" if n >= 0 else None for n in group_of]
        + [f"C{n + 1:05}" for n in company_of],
        "price_class": [None] * groups
        + [CLASSES[classes[n]] for n in range(companies)]
        + [CLASSES[classes[n]] for n in company_of],
        "branch": [None] * groups
        + [branch_ids[home[n]] for n in range(companies)]
        + [branch_ids[home[n]] for n in company_of],
        "name": [f"{named(n)} Group" for n in range(groups)]
        + [f"{named(n)} {_TRADES[n % len(_TRADES)]}" for n in range(companies)]
        + [
            f"{named(int(owner))} {_TRADES[owner % len(_TRADES)]}, {_TOWNS[n % len(_TOWNS)]}"
            for n, owner in enumerate(company_of)
        ],
    }
    return pl.DataFrame(table)


def item_table(demo: Demo) -> pl.DataFrame:
    """Items; a few come in multiples, are superseded by their neighbour, or have their price in the ERP."""
    rng, shown = demo.rng(2), demo.shown()
    next_sku = pl.when(pl.col("leaf") == pl.col("leaf").shift(-1)).then(pl.col("sku").shift(-1))
    table = demo.items.with_columns(
        chance=pl.Series(rng.integers(0, 1000, demo.items.height)),
        plain=pl.col("sku").is_in(shown) | (pl.col("leaf") == KIT_LEAF),
        next_sku=next_sku,
    )
    return table.select(
        "sku",
        "base_uom",
        "description",
        "product_group",
        order_multiple=pl.when(
            ~pl.col("plain") & (pl.col("chance") < 40) & (pl.col("base_uom") == "EA")
        ).then(pl.lit("10")),
        price_source=pl.when((pl.col("leaf") == "GAS") & (pl.col("popularity") < 300)).then(pl.lit("erp")),
        superseded_by=pl.when(~pl.col("plain") & (pl.col("chance") >= 990)).then("next_sku"),
    )


def unit_table(demo: Demo) -> pl.DataFrame:
    """Units: one `uom` is numerator/denominator base units, exact: a third of a pack, 400/3 bolts a kilogram."""
    box = pl.lit(100, pl.Int64)
    fastener = pl.col("department") == "Fasteners"
    units: tuple[tuple[str, pl.Expr, pl.Expr | str, str], ...] = (
        ("BOX", fastener, pl.when(pl.col("cost_micros") < 200_000).then(box).otherwise(box // 2), "1"),
        ("PAL", fastener, pl.when(pl.col("cost_micros") < 200_000).then(box * 144).otherwise(box * 72), "1"),
        (
            "KG",
            pl.col("leaf").is_in(["HXB", "SCB", "NUT"]),
            pl.when(pl.col("cost_micros") < 500_000).then(400).otherwise(50),
            "3",
        ),
        ("BOX", (pl.col("base_uom") == "EA") & ~fastener & (pl.col("cost_micros") < 20_000_000), "10", "1"),
        ("PAL", (pl.col("base_uom") == "EA") & ~fastener & (pl.col("cost_micros") >= 20_000_000), "48", "1"),
        ("PR", pl.col("leaf") == "GLV", "1", "3"),
        ("EA", pl.col("leaf") == "DSP", "1", "100"),
        ("BOX", pl.col("base_uom") == "PK", "12", "1"),
        ("BOX", pl.col("base_uom") == "PR", "6", "1"),
        ("ROL", pl.col("base_uom") == "M", "100", "1"),
        ("FT", pl.col("base_uom") == "M", "381", "1250"),
        ("CAN", pl.col("base_uom").is_in(["KG", "L"]), "2.5", "1"),
        ("DRM", pl.col("base_uom").is_in(["KG", "L"]), "200", "1"),
    )
    parts = [
        demo.items.filter(where).select(
            "item",
            "sku",
            uom=pl.lit(uom),
            numerator=(pl.lit(numerator) if isinstance(numerator, str) else numerator.cast(pl.Utf8)),
            denominator=pl.lit(denominator),
        )
        for uom, where, numerator, denominator in units
    ]
    return pl.concat(parts).sort("item", maintain_order=True).drop("item")


def cost_table(demo: Demo) -> pl.DataFrame:
    """Costs: of every item; a third was cheaper last year; some branches buy at another price; some in USD."""
    rng = demo.rng(3)
    height = demo.items.height
    base = demo.items.select("sku", "cost_micros", currency=pl.lit(CURRENCY), branch=pl.lit(None, pl.Utf8))
    earlier = base.filter(pl.Series(rng.random(height) < 0.33)).with_columns(
        pl.col("cost_micros") * 97 // 100
    )
    local = base.with_columns(
        branch=pl.Series([BRANCHES[n].branch for n in rng.integers(1, len(BRANCHES), height)]),
        cost_micros=pl.col("cost_micros") * pl.Series(rng.integers(94, 106, height)) // 100,
    ).filter(pl.Series(rng.random(height) < 0.15))
    dollars = base.filter(pl.Series(rng.random(height) < 0.04)).with_columns(
        pl.col("cost_micros") * 106 // 100, currency=pl.lit("USD")
    )
    dated = (
        (earlier, demo.new_year(-1)),
        (base.join(dollars, on="sku", how="anti"), demo.new_year()),
        (dollars, demo.new_year()),
        (local, demo.new_year()),
    )
    table = pl.concat([part.with_columns(valid_from=pl.lit(day)) for part, day in dated])
    cost = decimal_text(pl.Series(round_price(table["cost_micros"].to_numpy())))
    return table.select("sku", cost.alias("cost"), "currency", "branch", "valid_from")


def rate_table(demo: Demo) -> pl.DataFrame:
    """Rates to EUR, last year's and this year's; the opposite way is their exact inverse (P3)."""
    return pl.DataFrame(
        [
            (currency, CURRENCY, rate, day)
            for currency, now, before in RATES
            for rate, day in ((before, demo.new_year(-1)), (now, demo.new_year()))
        ],
        schema=["from_currency", "to_currency", "rate", "valid_from"],
        orient="row",
    )


def entitlement_table(demo: Demo) -> pl.DataFrame:
    """Hazardous goods not for everybody; a few customers confined to one department."""
    companies = demo.customers.filter(pl.col("customer_id").str.starts_with("C"))["customer_id"].to_list()
    certified, confined = companies[20:60:2], companies[60:70]
    return table(
        "customer_id price_class product_group allowed",
        *(("", name, HAZARDOUS_GROUP, "false") for name in ("CASH", "ONLINE")),
        *((name, "", HAZARDOUS_GROUP, "true") for name in certified),
        *((name, "", "", "false") for name in confined),
        *((name, "", "Fasteners", "true") for name in confined),
    )
