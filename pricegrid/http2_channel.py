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
    CANCEL,
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
    closed,
    encoded,
    framed,
    late,
    message,
    parted,
    timeout,
    too_large,
)

FREE_S: Final = 25.0
"""How long a connection that nobody uses is kept: after 30 s the server asks whether anybody is there."""
WAIT_MOST_S: Final = 1e6
_READ_BYTES: Final = 256 * 1024


class _Connection:
    """A connection, used by one call at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_usable = True
        self.freed_s = 0.0
        self._h2 = ngh2.Connection(ngh2.Role.CLIENT, CONFIG)
        self._h2.initiate_connection(
            {ngh2.Setting.ENABLE_PUSH: 0, ngh2.Setting.INITIAL_WINDOW_SIZE: WINDOW_BYTES}
        )
        self._h2.set_local_window_size(WINDOW_BYTES)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def is_still_there(self) -> bool:
        """Whether the next call may have it; reads what has come since the last."""
        try:
            while self.is_usable and self._poll.poll(0):
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
        NGH2Error, after which it is of no use, as after anything else that is raised meanwhile; and NotTakenError."""
        h2, answer = self._h2, Answer()
        try:
            stream_id = h2.send_request(headers)
            h2.send_data(stream_id, body, end_stream=True)
            self._send(deadline_s)
            while not answer.is_over:
                self._wait(deadline_s)
                self._take(self.sock.recv(_READ_BYTES), stream_id, answer)
                if answer.size > most + PREFIX_BYTES:
                    raise too_large(most)
                if not answer.is_over:
                    self._send(deadline_s)
        except ngh2.ConnectionClosingError:
            self.is_usable = False
            raise NotTakenError from None
        except BaseException:  # what was to be sent may be sent in part
            self.is_usable = False
            raise
        if answer.is_refused:
            self.is_usable = False  # another server may take it
            raise NotTakenError
        self.is_usable &= any(
            name == b"grpc-status" for name, _ in answer.trailers
        )  # else who knows where it leads
        if not answer.is_closed and self.is_usable:  # the rest of the request is wanted no more
            h2.reset_stream(stream_id, CANCEL)
        return answer

    def _wait(self, deadline_s: float | None) -> None:
        left_s = None if deadline_s is None else min(deadline_s - time.monotonic(), WAIT_MOST_S)
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
        is_taken, event = True, None  # type: tuple[bool, Any]
        for event in self._h2.events():
            kind = type(event)
            if kind is ngh2.GoAwayReceived:
                self.is_usable = False
                is_taken &= event.last_stream_id >= stream_id
            elif kind is ngh2.ConnectionClosed:
                self.is_usable = False
            elif getattr(event, "stream_id", None) == stream_id:
                answer.take(event)
        if not is_taken and not answer.trailers:
            raise NotTakenError
        if answer.is_over:  # what came behind it is the next call's, if there is one
            return
        if type(event) is ngh2.ConnectionClosed:
            raise ConnectionResetError("the server closed the connection")


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
        """`address` is HOST:PORT or, without TLS, unix:PATH, else ValueError. `streams` opens the channel that streams
        go over, `retried` are paths of methods to be asked again while UNAVAILABLE, `context` has TLS spoken."""
        self._address, (self._host, self._port) = address, parted(address, is_secure=context is not None)
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
        always = call_headers(method, self._address, is_secure=self._context is not None)
        is_retried = method in self._retried

        def call(
            request: Any, timeout: float | None = None, metadata: Metadata | None = None, **_: Any
        ) -> Any:
            if self._is_closed:
                raise ValueError("the channel is closed")
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
            self._forget_the_parents()
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
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise late()
            connection = self._connection(deadline_s)
            timed = headers if deadline_s is None else [*headers, timeout(deadline_s)]
            try:
                answer = connection.call(timed, body, deadline_s, self._most)
            except NotTakenError:
                continue
            except TimeoutError:
                raise late() from None
            except (OSError, ngh2.NGH2Error) as error:
                if self._is_closed:
                    raise closed() from None
                text = f"the connection to {self._address} failed: {error}"
                raise CallError(grpc.StatusCode.UNAVAILABLE, text) from None
            finally:
                self._give_back(connection)
            return message(answer)
        raise CallError(grpc.StatusCode.UNAVAILABLE, f"{self._address} takes no calls")

    def _connection(self, deadline_s: float | None) -> _Connection:
        while True:
            with self._lock:
                if self._is_closed:
                    raise closed()
                self._forget_the_parents()
                if not self._free:
                    break
                connection = self._free.pop()
                self._busy.add(connection)
            if connection.is_still_there():
                return connection
            self._give_back(connection)
        try:
            connection = _Connection(self._connected(deadline_s))
        except (OSError, UnicodeError) as error:  # a name that can be none is the latter
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise late() from None
            raise CallError(
                grpc.StatusCode.UNAVAILABLE, f"{self._address} can't be reached: {error}"
            ) from None
        with self._lock:
            self._busy.add(connection)
        if self._is_over():
            self._give_back(connection)
            raise closed()
        return connection

    def _is_over(self) -> bool:
        """Whether the channel was closed meanwhile."""
        return self._is_closed

    def _forget_the_parents(self) -> None:
        """Under the lock: after a fork, the connections are those of another process."""
        if self._pid != os.getpid():
            self._free, self._busy, self._pid = [], set(), os.getpid()

    def _connected(self, deadline_s: float | None) -> socket.socket:
        ends_s = time.monotonic() + CONNECT_S
        if deadline_s is not None:
            ends_s = min(ends_s, deadline_s)
        if self._port is None:
            return _opened((socket.AF_UNIX, 0, self._address.removeprefix("unix:")), ends_s)
        failed: OSError = ConnectionError("the name has no address")
        for family, _, protocol, _, place in socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        ):
            try:
                sock = _opened((family, protocol, place), ends_s)
            except OSError as error:
                failed = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if self._context is None else self._secure(sock, self._context, ends_s)
        raise failed

    def _secure(self, sock: socket.socket, context: ssl.SSLContext, ends_s: float) -> socket.socket:
        try:
            sock.settimeout(max(0.001, ends_s - time.monotonic()))
            secure = context.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        if secure.selected_alpn_protocol() != "h2":
            secure.close()
            raise ConnectionError("it does not speak HTTP/2")
        return secure

    def _give_back(self, connection: _Connection) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._busy.discard(connection)
            over = [each for each in self._free if now_s - each.freed_s > FREE_S]
            if over:  # a server ends those that answer no pings
                self._free = [each for each in self._free if now_s - each.freed_s <= FREE_S]
            if connection.is_usable and not self._is_closed:
                connection.freed_s = now_s
                self._free.append(connection)
            else:
                over.append(connection)
        for each in over:
            each.sock.close()

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


def _opened(where: tuple[int, int, Any], ends_s: float) -> socket.socket:
    family, protocol, place = where
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left_s)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock
