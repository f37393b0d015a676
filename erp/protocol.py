"""What an ERP is asked and what it answers, whichever it is; and everything that can go wrong, in one tree.

    ErpError
    ├── ErpConfigError          the operator mends the configuration; the text names the field
    ├── ErpUnavailableError     no answer now: refused connection, server error, local limit reached
    │   ├── ErpTimeoutError     not within the deadline
    │   ├── ErpBusyError        our own bulkhead or rate limit, or the ERP's (HTTP 429)
    │   └── CircuitOpenError    lately it did not answer, so it was not asked
    ├── ErpAnswerError          it answered what can't be used as a whole: schema, size, redirect
    └── ErpRefusedError         it understood and refused: rights, a malformed question
        └── UnauthorisedError   it does not know us: credentials, or a session that has ended

Instants are microseconds since the epoch (`..._us`), deadlines seconds of the monotonic clock (`deadline_s`),
quantities 10^-6 units (`..._micros`). Prices and quantities of answers are exact decimals, as the ERP wrote them.
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
    """It is not what the adapter expects: no JSON, a member missing or of another type, another count of lines."""
    SIZE = "SIZE"
    """More bytes than an answer may have."""
    REDIRECT = "REDIRECT"
    """It points elsewhere: followed, it could be anybody's answer."""
    NOT_A_NUMBER = "NOT_A_NUMBER"
    SIGN = "SIGN"
    """Below 0, or 0 where a price of 0 is not allowed."""
    PRECISION = "PRECISION"
    """Finer than 10^-6: it could not be carried exactly."""
    RANGE = "RANGE"
    """Beyond 64 bits of 10^-6, extended by the quantity too."""
    CURRENCY = "CURRENCY"
    UNIT = "UNIT"
    OTHER_ITEM = "OTHER_ITEM"
    OTHER_CUSTOMER = "OTHER_CUSTOMER"
    OTHER_BRANCH = "OTHER_BRANCH"
    NOT_ECHOED = "NOT_ECHOED"
    """It does not say what it is an answer to, and the configuration demands it."""
    BAND = "BAND"
    """Too far from the price of the matrices."""
    NO_PRICE = "NO_PRICE"
    """It has no price where the matrices have one."""


class ErpError(Exception):
    """Root of what can go wrong with an ERP."""


class ErpConfigError(ErpError):
    """The configuration can't be used; the text names the file and the field."""


class ErpUnavailableError(ErpError):
    """No answer now; the question may be asked again."""


class ErpTimeoutError(ErpUnavailableError):
    """No answer within the deadline."""


class ErpBusyError(ErpUnavailableError):
    """A limit is reached, ours or the ERP's: it was not asked, or sent us away. Not to be retried."""


class CircuitOpenError(ErpUnavailableError):
    """Lately the ERP did not answer; it was not asked, and is probed in the background."""


class ErpAnswerError(ErpError):
    """An answer that can't be used as a whole."""

    def __init__(self, reason: Refusal, message: str, excerpt: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.excerpt = excerpt
        """The beginning of what came."""


class ErpRefusedError(ErpError):
    """The ERP refused the question; asking again changes nothing."""


class UnauthorisedError(ErpRefusedError):
    """The ERP does not know us, or not any more."""


@dataclass(frozen=True, slots=True)
class PriceReply:
    """What an ERP says to one price question. None in an echo: this ERP does not say it."""

    sku: str | None
    customer_id: str | None
    uom: str | None
    currency: str | None
    unit_price: Decimal | None
    """For one unit asked; None: the ERP has no price. May be anything a decimal can be: see `erp.validation`."""
    valid_until_us: int | None = None
    """From then on the price may be another; None: not said."""


@dataclass(frozen=True, slots=True)
class StockQuestion:
    """How much of an item there is at a branch, in the item's base unit, now (`as_of_us`)."""

    sku: str
    branch: str
    as_of_us: int


@dataclass(frozen=True, slots=True)
class StockReply:
    """What an ERP says to one stock question, in the base unit; None in an echo as in `PriceReply`."""

    sku: str | None
    branch: str | None
    on_hand: Decimal
    """Physically there, signed."""
    available: Decimal
    """The lowest balance from today to the horizon by the ERP's own open moves, signed (A2)."""


@dataclass(frozen=True, slots=True)
class LineFailure:
    """One line of a batch that the ERP could not answer, or whose answer can't be read."""

    reason: Refusal
    message: str


@dataclass(frozen=True, slots=True)
class Extract:
    """The tables of a dataset (docs/dataset.md), read at one time: rows of column names to texts."""

    tables: Mapping[str, Sequence[Mapping[str, str]]]
    time_zone: str
    """Of the ERP's business dates."""
    remarks: Sequence[str] = field(default_factory=tuple)
    """What could not be carried over exactly, and what was done instead."""


class ErpAdapter(Protocol):
    """One ERP. Used by one event loop; calls may overlap.

    Questions carry explicit names: `uom` and `currency` are never ''. An empty `customer_id` asks for what everyone
    pays. A reply is for the question of the same place.
    """

    name: str
    """Of the ERP, for logs and metrics."""
    time_zone: ZoneInfo
    """Of its business dates."""

    def price_batches(self, questions: Sequence[PriceQuestion]) -> list[list[int]]:
        """Places of questions that one call may answer together; every place once."""
        ...

    async def prices(
        self, questions: Sequence[PriceQuestion], deadline_s: float
    ) -> list[PriceReply | LineFailure]:
        """One batch, one call. Raises `ErpError`."""
        ...

    def stock_batches(self, questions: Sequence[StockQuestion]) -> list[list[int]]:
        """As `price_batches`; empty when this ERP tells no stock."""
        ...

    async def stock(
        self, questions: Sequence[StockQuestion], deadline_s: float
    ) -> list[StockReply | LineFailure]:
        """One batch, one call. Raises `ErpError`."""
        ...

    async def extract(self, as_of_us: int, deadline_s: float) -> Extract:
        """All tables that this ERP can fill, as they are now, `as_of_us`. Raises `ErpError`."""
        ...

    async def ping(self, deadline_s: float) -> None:
        """A cheap call that needs a working ERP. Raises `ErpError`."""
        ...

    async def close(self) -> None:
        """Ends connections."""
        ...
