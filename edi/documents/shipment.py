"""Ship notices: 856 of X12, DESADV of EDIFACT, as neutral records.

The levels of an 856 (HL) are read one after another and not as a tree: what a shipment and an order say holds for the
items behind them, so a thousand nested levels cost a thousand segments.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from pricegrid.edi.documents.catalogue import item_numbers, lin_numbers
from pricegrid.edi.documents.sets import Document
from pricegrid.edi.syntax.model import Segment

KINDS: Final = frozenset({"856", "DESADV"})
CANCELLED: Final = frozenset({"01", "1", "03", "3"})
_ARRIVES_X12: Final = ("017", "067", "002")
"""DTM01 in order: estimated delivery, promised delivery, requested delivery."""
_ARRIVES_EDIFACT: Final = ("17", "358", "2")
_SHIPPED: Final = frozenset({"12", "46"})
"""6063: despatched, delivered."""


class Arrival(NamedTuple):
    """A quantity of an item that is on its way; texts, and where it stands."""

    numbers: tuple[tuple[str, str], ...]
    place: str
    quantity: str
    unit: str
    day: str
    time: str
    shipment: str
    order: str
    """The purchase order that it is part of."""
    line: str
    """And the line of that."""
    is_cancelled: bool
    segment: Segment


class _Notice:
    """What holds for the items that come next."""

    def __init__(self) -> None:
        self.shipment = self.purpose = self.place = self.order = self.line = self.order_line = ""
        self.numbers: tuple[tuple[str, str], ...] = ()
        self.moments: dict[str, tuple[str, str]] = {}

    def arrival(self, quantity: str, unit: str, order: tuple[str, ...], segment: Segment) -> Arrival:
        """The record of an item."""
        day, time = next((self.moments[each] for each in order if each in self.moments), ("", ""))
        return Arrival(
            self.numbers,
            self.place,
            quantity,
            unit,
            day,
            time,
            self.shipment,
            self.order,
            self.order_line or self.line,
            self.purpose in CANCELLED,
            segment,
        )


def read_shipment(document: Document) -> Iterator[Arrival]:
    """What a notice says is coming."""
    return _read_856(document.segments) if document.kind == "856" else _read_desadv(document.segments)


def _read_856(segments: Iterator[Segment]) -> Iterator[Arrival]:
    notice = _Notice()
    for segment in segments:
        tag, get = segment.tag, segment.get
        if tag == "BSN":
            notice.purpose, notice.shipment = get(1).strip(), get(2).strip()
        elif tag == "DTM":
            notice.moments[get(1).strip()] = (get(2), get(3))
        elif tag == "N1" and get(1).strip() == "ST":
            notice.place = get(4)
        elif tag == "PRF":
            notice.order = get(1).strip()
        elif tag == "LIN":
            notice.numbers, notice.line = lin_numbers(segment), get(1).strip()
        elif tag == "SN1":
            notice.line = notice.line or get(1).strip()
            yield notice.arrival(get(2), get(3), _ARRIVES_X12, segment)


def _read_desadv(segments: Iterator[Segment]) -> Iterator[Arrival]:
    notice = _Notice()
    whole_order = ""
    is_in_item = False
    pending: Segment | None = None
    for segment in segments:
        tag, get = segment.tag, segment.get
        if pending is not None and tag in {"LIN", "CPS", "UNS", "CNT"}:
            yield notice.arrival(pending.get(1, 2), pending.get(1, 3), _ARRIVES_EDIFACT, pending)
            pending = None
        if tag == "BGM":
            notice.shipment, notice.purpose = get(2).strip(), get(3).strip()
        elif tag == "DTM":
            moment = get(1, 2)
            notice.moments[get(1).strip()] = (moment[:8], moment[8:])
        elif tag == "NAD" and get(1).strip() in {"DP", "ST"}:
            notice.place = get(2)
        elif tag == "RFF" and get(1).strip() == "ON":
            notice.order, notice.order_line = get(1, 2).strip(), get(1, 3).strip()
            whole_order = whole_order if is_in_item else notice.order
        elif tag == "LIN":
            is_in_item = True
            notice.numbers, notice.line = tuple(item_numbers(segment)), get(1).strip()
            notice.order, notice.order_line = whole_order, ""
        elif tag == "PIA":
            notice.numbers = (*notice.numbers, *item_numbers(segment))
        elif tag == "QTY" and get(1).strip() in _SHIPPED:
            pending = segment
    if pending is not None:
        yield notice.arrival(pending.get(1, 2), pending.get(1, 3), _ARRIVES_EDIFACT, pending)
