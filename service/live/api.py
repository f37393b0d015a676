"""What can be done to live state, as the services, the command line and the Redis consumer see it.

`service.live.state` is the one implementation. It runs where the writer runs: in the writer process of a server, or
in a command that has the store to itself. All methods may be called from any thread; each returns when what it did
is durable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import EventStatus
from pricegrid.atp.rules.reservations import HeldReservation, ReserveAsk


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of a batch of events: every one of them counts in exactly one place."""

    counts: dict[EventStatus, int]
    dead_letter_ids: Sequence[str] = ()
    gaps: int = 0
    """Streams (source, item, branch) among those of the batch that miss events now."""
    refused: int = 0
    """Events that can't be applied and for which there was no room among the dead letters: they are kept nowhere."""
    restarts: int = 0
    """Events that look as if their source had begun its numbers anew without a reset."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The answer to a reserve: with an empty id nothing is held, and the lines say why."""

    reservation: HeldReservation
    snapshot_version: str
    is_repeat: bool = False
    """The key was used before for the same: this is what it holds now."""


@dataclass(frozen=True, slots=True)
class Release:
    """How much of a line to give back."""

    line: int
    quantity_micros: int
    """In the asked unit of the line."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that could not be applied, kept with the reason."""

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
    """How often it came."""
    last_us: int = 0
    """When it came last."""


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """Some dead letters, the oldest first."""

    letters: Sequence[DeadLetter]
    after: str = ""
    """The next ones are asked for after this id; '' when there are no more."""


@dataclass(frozen=True, slots=True)
class FeedIssue:
    """A stream that needs a look: events of it are missing, or its source seems to have begun its numbers anew."""

    source: Source
    sku: str
    branch: str
    missing: Sequence[tuple[int, int]] = ()
    """The first and last of each run of missing numbers."""
    restarts: int = 0
    """Events that came under a number that was passed already, and took effect later than all before."""
    restart_sequence: int = 0
    """The number of the last of these."""
    restart_us: int = 0
    """When it took effect."""


@dataclass(frozen=True, slots=True)
class ResetAsk:
    """Which streams begin their numbers anew; '' is any item, any branch."""

    actor: str
    source: Source
    sku: str = ""
    branch: str = ""
    effective_us: int | None = None
    """Events that took effect at this instant or later belong to the new numbers; None: now."""


@dataclass(frozen=True, slots=True)
class ResetRecord:
    """A reset that was carried out."""

    reset_id: str
    at_us: int
    actor: str
    source: Source
    sku: str
    branch: str
    effective_us: int
    streams: int
    """How many streams it reset."""


class LiveApi(Protocol):
    """Raises `service.errors.RequestRefusedError` for what the caller must know."""

    def publish(self, raw: bytes, origin: str = "publish") -> PublishResult:
        """Apply the events of a serialized `PublishEventsRequest`; what can't be applied is dead-lettered."""
        ...

    def reserve(self, ask: ReserveAsk) -> Reserved:
        """Hold stock (A8)."""
        ...

    def confirm(
        self, customer_id: str, reservation_id: str, order_ref: str, order_lines: Sequence[str] = ()
    ) -> HeldReservation:
        """Make a held reservation permanent for an order; the same again is answered the same."""
        ...

    def release(
        self, customer_id: str, reservation_id: str, parts: Sequence[Release] = ()
    ) -> HeldReservation:
        """Give back all of it, or some of some lines."""
        ...

    def extend(self, customer_id: str, reservation_id: str, ttl_us: int) -> HeldReservation:
        """Hold it so long from now on, unless it would be held longer anyway; a confirmed one stays as it is."""
        ...

    def reservation(self, customer_id: str, reservation_id: str) -> HeldReservation:
        """How it stands, also after it has ended; refuses with RESERVATION_NOT_FOUND."""
        ...

    def reservations(
        self, *, customer_id: str = "", unreported_for_us: int | None = None, limit: int = 1_000
    ) -> Sequence[HeldReservation]:
        """Live reservations by id; with `unreported_for_us` the confirmed ones that the warehouse has not wholly
        taken over so long after they were confirmed."""
        ...

    def dead_letters(self, *, origin: str = "", limit: int = 1_000, after: str = "") -> DeadLetterPage:
        """Oldest first, after the one of that id; refuses with DEAD_LETTER_NOT_FOUND when it is gone."""
        ...

    def dead_letter(self, dead_letter_id: str) -> DeadLetter:
        """One of them; refuses with DEAD_LETTER_NOT_FOUND."""
        ...

    def replay_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """Try them again: those that still can't be applied stay, and are returned with what is wrong now."""
        ...

    def drop_dead_letters(self, ids: Sequence[str]) -> int:
        """Forget them; how many there were."""
        ...

    def feed_issues(self, *, restarts: bool = False, limit: int = 1_000) -> Sequence[FeedIssue]:
        """The streams that miss events, or those whose source seems to have begun anew."""
        ...

    def reset_streams(self, ask: ResetAsk) -> ResetRecord:
        """Let streams begin their numbers anew, and keep who asked for it; refuses with NO_STREAMS when none was heard
        of since the load."""
        ...

    def resets(self, limit: int = 1_000) -> Sequence[ResetRecord]:
        """The newest first."""
        ...
