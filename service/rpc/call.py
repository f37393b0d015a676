"""What all services share: the caller, the source of snapshots, the kinds of methods, and the response header."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from pricegrid.loaders.read.instants import day_start_us
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.response import Response


class SnapshotSource(Protocol):
    """Where the snapshot of a request comes from."""

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; raises `RequestRefusedError`."""


class Caller(NamedTuple):
    """Who calls: the id of the call, what they may see (P11), and how long they wait."""

    correlation_id: str
    service_desk: bool = False
    deadline_s: float | None = None
    """When they stop waiting, on the monotonic clock; None: never."""

    def left_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None: there is no deadline."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())


Method = Callable[[bytes, Caller], Response]
"""A unary method: request bytes to a response. Raises `RequestRefusedError` and the errors of the domain."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A unary method that changes live state: it may wait for other processes, and must not delay reads."""

    call: Method


@dataclass(frozen=True, slots=True)
class Ingest:
    """A method that ingests a stream of messages and responds once, at its end."""

    call: Callable[[Iterator[bytes], Caller], Response]


@dataclass(frozen=True, slots=True)
class Watch:
    """A method that streams responses until `is_over`, or until the caller cancels."""

    responses: Callable[[bytes, Caller, Callable[[], bool]], Iterator[bytes]]
    wake: Callable[[], None]
    """Makes every stream check whether it is over."""


AnyMethod = Method | Mutation | Ingest | Watch
Services = Mapping[str, Mapping[str, AnyMethod]]
"""The methods of each service, by their names in the protos."""


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """What every response says besides its results."""

    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str


def header_of(
    loaded: LoadedSnapshot, as_of: int | date | None, now_us: int, caller: Caller
) -> ResponseHeader:
    """The header of a response; `as_of` is microseconds, a date in the dataset's time zone, or None for now."""
    as_of_us = now_us
    if as_of is not None:
        as_of_us = as_of if isinstance(as_of, int) else day_start_us(as_of, ZoneInfo(loaded.time_zone))
    age_ms = max(0, now_us - loaded.created_at_us) // 1000
    return ResponseHeader(loaded.version, age_ms, as_of_us, caller.correlation_id)
