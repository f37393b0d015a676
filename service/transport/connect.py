"""Connect's unary protocol and gRPC-Web: what a browser, PHP or curl sends, as bytes.

Source: connectrpc.com/docs/protocol, "Unary-Request", and doc/PROTOCOL-WEB.md of grpc/grpc. JSON is the protobuf JSON
mapping (protobuf.dev/programming-guides/json), so 64-bit integers, as all money and quantities are, are strings.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2, status_pb2

from pricegrid.errors import DETAILS_KEY
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.transport import json_messages, wire
from pricegrid.service.transport.method import ServedMethod

JSON: Final = b"application/json"
PROTO: Final = b"application/proto"
HTTP_STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "canceled": 499, "unknown": 500, "invalid_argument": 400, "deadline_exceeded": 504, "not_found": 404,
        "already_exists": 409, "permission_denied": 403, "resource_exhausted": 429, "failed_precondition": 400,
        "aborted": 409, "out_of_range": 400, "unimplemented": 501, "internal": 500, "unavailable": 503,
        "data_loss": 500, "unauthenticated": 401,
    }
)  # fmt: skip
"""By the name of a status."""
_PUSHED_BACK: Final = frozenset({429, 503})

Response = tuple[int, tuple[wire.Header, ...], bytes]
"""An HTTP status, headers and a body."""


def timeout_s(value: bytes) -> float:
    """The seconds of a `connect-timeout-ms`; raises MessageError."""
    if not value.isdigit() or len(value) > 10:
        raise wire.MessageError(
            grpc.StatusCode.INVALID_ARGUMENT, "connect-timeout-ms is no number of at most 10 digits"
        )
    return int(value) / 1000


def answered(content_type: bytes, message: bytes, status: wire.Status) -> Response:
    """The response of a call that ended so: its message in `content_type`, or its status as JSON."""
    if status.code is grpc.StatusCode.OK:
        return 200, ((b"content-type", content_type), *_trailing(status)), message
    code = "canceled" if status.code is grpc.StatusCode.CANCELLED else status.code.name.lower()
    error: dict[str, Any] = {"code": code}
    if status.details:
        error["message"] = status.details
    details = status_pb2.Status()
    for key, value in status.trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            details.ParseFromString(value)
    if details.details:
        error["details"] = [
            {
                "type": each.type_url.rpartition("/")[2],
                "value": base64.b64encode(each.value).rstrip(b"=").decode(),
                "debug": _debug(each),
            }
            for each in details.details
        ]
    http = HTTP_STATUS[code]
    headers = [(b"content-type", JSON), *_trailing(status)]
    if http == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if http in _PUSHED_BACK:
        headers += [
            (b"retry-after", b"%d" % max(1, -(-_delay_ms(each) // 1000)))
            for each in details.details
            if each.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
        ]
    return http, tuple(headers), json_messages.dumped(error)


def _trailing(status: wire.Status) -> tuple[wire.Header, ...]:
    """The trailing metadata, as headers: a body of JSON has no trailers."""
    return tuple(
        (b"trailer-" + name, value)
        for name, value in wire.encoded(status.trailing)
        if name != DETAILS_KEY.encode()
    )


def _debug(detail: Any) -> object:
    for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
        if detail.Is(kind.DESCRIPTOR):
            return json_format.MessageToDict(kind.FromString(detail.value))
    return {}


def _delay_ms(detail: Any) -> int:
    return int(error_details_pb2.RetryInfo.FromString(detail.value).retry_delay.ToMilliseconds())


def web_trailers(status: wire.Status) -> bytes:
    """The last frame of a response of gRPC-Web."""
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in wire.trailers(status))
    return b"\x80" + len(lines).to_bytes(4, "big") + lines


def as_json(method: ServedMethod) -> ServedMethod:
    """The method, where messages are JSON. It is called in a thread: to read and write JSON takes longer than most
    answers. Raises KeyError for a method that no proto describes."""
    request, response = message_types(method.path)
    decode, encode = method.decode, method.encode

    def from_json(raw: bytes) -> Any:
        message = parsed(raw, request)
        return message.SerializeToString() if decode is None else decode(message.SerializeToString())

    def to_json(answer: Any) -> bytes:
        message = response.FromString(answer if encode is None else encode(answer))
        return json_messages.written(message)

    return replace(method, on_loop=None, decode=from_json, encode=to_json)


def parsed(raw: bytes, kind: Callable[[], Any]) -> Any:
    """The message that JSON stands for; nothing stands for an empty one. Raises RequestRefusedError, which names the
    field."""
    if not raw:
        return kind()
    try:
        return json_messages.read(raw, kind)
    except json_messages.JsonError as error:
        raise RequestRefusedError(
            Reason.MALFORMED_REQUEST, f"the request is not the JSON of its message: {error}"
        ) from None


def message_types(path: str) -> tuple[Any, Any]:
    """The classes of a method's request and response; raises KeyError."""
    service, _, name = path[1:].partition("/")
    method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    request, response = (
        message_factory.GetMessageClass(each) for each in (method.input_type, method.output_type)
    )
    return request, response
