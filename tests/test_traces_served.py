"""Spans of a real server arrive at a collector, whole traces over its processes; calls go on if they can't."""

import json
import urllib.request

import grpc
import pytest

from pricegrid import Client, Line, v1
from tests.erp_server import SmallErp, serving
from tests.servers import running, until
from tests.spans import CALLER, collecting
from tests.stores import publish, stocked_rows

pytestmark = pytest.mark.slow
PRICED, QUOTED, RESERVED, REFUSED = (f"{number:032x}" for number in (1, 2, 3, 4))
QUIET = "[parity]\nsample_per_million = 0\n"


def parent(trace: str) -> str:
    return f"00-{trace}-{CALLER}-01"


@pytest.fixture
def store(tmp_path):
    publish(tmp_path / "store", stocked_rows())
    return tmp_path / "store"


def asked(address: str, service: str, method: str, trace: str, request, kind):
    """The answer to a call whose caller traces it."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{service}/{method}", type(request).SerializeToString, kind.FromString)
        return call(request, timeout=60, metadata=(("traceparent", parent(trace)),))


def posted(address: str, trace: str) -> None:
    """A quote as a browser asks for it."""
    body = {"customerId": "C1", "lines": [{"sku": "S4", "quantityMicros": "1000000"}]}
    request = urllib.request.Request(
        f"http://{address}/{v1.QUOTE_SERVICE}/QuoteLines",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "traceparent": parent(trace)},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["results"]


def test_a_trace_goes_through_worker_writer_and_erp_to_the_collector(store, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    small = SmallErp()
    small.prices["", "X1"] = "9.75"
    with serving(small), collecting() as collector:
        options = ["--transport", "http2", "--workers", "1", "--log-format", "json", "--access-log", "1"]
        options += ["--erp-config", str(small.config(tmp_path, QUIET)), "--otlp-endpoint", collector.url]
        with running(store, *options) as server:
            lines = [v1.PriceLine(sku="X1", quantity_micros=1_000_000)]
            question = v1.PriceLinesRequest(customer_id="C1", lines=lines)
            asked(server.address, v1.PRICING_SERVICE, "PriceLines", PRICED, question, v1.PriceLinesResponse)
            posted(server.address, QUOTED)
            held = [v1.ReserveLine(sku="S4", branch="HAM", quantity_micros=1_000_000)]
            hold = v1.ReserveRequest(customer_id="C1", idempotency_key="cart", lines=held)
            asked(server.address, v1.AVAILABILITY_SERVICE, "Reserve", RESERVED, hold, v1.ReserveResponse)
            empty = v1.PriceLinesRequest(customer_id="C1")
            with pytest.raises(grpc.RpcError):
                asked(server.address, v1.PRICING_SERVICE, "PriceLines", REFUSED, empty, v1.PriceLinesResponse)
            with Client(server.address) as client:
                client.price_lines("C1", [Line("S4", 1)], timeout_s=60)
            until(lambda: len(collector.spans()) == 8, "all spans have arrived")
            log = [json.loads(line) for line in server.log if line.startswith("{")]

    spans = {(each.trace, each.process, each.name): each for each in collector.spans()}
    whole = spans[PRICED, "worker", "pricegrid.v1.PricingService/PriceLines"]
    lines_of = spans[PRICED, "worker", "ERP lines"]
    call = spans[PRICED, "worker", "ERP call"]
    assert (whole.parent, lines_of.parent, call.parent) == (CALLER, whole.span, lines_of.span)
    assert small.parents == [f"00-{PRICED}-{call.span}-01"]
    assert spans[QUOTED, "worker", "pricegrid.v1.QuoteService/QuoteLines"].parent == CALLER
    reserve = "pricegrid.v1.AvailabilityService/Reserve"
    worker, writer = spans[RESERVED, "worker", reserve], spans[RESERVED, "writer", reserve]
    assert (worker.parent, writer.parent) == (CALLER, worker.span)
    assert spans[RESERVED, "writer", "sqlite commit"].parent == writer.span
    assert worker.attributes["pricegrid.correlation_id"] == writer.attributes["pricegrid.correlation_id"]
    assert (
        spans[REFUSED, "worker", "pricegrid.v1.PricingService/PriceLines"].attributes["error.type"]
        == "NO_LINES"
    )
    told = {(line["trace_id"], line.get("status")) for line in log if "trace_id" in line}
    assert told == {(PRICED, "OK"), (QUOTED, "OK"), (RESERVED, "OK"), (REFUSED, "NO_LINES")}


def test_calls_are_answered_while_the_collector_is_away_which_is_said_once(store, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with running(store, "--workers", "1", "--trace-one-in", "1") as server:

        def said(text: str) -> int:
            return sum(text in line for line in server.log)

        with Client(server.address) as client:

            def answered() -> bool:
                return client.price_lines("C1", [Line("S4", 1)], timeout_s=60).lines[0].unit_price == 10

            until(lambda: answered() and said("traces can't be sent to") == 1, "it is said")
            for _ in range(100):
                assert answered()
            with collecting(collector.port) as back:
                until(lambda: answered() and bool(back.spans()), "spans arrive again")
                until(lambda: said("can be sent to the collector again") == 1, "that is said, too")
                lines = [v1.PriceLine(sku="S4", quantity_micros=1_000_000)]
                question = v1.PriceLinesRequest(customer_id="C1", lines=lines)
                asked(
                    server.address, v1.PRICING_SERVICE, "PriceLines", PRICED, question, v1.PriceLinesResponse
                )
                until(lambda: any(each.trace == PRICED for each in back.spans()), "over grpcio, too")
                assert [each.parent for each in back.spans() if each.trace == PRICED] == [CALLER]
        assert said("traces can't be sent to") == 1
        assert server.stop() == 0
