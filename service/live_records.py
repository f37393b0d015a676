"""Reservations and dead letters as the cache keeps them: JSON, the names of the dataclasses, whole numbers."""

import dataclasses
import json
import secrets
from datetime import date

from atp.model import AvailabilityStatus
from atp.reservations import HeldReservation, Part, ReservationStatus, ReserveAsk, ReservedLine, ReserveLine
from service.live_api import DeadLetter

_encode = json.JSONEncoder(ensure_ascii=False).encode


def encode_record(record: HeldReservation | DeadLetter) -> bytes:
    """The bytes of a record."""
    fields = dataclasses.asdict(record) if isinstance(record, DeadLetter) else _reservation_fields(record)
    return _encode(fields).encode()


def _reservation_fields(held: HeldReservation) -> dict[str, object]:
    """What `dataclasses.asdict` makes of it, several times as fast."""
    fields = {name: getattr(held, name) for name in _OF_RESERVATION}
    fields["lines"] = [_line_fields(line) for line in held.lines]
    return fields


def _line_fields(held: ReservedLine) -> dict[str, object]:
    line = {name: getattr(held.line, name) for name in _OF_ASKED}
    line["from_date"] = None if held.line.from_date is None else held.line.from_date.isoformat()
    return {
        "line": line,
        "status": held.status,
        "held_micros": held.held_micros,
        "granted_micros": held.granted_micros,
        "parts": [{name: getattr(part, name) for name in _OF_PART} for part in held.parts],
    }


_OF_RESERVATION, _OF_ASKED, _OF_PART = (
    [each.name for each in dataclasses.fields(kind)] for kind in (HeldReservation, ReserveLine, Part)
)


def decode_reservation(raw: bytes) -> HeldReservation:
    """Back from the bytes."""
    fields = json.loads(raw)
    fields["status"] = ReservationStatus(fields["status"])
    fields["lines"] = tuple(_line(line) for line in fields["lines"])
    return HeldReservation(**fields)


def _line(fields: dict[str, object]) -> ReservedLine:
    asked, parts = fields["line"], fields["parts"]
    assert isinstance(asked, dict)  # noqa: S101 -- for the type checker: `encode_record` wrote it
    assert isinstance(parts, list)  # noqa: S101
    from_date = asked["from_date"]
    line = ReserveLine(**{**asked, "from_date": None if from_date is None else date.fromisoformat(from_date)})
    return ReservedLine(
        line,
        AvailabilityStatus(int(str(fields["status"]))),
        int(str(fields["held_micros"])),
        int(str(fields["granted_micros"])),
        tuple(Part(**part) for part in parts),
    )


def decode_dead_letter(raw: bytes) -> DeadLetter:
    """Back from the bytes."""
    return DeadLetter(**json.loads(raw))


def same_ask(ask: ReserveAsk, held: HeldReservation) -> bool:
    """Whether a reserve asks for what a reservation was made for."""
    return tuple(ask.lines) == tuple(line.line for line in held.lines) and ask.order_ref in (
        "",
        held.order_ref,
    )


def new_dead_letter(at_us: int, reason: str, detail: str, payload_json: str) -> DeadLetter:
    """An event that can't be applied."""
    name = f"D{at_us:016x}{secrets.token_hex(4)}"
    return DeadLetter(name, at_us, "events", reason, detail, payload_json)
