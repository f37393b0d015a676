"""What an answer must hold before it is used, as a table."""

from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pricegrid.erp.answer_cache import cached_price, price_key, price_value
from pricegrid.erp.protocol import LineFailure, PriceReply, Refusal, StockQuestion, StockReply
from pricegrid.erp.settings import CacheSettings, ValidationSettings
from pricegrid.erp.validation import (
    PriceCheck,
    RefusedError,
    ValidPrice,
    ValidStock,
    price_of_one_micros,
    valid_price,
    valid_stock,
)
from pricegrid.pricing_engine.engine import PriceAnswers
from pricegrid.pricing_engine.kernels.price import ANSWER_PRICE_PER, ANSWER_SIZE, ANSWER_UNIT_PRICE
from pricegrid.pricing_engine.model import NEVER_US, PriceQuestion

UTC = ZoneInfo("UTC")
QUESTION = PriceQuestion("C1", "A", 2_000_000, 0, "EA", "EUR")


def reply(price: str | None = "10", **changes) -> PriceReply:
    told = {"sku": "A", "customer_id": "C1", "uom": "EA", "currency": "EUR"} | changes
    return PriceReply(unit_price=None if price is None else Decimal(price), **told)


def outcome(answer, *, matrix: str | None = "10", quantity_micros: int = 2_000_000, **settings):
    question = PriceQuestion("C1", "A", quantity_micros, 0, "EA", "EUR")
    check = PriceCheck(question, None if matrix is None else int(Decimal(matrix) * 1_000_000))
    try:
        return valid_price(check, answer, ValidationSettings(**settings)).unit_price_micros
    except RefusedError as error:
        return error.reason


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("10"), 10_000_000),
        (reply("9.123456"), 9_123_456),
        (reply("1.00E+1"), 10_000_000),
        (reply("15"), 15_000_000),
        (reply("15.000001"), Refusal.BAND),
        (reply("5"), 5_000_000),
        (reply("4.999999"), Refusal.BAND),
        (reply("0"), Refusal.SIGN),
        (reply("-10"), Refusal.SIGN),
        (reply("9.1234567"), Refusal.PRECISION),
        (reply("1e-30"), Refusal.PRECISION),
        (reply("1e-999999"), Refusal.PRECISION),
        (reply("NaN"), Refusal.NOT_A_NUMBER),
        (reply("sNaN"), Refusal.NOT_A_NUMBER),
        (reply("Infinity"), Refusal.NOT_A_NUMBER),
        (reply("1e999999"), Refusal.RANGE),
        (reply("9223372036854.775808"), Refusal.RANGE),
        (reply(sku="B"), Refusal.OTHER_ITEM),
        (reply(customer_id="C2"), Refusal.OTHER_CUSTOMER),
        (reply(currency="USD"), Refusal.CURRENCY),
        (reply(uom="BOX"), Refusal.UNIT),
        (reply("NaN", sku="B"), Refusal.OTHER_ITEM),
        (reply(None), Refusal.NO_PRICE),
        (reply(sku=None, customer_id=None, uom=None, currency=None), 10_000_000),
        (LineFailure(Refusal.SCHEMA, "no row"), Refusal.SCHEMA),
    ],
    ids=str,
)
def test_answers_beside_a_matrix_price_of_10(answer, expected):
    assert outcome(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("123456"), 123_456_000_000),
        (reply(None), None),
        (reply(None, sku="B"), Refusal.OTHER_ITEM),
        (reply(None, currency="USD"), Refusal.CURRENCY),
        (reply(None, uom="BOX"), Refusal.UNIT),
        (reply("0"), Refusal.SIGN),
    ],
    ids=str,
)
def test_answers_without_a_matrix_price(answer, expected):
    assert outcome(answer, matrix=None) == expected


def test_the_highest_accepted_price_holds_without_a_matrix_price():
    highest = {"unit_price_max": {"EUR": Decimal(100)}}

    assert outcome(reply("100"), matrix=None, **highest) == 100_000_000
    assert outcome(reply("100.01"), matrix=None, **highest) == Refusal.BAND


def test_a_price_that_can_not_be_extended_is_out_of_range():
    assert outcome(reply("9000000"), matrix=None, quantity_micros=2_000_000_000_000) == Refusal.RANGE


def test_zero_may_be_allowed():
    assert outcome(reply("0"), matrix=None, zero_allowed=True) == 0


@pytest.mark.parametrize("name", ["customer", "currency", "uom"])
def test_an_echo_may_be_demanded(name):
    silent = reply(**{"customer_id" if name == "customer" else name: None})

    assert outcome(silent) == 10_000_000
    assert outcome(silent, **{f"echo_{name}": True}) == Refusal.NOT_ECHOED
    assert outcome(reply(), **{f"echo_{name}": True}) == 10_000_000


def test_the_sooner_end_holds():
    settings = ValidationSettings()
    told = PriceReply("A", "C1", "EA", "EUR", Decimal(10), valid_until_us=50)

    assert valid_price(PriceCheck(QUESTION, None, 70), told, settings) == ValidPrice(10_000_000, 50)
    assert valid_price(PriceCheck(QUESTION, None, 30), told, settings) == ValidPrice(10_000_000, 30)
    assert valid_price(PriceCheck(QUESTION), reply(), settings).valid_until_us == NEVER_US


NOON_US = 12 * 3_600_000_000
KEEPING = CacheSettings(ttl_s=300, last_known_s=86_400)


def kept_at(now_us: int, valid_until_us: int, asked: PriceQuestion = QUESTION):
    price = ValidPrice(10_000_000, valid_until_us)
    return price_value(price_key("erp", QUESTION, UTC), asked, price, KEEPING, now_us)


def test_a_cached_price_is_fresh_for_its_ttl_and_never_beyond_its_end():
    long, short = kept_at(NOON_US, NEVER_US), kept_at(NOON_US, NOON_US + 7)

    assert cached_price(long, QUESTION).fresh_until_us == NOON_US + 300_000_000
    assert long.expires_us == NOON_US + 86_400_000_000
    assert cached_price(short, QUESTION).fresh_until_us == short.expires_us == NOON_US + 7
    assert kept_at(NOON_US, NOON_US) is None, "over already: not to be kept"


@pytest.mark.parametrize(
    "change",
    [
        {"customer_id": "C2"},
        {"sku": "B"},
        {"uom": "BOX"},
        {"currency": "USD"},
        {"quantity_micros": 3_000_000},
        {"as_of_us": NOON_US + 7},
    ],
    ids=str,
)
def test_a_cached_price_answers_only_its_own_question(change):
    value = kept_at(NOON_US, NOON_US + 7)

    assert cached_price(value, QUESTION) is not None
    assert cached_price(value, replace(QUESTION, quantity_micros=-2_000_000)) is not None, (
        "returns pay the same"
    )
    assert cached_price(value, replace(QUESTION, **change)) is None


def test_a_value_of_another_format_is_none():
    value = kept_at(NOON_US, NEVER_US)

    assert (
        cached_price(replace(value, value=value.value.replace(b'"format": 1', b'"format": 2')), QUESTION)
        is None
    )
    assert cached_price(replace(value, value=b"\xff"), QUESTION) is None


def test_stock_is_signed_and_exact():
    question = StockQuestion("A", "HAM", 0)

    assert valid_stock(question, StockReply("A", "HAM", Decimal(-3), Decimal("1.5"))) == ValidStock(
        -3_000_000, 1_500_000
    )
    for told, reason in (
        (StockReply("B", "HAM", Decimal(1), Decimal(1)), Refusal.OTHER_ITEM),
        (StockReply("A", "RTM", Decimal(1), Decimal(1)), Refusal.OTHER_BRANCH),
        (StockReply("A", "HAM", Decimal("NaN"), Decimal(1)), Refusal.NOT_A_NUMBER),
        (StockReply("A", "HAM", Decimal(1), Decimal("1e30")), Refusal.RANGE),
    ):
        with pytest.raises(RefusedError) as caught:
            valid_stock(question, told)
        assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("price_micros", "price_per", "of_one_micros"),
    [
        (12_350_000, 1, 12_350_000),
        (12_350_000, 1000, 12_350),
        (1, 2, 1),
        (1, 3, 0),
        (35_000_000, 100, 350_000),
    ],
)
def test_a_price_of_many_units_is_compared_as_that_of_one(price_micros, price_per, of_one_micros):
    columns = np.zeros((1, ANSWER_SIZE), np.int64)
    columns[0, ANSWER_UNIT_PRICE], columns[0, ANSWER_PRICE_PER] = price_micros, price_per

    assert price_of_one_micros(PriceAnswers("EUR", columns), 0) == of_one_micros
