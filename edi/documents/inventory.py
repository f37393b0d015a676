"""Stock of a partner's places: 846 of X12, INVRPT of EDIFACT, as neutral records."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from pricegrid.edi.documents.catalogue import item_numbers, lin_numbers
from pricegrid.edi.documents.sets import Document
from pricegrid.edi.syntax.model import Segment

KINDS: Final = frozenset({"846", "INVRPT"})
_ON_HAND_X12: Final = frozenset({"17", "33"})
"""QTY01: on hand, and available for sale."""
_ON_HAND_EDIFACT: Final = frozenset({"145", "17"})
"""6063: actual stock, and on hand."""
_PLACES_EDIFACT: Final = frozenset({"14", "18"})
"""3227 of a LOC: of goods, and of a warehouse."""
_AS_OF: Final = frozenset({"137", "366", "179"})


class Figure(NamedTuple):
    """What is on hand of an item at a place; texts, and where it stands."""

    numbers: tuple[tuple[str, str], ...]
    place: str
    quantity: str
    unit: str
    day: str
    time: str
    segment: Segment


def read_inventory(document: Document) -> Iterator[Figure]:
    """The figures of a document."""
    return _read_846(document.segments) if document.kind == "846" else _read_invrpt(document.segments)


def _read_846(segments: Iterator[Segment]) -> Iterator[Figure]:
    numbers: tuple[tuple[str, str], ...] = ()
    place = item_place = day = time = unit = ""
    for segment in segments:
        tag, get = segment.tag, segment.get
        if tag == "BIA":
            day, time = get(4), get(5)
        elif tag == "LIN":
            numbers, item_place = lin_numbers(segment), ""
        elif tag == "N1" and get(4):
            if numbers:
                item_place = get(4)
            else:
                place = get(4)
        elif tag == "QTY" and get(1).strip() in _ON_HAND_X12:
            unit = get(3)
            yield Figure(numbers, item_place or place, get(2), unit, day, time, segment)
        elif tag == "SDQ":
            for at in range(3, len(segment.elements), 2):
                if get(at):
                    yield Figure(numbers, get(at), get(at + 1), get(1), day, time, segment)


def _read_invrpt(segments: Iterator[Segment]) -> Iterator[Figure]:
    numbers: list[tuple[str, str]] = []
    place = item_place = moment = ""
    is_in_item = False
    pending: Segment | None = None
    for segment in segments:
        tag, get = segment.tag, segment.get
        if pending is not None and tag in {"QTY", "LIN", "UNS"}:
            yield _figure(pending, numbers, item_place or place, moment)
            pending = None
        if tag == "DTM" and get(1).strip() in _AS_OF and not is_in_item:
            moment = get(1, 2)
        elif tag == "LIN":
            numbers, item_place, is_in_item = item_numbers(segment), "", True
        elif tag == "PIA":
            numbers = [*numbers, *item_numbers(segment)]
        elif (tag == "LOC" and get(1).strip() in _PLACES_EDIFACT) or (
            tag == "NAD" and get(1).strip() == "WH"
        ):
            if is_in_item:
                item_place = get(2)
            else:
                place = get(2)
        elif tag == "QTY" and get(1).strip() in _ON_HAND_EDIFACT:
            pending = segment
    if pending is not None:
        yield _figure(pending, numbers, item_place or place, moment)


def _figure(segment: Segment, numbers: list[tuple[str, str]], place: str, moment: str) -> Figure:
    get = segment.get
    return Figure(tuple(numbers), place, get(1, 2), get(1, 3), moment[:8], moment[8:], segment)
