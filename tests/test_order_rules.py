"""The rules of orders as tables (docs/orders.md): prices expected, quantities, short lines, totals."""

from fractions import Fraction

import pytest

from pricegrid.service.orders import rules
from pricegrid.service.orders.model import (
    Beyond,
    Kind,
    Line,
    LineFacts,
    Policy,
    Price,
    Rounding,
    Severity,
    Short,
    Tolerance,
)

M = 1_000_000
EDI1 = Policy(unit=Tolerance(50_000, 50_000))
"""Five cents a unit."""
EDI2 = Policy(line=Tolerance(M, M))
"""One a line."""


def micros(text: str) -> int:
    amount = Fraction(text) * M
    assert amount.denominator == 1
    return amount.numerator


def line(quantity: str = "1", expected: str = "", per: int = 1) -> Line:
    price = Price(micros(expected), per) if expected else None
    return Line(micros(quantity), price, micros(quantity))


def facts(ours: str = "10", per: int = 1, **more: object) -> LineFacts:
    return LineFacts("OK", Price(micros(ours), per), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "quantity", "ours", "expected", "severity"),
    [
        pytest.param(EDI1, "1", "10", "10.05", Severity.INFO, id="EDI1: 5 cents more are within"),
        pytest.param(EDI1, "1", "10", "9.95", Severity.INFO, id="EDI1: 5 cents less are within"),
        pytest.param(EDI1, "1", "10", "10.06", Severity.HOLD, id="EDI1: 6 cents are not"),
        pytest.param(EDI1, "1", "10", "10.050001", Severity.HOLD, id="EDI1: a millionth beyond is beyond"),
        pytest.param(EDI2, "100", "10", "10.005", Severity.INFO, id="EDI2: 0.50 a line is within"),
        pytest.param(EDI2, "100", "10", "10.01", Severity.INFO, id="EDI2: 1.00 a line is within"),
        pytest.param(EDI2, "100", "10", "10.011", Severity.HOLD, id="EDI2: 1.10 a line is not"),
        pytest.param(
            Policy(), "1", "10", "10.000001", Severity.HOLD, id="without a tolerance nothing is within"
        ),
        pytest.param(
            Policy(unit=Tolerance(up_micros=50_000)),
            "1",
            "10",
            "1",
            Severity.INFO,
            id="what is not set is no limit",
        ),
        pytest.param(
            Policy(percent=Tolerance(M, M)), "1", "200", "198", Severity.INFO, id="1 % less is within 1 %"
        ),
        pytest.param(
            Policy(percent=Tolerance(M, M)), "1", "200", "197.99", Severity.HOLD, id="more than 1 % is not"
        ),
        pytest.param(
            Policy(percent=Tolerance(M, M)), "1", "0", "1", Severity.HOLD, id="no per cent of a price of 0"
        ),
        pytest.param(
            Policy(unit=Tolerance(M, M), line=Tolerance(M, M)),
            "10",
            "10",
            "10.5",
            Severity.HOLD,
            id="all must hold",
        ),
        pytest.param(Policy(beyond=Beyond.REPRICE), "1", "10", "9", Severity.WARNING, id="repriced"),
        pytest.param(Policy(beyond=Beyond.REJECT), "1", "10", "9", Severity.REJECT, id="rejected"),
    ],
)
def test_a_price_expected_is_compared_with_ours(policy, quantity, ours, expected, severity):
    checked = line(quantity, expected)

    rules.check_price(checked, facts(ours), policy)

    [told] = checked.differences
    assert (told.kind, told.severity, told.rule) == (Kind.PRICE, severity, "O3")
    agreed = {Severity.INFO: ours, Severity.WARNING: ours}.get(severity)
    assert checked.agreed == (None if agreed is None else Price(micros(agreed)))


@pytest.mark.parametrize(
    ("expected", "ours", "difference"),
    [
        pytest.param(Price(35 * M, 100), Price(350_000), 0, id="35 per hundred is 0.35 each"),
        pytest.param(
            Price(10 * M, 3), Price(3_333_333), 1, id="3 for 10.00 is a millionth more than 3 at 3.333333"
        ),
        pytest.param(
            Price(3_333_333), Price(10 * M, 3), Fraction(-1, 3), id="and one of them a third of it less"
        ),
        pytest.param(
            Price(12_350_000, 1000), Price(1_235_000, 100), 0, id="12.35 per thousand is 1.235 per hundred"
        ),
    ],
)
def test_a_difference_is_exact(expected, ours, difference):
    assert rules.price_difference(expected, ours) == difference


def test_a_difference_is_told_in_the_units_of_the_prices():
    checked = line("300", "36", per=100)

    rules.check_price(checked, facts("0.35"), Policy(line=Tolerance(5 * M, 5 * M)))

    assert (checked.differences[0].expected, checked.differences[0].ours) == ("36 per 100", "0.35")
    assert checked.differences[0].severity is Severity.INFO


def test_the_buyers_price_holds_if_the_policy_says_so_but_never_below_the_floor():
    theirs = Policy(unit=Tolerance(M, M), accepts_theirs=True)
    plain, lifted, dearer = line("1", "9.5"), line("1", "9.5"), line("1", "10.5")

    rules.check_price(plain, facts("10"), theirs)
    rules.check_price(lifted, facts("10", floor_lifted=True), theirs)
    rules.check_price(dearer, facts("10", floor_lifted=True), theirs)

    assert [each.agreed for each in (plain, lifted, dearer)] == [
        Price(9_500_000),
        Price(10 * M),
        Price(10_500_000),
    ]
    assert [each.verdict for each in (plain, lifted)] == [Severity.INFO, Severity.WARNING]


def test_no_price_expected_gets_ours_and_an_unconfirmed_one_is_told():
    checked = line()

    rules.check_price(checked, facts(is_unconfirmed=True), Policy(unconfirmed=Severity.HOLD))

    assert [(each.kind, each.severity) for each in checked.differences] == [
        (Kind.UNCONFIRMED, Severity.HOLD),
        (Kind.PRICE_MISSING, Severity.INFO),
    ]
    assert checked.agreed is None  # a person must look at it


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("UNKNOWN_ITEM", Kind.ITEM),
        ("NOT_ENTITLED", Kind.ITEM),
        ("AMBIGUOUS_ITEM", Kind.AMBIGUOUS_ITEM),
        ("UNKNOWN_UOM", Kind.UNIT),
        ("INVALID_QUANTITY", Kind.QUANTITY),
        ("BELOW_MINIMUM", Kind.QUANTITY),
        ("NO_PRICE", Kind.NO_PRICE),
        ("ERP_UNAVAILABLE", Kind.NO_PRICE),
    ],
)
def test_a_line_without_a_price_is_rejected_for_its_reason(status, kind):
    checked = line("5", "1")

    rules.check_price(checked, LineFacts(status), Policy())
    rules.check_short(checked, 5 * M, 5 * M, Policy())

    assert [(each.kind, each.severity) for each in checked.differences] == [(kind, Severity.REJECT)]
    assert (checked.quantity_micros, checked.confirmed_micros) == (0, 0)


def test_a_return_is_no_order():
    checked = line("-1")

    rules.check_price(checked, facts(), Policy())

    assert [(each.kind, each.ours) for each in checked.differences] == [(Kind.QUANTITY, "more than 0")]


@pytest.mark.parametrize(
    ("asked", "multiple", "rounding", "taken"),
    [
        ("7", "5", Rounding.REJECT, "0"),
        ("7", "5", Rounding.DOWN, "5"),
        ("7", "5", Rounding.UP, "10"),
        ("7", "5", Rounding.NEAREST, "5"),
        ("7.5", "5", Rounding.NEAREST, "10"),
        ("3", "5", Rounding.DOWN, "0"),
        ("10", "5", Rounding.REJECT, "10"),
        ("0.3", "0.1", Rounding.REJECT, "0.3"),
        ("1", "1/3", Rounding.REJECT, "1"),
        ("1.5", "1/3", Rounding.UP, "0"),
    ],
)
def test_a_quantity_that_breaks_the_order_multiple(asked, multiple, rounding, taken):
    checked = line(asked)

    rules.round_quantity(checked, Fraction(multiple) * M, rounding)

    assert checked.quantity_micros == micros(taken)
    assert bool(checked.differences) == (taken != asked)
    assert all(each.kind is Kind.MULTIPLE and each.rule == "O5" for each in checked.differences)


@pytest.mark.parametrize(
    ("short", "confirmed", "backordered", "verdict", "ours"),
    [
        (Short.CUT, "30", "0", Severity.WARNING, "30"),
        (Short.BACKORDER_REST, "30", "20", Severity.WARNING, "30, 20 with dates"),
        (Short.BACKORDER_LINE, "0", "50", Severity.WARNING, "30"),
        (Short.REJECT_LINE, "0", "0", Severity.REJECT, "30"),
        (Short.SHIP_COMPLETE, "50", "0", Severity.INFO, ""),
    ],
)
def test_on_hand_40_less_10_allocated_and_50_ordered(short, confirmed, backordered, verdict, ours):
    """Another 20 come later."""
    checked = line("50")

    rules.check_short(checked, 30 * M, 50 * M, Policy(short=short))

    assert (checked.confirmed_micros, checked.backordered_micros) == (micros(confirmed), micros(backordered))
    assert checked.verdict is verdict
    assert [each.ours for each in checked.differences] == ([ours] if ours else [])


def test_nothing_to_cut_to_is_a_rejection():
    checked = line("50")

    rules.check_short(checked, 0, 50 * M, Policy())

    assert checked.is_rejected


def test_a_bad_line_spoils_the_others_only_where_all_are_shipped_together():
    for short, verdicts in ((Short.CUT, [False, True]), (Short.SHIP_COMPLETE, [True, True])):
        good, bad = line("1"), line("1")
        bad.reject(Kind.ITEM, "O2")

        rules.spoil_incomplete([good, bad], Policy(short=short))

        assert [good.is_rejected, bad.is_rejected] == verdicts


@pytest.mark.parametrize(
    ("quantity", "agreed", "minor", "extended"),
    [
        ("3", Price(10 * M, 3), 10_000, "10"),
        ("1", Price(5_000), 10_000, "0.01"),
        ("1", Price(4_999), 10_000, "0"),
        ("2.5", Price(1_500_000), M, "4"),
    ],
)
def test_what_is_accepted_is_rounded_once(quantity, agreed, minor, extended):
    accepted = line(quantity)
    accepted.agreed = agreed

    assert rules.extended_micros(accepted, minor) == micros(extended)


@pytest.mark.parametrize(
    ("total", "expected", "policy", "fee", "told"),
    [
        ("100", "100", Policy(), "0", []),
        ("100", None, Policy(), "0", []),
        ("100", "101", Policy(), "0", [(Kind.TOTAL, Severity.HOLD)]),
        ("100", "101", Policy(order=Tolerance(M, M)), "0", [(Kind.TOTAL, Severity.INFO)]),
        (
            "100",
            "99",
            Policy(order=Tolerance(M, 0), beyond=Beyond.REPRICE),
            "0",
            [(Kind.TOTAL, Severity.WARNING)],
        ),
        ("49.99", None, Policy(minimum_total_micros=50 * M), "0", [(Kind.VALUE, Severity.REJECT)]),
        ("50", None, Policy(minimum_total_micros=50 * M), "0", []),
        (
            "40",
            "45",
            Policy(minimum_total_micros=50 * M, small_order_fee_micros=5 * M),
            "5",
            [(Kind.VALUE, Severity.WARNING)],
        ),
        ("500", None, Policy(maximum_total_micros=499 * M), "0", [(Kind.VALUE, Severity.HOLD)]),
    ],
)
def test_the_value_of_an_order(total, expected, policy, fee, told):
    found, differences = rules.check_total(micros(total), micros(expected) if expected else None, policy)

    assert found == micros(fee)
    assert [(each.kind, each.severity) for each in differences] == told
    assert {each.rule for each in differences} <= {"O7"}


def test_a_verdict_is_the_gravest():
    held, good = line("1"), line("1")
    held.note(Kind.PRICE, Severity.HOLD, "O3")

    assert rules.order_verdict([good], []) is Severity.INFO
    assert rules.order_verdict([good, held], []) is Severity.HOLD
