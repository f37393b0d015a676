"""In which of its ways a call is made, by its content type: gRPC, gRPC-Web, or Connect's unary protocol."""

import enum
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import grpc

from pricegrid.service.limits import RECEIVE_BYTES_MAX
from pricegrid.service.transport import connect, wire
from pricegrid.service.transport.method import ServedMethod


class Dialect(enum.Enum):
    """How requests, answers and statuses are written."""

    GRPC = b"application/grpc"
    WEB = b"application/grpc-web+proto"
    PROTO = connect.PROTO
    JSON = connect.JSON


_BY_TYPE: Final = {
    b"application/grpc": Dialect.GRPC,
    b"application/grpc+proto": Dialect.GRPC,
    b"application/grpc-web": Dialect.WEB,
    b"application/grpc-web+proto": Dialect.WEB,
    connect.PROTO: Dialect.PROTO,
    connect.JSON: Dialect.JSON,
}
WEB_RESPONSE: Final[tuple[wire.Header, ...]] = ((b"content-type", Dialect.WEB.value),)


class Asked(NamedTuple):
    """What the headers of a call say."""

    dialect: Dialect
    method: ServedMethod
    messages: wire.Messages | wire.Body
    deadline_s: float | None


class Methods:
    """The methods of a server, by path; to callers who send JSON as well."""

    def __init__(self) -> None:
        self._methods: dict[bytes, ServedMethod] = {}
        self._of_json: dict[bytes, ServedMethod] = {}

    def add(self, method: ServedMethod) -> None:
        """Adds one, or replaces it."""
        self._methods[method.path.encode()] = method
        self._of_json.pop(method.path.encode(), None)

    def get(self, path: bytes, dialect: Dialect) -> ServedMethod:
        """The method as that dialect calls it; raises MessageError."""
        method = self._methods.get(path)
        if method is None:
            raise wire.MessageError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        if dialect is Dialect.GRPC:
            return method
        if method.takes_stream or (method.gives_stream and dialect is not Dialect.WEB):
            raise wire.MessageError(grpc.StatusCode.UNIMPLEMENTED, "a method with streams is called by gRPC")
        if dialect is not Dialect.JSON:
            return method
        found = self._of_json.get(path)
        if found is None:
            try:
                found = self._of_json[path] = connect.as_json(method)
            except KeyError:
                raise wire.MessageError(
                    grpc.StatusCode.UNIMPLEMENTED, "the method has no JSON: its messages are unknown"
                ) from None
        return found


def dialect_of(content_type: bytes) -> Dialect | None:
    """The dialect of a content type; None: there is none."""
    found = _BY_TYPE.get(content_type)
    if found is None:
        found = _BY_TYPE.get(content_type.partition(b";")[0].strip().lower())
        if found is None and content_type.startswith(b"application/grpc+"):
            return Dialect.GRPC
    return found


def asked(
    dialect: Dialect,
    methods: Methods,
    headers: Mapping[bytes, bytes],
    path: bytes,
    clock_s: Callable[[], float] = time.monotonic,
) -> Asked:
    """What a call of that dialect asks for; raises MessageError."""
    if dialect is not Dialect.GRPC:
        path = path.partition(b"?")[0]  # a POST has its question in its body
    method = methods.get(path, dialect)
    if dialect in (Dialect.GRPC, Dialect.WEB):
        timeout, encoding = headers.get(b"grpc-timeout"), headers.get(b"grpc-encoding", b"identity")
        left_s = None if timeout is None else wire.timeout_s(timeout)
    else:
        timeout, encoding = headers.get(b"connect-timeout-ms"), headers.get(b"content-encoding", b"identity")
        left_s = None if timeout is None else connect.timeout_s(timeout)
    if encoding not in wire.ENCODINGS:
        raise wire.MessageError(
            grpc.StatusCode.UNIMPLEMENTED, "a message is compressed by none of identity, gzip and deflate"
        )
    for name, value in headers.items():
        if name.endswith(b"-bin"):
            wire.metadata(((name, value),))
    body = wire.Messages if dialect in (Dialect.GRPC, Dialect.WEB) else wire.Body
    return Asked(
        dialect, method, body(encoding, RECEIVE_BYTES_MAX), None if left_s is None else clock_s() + left_s
    )
