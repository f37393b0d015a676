"""A unit, an order multiple or a smallest shipment that leaves nothing to promise says so (never `OK` and no more)."""

from fractions import Fraction

import numpy as np
import pytest

from pricegrid.atp.model import MICROS, AvailabilityStatus, CheckAsk, Limit, PromiseAsk, PromisePolicy
from pricegrid.atp.rules.limited import LineTerms, limit_of, whole_limit
from pricegrid.atp.rules.rows import Item, Receipt
from tests.atp_world import at, engine_of, q, world


@pytest.mark.parametrize(
    ("asked", "unit", "multiple", "minimum", "free", "limit"),
    [
        (5, None, 0, 0, 7, Limit.NONE),
        (5, None, 0, 0, 0, Limit.NONE),
        (5, Fraction(10), 0, 0, 7, Limit.UNIT),
        (5, Fraction(10), 0, 0, 10, Limit.NONE),
        (15, None, 10, 0, 7, Limit.ORDER_MULTIPLE),
        (5, None, 10, 0, 700, Limit.ORDER_MULTIPLE),
        (15, None, 10, 0, 10, Limit.NONE),
        (5, Fraction(4), 6, 0, 11, Limit.ORDER_MULTIPLE),
        (5, Fraction(4), 6, 0, 12, Limit.NONE),
        (20, None, 0, 8, 7, Limit.MINIMUM_SHIPMENT),
        (5, None, 0, 8, 5, Limit.NONE),
        (20, None, 4, 6, 7, Limit.MINIMUM_SHIPMENT),
    ],
)
def test_why_nothing_of_what_is_free_can_be_promised(asked, unit, multiple, minimum, free, limit):
    line = LineTerms(q(asked), unit or Fraction(1), unit is not None, q(multiple), q(minimum))

    assert limit_of(line, q(free)) is limit


def test_a_quantity_that_can_never_be_promised_in_full_says_why():
    assert (
        whole_limit(LineTerms(MICROS // 2, Fraction(10), is_unit_asked=True, multiple_micros=0)) is Limit.UNIT
    )
    assert (
        whole_limit(LineTerms(q(15), Fraction(1), is_unit_asked=False, multiple_micros=q(10)))
        is Limit.ORDER_MULTIPLE
    )
    assert (
        whole_limit(LineTerms(q(20), Fraction(1), is_unit_asked=False, multiple_micros=q(10))) is Limit.NONE
    )


def rows_of():
    rows = world(A=7, B=7, C=7, D=0)
    rows.items["B"] = Item("B", "PC", q(10))
    rows.items["D"] = Item("D", "PC", q(10))
    rows.receipts["D", "MAIN"] = [Receipt(q(7), at(3))]
    rows.uoms["A", "BOX"] = Fraction(10)
    return rows


QUESTION = {
    "as_of_us": at(0),
    "skus": [b"A", b"B", b"C", b"D"],
    "quantities_micros": np.array([q(2), q(20), q(20), q(20)]),
    "uoms": [b"BOX", b"", b"", b""],
    "branches": [b"MAIN"],
}


def test_the_engine_says_it_of_what_is_available():
    found = engine_of(rows_of()).check(CheckAsk(**QUESTION))

    assert found.limit.tolist() == [Limit.UNIT, Limit.ORDER_MULTIPLE, Limit.NONE, Limit.NONE]


def test_the_engine_says_it_of_a_promise_also_of_what_comes_later():
    promised = engine_of(rows_of()).promise(
        PromiseAsk(**QUESTION, policy=PromisePolicy(minimum_shipment_micros=q(8)))
    )

    assert promised.status.tolist() == [AvailabilityStatus.OK] * 4
    assert promised.limit.tolist() == [
        Limit.UNIT,
        Limit.ORDER_MULTIPLE,
        Limit.MINIMUM_SHIPMENT,
        Limit.ORDER_MULTIPLE,
    ]


def test_what_is_promised_needs_no_reason():
    engine = engine_of(world(A=7))
    ask = {**QUESTION, "skus": [b"A"], "quantities_micros": np.array([q(9)]), "uoms": [b""]}

    assert engine.check(CheckAsk(**ask)).limit is None
    assert engine.promise(PromiseAsk(**ask)).limit is None
