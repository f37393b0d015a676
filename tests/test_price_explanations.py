"""An explanation says of every book why it gave no price, and of every entry that was passed over why (P12)."""

from pathlib import Path

import numpy as np
import pytest

from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.validate.tables import read_dataset
from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine
from pricegrid.pricing_engine.model import MICROS
from tests.written import write_tables

TABLES = {
    "items": "sku,base_uom\nA,EA\nB,EA\n",
    "layers": "layer,rank\nL,1\nL2,2\n",
    "price_books": "book_id,layer,currency,rounding_increment,rounding_mode,below_minimum\n"
    "K,L,EUR,,,\nPENNIES,L,EUR,0.05,down,\nSTRICT,L,EUR,,,no_price\nLAST,L2,EUR,,,\n",
    "price_entries": "book_id,sku,min_quantity,method,value,basis\n"
    "K,A,,markup_pct,10,\nK,,10,net,8,\nPENNIES,B,,multiplier,0.01,LAST\nSTRICT,A,5,net,7,\nLAST,,,net,3,\n",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> PriceEngine:
    folder = tmp_path_factory.mktemp("explained")
    write_tables(folder, TABLES)
    return PriceEngine(compile_prices(read_dataset(folder).frames))


def _reasons(engine: PriceEngine, sku: str, quantity: int) -> dict[str, str]:
    ask = PriceAsk("", "EUR", "", 0, [sku.encode()], np.array([quantity * MICROS]), [b""])
    layers = engine.explain(ask, 0)["layers"]
    return {row["book_id"]: row["reason"] for layer in layers for row in layer["candidates"]}


def test_a_price_that_rounds_to_zero_is_named(engine) -> None:
    reasons = _reasons(engine, "B", 1)

    assert reasons["PENNIES"] == "multiplier of B rounds to zero without explicit_zero"
    assert reasons["LAST"] == "answers"


def test_an_entry_that_was_passed_over_is_named(engine) -> None:
    no_cost = "markup_pct of A has no cost"

    assert _reasons(engine, "A", 20)["K"].endswith(f"; before it: {no_cost}")
    assert _reasons(engine, "A", 1)["K"] == f"{no_cost}; the quantity is below its first break"


def test_after_a_minimum_no_layer_is_said_to_have_answered(engine) -> None:
    reasons = _reasons(engine, "A", 1)

    assert reasons["STRICT"] == "below its first break, says no price"
    assert reasons["LAST"] == "the line ended below a minimum in an earlier layer"


def test_deletions_are_refused_in_a_full_load(tmp_path: Path) -> None:
    (tmp_path / "price_entries.csv").write_text("book_id,method,value,deleted\nLIST,net,1,true\n")

    with pytest.raises(DatasetError, match="column deleted belongs to a delta"):
        read_dataset(tmp_path)


MERGED = {
    "items": "sku,base_uom\nA,EA\n",
    "uoms": "sku,uom,numerator\nA,BOX,5\n",
    "customers": "customer_id,currency,price_class\nC,EUR,P\n",
    "layers": "layer,rank,mode,ladder\nL,1,first,{}\n",
    "price_books": "book_id,layer,currency\nOWN,L,EUR\nCLASS,L,EUR\nEVERY,L,EUR\n",
    "agreements": "book_id,customer_id,price_class,everyone\nOWN,C,,\nCLASS,,P,\nEVERY,,,true\n",
    "price_entries": "book_id,sku,method,value,min_quantity,uom\n"
    "OWN,A,net,5,2.5,\nCLASS,A,net,7.5,10,BOX\nEVERY,A,net,48.6,3,\n",
}


@pytest.mark.parametrize(
    ("ladder", "expected"),
    [
        (
            "merge",
            {"OWN": "a higher break answers", "CLASS": "answers", "EVERY": "a higher break answers"},
        ),
        (
            "owner",
            {
                "OWN": "answers",
                "CLASS": "ranks lower by hierarchy distance",
                "EVERY": "ranks lower by hierarchy distance",
            },
        ),
    ],
)
def test_a_class_that_wins_by_its_break_is_said_to_and_not_to_lose_by_hierarchy(
    tmp_path, ladder, expected
) -> None:
    write_tables(tmp_path, {name: text.format(ladder) for name, text in MERGED.items()})
    engine = PriceEngine(compile_prices(read_dataset(tmp_path).frames))
    ask = PriceAsk("C", "", "", 0, [b"A"], np.array([50 * MICROS]), [b"BOX"])

    layers = engine.explain(ask, 0)["layers"]

    assert {row["book_id"]: row["reason"] for layer in layers for row in layer["candidates"]} == expected


def test_both_unit_forms_and_every_window_that_compete_are_told(tmp_path) -> None:
    entries = (
        "book_id,sku,method,value,min_quantity,uom,valid_from\nOWN,A,net,5,,,\nOWN,A,net,4,2,,1960-01-01\n"
    )
    tables = {
        **MERGED,
        "layers": "layer,rank,mode\nL,1,lowest\n",
        "price_entries": f"{entries}OWN,A,net,30,,BOX,\n",
    }
    write_tables(tmp_path, tables)
    engine = PriceEngine(compile_prices(read_dataset(tmp_path).frames))
    ask = PriceAsk("C", "", "", 0, [b"A"], np.array([MICROS]), [b"BOX"])

    (layer,) = engine.explain(ask, 0)["layers"]

    told = [(row["price"], row["reason"]) for row in layer["candidates"] if row["book_id"] == "OWN"]
    assert sorted(told) == [
        ("20", "answers"),
        ("25", "a lower price answers"),
        ("30", "a lower price answers"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("K,A,,markup_pct,10,", "markup_pct of A has no cost"),
        ("K,A,,multiplier,1,PENNIES", "multiplier of A has no basis price: PENNIES: no entry"),
        ("K,A,,multiplier,1,STRICT", "has no basis price: STRICT: the quantity is below its first break"),
        ("FOREIGN,A,,net,10,", "no exchange rate from USD to EUR"),
    ],
)
def test_what_an_entry_lacks_is_said(tmp_path, row, reason) -> None:
    layers, books = TABLES["layers"] + "FIRST,0\n", TABLES["price_books"] + "FOREIGN,FIRST,USD,,,\n"
    entries = f"book_id,sku,min_quantity,method,value,basis\n{row}\nSTRICT,A,5,net,7,\nLAST,,,net,3,\n"
    tables = {**TABLES, "layers": layers, "price_books": books, "price_entries": entries}
    write_tables(tmp_path, tables)
    engine = PriceEngine(compile_prices(read_dataset(tmp_path).frames))

    assert _reasons(engine, "A", 1)[row.split(",")[0]].endswith(reason)
