"""What every service of the package shares: who asks, from which snapshot, about which instant, and what they get."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from loaders.instants import day_start_us
from service.snapshots import LoadedSnapshot


class SnapshotSource(Protocol):
    """Where the snapshot of a request comes from."""

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; raises `RequestRefusedError`."""


def _no_deadline() -> float | None:
    return None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what names the exchange, and what they may see (P11)."""

    correlation_id: str
    service_desk: bool = False
    time_left: Callable[[], float | None] = _no_deadline
    """Seconds to the deadline of the call, None for none."""


def _no_lines() -> NDArray[np.uint8]:
    return np.zeros(0, np.uint8)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and the statuses of its lines, for the counters."""

    raw: bytes
    status: NDArray[np.integer[Any]] = field(default_factory=_no_lines)
    """`LineStatus` of the lines that were priced."""
    availability: NDArray[np.integer[Any]] = field(default_factory=_no_lines)
    """`AvailabilityStatus` of the lines whose availability was asked."""


Answer = Callable[[bytes, Caller], Answered]
"""A method of a service; raises `RequestRefusedError` and the errors of the domain."""


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """What every answer says of itself."""

    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str


def header_of(loaded: LoadedSnapshot, as_of: int | date | None, now_us: int, caller: Caller) -> AnswerHeader:
    """The header of an answer; `as_of` is microseconds, a date in the dataset's time zone, or None for now."""
    as_of_us = now_us
    if as_of is not None:
        as_of_us = as_of if isinstance(as_of, int) else day_start_us(as_of, ZoneInfo(loaded.time_zone))
    age_ms = max(0, now_us - loaded.created_at_us) // 1000
    return AnswerHeader(loaded.version, age_ms, as_of_us, caller.correlation_id)
