"""Inventory events (A10): their content, and the figures of a pair that follow from a set of them.

The figures are a function of the *set* of events received, so every order and duplication of the same events ends in
the same state. Sequences decide among the events of one stream (source, item, branch); instants only against what a
snapshot holds: a loaded row is a set at its instant, events at or before it are in it already.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.model import NO_INSTANT, Source


class Measure(IntEnum):
    """What an event is about."""

    ON_HAND = 0
    UNAVAILABLE = 1
    ALLOCATED = 2
    RECEIPT = 3
    DEMAND = 4


class Kind(IntEnum):
    """What an event carries: the figure itself, a change of it, or none, where its source begins its numbers anew."""

    SET = 0
    DELTA = 1
    RESET = 2


class ReceiptKind(IntEnum):
    """What a receipt is; in lower case the words of the table."""

    PURCHASE = 0
    TRANSFER = 1
    ASN = 2


RESET_MEASURE: Final = Measure.ON_HAND
"""Of every reset, which concerns all measures of its source."""
UNSET: Final = -1
"""In a column of figures that can't be negative: the event has none."""


SOURCE_OF: Final = {
    Measure.ON_HAND: Source.ERP,
    Measure.UNAVAILABLE: Source.ERP,
    Measure.ALLOCATED: Source.WMS,
    Measure.RECEIPT: Source.TRANSIT,
    Measure.DEMAND: Source.TRANSIT,
}
"""The one source of each measure; another's event is not applied."""


_SOURCES, _MEASURES, _KINDS = tuple(Source), tuple(Measure), tuple(Kind)


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
    shipped_micros: int | None = None
    """Of an allocation: what has been shipped of the order line so far, in all; None: unknown."""
    receipt_kind: ReceiptKind | None = None
    """Of a receipt; None keeps what is known."""
    confidence_micros: int | None = None
    """Of a receipt, 0 to MICROS; None keeps what is known."""
    supersedes: str = ""
    """Of a receipt: the reference of the purchase order that it is a part of."""

    @property
    def carries_more(self) -> bool:
        """Whether it carries more than a figure of one source needs."""
        return (
            self.expected_at_us is not None
            or bool(self.order_ref or self.order_line or self.version or self.supersedes)
            or not (self.shipped_micros is self.receipt_kind is self.confidence_micros is None)
        )


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Many events as columns of equal length, in the order they came; `Event` describes each."""

    source: NDArray[np.int64]
    sequence: NDArray[np.int64]
    effective_us: NDArray[np.int64]
    measure: NDArray[np.int64]
    kind: NDArray[np.int64]
    sku: Sequence[str]
    branch: Sequence[str]
    quantity_micros: NDArray[np.int64]
    expected_at_us: NDArray[np.int64]
    """NO_INSTANT where the event has none."""
    order_ref: Sequence[str]
    order_line: Sequence[str]
    version: NDArray[np.int64]
    shipped_micros: NDArray[np.int64]
    """UNSET where the event has none, as in the next two."""
    receipt_kind: NDArray[np.int64]
    confidence_micros: NDArray[np.int64]
    supersedes: Sequence[str]

    def __len__(self) -> int:
        return len(self.sku)

    def event(self, index: int) -> Event:
        """One of them."""
        return _event(tuple(column[index] for column in self._columns()))

    def events(self) -> list[Event]:
        """All of them."""
        lists = [column.tolist() if isinstance(column, np.ndarray) else column for column in self._columns()]
        return [_event(row) for row in zip(*lists, strict=True)]

    def _columns(self) -> Sequence[Sequence[Any] | NDArray[np.int64]]:
        return [getattr(self, column.name) for column in fields(self)]


def _event(row: Sequence[Any]) -> Event:
    """An event from its columns, in the order of `EventBatch`."""
    source, sequence, effective_us, measure, kind, sku, branch, quantity, at_us = row[:9]
    order_ref, order_line, version, shipped, receipt_kind, confidence, supersedes = row[9:]
    return Event(
        _SOURCES[source],
        int(sequence),
        int(effective_us),
        _MEASURES[measure],
        _KINDS[kind],
        sku,
        branch,
        int(quantity),
        None if at_us == NO_INSTANT else int(at_us),
        order_ref,
        order_line,
        int(version),
        None if shipped == UNSET else int(shipped),
        None if receipt_kind == UNSET else ReceiptKind(receipt_kind),
        None if confidence == UNSET else int(confidence),
        supersedes,
    )


class EventStatus(IntEnum):
    """What became of one event."""

    APPLIED = 0
    """It counts, or will when the ones before it arrive."""
    DUPLICATE = 1
    """The same event was here before."""
    OLDER = 2
    """A later set, or the loaded table, has replaced it already."""
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
    FUTURE = 12
    """It took effect later than it can have."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event, and whether its stream misses events since."""

    status: EventStatus
    reason: DeadReason | None = None
    has_gap: bool = False
    is_restart: bool = False
    """Whether it looks as if its source had begun its numbers anew without a reset."""
