"""A channel for calls with one message each way that takes half the CPU of grpcio's: sockets and libnghttp2.

A call has a connection to itself while it lasts, so its thread writes, waits and reads, and no other thread has a part
in it. Connections that are free are kept for the next call, the newest first. Streams go over a channel of grpcio.

Source: gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md of grpc/grpc; retries are those of its service config (gRFC A6).
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import select
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Never, Self
from urllib.parse import unquote

import grpc
import ngh2

Metadata = Sequence[tuple[str, str | bytes]]

CONNECT_S: Final = 20.0
"""How long to try to connect, where the deadline is later."""
ATTEMPTS: Final = 3
BACKOFF_S: Final = (0.1, 0.2)
"""Before the second attempt and the third, where the server does not say; by chance a fifth more or less."""
TOKENS: Final = 10.0
"""A failure takes one of so many, an answer gives back `TOKEN_BACK`; with half or fewer, nothing is asked again."""
TOKEN_BACK: Final = 0.1
_PREFIX_BYTES: Final = 5
_READ_BYTES: Final = 256 * 1024
_WINDOW_BYTES: Final = 2**31 - 1
_CONFIG: Final = ngh2.Configuration()
_REFUSED_STREAM, _CANCEL, _ENHANCE_YOUR_CALM = 0x7, 0x8, 0xB
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"


class CallError(grpc.RpcError):
    """A call that failed; it has what grpcio's errors have."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Metadata = ()) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code, self._details, self._trailing = code, details, trailing

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """The text of the status."""
        return self._details

    def trailing_metadata(self) -> Any:
        """What came with the status."""
        return self._trailing


class _NotTakenError(Exception):
    """The server has not looked at the call, and never will: another connection may have it."""


class _Answer:
    """What came of a call so far."""

    __slots__ = ("headers", "is_over", "parts", "reset", "size", "trailers")

    def __init__(self) -> None:
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        self.parts: list[bytes] = []
        self.size = 0
        self.reset: int | None = None
        self.is_over = False


class _Connection:
    """A connection, used by one call at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_usable = True
        self._h2 = ngh2.Connection(ngh2.Role.CLIENT, _CONFIG)
        self._h2.initiate_connection(
            {ngh2.Setting.ENABLE_PUSH: 0, ngh2.Setting.INITIAL_WINDOW_SIZE: _WINDOW_BYTES}
        )
        self._h2.set_local_window_size(_WINDOW_BYTES)

    def is_still_there(self) -> bool:
        """Whether the next call may have it; reads what has come since the last."""
        try:
            while self.is_usable and select.select([self.sock], [], [], 0)[0]:
                self.sock.settimeout(0)
                self._take(self.sock.recv(_READ_BYTES), 0, _Answer())
        except (BlockingIOError, ssl.SSLWantReadError):  # a part of a record of TLS
            pass
        except (OSError, ValueError, ngh2.NGH2Error):
            self.is_usable = False
        return self.is_usable and self._h2.can_send_request

    def call(
        self, headers: list[tuple[bytes, bytes]], body: bytes, deadline_s: float | None, most: int
    ) -> _Answer:
        """Sends a request, and waits for all of its answer. Raises OSError (TimeoutError at the deadline) and
        NGH2Error, after which it is of no use, and _NotTakenError."""
        h2, answer = self._h2, _Answer()
        try:
            stream_id = h2.send_request(headers)
            h2.send_data(stream_id, body, end_stream=True)
            self._send(deadline_s)
            while not answer.is_over:
                self._wait(deadline_s)
                self._take(self.sock.recv(_READ_BYTES), stream_id, answer)
                if answer.size > most + _PREFIX_BYTES:
                    self.is_usable = False
                    raise CallError(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, f"an answer is larger than {most} bytes"
                    )
                self._send(deadline_s)
        except ngh2.ConnectionClosingError:
            self.is_usable = False
            raise _NotTakenError from None
        except (OSError, ngh2.NGH2Error):
            self.is_usable = False
            raise
        if answer.reset == _REFUSED_STREAM:
            raise _NotTakenError
        return answer

    def _wait(self, deadline_s: float | None) -> None:
        left_s = None if deadline_s is None else deadline_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise TimeoutError
        self.sock.settimeout(left_s)

    def _send(self, deadline_s: float | None) -> None:
        data = self._h2.data_to_send()
        if data:
            self._wait(deadline_s)
            self.sock.sendall(data)

    def _take(self, data: bytes, stream_id: int, answer: _Answer) -> None:
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._h2.receive_data(data)
        event: Any
        for event in self._h2.events():
            kind = type(event)
            if kind is ngh2.GoAwayReceived:
                self.is_usable = False
                if event.last_stream_id < stream_id:
                    raise _NotTakenError
            elif kind is ngh2.ConnectionClosed:
                self.is_usable = False
                raise ConnectionResetError("the connection broke the protocol")
            elif getattr(event, "stream_id", None) != stream_id:
                continue
            elif kind is ngh2.DataReceived:
                answer.parts.append(event.data)
                answer.size += len(event.data)
            elif kind is ngh2.ResponseReceived:
                answer.headers = event.headers
                if event.end_stream:
                    answer.trailers = event.headers
            elif kind is ngh2.TrailersReceived:
                answer.trailers = event.headers
            elif kind is ngh2.StreamReset:
                answer.reset = event.error_code
            elif kind is ngh2.StreamClosed:
                answer.is_over = True


class _Retries:
    """Whether a call may be asked again: not when most fail."""

    def __init__(self) -> None:
        self._tokens = TOKENS
        self._lock = threading.Lock()

    def answered(self) -> None:
        """A call had an answer."""
        if self._tokens < TOKENS:
            with self._lock:
                self._tokens = min(TOKENS, self._tokens + TOKEN_BACK)

    def failed(self) -> bool:
        """A call failed; whether to ask again."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > TOKENS / 2


class Http2Channel(grpc.Channel):
    """See the module. Safe to share between threads; a process that was forked opens connections of its own."""

    def __init__(
        self,
        address: str,
        *,
        streams: Callable[[], grpc.Channel],
        retried: Collection[str] = (),
        receive_bytes_max: int = 4 * 1024 * 1024,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`address` is HOST:PORT or unix:PATH, else ValueError. `streams` opens the channel that streams go over,
        `retried` are paths of methods to be asked again while UNAVAILABLE, `context` says that TLS is spoken."""
        self._address, self._host, self._port = address, *_parted(address)
        self._open_streams = streams
        self._retried = frozenset(retried)
        self._most = receive_bytes_max
        self._context = context
        self._retries = _Retries()
        self._lock = threading.Lock()
        self._free: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._streams: grpc.Channel | None = None
        self._is_closed = False
        self._pid = os.getpid()

    # what stubs use

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **_: Any,
    ) -> Any:
        """The call of one method: `call(request, timeout=None, metadata=None)`; raises CallError."""
        scheme = b"http" if self._context is None else b"https"
        always = [
            (b":method", b"POST"), (b":scheme", scheme), (b":path", method.encode()),
            (b":authority", self._host.encode() or b"localhost"), (b"te", b"trailers"),
            (b"content-type", b"application/grpc"), (b"user-agent", b"pricegrid-python"),
        ]  # fmt: skip
        is_retried = method in self._retried

        def call(
            request: Any, timeout: float | None = None, metadata: Metadata | None = None, **_: Any
        ) -> Any:
            raw = request if request_serializer is None else request_serializer(request)
            headers = always + _headers(metadata) if metadata else always
            deadline_s = None if timeout is None else time.monotonic() + timeout
            answer = self._ask(headers, raw, deadline_s, is_retried=is_retried)
            return answer if response_deserializer is None else response_deserializer(answer)

        return call

    def unary_stream(self, *args: Any, **settings: Any) -> Any:
        """The call of a method that streams responses."""
        return self._stream("unary_stream", args, settings)

    def stream_unary(self, *args: Any, **settings: Any) -> Any:
        """The call of a method that takes a stream."""
        return self._stream("stream_unary", args, settings)

    def stream_stream(self, *args: Any, **settings: Any) -> Any:
        """The call of a method with streams both ways."""
        return self._stream("stream_stream", args, settings)

    def subscribe(self, *_: Any, **__: Any) -> Never:
        """Not offered: a connection is looked at when it is used."""
        raise NotImplementedError

    def unsubscribe(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Ends all connections; calls under way fail."""
        with self._lock:
            self._is_closed = True
            free, busy, self._free = self._free, list(self._busy), []
            streams, self._streams = self._streams, None
        for connection in free:
            connection.sock.close()
        for connection in busy:  # its thread closes it
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        if streams is not None:
            streams.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # calls

    def _ask(
        self, headers: list[tuple[bytes, bytes]], raw: bytes, deadline_s: float | None, *, is_retried: bool
    ) -> bytes:
        for backoff_s in (*BACKOFF_S, None):
            try:
                found = self._once(headers, raw, deadline_s)
            except CallError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                may_again = self._retries.failed() and is_retried and backoff_s is not None
                wait_s = _pause_s(error, backoff_s or 0.0) if may_again else None
                if wait_s is None or (deadline_s is not None and time.monotonic() + wait_s >= deadline_s):
                    raise
                time.sleep(wait_s)
            else:
                self._retries.answered()
                return found
        raise AssertionError("the last attempt returns or raises")

    def _once(self, headers: list[tuple[bytes, bytes]], raw: bytes, deadline_s: float | None) -> bytes:
        body = b"\0" + len(raw).to_bytes(4, "big") + raw
        for _ in range(ATTEMPTS):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise CallError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            timed = headers if left_s is None else [*headers, (b"grpc-timeout", _timeout(left_s))]
            connection = self._connection(left_s)
            try:
                answer = connection.call(timed, body, deadline_s, self._most)
            except _NotTakenError:
                continue
            except TimeoutError:
                raise CallError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
            except (OSError, ngh2.NGH2Error) as error:
                if self._is_closed:
                    raise CallError(grpc.StatusCode.CANCELLED, "the channel was closed") from None
                text = f"the connection to {self._address} failed: {error}"
                raise CallError(grpc.StatusCode.UNAVAILABLE, text) from None
            finally:
                self._give_back(connection)
            return _message(answer)
        raise CallError(grpc.StatusCode.UNAVAILABLE, f"{self._address} takes no calls")

    def _connection(self, left_s: float | None) -> _Connection:
        while True:
            with self._lock:
                if self._is_closed:
                    raise ValueError("the channel is closed")
                if self._pid != os.getpid():  # these are the parent's
                    self._free, self._busy, self._pid = [], set(), os.getpid()
                if not self._free:
                    break
                connection = self._free.pop()
                self._busy.add(connection)
            if connection.is_still_there():
                return connection
            self._give_back(connection)
        try:
            connection = _Connection(self._connected(CONNECT_S if left_s is None else min(left_s, CONNECT_S)))
        except OSError as error:
            raise CallError(
                grpc.StatusCode.UNAVAILABLE, f"{self._address} can't be reached: {error}"
            ) from None
        with self._lock:
            self._busy.add(connection)
        return connection

    def _connected(self, timeout_s: float) -> socket.socket:
        if self._port is None:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout_s)
            sock.connect(self._address.removeprefix("unix:"))
            return sock
        sock = socket.create_connection((self._host, self._port), timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            return sock
        secure = self._context.wrap_socket(sock, server_hostname=self._host)
        if secure.selected_alpn_protocol() != "h2":
            secure.close()
            raise OSError("it does not speak HTTP/2")
        return secure

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
            if connection.is_usable and not self._is_closed:
                self._free.append(connection)
                return
        connection.sock.close()

    def _stream(self, kind: str, args: tuple[Any, ...], settings: dict[str, Any]) -> Callable[..., Any]:
        def call(*asked: Any, **how: Any) -> Any:
            return getattr(self._of_streams(), kind)(*args, **settings)(*asked, **how)

        return call

    def _of_streams(self) -> grpc.Channel:
        with self._lock:
            if self._is_closed:
                raise ValueError("the channel is closed")
            if self._streams is None:
                self._streams = self._open_streams()
            return self._streams


def client_context(
    root_certificates: bytes | None, client_certificate: tuple[bytes, bytes] | None
) -> ssl.SSLContext:
    """The TLS of a channel: certificates as in `open_channel`. Raises OSError and ssl.SSLError."""
    roots = None if root_certificates is None else root_certificates.decode("ascii")
    context = ssl.create_default_context(cadata=roots)
    context.set_alpn_protocols(["h2"])
    if client_certificate is not None:
        # the library reads them from a file alone; it is this user's, and gone at once
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\n".join(client_certificate))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _parted(address: str) -> tuple[str, int | None]:
    """(host, port) of an address; no port for a unix socket."""
    if address.startswith("unix:"):
        return "", None
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ValueError(f"{address!r} is neither HOST:PORT nor unix:PATH")
    return host.strip("[]"), int(port)


def _timeout(left_s: float) -> bytes:
    micros = max(1, int(left_s * 1e6))
    return b"%du" % micros if micros < 10**8 else b"%dm" % min(micros // 1000, 10**8 - 1)


def _headers(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    return [
        (key.encode(), base64.b64encode(value) if isinstance(value, bytes) else value.encode())
        for key, value in metadata
    ]


def _pause_s(error: CallError, backoff_s: float) -> float | None:
    """How long to wait before asking again; None: the server says not to."""
    said = dict(error.trailing_metadata()).get(_PUSHBACK_KEY)
    if said is None:
        return backoff_s * random.uniform(0.8, 1.2)  # noqa: S311 -- so that not all come at once
    return int(said) / 1000 if isinstance(said, str) and said.isdecimal() else None


def _message(answer: _Answer) -> bytes:
    """The message of an answer; raises CallError with its status, if that is another than OK."""
    trailers = dict(answer.trailers)
    status = trailers.get(b"grpc-status")
    if status is None:
        raise _without_status(answer)
    if status != b"0":
        code = _CODES.get(int(status) if status.isdigit() else 2, grpc.StatusCode.UNKNOWN)
        details = unquote(trailers.get(b"grpc-message", b"").decode("latin-1"))
        raise CallError(code, details, _metadata(answer.trailers))
    body = answer.parts[0] if len(answer.parts) == 1 else b"".join(answer.parts)
    if len(body) < _PREFIX_BYTES or body[0] or int.from_bytes(body[1:5], "big") != len(body) - _PREFIX_BYTES:
        raise CallError(grpc.StatusCode.INTERNAL, "the answer is not one message as it was asked for")
    return body[_PREFIX_BYTES:]


def _without_status(answer: _Answer) -> CallError:
    if answer.reset == _CANCEL:
        return CallError(grpc.StatusCode.CANCELLED, "the server ended the call")
    if answer.reset == _ENHANCE_YOUR_CALM:
        return CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "the server asks for fewer calls")
    http = dict(answer.headers).get(b":status", b"").decode("latin-1")
    # doc/http-grpc-status-mapping.md of grpc/grpc
    code = {
        "400": grpc.StatusCode.INTERNAL,
        "401": grpc.StatusCode.UNAUTHENTICATED,
        "403": grpc.StatusCode.PERMISSION_DENIED,
        "404": grpc.StatusCode.UNIMPLEMENTED,
        **dict.fromkeys(("429", "502", "503", "504"), grpc.StatusCode.UNAVAILABLE),
    }.get(http, grpc.StatusCode.UNKNOWN)
    return CallError(code, f"the answer has no status of gRPC; that of HTTP is {http or 'none'}")


def _metadata(headers: Sequence[tuple[bytes, bytes]]) -> Metadata:
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        key = name.decode("latin-1")
        if key.endswith("-bin"):
            found.append((key, base64.b64decode(value + b"=" * (-len(value) % 4))))
        elif key[:1] != ":" and key not in {"grpc-status", "grpc-message", "content-type"}:
            found.append((key, value.decode("latin-1")))
    return found
