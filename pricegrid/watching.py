"""Availability as it changes: what to watch, and the stream of answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

import grpc

from pricegrid import v1
from pricegrid.availability import BranchAvailability, branch_availability
from pricegrid.errors import InvalidRequestError, error_from_rpc
from pricegrid.requests import Line, availability_line_message, quantity_micros
from pricegrid.results import NamedItem, instant_from_us, named_items

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class WatchedLine:
    """One line to watch."""

    line: Line
    threshold: Decimal | int | None = None
    """In the line's unit: a branch is then only told of when what is available there reaches it, falls below it, or
    turns known or unknown. None: every change is told."""


@dataclass(frozen=True, slots=True)
class AvailabilityChange:
    """One line at one branch as it is now."""

    line_index: int
    """The line asked, from 0."""
    availability: BranchAvailability
    named_items: tuple[NamedItem, ...] = ()
    """What the part number of the line names: one item, or several with AMBIGUOUS_ITEM."""


@dataclass(frozen=True, slots=True)
class WatchUpdate:
    """What is free now. The first has every line at every branch, later ones what has changed since."""

    changes: tuple[AvailabilityChange, ...]
    """Empty in a heartbeat."""
    snapshot_version: str
    snapshot_age: timedelta
    as_of: datetime
    """The instant (UTC) the figures are for."""
    correlation_id: str


class AvailabilityWatch:
    """The updates of one watch, as they come: iterate over it, and close it or use it as a context manager.

    It ends when its time is over or when it is closed, from another thread too; every other end is a `PricegridError`.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._is_closed = False

    def close(self) -> None:
        """Ends it."""
        self._is_closed = True
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchUpdate:
        if self._is_closed:
            raise StopIteration
        try:
            return _watch_update(next(self._call))
        except grpc.RpcError as error:
            call: Any = error
            is_over = call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if self._is_closed or is_over:
                self._is_closed = True
                raise StopIteration from None
            raise error_from_rpc(error) from error


def watch_message(
    lines: Sequence[Line | WatchedLine], heartbeat: timedelta | None
) -> v1.WatchAvailabilityRequest:
    """The lines and the heartbeat as they go over the wire; what can't be carried raises `InvalidRequestError`."""
    if heartbeat is not None and heartbeat < _MILLISECOND:  # 0 on the wire is the server's default
        raise InvalidRequestError(f"a heartbeat can't come every {heartbeat}", reason="INVALID_WATCH")
    return v1.WatchAvailabilityRequest(
        lines=[_watched(line if isinstance(line, WatchedLine) else WatchedLine(line)) for line in lines],
        heartbeat_ms=0 if heartbeat is None else heartbeat // _MILLISECOND,
    )


def _watched(watched: WatchedLine) -> v1.WatchedLine:
    message = v1.WatchedLine(line=availability_line_message(watched.line))
    if watched.threshold is not None:
        micros = quantity_micros(watched.threshold)
        if Decimal(micros).scaleb(-6) != watched.threshold:
            raise InvalidRequestError(
                f"the threshold {watched.threshold} has more than 6 decimals or is too large",
                reason="INVALID_WATCH",
            )
        message.threshold_micros = micros
    return message


def _watch_update(message: v1.WatchAvailabilityResponse) -> WatchUpdate:
    return WatchUpdate(
        changes=tuple(
            AvailabilityChange(
                change.line_index,
                branch_availability(change.availability),
                named_items(change.named_items),
            )
            for change in message.changes
        ),
        snapshot_version=message.snapshot_version,
        snapshot_age=timedelta(milliseconds=message.snapshot_age_ms),
        as_of=instant_from_us(message.as_of_us),
        correlation_id=message.correlation_id,
    )
