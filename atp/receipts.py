"""What comes in: receipts and the ship notices that are parts of orders (A12), from rows and from events.

An order counts max(0, ordered - what its notices say - what of it was received). A notice is a receipt that says which
order it `supersedes`; its own line, where it has one, is that order's line. What the rules are, where the design leaves
a choice, so that nothing is promised twice:

- A notice that falls, by a delta or by a lower set, was received: its goods are on hand, or will be. The order stays
  lowered by as much. That a notice was cancelled is known when its order is told again, or loaded.
- A *set* of the order's line, like a load, says what is still to come of it, notices not yet received included: what
  was received before it is in it.
- A notice of a line that the order has not is one of the order as a whole. What is taken is the earliest first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from atp.events import Event, Kind
from atp.rows import Receipt

OrderLine = tuple[str, str]
"""(reference, line), '' for none."""


def net_receipts(receipts: Sequence[Receipt]) -> list[int]:
    """What each of a pair's receipts counts, in micros: an order less what its notices say."""
    left = [receipt.quantity_micros for receipt in receipts]
    if any(receipt.supersedes for receipt in receipts):
        for notice in receipts:
            if notice.supersedes:
                _take(receipts, left, (notice.supersedes, notice.line or ""), notice.quantity_micros)
    return left


def _take(receipts: Sequence[Receipt], left: list[int], order: OrderLine, micros: int) -> None:
    """Take so much off an order, the earliest first, and never more than it has."""
    reference, line = order
    rows = _earliest(receipts, lambda each: each.reference == reference and each.supersedes != reference)
    named = [at for at in rows if receipts[at].line == line]
    if line and (named or any(not receipts[at].line for at in rows)):
        rows = [*named, *(at for at in rows if not receipts[at].line)]
    for at in rows:
        taken = min(left[at], micros)
        left[at] -= taken
        micros -= taken


def _earliest(receipts: Sequence[Receipt], is_meant: Callable[[Receipt], bool]) -> list[int]:
    places = [at for at, each in enumerate(receipts) if is_meant(each)]
    return sorted(places, key=lambda at: (receipts[at].expected_at_us, at))


@dataclass(slots=True)
class _Open:
    """A quantity still to come."""

    row: Receipt
    micros: int
    is_loaded: bool

    def is_of(self, reference: str, line: str) -> bool:
        """Whether events of this order line speak of it; a loaded row or an event without a line of all of them."""
        own = self.row.line or ""
        same_line = own == line or (self.is_loaded and not (own and line))
        return (self.row.reference or "") == reference and same_line


def receipts_of(loaded: Sequence[Receipt], events: Sequence[Event]) -> tuple[Receipt, ...]:
    """The receipts of a pair: its loaded rows, and what the events (in the order in which they count) have made of
    them. Orders are lowered by what was received of their notices; `net_receipts` takes off what these still say."""
    spoken = {event.order_ref for event in events}
    rows = [_Open(row, row.quantity_micros, is_loaded=True) for row in loaded]
    received: dict[OrderLine, int] = {}
    for event in events:
        reference, line = event.order_ref, event.order_line
        mine = [row for row in rows if row.is_of(reference, line)]
        like = _like(mine, rows, event)
        for row in mine:
            row.row = replace(
                row.row, confidence_micros=like.confidence_micros, kind=like.kind, supersedes=like.supersedes
            )
        if event.kind is Kind.SET:
            latest_us = max((row.row.expected_at_us for row in mine), default=None)
            fallen = sum(row.micros for row in mine) - event.quantity_micros
            rows = [row for row in rows if row not in mine]
            at_us = event.expected_at_us if event.expected_at_us is not None else latest_us
            if at_us is not None:
                told = replace(like, expected_at_us=at_us)
                rows.append(_Open(told, event.quantity_micros, is_loaded=False))
            for order in [each for each in received if each[0] == reference]:
                if not line or not order[1] or order[1] == line:
                    del received[order]
            if like.supersedes and fallen > 0:
                order = (like.supersedes, line)
                received[order] = received.get(order, 0) + fallen
        elif event.quantity_micros >= 0:
            _put(rows, mine, like, event)
        else:
            _receive(mine, event)
            if like.supersedes:
                order = (like.supersedes, line)
                received[order] = received.get(order, 0) - event.quantity_micros
    found = [replace(row.row, quantity_micros=row.micros) for row in rows]
    left = [row.micros for row in rows]
    for order, micros in received.items():
        _take(found, left, order, micros)
    return tuple(
        replace(row, quantity_micros=micros)
        for row, micros in zip(found, left, strict=True)
        if micros > 0 or (row.reference or "") not in spoken
    )


def _like(mine: Sequence[_Open], rows: Sequence[_Open], event: Event) -> Receipt:
    """What is known of an order line but for dates and quantities, with what the event says of it."""
    others = (row for row in rows if (row.row.reference or "") == event.order_ref)
    known = next((row.row for row in (*mine, *others)), Receipt(0, 0))
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


def _put(rows: list[_Open], mine: Sequence[_Open], like: Receipt, event: Event) -> None:
    """More of it: on its own instant, else on the latest; where there is none it says nothing."""
    at_us = event.expected_at_us
    if at_us is None:
        at_us = max((row.row.expected_at_us for row in mine), default=None)
    if at_us is not None:
        rows.append(_Open(replace(like, expected_at_us=at_us), event.quantity_micros, is_loaded=False))


def _receive(mine: Sequence[_Open], event: Event) -> None:
    """Less of it: from its own instant, else from the earliest."""
    micros, at_us = -event.quantity_micros, event.expected_at_us
    for row in sorted(mine, key=lambda row: (row.row.expected_at_us != at_us, row.row.expected_at_us)):
        taken = min(row.micros, micros)
        row.micros -= taken
        micros -= taken
