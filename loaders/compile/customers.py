"""Compile customers: their parents, currencies, branches, and the price classes that they have or inherit (P18)."""

import numpy as np
import polars as pl

from pricegrid.loaders.compile.ordinals import Frames, Int64s, Ordinals, columns, numbers
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.model import PRIORITY_FIRST, PRIORITY_LAST


def customer_rows(frames: Frames, ordinals: Ordinals) -> tuple[Int64s, Int64s]:
    """The arrays `customers` (n, 4) and `customer_classes` (m, 2)."""
    customers = frames["customers"]
    place = ordinals.place("customer", customers, "customer_id")
    parent = ordinals.of("customer", customers, "parent_id")[place]
    runs, classes = _class_runs(frames, ordinals)
    rows = columns(
        parent,
        runs[_nearest_with_classes(runs, parent)],
        ordinals.of("currency", customers, "currency")[place],
        ordinals.of("branch", customers, "branch")[place],
    )
    return rows, classes


def _class_runs(frames: Frames, ordinals: Ordinals) -> tuple[Int64s, Int64s]:
    """Each customer's run of its own classes, 0 for none, and the rows that the runs lead to.

    All customers with one class alone share its row: a million of them cost no more than one.
    """
    listed = _listed_classes(frames, ordinals)
    rank = pl.col("priority").rank("dense").over("customer").cast(pl.Int64) - 1
    ranked = listed.with_columns(rank=rank, count=pl.len().over("customer").cast(pl.Int64))
    ordered = ranked.sort("customer", "priority", "price_class")
    shared = np.arange(ordinals.count("price_class"), dtype=np.int64)
    runs = np.zeros(ordinals.count("customer"), dtype=np.int64)
    alone = ordered.filter(pl.col("count") == 1)
    runs[alone["customer"].to_numpy()] = alone["price_class"].to_numpy() << mx.RUN_BITS | 1
    several = ordered.filter(pl.col("count") > 1)
    customer = several["customer"].to_numpy()
    first = np.flatnonzero(np.diff(customer, prepend=-1))
    size = np.diff(first, append=len(customer))
    runs[customer[first]] = len(shared) + first << mx.RUN_BITS | size
    names = np.concatenate([shared, several["price_class"].to_numpy()])
    return runs, columns(names, np.concatenate([np.zeros_like(shared), several["rank"].to_numpy()]))


def _listed_classes(frames: Frames, ordinals: Ordinals) -> pl.DataFrame:
    """customer, price_class, priority: the rows of `customer_classes`, and the class in a customer's own row where none
    of them names it."""
    rows, customers = frames["customer_classes"], frames["customers"]
    listed = pl.DataFrame(
        {
            "customer": ordinals.of("customer", rows, "customer_id"),
            "price_class": ordinals.of("price_class", rows, "price_class"),
            "priority": numbers(rows, "priority", PRIORITY_LAST),
        }
    )
    own = pl.DataFrame(
        {
            "customer": ordinals.of("customer", customers, "customer_id"),
            "price_class": ordinals.of("price_class", customers, "price_class"),
            "priority": np.full(len(customers), PRIORITY_FIRST),
        }
    ).filter(pl.col("price_class") >= 0)
    return pl.concat([listed, own.join(listed, on=["customer", "price_class"], how="anti")])


def _nearest_with_classes(runs: Int64s, parent: Int64s) -> Int64s:
    """For each customer the nearest of itself and its ancestors that has classes; itself where none has; (n,)."""
    nearest = np.arange(len(runs), dtype=np.int64)
    blank = np.flatnonzero((runs == 0) & (parent >= 0))
    while len(blank):
        nearest[blank] = parent[nearest[blank]]
        blank = blank[(runs[nearest[blank]] == 0) & (parent[nearest[blank]] >= 0)]
    return nearest
