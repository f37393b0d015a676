"""ValidateOrder and GetOrderAnswer over a store: checked as other services answer, kept, held once (docs/orders.md)."""

import json
from decimal import Decimal

import pytest

import pricegrid
from pricegrid import v1
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.main import main
from pricegrid.service.rpc.in_process import store_client
from tests.stores import publish, stocked_rows

INFO, WARNING, HOLD, REJECT = range(1, 5)
M = 1_000_000
KIND = v1.OrderDifferenceKind


def _rows():
    rows = stocked_rows()
    rows["part_numbers"] = [{"scheme": "gtin", "code": "4012345678901", "sku": "S2", "uom": "BOX"}]
    rows["ship_tos"] = [{"customer_id": "C1", "ship_to": "YARD", "zone": "NORTH"}]
    next(item for item in rows["items"] if item["sku"] == "BOLT")["order_multiple"] = "50"
    rows["price_entries"].append({"book_id": "LIST", "sku": "BOLT", "method": "net", "value": "0.35"})
    return rows


@pytest.fixture
def store(tmp_path):
    publish(tmp_path, _rows())
    return tmp_path


@pytest.fixture
def client(store):
    with store_client(store, ExceptionPolicy(), changes_live_state=True) as client:
        yield client


def line(sku: str = "", quantity: int = 1, expected: int | None = None, **fields) -> v1.OrderLine:
    return v1.OrderLine(
        sku=sku, quantity_micros=quantity * M, expected_price_micros=expected, line_ref=sku, **fields
    )


def order(*lines: v1.OrderLine, key: str = "k1", **fields) -> v1.ValidateOrderRequest:
    policy = fields.pop("policy", None)
    return v1.ValidateOrderRequest(
        customer_id="C1",
        idempotency_key=key,
        lines=lines,
        policy=policy,
        **{"branches": [] if "ship_to" in fields else ["HAM"], **fields},
    )


def kinds(answer) -> list[tuple[str, int]]:
    return [
        (KIND.Name(each.kind).removeprefix("ORDER_DIFFERENCE_KIND_"), each.severity)
        for each in answer.differences
    ]


def test_all_differences_are_in_one_answer(client):
    answer = client.validate_order(
        order(
            line("S3", 2, expected=10 * M),
            line("S4", 12, expected=9 * M),
            line("NOTHING"),
            line("E1"),
            line("S2", 1, uom="PALLET"),
            line("BOLT", 70),
            v1.OrderLine(
                line_ref="pack", quantity_micros=M, part_number=v1.PartNumber(code="04012345678901")
            ),
            policy=v1.OrderPolicy(beyond=v1.PriceBeyond.PRICE_BEYOND_REPRICE),
            expected_total_micros=100 * M,
        )
    )

    assert [kinds(each) for each in answer.lines] == [
        [("SHORT", REJECT)],
        [("PRICE", WARNING), ("SHORT", WARNING)],
        [("ITEM", REJECT)],
        [("ITEM", REJECT)],
        [("UNIT", REJECT)],
        [("MULTIPLE", REJECT)],
        [("PRICE_MISSING", INFO)],
    ]
    assert answer.verdict == REJECT
    assert [(each.confirmed_micros, each.extended_micros) for each in answer.lines][1] == (10 * M, 100 * M)
    assert (answer.lines[6].sku, answer.lines[6].uom) == ("S2", "BOX")
    assert answer.lines[6].agreed_price_micros == 120 * M
    assert answer.total_micros == sum(each.extended_micros for each in answer.lines)
    assert kinds(answer) == [("TOTAL", WARNING)]


def test_prices_and_promises_are_those_of_the_other_services(client):
    answer = client.validate_order(
        order(line("S4", 25), policy=v1.OrderPolicy(short=v1.ShortAction.SHORT_ACTION_BACKORDER_REST))
    )
    [told] = answer.lines

    price = client.price_lines("C1", [pricegrid.Line("S4", 25)], branch="HAM").lines[0]
    [promise] = client.promise_order([pricegrid.Line("S4", 25)], customer_id="C1", branches=["HAM"]).lines
    assert Decimal(told.our_price_micros) / M == price.unit_price
    assert [(each.quantity_micros, each.branch) for each in told.promised] == [
        (int(part.quantity * M), part.branch) for part in promise.promised
    ]
    assert told.quantity_micros == 25 * M == told.confirmed_micros + told.backordered_micros


def test_a_ship_to_of_the_customer_says_from_where(client):
    answer = client.validate_order(order(line("S4", 13), ship_to="YARD"))

    assert {each.branch for each in answer.lines[0].promised} == {"HAM", "RTM"}


def test_the_same_key_is_the_same_bytes_and_another_content_is_refused(store, client):
    first = client.validate_order(order(line("S4", 2), order_ref="PO-1"))
    publish(store, _rows() | {"price_entries": []}, minute=5)

    again = client.validate_order(order(line("S4", 2), order_ref="PO-1"))
    assert again.SerializeToString(deterministic=True) == first.SerializeToString(deterministic=True)
    with pytest.raises(pricegrid.ConflictError) as refused:
        client.validate_order(order(line("S4", 3), order_ref="PO-1"))
    assert refused.value.reason == "KEY_REUSED"


def test_an_answer_is_found_by_key_reference_and_call(client):
    sent = order(line("S4", 2), order_ref="PO-1")
    answer = client.validate_order(sent)

    for which in ({"key": "k1"}, {"order_ref": "PO-1"}, {"correlation_id": answer.correlation_id}):
        kept = client.order_answer("C1", **which)
        assert v1.ValidateOrderResponse.FromString(kept.answer) == answer
        assert kept.request == sent
    for customer, which in (("C1", {"key": "k2"}), ("C2", {"key": "k1"})):
        with pytest.raises(pricegrid.NotFoundError) as refused:
            client.order_answer(customer, **which)
        assert refused.value.reason == "ORDER_NOT_FOUND"


def test_stock_is_held_once_for_the_lines_of_the_order(client):
    sent = order(line("S4", 2), line("S2", 3), order_ref="PO-1", hold=v1.OrderHold.ORDER_HOLD_HELD)
    answers = [client.validate_order(sent) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    [held] = client.reservations(customer_id="C1")
    assert held.reservation_id == answers[0].reservation_id
    assert (held.order_ref, [each.line.order_line for each in held.lines]) == ("PO-1", ["S4", "S2"])
    assert [each.held for each in held.lines] == [2, 3]
    assert answers[0].HasField("expires_us")


def test_a_confirmed_hold_belongs_to_the_order(client):
    answer = client.validate_order(
        order(line("S4", 2), order_ref="PO-1", hold=v1.OrderHold.ORDER_HOLD_CONFIRMED)
    )

    held = client.reservation(answer.reservation_id, customer_id="C1")
    assert (held.status.value, held.order_ref) == ("CONFIRMED", "PO-1")
    assert not answer.HasField("expires_us")


def test_a_rejected_order_holds_nothing(client):
    answer = client.validate_order(order(line("NOTHING"), line("S4"), hold=v1.OrderHold.ORDER_HOLD_HELD))

    assert (answer.verdict, answer.reservation_id) == (REJECT, "")
    assert client.reservations(customer_id="C1") == ()


def test_the_same_reference_with_another_content_is_a_duplicate(client):
    policy = v1.OrderPolicy(duplicate_days=7)
    client.validate_order(order(line("S4", 2), order_ref="PO-1", policy=policy))

    again = client.validate_order(order(line("S4", 3), key="k2", order_ref="PO-1", policy=policy))

    assert kinds(again) == [("DUPLICATE_ORDER", HOLD)]
    assert again.verdict == HOLD


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (order(key="k"), "NO_LINES"),
        (order(line("S4"), key=""), "KEY_REQUIRED"),
        (order(line("S4"), key="k" * 101), "FIELD_TOO_LONG"),
        (order(line("S4", expected=-1)), "INVALID_ORDER"),
        (order(line("S4", expected_per=-1)), "INVALID_ORDER"),
        (order(line("S4", requested_date="soon")), "INVALID_DATE"),
        (order(line("S4"), policy=v1.OrderPolicy(unit_up_micros=-1)), "INVALID_ORDER"),
        (order(line("S4"), hold=9), "INVALID_ORDER"),
        (order(line("S4"), hold=1, as_of_date="2026-03-02"), "INVALID_ORDER"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(client, sent, reason):
    with pytest.raises(pricegrid.PricegridError) as refused:
        client.validate_order(sent)
    assert refused.value.reason == reason


def test_the_command_checks_an_order_and_shows_it_again(store, capsys):
    file = store / "order.json"
    lines = [{"lineRef": "1", "sku": "S4", "quantityMicros": "2000000", "expectedPriceMicros": "9000000"}]
    file.write_text(
        json.dumps(
            {
                "customerId": "C1",
                "idempotencyKey": "k",
                "orderRef": "PO-1",
                "branches": ["HAM"],
                "lines": lines,
            }
        )
    )

    assert main(["orders", "validate", "--store", str(store), str(file)]) == 1
    told = capsys.readouterr().out
    assert "line 1: HOLD PRICE: expected 9, ours 10 (O3)" in told
    assert main(["orders", "show", "--store", str(store), "--customer", "C1", "--order", "PO-1"]) == 1
    assert capsys.readouterr().out == told
    file.write_text('{"customer": 1}')
    assert main(["orders", "validate", "--store", str(store), str(file)]) == 2
    assert str(file) in capsys.readouterr().err
