"""A message of events, taken apart: those that may be plain stay rows, the others are read one by one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atp.plain_kernel import ROW_END, ROW_START
from service.event_kernel import scan_events
from service.live_api import DeadLetter
from service.live_pairs import NO_PLACES, NO_ROWS
from service.live_records import new_dead_letter
from service.wire_events import ReadEvents, decode_events


class EventMessage(NamedTuple):
    """The events of a message: those that may be plain as rows, the others one by one."""

    raw: bytes
    rows: NDArray[np.int64]
    """All of them, in order (`atp.plain_kernel`); none when the message is for the protobuf runtime."""
    left: NDArray[np.intp]
    """The rows that are not plain."""
    read: ReadEvents
    """What these say."""


def read_message(raw: bytes, left_of: Callable[[bytes, NDArray[np.int64]], NDArray[np.intp]]) -> EventMessage:
    """Read the events of a message; `left_of` says which rows are not plain. Raises RequestRefusedError."""
    rows = scan_events(raw)
    if rows is None:
        return EventMessage(raw, NO_ROWS, NO_PLACES, decode_events(raw))
    left = left_of(raw, rows)
    return EventMessage(raw, rows, left, decode_events(some_events(raw, rows[left])))


def unreadable(message: EventMessage, at_us: int) -> list[DeadLetter]:
    """What its sender or we could not read."""
    return [
        new_dead_letter(at_us, bad.reason.name, bad.detail, bad.payload_json)
        for bad in message.read.unreadable
    ]


def some_events(raw: bytes, rows: NDArray[np.int64]) -> bytes:
    """A message of some of the events of another."""
    spans = zip(rows[:, ROW_START].tolist(), rows[:, ROW_END].tolist(), strict=True)
    return b"".join([raw[start:end] for start, end in spans])
