"""The live state of one pair: its snapshot rows, event streams and reservations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from pricegrid.atp.arrays.decode import snapshot_pair
from pricegrid.atp.arrays.pair_rows import PairRows
from pricegrid.atp.arrays.positions import Positions
from pricegrid.atp.model import INT64_MAX, NO_INSTANT, Source
from pricegrid.atp.rules.events import SOURCE_OF, Event, Measure
from pricegrid.atp.rules.order_books import PairLists
from pricegrid.atp.rules.order_lines import START, Mark
from pricegrid.atp.rules.reservations import LIVING, HeldReservation, ReservationStatus
from pricegrid.atp.rules.rows import Pair
from pricegrid.atp.rules.streams import Base, Stream
from pricegrid.columnar.instants import day_number

LET_GO_MIN: Final = 64
"""Events of a stream that are no longer needed are released when there are more of them."""


class Restart(NamedTuple):
    """Events that look as if their source had restarted its sequence numbers."""

    events: int
    sequence: int
    """Of the last of them."""
    effective_us: int


@dataclass(slots=True)
class PairState:
    """A pair of a snapshot, and what events and reservations have changed since."""

    item: int
    branch: int
    base: Base
    streams: dict[Source, Stream] = field(default_factory=dict)
    reservations: dict[str, HeldReservation] = field(default_factory=dict)
    figures: tuple[int, ...] = ()
    """The nine figures shown last; (): none is shown, and the snapshot has lists of the pair."""
    has_new_lists: bool = False
    """Allocations, receipts or demands may differ from those shown."""
    changed: set[str] = field(default_factory=set)
    """Reservations that may differ from those shown."""
    multi_line: set[str] = field(default_factory=set)
    """Reservations that hold the pair in several lines."""
    is_shown: bool = False
    is_kit: bool = False
    has_demands: bool = False
    owners: Mapping[Measure, Source] = field(default_factory=lambda: SOURCE_OF)
    """The source of each measure at its branch."""
    kits: dict[str, Fraction] = field(default_factory=dict)
    """Kits with reported demands that this item is a component of, and how much of it each needs."""
    restarts: dict[Source, Restart] = field(default_factory=dict)
    """The sources that seem to have restarted."""
    index: int = -1
    """Of the pair among the in-order streams; -1: there is no event of the ERP yet."""
    lists: PairLists = field(init=False)
    done: list[Event] = field(default_factory=list)
    """Events of the allocation stream that the lists no longer need."""
    is_rearranged: bool = False
    """The events of any order may count differently than before."""
    has_fractions: bool = False
    """A reservation holds a fraction of a micro."""

    def __post_init__(self) -> None:
        self.lists = PairLists(self.base)

    @property
    def allocation_stream(self) -> Stream | None:
        """The stream of the source of allocations."""
        return self.streams.get(self.owners[Measure.ALLOCATED])

    @property
    def mark(self) -> Mark:
        """The end of the allocation stream."""
        stream = self.allocation_stream
        if stream is None:
            return START
        starts, spans = stream.starts, stream.spans
        return (starts[-1] if starts else 0), (spans[-1][1] if spans else 0)

    def let_go(self, pair: Pair, order_ref: str) -> None:
        """Release the events of an order that has ended and has no reservations. The stream must have no gaps."""
        if not self.lists.allocations.has_ended(order_ref):
            return
        unnamed = [
            part.since
            for held in self.reservations.values()
            if not held.order_ref and held.status in LIVING
            for line in held.lines
            for part in line.parts
            if (part.sku, line.line.branch) == pair
        ]
        self.done += self.lists.allocations.fold(order_ref, min(unnamed, default=self.mark))
        stream = self.allocation_stream
        if stream and len(self.done) > max(LET_GO_MIN, len(stream.events) // 2):
            self.forget_done(stream)

    def forget_done(self, stream: Stream) -> None:
        """Remove events from the stream that the lists no longer need."""
        if stream is self.allocation_stream:
            stream.let_go(self.done)
            self.done = []


class OpenHold(NamedTuple):
    """What a line of a reservation holds of a pair."""

    held: HeldReservation
    first_day: int
    """0: held from now on."""
    expires_us: int
    exact_micros: Fraction
    order_line: str


def open_holds(pair: Pair, reservations: Iterable[HeldReservation]) -> Iterable[OpenHold]:
    """What the open reservations hold of a pair, line by line."""
    for held in reservations:
        if held.status not in LIVING:
            continue
        expires_us = INT64_MAX if held.status is ReservationStatus.CONFIRMED else held.expires_us
        for line in held.lines:
            if line.line.branch != pair[1]:
                continue
            exact = sum((p.open_micros for p in line.parts if p.sku == pair[0]), Fraction(0))
            if exact > 0:
                day = 0 if line.line.from_date is None else day_number(line.line.from_date)
                yield OpenHold(held, day, expires_us, exact, line.line.order_line)


def base_of(positions: Positions, item: int, branch: int, created_us: int) -> Base:
    """The rows of a pair in the snapshot, which count as SET events at their instants."""
    rows = snapshot_pair(positions, item, branch) or PairRows()
    feeds = [int(instant) for instant in positions.arrays["feed_as_of"][branch]]
    erp_us = NO_INSTANT
    if rows.stock is not None:
        erp_us = rows.stock.as_of_us
    elif positions.arrays["feed_complete"][branch, Source.ERP] and not rows.is_unknown:
        erp_us = feeds[Source.ERP]
    wms_us, transit_us = (
        created_us if feeds[source] == NO_INSTANT else feeds[source]
        for source in (Source.WMS, Source.TRANSIT)
    )
    ships = positions.arrays.get("feed_decrease_shipped")
    return Base(rows, erp_us, wms_us, transit_us, ships is not None and bool(ships[branch]))


def owners_at(positions: Positions, branch: int) -> Mapping[Measure, Source]:
    """The source of each measure at a branch; SOURCE_OF itself for the default."""
    row = positions.arrays["feed_owner"][branch].tolist()
    found = {measure: Source(row[measure]) for measure in Measure}
    return SOURCE_OF if found == SOURCE_OF else found
