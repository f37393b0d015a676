"""What orders keep before and after their hold, over services that are told what to answer (O8 to O10)."""

import pytest

from pricegrid import v1
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.methods.orders import OrderPorts, OrderService
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.response import Response
from tests.fakes import OneSnapshot, fake_snapshot

M = 1_000_000


class Journal:
    """Keeps the first record of a key, and the final one after it."""

    def __init__(self) -> None:
        self.kept: dict[str, v1.OrderRecord] = {}

    def keep(self, raw: bytes, _: Caller) -> Response:
        record = v1.OrderRecord.FromString(raw)
        known = self.kept.get(record.idempotency_key)
        if known is None or (record.is_final and not known.is_final):
            self.kept[record.idempotency_key] = record
        return Response(self.kept[record.idempotency_key].SerializeToString())

    def find(self, raw: bytes, _: Caller) -> Response:
        key = v1.GetOrderAnswerRequest.FromString(raw).idempotency_key
        return Response(self.kept.get(key, v1.OrderRecord()).SerializeToString())


class Stock:
    """Holds what it is asked, but for the first `failures` times; `granted` says how much of a line."""

    def __init__(self, failures: int = 0, granted_micros: int = 2 * M) -> None:
        self.failures = failures
        self.granted_micros = granted_micros
        self.asked: list[v1.ReserveRequest] = []

    def reserve(self, raw: bytes, _: Caller) -> Response:
        self.asked.append(v1.ReserveRequest.FromString(raw))
        if len(self.asked) <= self.failures:
            raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "the writer is gone")
        line = v1.ReservedLine(held_micros=self.granted_micros)
        held = v1.Reservation(reservation_id="R1", lines=[line], expires_us=9)
        return Response(v1.ReserveResponse(reservation=held).SerializeToString())


def service(journal: Journal, stock: Stock, price_micros: int = 10 * M) -> OrderService:
    def price(_: bytes, __: Caller) -> Response:
        result = v1.PriceLineResult(
            status=v1.LineStatus.LINE_STATUS_OK, unit_price_micros=price_micros, extended_price_micros=1
        )
        return Response(v1.PriceLinesResponse(results=[result], currency="EUR").SerializeToString())

    def promise(_: bytes, __: Caller) -> Response:
        part = v1.PromisedPart(sku="A", branch="HAM", quantity_micros=2 * M, pick_date="2026-03-02")
        return Response(
            v1.PromiseOrderResponse(results=[v1.LinePromise(promised=[part])]).SerializeToString()
        )

    ports = OrderPorts(price, promise, stock.reserve, stock.reserve, journal.keep, journal.find)
    return OrderService(OneSnapshot(fake_snapshot()), lambda: 1_772_452_800_000_000, ports)


def order() -> bytes:
    line = v1.OrderLine(line_ref="10", sku="A", quantity_micros=2 * M)
    return v1.ValidateOrderRequest(
        customer_id="C", idempotency_key="k", lines=[line], hold=v1.OrderHold.ORDER_HOLD_HELD
    ).SerializeToString()


def test_who_is_interrupted_before_the_hold_goes_on_from_what_was_kept():
    """Also where prices have changed meanwhile: the answer is that of the first time."""
    journal, stock = Journal(), Stock(failures=1)
    with pytest.raises(RequestRefusedError):
        service(journal, stock).validate_order(order(), Caller("first"))
    assert not journal.kept["k"].is_final

    raw = service(journal, stock, price_micros=99 * M).validate_order(order(), Caller("second")).raw

    answer = v1.ValidateOrderResponse.FromString(raw)
    assert (answer.lines[0].our_price_micros, answer.correlation_id) == (10 * M, "first")
    assert (answer.reservation_id, answer.expires_us) == ("R1", 9)
    assert stock.asked[0] == stock.asked[1]
    assert stock.asked[0].idempotency_key == "order:k"
    assert service(journal, stock).validate_order(order(), Caller("third")).raw == raw
    assert len(stock.asked) == 2


def test_who_was_quicker_is_told_in_the_line():
    answer = v1.ValidateOrderResponse.FromString(
        service(Journal(), Stock(granted_micros=M)).validate_order(order(), Caller("x")).raw
    )

    told = answer.lines[0].differences[-1]
    assert (told.kind, told.expected, told.ours) == (
        v1.OrderDifferenceKind.ORDER_DIFFERENCE_KIND_HOLD,
        "2",
        "1",
    )
    assert answer.verdict == answer.lines[0].verdict == v1.OrderSeverity.ORDER_SEVERITY_HOLD
