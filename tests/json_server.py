"""A small HTTP server that answers JSON by a function: stands where an ERP's interface would."""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass(slots=True)
class Request:
    """What came in; `path` is decoded."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass(slots=True)
class Reply:
    """What goes out; a text is sent as it is."""

    document: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class JsonServer:
    """A running server and what it was asked."""

    url: str
    requests: list[Request]


@contextlib.contextmanager
def json_server(
    answer: Callable[[Request], Reply], tls: ssl.SSLContext | None = None
) -> Iterator[JsonServer]:
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = json.loads(raw, parse_float=Decimal) if raw else None
            request = Request(self.command, unquote(self.path), body, dict(self.headers.items()))
            requests.append(request)
            reply = answer(request)
            text = reply.document if isinstance(reply.document, str) else json.dumps(reply.document)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(text.encode())), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = _answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that refuses the certificate is none
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield JsonServer(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
