"""Mixed breaks: lines of one request that count together (P19), from the file to the client."""

from dataclasses import replace

import numpy as np
import pytest

from pricegrid import v1
from pricegrid.columnar.decimals import decimal_text
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.verify import verify_prices
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.results import mixed_prices, price_result
from pricegrid.service.codec.prices import mixed_messages
from tests.load_tables import loaded, rejected
from tests.price_tables import _question, ask_of, world

LADDER = "price list A 10\nprice list A 9 min=12\nprice list B 20\nprice list B 18 min=12\n"
ITEMS = "item B drills mix=combo\nitem C tools mix=combo\nbook list for everyone\n"
RATE = """
book rate
price rate * 100
price list drills discount=0 of=rate
price list tools discount=0 of=rate
price list drills discount=10 of=rate min=10
price list tools discount=10 of=rate min=10
"""
GRADUATED = """
item B drills mix=combo
book list breaks=graduated for everyone
price list B 10 min=1
price list B 8 min=10
"""
CASES = [
    # Eclipse: sell groups of one combination group count together, in a common unit
    (
        ITEMS
        + "unit C BOX 5\nprice list B 20\nprice list B 18 min=12\nprice list C 30\nprice list C 27 min=12\n",
        ["lone 7 B", "lone 1 BOX C"],
        ["18", "135"],
        [(0, 1), (0, 1)],
    ),
    # Dynamics: a multiline discount is by the sum of the lines of one multiline discount group
    (
        ITEMS + RATE,
        ["lone 5 B", "lone 5 C"],
        ["90", "90"],
        [(0, 1), (0, 1)],
    ),
    # returns count with returns, lines that fail count nowhere
    (
        ITEMS + LADDER,
        ["lone 6 B", "lone -6 B", "lone 0 B", "lone 6 PALLET B", "lone 5 B"],
        ["20", "20", None, None, "20"],
        [(0, 4), (), (), (), (0, 4)],
    ),
    # a book's group in place of the items', with every line that a book of the group has an entry for
    (
        "item B\nitem C\nbook list mix=promo for everyone\nbook more mix=promo for lone\n"
        + LADDER
        + "price more C 5\n",
        ["lone 6 A", "lone 3 B", "lone 3 C"],
        ["9", "18", "5"],
        [(0, 1, 2), (0, 1, 2), (0, 1, 2)],
    ),
    # a graduated ladder has the average of what counts
    (
        GRADUATED,
        ["lone 9 B", "lone 3 B"],
        ["9.5", "9.5"],
        [(0, 1), (0, 1)],
    ),
]


@pytest.mark.parametrize(("rows", "questions", "prices", "counted"), CASES)
def test_lines_of_one_group_count_together(rows, questions, prices, counted) -> None:
    engine = world(rows).engine
    asked = [_question(each)[0] for each in questions]
    head = ask_of(asked[0])
    ask = replace(
        head,
        skus=[each.sku.encode() for each in asked],
        quantities_micros=np.array([each.quantity_micros for each in asked]),
        uoms=[each.uom.encode() for each in asked],
    )

    answers = engine.price(ask)

    found = [decimal_text(int(price)) if price else None for price in answers.unit_price_micros]
    assert found == prices
    by_line = {line: each.mixed.lines for each in answers.mixed for line in each.priced_lines}
    assert [by_line.get(line, ()) for line in range(len(asked))] == counted
    for line, lines in enumerate(counted):
        explained = engine.explain(ask, line)
        assert explained["answer"]["unit_price"] == prices[line]
        assert explained.get("counted", {}).get("lines", []) == list(lines)


def test_what_counted_comes_to_the_client() -> None:
    engine: PriceEngine = world(ITEMS + LADDER).engine
    ask = ask_of(_question("lone 7 B")[0])
    answers = engine.price(
        replace(ask, skus=[b"B", b"A", b"B"], quantities_micros=np.array([7_000_000] * 3), uoms=[b""] * 3)
    )

    (message,) = mixed_messages(answers)
    assert (message.break_group, message.quantity_micros) == ("combo", 14_000_000)
    response = v1.PriceLinesResponse(results=[v1.PriceLineResult(status=1)] * 3, mixed_breaks=[message])
    assert [line.counted_lines for line in price_result(response).lines] == [(0, 2), (), (0, 2)]
    assert mixed_prices([], []) == ()


ITEM_ROWS = """
    sku,   base_uom, product_group, break_group
    BOLT,  EA,       TOOLS,
    NUT,   EA,       DRILLS,
    DRILL, EA,       DRILLS,        own
    SAW,   EA,       ,
    """
GROUP_ROWS = "product_group, parent, break_group\nTOOLS, , all\nDRILLS, TOOLS,"


def test_the_group_of_an_item_is_its_own_or_its_nearest_product_groups() -> None:
    arrays = compile_prices(loaded({"items": ITEM_ROWS, "product_groups": GROUP_ROWS}).frames)

    bolt, drill, nut, saw = range(4)
    groups = arrays["item_groups"]
    assert groups[[bolt, drill, nut, saw]].tolist() == [1, 2, 1, 0]
    verify_prices(arrays)
    for damaged, told in ((groups + 2, "no such break group"), (groups[:2], "not one for each item")):
        with pytest.raises(ValueError, match=told):
            verify_prices({**arrays, "item_groups": damaged})
    assert len(compile_prices(loaded().frames)["item_groups"]) == 0


def test_a_group_of_a_book_with_breaks_by_amount_is_rejected() -> None:
    books = (
        "book_id, layer, currency, break_group, break_on\nLIST, list, EUR, g, amount\nDEAL, contract, EUR, g,"
    )
    dataset = loaded({"price_books": books})

    ((_, column, reason),) = rejected(dataset, "price_books")
    assert (column, reason.partition(":")[0]) == ("break_group", "break_group and break_on amount")
    assert compile_prices(dataset.frames)["books"][0, mx.BOOK_BREAKS] == mx.GROUPED
