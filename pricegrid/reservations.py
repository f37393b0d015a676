"""Reservations as the client asks for them and hands them out: frozen values."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from pricegrid import v1
from pricegrid.availability import AvailabilityStatus, availability_status
from pricegrid.errors import InvalidRequestError
from pricegrid.requests import PartNumber, quantity_micros, set_other_names
from pricegrid.results import NamedItem, decimal_from_micros, instant_from_us, named_items

RESERVE_LINES_MAX = 1_000
_MILLISECOND = timedelta(milliseconds=1)


class ReservationStatus(enum.Enum):
    """Where a reservation is in its life: held → confirmed → consumed by the warehouse; or released, or expired."""

    HELD = "HELD"
    CONFIRMED = "CONFIRMED"
    CONSUMED = "CONSUMED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class ReserveLine:
    """One line to hold: how much of an item, at which branch, in which unit ('' is the item's base unit)."""

    sku: str
    quantity: Decimal | int
    """0 or negative, finer than 10^-6 or beyond 64 bits is answered INVALID_QUANTITY."""
    branch: str
    uom: str = ""
    from_date: date | None = None
    """The first day, local to the branch, on which it holds; None: at once."""
    order_line: str = ""
    """The caller's own name for the line, for the warehouse to report against."""
    part_number: PartNumber | None = None
    """The item by a number of others; `sku` is '' then."""
    uom_system: str = ""
    """What `uom` is written in; '': as loaded."""


@dataclass(frozen=True, slots=True)
class ReservedPart:
    """What a line takes of one base item: the item itself, or a component of a kit. In its base unit."""

    sku: str
    quantity: Decimal
    cleared: Decimal
    """How much of it the warehouse has taken over."""


@dataclass(frozen=True, slots=True)
class ReservedLine:
    """One line as it is held; figures in the unit asked."""

    line: ReserveLine
    status: AvailabilityStatus
    """OK also where too little, or nothing, was free."""
    held: Decimal
    granted: Decimal
    """As first granted: `held` and what was released since."""
    shortage: Decimal | None
    """What was asked and not granted; None with INVALID_QUANTITY."""
    parts: tuple[ReservedPart, ...]
    named_items: tuple[NamedItem, ...] = ()
    """What the part number of the line names, in the answer to `reserve`: one item, or several with AMBIGUOUS_ITEM."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reservation as it stands."""

    reservation_id: str
    """'' when nothing is held."""
    status: ReservationStatus | None
    """None when nothing is held."""
    customer_id: str
    lines: tuple[ReservedLine, ...]
    created: datetime
    expires: datetime
    """It counts while the instant is before; of no meaning once it is confirmed."""
    order_ref: str
    confirmed: datetime | None
    key: str


@dataclass(frozen=True, slots=True)
class ReserveResult:
    """The answer to a reserve."""

    reservation: Reservation
    is_repeat: bool
    """The key was used before for the same: this is what that reservation holds now."""
    snapshot_version: str
    snapshot_age: timedelta
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Release:
    """How much of a line to give back."""

    line_index: int
    """From 0."""
    quantity: Decimal | int
    """In the line's unit."""


def reserve_message(
    customer_id: str,
    key: str,
    lines: Sequence[ReserveLine],
    *,
    ttl: timedelta | None,
    allow_partial: bool,
    all_or_nothing: bool,
    order_ref: str,
    exclude_reservation: str,
    replace_reservation: str,
) -> v1.ReserveRequest:
    """A reserve as it goes over the wire; what can't be carried raises `InvalidRequestError`."""
    if len(lines) > RESERVE_LINES_MAX:
        message = f"{len(lines)} lines in one reservation; at most {RESERVE_LINES_MAX}"
        raise InvalidRequestError(message, reason="TOO_MANY_LINES")
    return v1.ReserveRequest(
        customer_id=customer_id,
        idempotency_key=key,
        lines=[_line_message(line) for line in lines],
        ttl_ms=_ttl_ms(ttl),
        allow_partial=allow_partial,
        all_or_nothing=all_or_nothing,
        order_ref=order_ref,
        exclude_reservation=exclude_reservation,
        replace_reservation=replace_reservation,
    )


def _line_message(line: ReserveLine) -> v1.ReserveLine:
    message = v1.ReserveLine(
        sku=line.sku,
        quantity_micros=quantity_micros(line.quantity),
        uom=line.uom,
        branch=line.branch,
        from_date=line.from_date.isoformat() if line.from_date else "",
        order_line=line.order_line,
    )
    set_other_names(message, line.part_number, line.uom_system)
    return message


def extend_message(
    customer_id: str, reservation_id: str, ttl: timedelta | None
) -> v1.ExtendReservationRequest:
    """An extension as it goes over the wire; what can't be carried raises `InvalidRequestError`."""
    return v1.ExtendReservationRequest(
        customer_id=customer_id, reservation_id=reservation_id, ttl_ms=_ttl_ms(ttl)
    )


def _ttl_ms(ttl: timedelta | None) -> int:
    if ttl is None:
        return 0
    if ttl < _MILLISECOND:  # 0 on the wire is the server's default
        raise InvalidRequestError(f"a reservation can't be held for {ttl}", reason="INVALID_TTL")
    return ttl // _MILLISECOND


def release_message(
    customer_id: str, reservation_id: str, parts: Sequence[Release]
) -> v1.ReleaseReservationRequest:
    """A release as it goes over the wire; the server refuses a quantity that can't be carried."""
    return v1.ReleaseReservationRequest(
        customer_id=customer_id,
        reservation_id=reservation_id,
        parts=[
            v1.ReleasedPart(line_index=part.line_index, quantity_micros=quantity_micros(part.quantity))
            for part in parts
        ],
    )


def reserve_result(message: v1.ReserveResponse) -> ReserveResult:
    """Reads a `ReserveResponse`."""
    return ReserveResult(
        reservation=reservation(message.reservation),
        is_repeat=message.is_repeat,
        snapshot_version=message.snapshot_version,
        snapshot_age=timedelta(milliseconds=message.snapshot_age_ms),
        correlation_id=message.correlation_id,
    )


def reservation(message: v1.Reservation) -> Reservation:
    """Reads a `Reservation`."""
    status = v1.ReservationStatus.Name(message.status).removeprefix("RESERVATION_STATUS_")
    return Reservation(
        reservation_id=message.reservation_id,
        status=None if status == "UNSPECIFIED" else ReservationStatus(status),
        customer_id=message.customer_id,
        lines=tuple(_reserved_line(line) for line in message.lines),
        created=instant_from_us(message.created_us),
        expires=instant_from_us(message.expires_us),
        order_ref=message.order_ref,
        confirmed=instant_from_us(message.confirmed_us) if message.HasField("confirmed_us") else None,
        key=message.idempotency_key,
    )


def _reserved_line(message: v1.ReservedLine) -> ReservedLine:
    line = message.line
    return ReservedLine(
        line=ReserveLine(
            sku=line.sku,
            quantity=decimal_from_micros(line.quantity_micros),
            branch=line.branch,
            uom=line.uom,
            from_date=date.fromisoformat(line.from_date) if line.from_date else None,
            order_line=line.order_line,
            part_number=PartNumber(line.part_number.code, line.part_number.scheme)
            if line.HasField("part_number")
            else None,
            uom_system=line.uom_system,
        ),
        status=availability_status(message.status),
        held=decimal_from_micros(message.held_micros),
        granted=decimal_from_micros(message.granted_micros),
        shortage=decimal_from_micros(message.shortage_micros)
        if message.HasField("shortage_micros")
        else None,
        parts=tuple(
            ReservedPart(
                sku=part.sku,
                quantity=decimal_from_micros(part.quantity_micros),
                cleared=decimal_from_micros(part.cleared_micros),
            )
            for part in message.parts
        ),
        named_items=named_items(message.named_items),
    )
