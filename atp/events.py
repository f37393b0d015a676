"""Inventory events (A10): what they say, and the figures of a pair that follow from a set of them.

The figures are a function of the *set* of events received, so every order and duplication of the same events ends in
the same state. Sequences decide among the events of one stream (source, item, branch); instants only against what a
snapshot holds: a loaded row is a set at its instant, events at or before it are in it already.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from atp.model import Source


class Measure(IntEnum):
    """What an event speaks of."""

    ON_HAND = 0
    UNAVAILABLE = 1
    ALLOCATED = 2
    RECEIPT = 3
    DEMAND = 4


class Kind(IntEnum):
    """How it speaks: the figure itself, or a change of it."""

    SET = 0
    DELTA = 1


SOURCE_OF: Final = {
    Measure.ON_HAND: Source.ERP,
    Measure.UNAVAILABLE: Source.ERP,
    Measure.ALLOCATED: Source.WMS,
    Measure.RECEIPT: Source.TRANSIT,
    Measure.DEMAND: Source.TRANSIT,
}
"""The one source of each measure; another's event is not applied."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a source about one item at one branch. Quantities in micros of the base unit."""

    source: Source
    sequence: int
    """Per (source, item, branch), from 1 upward."""
    effective_us: int
    measure: Measure
    kind: Kind
    sku: str
    branch: str
    quantity_micros: int
    expected_at_us: int | None = None
    """When a receipt is expected or a demand is due; None in an event of one known already keeps its instant."""
    order_ref: str = ""
    """Order of an allocation or demand, reference of a receipt."""
    order_line: str = ""
    version: int = 0
    """Of the order line, as the warehouse counts it."""


class EventStatus(IntEnum):
    """What became of one event."""

    APPLIED = 0
    """It counts, or will when the ones before it arrive."""
    DUPLICATE = 1
    """The same event was here before."""
    OLDER = 2
    """A later set, or the loaded table, says all that it says."""
    DEAD_LETTER = 3
    """It can't be applied; it is kept in the dead-letter queue with the reason."""


class DeadReason(IntEnum):
    """Why an event can't be applied."""

    MALFORMED = 0
    UNKNOWN_SOURCE = 1
    UNKNOWN_MEASURE = 2
    WRONG_SOURCE = 3
    """The measure has another source."""
    UNKNOWN_ITEM = 4
    UNKNOWN_BRANCH = 5
    KIT_ITEM = 6
    """A kit has no stock of its own: its components' events count."""
    INVALID_SEQUENCE = 7
    INVALID_QUANTITY = 8
    MISSING_DATE = 9
    """A receipt or demand not known yet needs the instant it is expected at."""
    SEQUENCE_REUSED = 10
    """Another event had this sequence."""
    OUT_OF_RANGE = 11


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event, and whether its stream misses events since."""

    status: EventStatus
    reason: DeadReason | None = None
    has_gap: bool = False
