"""What the client hands out about availability: frozen values, read from the messages of the wire.

A figure that nobody knows is None, never 0.
"""

import enum
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from pricegrid import v1
from pricegrid.results import (
    LinePrice,
    NamedItem,
    decimal_from_micros,
    instant_from_us,
    line_price,
    mixed_prices,
    named_items,
)


class AvailabilityStatus(enum.Enum):
    """Outcome of a line; failures in order of precedence."""

    OK = "OK"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    UNKNOWN_ITEM = "UNKNOWN_ITEM"
    NOT_ENTITLED = "NOT_ENTITLED"
    UNKNOWN_UOM = "UNKNOWN_UOM"
    UNKNOWN_BRANCH = "UNKNOWN_BRANCH"
    UNKNOWN_STOCK = "UNKNOWN_STOCK"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    AMBIGUOUS_ITEM = "AMBIGUOUS_ITEM"
    """The part number names several items or packs, which are listed."""


class FreshnessState(enum.Enum):
    """Whether data is young enough."""

    FRESH = "FRESH"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"


class PromiseLimit(enum.Enum):
    """What leaves nothing, or not all, of a line to promise though there is stock."""

    UNIT = "UNIT"
    """Only whole units of the asked one are promised."""
    ORDER_MULTIPLE = "ORDER_MULTIPLE"
    """Only whole order multiples of the item are promised."""
    MINIMUM_SHIPMENT = "MINIMUM_SHIPMENT"
    """No shipment may be as small as what there is."""


@dataclass(frozen=True, slots=True)
class SourceFreshness:
    """How old one source's data is."""

    state: FreshnessState
    age: timedelta | None
    """At the instant asked about; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the data behind an answer is: on-hand (erp), allocations (wms), receipts and demands (transit)."""

    erp: SourceFreshness
    wms: SourceFreshness
    transit: SourceFreshness


@dataclass(frozen=True, slots=True)
class AvailabilityStep:
    """From `date` on, a day of the branch, the figures are these, in the unit asked; both may be negative."""

    date: date
    atp: Decimal
    """What can be promised then: the lowest balance from that day to the horizon."""
    balance: Decimal


@dataclass(frozen=True, slots=True)
class BranchAvailability:
    """One line at one branch, in the unit asked; figures are None unless `status` is OK."""

    branch: str
    status: AvailabilityStatus
    available: Decimal | None
    shortage: Decimal | None
    freshness: Freshness
    dropped_receipts: int
    """Receipts that are too late to count any more."""
    projected: tuple[AvailabilityStep, ...]
    """Empty unless asked for."""
    explanation: dict[str, object] | None
    """None unless asked for."""
    limited_by: PromiseLimit | None = None
    """Why nothing can be promised of what is available; None where something can, or nothing is."""


@dataclass(frozen=True, slots=True)
class LineAvailability:
    """One line: the sum over the branches, and each branch. Figures are None unless `status` is OK."""

    status: AvailabilityStatus
    available: Decimal | None
    shortage: Decimal | None
    branches: tuple[BranchAvailability, ...]
    named_items: tuple[NamedItem, ...] = ()
    """What the part number of the line names: one item, or several with AMBIGUOUS_ITEM."""


@dataclass(frozen=True, slots=True)
class AvailabilityResult:
    """The answer to a batch: `lines[i]` answers the i-th line asked."""

    lines: tuple[LineAvailability, ...]
    snapshot_version: str
    snapshot_age: timedelta
    as_of: datetime
    """The instant (UTC) the figures are for."""
    correlation_id: str


@dataclass(frozen=True, slots=True)
class PromisedPart:
    """One shipment. Days are local to the branch."""

    sku: str
    """The item asked, or one that supersedes it."""
    branch: str
    quantity: Decimal
    """In the unit asked."""
    pick_date: date
    ship_date: date
    arrival_date: date


@dataclass(frozen=True, slots=True)
class LinePromise:
    """What can be promised of one line; OK also where that is too little, or nothing."""

    status: AvailabilityStatus
    promised: tuple[PromisedPart, ...]
    shortage: Decimal | None
    """How much is not promised, in the unit asked; None with INVALID_QUANTITY."""
    freshness: Freshness
    """The worst state and the greatest age over all branches asked and all items that could have been promised."""
    dropped_receipts: int
    """Receipts that are too late to count any more, over the same."""
    explanation: dict[str, object] | None
    """None unless asked for."""
    limited_by: PromiseLimit | None = None
    """Why nothing is promised though there is stock; None where something is, or there is none."""
    named_items: tuple[NamedItem, ...] = ()
    """What the part number of the line names: one item, or several with AMBIGUOUS_ITEM."""


@dataclass(frozen=True, slots=True)
class PromiseResult:
    """The answer to an order: `lines[i]` answers the i-th line asked."""

    lines: tuple[LinePromise, ...]
    snapshot_version: str
    snapshot_age: timedelta
    as_of: datetime
    correlation_id: str


@dataclass(frozen=True, slots=True)
class QuoteAvailability:
    """What is free of one line over all branches asked; figures are None unless `status` is OK."""

    status: AvailabilityStatus
    available: Decimal | None
    shortage: Decimal | None
    promise_date: date | None
    """The earliest day by which all of the quantity can be picked; None: it can't be promised in full."""
    freshness: Freshness
    limited_by: PromiseLimit | None = None
    """Why the quantity can't be promised in full whatever the stock."""


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """Price and availability of one line."""

    price: LinePrice
    availability: QuoteAvailability | None
    """None: no branch was asked for and the customer has none, or the snapshot holds no branches."""


@dataclass(frozen=True, slots=True)
class QuoteResult:
    """The answer to a batch: `lines[i]` answers the i-th line asked."""

    lines: tuple[QuoteLine, ...]
    currency: str
    snapshot_version: str
    snapshot_age: timedelta
    as_of: datetime
    correlation_id: str


def availability_result(message: v1.CheckAvailabilityResponse) -> AvailabilityResult:
    """Reads a `CheckAvailabilityResponse`."""
    return AvailabilityResult(
        lines=tuple(
            LineAvailability(
                status=availability_status(line.status),
                available=_decimal(line, "available_micros"),
                shortage=_decimal(line, "shortage_micros"),
                branches=tuple(branch_availability(branch) for branch in line.branches),
                named_items=named_items(line.named_items),
            )
            for line in message.results
        ),
        snapshot_version=message.snapshot_version,
        snapshot_age=timedelta(milliseconds=message.snapshot_age_ms),
        as_of=instant_from_us(message.as_of_us),
        correlation_id=message.correlation_id,
    )


def promise_result(message: v1.PromiseOrderResponse) -> PromiseResult:
    """Reads a `PromiseOrderResponse`."""
    return PromiseResult(
        lines=tuple(
            LinePromise(
                status=availability_status(line.status),
                promised=tuple(_part(part) for part in line.promised),
                shortage=_decimal(line, "shortage_micros"),
                freshness=_freshness(line.freshness),
                dropped_receipts=line.dropped_receipts,
                explanation=_document(line.explanation_json),
                limited_by=_limit(line.limited_by),
                named_items=named_items(line.named_items),
            )
            for line in message.results
        ),
        snapshot_version=message.snapshot_version,
        snapshot_age=timedelta(milliseconds=message.snapshot_age_ms),
        as_of=instant_from_us(message.as_of_us),
        correlation_id=message.correlation_id,
    )


def quote_result(message: v1.QuoteLinesResponse) -> QuoteResult:
    """Reads a `QuoteLinesResponse`."""
    prices = mixed_prices((line_price(line.price) for line in message.results), message.mixed_breaks)
    return QuoteResult(
        lines=tuple(
            QuoteLine(
                price=price,
                availability=_quoted(line.availability) if line.HasField("availability") else None,
            )
            for price, line in zip(prices, message.results, strict=True)
        ),
        currency=message.currency,
        snapshot_version=message.snapshot_version,
        snapshot_age=timedelta(milliseconds=message.snapshot_age_ms),
        as_of=instant_from_us(message.as_of_us),
        correlation_id=message.correlation_id,
    )


def branch_availability(message: v1.BranchAvailability) -> BranchAvailability:
    """Reads a `BranchAvailability`."""
    return BranchAvailability(
        branch=message.branch,
        status=availability_status(message.status),
        available=_decimal(message, "available_micros"),
        shortage=_decimal(message, "shortage_micros"),
        freshness=_freshness(message.freshness),
        dropped_receipts=message.dropped_receipts,
        projected=tuple(
            AvailabilityStep(
                date=date.fromisoformat(step.date),
                atp=decimal_from_micros(step.atp_micros),
                balance=decimal_from_micros(step.balance_micros),
            )
            for step in message.projected
        ),
        explanation=_document(message.explanation_json),
        limited_by=_limit(message.limited_by),
    )


def _part(message: v1.PromisedPart) -> PromisedPart:
    return PromisedPart(
        sku=message.sku,
        branch=message.branch,
        quantity=decimal_from_micros(message.quantity_micros),
        pick_date=date.fromisoformat(message.pick_date),
        ship_date=date.fromisoformat(message.ship_date),
        arrival_date=date.fromisoformat(message.arrival_date),
    )


def _quoted(message: v1.QuoteAvailability) -> QuoteAvailability:
    return QuoteAvailability(
        status=availability_status(message.status),
        available=_decimal(message, "available_micros"),
        shortage=_decimal(message, "shortage_micros"),
        promise_date=date.fromisoformat(message.promise_date) if message.promise_date else None,
        freshness=_freshness(message.freshness),
        limited_by=_limit(message.limited_by),
    )


def _limit(number: v1.PromiseLimit) -> PromiseLimit | None:
    return PromiseLimit(v1.PromiseLimit.Name(number).removeprefix("PROMISE_LIMIT_")) if number else None


def _freshness(message: v1.Freshness) -> Freshness:
    def source(name: str) -> SourceFreshness:
        state = v1.FreshnessState.Name(getattr(message, name)).removeprefix("FRESHNESS_STATE_")
        field = f"{name}_age_ms"
        age = timedelta(milliseconds=getattr(message, field)) if message.HasField(field) else None
        return SourceFreshness(FreshnessState(state), age)

    return Freshness(source("erp"), source("wms"), source("transit"))


def availability_status(number: v1.AvailabilityStatus) -> AvailabilityStatus:
    """Reads an `AvailabilityStatus`."""
    return AvailabilityStatus(v1.AvailabilityStatus.Name(number).removeprefix("AVAILABILITY_STATUS_"))


def _decimal(
    message: v1.LineAvailability | v1.BranchAvailability | v1.LinePromise | v1.QuoteAvailability, field: str
) -> Decimal | None:
    return decimal_from_micros(getattr(message, field)) if message.HasField(field) else None


def _document(text: str) -> dict[str, object] | None:
    return dict(json.loads(text)) if text else None
