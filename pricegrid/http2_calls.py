"""What a call of gRPC is over HTTP/2 for who makes it: headers, the answer, its status, and whether to ask again.

Source: doc/PROTOCOL-HTTP2.md of grpc/grpc; retries are those of its service config (gRFC A6).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import random
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, Final
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
PREFIX_BYTES: Final = 5
WINDOW_BYTES: Final = 2**31 - 1
CONFIG: Final = ngh2.Configuration()
CANCEL: Final = 0x8
_REFUSED_STREAM, _ENHANCE_YOUR_CALM = 0x7, 0xB
METADATA_BYTES: Final = 16 * 1024
"""What servers take, those of grpcio too."""
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_VALUE: Final = re.compile(rb"[ -~]*")
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


class NotTakenError(Exception):
    """The server has not looked at the call, and never will: another connection may have it."""


class Answer:
    """What came of a call so far."""

    __slots__ = ("headers", "is_closed", "is_over", "parts", "reset", "size", "trailers")

    def __init__(self) -> None:
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        self.parts: list[bytes] = []
        self.size = 0
        self.reset: int | None = None
        self.is_over = False
        """Nothing more will come."""
        self.is_closed = False
        """Nor is anything to be sent."""

    @property
    def is_refused(self) -> bool:
        """The server has not looked at the call."""
        return self.reset == _REFUSED_STREAM

    def take(self, event: Any) -> bool:
        """Something of its stream has come; whether it is over."""
        kind = type(event)
        if kind is ngh2.DataReceived:
            self.parts.append(event.data)
            self.size += len(event.data)
        elif kind is ngh2.ResponseReceived:
            self.headers = event.headers
            if event.end_stream:
                self.trailers, self.is_over = event.headers, True
        elif kind is ngh2.TrailersReceived:
            self.trailers, self.is_over = event.headers, True
        elif kind is ngh2.StreamReset:
            self.reset = event.error_code
        elif kind is ngh2.StreamClosed:
            self.is_over = self.is_closed = True
        return self.is_over


class Retries:
    """Whether a call may be asked again: not when most fail."""

    def __init__(self) -> None:
        self._tokens = TOKENS
        self._lock = threading.Lock()

    def answered(self) -> None:
        """A call had an answer."""
        if self._tokens < TOKENS:
            with self._lock:
                self._tokens = min(TOKENS, self._tokens + TOKEN_BACK)

    def wait_s(self, error: CallError, backoff_s: float | None, deadline_s: float | None) -> float | None:
        """A call failed. How long to wait before it is asked again, None: it is not; `backoff_s` is where the server
        does not say, None for a call that may not."""
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            return None
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            are_few = self._tokens <= TOKENS / 2
        found = None if are_few or backoff_s is None else pause_s(error, backoff_s)
        is_late = found is not None and deadline_s is not None and time.monotonic() + found >= deadline_s
        return None if is_late else found


def client_context(
    root_certificates: bytes | None, client_certificate: tuple[bytes, bytes] | None
) -> ssl.SSLContext:
    """The TLS of a channel: certificates as in `open_channel`. Raises OSError and ssl.SSLError."""
    roots = None if root_certificates is None else root_certificates.decode("ascii", "ignore")  # comments
    context = ssl.create_default_context(cadata=roots)
    context.set_alpn_protocols(["h2"])
    if client_certificate is not None:
        # the library reads them from a file alone; it is this user's, and gone at once
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\n".join(client_certificate))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def call_headers(method: str, address: str, *, is_secure: bool) -> list[tuple[bytes, bytes]]:
    """What every call of a method sends."""
    return [
        (b":method", b"POST"), (b":scheme", b"https" if is_secure else b"http"), (b":path", method.encode()),
        (b":authority", b"localhost" if address.startswith("unix:") else address.encode()), (b"te", b"trailers"),
        (b"content-type", b"application/grpc"), (b"user-agent", b"pricegrid-python"),
    ]  # fmt: skip


def parted(address: str, *, is_secure: bool) -> tuple[str, int | None]:
    """(host, port) of an address; no port for a unix socket. Raises ValueError."""
    if address.startswith("unix:"):
        if is_secure:
            raise ValueError("TLS is not spoken over a unix socket")
        return "", None
    host, _, port = address.rpartition(":")
    is_bare = ":" not in host or (host[0], host[-1]) == ("[", "]")
    if not host or not is_bare or not port.isdecimal() or len(port) > 5 or "/" in host:
        raise ValueError(f"{address!r} is neither HOST:PORT nor unix:PATH")
    return host.strip("[]"), int(port)


def timeout(deadline_s: float) -> tuple[bytes, bytes]:
    """The header that tells the deadline."""
    micros = max(1, int(min(deadline_s - time.monotonic(), 99_999) * 1e6))
    said = b"%du" % micros if micros < 10**8 else b"%dm" % (micros // 1000)
    return b"grpc-timeout", said


def late() -> CallError:
    """The end of a call whose time is over."""
    return CallError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def closed() -> CallError:
    """The end of a call whose channel is closed meanwhile."""
    return CallError(grpc.StatusCode.CANCELLED, "the channel was closed")


def too_large(most: int) -> CallError:
    """The end of a call with a larger answer."""
    return CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"an answer is larger than {most} bytes")


def framed(raw: bytes) -> bytes:
    """A message as it is sent."""
    return b"\0" + len(raw).to_bytes(4, "big") + raw


def encoded(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Metadata as headers; raises ValueError for what can't be one."""
    found, size = [], 0
    for key, value in metadata:
        sent = base64.b64encode(value) if isinstance(value, bytes) else value.encode("ascii", "replace")
        if (
            not _KEY.fullmatch(key)
            or isinstance(value, bytes) != key.endswith("-bin")
            or not _VALUE.fullmatch(sent)
        ):
            raise ValueError(f"the metadata {key!r} can't be sent")
        found.append((key.encode(), sent))
        size += len(key) + len(sent)
    if size > METADATA_BYTES:
        raise ValueError(f"the metadata has {size} bytes; at most {METADATA_BYTES} can be sent")
    return found


def pause_s(error: CallError, backoff_s: float) -> float | None:
    """How long to wait before asking again; None: the server says not to."""
    said = dict(error.trailing_metadata()).get(_PUSHBACK_KEY)
    if said is None:
        return backoff_s * random.uniform(0.8, 1.2)  # noqa: S311 -- so that not all come at once
    return int(said) / 1000 if isinstance(said, str) and said.isdecimal() and len(said) < 10 else None


def message(answer: Answer) -> bytes:
    """The message of an answer; raises CallError with its status, if that is another than OK."""
    trailers = dict(answer.trailers)
    status = trailers.get(b"grpc-status")
    if status is None:
        raise _without_status(answer)
    if status != b"0":
        number = int(status) if status.isdigit() and len(status) < 4 else 2
        code = _CODES.get(number, grpc.StatusCode.UNKNOWN)
        details = unquote(trailers.get(b"grpc-message", b"").decode("latin-1"))
        raise CallError(code, details, _metadata(answer.trailers))
    body = answer.parts[0] if len(answer.parts) == 1 else b"".join(answer.parts)
    if len(body) < PREFIX_BYTES or body[0] or int.from_bytes(body[1:5], "big") != len(body) - PREFIX_BYTES:
        raise CallError(grpc.StatusCode.INTERNAL, "the answer is not one message as it was asked for")
    return body[PREFIX_BYTES:]


def _without_status(answer: Answer) -> CallError:
    if answer.reset == CANCEL:
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
            with contextlib.suppress(binascii.Error):  # what is no bytes is left out
                found.append((key, base64.b64decode(value + b"=" * (-len(value) % 4))))
        elif key[:1] != ":" and key not in {"grpc-status", "grpc-message", "content-type"}:
            found.append((key, value.decode("latin-1")))
    return found
