"""The beginnings of interchanges: how an ISA, or a UNA, says which bytes separate the rest.

The standard gives an ISA 106 bytes and puts the element separator at byte 3, the component separator at 104 and the
segment terminator at 105. Partners send ISAs that are shorter, longer or wrapped, so only byte 3 is taken from its
place; the others are what stands behind the sixteenth element separator and before the next segment.
"""

import re
from dataclasses import dataclass
from typing import Final

from pricegrid.edi.syntax.model import (
    EDIFACT_SEPARATORS,
    Code,
    Dialect,
    Fault,
    Header,
    Segment,
    Separators,
)
from pricegrid.edi.syntax.source import Source

ISA_WIDTHS: Final = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1, 1)
UNA_BYTES: Final = 9
_ISA_BYTES_MAX: Final = 512
_BEHIND_BYTES_MAX: Final = 16
_REPETITION_SINCE: Final = "00402"
"""From this ISA12 on, ISA11 is the repetition separator; before it is a letter for the standard."""
CHARSETS: Final = {
    "UNOA": "ascii",
    "UNOB": "ascii",
    "UNOC": "latin-1",
    "UNOD": "iso8859-2",
    "UNOE": "iso8859-5",
    "UNOF": "iso8859-7",
    "UNOG": "iso8859-3",
    "UNOH": "iso8859-4",
    "UNOI": "iso8859-6",
    "UNOJ": "iso8859-8",
    "UNOK": "iso8859-9",
    "UNOW": "utf-8",
    "UNOY": "utf-8",
}
"""Of the syntax identifier of a UNB."""


@dataclass(frozen=True, slots=True)
class FoundHeader:
    """A header that could be read, where what follows it begins, and what is odd about it."""

    header: Header
    length: int
    faults: tuple[Fault, ...]


def read_isa(source: Source) -> FoundHeader | Fault:
    """The ISA that comes next; nothing is taken."""
    raw = source.peek(_ISA_BYTES_MAX)
    element = raw[3:4]
    elements, place, is_wrapped = _isa_elements(raw, element)
    if len(elements) < len(ISA_WIDTHS) - 1:
        return _bad(source, f"an ISA of {len(elements) + 1} elements, not 16")
    found = _behind_isa(raw[place:], element)
    if found is None:
        return _bad(source, "an ISA whose segment terminator can't be told")
    component, terminator, wide, taken = found
    elements.append(component or b"")
    faults = [
        _at(source, Code.HEADER_WIDTH, f"{len(value)} characters, not {width}", at)
        for at, (value, width) in enumerate(zip(elements, ISA_WIDTHS, strict=True), 1)
        if len(value) != width
    ]
    if wide:
        faults.append(_at(source, Code.HEADER_WIDTH, "more than one character", len(ISA_WIDTHS)))
    if is_wrapped:
        faults.append(_at(source, Code.LINE_ENDS_INSIDE, "line ends inside segments are taken out"))
    texts = [value.decode("latin-1") for value in elements]
    repeats = texts[11] >= _REPETITION_SINCE and len(elements[10]) == 1 and not texts[10].isalnum()
    separators = Separators(element, component, terminator, elements[10] if repeats else b"")
    if len({element, component, terminator}) < 3:
        return _bad(source, "an ISA that gives two separators the same character")
    segment = Segment("ISA", tuple((text,) for text in texts), source.offset, 1)
    header = Header(Dialect.X12, separators, segment, "utf-8")
    return FoundHeader(header, place + taken, tuple(faults))


def _isa_elements(raw: bytes, element: bytes) -> tuple[list[bytes], int, bool]:
    """ISA01 to ISA15 without line ends, where ISA16 begins, and whether there were line ends."""
    elements: list[bytes] = []
    place, is_wrapped = 4, False
    while len(elements) < len(ISA_WIDTHS) - 1:
        end = raw.find(element, place)
        if end < 0:
            break
        value = raw[place:end]
        if re.search(rb"(?:GS|IEA|TA1)\Z", value) and len(elements) > 11:  # the next segment already
            break
        whole = value.replace(b"\r", b"").replace(b"\n", b"")
        is_wrapped = is_wrapped or whole != value
        elements.append(whole)
        place = end + 1
    return elements, place, is_wrapped


def _behind_isa(rest: bytes, element: bytes) -> tuple[bytes, bytes, bool, int] | None:
    """Component separator (b"" for an empty ISA16), terminator, whether ISA16 is too wide, and how many bytes they
    take."""
    after = re.search(rb"(?:GS|TA1|IEA|ISA)" + re.escape(element), rest[: _BEHIND_BYTES_MAX + 4])
    if after is None:  # what follows is no segment that may follow: the places of the standard
        return (rest[:1], rest[1:2], False, 2) if len(rest) >= 2 and element not in rest[:2] else None
    head = rest[: after.start()]
    if not head or element in head:
        return None
    if head.strip(b"\r\n") == b"":
        return b"", _line_end(head), False, len(head)
    if head[1:].strip(b"\r\n") == b"" and len(head) > 1:
        return head[:1], _line_end(head[1:]), False, len(head)
    visible = head.rstrip(b"\r\n \t")
    component = visible[:1] if len(visible) > 1 else b""
    return component, visible[-1:], len(visible) > 2, len(head)


def _line_end(raw: bytes) -> bytes:
    return b"\r\n" if raw.startswith(b"\r\n") else raw[:1]


def read_una(source: Source) -> Separators | Fault:
    """The separators that the UNA which comes next declares; those of the standard if there is none. Nothing is
    taken."""
    raw = source.peek(UNA_BYTES)
    if not raw.startswith(b"UNA"):
        return EDIFACT_SEPARATORS
    if len(raw) < UNA_BYTES:
        return _bad(source, "a UNA that ends too early", "UNA")
    component, element, decimal, release, repetition, terminator = (
        raw[at : at + 1] for at in range(3, UNA_BYTES)
    )
    used = [each for each in (component, element, release, repetition, terminator) if each != b" "]
    if len(set(used)) < len(used) or any(each.isalnum() for each in used):
        return _bad(
            source, f"a UNA of {raw[3:]!r} gives two separators the same character, or a letter", "UNA"
        )
    return Separators(
        element,
        component,
        terminator,
        b"" if repetition == b" " else repetition,
        b"" if release == b" " else release,
        decimal,
    )


def _bad(source: Source, message: str, tag: str = "ISA") -> Fault:
    return Fault(Code.BAD_HEADER, message, source.offset, tag, 1)


def _at(source: Source, code: Code, message: str, element: int = 0) -> Fault:
    return Fault(code, message, source.offset, "ISA", 1, element)
