"""What every service of the package shares: who asks, from which snapshot, about which instant, and what they get."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from pricegrid.loaders.read.instants import day_start_us
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.response import Answered


class SnapshotSource(Protocol):
    """Where the snapshot of a request comes from."""

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; raises `RequestRefusedError`."""


class Caller(NamedTuple):
    """Who asks: what names the exchange, and what they may see (P11)."""

    correlation_id: str
    service_desk: bool = False
    deadline_s: float | None = None
    """When they stop to wait, on the monotonic clock; None: never."""

    def left_s(self) -> float | None:
        """How long they still wait, at least 0; None: as long as it takes."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())


Answer = Callable[[bytes, Caller], Answered]
"""A method of a service; raises `RequestRefusedError` and the errors of the domain."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A method that changes live state: it may have to wait for other processes, and must not keep reads waiting."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Intake:
    """A method that takes in a stream of messages and answers once."""

    answer: Callable[[Iterator[bytes], Caller], Answered]


@dataclass(frozen=True, slots=True)
class Watch:
    """A method that answers again and again, until `is_over` or the caller has enough."""

    answers: Callable[[bytes, Caller, Callable[[], bool]], Iterator[bytes]]
    wake: Callable[[], None]
    """Makes every stream look whether it is over."""


Method = Answer | Mutation | Intake | Watch
Services = Mapping[str, Mapping[str, Method]]
"""The methods of each service, by their names in the protos."""


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
