"""One order at one pair: what its loaded rows and its events make of its lines, in sequence order (A9, A10).

Lines are lines: a figure of one never replaces what belongs to another. A loaded row without a line is of some
line: the first set of a line that the tables don't name replaces one such row, which is the one of the same
quantity, else of the same date, else the smallest, so that never too little is kept.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

from pricegrid.atp.model import INT64_MAX
from pricegrid.atp.rules.events import Event, Kind
from pricegrid.atp.rules.rows import Allocation, Demand

Mark = tuple[int, int]
"""A position in a stream: (instant of the reset that its numbering began with, 0 for none; sequence)."""
START: Mark = (0, 0)
"""Before every event."""
T = TypeVar("T", Allocation, Demand)


def mark_of(event: Event, starts: Sequence[int] = ()) -> Mark:
    """The position of an event in a stream whose numberings but the first begin at these instants (`Stream.starts`)."""
    numbering = bisect_right(starts, event.effective_us)
    return (starts[numbering - 1] if numbering else 0), event.sequence


@dataclass(frozen=True, slots=True)
class Point:
    """What there is of the lines of an order after one of its events, or by its loaded rows."""

    mark: Mark
    """Of the event; START for loaded rows."""
    as_of_us: int | None
    """Of loaded rows; None after an event."""
    allocated: Mapping[str, int]
    """Micros by line; under '' what names none."""
    shipped: Mapping[str, int]
    """Micros by line, in all so far, as far as the warehouse reports it."""
    at_us: int = INT64_MAX
    """When the event took effect."""


@dataclass(slots=True)
class _Lines:
    """The lines of an order while its events are applied."""

    ships_by_decrease: bool
    allocated: dict[str, int] = field(default_factory=dict)
    shipped: dict[str, int] = field(default_factory=dict)
    unnamed: list[int] = field(default_factory=list)
    """Loaded rows without a line that no set has replaced."""
    known: set[str] = field(default_factory=set)
    """Lines that have rows of their own."""

    def load(self, rows: Sequence[Allocation]) -> None:
        """Continue from the loaded rows; rows that are missing there count as taken back, or shipped."""
        before, shipped = self.values(), sum(self.shipped.values())
        self.allocated, self.unnamed, self.known = {}, [], set()
        reported: dict[str, int] = {}
        for row in rows:
            line = row.order_line or ""
            if line:
                self.allocated[line] = self.allocated.get(line, 0) + row.allocated_micros
                self.known.add(line)
            else:
                self.unnamed.append(row.allocated_micros)
            if row.shipped_micros:
                reported[line] = max(reported.get(line, 0), row.shipped_micros)
        self.shipped.update(reported)
        self._note_decrease(before, reported, max(0, sum(self.shipped.values()) - shipped))

    def apply(self, event: Event) -> None:
        """Apply one event to its line."""
        before = self.values() if self.ships_by_decrease else {}
        line, micros = event.order_line, event.quantity_micros
        if event.kind is Kind.DELTA:
            self.allocated[line] = self.allocated.get(line, 0) + micros
        else:
            if not line:
                self.unnamed = []
            elif line not in self.known and self.unnamed:
                self.unnamed.remove(min(self.unnamed, key=lambda each: (each != micros, each)))
            self.known.add(line)
            self.allocated[line] = micros
        if event.shipped_micros is not None:
            self.shipped[line] = (
                event.shipped_micros
            )  # what is reported replaces what decreases seemed to say
        else:
            self._note_decrease(before)

    def values(self) -> dict[str, int]:
        """What is allocated to each line, loaded rows without one under ''."""
        found = dict(self.allocated)
        if self.unnamed:
            found[""] = found.get("", 0) + sum(self.unnamed)
        return found

    def _note_decrease(
        self, before: Mapping[str, int], told: Collection[str] = (), reported: int = 0
    ) -> None:
        """What is allocated less than before was shipped, but for what is `reported` as shipped; of the lines that were
        `told` what is reported stands.

        What moves from one line to another, as from none to the one that replaces it, was not.
        """
        if not self.ships_by_decrease:
            return
        now = self.values()
        left = sum(before.values()) - sum(now.values()) - reported
        for line in sorted((before.keys() | now.keys()) - set(told)):
            less = min(left, before.get(line, 0) - now.get(line, 0))
            if less > 0:
                self.shipped[line] = self.shipped.get(line, 0) + less
                left -= less

    def point(self, mark: Mark, as_of_us: int | None = None, at_us: int = INT64_MAX) -> Point:
        """The lines as they are now."""
        return Point(mark, as_of_us, self.values(), dict(self.shipped), at_us)


@dataclass(frozen=True, slots=True)
class OrderRows:
    """The allocations of one order in the snapshot."""

    rows: Sequence[Allocation]
    after_us: int
    """Of allocations without a row of their own."""
    ships_by_decrease: bool = False
    """Less allocated means shipped (`feeds.decrease_means`), not taken back."""
    starts: Sequence[int] = ()
    """When the numberings of the stream but the first begin."""

    def included_until_us(self, line: str) -> int:
        """Up to when the rows include the events of a line."""
        own = [row.as_of_us for row in self.rows if (row.order_line or "") == line]
        unnamed = [row.as_of_us for row in self.rows if not row.order_line]
        return max(own or unnamed, default=self.after_us)


def allocation_points(loaded: OrderRows, events: Sequence[Event], folded: Point | None = None) -> list[Point]:
    """How the lines of an order went, by sequence: before what is loaded, what is loaded, and since.

    `folded` replaces all that came before the events, when nothing was allocated any more.
    """
    lines = _Lines(loaded.ships_by_decrease)
    points, counted = [], []
    included_until = {line: loaded.included_until_us(line) for line in {event.order_line for event in events}}
    for event in sorted(events, key=lambda each: mark_of(each, loaded.starts)):
        if event.effective_us > included_until[event.order_line]:
            counted.append(event)
        elif folded is None:
            lines.apply(event)
            points.append(lines.point(mark_of(event, loaded.starts), at_us=event.effective_us))
    if folded is None:
        lines.load(loaded.rows)
        as_of_us = max((row.as_of_us for row in loaded.rows), default=loaded.after_us)
        points.append(lines.point(START, as_of_us))
    else:
        lines.shipped = dict(folded.shipped)
        points.append(folded)
    for event in counted:
        lines.apply(event)
        points.append(lines.point(mark_of(event, loaded.starts), at_us=event.effective_us))
    return points


def allocation_rows(
    order_ref: str, loaded: OrderRows, events: Sequence[Event], folded: Point | None = None
) -> tuple[Allocation, ...]:
    """What is allocated to an order now: its loaded rows, or a row a line of what its events have made of them."""
    newest_us = newest_counted_us(loaded, events)
    if newest_us is None:
        return tuple(loaded.rows) if folded is None else ()
    allocated = allocation_points(loaded, events, folded)[-1].allocated
    rows = [
        Allocation(micros, newest_us, order_ref or None, line or None)
        for line, micros in sorted(allocated.items())
        if micros > 0
    ]
    return tuple(rows) or (Allocation(0, newest_us, order_ref or None),)


def newest_counted_us(loaded: OrderRows, events: Iterable[Event]) -> int | None:
    """The newest instant of events that are not in the loaded rows already; None: there are none."""
    counted = (
        event.effective_us
        for event in events
        if event.effective_us > loaded.included_until_us(event.order_line)
    )
    return max(counted, default=None)


def listed_allocations(rows: Iterable[Allocation], newest_us: int | None) -> tuple[Allocation, ...]:
    """Rows without those of nothing, but with the newest instant of any of them."""
    kept = sorted(
        (row for row in rows if row.allocated_micros),
        key=lambda row: (row.order_ref or "", row.order_line or "", row.as_of_us, row.allocated_micros),
    )
    if newest_us is not None and all(row.as_of_us < newest_us for row in kept):
        kept.append(Allocation(0, newest_us))
    return tuple(kept)


@dataclass(slots=True)
class _Open:
    """An open quantity of an order."""

    line: str
    due_at_us: int
    micros: int
    is_whole: bool = False
    """It was reported without a line: it is the whole order, of which later lines are a part."""


def demand_rows(order_ref: str, loaded: Sequence[Demand], events: Iterable[Event]) -> tuple[Demand, ...]:
    """What is open of an order: its loaded rows, and what its events, in the order in which they count, have made of
    them.

    A set replaces its own line; without a line, the whole order. A delta that takes away takes from its own instant,
    else from the earliest; one that adds goes to its own instant, else to the latest; where there is none it has
    no effect.
    """
    open_rows = [_Open(row.order_line or "", row.due_at_us, row.quantity_micros) for row in loaded]
    known = {row.line for row in open_rows if row.line}
    for event in events:
        if event.kind is Kind.SET:
            open_rows = _set_demand(open_rows, event, known)
        else:
            _change_demand(open_rows, event)
    kept = sorted((row for row in open_rows if row.micros > 0), key=attrgetter("due_at_us", "micros", "line"))
    return tuple(Demand(row.micros, row.due_at_us, order_ref or None, row.line or None) for row in kept)


def _set_demand(open_rows: list[_Open], event: Event, known: set[str]) -> list[_Open]:
    line, micros = event.order_line, event.quantity_micros
    own = [row for row in open_rows if not line or row.line == line]
    others = [row for row in open_rows if line and row.line != line]
    unnamed = [row for row in others if not row.line]
    due_at_us = event.expected_at_us
    if line and line not in known and unnamed:
        replaced = min(
            unnamed, key=lambda row: (row.micros != micros, row.due_at_us != due_at_us, row.micros)
        )
        if replaced.is_whole:
            replaced.micros = max(0, replaced.micros - micros)
        else:
            others.remove(replaced)
        if due_at_us is None:
            due_at_us = replaced.due_at_us
    if line:
        known.add(line)
    else:
        known.clear()
    if due_at_us is None:
        due_at_us = max((row.due_at_us for row in own), default=None)
    if due_at_us is not None:
        others.append(_Open(line, due_at_us, micros, is_whole=not line))
    return others


def _change_demand(open_rows: list[_Open], event: Event) -> None:
    due_at_us, micros = event.expected_at_us, event.quantity_micros
    own = [row for row in open_rows if row.line == event.order_line or not event.order_line]
    rows = own or [row for row in open_rows if not row.line]
    if micros >= 0:
        due_at_us = due_at_us if due_at_us is not None else max((row.due_at_us for row in rows), default=None)
        if due_at_us is not None:
            open_rows.append(_Open(event.order_line, due_at_us, micros))
        return
    for row in sorted(rows, key=lambda row: (row.due_at_us != due_at_us, row.due_at_us)):
        reduced = min(row.micros, -micros)
        row.micros -= reduced
        micros += reduced


def listed_demands(rows: Iterable[Demand]) -> tuple[Demand, ...]:
    """Demands by due instant; of equal ones the order never depends on where they are from."""
    key = attrgetter("due_at_us", "quantity_micros")
    return tuple(
        sorted(rows, key=lambda row: (*key(row), row.order_ref or "", row.order_line or "", row.kit or ""))
    )


def by_order(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Events by their order, '' for none."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.order_ref, []).append(event)
    return found


def grouped(rows: Iterable[T]) -> dict[str, list[T]]:
    """Loaded rows by their order, '' for none."""
    found: dict[str, list[T]] = {}
    for row in rows:
        found.setdefault(row.order_ref or "", []).append(row)
    return found
