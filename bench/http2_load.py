"""A gRPC load generator that costs less than what it loads: one HTTP/2 connection, requests framed beforehand.

A gRPC client of any language builds messages and headers for each call; this one only writes bytes that were made
before the clock started, patches the stream number into them, and counts the streams that end. It keeps to the
server's flow control. `python -m bench.http2_load HOST:PORT /Service/Method REQUESTS SECONDS IN_FLIGHT CORE` prints
one JSON object: calls, seconds, answered bytes, client CPU seconds. REQUESTS is a file of request messages, each
behind its length (4 bytes, big endian); they are sent in turn, over and over.
"""

import json
import os
import socket
import struct
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK = 1, 1
FRAME_BYTES_MAX, WINDOW_MAX = 16_384, 2**31 - 1
_INITIAL_WINDOW, _INITIAL_WINDOW_SETTING = 65_535, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def header_block(host: str, path: str) -> bytes:
    """The HPACK block of a gRPC request; all literals, so that every stream can send the same bytes."""
    block = b"\x83\x86"  # :method POST, :scheme http
    for name, value in (
        (b"\x04", path),
        (b"\x01", host),
    ):  # :path, :authority by their places in the static table
        block += name + bytes([len(value)]) + value.encode()
    for key, value in (("content-type", "application/grpc"), ("te", "trailers")):
        block += b"\x00" + bytes([len(key)]) + key.encode() + bytes([len(value)]) + value.encode()
    return block


@dataclass(slots=True)
class Record:
    """What came of each stream, for who wants more than counts."""

    answers: defaultdict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    """The message behind its five bytes of gRPC framing; none: the call failed."""
    ended_s: dict[int, float] = field(default_factory=dict)


class Connection:
    """One connection with prepared requests."""

    def __init__(self, address: str, path: str, messages: list[bytes]) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = header_block(address, path)
        self._bodies = [b"\x00" + struct.pack(">I", len(m)) + m for m in messages]
        self._next_stream, self._sent = 1, 0
        self._window, self._stream_window = _INITIAL_WINDOW, _INITIAL_WINDOW
        self._waiting: deque[list[int]] = deque()  # stream, body, offset: what flow control holds back
        self._credit: dict[int, int] = {}  # more window of a stream than the initial one
        self._gone: set[int] = set()  # answered before their bodies were sent
        self._unread = bytearray()
        self.ended = self.data_bytes = self.resets = 0
        self.record: Record | None = None
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        settings = struct.pack(">HI", _INITIAL_WINDOW_SETTING, WINDOW_MAX)
        widen = struct.pack(">I", WINDOW_MAX - _INITIAL_WINDOW)
        self._socket.sendall(preface + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, widen))
        self._to_credit = 0

    def start(self, calls: int, out: bytearray) -> None:
        """Begins calls: headers now, bodies as far as flow control lets them."""
        for _ in range(calls):
            out += frame(HEADERS, 4, self._next_stream, self._headers)
            self._waiting.append([self._next_stream, self._sent % len(self._bodies), 0])
            self._next_stream += 2
            self._sent += 1

    def fileno(self) -> int:
        """What `select` waits for."""
        return self._socket.fileno()

    def flush(self, out: bytearray) -> None:
        """Sends what is due."""
        held: list[list[int]] = []
        while self._waiting and self._window > 0:
            entry = self._waiting.popleft()
            stream, body, offset = entry
            if stream in self._gone:
                self._gone.discard(stream)
                continue
            whole = self._bodies[body]
            while offset < len(whole):
                stream_left = self._stream_window + self._credit.get(stream, 0) - offset
                size = min(FRAME_BYTES_MAX, len(whole) - offset, self._window, stream_left)
                if size <= 0:
                    break
                last = offset + size == len(whole)
                out += frame(DATA, END_STREAM if last else 0, stream, whole[offset : offset + size])
                offset += size
                self._window -= size
            if offset < len(whole):
                entry[2] = offset
                held.append(entry)
        self._waiting.extendleft(reversed(held))
        if out:
            self._socket.sendall(out)

    def call(self) -> None:
        """One call, until it has ended."""
        out, before = bytearray(), self.ended
        self.start(1, out)
        while self.ended == before:
            self.flush(out)
            out = self.receive()
        self.flush(out)  # what the server waits for

    def receive(self) -> bytearray:
        """Reads once, counts streams that ended; returns what must be sent in reply."""
        unread, replies = self._unread, bytearray()
        chunk = self._socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        unread += chunk
        at, end = 0, len(unread)
        while end - at >= 9:
            head, flags, stream = struct.unpack_from(">IBI", unread, at)
            size, kind = head >> 8, head & 0xFF
            if end - at - 9 < size:
                break
            if kind == DATA:
                self.data_bytes += size
                self._to_credit += size
                if self.record is not None:
                    self.record.answers[stream] += unread[at + 9 : at + 9 + size]
            elif kind != HEADERS:
                replies += self._control(kind, flags, stream, bytes(unread[at + 9 : at + 9 + size]))
            if flags & END_STREAM and kind in (DATA, HEADERS):
                self.ended += 1
                self._credit.pop(stream, None)
                if self._waiting and any(stream == each[0] for each in self._waiting):
                    self._gone.add(stream)
                if self.record is not None:
                    self.record.ended_s[stream] = time.perf_counter()
            at += 9 + size
        del unread[:at]
        if self._to_credit > 1 << 24:
            replies += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._to_credit))
            self._to_credit = 0
        return replies

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if kind == SETTINGS and not flags & ACK:
            for key, value in struct.iter_unpack(">HI", payload):
                if key == _INITIAL_WINDOW_SETTING:
                    self._stream_window = value
            return frame(SETTINGS, ACK, 0)
        if kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, payload)
        if kind == WINDOW_UPDATE:
            (more,) = struct.unpack(">I", payload)
            if stream == 0:
                self._window += more
            else:
                self._credit[stream] = self._credit.get(stream, 0) + more
        elif kind == RST_STREAM:
            self.resets += 1
            if self.record is not None:
                self.record.ended_s[stream] = time.perf_counter()
        elif kind == GOAWAY:
            raise ConnectionError(
                f"the server said goodbye: error {int.from_bytes(payload[4:8])}, {payload[8:]!r}"
            )
        return b""


def run(connection: Connection, seconds: float, in_flight: int) -> dict[str, float]:
    """Keeps `in_flight` calls open for a while, then lets them end."""
    begin, cpu = time.perf_counter(), time.process_time()
    out = bytearray()
    connection.start(in_flight, out)
    open_calls, before = in_flight, 0
    while open_calls:
        connection.flush(out)
        out = connection.receive()
        ended, before = connection.ended - before, connection.ended
        open_calls -= ended
        if ended and time.perf_counter() - begin < seconds:
            connection.start(ended, out)
            open_calls += ended
    return {
        "calls": connection.ended,
        "seconds": time.perf_counter() - begin,
        "data_bytes": connection.data_bytes,
        "resets": connection.resets,
        "client_cpu_s": time.process_time() - cpu,
    }


def read_messages(path: Path) -> list[bytes]:
    """The request messages of a file."""
    raw, at, messages = path.read_bytes(), 0, []
    while at < len(raw):
        (size,) = struct.unpack_from(">I", raw, at)
        messages.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return messages


def write_messages(path: Path, messages: list[bytes]) -> Path:
    """The file that `read_messages` reads."""
    path.write_bytes(b"".join(struct.pack(">I", len(message)) + message for message in messages))
    return path


def main() -> None:
    address, path, requests, seconds, in_flight, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    connection = Connection(address, path, read_messages(Path(requests)))
    print(json.dumps(run(connection, float(seconds), int(in_flight))))


if __name__ == "__main__":
    main()
