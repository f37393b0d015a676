"""What events and reservations have made of one pair, before it is shown."""

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
"""Events of a stream that are not needed any more, before their memory is worth a look."""


class Restart(NamedTuple):
    """Events that look as if their source had begun its numbers anew."""

    events: int
    sequence: int
    """Of the last one, as the next."""
    effective_us: int


@dataclass(slots=True)
class PairState:
    """One pair of a snapshot with what events and reservations have made of it."""

    item: int
    branch: int
    base: Base
    streams: dict[Source, Stream] = field(default_factory=dict)
    holding: dict[str, HeldReservation] = field(default_factory=dict)
    figures: tuple[int, ...] = ()
    """The nine of the row shown last; (): none is shown, and the snapshot has lists of the pair."""
    has_new_lists: bool = False
    """Allocations, receipts or demands may be others than shown."""
    changed: set[str] = field(default_factory=set)
    """Reservations that may be others than shown."""
    spread: set[str] = field(default_factory=set)
    """Reservations that hold the pair in more than one line."""
    is_shown: bool = False
    is_kit: bool = False
    has_demands: bool = False
    owners: Mapping[Measure, Source] = field(default_factory=lambda: SOURCE_OF)
    """The source of each measure at its branch."""
    kits: dict[str, Fraction] = field(default_factory=dict)
    """The kits it is part of of which demands were told, with the need of it."""
    restarts: dict[Source, Restart] = field(default_factory=dict)
    """Of the sources that seem to have begun anew."""
    place: int = -1
    """Among the plain streams; -1: the ERP has said nothing yet."""
    lists: PairLists = field(init=False)
    done: list[Event] = field(default_factory=list)
    """Events of allocations in their stream that the lists need no more."""
    is_rearranged: bool = False
    """Events of any order may count in another way than they did."""
    has_fractions: bool = False
    """A reservation holds a part of a micro."""

    def __post_init__(self) -> None:
        self.lists = PairLists(self.base)

    @property
    def allocation_stream(self) -> Stream | None:
        """What the source of allocations has said."""
        return self.streams.get(self.owners[Measure.ALLOCATED])

    @property
    def mark(self) -> Mark:
        """The last that the source of allocations has said."""
        stream = self.allocation_stream
        if stream is None:
            return START
        starts, spans = stream.starts, stream.spans
        return (starts[-1] if starts else 0), (spans[-1][1] if spans else 0)

    def let_go(self, pair: Pair, order_ref: str) -> None:
        """Forget the events of an order that has ended, and of which there are no reservations; no event of the stream
        may be missing."""
        if not self.lists.allocations.has_ended(order_ref):
            return
        unnamed = [
            part.since
            for held in self.holding.values()
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
        """Take out of the stream what the lists need no more."""
        if stream is self.allocation_stream:
            stream.let_go(self.done)
            self.done = []


class OpenHold(NamedTuple):
    """What a line of a reservation holds of a pair."""

    held: HeldReservation
    first_day: int
    """0: at once."""
    expires_us: int
    exact_micros: Fraction
    order_line: str


def open_holds(pair: Pair, holding: Iterable[HeldReservation]) -> Iterable[OpenHold]:
    """What each reservation holds of a pair, line by line."""
    for held in holding:
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
    """What the snapshot says of a pair; its rows are sets at their instants."""
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
    """The source of each measure at a branch; SOURCE_OF itself where it is as by default."""
    row = positions.arrays["feed_owner"][branch].tolist()
    found = {measure: Source(row[measure]) for measure in Measure}
    return SOURCE_OF if found == SOURCE_OF else found
