"""Tryton's price lists as ladders: formulas, first match wins, dates, breaks, parents."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from pricegrid.erp.tryton_prices import (
    ListedItem,
    ListLine,
    NotExtractableError,
    PriceList,
    evaluate,
    ladders,
)

ITEM = ListedItem(1, Decimal("10.05"), Decimal("4.1"), frozenset({7, 1}), Fraction(12))
NAMES = {"list_price": Decimal("10.05"), "cost_price": Decimal("4.1"), "unit_price": None}


def price_list(*lines: tuple, parent: PriceList | None = None, **fields) -> PriceList:
    made = [ListLine(n, formula, **more) for n, (formula, more) in enumerate(lines, 1)]
    told = {"in_sale_unit": False, "unit_price": "list_price"} | fields
    return PriceList(1, "L", lines=made, parent=parent, **told)


def rungs(listed: PriceList) -> list[tuple]:
    return [(r.minimum, r.price, r.line, r.start, r.end) for r in ladders(listed, ITEM)]


@pytest.mark.parametrize(
    ("formula", "price"),
    [
        ("10", "10.0000"),
        ("list_price * 0.9333", "9.3797"),
        ("list_price / 1.07", "9.3925"),
        ("-cost_price + 2 * list_price", "16.0000"),
        ("Decimal('1.00005')", "1.0000"),
        ("1.00015", "1.0002"),
        ("list_price if list_price > cost_price * 2 else 1", "10.0500"),
        ("unit_price * 2", None),
        ("(list_price - cost_price) * .5", "2.9750"),
    ],
)
def test_formulas_round_to_four_decimals_half_to_even(formula, price):
    assert evaluate(formula, NAMES) == (None if price is None else Decimal(price))


@pytest.mark.parametrize(
    "formula",
    ["list_price % 5", "max(list_price, 3)", "list_price ** 2", "__import__('os')", "1 +", "1 / 0", "what"],
)
def test_what_only_tryton_works_out_is_said(formula):
    with pytest.raises(NotExtractableError, match="formula"):
        evaluate(formula, NAMES)


def test_the_first_line_that_matches_wins_so_order_decides():
    right = price_list(("8", {"quantity": Decimal(12)}), ("9", {}))
    wrong = price_list(("9", {}), ("8", {"quantity": Decimal(12)}))

    assert rungs(right) == [(0, 9, 2, None, None), (12, 8, 1, None, None)]
    assert rungs(wrong) == [(0, 9, 1, None, None)]


def test_lines_of_other_items_and_categories_do_not_count():
    listed = price_list(("1", {"product": 2}), ("2", {"category": 3}), ("3", {"category": 7}), ("4", {}))

    assert rungs(listed) == [(0, 3, 3, None, None)]


def test_dated_lines_cut_time_into_pieces_both_ends_included():
    first, last = date(2026, 3, 10), date(2026, 3, 20)
    listed = price_list(("8", {"start": first, "end": last}), ("9", {}))

    assert rungs(listed) == [
        (0, 9, 2, None, date(2026, 3, 9)),
        (0, 8, 1, first, last),
        (0, 9, 2, date(2026, 3, 21), None),
    ]


def test_breaks_in_the_sale_unit_are_counted_in_the_default_unit():
    listed = price_list(("8", {"quantity": Decimal("2.5")}), ("9", {}), in_sale_unit=True)

    assert rungs(listed) == [(0, 9, 2, None, None), (30, 8, 1, None, None)]


def test_a_parent_is_asked_for_the_same_quantity_and_day():
    parent = price_list(("5", {"quantity": Decimal(10)}), ("6", {}))
    listed = price_list(("parent_unit_price * 0.5", {}), parent=parent)

    assert [(r.minimum, r.price) for r in ladders(listed, ITEM)] == [(0, 3), (10, Decimal("2.5"))]


def test_a_list_that_begins_at_a_break_has_no_price_below():
    assert rungs(price_list(("8", {"quantity": Decimal(5)}))) == [(5, 8, 1, None, None)]
    assert rungs(price_list(("8", {"product": 2}))) == []


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (
            price_list(("unit_price", {"quantity": Decimal(5)}), ("9", {}), unit_price=None),
            "stops giving a price",
        ),
        (price_list(("-1", {})), "below 0"),
        (price_list(("1", {"quantity": Decimal("0.0000001")})), "finer than"),
    ],
)
def test_what_no_dataset_can_hold_is_said(listed, why):
    with pytest.raises(NotExtractableError, match=why):
        ladders(listed, ITEM)


def test_lists_that_are_their_own_ancestors_are_refused():
    loop = price_list(("parent_unit_price", {}))
    object.__setattr__(loop, "parent", loop)

    with pytest.raises(NotExtractableError, match="lead back"):
        ladders(loop, ITEM)
