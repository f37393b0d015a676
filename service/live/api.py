"""The interface of live state for the services, the command line and the Redis consumer.

`service.live.state` is the one implementation. It runs in the writer: the writer process of a server, or a command that
has the store to itself. All methods are safe to call from any thread; each returns when its effect is durable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pricegrid import v1
from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import EventStatus
from pricegrid.atp.rules.reservations import HeldReservation, ReserveAsk


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The outcome of a batch of events: each event counts in exactly one of `counts` and `refused`."""

    counts: dict[EventStatus, int]
    dead_letter_ids: Sequence[str] = ()
    gaps: int = 0
    """Streams (source, item, branch) of the batch that now have missing events."""
    refused: int = 0
    """Events that can't be applied and did not fit among the dead letters: they are not stored anywhere."""
    restarts: int = 0
    """Events that look as if their source had restarted its sequence numbers without a reset."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The result of a reserve: with an empty id nothing is held, and the lines say why."""

    reservation: HeldReservation
    snapshot_version: str
    is_repeat: bool = False
    """The key was used before for the same request: this is the current state of that reservation."""


@dataclass(frozen=True, slots=True)
class Release:
    """How much of a line to release."""

    line: int
    quantity_micros: int
    """In the requested unit of the line."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event or ERP answer that could not be applied, stored with the reason."""

    dead_letter_id: str
    at_us: int
    origin: str
    """'events' or 'erp'."""
    reason: str
    """UPPER_SNAKE."""
    detail: str
    """Which field, and what is wrong with it."""
    payload_json: str
    replays: int = 0
    count: int = 1
    """How often it was received."""
    last_us: int = 0
    """When it was last received."""


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """Some dead letters, oldest first."""

    letters: Sequence[DeadLetter]
    after: str = ""
    """The next page begins after this id; '' when there is none."""


@dataclass(frozen=True, slots=True)
class FeedIssue:
    """A stream with a problem: events are missing, or its source seems to have restarted its sequence numbers."""

    source: Source
    sku: str
    branch: str
    missing: Sequence[tuple[int, int]] = ()
    """The first and last of each range of missing numbers."""
    restarts: int = 0
    """Events with a number already passed that took effect later than all before."""
    restart_sequence: int = 0
    """The number of the last of them."""
    restart_us: int = 0
    """When that one took effect."""


@dataclass(frozen=True, slots=True)
class ResetAsk:
    """Which streams restart their sequence numbers; '' is any item, any branch."""

    actor: str
    source: Source
    sku: str = ""
    branch: str = ""
    effective_us: int | None = None
    """Events that take effect from this instant on belong to the new numbers; None: from now on."""


@dataclass(frozen=True, slots=True)
class ResetRecord:
    """A completed reset."""

    reset_id: str
    at_us: int
    actor: str
    source: Source
    sku: str
    branch: str
    effective_us: int
    streams: int
    """The number of streams it reset."""


class LiveApi(Protocol):
    """Raises `service.errors.RequestRefusedError`, whose reason the caller gets."""

    def publish(self, raw: bytes) -> PublishResult:
        """Apply the events of an encoded `PublishEventsRequest`; those that can't be applied become dead letters."""
        ...

    def reserve(self, ask: ReserveAsk) -> Reserved:
        """Reserve stock (A8). Idempotent by `ask.key`."""
        ...

    def confirm(
        self, customer_id: str, reservation_id: str, order_ref: str, order_lines: Sequence[str] = ()
    ) -> HeldReservation:
        """Make a held reservation permanent for an order. Idempotent."""
        ...

    def release(
        self, customer_id: str, reservation_id: str, parts: Sequence[Release] = ()
    ) -> HeldReservation:
        """Release all of a reservation, or `parts` of it."""
        ...

    def extend(self, customer_id: str, reservation_id: str, ttl_us: int) -> HeldReservation:
        """Hold it for `ttl_us` from now on, unless it is held longer anyway. A confirmed one does not change."""
        ...

    def reservation(self, customer_id: str, reservation_id: str) -> HeldReservation:
        """The current state of a reservation, also after it has ended. Raises RESERVATION_NOT_FOUND."""
        ...

    def reservations(
        self, *, customer_id: str = "", unreported_for_us: int | None = None, limit: int = 1_000
    ) -> Sequence[HeldReservation]:
        """Open reservations by id. With `unreported_for_us`, the confirmed ones that the warehouse has still not
        allocated in full so long after their confirmation."""
        ...

    def keep_order(self, record: v1.OrderRecord) -> v1.OrderRecord:
        """Keep an order unless one is kept under its key; a final record replaces that which waits for its hold.
        Returns what is kept."""
        ...

    def order(
        self, customer_id: str, key: str = "", order_ref: str = "", call: str = ""
    ) -> v1.OrderRecord | None:
        """A kept order, by one of the three; None: there is none."""
        ...

    def dead_letters(self, *, origin: str = "", limit: int = 1_000, after: str = "") -> DeadLetterPage:
        """Oldest first, beginning after that id. Raises DEAD_LETTER_NOT_FOUND if there is no such letter any more."""
        ...

    def dead_letter(self, dead_letter_id: str) -> DeadLetter:
        """One dead letter. Raises DEAD_LETTER_NOT_FOUND."""
        ...

    def replay_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """Try to apply them again; returns those that still can't be applied, with the current reason. They stay."""
        ...

    def drop_dead_letters(self, ids: Sequence[str]) -> int:
        """Delete them; returns how many there were."""
        ...

    def feed_issues(self, *, restarts: bool = False, limit: int = 1_000) -> Sequence[FeedIssue]:
        """The streams with missing events, or with `restarts` those whose source seems to have restarted."""
        ...

    def reset_streams(self, ask: ResetAsk) -> ResetRecord:
        """Restart the sequence numbers of streams, and record who requested it. Raises NO_STREAMS when none of them has
        had an event since the load."""
        ...

    def resets(self, limit: int = 1_000) -> Sequence[ResetRecord]:
        """Newest first."""
        ...
