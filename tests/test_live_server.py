"""Live state through a running server: two workers and a writer, a killed writer, a new snapshot, a restart."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from pricegrid import Client, FreshnessState, Line, PricegridError, ReserveLine
from pricegrid.service.cli.main import main
from tests.redis_servers import Proxy, redis_server
from tests.servers import running, until
from tests.written import write_tables

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
SHOPPERS, TRIES, KILLS, STOCK = (16, 6_250, 10, 40_000) if LONG else (4, 60, 2, 150)
SOON = datetime.now(UTC).replace(microsecond=0)
BEFORE = (SOON - timedelta(hours=1)).isoformat()
BRANCHES = "branch\nMAIN"
FEEDS = "branch,source,as_of,complete\n" + "".join(
    f"MAIN,{source},{BEFORE},true\n" for source in ("erp", "wms", "transit")
)


@pytest.fixture
def load(tmp_path):
    def load(on_hand: int, as_of: str = BEFORE) -> str:
        dataset, store = tmp_path / "dataset", tmp_path / "store"
        tables = {
            "items": "sku,base_uom\nX,EA\nY,EA",
            "branches": BRANCHES,
            "feeds": FEEDS,
            "stock": f"sku,branch,on_hand,as_of\nX,MAIN,{on_hand},{as_of}\nY,MAIN,{on_hand},{as_of}",
        }
        write_tables(dataset, tables)
        assert main(["load", str(dataset), "--store", str(store), "--force"]) == 0
        return str(store)

    return load


def free(address: str, sku: str = "X") -> int:
    """Whole units, asked over a connection of its own: any worker may answer."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel, Client(channel=channel) as client:
        return int(client.check_availability([Line(sku, 1)]).lines[0].available)


def every_worker_says(address: str, units: int, sku: str = "X") -> bool:
    return {free(address, sku) for _ in range(12)} == {units}


def publish(tmp_path, address: str, *events: dict) -> int:
    usual = {"source": "erp", "effective_time": SOON.isoformat(), "measure": "on_hand", "kind": "delta"}
    lines = [json.dumps({**usual, "sku": "X", "branch": "MAIN", **event}) for event in events]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    return main(["events", "publish", str(tmp_path / "events.jsonl"), "--address", address])


@pytest.mark.slow
def test_live_state_in_a_server(load, tmp_path, capsys):
    store = load(100)
    with running(store, "--workers", "2") as served, Client(served.address) as client:
        assert publish(tmp_path, served.address, {"sequence": 1, "quantity": "-10"}) == 0
        until(lambda: every_worker_says(served.address, 90), "both workers see the event")

        held = client.reserve([ReserveLine("X", 30, "MAIN")], key="cart", customer_id="").reservation
        until(lambda: every_worker_says(served.address, 60), "both workers see the reservation")

        (writer,) = served.writer()
        os.kill(writer, signal.SIGKILL)
        assert free(served.address) == 60  # reads need no writer

        def is_back() -> bool:
            try:
                return bool(client.reserve([ReserveLine("Y", 1, "MAIN")], key="y").reservation)
            except PricegridError as error:
                if error.reason != "LIVE_STATE_UNAVAILABLE":
                    raise
                return False

        until(is_back, "the next writer takes over")
        until(lambda: every_worker_says(served.address, 60), "nothing was lost")
        until(lambda: every_worker_says(served.address, 99, "Y"), "the new writer is followed")

        load(200)
        until(lambda: every_worker_says(served.address, 160), "live state goes over to the new snapshot")
        client.confirm_reservation(held.reservation_id, "SO-1")
        assert served.stop() == 0
    with running(store, "--workers", "2") as served:
        until(lambda: every_worker_says(served.address, 160), "a restart keeps it")
    capsys.readouterr()
    assert main(["availability", "--store", store, "--branch", "MAIN", "--json", "X"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["available"] == "160"


@pytest.mark.slow
def test_a_second_server_on_the_store_takes_over_when_the_first_is_gone(load):
    store = load(100)
    with (
        running(store, "--workers", "1") as first,
        running(store, "--workers", "1") as second,
        Client(second.address) as client,
    ):
        assert client.reserve([ReserveLine("X", 5, "MAIN")], key="a").reservation.reservation_id
        until(lambda: free(second.address) == 95, "the writer of the first server serves the second")
        assert first.stop() == 0

        def takes_over() -> bool:
            try:
                return bool(client.reserve([ReserveLine("X", 5, "MAIN")], key="b").reservation)
            except PricegridError:
                return False

        until(takes_over, "its own writer takes over")
        until(lambda: free(second.address) == 90, "with all that was held")


SHOPPER = """
import sys
from datetime import timedelta
from pricegrid import Client, PricegridError, ReserveLine
day = timedelta(days=1)  # on a slow machine some would else end, and be sold again
address, name, tries = sys.argv[1:]
sold = 0
with Client(address) as client:
    for at in range(int(tries)):
        while True:
            try:
                found = client.reserve([ReserveLine("X", 1, "MAIN")], key=f"{name}-{at}", customer_id="", ttl=day)
                break
            except PricegridError as error:
                assert error.reason in ("LIVE_STATE_UNAVAILABLE", "UNAVAILABLE", "DEADLINE_EXCEEDED"), error.reason
        sold += found.reservation.reservation_id != ''
print(sold)
"""


def sell(addresses: list[str], kill: Callable[[int], None]) -> int:
    """How many units all shoppers got; servers are killed meanwhile."""
    shoppers = [
        subprocess.Popen(
            [sys.executable, "-c", SHOPPER, addresses[number % len(addresses)], f"S{number}", str(TRIES)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(SHOPPERS)
    ]
    with ThreadPoolExecutor(SHOPPERS) as pool:
        sold = [pool.submit(shopper.communicate) for shopper in shoppers]
        for number in range(1, KILLS + 1):
            # spread over the time in which there is something to sell
            until(
                lambda left=STOCK - number * STOCK // (KILLS + 1): free(addresses[0]) < left, "some are sold"
            )
            kill(number)
        return sum(int(each.result()[0]) for each in sold)


@pytest.mark.slow
def test_many_processes_sell_exactly_the_stock_while_the_writer_is_killed(load):
    store = load(STOCK)
    with running(store, "--workers", "2") as served:

        def kill(_: int) -> None:
            until(lambda: len(served.writer()) == 1, "there is a writer again")
            os.kill(served.writer()[0], signal.SIGKILL)

        assert sell([served.address], kill) == STOCK
        until(lambda: every_worker_says(served.address, 0), "nothing is left")


@pytest.mark.slow
def test_many_processes_sell_exactly_the_stock_of_two_hosts_on_redis(load, tmp_path):
    stores = [load(STOCK), shutil.copytree(tmp_path / "store", tmp_path / "other")]
    with redis_server(tmp_path / "redis") as server:
        host, port = server.address
        options = ("--workers", "1", "--redis-url", f"redis://{host}:{port}")
        with running(str(stores[0]), *options) as one, running(str(stores[1]), *options) as two:
            servers = [one, two]

            def kill(number: int) -> None:
                served = servers[number % 2]
                until(lambda: len(served.writer()) == 1, "there is a writer again")
                os.kill(served.writer()[0], signal.SIGKILL)

            assert sell([one.address, two.address], kill) == STOCK
            until(lambda: free(one.address) == free(two.address) == 0, "nothing is left at either")


@pytest.mark.slow
def test_two_hosts_share_reservations_and_events_through_redis(load, tmp_path):
    """Two stores, two servers, one Redis that goes away and comes back."""
    stores = [load(100), shutil.copytree(tmp_path / "store", tmp_path / "other")]
    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        host, port = proxy.address
        url = ("--redis-url", f"redis://{host}:{port}")
        with (
            running(str(stores[0]), "--workers", "1", *url) as one,
            running(str(stores[1]), "--workers", "1", *url) as two,
            Client(one.address) as buyer,
            Client(two.address) as other,
        ):
            lines = [ReserveLine("X", 30, "MAIN")]

            def reserved(client: Client, key: str) -> bool:
                try:
                    return bool(client.reserve(lines, key=key).reservation.reservation_id)
                except PricegridError as error:
                    if error.reason != "LIVE_STATE_UNAVAILABLE":
                        raise
                    return False

            until(lambda: reserved(buyer, "a"), "the first Redis is healed and takes reservations")
            until(lambda: free(two.address) == 70, "the other host sees it")
            assert publish(tmp_path, two.address, {"sequence": 1, "quantity": "-10"}) == 0
            until(lambda: free(one.address) == 60, "and the first one its event")
            until(lambda: reserved(other, "b"), "the other takes reservations, too")
            until(lambda: reserved(buyer, "c"), "and the first one goes on")
            assert not reserved(other, "d")  # 100 - 10 - 90: nothing is promised twice
            until(lambda: free(one.address) == free(two.address) == 0, "both agree")

            proxy.refuse()
            until(lambda: freshness(one.address) == FreshnessState.STALE, "answers say that they may be old")
            assert free(one.address) == 0
            assert publish(tmp_path, one.address, {"sequence": 2, "quantity": "5"}) == 0

            proxy.restore()
            until(lambda: free(two.address) == 5, "what was kept meanwhile is told")
            until(lambda: freshness(one.address) == FreshnessState.FRESH, "and answers are fresh again")


FAULTS = {
    "refused": lambda proxy, _: proxy.refuse(),
    "black hole": lambda proxy, _: setattr(proxy, "black_hole", True),
    "slow by a second": lambda proxy, _: setattr(proxy, "delay_s", 1.0),
    "reset": lambda proxy, _: proxy.cut(reset=True),
    "flushed": lambda _, server: server.ask("FLUSHALL"),
}
READ_BUDGET_S = 1.0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_reads_go_on_whatever_happens_to_redis(load, tmp_path, fault):
    """Every read is answered within its budget; what was acknowledged is there, and exact again afterwards."""
    store = load(100)
    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        host, port = proxy.address
        with (
            running(store, "--workers", "1", "--redis-url", f"redis://{host}:{port}") as served,
            Client(served.address) as client,
        ):

            def reserved(key: str) -> bool:
                try:
                    lines = [ReserveLine("X", 10, "MAIN")]
                    return bool(client.reserve(lines, key=key).reservation.reservation_id)
                except PricegridError as error:
                    if error.reason != "LIVE_STATE_UNAVAILABLE":
                        raise
                    return False

            until(lambda: reserved("before"), "Redis takes reservations")
            FAULTS[fault](proxy, server)
            states, reads, tries = set(), 0, []
            with ThreadPoolExecutor(1) as pool:

                def is_over() -> bool:
                    """Enough was read while it lasted, or the reservation went through: a reset is over at once."""
                    nonlocal reads
                    if not tries or (tries[-1].done() and not tries[-1].result()):
                        tries.append(pool.submit(reserved, "during"))
                    line = client.check_availability([Line("X", 1)], timeout_s=READ_BUDGET_S).lines[0]
                    assert line.available in {80, 90}
                    states.add(line.branches[0].freshness.erp.state)
                    reads += 1
                    return line.available == 80 or (reads >= 60 and FreshnessState.STALE in states)

                until(is_over, "answers say that they may be old")
                proxy.black_hole, proxy.delay_s = False, 0.0
                proxy.restore()
            until(lambda: reserved("during"), "reservations are taken again")
            until(lambda: free(served.address) == 80, "once, whatever became of the tries before")
            until(lambda: freshness(served.address) == FreshnessState.FRESH, "and answers are fresh")


@pytest.mark.slow
def test_events_of_a_redis_stream_are_taken_in_once_by_one_of_the_hosts(load, tmp_path):
    store = load(100)
    usual = {"source": "erp", "effective_time": SOON.isoformat(), "measure": "on_hand", "kind": "delta"}
    pair = {"sku": "X", "branch": "MAIN"}
    with redis_server(tmp_path / "redis") as server:
        host, port = server.address
        options = ("--workers", "1", "--redis-url", f"redis://{host}:{port}", "--events-stream", "warehouse")
        with server.client() as stream:
            stream.xadd("warehouse", {**usual, **pair, "sequence": "1", "quantity": "-10"})
            with running(store, *options) as served, Client(served.address) as client:
                until(lambda: free(served.address) == 90, "what was there before is taken in")
                text = json.dumps({**usual, **pair, "sequence": 2, "quantity": "-5"})
                stream.xadd("warehouse", {"event": text})
                stream.xadd("warehouse", {"event": "no event"})
                stream.xadd("warehouse", {**usual, **pair, "sequence": "3", "quantity": "-1"})
                until(lambda: free(served.address) == 84, "and what comes")
                assert [letter.reason for letter in client.dead_letters()] == ["MALFORMED"]
                until(
                    lambda: stream.xpending("warehouse", "pricegrid")["pending"] == 0, "all is acknowledged"
                )
            with running(store, *options) as served:
                stream.xadd("warehouse", {**usual, **pair, "sequence": "4", "quantity": "-4"})
                until(lambda: free(served.address) == 80, "a restart goes on where it stopped")


def freshness(address: str) -> FreshnessState:
    with Client(address) as client:
        return client.check_availability([Line("X", 1)]).lines[0].branches[0].freshness.erp.state
