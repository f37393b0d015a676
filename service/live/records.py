"""Reservations and dead letters as cache records: JSON with the field names of the dataclasses and integers."""

import dataclasses
import hashlib
import json
from datetime import date
from typing import Any

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.atp.rules.reservations import (
    HeldReservation,
    Part,
    ReservationStatus,
    ReserveAsk,
    ReservedLine,
    ReserveLine,
)
from pricegrid.service.live.api import DeadLetter


def _json_default(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no JSON for {value!r}")


def encode_record(record: HeldReservation | DeadLetter) -> bytes:
    """Encodes a record."""
    return json.dumps(dataclasses.asdict(record), default=_json_default, ensure_ascii=False).encode()


def decode_reservation(raw: bytes) -> HeldReservation:
    """Decodes a reservation."""
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
        tuple(map(_part, parts)),
    )


def _part(fields: dict[str, Any]) -> Part:
    for name in ("since", "excess"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return Part(**fields)


def decode_dead_letter(raw: bytes) -> DeadLetter:
    """Decodes a dead letter."""
    return DeadLetter(**json.loads(raw))


def asked_for(ask: ReserveAsk) -> str:
    """A hash of what a reserve requests, apart from the order."""
    what = {**dataclasses.asdict(ask), "lines": [dataclasses.asdict(line) for line in ask.lines]}
    for name in ("key", "customer_id", "order_ref"):
        del what[name]
    return hashlib.sha256(json.dumps(what, default=_json_default, sort_keys=True).encode()).hexdigest()[:32]


def same_ask(ask: ReserveAsk, held: HeldReservation) -> bool:
    """Whether a reserve repeats the request of a reservation; the order may have been named since."""
    if ask.order_ref not in ("", held.order_ref):
        return False
    if not held.asked:  # stored by a release without this field
        return tuple(ask.lines) == tuple(line.line for line in held.lines)
    return asked_for(ask) == held.asked
