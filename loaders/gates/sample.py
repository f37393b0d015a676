"""The fixed sample: questions that tell what customers would see of another snapshot.

A load chooses its questions by hashes of names, so the same dataset gives the same ones, and keeps them in the
snapshot: every contract and class as far as they go, then customers times priced items, then stocked items. The next
load asks both snapshots, at one instant, what each price is and whether the item is available.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.pricing_engine.model import MICROS

QUESTIONS_MAX: Final = 1_000
_OF_CONTRACTS: Final = 500
_OF_STOCK: Final = 200

QUESTION: Final = {
    "customer_id": pl.String(),
    "branch": pl.String(),
    "sku": pl.String(),
    "uom": pl.String(),
    "quantity_micros": pl.Int64(),
}
"""The columns of the questions; branch and uom are '' where none is asked for."""

Arrays = Mapping[str, NDArray[Any]]
Frames = Mapping[str, pl.DataFrame]
Ask = Callable[[Arrays, pl.DataFrame, int], pl.DataFrame]
"""Arrays, questions and an instant to an answer a question: ANSWER."""

ANSWER: Final = {
    "status": pl.String(),
    "price_micros": pl.Int64(),
    "price_per": pl.Int64(),
    "currency": pl.String(),
    "book_id": pl.String(),
    "layer": pl.String(),
    "converted": pl.Boolean(),
    "availability": pl.String(),
}
"""The columns of the answers; `status` UNKNOWN_CUSTOMER where the customer is gone, `availability` '' where the
question names no branch."""


def choose(frames: Frames) -> pl.DataFrame:
    """The questions for a validated dataset: at most QUESTIONS_MAX rows of QUESTION, in an order of their own."""
    customers, branches = frames["customers"], frames["branches"]
    if customers.is_empty() or frames["items"].is_empty():
        return pl.DataFrame(schema=QUESTION)
    entries = _priced(frames)
    contracts = _of_contracts(frames, entries)
    stocked = _of_stock(frames)
    others = _paired(customers, _lowest(entries, "_hash", QUESTIONS_MAX), QUESTIONS_MAX)
    left = QUESTIONS_MAX - contracts.height - stocked.height
    chosen = pl.concat([contracts, stocked, others.head(left)])
    # a customer without a branch is asked about by turns at all of them
    names = branches["branch"].sort() if branches.height else pl.Series("branch", [""])
    turn = pl.Series("turn", names.gather(np.arange(chosen.height) % len(names)))
    return (
        chosen.with_columns(pl.col("branch").fill_null(turn), pl.col("uom").fill_null(""))
        .select(pl.col(name).cast(dtype) for name, dtype in QUESTION.items())
        .unique(maintain_order=True)
    )


def _priced(frames: Frames) -> pl.DataFrame:
    """One line to ask for each of some entries of every book: book_id, sku, uom, quantity_micros, _hash."""
    entries = frames["price_entries"]
    named = entries.filter(pl.col("sku").is_not_null()).select(
        "book_id", "sku", "uom", pl.col("min_quantity_micros").alias("quantity_micros")
    )
    if named.is_empty():  # rules on groups only: any item will do
        named = frames["items"].select(
            pl.lit(None, pl.String).alias("book_id"),
            "sku",
            pl.lit(None, pl.String).alias("uom"),
            quantity_micros=pl.lit(0, pl.Int64),
        )
    return named.with_columns(
        pl.when(pl.col("quantity_micros") > 0)
        .then("quantity_micros")
        .otherwise(pl.lit(MICROS, pl.Int64))
        .alias("quantity_micros"),
        _hash=named.hash_rows(),
    )


def _lowest(frame: pl.DataFrame, by: str, count: int) -> pl.DataFrame:
    """The rows with the lowest hashes, in their order."""
    if frame.height > count:
        frame = frame.filter(pl.col(by) <= frame[by].bottom_k(count).max())
    return frame.sort(by, maintain_order=True).head(count)


def _of_contracts(frames: Frames, entries: pl.DataFrame) -> pl.DataFrame:
    """A question for each book and audience, of books with few audiences first."""
    audiences = frames["agreements"].select("book_id", "customer_id", "price_class").unique()
    customers = frames["customers"].select("customer_id", "price_class", "branch")
    hashed = customers.with_columns(_who=customers.select("customer_id").hash_rows())
    listed = frames["customer_classes"].select("customer_id", "price_class")
    of_classes = listed.join(hashed.drop("price_class"), on="customer_id").select(hashed.columns)
    of_class = (
        pl.concat([hashed, of_classes])
        .sort("_who", "price_class")
        .unique("price_class", keep="first", maintain_order=True)
    )
    anyone = hashed.sort("_who").head(1).select("customer_id", "branch")
    named = audiences.filter(pl.col("customer_id").is_not_null())
    classes = audiences.filter(pl.col("customer_id").is_null() & pl.col("price_class").is_not_null())
    rest = audiences.filter(pl.col("customer_id").is_null() & pl.col("price_class").is_null())
    columns = ["book_id", "customer_id", "branch"]
    asked = pl.concat(
        [
            rest.select("book_id").join(anyone, how="cross").select(columns),
            classes.select("book_id", "price_class").join(of_class, on="price_class").select(columns),
            named.select("book_id", "customer_id").join(customers, on="customer_id").select(columns),
        ]
    )
    asked = _lowest(asked.with_columns(_who=asked.hash_rows()), "_who", _OF_CONTRACTS)
    of_books = entries.join(asked.select("book_id").unique(), on="book_id", how="semi")
    first = of_books.group_by("book_id").agg(
        pl.col("sku", "uom", "quantity_micros").get(pl.col("_hash").arg_min())
    )
    some = _lowest(entries, "_hash", 1).select("sku", "uom", "quantity_micros").row(0, named=True)
    return (
        asked.join(first, on="book_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("sku").is_null())
            .then(pl.lit(some["uom"], pl.String))
            .otherwise("uom")
            .alias("uom"),
            pl.col("sku").fill_null(some["sku"]),
            pl.col("quantity_micros").fill_null(pl.lit(some["quantity_micros"], pl.Int64)),
        )
        .select(*QUESTION)
    )


def _of_stock(frames: Frames) -> pl.DataFrame:
    """Items at the branches that stock them."""
    stock = frames["stock"].select("sku", "branch")
    if stock.is_empty():
        return pl.DataFrame(schema=QUESTION)
    rows = _lowest(stock.with_columns(_hash=stock.hash_rows()), "_hash", _OF_STOCK)
    lines = rows.with_columns(uom=pl.lit(None, pl.String), quantity_micros=pl.lit(MICROS, pl.Int64))
    return _paired(frames["customers"].drop("branch"), lines, lines.height)


def _paired(customers: pl.DataFrame, lines: pl.DataFrame, count: int) -> pl.DataFrame:
    """Customers times lines, as far as `count`: every pair once where there are no more."""
    ids = _lowest(
        customers.with_columns(_who=customers.select("customer_id").hash_rows()), "_who", QUESTIONS_MAX
    )
    number = np.arange(min(count, ids.height * lines.height))
    who, rounds = number % ids.height, number // ids.height
    return pl.concat(
        [
            ids[who].select(pl.col("customer_id", "^branch$")),
            lines[(who + rounds) % lines.height].drop("_hash"),
        ],
        how="horizontal",
    ).select(*QUESTION)
