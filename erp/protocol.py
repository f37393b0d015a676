"""The interface of an ERP adapter: questions, replies, and one tree of errors.

    ErpError
    ├── ErpConfigError          the configuration is invalid; the text names the field
    ├── ErpUnavailableError     no answer now: refused connection, server error, local limit reached
    │   ├── ErpTimeoutError     no answer within the deadline
    │   ├── ErpBusyError        our own bulkhead or rate limit, or the ERP's (HTTP 429)
    │   └── CircuitOpenError    not called, because it did not answer recently
    ├── ErpAnswerError          the answer as a whole is unusable: schema, size, redirect
    └── ErpRefusedError         the ERP refused the call: permissions, a malformed question
        └── UnauthorisedError   it did not authenticate us: wrong credentials, or an expired session

Instants are microseconds since the epoch (`..._us`), deadlines seconds of the monotonic clock (`deadline_s`),
quantities 10^-6 units (`..._micros`). Prices and quantities of replies are exact decimals, as the ERP wrote them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo

from pricegrid.pricing_engine.model import PriceQuestion


class Refusal(StrEnum):
    """Why an answer was not used; a value never changes its meaning."""

    SCHEMA = "SCHEMA"
    """Not what the adapter expects: not JSON, a member missing or of a wrong type, a wrong number of lines."""
    SIZE = "SIZE"
    """Too many bytes."""
    REDIRECT = "REDIRECT"
    """A redirect: the answer could come from anyone."""
    NOT_A_NUMBER = "NOT_A_NUMBER"
    SIGN = "SIGN"
    """Below 0, or 0 where a price of 0 is not allowed."""
    PRECISION = "PRECISION"
    """Finer than 10^-6, so it can't be represented exactly."""
    RANGE = "RANGE"
    """Beyond 64 bits of 10^-6, by itself or multiplied by the quantity."""
    CURRENCY = "CURRENCY"
    UNIT = "UNIT"
    OTHER_ITEM = "OTHER_ITEM"
    OTHER_CUSTOMER = "OTHER_CUSTOMER"
    OTHER_BRANCH = "OTHER_BRANCH"
    NOT_ECHOED = "NOT_ECHOED"
    """It does not echo what the configuration requires."""
    BAND = "BAND"
    """Too far from the matrix price."""
    NO_PRICE = "NO_PRICE"
    """It has no price although there is a matrix price."""


class ErpError(Exception):
    """Root of the errors of an ERP."""


class ErpConfigError(ErpError):
    """The configuration is invalid; the text names the file and the field."""


class ErpUnavailableError(ErpError):
    """No answer now; the question may be retried."""


class ErpTimeoutError(ErpUnavailableError):
    """No answer within the deadline."""


class ErpBusyError(ErpUnavailableError):
    """A limit was reached, ours or the ERP's. Not to be retried."""


class CircuitOpenError(ErpUnavailableError):
    """The circuit breaker is open: the ERP was not called, and is probed in the background."""


class ErpAnswerError(ErpError):
    """The answer as a whole is unusable."""

    def __init__(self, reason: Refusal, message: str, excerpt: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.excerpt = excerpt
        """The beginning of the answer."""


class ErpRefusedError(ErpError):
    """The ERP refused the question; retrying does not help."""


class UnauthorisedError(ErpRefusedError):
    """The ERP did not authenticate us, or the session has expired."""


@dataclass(frozen=True, slots=True)
class PriceReply:
    """The reply to one price question. An echoed member is None if the ERP does not echo it."""

    sku: str | None
    customer_id: str | None
    uom: str | None
    currency: str | None
    unit_price: Decimal | None
    """Per requested unit; None: the ERP has no price. Any decimal: it is not validated yet (`erp.validation`)."""
    valid_until_us: int | None = None
    """When the price may change; None: not specified."""


@dataclass(frozen=True, slots=True)
class StockQuestion:
    """The stock of an item at a branch, in the item's base unit, now (`as_of_us`)."""

    sku: str
    branch: str
    as_of_us: int


@dataclass(frozen=True, slots=True)
class StockReply:
    """The reply to one stock question, in the base unit; echoed members as in `PriceReply`."""

    sku: str | None
    branch: str | None
    on_hand: Decimal
    """The physical stock, signed."""
    available: Decimal
    """The lowest balance from today to the horizon by the ERP's own open moves, signed (A2)."""


@dataclass(frozen=True, slots=True)
class LineFailure:
    """One line of a batch that the ERP could not answer, or whose answer can't be decoded."""

    reason: Refusal
    message: str


@dataclass(frozen=True, slots=True)
class Extract:
    """The tables of a dataset (docs/dataset.md), read at one time: rows of column names to texts."""

    tables: Mapping[str, Sequence[Mapping[str, str]]]
    time_zone: str
    """Of the ERP's business dates."""
    remarks: Sequence[str] = field(default_factory=tuple)
    """What could not be extracted exactly, and what was done instead."""


class ErpAdapter(Protocol):
    """One ERP. Used by one event loop; calls may be concurrent.

    Questions have explicit names: `uom` and `currency` are never ''. An empty `customer_id` asks for the list price.
    Replies are in the order of the questions.
    """

    name: str
    """Of the ERP, for logs and metrics."""
    time_zone: ZoneInfo
    """Of its business dates."""

    def price_batches(self, questions: Sequence[PriceQuestion]) -> list[list[int]]:
        """The indices of the questions that one call may answer together; every index once."""
        ...

    async def prices(
        self, questions: Sequence[PriceQuestion], deadline_s: float
    ) -> list[PriceReply | LineFailure]:
        """Asks one batch in one call. Raises `ErpError`."""
        ...

    def stock_batches(self, questions: Sequence[StockQuestion]) -> list[list[int]]:
        """As `price_batches`; empty when this ERP has no stock interface."""
        ...

    async def stock(
        self, questions: Sequence[StockQuestion], deadline_s: float
    ) -> list[StockReply | LineFailure]:
        """Asks one batch in one call. Raises `ErpError`."""
        ...

    async def extract(self, as_of_us: int, deadline_s: float) -> Extract:
        """All tables that this ERP provides, as of now (`as_of_us`). Raises `ErpError`."""
        ...

    async def ping(self, deadline_s: float) -> None:
        """A cheap call that needs a working ERP. Raises `ErpError`."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...
