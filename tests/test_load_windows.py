"""Entries in force together with different breaks are told; net prices that their book rounds to zero are refused."""

import numpy as np
import pytest

from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.validate.tables import validate_delta
from pricegrid.pricing_engine.arrays import matrix as mx
from tests.load_tables import entries, loaded, rejected, table

JUNE = "2026-06-01, 2026-06-30"


def test_overlapping_windows_with_other_breaks_are_counted_with_examples() -> None:
    dataset = loaded(
        entries(
            "LIST, BOLT, , , , 1, net, 10, , , , ,",
            "LIST, BOLT, , , , 10, net, 7, , , , ,",
            f"LIST, BOLT, , , , 5, net, 8, , {JUNE}, ,",
            "LIST, , DRILLS, GOLD, , 2, net, 9, , , , ,",
            f"LIST, , DRILLS, GOLD, , , net, 8, , {JUNE}, ,",
        )
    )

    assert dataset.counts["price_entries"].accepted == 5
    assert dataset.warnings == [
        (
            "price_entries.csv: 2 ladders have windows that overlap and differ in their breaks, of which "
            "price_books.windows says which answers: "
            "LIST DRILLS GOLD: from 2 (always to for ever) and from 0 (2026-06-01T00:00Z to 2026-07-01T00:00Z); "
            "LIST BOLT: from 1, 10 (always to for ever) and from 5 (2026-06-01T00:00Z to 2026-07-01T00:00Z)"
        )
    ]


@pytest.mark.parametrize(
    "other",
    [
        f"LIST, BOLT, , , , 1, net, 8, , {JUNE}, ,",  # the same breaks
        f"LIST, BOLT, , GOLD, , 5, net, 8, , {JUNE}, ,",  # another class
        f"LIST, BOLT, , , BOX, 5, net, 8, , {JUNE}, ,",  # another unit
        f"LIST, NUT, , , , 5, net, 8, , {JUNE}, ,",  # another item
        f"DEAL, BOLT, , , , 5, net, 8, , {JUNE}, ,",  # another book
    ],
)
def test_what_is_no_overlap_is_not_told(other: str) -> None:
    assert loaded(entries("LIST, BOLT, , , , 1, net, 10, , , , ,", other)).warnings == []


def test_windows_that_follow_each_other_are_not_told() -> None:
    follow = [
        "1, net, 10, , , 2026-05-31",
        "5, net, 9, , 2026-06-01, 2026-06-30",
        "2, net, 8, , 2026-07-01, ",
    ]

    assert loaded(entries(*(f"LIST, BOLT, , , , {each}, ," for each in follow))).warnings == []


ROUNDED = [
    ("half_up", "0.4", True),
    ("half_up", "0.5", False),
    ("half_even", "0.5", True),
    ("half_even", "0.500001", False),
    ("half_down", "0.5", True),
    ("half_down", "0.500001", False),
    ("up", "0.000001", False),
    ("down", "0.999999", True),
    ("down", "1", False),
]
BOOKS = "book_id, layer, currency, rounding_increment, rounding_mode\nLIST, list, EUR, 1, {}\nDEAL, contract, EUR, ,"


@pytest.mark.parametrize(("mode", "value", "is_zero"), ROUNDED)
def test_a_net_price_that_its_book_rounds_to_zero_is_rejected(mode: str, value: str, is_zero: bool) -> None:
    lines = entries(
        f"LIST, BOLT, , , , , net, {value}, , , , ,",
        f"LIST, NUT, , , , , net, {value}, , , , true,",
        f"DEAL, BOLT, , , , , net, {value}, , , , ,",
        "LIST, BOLT, , , , 5, multiplier, 0.001, DEAL, , , ,",
    )

    found = rejected(loaded({"price_books": BOOKS.format(mode), **lines}), "price_entries")

    assert [(line, column) for line, column, _ in found] == ([(2, "value")] if is_zero else [])
    assert all("is rounded to zero by its book's increment" in reason for _, _, reason in found)


def test_a_delta_is_held_to_the_increments_of_its_base_snapshot() -> None:
    base = DeltaBase(compile_prices(loaded({"price_books": BOOKS.format("half_up")}).frames))
    rows = table("book_id, sku, method, value\nLIST, BOLT, net, 0.4\nDEAL, BOLT, net, 0.4")

    found = rejected(validate_delta(rows, base.known_names), "price_entries")

    assert [(line, column) for line, column, _ in found] == [(2, "value")]


def test_the_windows_of_a_book_are_a_word() -> None:
    books = "book_id, layer, currency, windows\nLIST, list, EUR, replace\nDEAL, contract, EUR, newest"

    dataset = loaded({"price_books": books})

    assert dataset.frames["price_books"]["windows"].to_list() == ["replace"]
    ((_, column, reason),) = rejected(dataset, "price_books")
    assert (column, reason) == ("windows", '"newest" is not one of each_break, replace')
    assert np.all(compile_prices(dataset.frames)["books"][:, mx.BOOK_WINDOWS] == 1)
