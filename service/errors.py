"""The reasons for refusing a request, and the one table that maps them to gRPC status codes (docs/api.md)."""

import enum
import functools
import secrets
from collections.abc import Mapping
from types import MappingProxyType

import grpc
from google.rpc import error_details_pb2, status_pb2

from pricegrid.atp.model import PolicyError, TooComplexError
from pricegrid.errors import DETAILS_KEY, DOMAIN
from pricegrid.pricing_engine.errors import (
    CurrencyRequiredError,
    InvalidCurrencyError,
    PricingError,
    UnknownCustomerError,
)
from pricegrid.service.limits import PUSHBACK_MS

_STAND_IN = secrets.token_hex(64)
"""Nobody else's text."""
_STAND_IN_MIN = 16
PUSHBACK_KEY = "grpc-retry-pushback-ms"


class Reason(enum.StrEnum):
    """Stable reasons of `google.rpc.ErrorInfo`; a value never changes its meaning."""

    NO_LINES = "NO_LINES"
    TOO_MANY_LINES = "TOO_MANY_LINES"
    SKU_TOO_LONG = "SKU_TOO_LONG"
    UOM_TOO_LONG = "UOM_TOO_LONG"
    FIELD_TOO_LONG = "FIELD_TOO_LONG"
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    TOO_MANY_EVENTS = "TOO_MANY_EVENTS"
    CURRENCY_REQUIRED = "CURRENCY_REQUIRED"
    INVALID_CURRENCY = "INVALID_CURRENCY"
    INVALID_AS_OF = "INVALID_AS_OF"
    INVALID_PART_NUMBER = "INVALID_PART_NUMBER"
    TOO_MANY_BRANCHES = "TOO_MANY_BRANCHES"
    TOO_MANY_PAIRS = "TOO_MANY_PAIRS"
    INVALID_POLICY = "INVALID_POLICY"
    INVALID_DATE = "INVALID_DATE"
    KEY_REQUIRED = "KEY_REQUIRED"
    INVALID_TTL = "INVALID_TTL"
    INVALID_RESERVATION = "INVALID_RESERVATION"
    INVALID_WATCH = "INVALID_WATCH"
    INVALID_LIMIT = "INVALID_LIMIT"
    INVALID_UNREPORTED_FOR = "INVALID_UNREPORTED_FOR"
    NO_IDS = "NO_IDS"
    TOO_MANY_IDS = "TOO_MANY_IDS"
    PROMISE_TOO_COMPLEX = "PROMISE_TOO_COMPLEX"
    NO_AVAILABILITY_DATA = "NO_AVAILABILITY_DATA"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    NOT_PERMITTED = "NOT_PERMITTED"
    CUSTOMER_NOT_ALLOWED = "CUSTOMER_NOT_ALLOWED"
    UNKNOWN_SNAPSHOT = "UNKNOWN_SNAPSHOT"
    RESERVATION_NOT_FOUND = "RESERVATION_NOT_FOUND"
    RESERVATION_EXPIRED = "RESERVATION_EXPIRED"
    RESERVATION_ENDED = "RESERVATION_ENDED"
    KEY_REUSED = "KEY_REUSED"
    ORDER_MISMATCH = "ORDER_MISMATCH"
    INVALID_ORDER = "INVALID_ORDER"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    DEAD_LETTER_NOT_FOUND = "DEAD_LETTER_NOT_FOUND"
    INVALID_RESET = "INVALID_RESET"
    NO_STREAMS = "NO_STREAMS"
    SNAPSHOT_UNUSABLE = "SNAPSHOT_UNUSABLE"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    STREAM_IDLE = "STREAM_IDLE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    LIVE_STATE_UNAVAILABLE = "LIVE_STATE_UNAVAILABLE"
    SERVER_STOPPING = "SERVER_STOPPING"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


CODES: Mapping[Reason, grpc.StatusCode] = MappingProxyType(
    {
        Reason.NO_LINES: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_MANY_LINES: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.SKU_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.UOM_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.FIELD_TOO_LONG: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.MALFORMED_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_MANY_EVENTS: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.CURRENCY_REQUIRED: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_CURRENCY: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_AS_OF: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_PART_NUMBER: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_MANY_BRANCHES: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_MANY_PAIRS: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_POLICY: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_DATE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.KEY_REQUIRED: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_TTL: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_RESERVATION: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_WATCH: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_LIMIT: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_UNREPORTED_FOR: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.NO_IDS: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_MANY_IDS: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.PROMISE_TOO_COMPLEX: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.NO_AVAILABILITY_DATA: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
        Reason.NOT_PERMITTED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.CUSTOMER_NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.UNKNOWN_SNAPSHOT: grpc.StatusCode.NOT_FOUND,
        Reason.RESERVATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.RESERVATION_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RESERVATION_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.KEY_REUSED: grpc.StatusCode.ALREADY_EXISTS,
        Reason.ORDER_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.INVALID_ORDER: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.ORDER_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.DEAD_LETTER_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.INVALID_RESET: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.NO_STREAMS: grpc.StatusCode.NOT_FOUND,
        Reason.SNAPSHOT_UNUSABLE: grpc.StatusCode.DATA_LOSS,
        Reason.TOO_MANY_STREAMS: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.STREAM_IDLE: grpc.StatusCode.ABORTED,
        Reason.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.LIVE_STATE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.SERVER_STOPPING: grpc.StatusCode.UNAVAILABLE,
        Reason.OVERLOADED: grpc.StatusCode.UNAVAILABLE,
        Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
        Reason.INTERNAL_ERROR: grpc.StatusCode.INTERNAL,
    }
)

PUSHED_BACK = frozenset(
    {Reason.OVERLOADED, Reason.TOO_MANY_STREAMS, Reason.LIVE_STATE_UNAVAILABLE, Reason.SERVER_STOPPING}
)
"""Transient: the response tells the caller when to retry, also where nobody has measured when."""

_DOMAIN_REASONS: Mapping[type[PricingError], Reason] = MappingProxyType(
    {
        UnknownCustomerError: Reason.CUSTOMER_NOT_ALLOWED,
        CurrencyRequiredError: Reason.CURRENCY_REQUIRED,
        InvalidCurrencyError: Reason.INVALID_CURRENCY,
    }
)


class RequestRefusedError(Exception):
    """A refused request, with the reason that the caller gets, and in how many ms to ask again where that is known."""

    def __init__(
        self, reason: Reason, message: str, *, retry_ms: int = 0, limit: str = "", **metadata: str
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = metadata if not limit else {**metadata, "limit": limit}
        self.limit = limit
        """Which of `metric_table.LIMITS` refused it, '' for none."""
        self.retry_ms = retry_ms or (PUSHBACK_MS if reason in PUSHED_BACK else 0)

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code of the reason."""
        return CODES[self.reason]


def unauthenticated() -> RequestRefusedError:
    """The one refusal of whoever is not known, whatever the reason."""
    return RequestRefusedError(Reason.UNAUTHENTICATED, "the call has no identity that is valid here")


def not_permitted() -> RequestRefusedError:
    """The one refusal of who is known and may not do that."""
    return RequestRefusedError(Reason.NOT_PERMITTED, "this caller may not do that")


def refusal(error: Exception) -> RequestRefusedError:
    """The refusal that a caller gets for an error; an unexpected error reveals nothing but that it happened."""
    if isinstance(error, RequestRefusedError):
        return error
    if isinstance(error, UnknownCustomerError):
        # The same text as for an existing customer that the caller may not use, so that ids can't be probed.
        return RequestRefusedError(Reason.CUSTOMER_NOT_ALLOWED, "this customer may not be asked for")
    if isinstance(error, PolicyError):
        return RequestRefusedError(Reason.INVALID_POLICY, str(error))
    if isinstance(error, TooComplexError):
        return RequestRefusedError(Reason.PROMISE_TOO_COMPLEX, str(error))
    if isinstance(error, PricingError):
        return RequestRefusedError(_DOMAIN_REASONS[type(error)], str(error))
    return RequestRefusedError(Reason.INTERNAL_ERROR, "internal error; see the server's log")


def trailing_metadata(
    refused: RequestRefusedError, correlation_id: str
) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata of a refusal: a `google.rpc.Status` with one `ErrorInfo`.

    Where the caller should ask again later, also a `RetryInfo`, and gRPC's push-back.
    """
    if not refused.retry_ms:
        return ((DETAILS_KEY, _details(refused, correlation_id)),)
    # under overload most calls are refused, with few texts: then it has to cost next to nothing
    stand_in = _STAND_IN[: len(correlation_id)]
    if len(stand_in) < _STAND_IN_MIN or len(stand_in) != len(correlation_id) or not correlation_id.isascii():
        details = _details(refused, correlation_id)
    else:
        before, after = _parted_details(
            refused.reason, refused.message, tuple(refused.metadata.items()), refused.retry_ms, stand_in
        )
        details = before + correlation_id.encode() + after
    return (DETAILS_KEY, details), (PUSHBACK_KEY, str(refused.retry_ms))


def _details(refused: RequestRefusedError, correlation_id: str) -> bytes:
    info = error_details_pb2.ErrorInfo(
        reason=refused.reason, domain=DOMAIN, metadata={**refused.metadata, "correlation_id": correlation_id}
    )
    status = status_pb2.Status(code=refused.code.value[0], message=refused.message)
    status.details.add().Pack(info)
    if refused.retry_ms:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(refused.retry_ms)
        status.details.add().Pack(retry)
    raw: bytes = status.SerializeToString()
    return raw


@functools.lru_cache(maxsize=1_024)
def _parted_details(
    reason: Reason, message: str, metadata: tuple[tuple[str, str], ...], retry_ms: int, stand_in: str
) -> tuple[bytes, bytes]:
    """The details before and after a correlation id as long as `stand_in`."""
    refused = RequestRefusedError(reason, message, retry_ms=retry_ms)
    refused.metadata = dict(metadata)
    before, _, after = _details(refused, stand_in).partition(stand_in.encode())
    return before, after
