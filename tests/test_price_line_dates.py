"""Lines of one request with dates of their own (P20)."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from pricegrid import Line, v1
from pricegrid.columnar.decimals import decimal_text
from pricegrid.columnar.instants import day_number
from pricegrid.errors import InvalidRequestError
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.kernels.price import NO_AS_OF
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.pricing_engine.model import MICROS
from pricegrid.requests import availability_line_message, line_message
from pricegrid.service.cli.text import UsageError, parse_priced_line, read_lines
from pricegrid.service.codec.prices import decode_explain_price, decode_price_lines
from pricegrid.service.codec.request import dated_lines
from pricegrid.service.codec.scan_kernel import FIRST_DAY
from pricegrid.service.errors import Reason, RequestRefusedError
from tests.price_tables import instant_us, world

ROWS = """
book promo for site
book list for everyone
price promo A 80 from=2024-06-01 to=2024-06-30
price list A 100
cost A 5 EUR
cost A 8 EUR from=2024-07-01
book own for lone
price own A markup=100
"""
# what a basket of 15 June holds: the date of a line, '' for none, and its price
BASKET = [
    ("site", [("", "80"), ("2024-07-01", "100"), ("", "80"), ("2024-06-30T23:59:59Z", "80"), ("2024-05-31", "100")]),
    ("site", [("2024-05-31", "100"), ("", "80")]),
    ("lone", [("2024-07-01", "16"), ("", "10"), ("2024-06-30", "10")]),
]  # fmt: skip


@pytest.mark.parametrize(("customer", "lines"), BASKET)
def test_each_line_has_the_price_of_its_day(customer: str, lines: list[tuple[str, str]]) -> None:
    columns = LineColumns(
        [b"A"] * len(lines),
        np.full(len(lines), MICROS),
        [b""] * len(lines),
        np.array([instant_us(day) if day else NO_AS_OF for day, _ in lines]),
    )
    engine = world(ROWS).engine
    ask = PriceAsk.of(
        columns,
        customer_id=customer,
        currency="",
        branch="",
        as_of_us=instant_us("2024-06-15"),
        service_desk=True,
    )

    prices = [decimal_text(price) for price in engine.price(ask).unit_price_micros.tolist()]

    assert prices == [price for _, price in lines]
    assert [engine.explain(ask, line)["answer"]["unit_price"] for line in range(len(lines))] == prices


def test_a_grace_period_is_counted_from_the_day_of_the_line() -> None:
    at = world("policy grace_days=10\nbook own for site to=2024-06-30\nbook list for everyone\n"
               "price own A 90\nprice list A 100")  # fmt: skip
    columns = LineColumns([b"A"] * 3, np.full(3, MICROS), [b""] * 3)
    days = np.array([NO_AS_OF, instant_us("2024-07-05"), instant_us("2024-08-05")])
    ask = PriceAsk.of(
        columns.at(days),
        customer_id="site",
        currency="",
        branch="",
        as_of_us=instant_us("2024-06-15"),
        service_desk=True,
    )

    assert at.engine.price(ask).exception.tolist() == [0, 4, 0]


# -- on the way there -------------------------------------------------------------------------------------


def _request(*lines: v1.PriceLine) -> bytes:
    return v1.PriceLinesRequest(customer_id="C", lines=lines).SerializeToString()


def test_dates_become_the_first_instants_of_their_zone() -> None:
    lines = [v1.PriceLine(sku="A", as_of_date=day) for day in ("2024-07-01", "2024-01-01", "2024-07-01")]
    lines += [v1.PriceLine(sku="A"), v1.PriceLine(sku="A", as_of_time={"seconds": 7})]

    query = decode_price_lines(_request(*lines))
    known = dated_lines(query.lines, "Europe/Berlin")

    summer, winter = instant_us("2024-06-30T22:00:00Z"), instant_us("2023-12-31T23:00:00Z")
    assert known.as_of_us.tolist() == [summer, winter, summer, NO_AS_OF, 7 * MICROS]
    assert known.for_kernel()[1][:, 5].tolist() == known.as_of_us.tolist()


def test_the_runtime_and_the_scanner_say_the_same_of_a_line() -> None:
    line = v1.PriceLine(sku="A", as_of_date="2000-02-29")
    scanned = decode_price_lines(_request(line))
    decoded = decode_price_lines(_request(replace_sku(line, "Ä")))  # only the runtime reads it

    assert scanned.lines.as_of_us.tolist() == [FIRST_DAY + day_number(date(2000, 2, 29))]
    assert decoded.lines.as_of_us.tolist() == scanned.lines.as_of_us.tolist()


def replace_sku(line: v1.PriceLine, sku: str) -> v1.PriceLine:
    changed = v1.PriceLine()
    changed.CopyFrom(line)
    changed.sku = sku
    return changed


@pytest.mark.parametrize("day", ["2023-02-29", "2024-13-01", "20240101", "soon", ""])
def test_a_line_of_no_date_is_named(day: str) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        decode_price_lines(_request(v1.PriceLine(sku="A"), v1.PriceLine(sku="A", as_of_date=day)))

    assert refused.value.reason is Reason.INVALID_AS_OF
    assert refused.value.message.startswith("lines[1]: as_of_date is not a date")


def test_an_explanation_is_about_the_instant_of_its_line() -> None:
    request = v1.ExplainPriceRequest(customer_id="C", as_of_date="2024-01-01")
    request.line.CopyFrom(v1.PriceLine(sku="A", as_of_date="2024-07-01"))

    query = decode_explain_price(request.SerializeToString())

    assert query.as_of == date(2024, 7, 1)
    assert query.lines.as_of_us.tolist() == [NO_AS_OF]


def test_a_client_says_the_day_of_a_line() -> None:
    on_day = Line("A", as_of=date(2024, 7, 1))
    at_noon = Line("A", as_of=datetime(2024, 7, 1, 12, tzinfo=UTC))

    assert line_message(on_day).as_of_date == "2024-07-01"
    assert line_message(at_noon).as_of_time.ToMicroseconds() == instant_us("2024-07-01T12:00:00Z")
    with pytest.raises(InvalidRequestError, match="as_of needs a time zone"):
        line_message(replace(at_noon, as_of=datetime(2024, 7, 1)))  # noqa: DTZ001 - that is the fault
    with pytest.raises(InvalidRequestError, match="as_of of line 'A'"):
        availability_line_message(on_day)


def test_a_command_says_the_day_of_a_line(tmp_path) -> None:
    assert parse_priced_line("A:2:BOX:2024-07-01") == Line("A", 2, "BOX", date(2024, 7, 1))
    assert parse_priced_line("A:2::2024-07-01").as_of == date(2024, 7, 1)
    assert parse_priced_line("A:2::2024-07-01T12:00:00Z").as_of == datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert parse_priced_line("A:2:a:b") == Line("A", 2, "a:b")
    file = tmp_path / "lines.csv"
    file.write_text("sku,quantity,as_of\nA,2,2024-07-01\nB,1,\n")
    assert read_lines(file) == [Line("A", 2, "", date(2024, 7, 1)), Line("B", 1)]
    file.write_text("sku,as_of\nA,soon\n")
    with pytest.raises(UsageError, match="line 2: 'soon' is neither a date"):
        read_lines(file)
