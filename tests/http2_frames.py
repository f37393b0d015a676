"""Frames of HTTP/2 made by hand, and a caller who sends what they like and reads what comes."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Self

from tests.transport_worlds import SERVICE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


def frame(
    kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None
) -> bytes:
    """A frame; `length` is what it claims to be long."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(**values: int) -> bytes:
    """SETTINGS, by the number of each as `s4=0`."""
    return frame(
        SETTINGS, payload=b"".join(struct.pack(">HI", int(name[1:]), value) for name, value in values.items())
    )


def window(increment: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def _text(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes((len(value),)) + value
    left, size = len(value) - 127, bytearray(b"\x7f")
    while left > 127:
        size.append(left & 127 | 128)
        left >>= 7
    return bytes(size) + bytes((left,)) + value


def packed(*headers: tuple[bytes, bytes]) -> bytes:
    """Headers as HPACK: literals without an index."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def asked(method: str, *more: tuple[bytes, bytes]) -> bytes:
    """The headers of a call."""
    return packed(
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", f"/{SERVICE}/{method}".encode()),
        (b":authority", b"x"), (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more,
    )  # fmt: skip


def headers(stream: int, method: str = "Echo", *more: tuple[bytes, bytes], flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, asked(method, *more))


def data(stream: int, payload: bytes, *, is_end: bool = False) -> bytes:
    """DATA, in as many frames as it takes."""
    parts = [payload[at : at + 16_384] for at in range(0, len(payload), 16_384)] or [b""]
    last = len(parts) - 1
    return b"".join(
        frame(DATA, END_STREAM if is_end and at == last else 0, stream, part) for at, part in enumerate(parts)
    )


def message(raw: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message of gRPC; `length` is what it claims to be long."""
    return bytes((flag,)) + (len(raw) if length is None else length).to_bytes(4, "big") + raw


def call(stream: int, method: str = "Echo", raw: bytes = b"hello", *more: tuple[bytes, bytes]) -> bytes:
    return headers(stream, method, *more) + data(stream, message(raw), is_end=True)


class Caller:
    """A connection of somebody who knows what they do."""

    def __init__(self, address: str, *, greets: bool = True, receive_bytes: int | None = None) -> None:
        host, port = address.split(":")
        self.sock = socket.socket()
        if receive_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            self.sock.connect((host, int(port)))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""
        if greets:
            self.send(PREFACE + settings() + frame(SETTINGS, ACK))

    def send(self, raw: bytes, *, wait_s: float = 10.0) -> bool:
        """False: the other side took it no more."""
        self.sock.settimeout(wait_s)
        try:
            self.sock.sendall(raw)
        except OSError:
            return False
        return True

    def frames(self, wait_s: float = 5.0) -> Iterator[tuple[int, int, int, bytes]]:
        """What comes (kind, flags, stream, payload), until the connection ends or nothing came for so long."""
        ends_s = time.monotonic() + wait_s
        while True:
            while len(self._left) >= 9:
                size = int.from_bytes(self._left[:3], "big")
                if len(self._left) < 9 + size:
                    break
                head, payload = self._left[:9], self._left[9 : 9 + size]
                self._left = self._left[9 + size :]
                yield head[3], head[4], int.from_bytes(head[5:9], "big"), payload
            self.sock.settimeout(max(0.001, ends_s - time.monotonic()))
            try:
                more = self.sock.recv(1 << 20)
            except OSError:
                return
            if not more:
                return
            self._left += more

    def until_end(self, stream: int, wait_s: float = 10.0) -> list[tuple[int, int, bytes]]:
        """The frames (kind, flags, payload) of a stream, until it ends."""
        found = []
        for kind, flags, of, payload in self.frames(wait_s):
            if of == stream and kind in {DATA, HEADERS, RST_STREAM}:
                found.append((kind, flags, payload))
                if kind == RST_STREAM or flags & END_STREAM:
                    return found
        return found

    def is_closed_within(self, seconds: float) -> bool:
        """Whether the server ends the connection within so many seconds."""
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self.sock.settimeout(max(0.001, ends_s - time.monotonic()))
            try:
                if not self.sock.recv(1 << 20):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
        return False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
