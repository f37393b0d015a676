"""Inventory events as the client takes them, and how they go over the wire."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pricegrid import v1
from pricegrid.errors import InvalidRequestError
from pricegrid.limits import EVENTS_PER_MESSAGE_MAX
from pricegrid.requests import quantity_micros
from pricegrid.results import EPOCH

_MESSAGE_BYTES_MAX = 2 * 1024 * 1024  # half of what a server takes: one unreadable text more still fits
_MICROSECOND = timedelta(microseconds=1)


class InventorySource(enum.Enum):
    """Who reports."""

    ERP = "ERP"
    WMS = "WMS"
    TRANSIT = "TRANSIT"


class InventoryMeasure(enum.Enum):
    """What an event speaks of; on-hand and unavailable are the ERP's, allocated the WMS's, the others TRANSIT's."""

    ON_HAND = "ON_HAND"
    UNAVAILABLE = "UNAVAILABLE"
    ALLOCATED = "ALLOCATED"
    RECEIPT = "RECEIPT"
    DEMAND = "DEMAND"


class InventoryEventKind(enum.Enum):
    """How it speaks: the figure itself, a change of it, or no figure: the source begins its numbers anew."""

    SET = "SET"
    DELTA = "DELTA"
    RESET = "RESET"


class InventoryReceiptKind(enum.Enum):
    """What a receipt is."""

    PURCHASE = "PURCHASE"
    TRANSFER = "TRANSFER"
    ASN = "ASN"


@dataclass(frozen=True, slots=True)
class InventoryEvent:
    """One message of a source about one item at one branch."""

    source: InventorySource
    sequence: int
    """Its place among the events of (source, item, branch), from 1 upward, without gaps."""
    effective: datetime
    """When it took effect at the source; with a time zone."""
    measure: InventoryMeasure
    kind: InventoryEventKind
    sku: str
    branch: str
    quantity: Decimal | int
    """In the item's base unit, at most 6 decimals."""
    expected_at: datetime | None = None
    """When a receipt is expected or a demand is due; None keeps what is known."""
    order_ref: str = ""
    """Order of an allocation or demand, reference of a receipt."""
    order_line: str = ""
    version: int = 0
    """Of the order line, as the warehouse counts it."""
    shipped: Decimal | int | None = None
    """Of an allocation: what has been shipped of the order line so far, in all; None says nothing."""
    receipt_kind: InventoryReceiptKind | None = None
    """Of a receipt; None keeps what is known."""
    confidence: Decimal | int | None = None
    """Of a receipt, 0 to 1; None keeps what is known."""
    supersedes: str = ""
    """Of a receipt: the reference of the purchase order that it is a part of."""


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """The text of an event that could not be read: the server keeps it as a dead letter, so that nothing is lost."""

    text: str
    detail: str = ""
    """Where it stood, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of the events of a stream, all of it durable: each counts in exactly one of the first four, or is
    `refused`."""

    applied: int
    duplicate: int
    """Those that were here before."""
    older: int
    """Those that say nothing new."""
    dead_letter: int
    """Those that can't be applied; kept as dead letters."""
    dead_letter_ids: tuple[str, ...]
    """The first 1,000 of them."""
    gaps: int
    """How often a message left a stream (source, item, branch) with an event missing."""
    correlation_id: str
    refused: int = 0
    """Those that can't be applied and for which there is no room among the dead letters: they are kept nowhere."""
    restarts: int = 0
    """Those that look as if their source had begun its numbers anew without a reset."""


def publish_messages(
    events: Iterable[InventoryEvent | UnreadableEvent], events_per_message: int
) -> Iterator[v1.PublishEventsRequest]:
    """The events in messages of at most so many; raises `InvalidRequestError` for one that can't be carried."""
    if not 1 <= events_per_message <= EVENTS_PER_MESSAGE_MAX:
        raise ValueError(f"events_per_message is {events_per_message}, not 1 to {EVENTS_PER_MESSAGE_MAX}")
    request, size = v1.PublishEventsRequest(), 0
    for event in events:
        message = _unreadable(event) if isinstance(event, UnreadableEvent) else _message(event)
        size += message.ByteSize()
        if len(request.events) >= events_per_message or (request.events and size > _MESSAGE_BYTES_MAX):
            yield request
            request, size = v1.PublishEventsRequest(), message.ByteSize()
        request.events.append(message)
    if request.events:
        yield request


def publish_result(message: v1.PublishEventsResponse) -> PublishResult:
    """Reads a `PublishEventsResponse`."""
    return PublishResult(
        applied=message.applied_count,
        duplicate=message.duplicate_count,
        older=message.older_count,
        dead_letter=message.dead_letter_count,
        dead_letter_ids=tuple(message.dead_letter_ids),
        gaps=message.gap_count,
        correlation_id=message.correlation_id,
        refused=message.refused_count,
        restarts=message.restart_count,
    )


def _unreadable(event: UnreadableEvent) -> v1.InventoryEvent:
    # What a server would cut off needn't travel.
    text = event.text.encode(errors="replace")[:_TEXT_BYTES_SENT_MAX].decode(errors="ignore")
    detail = event.detail.encode(errors="replace")[:_TEXT_BYTES_SENT_MAX].decode(errors="ignore")
    return v1.InventoryEvent(unreadable=text or " ", unreadable_detail=detail)


def _message(event: InventoryEvent) -> v1.InventoryEvent:
    try:
        return v1.InventoryEvent(
            source=_SOURCES[event.source],
            sequence=event.sequence,
            effective_us=_instant_us("effective", event.effective),
            measure=_MEASURES[event.measure],
            kind=_KINDS[event.kind],
            sku=event.sku,
            branch=event.branch,
            quantity_micros=_micros(event.quantity),
            expected_at_us=_instant_us("expected_at", event.expected_at) if event.expected_at else 0,
            order_ref=event.order_ref,
            order_line=event.order_line,
            version=event.version,
            shipped_micros=None if event.shipped is None else _micros(event.shipped),
            receipt_kind=None if event.receipt_kind is None else _RECEIPT_KINDS[event.receipt_kind],
            confidence_micros=None if event.confidence is None else _micros(event.confidence),
            supersedes=event.supersedes,
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{event}: {error}", reason="INVALID_EVENT") from error


def _instant_us(field: str, instant: datetime) -> int:
    if instant.tzinfo is None:
        raise ValueError(f"{field} needs a time zone")
    return us_from_instant(instant)


def us_from_instant(instant: datetime) -> int:
    """Microseconds since the epoch."""
    return (instant - EPOCH) // _MICROSECOND


def _micros(quantity: Decimal | int) -> int:
    micros = quantity_micros(quantity)
    if Decimal(micros).scaleb(-6) != quantity:  # 0 stands for what can't be carried
        raise ValueError(f"the quantity {quantity} has more than 6 decimals or is beyond 64 bits")
    return micros


_TEXT_BYTES_SENT_MAX = 128 * 1024  # more than a server keeps: it says that the rest is cut off
_SOURCES: Mapping[InventorySource, Any] = {
    source: v1.InventorySource.Value(f"INVENTORY_SOURCE_{source.value}") for source in InventorySource
}
_MEASURES: Mapping[InventoryMeasure, Any] = {
    measure: v1.InventoryMeasure.Value(f"INVENTORY_MEASURE_{measure.value}") for measure in InventoryMeasure
}
_KINDS: Mapping[InventoryEventKind, Any] = {
    kind: v1.InventoryEventKind.Value(f"INVENTORY_EVENT_KIND_{kind.value}") for kind in InventoryEventKind
}
_RECEIPT_KINDS: Mapping[InventoryReceiptKind, Any] = {
    kind: v1.InventoryReceiptKind.Value(f"INVENTORY_RECEIPT_KIND_{kind.value}")
    for kind in InventoryReceiptKind
}
