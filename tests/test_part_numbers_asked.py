"""Part numbers and units of others in requests: every method takes them, and answers as for SKUs (P15)."""

from datetime import date
from decimal import Decimal

import pytest

import pricegrid
from pricegrid import v1
from pricegrid.pricing_engine.model import ExceptionPolicy, LineStatus
from pricegrid.service.process.bootstrap import open_snapshot_engines
from pricegrid.service.process.snapshots import SnapshotHolder
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.in_process import store_client
from pricegrid.service.rpc.later import NeedsThread
from pricegrid.service.rpc.services import services
from tests.stores import publish, stocked_rows

AS_OF = date(2026, 3, 2)
NOON_US = 1_772_452_800_000_000


def _rows():
    rows = stocked_rows()
    rows["part_numbers"] = [
        {"scheme": "gtin", "code": "4012345678901", "sku": "S2", "uom": "BOX"},
        {"scheme": "gtin", "code": "96385074", "sku": "S4", "uom": "EA"},
        {"scheme": "customer", "code": "M-8", "sku": "S3", "customer_id": "C1"},
        {"scheme": "maker", "code": "77", "sku": "S5", "maker": "Bosch"},
        {"scheme": "maker", "code": "77", "sku": "S6", "maker": "Makita"},
        {"scheme": "maker", "code": "88", "sku": "E1", "maker": "Bosch"},
        {"scheme": "maker", "code": "88", "sku": "S4", "maker": "Makita"},
        {"scheme": "vendor", "code": "HIDDEN", "sku": "E1"},
    ]
    rows["unit_codes"] = [
        {"system": "x12", "code": "CA", "uom": "BOX"},
        {"system": "rec20", "code": "C62", "uom": "EA"},
    ]
    return rows


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    publish(folder, _rows())
    return folder


@pytest.fixture(scope="module")
def client(store):
    with store_client(store, ExceptionPolicy(), changes_live_state=True) as client:
        yield client


@pytest.fixture(scope="module")
def offered(store):
    """The methods, for a caller without the service-desk right."""
    loaded, _ = open_snapshot_engines(store, None, ExceptionPolicy())
    return services(SnapshotHolder(loaded, lambda _: loaded), lambda: NOON_US)


def by(code: str, scheme: str = "", quantity: int = 2, uom: str = "", uom_system: str = "") -> pricegrid.Line:
    number = pricegrid.PartNumber(code, scheme)
    return pricegrid.Line("", quantity, uom, part_number=number, uom_system=uom_system)


def ask_prices(offered, *lines: v1.PriceLine, caller: Caller = Caller("x")) -> v1.PriceLinesResponse:  # noqa: B008
    request = v1.PriceLinesRequest(customer_id="C1", lines=lines)
    call = offered[v1.PRICING_SERVICE]["PriceLines"]
    return v1.PriceLinesResponse.FromString(call(request.SerializeToString(), caller).raw)


def line(code: str = "", **fields) -> v1.PriceLine:
    number = v1.PartNumber(code=code, scheme=fields.pop("scheme", "")) if code else None
    return v1.PriceLine(quantity_micros=1_000_000, part_number=number, **fields)


def test_a_number_is_priced_as_its_item_and_its_pack(client):
    lines = [
        pricegrid.Line("S2", 2, "BOX"),
        by("04012345678901", "gtin"),
        by(" 4012345678901 "),
        by("S2", uom="BOX"),
    ]

    # each by itself: the lines of one request use up stock one after the other
    asked, *others = [client.quote_lines("C1", [each], as_of=AS_OF).lines[0] for each in lines]

    assert asked.price.unit_price == Decimal(120)
    assert asked.price.named_items == ()
    for other, scheme, uom in zip(others, ("gtin", "gtin", "sku"), ("BOX", "BOX", ""), strict=True):
        assert other.price.named_items == (pricegrid.NamedItem("S2", uom, scheme),)
        assert other.price.unit_price == asked.price.unit_price
        assert other.availability == asked.availability


def test_every_method_takes_them(client):
    number = by("96385074", "gtin")
    plain = pricegrid.Line("S4", 2)
    named = (pricegrid.NamedItem("S4", "EA", "gtin"),)

    prices = client.price_lines("C1", [number, plain], as_of=AS_OF).lines
    assert (prices[0].unit_price, prices[0].named_items) == (prices[1].unit_price, named)
    explained = client.explain_price("C1", number, as_of=AS_OF)
    assert (explained.line.unit_price, explained.line.named_items) == (prices[1].unit_price, named)
    free = client.check_availability([number, plain], customer_id="C1", as_of=AS_OF).lines
    assert (free[0].branches, free[0].named_items) == (free[1].branches, named)
    promised = client.promise_order([number], customer_id="C1", as_of=AS_OF).lines[0]
    assert ([part.sku for part in promised.promised], promised.named_items) == (["S4"], named)
    asked = pricegrid.ReserveLine("", 1, "HAM", part_number=pricegrid.PartNumber("96385074", "gtin"))
    held = client.reserve([asked], key="k", customer_id="C1").reservation.lines[0]
    assert (held.line.part_number, held.parts[0].sku, held.named_items) == (asked.part_number, "S4", named)
    again = client.reserve([asked], key="k", customer_id="C1")
    assert again.is_repeat
    with client.watch_availability([number], customer_id="C1", branches=["HAM"]) as watch:
        assert [change.named_items for change in next(watch).changes] == [named]


def test_two_items_are_told_and_none_is_chosen(client):
    quoted = client.quote_lines("C1", [by("77")], branches=["HAM"], as_of=AS_OF).lines[0]

    assert quoted.price.status is pricegrid.LineStatus.AMBIGUOUS_ITEM
    assert quoted.price.unit_price is None
    assert [each.sku for each in quoted.price.named_items] == ["S5", "S6"]
    assert quoted.availability.status is pricegrid.AvailabilityStatus.AMBIGUOUS_ITEM
    free = client.check_availability([by("77")], branches=["HAM"], as_of=AS_OF).lines[0]
    assert {free.status, free.branches[0].status} == {pricegrid.AvailabilityStatus.AMBIGUOUS_ITEM}


def test_another_unit_than_that_of_the_pack_is_refused(client):
    lines = [by("4012345678901", uom="EA"), by("96385074", uom="EA"), by("M-8", uom="EA")]

    told = [each.status.value for each in client.price_lines("C1", lines, as_of=AS_OF).lines]

    assert told == ["UNKNOWN_UOM", "OK", "OK"]


def test_equal_letters_of_two_systems_are_two_units(client):
    lines = [
        pricegrid.Line("S2", 1, "CA", uom_system="x12"),
        pricegrid.Line("S2", 1, "CA", uom_system="rec20"),
        pricegrid.Line("S2", 1, "C62", uom_system="rec20"),
        pricegrid.Line("S2", 1, "BOX", uom_system="x12"),
        by("S2", quantity=1, uom="CA", uom_system="x12"),
    ]

    told = client.price_lines("C1", lines, as_of=AS_OF).lines

    assert [each.unit_price for each in told] == [Decimal(120), None, Decimal(10), None, Decimal(120)]
    assert [each.status.value for each in told] == ["OK", "UNKNOWN_UOM", "OK", "UNKNOWN_UOM", "OK"]


def test_what_a_caller_may_not_see_is_not_resolved(offered):
    told = ask_prices(offered, *map(line, ("HIDDEN", "NOTHING", "88", "E1"))).results

    assert told[0] == told[1] == told[3]
    assert told[0].status == LineStatus.UNKNOWN_ITEM + 1
    assert [each.sku for each in told[2].named_items] == ["S4"]
    desk = ask_prices(offered, line("HIDDEN"), caller=Caller("x", service_desk=True)).results[0]
    assert (desk.status, desk.named_items[0].sku) == (LineStatus.NOT_ENTITLED + 1, "E1")


def test_a_number_of_another_customer_is_unknown(client):
    prices = client.price_lines("C2", [by("M-8"), by("NOTHING")], as_of=AS_OF).lines

    assert prices[0] == prices[1]
    assert client.price_lines("C1", [by("M-8")], as_of=AS_OF).lines[0].unit_price == Decimal("1.25")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (line("4711", sku="S1"), r"part_number of lines\[1\] stands beside a sku"),
        (
            line("4711", scheme="ean"),
            r"part_number of lines\[1\] has a scheme that is none of customer, gtin",
        ),
        (line(" "), r"part_number of lines\[1\] has a code of 0 bytes"),
        (line("4" * 129), r"part_number of lines\[1\] has a code of 129 bytes, not 1 to 128"),
    ],
)
def test_a_number_that_cannot_be_one_refuses_the_request(offered, asked, told):
    with pytest.raises(Exception, match=told) as refused:
        ask_prices(offered, line(sku="S1"), asked)
    assert refused.value.reason == "INVALID_PART_NUMBER"


def test_a_request_without_other_names_passes_as_it_came(offered):
    """Also one whose texts hold the bytes that are looked for."""
    lines = [line(sku="S2"), line(sku="S\u0622\u0006")]

    told = ask_prices(offered, *lines).results

    assert [each.status for each in told] == [LineStatus.OK + 1, LineStatus.UNKNOWN_ITEM + 1]


def test_who_must_not_wait_is_answered_in_another_thread(offered):
    with pytest.raises(NeedsThread) as needs:
        ask_prices(offered, line("S2"), caller=Caller("x", may_wait=False))
    told = needs.value.go_on(Caller("x"))

    assert v1.PriceLinesResponse.FromString(told.raw).results[0].named_items[0].sku == "S2"


def test_a_line_with_two_meanings_is_counted_as_such(offered):
    request = v1.PriceLinesRequest(
        customer_id="C1", lines=[line("77"), line("NOTHING")], as_of_date="2026-03-02"
    )
    call = offered[v1.PRICING_SERVICE]["PriceLines"]

    told = call(request.SerializeToString(), Caller("x"))

    assert told.status.tolist() == [LineStatus.AMBIGUOUS_ITEM, LineStatus.UNKNOWN_ITEM]
