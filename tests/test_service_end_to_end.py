"""A real server: worker processes, a real store, the real client."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import pricegrid
from pricegrid import Client, Line, LineStatus, v1
from pricegrid.loaders.store.snapshot import activate
from pricegrid.service.cli.main import main
from pricegrid.service.rpc.services import SERVICES
from tests.datasets import Rows
from tests.servers import Server, running, until
from tests.stores import SKUS, price_rows, publish, stocked_rows
from tests.transport_worlds import TRANSPORTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served_store(tmp_path_factory):
    store = tmp_path_factory.mktemp("served")
    publish(store, stocked_rows())
    return str(store)


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request, served_store):
    options = ("--workers", "2", "--metrics-port", "0", "--transport", request.param)
    with running(Path(served_store), *options) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server):
    with Client(server.address) as connected:
        yield connected


def test_prices_a_customers_lines(client):
    result = client.price_lines(
        "C1",
        [Line("S3", 4), Line("S0", 10), Line("S2", Decimal("0.5"), "BOX"), Line("nope")],
        as_of=date(2026, 3, 1),
    )

    assert [line.status for line in result.lines] == [LineStatus.OK] * 3 + [LineStatus.UNKNOWN_ITEM]
    assert [line.unit_price for line in result.lines] == [Decimal("1.25"), Decimal("9.5"), Decimal(120), None]
    assert [line.extended_price for line in result.lines] == [Decimal(5), Decimal(95), Decimal(60), None]
    assert (result.lines[0].book_id, result.lines[0].entry_id, result.lines[0].layer) == (
        "C1",
        "deal-7",
        "contract",
    )
    assert result.lines[0].valid_until == datetime(2026, 7, 1, tzinfo=UTC)
    assert (result.currency, result.as_of) == ("EUR", datetime(2026, 3, 1, tzinfo=UTC))


def test_an_item_they_may_not_buy_does_not_exist(client):
    forbidden, unknown = client.price_lines("C1", [Line("E1"), Line("nope")]).lines

    assert forbidden == unknown


def test_explains_a_price(client):
    explained = client.explain_price("C1", Line("S3", 4), as_of=date(2026, 3, 1))

    assert explained.line.unit_price == Decimal("1.25")
    assert {"question", "answer", "layers", "steps", "snapshot_version"} <= set(explained.document)


REFUSED = [
    ("10,001 lines", lambda c: c.price_lines("C1", [Line("S0")] * 10_001), "TOO_MANY_LINES"),
    ("no lines", lambda c: c.price_lines("C1", []), "NO_LINES"),
    ("a SKU of a megabyte", lambda c: c.price_lines("C1", [Line("S" * 1_000_000)]), "SKU_TOO_LONG"),
    ("no customer and no currency", lambda c: c.price_lines("", [Line("S0")]), "CURRENCY_REQUIRED"),
    (
        "a currency in small letters",
        lambda c: c.price_lines("C1", [Line("S0")], currency="eur"),
        "INVALID_CURRENCY",
    ),
    ("an unknown customer", lambda c: c.price_lines("C9", [Line("S0")]), "CUSTOMER_NOT_ALLOWED"),
    (
        "an unknown snapshot",
        lambda c: c.price_lines("C1", [Line("S0")], snapshot_version="20200101T000000Z-00000000"),
        "UNKNOWN_SNAPSHOT",
    ),
    (
        "a path for a snapshot",
        lambda c: c.price_lines("C1", [Line("S0")], snapshot_version="../../etc"),
        "UNKNOWN_SNAPSHOT",
    ),
]


@pytest.mark.parametrize(("ask", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refuses(client, ask, reason):
    with pytest.raises(pricegrid.PricegridError) as refused:
        ask(client)

    assert refused.value.reason == reason


def test_the_server_itself_refuses_10001_lines(server):
    request = v1.PriceLinesRequest(
        customer_id="C1", lines=[v1.PriceLine(sku="S0", quantity_micros=1)] * 10_001
    )
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as refused:
        v1.PricingServiceStub(channel).PriceLines(request)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = pricegrid.errors.error_from_rpc(refused.value)
    assert (error.reason, error.metadata["lines"]) == ("TOO_MANY_LINES", "10001")
    assert error.correlation_id


def test_prices_ten_thousand_lines(client):
    result = client.price_lines("C1", [Line("S0", 1)] * 10_000, timeout_s=30)

    assert {line.unit_price for line in result.lines} == {Decimal(10)}
    assert len(result.lines) == 10_000


SAME = [
    ["quote", "--customer", "C1", "--as-of", "2026-03-01", "S3:4", "S0:10", "S1:2", "S2:1.5:BOX", "nope", "S4:0"],
    ["quote", "--customer", "C1", "--branch", "RTM", "--branch", "HAM", "--as-of", "2026-03-02", "S4:15", "KIT:2"],
    ["availability", "--as-of", "2026-03-02T12:00:00Z", "--explain", "S4:15", "KIT:2", "nope", "S5"],
    ["promise", "--as-of", "2026-03-02T12:00:00Z", "--ship-to", "NORTH", "S4:15", "KIT:2", "nope:1", "S5:4"],
]  # fmt: skip


@pytest.mark.parametrize("words", SAME, ids=lambda words: words[0])
def test_the_command_prints_the_same_from_a_server_as_from_the_store(server, served_store, capsys, words):
    codes, printed = [], []
    for where in (["--address", server.address], ["--store", served_store]):
        codes.append(main([*words[:1], *where, "--json", *words[1:]]))
        printed.append(json.loads(capsys.readouterr().out))

    assert codes[0] == codes[1]
    assert printed[0] == printed[1]
    assert len(printed[0]) >= 2


def test_prices_and_availability_come_in_one_call(client):
    result = client.quote_lines(
        "C1", [Line("S4", 15), Line("S6")], as_of=datetime(2026, 3, 2, 12, tzinfo=UTC)
    )

    assert [line.price.unit_price for line in result.lines] == [Decimal(10), Decimal(10)]
    assert [line.availability.available for line in result.lines] == [Decimal(10), Decimal(0)]
    assert [line.availability.promise_date for line in result.lines] == [date(2026, 3, 7), None]


def test_says_that_it_serves(server):
    with grpc.insecure_channel(server.address) as channel:
        for service in ("", *SERVICES):
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_tells_what_services_it_has(server):
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        names = {
            service.name
            for answer in stub.ServerReflectionInfo(asked)
            for service in answer.list_services_response.service
        }

    assert {*SERVICES, "grpc.health.v1.Health"} <= names


def metrics_of(server: Server) -> str:
    """What Prometheus would read."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ready['metrics_port']}/metrics") as answer:
        return answer.read().decode()


def count_of(name: str, text: str) -> int:
    """The value of a counter in what Prometheus would read."""
    lines = (line.rpartition(" ") for line in text.splitlines())
    return sum(int(float(value)) for key, _, value in lines if key == name)


def test_counts_requests_and_lines(served_store):
    def counted(prices: int) -> dict[str, int]:
        return {
            'pricegrid_requests_total{method="PriceLines",outcome="OK"}': prices,
            'pricegrid_requests_total{method="CheckAvailability",outcome="OK"}': 1,
            'pricegrid_request_seconds_count{method="PriceLines"}': prices,
            'pricegrid_request_seconds_bucket{le="+Inf",method="PriceLines"}': prices,
            'pricegrid_lines_total{status="NO_PRICE"}': prices,
            'pricegrid_availability_lines_total{status="UNKNOWN_ITEM"}': 1,
        }

    def shows(expected: dict[str, int]) -> bool:
        text = metrics_of(server)
        return {name: count_of(name, text) for name in expected} == expected

    # a server that nobody else asks
    with running(Path(served_store), "--workers", "2", "--metrics-port", "0") as server:
        with Client(server.address) as client:
            client.check_availability([Line("nope")])
            for _ in range(3):
                client.price_lines("C1", [Line("S0"), Line("N1")])
            until(lambda: shows(counted(3)), "a worker shows what it counted")

            client.price_lines("C1", [Line("S0"), Line("N1")])
            until(lambda: shows(counted(4)), "it shows one more, and adds nothing twice")
        assert "pricegrid_snapshot_age_seconds" in metrics_of(server)


def test_a_second_server_does_not_share_the_port(server, tmp_path):
    publish(tmp_path, price_rows())
    command = [
        sys.executable,
        "-m",
        "pricegrid.service.cli.main",
        "serve",
        "--store",
        str(tmp_path),
        "--port",
    ]

    second = subprocess.run(
        [*command, str(server.ready["port"])], capture_output=True, text=True, check=False
    )

    assert second.returncode == 1
    assert "in use" in second.stderr


def stocked_like_priced(price: str) -> Rows:
    """A shop whose stock of each item is as many as its price."""
    stock = [{"sku": sku, "branch": "HAM", "on_hand": price, "as_of": "2026-01-01T00:00:00Z"} for sku in SKUS]
    return price_rows(price) | {"branches": [{"branch": "HAM"}], "stock": stock}


def test_a_swap_under_load_fails_nothing_and_mixes_nothing(tmp_path):
    price_of = {
        publish(tmp_path, stocked_like_priced(price), minute=minute): Decimal(price)
        for minute, price in enumerate(("10", "20", "30"))
    }
    versions = list(price_of)
    lines = [Line(sku) for sku in SKUS[4:]] * 4
    seen: set[str] = set()
    done = False

    def ask_on(connected: Client) -> int:
        asked = 0
        while not done:
            result = connected.quote_lines("C1", lines, branches=["HAM"], timeout_s=30)
            expected = {price_of[result.snapshot_version]}
            assert {line.price.unit_price for line in result.lines} == expected
            assert {line.availability.available for line in result.lines} == expected
            seen.add(result.snapshot_version)
            asked += 1
        return asked

    with running(tmp_path, "--workers", "2") as served, ThreadPoolExecutor(3) as pool:
        clients = [Client(served.address) for _ in range(3)]
        callers = [pool.submit(ask_on, connected) for connected in clients]
        try:
            for version in (*versions, *versions):
                activate(tmp_path, version)
                until(
                    lambda wanted=version: (
                        all(c.price_lines("C1", lines[:1]).snapshot_version == wanted for c in clients)
                        and wanted in seen  # before the next one
                    ),
                    f"all answer from {version}",
                )
        finally:
            done = True
        assert all(caller.result(60) > 0 for caller in callers)
        for connected in clients:
            connected.close()
        assert seen == set(versions)


def test_answers_from_an_older_snapshot_that_is_named(tmp_path):
    old = publish(tmp_path, price_rows("10"), minute=0)
    publish(tmp_path, price_rows("20"), minute=1)

    with running(tmp_path, "--workers", "1") as served, Client(served.address) as connected:
        now = connected.price_lines("C1", [Line("S4")])
        then = connected.price_lines("C1", [Line("S4")], snapshot_version=old)

    assert (now.lines[0].unit_price, then.lines[0].unit_price) == (Decimal(20), Decimal(10))
    assert then.snapshot_version == old


def test_a_damaged_snapshot_is_refused_and_the_old_one_stays(tmp_path):
    good = publish(tmp_path, price_rows("10"), minute=0)

    with running(tmp_path, "--workers", "1") as served, Client(served.address) as connected:
        bad = publish_damaged(tmp_path)
        until(lambda: any("refused" in line for line in served.log), "the damage is noticed")
        answer = connected.price_lines("C1", [Line("S4")])
        with pytest.raises(pricegrid.ServerError) as refused:
            connected.price_lines("C1", [Line("S4")], snapshot_version=bad)

    assert answer.snapshot_version == good
    assert refused.value.reason == "SNAPSHOT_UNUSABLE"


def publish_damaged(store: Path) -> str:
    """Publishes a snapshot one byte of which is flipped before it becomes active."""
    active = (store / "current").read_text().strip()
    bad = publish(store / "aside", price_rows("20"), minute=1)
    target = store / "snapshots" / bad
    (store / "aside" / "snapshots" / bad).rename(target)
    largest = max(target.glob("*.npy"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    assert active != bad
    activate(store, bad)
    return bad


def test_a_dead_worker_is_started_again(tmp_path):
    publish(tmp_path, price_rows())

    with running(tmp_path, "--workers", "1") as served, Client(served.address) as connected:
        (first,) = served.workers()
        os.kill(first, signal.SIGKILL)

        def answers_again() -> bool:
            try:
                return connected.price_lines("C1", [Line("S4")]).lines[0].status is LineStatus.OK
            except pricegrid.UnavailableError:
                return False

        until(lambda: served.workers() not in ([], [first]) and answers_again(), "another worker answers")


def test_a_request_in_flight_ends_before_the_server_does(tmp_path):
    publish(tmp_path, price_rows())

    with (
        running(tmp_path, "--workers", "2") as served,
        Client(served.address) as connected,
        ThreadPoolExecutor(8) as pool,
    ):
        connected.price_lines("C1", [Line("S4")])
        large = [Line(sku) for sku in SKUS] * 500
        asked = [pool.submit(connected.price_lines, "C1", large, timeout_s=30) for _ in range(8)]
        until(lambda: any(future.done() for future in asked), "the first answer")
        code = served.stop()
        outcomes = [future.exception() for future in asked]

    assert code == 0
    # What had not begun may be turned away, with the one error that says: ask another server.
    assert [
        outcome for outcome in outcomes if outcome and not isinstance(outcome, pricegrid.UnavailableError)
    ] == []
    assert sum(outcome is None for outcome in outcomes) >= 1


CANNOT_START = [
    ("no snapshot", [], "no active snapshot"),
    ("an address others can reach", ["--host", "0.0.0.0"], "--allow-remote"),
]


@pytest.mark.parametrize(("options", "why"), [c[1:] for c in CANNOT_START], ids=[c[0] for c in CANNOT_START])
def test_does_not_start_with(tmp_path, options, why):
    command = [
        sys.executable,
        "-m",
        "pricegrid.service.cli.main",
        "serve",
        "--store",
        str(tmp_path),
        "--port",
        "0",
        *options,
    ]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr
