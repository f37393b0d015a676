"""Availability data as plain rows: what the reference reads; arrays are decoded to them where it answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from pricegrid.atp.model import MICROS, STALE_AFTER_MIN, Reservation, Source

Pair = tuple[str, str]
"""(sku, branch)."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item that may be asked for."""

    sku: str
    base_uom: str
    order_multiple_micros: int | None = None
    superseded_by: str | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A shipping place with its own clock and calendar."""

    branch: str
    time_zone: str = "UTC"
    cutoff_s: int | None = None
    """Seconds after local midnight."""
    inbound_handling_days: int = 0
    outbound_handling_days: int = 0
    calendar: str | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Working days: a date beats its weekday (Monday 0).

    A day nothing is said about is worked, unless the calendar names working weekdays and no free one.
    """

    dates: Mapping[int, bool] = field(default_factory=dict)
    weekdays: Mapping[int, bool] = field(default_factory=dict)

    def works(self, day: int) -> bool:
        """Whether `day` (since 1970-01-01, a Thursday) is worked."""
        if day in self.dates:
            return self.dates[day]
        silent = not self.weekdays or not all(self.weekdays.values())
        return self.weekdays.get((day + 3) % 7, silent)


@dataclass(frozen=True, slots=True)
class Lane:
    """A way from a branch to a ship zone or another branch; a lower rank goes first, no rank last."""

    from_branch: str
    to: str
    transit_days: int
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """ERP: what is on the shelf; on-hand may be negative."""

    on_hand_micros: int
    as_of_us: int
    unavailable_micros: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """WMS: what is set aside, perhaps for an order."""

    allocated_micros: int
    as_of_us: int
    order_ref: str | None = None
    order_line: str | None = None
    shipped_micros: int = 0
    """Of the order line so far, in all; those are not allocated any more."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is coming in."""

    quantity_micros: int
    expected_at_us: int
    confidence_micros: int = MICROS
    kind: str = "purchase"
    reference: str | None = None
    line: str | None = None
    supersedes: str | None = None
    """The reference of the order that it is a part of; `line` is that order's then."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is already owed."""

    quantity_micros: int
    due_at_us: int
    order_ref: str | None = None
    order_line: str | None = None
    kit: str | None = None
    """The kit that it was reported for, of which the item is a component."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The last full extract of a source for a branch."""

    as_of_us: int
    complete: bool = False
    stale_after_min: int = STALE_AFTER_MIN


@dataclass(slots=True)
class Rows:
    """All of it. `kits` maps a kit to (component, needed quantity of it in base units per base unit of kit)."""

    items: dict[str, Item] = field(default_factory=dict)
    uoms: dict[tuple[str, str], Fraction] = field(default_factory=dict)
    branches: dict[str, Branch] = field(default_factory=dict)
    calendars: dict[str, Calendar] = field(default_factory=dict)
    lanes: list[Lane] = field(default_factory=list)
    stock: dict[Pair, Stock] = field(default_factory=dict)
    unknown_stock: set[Pair] = field(default_factory=set)
    """Pairs with a stock row that could not be used: unknown even where the feed is complete (A11)."""
    allocations: dict[Pair, list[Allocation]] = field(default_factory=dict)
    receipts: dict[Pair, list[Receipt]] = field(default_factory=dict)
    demands: dict[Pair, list[Demand]] = field(default_factory=dict)
    safety_stock: dict[Pair, int] = field(default_factory=dict)
    feeds: dict[tuple[str, Source], Feed] = field(default_factory=dict)
    kits: dict[str, list[tuple[str, Fraction]]] = field(default_factory=dict)
    reservations: dict[Pair, list[Reservation]] = field(default_factory=dict)
    gaps: set[tuple[str, str, Source]] = field(default_factory=set)
    """Pairs of which events of a source are missing: STALE until its next set (A10)."""
    transit_as_of_us: dict[Pair, int] = field(default_factory=dict)
    """The newest receipt or demand event of a pair."""
    link_lost: bool = False
    """The link to other servers is lost: all that is known may be old (A11)."""

    def components(self, sku: str) -> dict[str, Fraction]:
        """Base components of one base unit of `sku`, equal ones added (A6); itself when it is no kit.

        Raises ValueError for a kit that contains itself.
        """
        opened: dict[str, Fraction] = {}
        for component, need in self._open(sku, Fraction(1), ()):
            opened[component] = opened.get(component, Fraction(0)) + need
        return opened

    def _open(self, sku: str, need: Fraction, above: tuple[str, ...]) -> Iterator[tuple[str, Fraction]]:
        if sku in above:
            raise ValueError(f"kit {sku} contains itself")
        if sku not in self.kits:
            yield sku, need
            return
        for component, quantity in self.kits[sku]:
            yield from self._open(component, need * quantity, (*above, sku))

    def kits_of(self, sku: str) -> Sequence[tuple[str, Fraction]]:
        """Each kit that needs the base item `sku`, with its whole need of it."""
        needs = ((kit, self.components(kit).get(sku)) for kit in self.kits)
        return [(kit, need) for kit, need in needs if need is not None]
