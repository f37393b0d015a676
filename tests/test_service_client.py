"""The client's own part: numbers in and out, and errors by their reason."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

import pricegrid
from pricegrid import Client, Line, v1
from pricegrid.requests import quantity_micros, set_as_of
from pricegrid.results import decimal_from_micros, instant_from_us
from pricegrid.service.rpc.in_process import InProcessChannel
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot

QUANTITIES = [
    (1, 1_000_000),
    (Decimal("2.5"), 2_500_000),
    (Decimal("-0.000001"), -1),
    (Decimal("1E+3"), 1_000_000_000),
    (Decimal("9223372036854.775807"), 2**63 - 1),
    (Decimal("9223372036854.775808"), 0),
    (Decimal("0.0000001"), 0),
    (Decimal("1E+999999"), 0),
    (Decimal("NaN"), 0),
    (Decimal("Infinity"), 0),
    (10**40, 0),
]


@pytest.mark.parametrize(("quantity", "micros"), QUANTITIES)
def test_a_quantity_is_carried_exactly_or_as_zero(quantity, micros):
    assert quantity_micros(quantity) == micros


@pytest.mark.parametrize(
    ("micros", "text"), [(0, "0.000000"), (1, "0.000001"), (-(2**63), "-9223372036854.775808")]
)
def test_a_price_comes_back_exactly(micros, text):
    assert str(decimal_from_micros(micros)) == text


@pytest.mark.parametrize(("instant_us", "year"), [(0, 1970), (2**62, 9999), (-(2**62), 1)])
def test_an_instant_stays_within_the_calendar(instant_us, year):
    assert instant_from_us(instant_us).year == year


def test_an_instant_is_sent_in_utc():
    request = v1.PriceLinesRequest()
    set_as_of(request, datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))

    assert request.as_of_time.ToDatetime(UTC) == datetime(2026, 1, 1, tzinfo=UTC)


def test_an_instant_needs_a_zone():
    with pytest.raises(pricegrid.InvalidRequestError):
        set_as_of(v1.PriceLinesRequest(), datetime(2026, 1, 1))  # noqa: DTZ001 -- that is the point


@pytest.fixture
def client():
    offered = services(OneSnapshot(fake_snapshot()), lambda: 0)
    with Client(channel=InProcessChannel(offered, service_desk=True)) as connected:
        yield connected


def test_answers_in_process_as_over_the_wire(client):
    result = client.price_lines("C", [Line("A", Decimal("0.5")), Line("min")])

    assert [line.extended_price for line in result.lines] == [Decimal("0.75"), None]
    assert result.lines[1].minimum_quantity == Decimal(5)


def test_a_refusal_is_the_error_of_its_reason(client):
    with pytest.raises(pricegrid.CustomerNotAllowedError) as refused:
        client.price_lines("nobody", [Line("A")])

    assert refused.value.reason == "CUSTOMER_NOT_ALLOWED"
    assert refused.value.correlation_id


def test_too_many_lines_are_refused_before_they_are_sent(client):
    with pytest.raises(pricegrid.InvalidRequestError) as refused:
        client.price_lines("C", [Line("A")] * (pricegrid.LINES_MAX + 1))

    assert refused.value.reason == "TOO_MANY_LINES"


def test_needs_an_address_or_a_channel():
    with pytest.raises(ValueError, match="either"):
        Client()


def test_public_names_are_those_said():
    assert [name for name in pricegrid.__all__ if not hasattr(pricegrid, name)] == []
