"""gRPC over HTTP/2: headers, framed messages, timeouts and statuses, as bytes.

Source: the protocol's specification, doc/PROTOCOL-HTTP2.md of grpc/grpc.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import grpc

Header = tuple[bytes, bytes]
Metadata = Sequence[tuple[str, str | bytes]]

PREFIX_BYTES: Final = 5
"""Before each message: whether it is compressed, and its length."""
TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_OURS: Final = frozenset(
    {
        b"te", b"content-type", b"content-length", b"content-encoding", b"accept-encoding", b"grpc-timeout",
        b"grpc-encoding", b"grpc-accept-encoding", b"connect-timeout-ms", b"connect-protocol-version", b"host",
        b"connection", b"keep-alive", b"transfer-encoding",
    }
)  # fmt: skip
"""Headers of the protocol, which are no metadata of the caller's."""
_PLAIN: Final = re.compile(rb"[^ -$&-~]")
ENCODINGS: Final = frozenset({b"identity", b"gzip", b"deflate"})

RESPONSE: Final[tuple[Header, ...]] = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b"identity,deflate,gzip"),
)


class Status(NamedTuple):
    """How a call ends."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    trailing: Metadata = ()


OK: Final = Status()
_OK_TRAILERS: Final[tuple[Header, ...]] = ((b"grpc-status", b"0"),)


class MessageError(Exception):
    """A message that can't be taken; `code` is the status that says so."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def prefix(message: bytes) -> bytes:
    """What is sent before a message."""
    return b"\0" + len(message).to_bytes(4, "big")


def framed(message: bytes) -> bytes:
    """A message as it is sent."""
    return prefix(message) + message


def timeout_s(value: bytes) -> float:
    """The seconds of a `grpc-timeout`; raises MessageError."""
    found = TIMEOUT.fullmatch(value)
    if found is None:
        raise MessageError(
            grpc.StatusCode.INTERNAL, "grpc-timeout is no number of at most 8 digits and a unit"
        )
    return int(found[1]) * _UNIT_S[found[2]]


def metadata(headers: Iterable[Header]) -> Metadata:
    """What a caller sent beside the protocol's own headers; a key `…-bin` has bytes. Raises MessageError."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name[:1] == b":" or name in _OURS:
            continue
        if name.endswith(b"-bin"):
            found += [(name.decode("latin-1"), _binary(each)) for each in value.split(b",")]
        else:
            found.append((name.decode("latin-1"), value.decode("latin-1")))
    return found


def _binary(value: bytes) -> bytes:
    text = value.strip(b" \t").rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise MessageError(grpc.StatusCode.INTERNAL, "a header …-bin is not base64") from None


def trailers(status: Status) -> tuple[Header, ...]:
    """The trailers of a call that ends with a status; raises ValueError for metadata that is no text of headers."""
    if status is OK:
        return _OK_TRAILERS
    found = [(b"grpc-status", b"%d" % status.code.value[0])]
    if status.details:
        text = status.details.encode(errors="replace")
        found.append((b"grpc-message", _PLAIN.sub(lambda each: b"%%%02X" % each[0][0], text)))
    return (*found, *encoded(status.trailing))


def encoded(trailing: Metadata) -> tuple[Header, ...]:
    """Metadata as headers; raises ValueError for what is no text of headers."""
    found = []
    for key, value in trailing:
        sent = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1")
        found.append((key.encode("latin-1"), sent))
    return tuple(found)


def inflated(message: bytes, encoding: bytes, bytes_max: int, code: grpc.StatusCode) -> bytes:
    """A compressed message; raises MessageError, before it takes more than `bytes_max`."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == b"gzip" else 0))
    try:
        found = inflater.decompress(message, bytes_max + 1)
    except zlib.error:
        raise MessageError(code, "a message can't be decompressed") from None
    if len(found) > bytes_max:
        raise too_large(bytes_max)
    if not inflater.eof or inflater.unused_data:
        raise MessageError(code, "a message can't be decompressed")
    return found


@dataclass(frozen=True, slots=True)
class Packed:
    """A message that came compressed. Who takes it up inflates it, so that it holds up and fills nothing before."""

    raw: bytes
    encoding: bytes
    code: grpc.StatusCode = grpc.StatusCode.INTERNAL
    """Of the refusal where it can't be inflated: gRPC's, or one that says whose fault it is."""

    def inflated(self, bytes_max: int) -> bytes:
        """The message; raises MessageError."""
        return inflated(self.raw, self.encoding, bytes_max, self.code)


Message = bytes | Packed


def too_large(bytes_max: int) -> MessageError:
    """The refusal of a message of more bytes."""
    return MessageError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message is larger than {bytes_max} bytes")


class Body:
    """Takes the one message of a stream that is its whole body."""

    __slots__ = ("_bytes_max", "_encoding", "_parts", "_size")

    def __init__(self, encoding: bytes, bytes_max: int) -> None:
        self._encoding = encoding
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def is_between(self) -> bool:
        """Whether no message has begun."""
        return not self._size

    def add(self, data: bytes) -> Sequence[Message]:
        """Nothing: the message is complete at the end. Raises MessageError."""
        self._size += len(data)
        if self._size > self._bytes_max:
            raise too_large(self._bytes_max)
        self._parts.append(data)
        return ()

    def whole(self) -> Message:
        """The message."""
        data = b"".join(self._parts)
        return (
            data
            if self._encoding == b"identity"
            else Packed(data, self._encoding, grpc.StatusCode.INVALID_ARGUMENT)
        )


class Messages:
    """Takes the messages out of the bytes of a stream, in their order."""

    __slots__ = ("_bytes_max", "_encoding", "_left")

    def __init__(self, encoding: bytes, bytes_max: int) -> None:
        self._encoding = encoding
        self._bytes_max = bytes_max
        self._left = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether no message has begun."""
        return not self._left

    def whole(self) -> Message:
        """At the end of a call that has one message, where none was complete: raises MessageError."""
        raise MessageError(grpc.StatusCode.UNIMPLEMENTED, "exactly one message is expected")

    def add(self, data: bytes) -> Sequence[Message]:
        """The messages that are complete with these bytes; raises MessageError."""
        if not self._left and len(data) >= PREFIX_BYTES and not data[0]:
            length = int.from_bytes(data[1:PREFIX_BYTES], "big")
            if length == len(data) - PREFIX_BYTES and length <= self._bytes_max:
                return [data[PREFIX_BYTES:]]  # nearly always
        left = self._left
        left += data
        found: list[Message] = []
        while len(left) >= PREFIX_BYTES:
            length = int.from_bytes(left[1:PREFIX_BYTES], "big")
            if length > self._bytes_max:
                raise too_large(self._bytes_max)
            if left[0] > 1:
                raise MessageError(grpc.StatusCode.INTERNAL, "a message begins with neither 0 nor 1")
            if len(left) < PREFIX_BYTES + length:
                break
            if left[0] and self._encoding == b"identity":
                raise MessageError(
                    grpc.StatusCode.INTERNAL, "a message is compressed, and grpc-encoding says not how"
                )
            message = bytes(left[PREFIX_BYTES : PREFIX_BYTES + length])
            found.append(Packed(message, self._encoding) if left[0] else message)
            del left[: PREFIX_BYTES + length]
        return found
