"""Names in requests are trimmed as the loader trims them: on the fast path, on the general one, and in events."""

from decimal import Decimal

import pytest

from pricegrid import v1
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.codec.availability import decode_check_availability, decode_promise_order
from pricegrid.service.codec.event_json import EventError, event_from_json
from pricegrid.service.codec.events import decode_events
from pricegrid.service.codec.live import decode_confirm, decode_reserve
from pricegrid.service.codec.prices import scan
from pricegrid.service.rpc.in_process import store_client
from tests.datasets import as_frames
from tests.stores import publish, stocked_rows

PADS = [(" ", ""), ("", " "), ("\t", " \t"), ("  ", "  ")]
padded = pytest.mark.parametrize(("before", "after"), PADS)


def line(sku: str = "S2", uom: str = "BOX") -> v1.PriceLine:
    return v1.PriceLine(sku=sku, quantity_micros=1_000_000, uom=uom)


def free(sku: str, uom: str = "") -> v1.AvailabilityLine:
    return v1.AvailabilityLine(sku=sku, quantity_micros=1_000_000, uom=uom)


@padded
def test_a_padded_name_is_left_to_the_runtime(before, after):
    def pad(name: str) -> str:
        return f"{before}{name}{after}"

    plain = v1.QuoteLinesRequest(customer_id="C1", lines=[line()], currency="EUR", branches=["HAM", "RTM"])
    assert scan(plain.SerializeToString()) is not None
    for request in (
        v1.QuoteLinesRequest(customer_id=pad("C1"), lines=[line()], currency="EUR", branches=["HAM"]),
        v1.QuoteLinesRequest(customer_id="C1", lines=[line(), line(pad("S2"))], currency="EUR"),
        v1.QuoteLinesRequest(customer_id="C1", lines=[line("S2", pad("BOX"))], currency="EUR"),
        v1.QuoteLinesRequest(customer_id="C1", lines=[line()], currency=pad("EUR")),
        v1.QuoteLinesRequest(customer_id="C1", lines=[line()], branches=[pad("HAM"), "RTM"]),
        v1.QuoteLinesRequest(customer_id="C1", lines=[line()], branches=["HAM", pad("RTM")]),
    ):
        assert scan(request.SerializeToString()) is None


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    publish(store, stocked_rows())
    with store_client(store, ExceptionPolicy()) as client:
        yield client


@padded
def test_prices_quotes_and_explanations_answer_padded_names(client, before, after):
    def pad(name: str) -> str:
        return f"{before}{name}{after}"

    from pricegrid import Line

    lines = [Line(pad("S2"), Decimal(1), pad("BOX")), Line(pad("S3"), Decimal(1))]

    priced = client.price_lines(pad("C1"), lines, branch=pad("HAM"), currency=pad("EUR"))
    quoted = client.quote_lines(pad("C1"), lines, branches=[pad("HAM")])
    explained = client.explain_price(pad("C1"), lines[0])
    free = client.check_availability([lines[0]], branches=[pad("HAM")])

    assert [each.unit_price for each in priced.lines][:1] == [Decimal(120)]
    assert [each.price.unit_price for each in quoted.lines][:1] == [Decimal(120)]
    assert quoted.lines[0].availability is not None
    assert explained.line.unit_price == Decimal(120)
    assert [branch.branch for branch in free.lines[0].branches] == ["HAM"]


def test_availability_reservations_and_events_trim_alike():
    check = v1.CheckAvailabilityRequest(customer_id=" C1", lines=[free(" S2 ", "BOX ")], branches=["HAM "])
    promise = v1.PromiseOrderRequest(customer_id="C1 ", lines=[free("S2\t")], ship_to=" Z ")
    reserve = v1.ReserveRequest(
        idempotency_key=" key ",
        customer_id=" C1",
        order_ref="O1 ",
        lines=[v1.ReserveLine(sku=" S2", uom="BOX ", branch=" HAM ", order_line=" 1", quantity_micros=1)],
    )
    confirm = v1.ConfirmReservationRequest(
        customer_id="C1 ", reservation_id=" id", order_ref=" O1", order_lines=["1 "]
    )

    checked = decode_check_availability(check.SerializeToString())
    promised = decode_promise_order(promise.SerializeToString())
    held = decode_reserve(reserve.SerializeToString())
    confirmed = decode_confirm(confirm.SerializeToString())

    assert (checked.customer_id, checked.branches) == ("C1", (b"HAM",))
    assert (checked.lines.skus, checked.lines.uoms) == ([b"S2"], [b"BOX"])
    assert (promised.customer_id, promised.lines.skus, promised.ship_to) == ("C1", [b"S2"], b"Z")
    (kept,) = held.lines
    assert (held.key, held.customer_id, held.order_ref) == (
        " key ",
        "C1",
        "O1",
    )  # a key is nobody's to change
    assert (kept.sku, kept.uom, kept.branch, kept.order_line) == ("S2", "BOX", "HAM", "1")
    assert (confirmed.customer_id, confirmed.order_ref) == ("C1", "O1")
    assert (confirmed.reservation_id, tuple(confirmed.order_lines)) == (" id", ("1",))


EVENT = (
    '{"source": "wms", "sequence": 1, "effective_time": "2026-03-02T06:00:00Z", "measure": "allocated", "kind": "set",'
    ' "sku": "%s", "branch": " HAM", "quantity": "1", "order_ref": "O1 ", "order_line": " 1 ", "version": 1}'
)


def test_events_trim_alike():
    event = event_from_json(EVENT % " S2 ")
    message = v1.InventoryEvent(
        source=2, sequence=1, effective_us=event.effective_us, measure=2, kind=1, quantity_micros=1,
        sku=" S2 ", branch=" HAM", order_ref="O1 ", order_line=" 1 ",
    )  # fmt: skip
    batch = decode_events(v1.PublishEventsRequest(events=[message]).SerializeToString()).events

    for each in (event, batch.event(0)):
        assert (each.sku, each.branch, each.order_ref, each.order_line) == ("S2", "HAM", "O1", "1")
    with pytest.raises(EventError, match="sku is missing"):
        event_from_json(EVENT % "  ")


def test_the_loader_trims_the_same_blanks():
    from pricegrid.loaders.read.columns import _BLANKS
    from pricegrid.loaders.validate.tables import validate_tables
    from pricegrid.service.codec.request import BLANKS, trimmed

    rows = {"items": [{"sku": "\t A \u00a0", "base_uom": " EA "}]}
    (sku,) = validate_tables(as_frames(rows)).frames["items"]["sku"].to_list()

    assert sku == trimmed("\t A \u00a0") == "A \u00a0"
    assert BLANKS == _BLANKS
