"""What comes in: receipts and the ship notices that are parts of orders (A12), from rows and from events.

An order counts max(0, ordered - its notices - what of it was received). A notice is a receipt that names the order it
`supersedes`; its own line, where it has one, is that order's line. What the rules are, where A12 leaves
a choice, so that nothing is promised twice:

- A notice that falls, by a delta or by a lower set, was received: its goods are on hand, or will be. The order stays
  lowered by as much. That a notice was cancelled is known when its order is set again, or loaded.
- A *set* of the order's line, like a load, is what is still to come of it, notices not yet received included: what
  was received before it is in it.
- A notice of a line that the order has not is one of the order as a whole. The earliest are reduced first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from pricegrid.atp.rules.events import Event, Kind
from pricegrid.atp.rules.rows import Receipt

OrderLine = tuple[str, str]
"""(reference, line), '' for none."""


def net_receipts(receipts: Sequence[Receipt]) -> list[int]:
    """What each of a pair's receipts counts, in micros: an order less its notices."""
    left = [receipt.quantity_micros for receipt in receipts]
    if any(receipt.supersedes for receipt in receipts):
        indices = _indices(receipts)
        for notice in receipts:
            if notice.supersedes:
                order = (notice.supersedes, notice.line or "")
                _reduce(receipts, left, indices.get(notice.supersedes, ()), order, notice.quantity_micros)
    return left


def _indices(receipts: Sequence[Receipt]) -> dict[str, list[int]]:
    """The indices of the rows of each reference."""
    found: dict[str, list[int]] = {}
    for at, receipt in enumerate(receipts):
        found.setdefault(receipt.reference or "", []).append(at)
    return found


def _reduce(
    receipts: Sequence[Receipt], left: list[int], indices: Sequence[int], order: OrderLine, micros: int
) -> None:
    """Reduce an order, whose rows are among these indices, the earliest first, and never by more than it has."""
    reference, line = order
    rows = _earliest(
        receipts, indices, lambda each: each.reference == reference and each.supersedes != reference
    )
    named = [at for at in rows if receipts[at].line == line]
    if line and (named or any(not receipts[at].line for at in rows)):
        rows = [*named, *(at for at in rows if not receipts[at].line)]
    for at in rows:
        reduced = min(left[at], micros)
        left[at] -= reduced
        micros -= reduced


def _earliest(
    receipts: Sequence[Receipt], indices: Sequence[int], is_meant: Callable[[Receipt], bool]
) -> list[int]:
    meant = [at for at in indices if is_meant(receipts[at])]
    return sorted(meant, key=lambda at: (receipts[at].expected_at_us, at))


@dataclass(slots=True)
class _Open:
    """A quantity still to come."""

    row: Receipt
    micros: int
    is_loaded: bool
    index: int
    """In the order of the events."""

    def is_of(self, line: str) -> bool:
        """Whether events of this line of its order concern it; a loaded row or an event without a line concerns all."""
        own = self.row.line or ""
        return own == line or (self.is_loaded and not (own and line))


def receipts_of(loaded: Sequence[Receipt], events: Sequence[Event]) -> tuple[Receipt, ...]:
    """The receipts of a pair: its loaded rows, and what the events (in the order in which they count) have made of
    them. Orders are lowered by what was received of their notices; `net_receipts` subtracts what these still count."""
    named = {event.order_ref for event in events}
    rows_of: dict[str, list[_Open]] = {}  # events concern the rows of their own reference alone
    for index, receipt in enumerate(loaded):
        first = _Open(receipt, receipt.quantity_micros, is_loaded=True, index=index)
        rows_of.setdefault(receipt.reference or "", []).append(first)
    received: dict[str, dict[str, int]] = {}
    for index, event in enumerate(events, len(loaded)):
        reference, line = event.order_ref, event.order_line
        rows = rows_of.setdefault(reference, [])
        mine = [row for row in rows if row.is_of(line)]
        like = _like(mine, rows, event)
        for row in mine:
            row.row = replace(
                row.row, confidence_micros=like.confidence_micros, kind=like.kind, supersedes=like.supersedes
            )
        reduced_by = 0
        if event.kind is Kind.SET:
            latest_us = max((row.row.expected_at_us for row in mine), default=None)
            reduced_by = sum(row.micros for row in mine) - event.quantity_micros
            rows[:] = [row for row in rows if row not in mine]
            at_us = event.expected_at_us if event.expected_at_us is not None else latest_us
            if at_us is not None:
                dated = replace(like, expected_at_us=at_us)
                rows.append(_Open(dated, event.quantity_micros, is_loaded=False, index=index))
            lines = received.get(reference, {})
            for other in [each for each in lines if not line or not each or each == line]:
                del lines[other]
        elif event.quantity_micros >= 0:
            _put(rows, mine, like, event, index)
        else:
            _receive(mine, event)
            reduced_by = -event.quantity_micros
        if like.supersedes and reduced_by > 0:
            lines = received.setdefault(like.supersedes, {})
            lines[line] = lines.get(line, 0) + reduced_by
    rows = sorted((row for each in rows_of.values() for row in each), key=attrgetter("index"))
    found = [replace(row.row, quantity_micros=row.micros) for row in rows]
    left = [row.micros for row in rows]
    indices = _indices(found)
    for reference, lines in received.items():
        for line, micros in lines.items():
            _reduce(found, left, indices.get(reference, ()), (reference, line), micros)
    return tuple(
        replace(row, quantity_micros=micros)
        for row, micros in zip(found, left, strict=True)
        if micros > 0 or (row.reference or "") not in named
    )


def _like(mine: Sequence[_Open], rows: Sequence[_Open], event: Event) -> Receipt:
    """What is known of an order line but for dates and quantities, with what the event adds to it."""
    known = next((row.row for row in (*mine, *rows)), Receipt(0, 0))
    return replace(
        known,
        reference=event.order_ref or None,
        line=event.order_line or None,
        kind=known.kind if event.receipt_kind is None else event.receipt_kind.name.lower(),
        confidence_micros=(
            known.confidence_micros if event.confidence_micros is None else event.confidence_micros
        ),
        supersedes=event.supersedes or known.supersedes,
    )


def _put(rows: list[_Open], mine: Sequence[_Open], like: Receipt, event: Event, index: int) -> None:
    """More of it: on its own instant, else on the latest; where there is none it has no effect."""
    at_us = event.expected_at_us
    if at_us is None:
        at_us = max((row.row.expected_at_us for row in mine), default=None)
    if at_us is not None:
        rows.append(
            _Open(replace(like, expected_at_us=at_us), event.quantity_micros, is_loaded=False, index=index)
        )


def _receive(mine: Sequence[_Open], event: Event) -> None:
    """Less of it: from its own instant, else from the earliest."""
    micros, at_us = -event.quantity_micros, event.expected_at_us
    for row in sorted(mine, key=lambda row: (row.row.expected_at_us != at_us, row.row.expected_at_us)):
        reduced = min(row.micros, micros)
        row.micros -= reduced
        micros -= reduced
