"""Servers are replaced one after the other while callers go on: who asks once more is answered."""

import contextlib
import os
import threading

import grpc
import pytest

from pricegrid import v1
from tests.ports import free_port
from tests.servers import running, until
from tests.stores import publish, stocked_rows
from tests.transport_worlds import TRANSPORTS

RESTARTS = 100 if os.environ.get("PRICEGRID_LONG_TESTS") == "1" else 4
CALLERS = 3
METHOD = f"/{v1.PRICING_SERVICE}/PriceLines"

pytestmark = pytest.mark.slow


AGAIN = {
    "grpcio": {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    },  # calls it had not taken up when it was stopped
    "http2": {grpc.StatusCode.UNAVAILABLE},
}
"""What a caller asks once more for."""


class Callers:
    """Callers who ask without a pause, each on a connection of its own, and once more if a call fails."""

    def __init__(self, addresses: list[str], request: bytes, transport: str) -> None:
        self._addresses, self._request, self._asked_again = addresses, request, AGAIN[transport]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        self.answered = self.again = 0
        self.failed: list[str] = []
        for each in self._threads:
            each.start()

    def _ask(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.lb_policy_name", "round_robin")]
        with grpc.insecure_channel(f"ipv4:{','.join(self._addresses)}", options=options) as channel:
            call = channel.unary_unary(METHOD)
            while not self._over.is_set():
                for attempt in (1, 2):
                    try:
                        call(self._request, timeout=30, wait_for_ready=True)
                    except grpc.RpcError as error:
                        if attempt == 2 or error.code() not in self._asked_again:
                            self.failed.append(f"{error.code()}: {error.details()}")
                            break
                        self.again += 1
                    else:
                        self.answered += 1
                        break

    def end(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_call_fails_for_whoever_asks_once_more(tmp_path, transport):
    publish(tmp_path, stocked_rows())
    request = v1.PriceLinesRequest(
        customer_id="C1", lines=[v1.PriceLine(sku="S0", quantity_micros=10_000_000)]
    ).SerializeToString()
    options = ("--workers", "1", "--transport", transport, "--grace", "20")
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running(tmp_path, *options, "--port", str(free_port()))) for _ in range(2)
        ]
        callers = Callers([server.address for server in servers], request, transport)
        try:
            until(lambda: callers.answered > 100, "they are answered")
            for number in range(RESTARTS):
                former = servers[number % 2]
                assert former.stop() == 0
                port = former.address.rpartition(":")[2]
                servers[number % 2] = stack.enter_context(running(tmp_path, *options, "--port", port))
                before = callers.answered
                until(lambda before=before: callers.answered > before + 20, "they go on")
        finally:
            callers.end()

    assert callers.failed == []
    assert callers.answered > 20 * RESTARTS
