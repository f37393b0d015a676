"""A small ERP over HTTP that misbehaves on demand: a real server on loopback, for what a real ERP does on bad days.

It prices by `prices`, (customer, sku) to text, or 'everyone' by ('', sku); the questions of a call are the `lines` of
its JSON body, the answer has a row each. `fault` changes what is answered, from the next call on.
"""

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MAPPING = """
adapter = "http_json"
name = "small"

[http_json]
base_url = "{url}"
batch_lines_max = 50
ping = "/ping"

[http_json.prices]
path = "/prices"
method = "POST"
body = {{ date = "{{date}}" }}
lines = "lines"
rows = "value"
absent = "failure"

[http_json.prices.line]
sku = "{{sku}}"
customer = "{{customer_id}}"
quantity = "{{quantity}}"
uom = "{{uom}}"
currency = "{{currency}}"

[http_json.prices.fields]
sku = "sku"
customer_id = "customer"
uom = "uom"
currency = "currency"
unit_price = "price"

[http_json.stock]
path = "/stock/{{branch}}?$filter=sku in ({{skus|odata_list}})"
rows = "value"

[http_json.stock.fields]
sku = "sku"
branch = "branch"
on_hand = "onHand"
available = "available"
"""


class Fault(Enum):
    """What is wrong with the ERP."""

    NONE = auto()
    HANGING = auto()
    SLOW = auto()
    """Answers after five seconds."""
    DRIPPING = auto()
    """A byte a second."""
    ERRORS = auto()
    WRONG_CURRENCY = auto()
    WRONG_UNIT = auto()
    NEGATIVE = auto()
    NAN = auto()
    NAN_TEXT = auto()
    HUGE = auto()
    """Ten megabytes."""
    HUGE_CHUNKED = auto()
    """As many rows, without their number."""
    HUGE_PACKED = auto()
    """As many, as some kilobytes of gzip."""
    REDIRECT = auto()
    OTHER_ITEM = auto()
    OTHER_CUSTOMER = auto()
    NO_JSON = auto()
    FAR_OFF = auto()
    """A hundred times the price."""
    TOO_FINE = auto()


class SmallErp:
    """The server and what it knows; `calls` are the bodies of the price calls it got."""

    def __init__(self) -> None:
        self.prices: dict[tuple[str, str], str] = {}
        self.stock: dict[tuple[str, str], tuple[str, str]] = {}
        self.fault = Fault.NONE
        self.rename = ""
        """A field of stock rows that tells something else."""
        self.calls: list[dict[str, Any]] = []
        self.parents: list[str | None] = []
        """The `traceparent` of each of them."""
        self.released = threading.Event()
        self.holding = threading.Event()
        """While set, price calls wait for `released`."""
        self.held: set[str] = set()
        """Items; so do calls that ask one of them."""
        self.url = ""

    def config(self, folder: Path, text: str = "") -> Path:
        """A configuration of pricegrid for this server, with more TOML at its end."""
        path = folder / "erp.toml"
        path.write_text(MAPPING.format(url=self.url) + text, encoding="utf-8")
        return path

    def rows(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for line in lines:
            price = self.prices.get((line["customer"], line["sku"]), self.prices.get(("", line["sku"])))
            if price is not None:
                found.append({**line, "price": self._raw(price)})
        return [self._wrong(row) for row in found]

    @staticmethod
    def _raw(price: str) -> Any:
        return _Number(price)

    def _wrong(self, row: dict[str, Any]) -> dict[str, Any]:
        wrong: dict[Fault, dict[str, Any]] = {
            Fault.WRONG_CURRENCY: {"currency": "XAU"},
            Fault.WRONG_UNIT: {"uom": "PALLET"},
            Fault.NEGATIVE: {"price": _Number("-" + row["price"].text)},
            Fault.NAN: {"price": _Number("NaN")},
            Fault.NAN_TEXT: {"price": "NaN"},
            Fault.OTHER_ITEM: {"sku": row["sku"] + "-OTHER"},
            Fault.OTHER_CUSTOMER: {"customer": row["customer"] + "-OTHER"},
            Fault.FAR_OFF: {"price": _Number(row["price"].text + "e2")},
            Fault.TOO_FINE: {"price": _Number("1.00000001")},
        }
        return {**row, **wrong.get(self.fault, {})}


class _Number:
    """A number that is written to its last digit."""

    def __init__(self, text: str) -> None:
        self.text = text


def _encode(value: Any) -> str:
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_encode(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_encode, value)) + "]"
    return json.dumps(value)


def _chunked(raw: bytes) -> bytes:
    parts = [raw[start : start + 65_536] for start in range(0, len(raw), 65_536)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


_HUGE = (
    b'{"value": ["' + b"x" * 10_000_000 + b'"]}'
)  # made once: making it would slow down whoever shares the core
_CHUNKED = _chunked(_HUGE)
_PACKED = gzip.compress(_HUGE, 1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    erp: SmallErp
    stopping: threading.Event

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        if self.path.startswith("/ping"):
            self._misbehave() or self._send(200, b'{"ok": true}')
            return
        branch = self.path.split("/")[2].split("?")[0]
        rows = [
            {"sku": sku, "branch": where, "onHand": _Number(on_hand), "available": _Number(available)}
            for (sku, where), (on_hand, available) in self.erp.stock.items()
            if where == branch
        ]
        if self.erp.rename:
            rows = [{**row, self.erp.rename: "OTHER"} for row in rows]
        self._misbehave() or self._send(200, _encode({"value": rows}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.erp.calls.append(body)
        self.erp.parents.append(self.headers["traceparent"])
        if self.erp.holding.is_set() or any(line["sku"] in self.erp.held for line in body["lines"]):
            self.erp.released.wait(30)
        self._misbehave() or self._send(200, _encode({"value": self.erp.rows(body["lines"])}).encode())

    def _misbehave(self) -> bool:
        fault = self.erp.fault
        if fault is Fault.HANGING:
            self.stopping.wait(30)
            self.close_connection = True
        elif fault is Fault.SLOW:
            return self.stopping.wait(5)
        elif fault is Fault.DRIPPING:
            self._drip()
        elif fault is Fault.ERRORS:
            self._send(500, b'{"error": "database is locked"}')
        elif fault is Fault.HUGE:
            self._send(200, _HUGE)
        elif fault is Fault.HUGE_CHUNKED:
            self._send(200, _CHUNKED, ("Transfer-Encoding", "chunked"))
        elif fault is Fault.HUGE_PACKED:
            self._send(200, _PACKED, ("Content-Encoding", "gzip"))
        elif fault is Fault.REDIRECT:
            self._send(302, b"", ("Location", self.erp.url + "/elsewhere"))
        elif fault is Fault.NO_JSON:
            self._send(200, b"<html>Sign in</html>")
        else:
            return False
        return True

    def _drip(self) -> None:
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b" " * 100:
                self.wfile.write(bytes([byte]))
                if self.stopping.wait(1):
                    break
        self.close_connection = True

    def _send(self, status: int, raw: bytes, *headers: tuple[str, str]) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if ("Transfer-Encoding", "chunked") not in headers:
                self.send_header("Content-Length", str(len(raw)))
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(raw)


@contextlib.contextmanager
def serving(erp: SmallErp, port: int = 0) -> Iterator[SmallErp]:
    """Serves on loopback; at the end it is gone, and its port refuses."""
    stopping = threading.Event()
    handler = type("Handler", (_Handler,), {"erp": erp, "stopping": stopping})
    server = _Server(("127.0.0.1", port), handler)
    erp.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield erp
    finally:
        stopping.set()
        erp.released.set()
        server.shutdown()
        server.close_connections()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none."""

    def close_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
