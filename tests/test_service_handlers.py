"""The gRPC side of a call: how errors, overload and correlation ids reach the caller."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from pricegrid import v1
from pricegrid.errors import DETAILS_KEY
from pricegrid.service.errors import PUSHBACK_KEY, Reason
from pricegrid.service.metric_table import METHODS
from pricegrid.service.rpc.handlers import Handlers, correlation_id_of
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.rpc.services import services
from tests.fakes import AbortedError, FakeContext, OneSnapshot, fake_snapshot
from tests.redis_servers import until

NOW_US = 1_800_000_000_000_000


def handlers(loaded=None, *, waiting=0) -> Handlers:
    offered = services(OneSnapshot(loaded or fake_snapshot()), lambda: NOW_US)
    return Handlers(offered, NoMetrics(), Queue(lambda: waiting, most=10))


def price_lines(raw: bytes, context: FakeContext, **options) -> bytes:
    return handlers(**options).call(v1.PRICING_SERVICE, "PriceLines")(raw, context)


def request(customer_id="C", sku="A", **fields) -> bytes:
    lines = [v1.PriceLine(sku=sku, quantity_micros=2_000_000)]
    return v1.PriceLinesRequest(customer_id=customer_id, lines=lines, **fields).SerializeToString()


def refused(raw: bytes, context: FakeContext, **options) -> error_details_pb2.ErrorInfo:
    with pytest.raises(AbortedError):
        price_lines(raw, context, **options)
    status = status_pb2.Status.FromString(context.trailing[DETAILS_KEY])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (context.code.value[0], context.details)
    assert info.domain == "pricegrid"
    return info


def test_answers_with_the_callers_correlation_id():
    answer = v1.PriceLinesResponse.FromString(
        price_lines(request(), FakeContext(("x-correlation-id", "web-17")))
    )

    assert answer.correlation_id == "web-17"
    assert answer.as_of_us == NOW_US
    assert answer.snapshot_age_ms == NOW_US // 1000
    assert [result.extended_price_micros for result in answer.results] == [3_000_000]


def test_makes_a_correlation_id_where_the_caller_sends_none():
    first, second = correlation_id_of(()), correlation_id_of(None)

    assert first != second
    assert len(first) == 32


@pytest.mark.parametrize("unfit", ["", "x" * 129, "line\nbreak", "ümlaut"])
def test_a_correlation_id_that_could_spoil_a_log_is_replaced(unfit):
    assert correlation_id_of([("x-correlation-id", unfit)]) != unfit


def test_a_date_begins_in_the_time_zone_of_the_dataset():
    answer = price_lines(request(as_of_date="2026-07-01"), FakeContext())

    berlin_midnight_us = 1_782_856_800_000_000  # 2026-06-30T22:00:00Z
    assert v1.PriceLinesResponse.FromString(answer).as_of_us == berlin_midnight_us


def test_a_refusal_carries_reason_domain_and_correlation_id():
    context = FakeContext(("x-correlation-id", "web-18"))

    info = refused(v1.PriceLinesRequest(customer_id="C").SerializeToString(), context)

    assert (context.code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "NO_LINES")
    assert info.metadata["correlation_id"] == "web-18"


def test_an_unknown_customer_is_one_that_may_not_be_asked_for():
    context = FakeContext()

    info = refused(request("nobody"), context)

    assert (context.code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CUSTOMER_NOT_ALLOWED")
    assert "nobody" not in context.details
    assert "unknown" not in context.details


def test_an_unexpected_error_tells_the_caller_nothing_but_where_to_look(caplog):
    loaded = fake_snapshot()

    def fail() -> None:
        raise ZeroDivisionError("secret")

    loaded.engine.during = fail
    context = FakeContext(("x-correlation-id", "web-19"))

    info = refused(request(), context, loaded=loaded)

    assert (context.code, info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    assert "secret" not in context.details
    assert "web-19" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_too_many_waiting_requests_are_sent_away_with_the_time_to_come_back():
    context = FakeContext()

    info = refused(request(), context, waiting=11)

    assert (context.code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
    assert context.trailing[PUSHBACK_KEY] == "10"  # no call has taken any time yet


def test_as_many_waiting_requests_as_allowed_are_answered():
    assert price_lines(request(), FakeContext(), waiting=10)


def test_only_overload_pushes_back():
    context = FakeContext()

    refused(request("nobody"), context)

    assert PUSHBACK_KEY not in context.trailing


def test_callers_over_the_network_have_no_service_desk_right():
    loaded = fake_snapshot()

    price_lines(request(), FakeContext(), loaded=loaded)

    assert [ask.service_desk for ask in loaded.engine.asked] == [False]


def test_an_explanation_answers_the_line_and_names_its_snapshot():
    raw = v1.ExplainPriceRequest(
        customer_id="C", line=v1.PriceLine(sku="A", quantity_micros=1_000_000)
    ).SerializeToString()

    answer = v1.ExplainPriceResponse.FromString(
        handlers().call(v1.PRICING_SERVICE, "ExplainPrice")(raw, FakeContext())
    )

    assert answer.result.unit_price_micros == 1_500_000
    assert '"snapshot_version": "20260101T000000Z-00000000"' in answer.explanation_json


def test_the_pool_counts_what_waits_for_a_thread():
    pool = CountingPool(1)
    import threading

    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    pool.submit(work)
    begun.wait()
    for _ in range(3):
        pool.submit(int)
    waiting = pool.waiting()
    go_on.set()
    until(lambda: pool.waiting() == 0, "none waits")
    pool.shutdown()

    assert waiting == 3


def test_every_reason_is_counted_by_its_name():
    class Recorder(NoMetrics):
        def __init__(self) -> None:
            self.reasons: list[Reason] = []

        def refused(self, method, reason, seconds):
            self.reasons.append(reason)

    recorder = Recorder()
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US)
    call = Handlers(offered, recorder, Queue()).call(v1.PRICING_SERVICE, "PriceLines")
    with pytest.raises(AbortedError):
        call(request("nobody"), FakeContext())

    assert recorder.reasons == [Reason.CUSTOMER_NOT_ALLOWED]


def test_every_method_is_counted():
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US)

    assert {method for methods in offered.values() for method in methods} == set(METHODS)
