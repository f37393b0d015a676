"""A message of events: those that an in-order stream may take stay rows, the others are decoded, each once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.in_order_streams import ROW_END, ROW_START
from pricegrid.atp.rules.events import DeadReason, Event, Kind
from pricegrid.service.codec.event_json import Unreadable, event_json
from pricegrid.service.codec.event_kernel import scan_events
from pricegrid.service.codec.events import decode_events, encode_events
from pricegrid.service.live.dead_letters import Faulty
from pricegrid.service.live.pairs import NO_INDICES, NO_ROWS

LookUp = Callable[[bytes, NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.intp]]]
"""(bytes, rows) to the place of each row among the in-order streams, and the rows that none of these may take."""


class EventMessage(NamedTuple):
    """The events of a message."""

    raw: bytes
    """The events encoded, as they become durable."""
    text: bytes
    """What the rows lie in."""
    rows: NDArray[np.int64]
    """All events that can be read, in order (`atp.kernels.in_order_streams`); none when the protobuf runtime decoded
    the message."""
    places: NDArray[np.int64]
    """(n,) the place of each row among the in-order streams, -1 where it has none."""
    left: NDArray[np.intp]
    """The events that no in-order stream may take, all where there are no rows."""
    known: dict[int, Event]
    """Decoded events by index, at least those in `left`."""
    unreadable: Sequence[Unreadable] = ()

    def events(self, indices: NDArray[np.intp]) -> list[Event]:
        """The events of these indices; rows that are not known yet are decoded."""
        wanted, known = indices.tolist(), self.known
        unknown = [at for at in wanted if at not in known]
        if unknown:
            decoded = decode_events(some_events(self.text, self.rows[unknown])).events.events()
            known = known | dict(zip(unknown, decoded, strict=True))
        return [known[at] for at in wanted]


def read_message(raw: bytes, look_up: LookUp) -> EventMessage:
    """Decodes a message. Raises RequestRefusedError."""
    rows = scan_events(raw)
    if rows is None:
        read = decode_events(raw)
        return _message_of_events(raw, read.events.events(), read.unreadable)
    places, left = look_up(raw, rows)
    if not len(left):
        return EventMessage(raw, raw, rows, places, left, {})
    read = decode_events(some_events(raw, rows[left]))
    unread = {int(left[bad.index]) for bad in read.unreadable}
    readable = [at for at in left.tolist() if at not in unread]
    known = dict(zip(readable, read.events.events(), strict=True))
    message = EventMessage(raw, raw, rows, places, left, known, read.unreadable)
    return _without(message, unread) if unread else message


def message_of(events: Sequence[Event], unreadable: Sequence[Unreadable], look_up: LookUp) -> EventMessage:
    """The message of events that were not read from one."""
    raw = encode_events(events)
    rows = scan_events(raw)
    if rows is None:
        return _message_of_events(raw, events, unreadable)
    return EventMessage(raw, raw, rows, *look_up(raw, rows), dict(enumerate(events)), unreadable)


def sorted_out(
    message: EventMessage, fault_of: Callable[[Event], DeadReason | None], look_up: LookUp
) -> tuple[EventMessage, list[Faulty]]:
    """(the message without the events that can't be applied, those events).

    Validity is decided here, once: the remaining events become durable, and are never judged again by another clock or
    another snapshot.
    """
    found = [Faulty(bad.reason.name, bad.detail, bad.payload_json) for bad in message.unreadable]
    judged = {at: fault_of(message.known[at]) for at in message.left.tolist()}
    bad = {at for at, fault in judged.items() if fault is not None}
    if not found and not bad:
        return message, []
    found += [faulty(message.known[at], fault) for at, fault in judged.items() if fault is not None]
    if len(message.rows):
        kept = _without(message, bad) if bad else message
        return kept._replace(raw=some_events(kept.text, kept.rows), unreadable=()), found
    return message_of([event for at, event in message.known.items() if at not in bad], (), look_up), found


def _message_of_events(raw: bytes, events: Sequence[Event], unreadable: Sequence[Unreadable]) -> EventMessage:
    """A message without rows."""
    everything = np.arange(len(events))
    return EventMessage(raw, raw, NO_ROWS, NO_INDICES, everything, dict(enumerate(events)), unreadable)


def _without(message: EventMessage, gone: set[int]) -> EventMessage:
    """The message without some of its rows; `raw` is left as it is."""
    is_kept = np.ones(len(message.rows), np.bool_)
    is_kept[list(gone)] = False
    index = np.cumsum(is_kept) - 1
    return message._replace(
        rows=message.rows[is_kept],
        places=message.places[is_kept],
        left=index[[at for at in message.left.tolist() if at not in gone]],
        known={int(index[at]): event for at, event in message.known.items() if at not in gone},
    )


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
