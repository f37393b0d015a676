"""Prices of a catalogue: 832 of X12, PRICAT of EDIFACT, as neutral records.

Both say for whom and what the document is, then item by item its numbers and its prices. A price is complete when the
next one, the next item or the end comes, because what it holds for (RNG, DTM) stands behind it.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from pricegrid.edi.documents.sets import Document
from pricegrid.edi.syntax.model import Segment

KINDS: Final = frozenset({"832", "PRICAT"})


class Purpose(Enum):
    """What a document does to what was there."""

    WHOLE = "whole"
    CHANGE = "change"
    DELETE = "delete"


_PURPOSES_X12: Final = {
    "": Purpose.WHOLE,
    "00": Purpose.WHOLE,
    "05": Purpose.WHOLE,
    "02": Purpose.CHANGE,
    "04": Purpose.CHANGE,
    "03": Purpose.DELETE,
}
_PURPOSES_EDIFACT: Final = {
    "": Purpose.WHOLE,
    "9": Purpose.WHOLE,
    "5": Purpose.WHOLE,
    "2": Purpose.CHANGE,
    "4": Purpose.CHANGE,
    "3": Purpose.DELETE,
}
_BEGINS_X12: Final = frozenset({"007", "092", "196"})
_ENDS_X12: Final = frozenset({"036", "093", "197"})
_BEGINS_EDIFACT: Final = frozenset({"7", "157", "194"})
_ENDS_EDIFACT: Final = frozenset({"36", "206"})
_DELETED: Final = "2"
"""1229 of a LIN: the item is taken out."""


class Unread(NamedTuple):
    """A document that has no use: why."""

    reason: str


class Price(NamedTuple):
    """A price as the partner writes it; texts, and where it stands."""

    numbers: tuple[tuple[str, str], ...]
    """(qualifier, number) of the item."""
    code: str
    """Which price: CTP02, or 5125 of a PRI."""
    value: str
    basis: str
    """CTP09; "" for a document of EDIFACT."""
    per: str
    """For how many units it is, as a number: CTP11, or 5284 of a PRI."""
    unit: str
    quantity: str
    """From how many units on it holds."""
    valid_from: str
    valid_to: str
    currency: str
    purpose: Purpose
    oddity: str
    """What else the price has that changes it and is not read."""
    segment: Segment


def read_catalogue(document: Document) -> Iterator[Price | Unread]:
    """The prices of a document, or why it is not read."""
    return _read_832(document.segments) if document.kind == "832" else _read_pricat(document.segments)


def lin_numbers(segment: Segment, begin: int = 2) -> tuple[tuple[str, str], ...]:
    """Qualifiers and numbers of a LIN of X12, or of a PO1, where they begin further on."""
    get = segment.get
    return tuple([(get(at), get(at + 1)) for at in range(begin, len(segment.elements), 2) if get(at)])


def item_numbers(segment: Segment) -> list[tuple[str, str]]:
    """Qualifiers and numbers of a LIN or PIA of EDIFACT."""
    get = segment.get
    places = (3,) if segment.tag == "LIN" else range(2, len(segment.elements) + 1)
    return [(get(at, 2), get(at)) for at in places if get(at)]


def _read_832(segments: Iterator[Segment]) -> Iterator[Price | Unread]:
    purpose, currency = Purpose.WHOLE, ""
    numbers: tuple[tuple[str, str], ...] = ()
    document_dates, item_dates, dates = ("", ""), ("", ""), ("", "")
    pending: Segment | None = None
    is_in_item = False
    for segment in segments:
        tag = segment.tag
        if pending is not None and tag in {"CTP", "LIN", "CTT"}:
            yield _ctp(pending, numbers, dates, currency, purpose)
            pending, dates = None, item_dates
        if tag == "CTP":
            pending = segment
        elif tag == "LIN":
            numbers, is_in_item = lin_numbers(segment), True
            item_dates = dates = document_dates
        elif tag == "DTM":
            changed = _dates(dates if is_in_item else document_dates, segment.get(1), segment.get(2))
            if not is_in_item:
                document_dates = changed
            elif pending is None:
                item_dates = dates = changed
            else:
                dates = changed
        elif tag == "CUR":
            currency = segment.get(2).strip() or currency
        elif tag == "BCT":
            known = _PURPOSES_X12.get(segment.get(10).strip())
            if known is None:
                yield Unread(f"BCT10 is {segment.get(10)!r}: its purpose is not read")
                return
            purpose = known
    if pending is not None:
        yield _ctp(pending, numbers, dates, currency, purpose)


def _dates(before: tuple[str, str], qualifier: str, text: str) -> tuple[str, str]:
    qualifier = qualifier.strip()
    if qualifier in _BEGINS_X12:
        return text, before[1]
    return (before[0], text) if qualifier in _ENDS_X12 else before


def _ctp(
    segment: Segment,
    numbers: tuple[tuple[str, str], ...],
    dates: tuple[str, str],
    currency: str,
    purpose: Purpose,
) -> Price:
    get = segment.get
    oddity = ""
    if len(segment.elements) > 5:
        if get(6) or get(7):
            oddity = "CTP06 and CTP07: a price multiplier is not read"
        elif get(8):
            oddity = "CTP08: a rebate is not read"
    return Price(
        numbers,
        get(2),
        get(3),
        get(9),
        get(11),
        get(5),
        get(4),
        dates[0],
        dates[1],
        currency,
        purpose,
        oddity,
        segment,
    )


class _Item:
    """What is known of the item of a PRICAT that is being read."""

    def __init__(self, numbers: list[tuple[str, str]], purpose: Purpose, dates: tuple[str, str]) -> None:
        self.numbers = numbers
        self.purpose = purpose
        self.dates = dates


def _read_pricat(segments: Iterator[Segment]) -> Iterator[Price | Unread]:
    purpose, currency, dates = Purpose.WHOLE, "", ("", "")
    item: _Item | None = None
    pending: Segment | None = None
    extra: dict[str, str] = {}
    for segment in segments:
        tag, get = segment.tag, segment.get
        if pending is not None and item is not None and tag in {"PRI", "LIN", "UNS"}:
            yield _pri(pending, item, extra, currency)
            pending, extra = None, {}
        if tag == "BGM":
            known = _PURPOSES_EDIFACT.get(get(3).strip())
            if known is None:
                yield Unread(f"BGM 1225 is {get(3)!r}: its purpose is not read")
                return
            purpose = known
        elif tag == "LIN":
            own = Purpose.DELETE if get(2).strip() == _DELETED else purpose
            item = _Item(item_numbers(segment), own, dates)
        elif tag == "PIA" and item is not None:
            item.numbers += item_numbers(segment)
        elif tag == "PRI":
            pending = segment
        elif pending is not None:
            _add(extra, segment)
        elif tag == "CUX":
            currency = get(1, 2).strip() or currency
        elif tag == "DTM":
            begin, end = _period(segment)
            if item is not None:
                item.dates = (begin or item.dates[0], end or item.dates[1])
            else:
                dates = (begin or dates[0], end or dates[1])
    if pending is not None and item is not None:
        yield _pri(pending, item, extra, currency)


def _add(extra: dict[str, str], segment: Segment) -> None:
    """What stands behind a price and belongs to it."""
    if segment.tag == "RNG":
        extra.update({"unit": segment.get(2), "quantity": segment.get(2, 2)})
    elif segment.tag == "CUX":
        extra["currency"] = segment.get(1, 2).strip()
    elif segment.tag == "DTM":
        extra["from"], extra["to"] = _period(segment)


def _period(segment: Segment) -> tuple[str, str]:
    """Begin and end that a DTM says; blank where it says neither."""
    qualifier, text = segment.get(1).strip(), segment.get(1, 2)
    if segment.get(1, 3).strip() == "718" and "-" in text:
        begin, _, end = text.partition("-")
        return begin, end
    if qualifier in _BEGINS_EDIFACT:
        return text, ""
    return ("", text) if qualifier in _ENDS_EDIFACT else ("", "")


def _pri(segment: Segment, item: _Item, extra: dict[str, str], currency: str) -> Price:
    get = segment.get
    unit = get(1, 6)
    oddity = "RNG in another unit than PRI" if unit and extra.get("unit", unit) not in {unit, ""} else ""
    begin, end = extra.get("from") or item.dates[0], extra.get("to") or item.dates[1]
    return Price(
        tuple(item.numbers),
        get(1),
        get(1, 2),
        "",
        get(1, 5),
        unit or extra.get("unit", ""),
        extra.get("quantity", ""),
        begin,
        end,
        extra.get("currency") or currency,
        item.purpose,
        oddity,
        segment,
    )
