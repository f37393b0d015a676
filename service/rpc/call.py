"""What all services share: the caller, the source of snapshots, the kinds of methods, and the response header."""

import functools
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pricegrid.columnar.instants import day_start_us
from pricegrid.service.limits import CORRELATION_ID_MAX
from pricegrid.service.logs import EXCHANGE
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.overload import too_late
from pricegrid.service.rpc.response import Response

CORRELATION_KEY = "x-correlation-id"
# Of this process: a random name for each call costs as much as a tenth of a quote.
_PROCESS = secrets.token_hex(8)
_CALLS = itertools.count()
T = TypeVar("T")


class SnapshotSource(Protocol):
    """Where the snapshot of a request comes from."""

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; raises `RequestRefusedError`."""


class AllowedCustomers(Protocol):
    """The customers that a caller may ask for, where these are not all."""

    def view(self, snapshots: SnapshotSource, version: str) -> LoadedSnapshot:
        """The snapshot of that version, in which there are no other customers; raises `RequestRefusedError`."""

    def check(self, snapshots: SnapshotSource, customer_id: str) -> None:
        """Raises UnknownCustomerError unless the caller may act for a customer; '' is none."""


class CallerQuota(Protocol):
    """What a caller may use."""

    def charge(self, raw: bytes, tag: int) -> None:
        """Charges a call and the lines of its request, the fields with that tag (0: none); raises QUOTA_EXCEEDED."""

    def pace(self, raw: bytes, tag: int, is_over: Callable[[], bool]) -> bool:
        """The same for a message of a stream: waits until it may be charged; False: it was over before."""


class Caller(NamedTuple):
    """Who calls: the id of the call, what they may see (P11), and how long they wait."""

    correlation_id: str
    service_desk: bool = False
    deadline_s: float | None = None
    """When they stop waiting, on the monotonic clock; None: never."""
    customers: AllowedCustomers | None = None
    """None: all."""
    sees_orders: bool = True
    """Whether they may have availability explained, which shows the orders of everybody."""
    subject: str = ""
    """Who they are; '' where nobody is asked."""
    quota: CallerQuota | None = None
    """None: as much as they like."""
    may_wait: bool = True
    """False: they are answered where others wait; what would take longer than the fast path raises `NeedsThread`."""

    def snapshot(self, snapshots: SnapshotSource, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one, as they may see it; raises `RequestRefusedError`."""
        return snapshots.get(version) if self.customers is None else self.customers.view(snapshots, version)

    def left_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None: there is no deadline."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())

    def check_deadline(self) -> None:
        """Raises DEADLINE_EXCEEDED when they wait no more: asked between parts of an answer, which ends there."""
        if self.left_s() == 0.0:
            raise too_late()


def correlation_id_of(metadata: Sequence[tuple[str, str | bytes]] | None) -> str:
    """The caller's correlation id, or a new one if there is none that is fit to be logged."""
    for key, value in metadata or ():
        if key == CORRELATION_KEY and isinstance(value, str) and 0 < len(value) <= CORRELATION_ID_MAX:
            if value.isascii() and value.isprintable():
                return value
            break
    return f"{_PROCESS}{next(_CALLS):016x}"


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


def in_exchange(method: Callable[..., T]) -> Callable[..., T]:
    """A method whose last argument is the caller: what is logged while it runs, in its thread, has their id."""

    @functools.wraps(method)
    def call(*args: Any) -> T:
        before = EXCHANGE.set(args[-1].correlation_id)
        try:
            return method(*args)
        finally:
            EXCHANGE.reset(before)

    return call
