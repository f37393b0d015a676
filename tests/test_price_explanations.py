"""An explanation says of every book why it gave no price, and of every entry that was passed over why (P12)."""

from pathlib import Path

import numpy as np
import pytest

from loaders.compile_prices import compile_prices
from loaders.errors import DatasetError
from loaders.validate import read_dataset
from pricing_engine.engine import PriceAsk, PriceEngine
from pricing_engine.model import MICROS

TABLES = {
    "items": "sku,base_uom\nA,EA\nB,EA\n",
    "layers": "layer,rank\nL,1\nL2,2\n",
    "price_books": "book_id,layer,currency,rounding_increment,rounding_mode,below_minimum\n"
    "K,L,EUR,,,\nPENNIES,L,EUR,0.05,down,\nSTRICT,L,EUR,,,no_price\nLAST,L2,EUR,,,\n",
    "price_entries": "book_id,sku,min_quantity,method,value\n"
    "K,A,,markup_pct,10\nK,,10,net,8\nPENNIES,B,,net,0.04\nSTRICT,A,5,net,7\nLAST,,,net,3\n",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> PriceEngine:
    folder = tmp_path_factory.mktemp("explained")
    for name, text in TABLES.items():
        (folder / f"{name}.csv").write_text(text)
    return PriceEngine(compile_prices(read_dataset(folder).frames))


def _reasons(engine: PriceEngine, sku: str, quantity: int) -> dict[str, str]:
    ask = PriceAsk("", "EUR", "", 0, [sku.encode()], np.array([quantity * MICROS]), [b""])
    layers = engine.explain(ask, 0)["layers"]
    return {row["book_id"]: row["reason"] for layer in layers for row in layer["candidates"]}


def test_a_price_that_rounds_to_zero_is_named(engine) -> None:
    reasons = _reasons(engine, "B", 1)

    assert reasons["PENNIES"] == "net of B rounds to zero without explicit_zero"
    assert reasons["LAST"] == "answers"


def test_an_entry_that_was_passed_over_is_named(engine) -> None:
    no_cost = "markup_pct of A has no cost, basis price or rate, or is zero without explicit_zero"

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
