"""A storefront in Node.js, with gRPC's own JavaScript library, gets the answers that the Python client gets."""

import json
import shutil
import subprocess
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from pricegrid import Client, Line, PricegridError
from tests.served_worlds import shop
from tests.servers import running
from tests.stores import SKUS, publish
from tests.transport_worlds import TRANSPORTS

NODE = shutil.which("node")
EXAMPLE = Path(__file__).parents[1] / "examples" / "node"
AS_OF = "2026-03-02T12:00:00Z"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (EXAMPLE / "node_modules" / "@grpc" / "grpc-js").is_dir(),
        reason="the packages of examples/node are not installed: make node",
    ),
]


class Recorder(grpc.UnaryUnaryClientInterceptor):
    """Keeps the messages that the Python client got."""

    def __init__(self) -> None:
        self.answers = []

    def intercept_unary_unary(self, continuation, client_call_details, request):
        call = continuation(client_call_details, request)
        self.answers.append(call.result())
        return call


@pytest.fixture(scope="module", params=TRANSPORTS)
def address(request, tmp_path_factory):
    store = tmp_path_factory.mktemp("asked-from-node")
    publish(store, shop(1))
    with running(store, "--workers", "1", "--transport", request.param) as server:
        yield server.address


def line_of(text: str) -> Line:
    sku, quantity, uom = [*text.split(":"), "", ""][:3]
    return Line(sku, Decimal(quantity or 1), uom)


def asked_by_python(address: str, customer: str, lines: list[str], **options) -> dict:
    """Every field of the answer, int64 as text, and not the fields that are not set."""
    recorder = Recorder()
    with grpc.insecure_channel(address) as channel:
        client = Client(channel=grpc.intercept_channel(channel, recorder))
        result = client.quote_lines(customer, [line_of(line) for line in lines], **options)
    (answer,) = recorder.answers
    assert len(result.lines) == len(answer.results) == len(lines)
    return MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def run_node(
    address: str, customer: str, lines: list[str], *options: str
) -> subprocess.CompletedProcess[str]:
    command = [NODE, "quote.mjs", *options, "--", address, customer, *lines]
    return subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False, timeout=60)


def asked_by_node(address: str, customer: str, lines: list[str], *options: str) -> dict:
    ran = run_node(address, customer, lines, *options)
    assert ran.returncode == 0, ran.stderr
    return without_nulls(json.loads(ran.stdout))


def without_nulls(value):
    """What is not set is null in JavaScript, and not there in Python."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


MIXED = [
    "S0:10",
    "S2:1.5:BOX",
    "S2:0.000001",
    "S3:-4",
    "S4:15",
    "S5:0",
    "S1:2",
    "nope",
    "E1",
    "N1",
    "X1",
    "S10:7:THIRD",
]
ASKED = [
    ("a page of lines", "C1", MIXED, {}),
    ("over two branches", "C1", MIXED, {"branches": ["RTM", "HAM"]}),
    ("a kit, an item twice", "C1", ["KIT:2", "S4:6", "S4:6", "BOLT:999999.5"], {}),
    ("a branch that does not exist", "C1", ["S4"], {"branches": ["nowhere"]}),
    ("converted, without a branch", "C2", MIXED, {}),
    ("what everyone pays", "", MIXED, {"currency": "EUR", "branches": ["HAM"]}),
    ("more than a double holds", "C1", ["S3:9007199254.740993", "S0:-900000000000.000001", "S0:9000000000000"], {}),
    ("a thousand lines", "C1", [f"{sku}:{quantity}" for quantity in range(1, 51) for sku in SKUS], {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("customer", "lines", "options"), [case[1:] for case in ASKED], ids=[case[0] for case in ASKED]
)
def test_node_gets_what_python_gets(address, customer, lines, options):
    words = [word for branch in options.get("branches", ()) for word in ("--branch", branch)]
    words += ["--currency", options["currency"]] if "currency" in options else []

    python = asked_by_python(address, customer, lines, as_of=datetime.fromisoformat(AS_OF), **options)
    node = asked_by_node(address, customer, lines, "--as-of", AS_OF, *words)

    for answer in (python, node):  # these differ between any two calls
        assert int(answer.pop("snapshot_age_ms")) > 0
        assert answer.pop("correlation_id")
    assert node == python
    assert node["results"][0]["price"]["status"] == "LINE_STATUS_OK"
    assert len(node["results"]) == len(lines)


def test_node_asks_about_now(address):
    before_us = time.time_ns() // 1000
    answer = asked_by_node(address, "C1", ["S3"])

    assert before_us <= int(answer["as_of_us"]) <= time.time_ns() // 1000


def test_node_is_refused_as_python_is(address):
    with pytest.raises(PricegridError) as refused:
        asked_by_python(address, "nobody", ["S0"])
    ran = run_node(address, "nobody", ["S0"])

    assert ran.returncode == 1
    assert ran.stderr == f"PERMISSION_DENIED: {refused.value.args[0]}\n"
