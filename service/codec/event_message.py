"""Splits a message of events: those that an in-order stream may take stay rows, the others are decoded one by one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.in_order_streams import ROW_END, ROW_START
from pricegrid.atp.rules.events import DeadReason, Event, EventBatch, Kind
from pricegrid.service.codec.event_json import event_json
from pricegrid.service.codec.event_kernel import scan_events
from pricegrid.service.codec.events import ReadEvents, decode_events, encode_events
from pricegrid.service.live.dead_letters import Faulty
from pricegrid.service.live.pairs import NO_INDICES, NO_ROWS


class EventMessage(NamedTuple):
    """The events of a message, those for in-order streams as rows and the others decoded."""

    raw: bytes
    rows: NDArray[np.int64]
    """All events, in order (`atp.kernels.in_order_streams`); none when the protobuf runtime decoded the message."""
    left: NDArray[np.intp]
    """The rows that no in-order stream may take."""
    read: ReadEvents
    """The events of those rows, decoded."""


def read_message(raw: bytes, left_of: Callable[[bytes, NDArray[np.int64]], NDArray[np.intp]]) -> EventMessage:
    """Decode a message; `left_of` returns the rows that no in-order stream may take. Raises RequestRefusedError."""
    rows = scan_events(raw)
    if rows is None:
        return EventMessage(raw, NO_ROWS, NO_INDICES, decode_events(raw))
    left = left_of(raw, rows)
    return EventMessage(raw, rows, left, decode_events(some_events(raw, rows[left])))


def sorted_out(
    message: EventMessage, fault_of: Callable[[Event], DeadReason | None]
) -> tuple[bytes, list[Faulty]]:
    """(the message without the events that can't be applied, those events).

    Validity is decided here, once: the remaining events become durable, and are never judged again by another clock or
    another snapshot.
    """
    read, found = (
        message.read,
        [Faulty(bad.reason.name, bad.detail, bad.payload_json) for bad in message.read.unreadable],
    )
    events = read.events.events()
    faults = [fault_of(event) for event in events]
    if not found and not any(fault is not None for fault in faults):
        return message.raw, []
    found += [faulty(event, fault) for event, fault in zip(events, faults, strict=True) if fault is not None]
    if not len(message.rows):
        kept = [event for event, fault in zip(events, faults, strict=True) if fault is None]
        return encode_events(EventBatch.of(kept)), found
    unread = {bad.index for bad in read.unreadable}
    indices = [at for at in range(len(message.left)) if at not in unread]
    bad = [*unread, *(at for at, fault in zip(indices, faults, strict=True) if fault is not None)]
    return some_events(message.raw, np.delete(message.rows, message.left[bad], axis=0)), found


def faulty(event: Event, reason: DeadReason | None) -> Faulty:
    """The event as one that can't be applied, with the reason."""
    source, measure = event.source.name.lower(), event.measure.name.lower()
    what = "reset" if event.kind is Kind.RESET else measure
    name = (reason or DeadReason.MALFORMED).name
    return Faulty(name, f"{what} of {event.sku} at {event.branch}, from {source}", event_json(event))


def some_events(raw: bytes, rows: NDArray[np.int64]) -> bytes:
    """A message with some of the events of another."""
    spans = zip(rows[:, ROW_START].tolist(), rows[:, ROW_END].tolist(), strict=True)
    return b"".join([raw[start:end] for start, end in spans])
