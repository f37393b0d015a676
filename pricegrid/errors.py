"""What can go wrong with a request as a whole; what concerns one line is its `LineStatus`.

PricegridError
├── InvalidRequestError        mend the request: NO_LINES, TOO_MANY_LINES, SKU_TOO_LONG, CURRENCY_REQUIRED ...
├── UnauthenticatedError       the server does not know who calls: UNAUTHENTICATED
├── NotPermittedError          the caller may not do that: NOT_PERMITTED
├── CustomerNotAllowedError    the customer does not exist, or the caller may not ask: CUSTOMER_NOT_ALLOWED
├── NotFoundError              there is no such thing: RESERVATION_NOT_FOUND, DEAD_LETTER_NOT_FOUND
│   └── UnknownSnapshotError   the server does not keep that snapshot: UNKNOWN_SNAPSHOT
├── ConflictError              it is not in a state in which that can be done: RESERVATION_EXPIRED, KEY_REUSED ...
├── UnavailableError           ask again later: OVERLOADED, QUOTA_EXCEEDED ..., or no server there
├── DeadlineExceededError      no answer within `timeout_s`
└── ServerError                the server failed: INTERNAL_ERROR, SNAPSHOT_UNUSABLE; tell its operator
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "pricegrid"
DETAILS_KEY = "grpc-status-details-bin"


class PricegridError(Exception):
    """A request was refused or not answered.

    `reason` is the stable UPPER_SNAKE reason of the server, or the name of the gRPC code where it gave none; `metadata`
    says what it is about; `correlation_id` names the exchange in the server's log ('' if it never got there).
    """

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))

    @property
    def correlation_id(self) -> str:
        """Names the exchange in the server's log; '' if the server never saw it."""
        return self.metadata.get("correlation_id", "")


class InvalidRequestError(PricegridError, ValueError):
    """The request can't be answered as it is; asking again gives the same."""


class UnauthenticatedError(PricegridError):
    """The call had no token or certificate that the server takes, or an expired one; why is not said."""


class NotPermittedError(PricegridError):
    """The server knows the caller, who may not do that."""


class CustomerNotAllowedError(PricegridError):
    """The customer does not exist or may not be asked for by this caller; which of both is not said."""


class NotFoundError(PricegridError):
    """There is nothing of the name given, or it is another customer's; which of both is not said."""


class ConflictError(PricegridError):
    """What was asked contradicts what was done before: a reservation has expired or ended, a key was used for something
    else, the reservation is for another order. Nothing was changed."""


class UnknownSnapshotError(NotFoundError):
    """The snapshot version named is not one that the server keeps."""


class UnavailableError(PricegridError):
    """No server answers, or it has too much to do, perhaps for this caller alone; `retry_after_s` is when to ask again,
    None if not said."""

    retry_after_s: float | None = None


class DeadlineExceededError(PricegridError):
    """There was no answer in the time given."""


class ServerError(PricegridError):
    """The server failed to answer a request that it should have answered."""


_BY_CODE: Mapping[grpc.StatusCode, type[PricegridError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: CustomerNotAllowedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
}
_BY_REASON: Mapping[str, type[PricegridError]] = {
    "NOT_PERMITTED": NotPermittedError,
    "UNKNOWN_SNAPSHOT": UnknownSnapshotError,
    "RESERVATION_EXPIRED": ConflictError,
    "RESERVATION_ENDED": ConflictError,
    "ORDER_MISMATCH": ConflictError,
    "TOO_MANY_STREAMS": UnavailableError,
    "QUOTA_EXCEEDED": UnavailableError,
    "STREAM_IDLE": UnavailableError,
}
"""Those whose code says too little."""


def error_from_rpc(error: grpc.RpcError) -> PricegridError:
    """The `PricegridError` that says the same as a gRPC error, with the reason from its status details."""
    call: Any = error
    if not hasattr(call, "trailing_metadata"):  # gRPC raises subclasses that are calls too
        return ServerError(str(error), reason=grpc.StatusCode.UNKNOWN.name)
    code: grpc.StatusCode = call.code()
    trailing = dict(call.trailing_metadata() or ())
    reason, metadata = error_info(trailing.get(DETAILS_KEY))
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, ServerError)
    found = kind(call.details() or "", reason=reason or code.name, metadata=metadata)
    pushback_ms = trailing.get("grpc-retry-pushback-ms")
    if isinstance(found, UnavailableError) and isinstance(pushback_ms, str) and pushback_ms.isdecimal():
        found.retry_after_s = int(pushback_ms) / 1000
    return found


def error_info(details: str | bytes | None) -> tuple[str, dict[str, str]]:
    """(reason, metadata) of a server's refusal, from the `google.rpc.Status` in the trailing metadata; '' for none."""
    if not isinstance(details, bytes):
        return "", {}
    status = status_pb2.Status.FromString(details)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info.reason, dict(info.metadata)
    return "", {}
