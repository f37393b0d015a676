"""Inventory events as JSON objects with the names of A10: lines of a feed file, payloads of dead letters.

`event_from_json` reads back exactly what `event_json` writes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, localcontext
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pricegrid.atp.model import AS_OF_MAX_US, AS_OF_MIN_US, INT64_MAX, INT64_MIN, MICROS, Source
from pricegrid.atp.rules.events import RESET_MEASURE, DeadReason, Event, Kind, Measure, ReceiptKind
from pricegrid.columnar.decimals import decimal_text
from pricegrid.columnar.instants import day_start_us, instant_us_text
from pricegrid.service.clock import parse_as_of, us_of
from pricegrid.service.codec.request import trimmed
from pricegrid.service.limits import FIELD_BYTES_MAX, SKU_BYTES_MAX

FIELDS: Final = (
    "source",
    "sequence",
    "effective_time",
    "measure",
    "kind",
    "sku",
    "branch",
    "quantity",
    "expected_at",
    "order_ref",
    "order_line",
    "version",
    "shipped",
    "receipt_kind",
    "confidence",
    "supersedes",
)
"""The members of such an object; `expected_at` and those after it are optional."""

_DECIMAL = re.compile(r"[+-]?(\d{1,19}(\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_MICROS = Decimal(1_000_000)
_EXACT = Context(prec=80)
_SHOWN_MAX = 80
_SOURCES: Final = {source.name.lower(): source for source in Source}
_MEASURES: Final = {measure.name.lower(): measure for measure in Measure}
_KINDS: Final = {kind.name.lower(): kind for kind in Kind}
_RECEIPT_KINDS: Final = {kind.name.lower(): kind for kind in ReceiptKind}

_Choice = TypeVar("_Choice", Source, Measure, Kind, ReceiptKind)


class EventError(ValueError):
    """The text is not an event; `detail` names the member and what is wrong with it."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An invalid event, with all that could be read of it."""

    reason: DeadReason
    detail: str
    """Which field, and what is wrong with it."""
    payload_json: str
    """The event with A10's names; a text that is not a JSON object, as a JSON string."""
    index: int = 0
    """Of the event in the request."""


def event_json(event: Event) -> str:
    """The event as a JSON object on one line, without empty members."""
    has_figure = event.kind is not Kind.RESET
    kind = event.receipt_kind
    members: dict[str, object] = {
        "source": event.source.name.lower(),
        "sequence": event.sequence,
        "effective_time": effective_text(event.effective_us),
        "measure": event.measure.name.lower() if has_figure else None,
        "kind": event.kind.name.lower(),
        "sku": event.sku,
        "branch": event.branch,
        "quantity": decimal_text(event.quantity_micros) if has_figure else None,
        "expected_at": None if event.expected_at_us is None else effective_text(event.expected_at_us),
        "order_ref": event.order_ref or None,
        "order_line": event.order_line or None,
        "version": event.version or None,
        "shipped": None if event.shipped_micros is None else decimal_text(event.shipped_micros),
        "receipt_kind": None if kind is None else kind.name.lower(),
        "confidence": None if event.confidence_micros is None else decimal_text(event.confidence_micros),
        "supersedes": event.supersedes or None,
    }
    return text_json({name: value for name, value in members.items() if value is not None})


def event_from_json(text: str | bytes, zone: ZoneInfo | None = None) -> Event:
    """Reads one event. A date without a time of day means its first instant in `zone`; it is refused without a zone.

    Checks that need the positions (does the item exist, is the sequence number new) are not made here. The measure and
    quantity of a reset are ignored.

    Raises:
        EventError: it is not a valid event.

    """
    members = _members(text)
    source = _choice(members, "source", _SOURCES, DeadReason.UNKNOWN_SOURCE)
    sequence = _integer(members, "sequence", DeadReason.INVALID_SEQUENCE, 1)
    effective_us = _instant(members, "effective_time", zone)
    has_figure = members.get("kind") != Kind.RESET.name.lower()
    measure = _choice(members, "measure", _MEASURES, DeadReason.UNKNOWN_MEASURE) if has_figure else None
    return Event(
        source=source,
        sequence=sequence,
        effective_us=effective_us,
        measure=RESET_MEASURE if measure is None else measure,
        kind=_choice(members, "kind", _KINDS, DeadReason.MALFORMED),
        sku=_text(members, "sku", SKU_BYTES_MAX, required=True),
        branch=_text(members, "branch", FIELD_BYTES_MAX, required=True),
        quantity_micros=_figure(members, "quantity") if has_figure else 0,
        expected_at_us=None if _absent(members, "expected_at") else _instant(members, "expected_at", zone),
        order_ref=_text(members, "order_ref", FIELD_BYTES_MAX),
        order_line=_text(members, "order_line", FIELD_BYTES_MAX),
        version=0 if _absent(members, "version") else _integer(members, "version", DeadReason.MALFORMED, 0),
        shipped_micros=_least_0(members, "shipped", INT64_MAX),
        receipt_kind=None
        if _absent(members, "receipt_kind")
        else _choice(members, "receipt_kind", _RECEIPT_KINDS, DeadReason.MALFORMED),
        confidence_micros=_least_0(members, "confidence", MICROS),
        supersedes=_text(members, "supersedes", FIELD_BYTES_MAX),
    )


def payload_of_text(text: str) -> str:
    """The payload to keep of a text that may not be an event: the text if it is a JSON object, else a JSON string."""
    try:
        is_object = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_object = False
    return text if is_object else text_json(text)


def text_json(value: object) -> str:
    """JSON on one line, without escaping non-ASCII characters."""
    return json.dumps(value, ensure_ascii=False)


def effective_text(instant_us: int) -> str:
    """Microseconds since the epoch as RFC 3339 in UTC; the number itself beyond the calendar."""
    try:
        return instant_us_text(instant_us)
    except OverflowError:
        return str(instant_us)


def _members(text: str | bytes) -> Mapping[str, Any]:
    try:
        members = json.loads(text, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_once)
    except EventError:
        raise
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise EventError(DeadReason.MALFORMED, f"not JSON: {error}") from error
    if not isinstance(members, dict):
        raise EventError(DeadReason.MALFORMED, "not a JSON object")
    unknown = [name for name in members if name not in FIELDS]
    if unknown:
        raise EventError(DeadReason.MALFORMED, f"{unknown[0][:64]}: not a member of an event")
    return members


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise EventError(DeadReason.MALFORMED, "a member occurs twice")
    return members


def _no_number(name: str) -> Decimal:
    raise EventError(DeadReason.MALFORMED, f"{name} is not a number")


def _absent(members: Mapping[str, Any], name: str) -> bool:
    value = members.get(name)
    return value is None or value == ""


def _required(members: Mapping[str, Any], name: str, reason: DeadReason = DeadReason.MALFORMED) -> Any:
    if _absent(members, name):
        raise EventError(reason, f"{name} is missing")
    return members[name]


def _choice(
    members: Mapping[str, Any], name: str, values: Mapping[str, _Choice], reason: DeadReason
) -> _Choice:
    value = _required(members, name, reason)
    if isinstance(value, str) and value in values:
        return values[value]
    raise EventError(reason, f"{name} is {_shown(value)}; there are {', '.join(values)}")


def _integer(members: Mapping[str, Any], name: str, reason: DeadReason, least: int) -> int:
    value = _required(members, name, reason)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= INT64_MAX:
        raise EventError(reason, f"{name} is {_shown(value)}, not an integer from {least} to 2^63 - 1")
    return value


def _instant(members: Mapping[str, Any], name: str, zone: ZoneInfo | None) -> int:
    value = _required(members, name)
    try:
        found = parse_as_of(value)
    except (TypeError, ValueError) as error:
        expected = "an RFC 3339 instant such as 2026-03-02T06:00:00Z"
        raise EventError(DeadReason.MALFORMED, f"{name} is {_shown(value)}, not {expected}") from error
    if isinstance(found, datetime):
        instant_us = us_of(found)
    elif zone is not None:
        instant_us = day_start_us(found, zone)
    else:
        raise EventError(
            DeadReason.MALFORMED, f"{name} is the date {value}; without a time zone it is not an instant"
        )
    if not AS_OF_MIN_US < instant_us < AS_OF_MAX_US:
        raise EventError(DeadReason.OUT_OF_RANGE, f"{name} is {value}, outside the years 1970 to 8999")
    return instant_us


def _figure(members: Mapping[str, Any], name: str) -> int:
    value = _required(members, name, DeadReason.INVALID_QUANTITY)
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, bool) or not _DECIMAL.fullmatch(text):
        raise EventError(DeadReason.INVALID_QUANTITY, f"{name} is {_shown(value)}, not a decimal number")
    with localcontext(_EXACT):
        micros = Decimal(text) * _MICROS
        if micros != micros.to_integral_value():
            raise EventError(DeadReason.INVALID_QUANTITY, f"{name} is {text}; at most 6 decimals are kept")
    if not INT64_MIN < micros <= INT64_MAX:
        raise EventError(DeadReason.OUT_OF_RANGE, f"{name} is {text}, beyond 64 bits of 10^-6")
    return int(micros)


def _least_0(members: Mapping[str, Any], name: str, most: int) -> int | None:
    """A figure of at least 0; None: absent."""
    if _absent(members, name):
        return None
    micros = _figure(members, name)
    if not 0 <= micros <= most:
        limit = "less than 0" if micros < 0 else f"more than {decimal_text(most)}"
        raise EventError(DeadReason.INVALID_QUANTITY, f"{name} is {decimal_text(micros)}, {limit}")
    return micros


def _text(members: Mapping[str, Any], name: str, bytes_max: int, *, required: bool = False) -> str:
    value = _required(members, name) if required else members.get(name, "")
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise EventError(DeadReason.MALFORMED, f"{name} is {_shown(value)}, not text")
    value = trimmed(value)
    if required and not value:
        raise EventError(DeadReason.MALFORMED, f"{name} is missing")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise EventError(DeadReason.MALFORMED, f"{name} is not Unicode text") from error
    if size > bytes_max:
        raise EventError(DeadReason.MALFORMED, f"{name} has {size} bytes; at most {bytes_max}")
    return value


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
