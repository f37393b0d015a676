"""`price_per` of entries from the file to the arrays and back: its default, its limits, deltas and gates (P14)."""

from decimal import Decimal

import polars as pl
import pytest

from pricegrid.loaders.compile.decode import decode_entries
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.gates.asking import ask
from pricegrid.loaders.gates.gates import compare, gate_change
from pricegrid.loaders.gates.limits import Limits
from pricegrid.loaders.gates.sample import QUESTION
from pricegrid.loaders.gates.sample_change import compare_answers, example_text
from pricegrid.loaders.validate.tables import Dataset
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.model import PRICE_PER_MAX
from tests.load_tables import loaded, rejected

HEADER = "book_id, sku, method, value, price_per, basis"


def _of(*lines: str) -> Dataset:
    return loaded({"price_entries": "\n".join([HEADER, *lines])})


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("0", '"0" is not above zero'),
        ("-100", '"-100" is not above zero'),
        ("1.5", '"1.5" is not a whole number'),
        ("hundred", '"hundred" is not a whole number'),
        (str(PRICE_PER_MAX + 1), f'"{PRICE_PER_MAX + 1}" is more than {PRICE_PER_MAX}'),
    ],
)
def test_a_price_unit_that_cannot_be_used(cell: str, reason: str) -> None:
    [(_, column, told)] = rejected(_of(f"LIST, BOLT, net, 1, {cell},"), "price_entries")

    assert (column, told) == ("price_per", reason)


def test_a_blank_price_unit_is_one_or_that_of_the_basis_book() -> None:
    dataset = _of(
        "LIST, BOLT, net, 1, ,",
        "LIST, NUT, net, 1, 1000000,",
        "DEAL, BOLT, discount_pct, 5, , LIST",
        "DEAL, NUT, markup_pct, 5, ,",
        "DEAL, DRILL, discount_pct, 5, 1, LIST",
    )

    assert dataset.rejects == {}
    expected = [1, 1_000_000, None, 1, 1]
    assert dataset.frames["price_entries"]["price_per"].to_list() == expected
    decoded = decode_entries(compile_prices(dataset.frames)).sort("book_id", "sku", descending=[True, False])
    assert decoded["price_per"].to_list() == [1, 1_000_000, None, 1, 1]


def test_a_price_of_one_unit_takes_no_more_room_than_it_did() -> None:
    arrays = compile_prices(_of("LIST, BOLT, net, 1, 1,", "LIST, NUT, net, 1, ,").frames)
    of_many = compile_prices(_of("LIST, BOLT, net, 1, 100,").frames)

    assert (len(arrays["records"]), arrays["cell_value"].tolist()) == (0, [1_000_000] * 2)
    assert len(of_many["records"]) == 1


def test_rows_that_differ_in_their_price_unit_contradict_each_other() -> None:
    found = rejected(_of("LIST, BOLT, net, 1, 100,", "LIST, BOLT, net, 1, ,"), "price_entries")

    assert [column for _, column, _ in found] == ["price_per"] * 2


def test_the_gate_on_single_entries_compares_prices_of_one_unit() -> None:
    old, new, far = (
        _of(f"LIST, BOLT, net, {cells},").frames["price_entries"]
        for cells in ("12.35, 1000", "1.235, 100", "12.35, 100")
    )

    assert gate_change(old, new, Limits(max_change_pct=Decimal(0))).passed
    gate = gate_change(old, far, Limits(max_change_pct=Decimal(50)))
    assert not gate.passed
    assert "net 12.35 per 1000 to net 12.35 per 100" in gate.detail
    [row] = compare(old, new, 5)["rows"]
    assert (row["old"]["price_per"], row["new"]["price_per"]) == (1000, 100)


def test_the_sample_compares_prices_of_one_unit() -> None:
    old, same, far = (
        compile_prices(_of(f"LIST, BOLT, net, {cells},").frames)
        for cells in ("12.35, 1000", "1.235, 100", "12.35, 100")
    )
    questions = pl.DataFrame([("ACME", "", "BOLT", "", 1_000_000)], schema=QUESTION, orient="row")
    before, after, tenfold = (ask(arrays, questions, 0) for arrays in (old, same, far))
    books = ({"LIST": "EUR"}, {"LIST": "EUR"})

    assert compare_answers(questions, before, after, books, Decimal(0)).moved == 0
    change = compare_answers(questions, before, tenfold, books, Decimal(50))
    assert (change.up, change.moved) == (1, 1)
    assert "12.35 EUR per 1000 (LIST) -> 12.35 EUR per 100 (LIST)" in example_text(change.examples[0])


def test_the_packed_fields_of_a_record_do_not_overlap() -> None:
    assert PRICE_PER_MAX <= mx.PER_MASK
    assert mx.PACKED_ZERO_SHIFT + 1 == mx.PACKED_PER_SHIFT
    assert mx.PACKED_PER_SHIFT + mx.PER_MASK.bit_length() == mx.PACKED_BASIS_SHIFT
    assert (mx.BOOKS_MAX - 1 + mx.BASIS_BOOK) << mx.PACKED_BASIS_SHIFT < 2**63
