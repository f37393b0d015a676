"""Seeded price datasets of any size, as raw tables, as Parquet directories and as validated frames.

What is in one: items with SKUs of 8 to 20 bytes in product groups of two levels; a list book for everyone with two
quantity breaks beyond the first on every fifth item; a book for each price class; a class × group discount matrix on
list for half of the groups; customers in a hierarchy of three levels, each with a contract book of their own. Layers
are searched contract, class, list. The same size and seed give the same rows.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pricegrid.loaders.compile.ordinals import Frames
from pricegrid.loaders.validate.tables import validate_tables

CLASSES = 10
PARENT_GROUPS, GROUPS = 10, 100
BREAKS = (10, 100)  # the further breaks of every fifth item
SITES_PER_COMPANY, COMPANIES_PER_GROUP = 20, 25
SEED = 20261123

Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    items: int
    class_entries: int
    """Entries of each of the CLASSES books."""
    customers: int
    contract_entries: int
    """Entries of each customer's contract."""
    breaks: bool = True
    branches: int = 0
    """Branches that stock every item; 0: a dataset of prices only."""

    @property
    def entries(self) -> int:
        """All price entries, without the matrix."""
        of_list = self.items + (len(BREAKS) * ((self.items + 4) // 5) if self.breaks else 0)
        return of_list + CLASSES * self.class_entries + self.customers * self.contract_entries


ISSUE_2 = Size(items=720_000, class_entries=20_000, customers=50_000, contract_entries=20)
"""1 M list entries, 10 classes × 20,000, 50,000 contracts: 2.2 M entries."""
TENTH = Size(items=72_000, class_entries=2_000, customers=5_000, contract_entries=20)
LOAD_1M = Size(items=500_000, class_entries=20_000, customers=5_000, contract_entries=20)
LOAD_10M = Size(items=1_000_000, class_entries=20_000, customers=42_000, contract_entries=200)
LOAD_30M = Size(items=1_000_000, class_entries=20_000, customers=142_000, contract_entries=200)
QUOTES = Size(items=1_000_000, class_entries=20_000, customers=10_000, contract_entries=20, branches=2)
"""What a quote is asked of: a million items in two branches."""
QUOTES_TENTH = Size(items=100_000, class_entries=2_000, customers=1_000, contract_entries=20, branches=2)
PEERS = Size(items=1_000_000, class_entries=20_000, customers=10_000, contract_entries=380, branches=2)
"""Five million cells of items, that Redis, PostgreSQL, SQLite and Polars hold too."""
PEERS_TENTH = Size(items=100_000, class_entries=2_000, customers=1_000, contract_entries=380, branches=2)
LIST_ONLY = Size(items=1_000_000, class_entries=0, customers=10, contract_entries=0, breaks=False)


def customer_ids(size: Size) -> pl.Series:
    """The ids of all customers."""
    return _numbered("C", size.customers, 7)


def item_skus(size: Size) -> pl.Series:
    """The SKUs of all items: 8 to 20 bytes, every length about as often."""
    number = np.arange(size.items)
    tails = pl.Series([f"-{'XLQ7RT2WKZ9M'[:n]}" if n else "" for n in range(12)])
    return _numbered("P", size.items, 7) + tails.gather(number * 7 % 12)


def raw_tables(size: Size, seed: int = SEED) -> Tables:
    """The tables of docs/dataset.md, as an ERP's export would hold them."""
    rng = np.random.default_rng(seed)
    skus, customers = item_skus(size), customer_ids(size)
    classes, groups = _numbered("CLASS-", CLASSES, 2), _numbered("G", GROUPS, 3)
    place = np.arange(size.customers)
    companies = place % SITES_PER_COMPANY == 0
    heads = place % (SITES_PER_COMPANY * COMPANIES_PER_GROUP) == 0
    parent = np.where(
        companies,
        place - place % (SITES_PER_COMPANY * COMPANIES_PER_GROUP),
        place - place % SITES_PER_COMPANY,
    )
    contracts = "K-" + customers
    class_books = "BOOK-" + classes
    books = pl.concat([pl.Series(["LIST", "MATRIX"]), class_books, contracts])
    layers = ["list", "class"] + ["class"] * CLASSES + ["contract"] * size.customers
    return {
        "items": pl.DataFrame(
            {
                "sku": skus,
                "base_uom": pl.repeat("EA", size.items, eager=True),
                "product_group": groups.gather(np.arange(size.items) * 13 % GROUPS),
            }
        ),
        "product_groups": pl.DataFrame(
            {
                "product_group": pl.concat([groups, _numbered("TOP", PARENT_GROUPS, 2)]),
                "parent": [f"TOP{g % PARENT_GROUPS:02}" for g in range(GROUPS)] + [None] * PARENT_GROUPS,
            }
        ),
        "customers": pl.DataFrame(
            {
                "customer_id": customers,
                "currency": pl.repeat("EUR", size.customers, eager=True),
                "parent_id": customers.gather(parent).set(pl.Series(heads), None),
                "price_class": classes.gather(place % CLASSES),
            }
        ),
        "layers": pl.DataFrame({"layer": ["contract", "class", "list"], "rank": [1, 2, 3]}),
        "price_books": pl.DataFrame({"book_id": books, "layer": layers}).with_columns(currency=pl.lit("EUR")),
        "agreements": _agreements(customers, contracts, classes, class_books),
        "price_entries": _entries(size, rng, skus, contracts, classes, class_books, groups),
    }


AS_OF_US = 1_767_225_600_000_000  # 2026-01-01


def branch_names(size: Size) -> list[str]:
    """The branches, in order."""
    return [f"BR{n}" for n in range(size.branches)]


def stock_tables(size: Size, seed: int = SEED) -> Tables:
    """Every item in every branch, a receipt and a demand for about a third of these pairs each."""
    rng, branches = np.random.default_rng(seed + 2), branch_names(size)
    pairs = pl.DataFrame({"sku": item_skus(size)}).join(pl.DataFrame({"branch": branches}), how="cross")
    as_of = pl.lit(AS_OF_US).cast(pl.Datetime("us", "UTC"))

    def some(column: str, quantity_max: int) -> pl.DataFrame:
        third = pairs.filter(pl.Series(rng.integers(0, 3, pairs.height) == 0))
        days = pl.Series(rng.integers(1, 60, third.height))
        return third.with_columns(
            pl.Series("quantity", rng.integers(1, quantity_max, third.height)),
            (as_of + pl.duration(days=days)).alias(column),
        )

    feeds = [(branch, source) for branch in branches for source in ("erp", "wms", "transit")]
    return {
        "branches": pl.DataFrame({"branch": branches}),
        "feeds": pl.DataFrame(feeds, schema=["branch", "source"], orient="row").with_columns(
            as_of.alias("as_of"), complete=pl.lit(value=True)
        ),
        "stock": pairs.with_columns(
            pl.Series("on_hand", rng.integers(0, 500, pairs.height)), as_of.alias("as_of")
        ),
        "receipts": some("expected_at", 300),
        "demands": some("due_at", 100),
    }


def write_dataset(size: Size, folder: Path, seed: int = SEED) -> Path:
    """The tables as Parquet files in `folder`, which is made."""
    folder.mkdir(parents=True)
    tables = raw_tables(size, seed) | (stock_tables(size, seed) if size.branches else {})
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    return folder


def write_delta(size: Size, folder: Path, rows: int, seed: int = SEED) -> Path:
    """New prices for the first break of `rows` list items, as a delta dataset."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed + 1)
    chosen = item_skus(size).gather(np.sort(rng.choice(size.items, rows, replace=False)))
    delta = pl.DataFrame({"book_id": ["LIST"] * rows, "sku": chosen, "method": ["net"] * rows}).with_columns(
        _cents(rng, rows)
    )
    delta.write_parquet(folder / "price_entries.parquet")
    return folder


def frames(size: Size, seed: int = SEED) -> Frames:
    """The validated frames that the compiler takes."""
    dataset = validate_tables(raw_tables(size, seed))
    rejected = {name: rows.height for name, rows in dataset.rejects.items() if rows.height}
    if rejected:
        raise AssertionError(f"the generated dataset has rejects: {rejected}")
    return dataset.frames


def _numbered(prefix: str, count: int, digits: int) -> pl.Series:
    return prefix + pl.Series(np.arange(count)).cast(pl.String).str.zfill(digits)


def _cents(rng: np.random.Generator, count: int) -> pl.Series:
    """Prices from 0.50 to 500.00, as a decimal of two places, named `value`."""
    cents = pl.Series("value", rng.integers(50, 50_000, count))
    return cents.cast(pl.Decimal(18, 2)) / 100


def _agreements(
    customers: pl.Series, contracts: pl.Series, classes: pl.Series, class_books: pl.Series
) -> pl.DataFrame:
    schema = {
        "book_id": pl.String,
        "customer_id": pl.String,
        "price_class": pl.String,
        "everyone": pl.Boolean,
    }
    parts = [
        pl.DataFrame({"book_id": ["LIST"], "everyone": [True]}),
        pl.DataFrame({"price_class": classes}).with_columns(book_id=pl.lit("MATRIX")),
        pl.DataFrame({"book_id": class_books, "price_class": classes}),
        pl.DataFrame({"book_id": contracts, "customer_id": customers}),
    ]
    return pl.concat([pl.DataFrame(schema=schema), *parts], how="diagonal")


def _entries(
    size: Size,
    rng: np.random.Generator,
    skus: pl.Series,
    contracts: pl.Series,
    classes: pl.Series,
    class_books: pl.Series,
    groups: pl.Series,
) -> pl.DataFrame:
    items = np.arange(size.items)
    cents = rng.integers(50, 50_000, size.items)
    parts = [_net("LIST", skus, cents)]
    for step, minimum in enumerate(BREAKS if size.breaks else (), start=1):
        parts.append(_net("LIST", skus.gather(items[::5]), cents[::5] * (100 - 5 * step) // 100, minimum))
    for book in class_books if size.class_entries else ():
        chosen = np.sort(rng.choice(size.items, size.class_entries, replace=False))
        parts.append(_net(book, skus.gather(chosen), cents[chosen] * 9 // 10))
    if size.contract_entries:
        owner = np.repeat(np.arange(size.customers), size.contract_entries)
        stride = max(1, size.items // size.contract_entries)
        turn = np.tile(np.arange(size.contract_entries), size.customers) * stride
        chosen = (rng.integers(0, size.items, size.customers)[owner] + turn) % size.items
        net = _net("", skus.gather(chosen), cents[chosen] * 8 // 10)
        parts.append(net.with_columns(contracts.gather(owner).alias("book_id")))
    matrix = classes.to_frame("price_class").join(groups[::2].to_frame("product_group"), how="cross")
    parts.append(
        matrix.with_columns(
            book_id=pl.lit("MATRIX"),
            method=pl.lit("discount_pct"),
            value=_percents(rng, matrix.height),
            basis=pl.lit("LIST"),
        )
    )
    return pl.concat(parts, how="diagonal").select(
        "book_id", "sku", "product_group", "price_class", "min_quantity", "method", "value", "basis"
    )


def _percents(rng: np.random.Generator, count: int) -> pl.Series:
    return pl.Series("value", rng.integers(1, 30, count)).cast(pl.Decimal(38, 2))


def _net(book: str, skus: pl.Series, cents: np.ndarray, minimum: int | None = None) -> pl.DataFrame:
    return pl.DataFrame({"sku": skus, "value": pl.Series(cents).cast(pl.Decimal(18, 2)) / 100}).with_columns(
        book_id=pl.lit(book), method=pl.lit("net"), min_quantity=pl.lit(minimum, pl.Int64)
    )
