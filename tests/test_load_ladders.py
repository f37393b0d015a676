"""`break_mode` and `break_on` of books from the file to the arrays: rejects, deltas, what is verified (P19)."""

import numpy as np
import pytest

from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.validate.tables import validate_delta
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.verify import verify_prices
from tests.load_tables import loaded, rejected, table

LAYERS = "layer, rank, mode, ladder\ncontract, 1, first, owner\nlist, 2, first, merge\nextra, 3, add, owner"
HEADER = "book_id, sku, min_quantity, method, value, basis"
ENTRIES = f"{HEADER}\nLIST, BOLT, 10, net, 12.50,\nDEAL, BOLT, 100, discount_pct, 5, LIST"


def _books(*lines: str) -> dict[str, str]:
    books = "\n".join(["book_id, layer, currency, break_mode, break_on", "LIST, list, EUR, ,", *lines])
    return {"layers": LAYERS, "price_books": books, "agreements": "book_id, everyone\nLIST, true"}


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ("DEAL, contract, EUR, graduated, amount", "break_mode", "a slice has no amount of its own"),
        ("DEAL, list, EUR, graduated,", "break_mode", "merged ladders"),
        ("DEAL, list, EUR, , amount", "break_on", "merged ladders"),
        ("DEAL, extra, EUR, graduated,", "break_mode", "mode add"),
        ("DEAL, contract, EUR, tiered,", "break_mode", "is not one of volume, graduated"),
    ],
)
def test_a_book_whose_ladder_nobody_could_read_is_rejected(line: str, column: str, reason: str) -> None:
    found = rejected(loaded({**_books(line), "price_entries": ENTRIES}), "price_books")

    assert [where for _, where, _ in found] == [column]
    assert reason in found[0][2]


@pytest.mark.parametrize(
    ("line", "is_rejected"),
    [
        ("DEAL, BOLT, 100, net, 5,", True),
        ("DEAL, BOLT, 100, markup_pct, 5, cost", True),
        ("DEAL, BOLT, , net, 5,", False),
        ("DEAL, BOLT, 100, discount_pct, 5, LIST", False),
        ("LIST, BOLT, 100, net, 5,", False),
    ],
)
def test_an_amount_needs_a_basis_book_that_says_what_a_line_amounts_to(line: str, is_rejected: bool) -> None:
    tables = _books("DEAL, contract, EUR, , amount")
    base = DeltaBase(compile_prices(loaded({**tables, "price_entries": ENTRIES}).frames))

    for found in (
        rejected(loaded({**tables, "price_entries": f"{HEADER}\n{line}"}), "price_entries"),
        rejected(validate_delta(table(f"{HEADER}\n{line}"), base.known_names), "price_entries"),
    ):
        assert [where for _, where, _ in found] == ["min_quantity"] * is_rejected
        assert all('"100" is an amount' in reason for _, _, reason in found)


def test_both_kinds_of_ladders_come_to_the_arrays() -> None:
    tables = _books("DEAL, contract, EUR, , amount", "SLICES, contract, EUR, graduated, quantity")
    arrays = compile_prices(loaded({**tables, "price_entries": ENTRIES}).frames)

    assert arrays["books"][:, mx.BOOK_BREAKS].tolist() == [mx.ON_AMOUNT, 0, mx.GRADUATED]
    verify_prices(arrays)
    arrays["books"] = arrays["books"].copy()
    arrays["books"][1, mx.BOOK_BREAKS] = np.int64(2 * mx.GROUPED)
    with pytest.raises(ValueError, match="books, row 1"):
        verify_prices(arrays)
