"""A client in Go, `buf curl`, gets what the Python client gets, by each of its three protocols."""

import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from pricegrid import v1
from tests.served_worlds import shop
from tests.servers import running
from tests.stores import SKUS, publish

ROOT = Path(__file__).parents[1]
BUF = Path(sys.executable).with_name("buf")
WAYS = {
    "gRPC": ("--protocol", "grpc", "--http2-prior-knowledge"),
    "gRPC-Web over HTTP/1.1": ("--protocol", "grpcweb"),
    "gRPC-Web over HTTP/2": ("--protocol", "grpcweb", "--http2-prior-knowledge"),
    "Connect over HTTP/1.1": ("--protocol", "connect"),
    "Connect over HTTP/2": ("--protocol", "connect", "--http2-prior-knowledge"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BUF.exists(), reason="buf is not installed"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    store = tmp_path_factory.mktemp("asked-from-go")
    publish(store, shop(1))
    with running(store, "--workers", "1", "--transport", "http2") as server:
        yield server.address


def command(address: str, method: str, request: object, *options: str) -> list[str]:
    return [str(BUF), "curl", *options, "--data", json.dumps(request), f"http://{address}/{method}"]


def asked(
    address: str, way: str, method: str, request: object, *options: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(address, method, request, *WAYS[way], *options),
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


QUOTE = {
    "customerId": "C1",
    "asOfTime": "2026-03-02T12:00:00Z",
    "branches": ["RTM", "HAM"],
    "lines": [
        {"sku": sku, "quantityMicros": str(quantity)}
        for sku in (*SKUS, "nope", "KIT")
        for quantity in (1_000_000, 7_500_000, 9_007_199_254_740_993)
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_quote_is_what_python_gets(address, way):
    asks = ParseDict(QUOTE, v1.QuoteLinesRequest())
    with grpc.insecure_channel(address) as channel:
        python = v1.QuoteServiceStub(channel).QuoteLines(asks, timeout=60)

    ran = asked(address, way, "pricegrid.v1.QuoteService/QuoteLines", QUOTE, "--schema", "proto")

    assert ran.returncode == 0, ran.stderr
    go = ParseDict(json.loads(ran.stdout), v1.QuoteLinesResponse())
    for answer in (python, go):  # these differ between any two calls
        answer.ClearField("correlation_id")
        answer.ClearField("snapshot_age_ms")
    assert MessageToDict(go) == MessageToDict(python)
    assert len(go.results) == len(QUOTE["lines"])


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_has_its_code_and_its_details(address, way):
    ran = asked(address, way, "pricegrid.v1.PricingService/PriceLines", {}, "--schema", "proto")

    assert ran.returncode == grpc.StatusCode.INVALID_ARGUMENT.value[0] << 3
    told = json.loads(ran.stderr)
    assert told["code"] == "invalid_argument"
    assert [each["value"] for each in told["details"]]


def test_a_stream_by_what_reflection_says(address):
    watched = {"lines": [{"line": {"sku": "S4", "quantityMicros": "1000000"}}], "branches": ["HAM"]}
    method = "pricegrid.v1.AvailabilityService/WatchAvailability"
    with subprocess.Popen(
        command(address, method, watched, *WAYS["gRPC"], "--reflect"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as go:
        first = []
        for line in go.stdout:
            first.append(line)
            if line == "}\n":
                break
        go.terminate()
    answer = ParseDict(json.loads("".join(first)), v1.WatchAvailabilityResponse())
    with grpc.insecure_channel(address) as channel:
        python = v1.AvailabilityServiceStub(channel).WatchAvailability(
            ParseDict(watched, v1.WatchAvailabilityRequest()), timeout=60
        )
        assert told(answer) == told(next(python)) == [("HAM", 11_000_000)]
        python.cancel()


def told(answer: v1.WatchAvailabilityResponse) -> list[tuple[str, int]]:
    return [(each.availability.branch, each.availability.available_micros) for each in answer.changes]
