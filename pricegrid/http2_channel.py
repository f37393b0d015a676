"""A channel for calls with one message each way that takes half the CPU of grpcio's: sockets and libnghttp2.

A call has a connection to itself while it lasts, so its thread writes, waits and reads, and no other thread has a part
in it. Connections that are free are kept for the next call, the newest first. Streams go over a channel of grpcio.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Final, Never, Self

import grpc
import ngh2

from pricegrid.http2_calls import (
    ATTEMPTS,
    BACKOFF_S,
    CONFIG,
    CONNECT_S,
    PREFIX_BYTES,
    WINDOW_BYTES,
    Answer,
    CallError,
    Metadata,
    NotTakenError,
    Retries,
    call_headers,
    encoded,
    framed,
    late,
    message,
    parted,
    timeout,
)

_READ_BYTES: Final = 256 * 1024


class _Connection:
    """A connection, used by one call at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_usable = True
        self._h2 = ngh2.Connection(ngh2.Role.CLIENT, CONFIG)
        self._h2.initiate_connection(
            {ngh2.Setting.ENABLE_PUSH: 0, ngh2.Setting.INITIAL_WINDOW_SIZE: WINDOW_BYTES}
        )
        self._h2.set_local_window_size(WINDOW_BYTES)

    def is_still_there(self) -> bool:
        """Whether the next call may have it; reads what has come since the last."""
        try:
            while self.is_usable and select.select([self.sock], [], [], 0)[0]:
                self.sock.settimeout(0)
                self._take(self.sock.recv(_READ_BYTES), 0, Answer())
        except (BlockingIOError, ssl.SSLWantReadError):  # a part of a record of TLS
            pass
        except (OSError, ValueError, ngh2.NGH2Error):
            self.is_usable = False
        return self.is_usable and self._h2.can_send_request

    def call(
        self, headers: list[tuple[bytes, bytes]], body: bytes, deadline_s: float | None, most: int
    ) -> Answer:
        """Sends a request, and waits for all of its answer. Raises OSError (TimeoutError at the deadline) and
        NGH2Error, after which it is of no use, and NotTakenError."""
        h2, answer = self._h2, Answer()
        try:
            stream_id = h2.send_request(headers)
            h2.send_data(stream_id, body, end_stream=True)
            self._send(deadline_s)
            while not answer.is_over:
                self._wait(deadline_s)
                self._take(self.sock.recv(_READ_BYTES), stream_id, answer)
                if answer.size > most + PREFIX_BYTES:
                    self.is_usable = False
                    raise CallError(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, f"an answer is larger than {most} bytes"
                    )
                self._send(deadline_s)
        except ngh2.ConnectionClosingError:
            self.is_usable = False
            raise NotTakenError from None
        except (OSError, ngh2.NGH2Error):
            self.is_usable = False
            raise
        if answer.is_refused:
            self.is_usable = False  # another server may take it
            raise NotTakenError
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

    def _take(self, data: bytes, stream_id: int, answer: Answer) -> None:
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._h2.receive_data(data)
        event: Any
        for event in self._h2.events():
            kind = type(event)
            if kind is ngh2.GoAwayReceived:
                self.is_usable = False
                if event.last_stream_id < stream_id:
                    raise NotTakenError
            elif kind is ngh2.ConnectionClosed:
                self.is_usable = False
                raise ConnectionResetError("the connection broke the protocol")
            elif getattr(event, "stream_id", None) == stream_id:
                answer.take(event)


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
        self._address, self._host, self._port = address, *parted(address)
        self._open_streams = streams
        self._retried = frozenset(retried)
        self._most = receive_bytes_max
        self._context = context
        self._retries = Retries()
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
        always = call_headers(method, self._host, is_secure=self._context is not None)
        is_retried = method in self._retried

        def call(
            request: Any, timeout: float | None = None, metadata: Metadata | None = None, **_: Any
        ) -> Any:
            raw = request if request_serializer is None else request_serializer(request)
            headers = always + encoded(metadata) if metadata else always
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
                wait_s = self._retries.wait_s(error, backoff_s if is_retried else None, deadline_s)
                if wait_s is None:
                    raise
                time.sleep(wait_s)
            else:
                self._retries.answered()
                return found
        raise AssertionError("the last attempt returns or raises")

    def _once(self, headers: list[tuple[bytes, bytes]], raw: bytes, deadline_s: float | None) -> bytes:
        body = framed(raw)
        for _ in range(ATTEMPTS):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise late()
            connection = self._connection(left_s)
            timed = headers if deadline_s is None else [*headers, timeout(deadline_s)]
            try:
                answer = connection.call(timed, body, deadline_s, self._most)
            except NotTakenError:
                continue
            except TimeoutError:
                raise late() from None
            except (OSError, ngh2.NGH2Error) as error:
                if self._is_closed:
                    raise CallError(grpc.StatusCode.CANCELLED, "the channel was closed") from None
                text = f"the connection to {self._address} failed: {error}"
                raise CallError(grpc.StatusCode.UNAVAILABLE, text) from None
            finally:
                self._give_back(connection)
            return message(answer)
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
