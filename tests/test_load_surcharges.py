"""Amounts off, surcharges and price endings from the file to the arrays: rejects, deltas, what is verified (P16)."""

import pytest

from pricegrid.loaders.compile.decode import decode_entries
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.validate.tables import validate_delta
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.verify import verify_prices
from pricegrid.pricing_engine.model import Mode
from tests.load_tables import loaded, rejected, table

LAYERS = "layer, rank, mode\nextra, 0, add\ncontract, 1, first\nlist, 2, first"
BOOKS = """
    book_id, layer,    currency
    LIST,    list,     EUR
    DEAL,    contract, EUR
    FUEL,    extra,    EUR
    """
HEADER = "book_id, sku, method, value, basis"
TABLES = {"layers": LAYERS, "price_books": BOOKS, "agreements": "book_id, everyone\nLIST, true\nFUEL, true"}
GOOD = ("LIST, BOLT, net, 12.50,", "DEAL, BOLT, amount_off, 2, LIST", "FUEL, BOLT, surcharge_pct, 2,")


def _entries(*lines: str) -> dict[str, str]:
    return {**TABLES, "price_entries": "\n".join([HEADER, *lines])}


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ("DEAL, BOLT, amount_off, -1, LIST", "value", "is negative"),
        ("DEAL, BOLT, amount_off, 1,", "basis", "amount_off needs a basis book"),
        ("FUEL, BOLT, surcharge_pct, -2,", "value", "what is taken off is an amount_off"),
        ("FUEL, BOLT, surcharge_amount, 2, LIST", "basis", "on the price that answers"),
        ("LIST, BOLT, surcharge_pct, 2,", "method", "needs a book in a layer of mode add"),
        ("FUEL, BOLT, net, 2,", "method", "is in a book of surcharges"),
        ("DEAL, BOLT, discount_pct, 2, FUEL", "basis", "is a book of surcharges"),
    ],
)
def test_terms_that_say_nothing_sensible_are_rejected(line: str, column: str, reason: str) -> None:
    found = rejected(loaded(_entries(line)), "price_entries")

    assert [where for _, where, _ in found] == [column]
    assert reason in found[0][2]
    delta = DeltaBase(compile_prices(loaded(_entries(*GOOD)).frames))
    again = rejected(validate_delta(table(f"{HEADER}\n{line}"), delta.known_names), "price_entries")
    assert [where for _, where, _ in again] == [column]


def test_terms_come_back_and_layers_that_add_stand_last() -> None:
    arrays = compile_prices(loaded(_entries(*GOOD)).frames)

    assert arrays["layers"][:, mx.LAYER_MODE].tolist() == [Mode.FIRST, Mode.FIRST, Mode.ADD]
    decoded = decode_entries(arrays).sort("book_id").select("book_id", "method", "price_per", "basis").rows()
    assert decoded == [
        ("DEAL", "amount_off", None, "LIST"),
        ("FUEL", "surcharge_pct", 1, None),
        ("LIST", "net", 1, None),
    ]
    verify_prices(arrays)


@pytest.mark.parametrize(
    ("ending", "increment", "expected"),
    [
        ("0.99", "", (1_000_000, 990_000)),
        ("9", "", (10_000_000, 9_000_000)),
        ("0.1", "", (1_000_000, 100_000)),
        ("0.000001", "", (10, 1)),
        ("0.49", "0.5", (500_000, 490_000)),
        ("", "", (1, 0)),
        ("0", "1", (1_000_000, 0)),
    ],
)
def test_an_increment_that_is_not_given_follows_from_the_ending(
    ending: str, increment: str, expected: tuple[int, int]
) -> None:
    books = (
        f"book_id, layer, currency, rounding_increment, price_ending\nLIST, list, EUR, {increment}, {ending}"
    )
    arrays = compile_prices(loaded({"price_books": books}, drop=["agreements"]).frames)

    assert tuple(arrays["books"][0, [mx.BOOK_INCREMENT, mx.BOOK_ENDING]].tolist()) == expected


@pytest.mark.parametrize(
    ("ending", "reason"), [("0.5", "is not below rounding_increment"), ("-1", "is negative"), ("x", "number")]
)
def test_an_ending_that_no_price_has_is_rejected(ending: str, reason: str) -> None:
    books = f"book_id, layer, currency, rounding_increment, price_ending\nLIST, list, EUR, 0.5, {ending}"

    ((_, column, why),) = rejected(loaded({"price_books": books}, drop=["agreements"]), "price_books")

    assert column == "price_ending"
    assert reason in why


def test_a_net_price_below_the_ending_is_rounded_up_to_it_and_no_reject() -> None:
    books = "book_id, layer, currency, rounding_increment, rounding_mode, price_ending\nLIST, list, EUR, 1, down, 0.99"
    rows = "book_id, sku, method, value\nLIST, BOLT, net, 0.2"
    dataset = loaded({"price_books": books, "price_entries": rows}, drop=["agreements"])

    assert rejected(dataset, "price_entries") == []
    base = DeltaBase(compile_prices(dataset.frames))
    assert rejected(validate_delta(table(rows), base.known_names), "price_entries") == []


@pytest.mark.parametrize(
    ("array", "row", "column", "value", "told"),
    [
        ("layers", 0, mx.LAYER_MODE, Mode.ADD, "layers: surcharges before prices"),
        ("books", 0, mx.BOOK_ENDING, 1, "books: a price ending too long"),
        ("records", 0, mx.RECORD_VALUE, -1, "cell_value, row"),
    ],
)
def test_damage_is_found_when_a_snapshot_is_opened(
    array: str, row: int, column: int, value: int, told: str
) -> None:
    arrays = compile_prices(loaded(_entries(*GOOD)).frames)
    arrays[array] = arrays[array].copy()
    arrays[array][row, column] = value

    with pytest.raises(ValueError, match=told):
        verify_prices(arrays)
