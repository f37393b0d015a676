"""Pricegrid's public face: the client and its values. The messages of the wire are in `pricegrid.v1`."""

from pricegrid.client import LINES_MAX, Client, Line
from pricegrid.errors import (
    CustomerNotAllowedError,
    DeadlineExceededError,
    InvalidRequestError,
    PricegridError,
    ServerError,
    UnavailableError,
    UnknownSnapshotError,
)
from pricegrid.results import (
    ExceptionReason,
    Explanation,
    LinePrice,
    LineStatus,
    PriceResult,
    PriceSource,
)

__all__ = [
    "LINES_MAX",
    "Client",
    "CustomerNotAllowedError",
    "DeadlineExceededError",
    "ExceptionReason",
    "Explanation",
    "InvalidRequestError",
    "Line",
    "LinePrice",
    "LineStatus",
    "PriceResult",
    "PriceSource",
    "PricegridError",
    "ServerError",
    "UnavailableError",
    "UnknownSnapshotError",
]
