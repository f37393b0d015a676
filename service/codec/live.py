"""Reservations and dead letters: requests from bytes to the types of live state, and those to response bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pricegrid import v1
from pricegrid.atp.model import AvailabilityStatus
from pricegrid.atp.rules.reservations import HeldReservation, ReserveAsk, ReservedLine, ReserveLine
from pricegrid.service.codec.request import check_fields, optional_date, parse, trim_names, trimmed
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import (
    FIELD_BYTES_MAX,
    IDS_MAX,
    LIST_DEFAULT,
    LIST_MAX,
    RESERVE_LINES_MAX,
    SKU_BYTES_MAX,
    TTL_MS_DEFAULT,
    TTL_MS_MAX,
    TTL_MS_MIN,
    UOM_BYTES_MAX,
)
from pricegrid.service.live.api import DeadLetter, Release, Reserved

_OFFSET = 1  # 0 is UNSPECIFIED in the proto
_UNREPORTED_FOR_MS_MAX = (2**63 - 1) // 1_000  # in microseconds it must fit into 64 bits


@dataclass(frozen=True, slots=True)
class ConfirmAsk:
    """A validated ConfirmReservation request."""

    customer_id: str
    reservation_id: str
    order_ref: str
    order_lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReleaseAsk:
    """A validated ReleaseReservation request; without parts it releases everything."""

    customer_id: str
    reservation_id: str
    parts: Sequence[Release]


@dataclass(frozen=True, slots=True)
class ExtendAsk:
    """A validated ExtendReservation request."""

    customer_id: str
    reservation_id: str
    ttl_us: int


@dataclass(frozen=True, slots=True)
class ListReservationsAsk:
    """A validated ListReservations request."""

    customer_id: str
    unreported_for_us: int | None
    limit: int


def decode_reserve(raw: bytes) -> ReserveAsk:
    """Decodes and validates a `ReserveRequest`; raises `RequestRefusedError`, as all decoders of this module do."""
    request = v1.ReserveRequest()
    parse(request, raw)
    check_fields(
        request,
        *("customer_id", "idempotency_key", "order_ref", "exclude_reservation", "replace_reservation"),
    )
    if not request.idempotency_key:
        raise RequestRefusedError(Reason.KEY_REQUIRED, "the request has no idempotency_key")
    if not request.lines:
        raise RequestRefusedError(Reason.NO_LINES, "the request has no lines")
    if len(request.lines) > RESERVE_LINES_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_LINES,
            f"{len(request.lines)} lines in one reservation; at most {RESERVE_LINES_MAX}",
            lines=str(len(request.lines)),
            lines_max=str(RESERVE_LINES_MAX),
        )
    if request.allow_partial and request.all_or_nothing:
        raise RequestRefusedError(
            Reason.INVALID_RESERVATION, "allow_partial and all_or_nothing contradict each other"
        )
    if request.exclude_reservation and request.replace_reservation:
        raise RequestRefusedError(
            Reason.INVALID_RESERVATION, "exclude_reservation and replace_reservation contradict each other"
        )
    return ReserveAsk(
        key=request.idempotency_key,
        customer_id=request.customer_id,
        lines=[_reserve_line(line, at) for at, line in enumerate(request.lines)],
        ttl_us=_ttl_us(request.ttl_ms),
        allow_partial=request.allow_partial,
        all_or_nothing=request.all_or_nothing,
        order_ref=request.order_ref,
        exclude_reservation=request.exclude_reservation,
        replace_reservation=request.replace_reservation,
    )


def _ttl_us(asked_ms: int) -> int:
    ttl_ms = asked_ms or TTL_MS_DEFAULT
    if not TTL_MS_MIN <= ttl_ms <= TTL_MS_MAX:
        raise RequestRefusedError(
            Reason.INVALID_TTL, f"ttl_ms is {ttl_ms}, not {TTL_MS_MIN} to {TTL_MS_MAX}", ttl_ms=str(ttl_ms)
        )
    return ttl_ms * 1_000


def _reserve_line(line: v1.ReserveLine, at: int) -> ReserveLine:
    trim_names(line, "sku", "uom", "branch", "order_line")
    for field, bytes_max, reason in (
        ("sku", SKU_BYTES_MAX, Reason.SKU_TOO_LONG),
        ("uom", UOM_BYTES_MAX, Reason.UOM_TOO_LONG),
        ("branch", FIELD_BYTES_MAX, Reason.FIELD_TOO_LONG),
        ("order_line", FIELD_BYTES_MAX, Reason.FIELD_TOO_LONG),
    ):
        size = len(getattr(line, field).encode())
        if size > bytes_max:
            message = f"{field} of lines[{at}] has {size} bytes; at most {bytes_max}"
            raise RequestRefusedError(reason, message, field=field, index=str(at), bytes_max=str(bytes_max))
    return ReserveLine(
        sku=line.sku,
        quantity_micros=line.quantity_micros,
        branch=line.branch,
        uom=line.uom,
        from_date=optional_date(f"from_date of lines[{at}]", line.from_date),
        order_line=line.order_line,
    )


def decode_confirm(raw: bytes) -> ConfirmAsk:
    """Decodes and validates a `ConfirmReservationRequest`."""
    request = v1.ConfirmReservationRequest()
    parse(request, raw)
    check_fields(request, "customer_id", "reservation_id", "order_ref")
    if not request.order_ref:
        raise RequestRefusedError(Reason.INVALID_RESERVATION, "order_ref is missing", field="order_ref")
    if len(request.order_lines) > RESERVE_LINES_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_LINES, f"{len(request.order_lines)} order lines; at most {RESERVE_LINES_MAX}"
        )
    _check_texts("order_lines", request.order_lines)
    return ConfirmAsk(
        request.customer_id,
        request.reservation_id,
        request.order_ref,
        tuple(map(trimmed, request.order_lines)),
    )


def decode_release(raw: bytes) -> ReleaseAsk:
    """Decodes and validates a `ReleaseReservationRequest`."""
    request = v1.ReleaseReservationRequest()
    parse(request, raw)
    check_fields(request, "customer_id", "reservation_id")
    for at, part in enumerate(request.parts):
        if part.line_index < 0 or part.quantity_micros <= 0:
            raise RequestRefusedError(
                Reason.INVALID_RESERVATION,
                f"parts[{at}] names line {part.line_index} and a quantity of {part.quantity_micros}: "
                "lines count from 0, quantities are more than 0",
                index=str(at),
            )
    parts = [Release(part.line_index, part.quantity_micros) for part in request.parts]
    if len({part.line for part in parts}) != len(parts):
        raise RequestRefusedError(Reason.INVALID_RESERVATION, "a line is named twice in parts")
    return ReleaseAsk(request.customer_id, request.reservation_id, parts)


def decode_extend(raw: bytes) -> ExtendAsk:
    """Decodes and validates an `ExtendReservationRequest`."""
    request = v1.ExtendReservationRequest()
    parse(request, raw)
    check_fields(request, "customer_id", "reservation_id")
    return ExtendAsk(request.customer_id, request.reservation_id, _ttl_us(request.ttl_ms))


def decode_get_reservation(raw: bytes) -> tuple[str, str]:
    """(customer id, reservation id) of a `GetReservationRequest`."""
    request = v1.GetReservationRequest()
    parse(request, raw)
    check_fields(request, "customer_id", "reservation_id")
    return request.customer_id, request.reservation_id


def decode_list_reservations(raw: bytes) -> ListReservationsAsk:
    """Decodes and validates a `ListReservationsRequest`."""
    request = v1.ListReservationsRequest()
    parse(request, raw)
    check_fields(request, "customer_id")
    unreported_for_us = None
    if request.HasField("unreported_for_ms"):
        if not 0 <= request.unreported_for_ms <= _UNREPORTED_FOR_MS_MAX:
            raise RequestRefusedError(
                Reason.INVALID_UNREPORTED_FOR,
                f"unreported_for_ms is {request.unreported_for_ms}, not 0 to {_UNREPORTED_FOR_MS_MAX}",
            )
        unreported_for_us = request.unreported_for_ms * 1_000
    return ListReservationsAsk(request.customer_id, unreported_for_us, list_limit(request.limit))


def decode_list_dead_letters(raw: bytes) -> tuple[str, int, str]:
    """(origin, limit, page token) of a `ListDeadLettersRequest`."""
    request = v1.ListDeadLettersRequest()
    parse(request, raw)
    check_fields(request, "origin", "page_token")
    return request.origin, list_limit(request.limit), request.page_token


def decode_get_dead_letter(raw: bytes) -> str:
    """The dead letter id of a `GetDeadLetterRequest`."""
    request = v1.GetDeadLetterRequest()
    parse(request, raw)
    check_fields(request, "dead_letter_id")
    return request.dead_letter_id


def decode_dead_letter_ids(
    request: v1.ReplayDeadLettersRequest | v1.DropDeadLettersRequest, raw: bytes
) -> list[str]:
    """The dead letter ids of such a request, without repetitions."""
    parse(request, raw)
    ids = list(dict.fromkeys(request.dead_letter_ids))
    if not ids:
        raise RequestRefusedError(Reason.NO_IDS, "the request names no dead letter")
    if len(request.dead_letter_ids) > IDS_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_IDS,
            f"{len(request.dead_letter_ids)} dead letters in one request; at most {IDS_MAX}",
        )
    _check_texts("dead_letter_ids", ids)
    return ids


def encode_reserve(reserved: Reserved, age_ms: int, correlation_id: str) -> bytes:
    """Encodes a `ReserveResponse`."""
    return v1.ReserveResponse(
        reservation=reservation_message(reserved.reservation),
        is_repeat=reserved.is_repeat,
        snapshot_version=reserved.snapshot_version,
        snapshot_age_ms=age_ms,
        correlation_id=correlation_id,
    ).SerializeToString()


def encode_reservation(
    response: v1.ConfirmReservationResponse
    | v1.ReleaseReservationResponse
    | v1.ExtendReservationResponse
    | v1.GetReservationResponse,
    reservation: HeldReservation,
    correlation_id: str,
) -> bytes:
    """Encodes a response about one reservation."""
    response.reservation.CopyFrom(reservation_message(reservation))
    response.correlation_id = correlation_id
    return response.SerializeToString()


def encode_reservations(reservations: Iterable[HeldReservation], correlation_id: str) -> bytes:
    """Encodes a `ListReservationsResponse`."""
    return v1.ListReservationsResponse(
        reservations=map(reservation_message, reservations), correlation_id=correlation_id
    ).SerializeToString()


def encode_dead_letters(
    response: v1.ListDeadLettersResponse | v1.ReplayDeadLettersResponse,
    letters: Iterable[DeadLetter],
    correlation_id: str,
) -> bytes:
    """Encodes a response with dead letters."""
    response.dead_letters.extend(map(dead_letter_message, letters))
    response.correlation_id = correlation_id
    return response.SerializeToString()


def encode_dead_letter(letter: DeadLetter, correlation_id: str) -> bytes:
    """Encodes a `GetDeadLetterResponse`."""
    return v1.GetDeadLetterResponse(
        dead_letter=dead_letter_message(letter), correlation_id=correlation_id
    ).SerializeToString()


def encode_dropped(count: int, correlation_id: str) -> bytes:
    """Encodes a `DropDeadLettersResponse`."""
    return v1.DropDeadLettersResponse(dropped_count=count, correlation_id=correlation_id).SerializeToString()


def reservation_message(held: HeldReservation) -> v1.Reservation:
    """The message of a reservation."""
    message = v1.Reservation(
        reservation_id=held.reservation_id,
        customer_id=held.customer_id,
        lines=map(_line_message, held.lines),
        created_us=held.created_us,
        expires_us=held.expires_us,
        order_ref=held.order_ref,
        confirmed_us=held.confirmed_us,
        idempotency_key=held.key,
    )
    if held.reservation_id:
        message.status = _proto_value(held.status)
    return message


def _line_message(held: ReservedLine) -> v1.ReservedLine:
    line = held.line
    message = v1.ReservedLine(
        line=v1.ReserveLine(
            sku=line.sku,
            quantity_micros=line.quantity_micros,
            uom=line.uom,
            branch=line.branch,
            from_date=line.from_date.isoformat() if line.from_date else "",
            order_line=line.order_line,
        ),
        status=_proto_value(held.status),
        held_micros=held.held_micros,
        granted_micros=held.granted_micros,
        parts=[
            v1.ReservedPart(
                sku=part.sku, quantity_micros=part.quantity_micros, cleared_micros=part.cleared_micros
            )
            for part in held.parts
        ],
    )
    if held.status != AvailabilityStatus.INVALID_QUANTITY:
        message.shortage_micros = line.quantity_micros - held.granted_micros
    return message


def dead_letter_message(letter: DeadLetter) -> v1.DeadLetter:
    """The message of a dead letter."""
    return v1.DeadLetter(
        dead_letter_id=letter.dead_letter_id,
        received_us=letter.at_us,
        origin=letter.origin,
        reason=letter.reason,
        detail=letter.detail,
        payload_json=letter.payload_json,
        replay_count=letter.replays,
        seen_count=letter.count,
        last_received_us=letter.last_us or letter.at_us,
    )


def _proto_value(status: IntEnum) -> Any:
    return status + _OFFSET


def list_limit(limit: int) -> int:
    """The limit of a list request, or the default where it is 0."""
    if not 0 <= limit <= LIST_MAX:
        raise RequestRefusedError(Reason.INVALID_LIMIT, f"limit is {limit}, not 1 to {LIST_MAX}, or 0")
    return limit or LIST_DEFAULT


def _check_texts(field: str, texts: Sequence[str]) -> None:
    for at, text in enumerate(texts):
        if len(text.encode()) > FIELD_BYTES_MAX:
            message = f"{field}[{at}] is longer than {FIELD_BYTES_MAX} bytes"
            raise RequestRefusedError(Reason.FIELD_TOO_LONG, message, field=field, index=str(at))
