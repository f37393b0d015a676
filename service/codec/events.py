"""Inventory events from bytes to columns and back, by the protobuf runtime.

Decoding goes column by column: an object per event would cost more than the rest of ingesting it. Invalid events are
returned as `Unreadable`, so that nothing of a request is lost.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.model import AS_OF_MAX_US, AS_OF_MIN_US, INT64_MIN, MICROS, NO_INSTANT, Source
from pricegrid.atp.rules.events import (
    RESET_MEASURE,
    UNSET,
    DeadReason,
    Event,
    EventBatch,
    Kind,
    Measure,
    ReceiptKind,
)
from pricegrid.columnar.decimals import decimal_text
from pricegrid.service.codec.event_json import (
    EventError,
    Unreadable,
    effective_text,
    event_from_json,
    payload_of_text,
    text_json,
)
from pricegrid.service.codec.request import parse, trimmed
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import (
    EVENTS_MAX,
    FIELD_BYTES_MAX,
    SKU_BYTES_MAX,
    UNREADABLE_BYTES_MAX,
    UNREADABLE_DETAIL_BYTES_MAX,
)

_OFFSET = 1  # 0 is UNSPECIFIED in the proto
_UTF8_BYTES_MAX = 4  # of one character
_NOT_YEARS = "outside the years 1970 to 8999"


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """The events of a request, each in exactly one of the two."""

    events: EventBatch
    unreadable: Sequence[Unreadable]


def decode_events(raw: bytes) -> ReadEvents:
    """Decodes a `PublishEventsRequest`; raises `RequestRefusedError` if it is malformed or has too many events."""
    request = v1.PublishEventsRequest()
    parse(request, raw)
    messages = list(request.events)
    if len(messages) > EVENTS_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_EVENTS,
            f"{len(messages)} events in one message; at most {EVENTS_MAX}",
            events=str(len(messages)),
            events_max=str(EVENTS_MAX),
        )
    unreadable = [_refused_text(message, at) for at, message in enumerate(messages) if message.unreadable]
    if unreadable:
        taken = {refused.index for refused in unreadable}
        indices = [at for at in range(len(messages)) if at not in taken]
        messages = [messages[at] for at in indices]
    else:
        indices = list(range(len(messages)))
    batch = _columns(messages)
    wrong = _wrong(messages, batch)
    if wrong:
        unreadable += [
            Unreadable(reason, detail, message_json(messages[at]), indices[at])
            for at, (reason, detail) in sorted(wrong.items())
        ]
        unreadable.sort(key=lambda refused: refused.index)
        batch = _columns([message for at, message in enumerate(messages) if at not in wrong])
        _clear_resets(batch)
    batch.expected_at_us[batch.expected_at_us == 0] = NO_INSTANT
    return ReadEvents(batch, unreadable)


def encode_events(events: Iterable[Event]) -> bytes:
    """Encodes a `PublishEventsRequest` that `decode_events` reads as these events. Raises ValueError where a figure
    does not fit into 64 bits."""
    request = v1.PublishEventsRequest()
    for event in events:
        has_figure = event.kind is not Kind.RESET
        request.events.add(
            source=event.source + _OFFSET,
            sequence=event.sequence,
            effective_us=event.effective_us,
            measure=event.measure + _OFFSET if has_figure else 0,
            kind=event.kind + _OFFSET,
            sku=event.sku,
            branch=event.branch,
            quantity_micros=event.quantity_micros if has_figure else None,
            expected_at_us=event.expected_at_us or 0,
            order_ref=event.order_ref,
            order_line=event.order_line,
            version=event.version,
            shipped_micros=event.shipped_micros,
            receipt_kind=0 if event.receipt_kind is None else event.receipt_kind + _OFFSET,
            confidence_micros=event.confidence_micros,
            supersedes=event.supersedes,
        )
    return request.SerializeToString()


def message_json(message: v1.InventoryEvent) -> str:
    """Any message as JSON with A10's names, also an invalid one."""
    members: dict[str, object] = {
        "source": _name(message.source, Source),
        "sequence": message.sequence,
        "effective_time": effective_text(message.effective_us) if message.effective_us else None,
        "measure": _name(message.measure, Measure),
        "kind": _name(message.kind, Kind),
        "sku": message.sku,
        "branch": message.branch,
        "quantity": decimal_text(message.quantity_micros) if message.HasField("quantity_micros") else None,
        "expected_at": effective_text(message.expected_at_us) if message.expected_at_us else None,
        "order_ref": message.order_ref or None,
        "order_line": message.order_line or None,
        "version": message.version or None,
        "shipped": decimal_text(message.shipped_micros) if message.HasField("shipped_micros") else None,
        "receipt_kind": _name(message.receipt_kind, ReceiptKind),
        "confidence": decimal_text(message.confidence_micros)
        if message.HasField("confidence_micros")
        else None,
        "supersedes": message.supersedes or None,
    }
    return text_json({name: value for name, value in members.items() if value is not None})


def _columns(messages: Sequence[v1.InventoryEvent]) -> EventBatch:
    """The messages as they are, except that enums begin at 0."""

    def integers(values: list[int]) -> NDArray[np.int64]:
        return np.array(values, np.int64)

    return EventBatch(
        source=integers([message.source for message in messages]) - _OFFSET,
        sequence=integers([message.sequence for message in messages]),
        effective_us=integers([message.effective_us for message in messages]),
        measure=integers([message.measure for message in messages]) - _OFFSET,
        kind=integers([message.kind for message in messages]) - _OFFSET,
        sku=[trimmed(message.sku) for message in messages],
        branch=[trimmed(message.branch) for message in messages],
        quantity_micros=integers([message.quantity_micros for message in messages]),
        expected_at_us=integers([message.expected_at_us for message in messages]),
        order_ref=[trimmed(message.order_ref) for message in messages],
        order_line=[trimmed(message.order_line) for message in messages],
        version=integers([message.version for message in messages]),
        shipped_micros=integers([_optional(message, "shipped_micros") for message in messages]),
        receipt_kind=integers([message.receipt_kind for message in messages]) - _OFFSET,
        confidence_micros=integers([_optional(message, "confidence_micros") for message in messages]),
        supersedes=[trimmed(message.supersedes) for message in messages],
    )


def _optional(message: v1.InventoryEvent, field: Literal["shipped_micros", "confidence_micros"]) -> int:
    """A figure that must not be negative: UNSET if it is not set, INT64_MIN if it is negative."""
    if not message.HasField(field):
        return UNSET
    micros: int = getattr(message, field)
    return micros if micros >= 0 else INT64_MIN


def _wrong(messages: Sequence[v1.InventoryEvent], batch: EventBatch) -> dict[int, tuple[DeadReason, str]]:
    """The first fault of each invalid message, in the order of this function."""
    found: dict[int, tuple[DeadReason, str]] = {}

    def note(wrong: NDArray[np.bool_], reason: DeadReason, field: str, what: str) -> None:
        for at in np.flatnonzero(wrong).tolist():
            value = getattr(messages[at], field)
            found.setdefault(at, (reason, f"{field} is {value}, {what}"))

    note(_outside(batch.source, Source), DeadReason.UNKNOWN_SOURCE, "source", f"not 1 to {len(Source)}")
    is_reset = _clear_resets(batch)
    note(_outside(batch.measure, Measure), DeadReason.UNKNOWN_MEASURE, "measure", f"not 1 to {len(Measure)}")
    note(_outside(batch.kind, Kind), DeadReason.MALFORMED, "kind", f"not 1 to {len(Kind)}")
    for at, why in (
        *_wrong_texts("sku", batch.sku, SKU_BYTES_MAX, bytes_min=1),
        *_wrong_texts("branch", batch.branch, FIELD_BYTES_MAX, bytes_min=1),
        *_wrong_texts("order_ref", batch.order_ref, FIELD_BYTES_MAX),
        *_wrong_texts("order_line", batch.order_line, FIELD_BYTES_MAX),
        *_wrong_texts("supersedes", batch.supersedes, FIELD_BYTES_MAX),
    ):
        found.setdefault(at, (DeadReason.MALFORMED, why))
    note(batch.effective_us == 0, DeadReason.MALFORMED, "effective_us", "which is to say missing")
    note(_outside_years(batch.effective_us), DeadReason.OUT_OF_RANGE, "effective_us", _NOT_YEARS)
    late = (batch.expected_at_us != 0) & _outside_years(batch.expected_at_us)
    note(late, DeadReason.OUT_OF_RANGE, "expected_at_us", _NOT_YEARS)
    note(batch.version < 0, DeadReason.MALFORMED, "version", "less than 0")
    kinds = f"not 0 to {len(ReceiptKind)}"
    unknown = (batch.receipt_kind != UNSET) & _outside(batch.receipt_kind, ReceiptKind)
    note(unknown, DeadReason.MALFORMED, "receipt_kind", kinds)
    note(batch.shipped_micros < UNSET, DeadReason.INVALID_QUANTITY, "shipped_micros", "less than 0")
    unsure = (batch.confidence_micros < UNSET) | (batch.confidence_micros > MICROS)
    note(unsure, DeadReason.INVALID_QUANTITY, "confidence_micros", f"not 0 to {MICROS}")
    for at in np.flatnonzero((batch.quantity_micros == 0) & ~is_reset).tolist():
        if not messages[at].HasField("quantity_micros"):
            found.setdefault(at, (DeadReason.INVALID_QUANTITY, "quantity_micros is missing"))
    # It has no positive counterpart: negating it would overflow.
    note(batch.quantity_micros == INT64_MIN, DeadReason.OUT_OF_RANGE, "quantity_micros", "-2^63")
    return found


def _clear_resets(batch: EventBatch) -> NDArray[np.bool_]:
    """Set the measure and quantity of resets, which are ignored, to their defaults; (n,) which events are resets."""
    is_reset: NDArray[np.bool_] = batch.kind == Kind.RESET
    batch.measure[is_reset], batch.quantity_micros[is_reset] = RESET_MEASURE, 0
    return is_reset


def _outside(
    values: NDArray[np.int64], choices: type[Source | Measure | Kind | ReceiptKind]
) -> NDArray[np.bool_]:
    return (values < 0) | (values >= len(choices))


def _outside_years(instants_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (instants_us <= AS_OF_MIN_US) | (instants_us >= AS_OF_MAX_US)


def _wrong_texts(
    field: str, values: Sequence[str], bytes_max: int, *, bytes_min: int = 0
) -> Iterator[tuple[int, str]]:
    short = bytes_max // _UTF8_BYTES_MAX
    for at, value in enumerate(values):
        if len(value) > short and (size := len(value.encode())) > bytes_max:
            yield at, f"{field} has {size} bytes; at most {bytes_max}"
        elif bytes_min and not value:
            yield at, f"{field} is missing"


def _refused_text(message: v1.InventoryEvent, index: int) -> Unreadable:
    """An event that its sender could not read, with the reason why we can't either."""
    reason, detail = DeadReason.MALFORMED, "the sender could not read it"
    try:
        event_from_json(message.unreadable)
    except EventError as error:
        reason, detail = error.reason, error.detail
    return unreadable_text(message.unreadable, reason, message.unreadable_detail or detail, index)


def unreadable_text(text: str, reason: DeadReason, detail: str, index: int = 0) -> Unreadable:
    """A text that is no event, with the reason; what is too long of it is cut off.

    The detail may quote a member's name with half of a surrogate pair, which JSON can say and UTF-8 can't.
    """
    detail = _cut(detail.encode(errors="replace").decode(), UNREADABLE_DETAIL_BYTES_MAX)
    kept = _cut(text, UNREADABLE_BYTES_MAX)
    if kept is not text:
        detail = f"{detail}; cut off after {UNREADABLE_BYTES_MAX} bytes"
    return Unreadable(reason, detail, payload_of_text(kept), index)


def _cut(text: str, bytes_max: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= bytes_max else encoded[:bytes_max].decode(errors="ignore")


def _name(value: int, choices: type[Source | Measure | Kind | ReceiptKind]) -> str | int | None:
    """The name of a proto enum value; the number itself if it is unknown, None for 0."""
    if 0 < value <= len(choices):
        return choices(value - _OFFSET).name.lower()
    return value or None
