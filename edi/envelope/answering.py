"""Acknowledgements of what was checked: TA1 and 997 for X12, CONTRL for EDIFACT.

They are written in the separators of what they answer, with its version, sender and receiver turned round, and its
control number: the same file gets the same answer.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pricegrid.edi.envelope.model import CheckedGroup, CheckedInterchange, CheckedSet, Problem
from pricegrid.edi.syntax.model import Code, Dialect, Element, Fault, Header, Segment
from pricegrid.edi.syntax.writing import Writer

BAD_DATA_CHARACTERS_MAX: Final = 99
_NOT_ANSWERED: Final = frozenset({"FA", "CONTRL"})
"""An acknowledgement is never acknowledged."""
_SEGMENT_CODES: Final = {Code.BAD_TAG: "1"}
_ELEMENT_CODES: Final = {Code.INVALID_CHARACTER: "6", Code.TOO_MANY_ELEMENTS: "3", Code.SEGMENT_TOO_LONG: "5"}
_CONTRL_CODES: Final = {
    Code.INVALID_CHARACTER: "21",
    Code.TOO_MANY_ELEMENTS: "16",
    Code.SEGMENT_TOO_LONG: "39",
    Code.BAD_TAG: "12",
}
_OTHER: Final = "18"
_OF_UNB: Final = frozenset({Problem.NO_NUMBER, Problem.SENDER, Problem.RECEIVER})
_SET_TAGS: Final = {Problem.NO_SET_KIND: "UNH", Problem.SET_NUMBER: "UNH"}


def acknowledge(checked: CheckedInterchange, now: datetime) -> bytes:
    """The acknowledgement of an interchange; b"" where none is due."""
    if checked.header.dialect is Dialect.EDIFACT:
        kinds = {found.kind for group in checked.groups for found in group.sets}
        return b"" if kinds and kinds <= _NOT_ANSWERED else _contrl(checked, now)
    segments = [*_ta1(checked), *_groups(checked, now)]
    if not segments:
        return b""
    header = _isa(checked, now)
    groups = sum(segment.tag == "GS" for segment in segments)
    writer = Writer(header, b"\n" if header.separators.terminator not in {b"\n", b"\r\n", b"\r"} else b"")
    return writer.interchange([*segments, _plain("IEA", str(groups), header.segment.get(13))])


def _plain(tag: str, *texts: str) -> Segment:
    """A segment of simple elements, without empty ones at its end."""
    kept = list(texts)
    while kept and not kept[-1]:
        kept.pop()
    return Segment(tag, tuple((text,) for text in kept))


def _isa(checked: CheckedInterchange, now: datetime) -> Header:
    header = checked.header
    texts = [header.segment.get(at) for at in range(1, 17)]
    texts[4:8] = [_safe(texts[at], checked) for at in (6, 7, 4, 5)]
    for at in (5, 7):
        texts[at] = f"{texts[at]:<15}"
    texts[0:4] = ["00", " " * 10, "00", " " * 10]
    texts[8:10] = [f"{now:%y%m%d}", f"{now:%H%M}"]
    texts[12], texts[13] = f"{checked.control:0>9}", "0"
    texts[15] = header.separators.component.decode("latin-1") or ">"
    segment = Segment("ISA", tuple((text,) for text in texts), 0, 1)
    return Header(Dialect.X12, header.separators, segment, header.charset)


def _ta1(checked: CheckedInterchange) -> Iterator[Segment]:
    isa = checked.header.segment
    if checked.problems or isa.get(14).strip() == "1":
        code = checked.problems[0].x12 if checked.problems else "000"
        verdict = "R" if checked.problems else "A"
        yield _plain("TA1", f"{checked.control:0>9}", isa.get(9).strip(), isa.get(10).strip(), verdict, code)


def _groups(checked: CheckedInterchange, now: datetime) -> Iterator[Segment]:
    """A group of one 997 for each group; nothing where the whole interchange is rejected."""
    if checked.problems:
        return
    for number, group in enumerate(checked.groups, 1):
        if group.begin is None or group.kind in _NOT_ANSWERED:
            continue
        sender, receiver, version = (_safe(group.begin.get(at), checked) for at in (2, 3, 8))
        date, time, agency = f"{now:%Y%m%d}", f"{now:%H%M}", _safe(group.begin.get(7), checked) or "X"
        yield _plain("GS", "FA", receiver, sender, date, time, str(number), agency, version)
        body = list(_ak(group, checked))
        yield _plain("ST", "997", "0001")
        yield from body
        yield _plain("SE", str(len(body) + 2), "0001")
        yield _plain("GE", "1", str(number))


def _ak(group: CheckedGroup, checked: CheckedInterchange) -> Iterator[Segment]:
    yield _plain("AK1", _safe(group.kind, checked), _safe(group.control, checked))
    for found in group.sets:
        yield _plain("AK2", _safe(found.kind, checked), _safe(found.control, checked))
        for fault in found.faults:
            yield from _ak3(fault)
        codes = [problem.x12 for problem in found.problems][:5]
        yield _plain("AK5", "R" if codes else "A", *codes)
    stated = group.stated if group.stated.isdecimal() else str(len(group.sets))
    codes = [problem.x12 for problem in group.problems][:5]
    yield _plain("AK9", group.verdict, stated, str(len(group.sets)), str(group.accepted), *codes)


def _ak3(fault: Fault) -> Iterator[Segment]:
    yield _plain("AK3", fault.tag or "UNK", str(fault.segment), "", _SEGMENT_CODES.get(fault.code, "8"))
    if fault.element and fault.code in _ELEMENT_CODES:
        yield _plain("AK4", str(fault.element), "", _ELEMENT_CODES[fault.code])


def _safe(text: str, checked: CheckedInterchange) -> str:
    """A text that is given back, without what would be a separator in the answer."""
    signs = checked.header.separators
    unwanted = (signs.element + signs.component + signs.terminator + signs.repetition).decode("latin-1")
    clean = "".join(each if " " < each <= "~" and each not in unwanted else " " for each in text)
    return clean.strip()[:BAD_DATA_CHARACTERS_MAX]


def _contrl(checked: CheckedInterchange, now: datetime) -> bytes:
    unb = checked.header.segment
    body = [_uci(checked)]
    if not checked.problems:
        for group in checked.groups:
            if group.begin is not None:
                body.append(_ucf(group, group.begin))
            if not group.problems:
                body += [segment for found in group.sets for segment in _ucm(found)]
    version = ("CONTRL", "4", "1", "UN") if unb.get(1, 2) >= "4" else ("CONTRL", "D", "3", "UN")
    head = Segment("UNH", (("1",), version))
    tail = [_plain("UNT", str(len(body) + 2), "1"), _plain("UNZ", "1", checked.control)]
    elements = (_at(unb, 1), _at(unb, 3), _at(unb, 2), (f"{now:%y%m%d}", f"{now:%H%M}"), (checked.control,))
    own = Segment("UNB", elements, 0, 1)
    signs, charset = checked.header.separators, checked.header.charset
    charset = "latin-1" if charset == "ascii" else charset  # what was no ASCII was read as Latin-1
    answer = Header(Dialect.EDIFACT, signs, own, charset, has_una=True)
    return Writer(answer, b"\n").interchange([head, *body, *tail])


def _at(segment: Segment, place: int) -> Element:
    """An element as it is; of an absent one a blank form."""
    return segment.elements[place - 1] if place <= len(segment.elements) else ("",)


def _uci(checked: CheckedInterchange) -> Segment:
    unb = checked.header.segment
    parts = [(checked.control,), _at(unb, 2), _at(unb, 3), ("4" if checked.problems else "7",)]
    if checked.problems:
        problem = checked.problems[0]
        parts += [(problem.edifact,), ("UNB" if problem in _OF_UNB else "UNZ",)]
    return Segment("UCI", tuple(parts))


def _ucf(group: CheckedGroup, begin: Segment) -> Segment:
    verdict = "4" if group.problems else "7"
    parts = [(group.control,), _at(begin, 2), _at(begin, 3), (verdict,)]
    if group.problems:
        problem = group.problems[0]
        parts += [(problem.edifact,), ("UNG" if problem is Problem.NO_GROUP_NUMBER else "UNE",)]
    return Segment("UCF", tuple(parts))


def _ucm(found: CheckedSet) -> Iterator[Segment]:
    parts = [(found.control,), _at(found.begin, 2), ("4" if found.problems else "7",)]
    service = [problem for problem in found.problems if problem is not Problem.SET_SEGMENTS]
    if service:
        parts += [(service[0].edifact,), (_SET_TAGS.get(service[0], "UNT"),)]
    yield Segment("UCM", tuple(parts))
    for fault in found.faults:
        code = _CONTRL_CODES.get(fault.code, _OTHER)
        if fault.element:
            yield _plain("UCS", str(fault.segment))
            yield Segment("UCD", ((code,), (str(fault.element + 1),)))
        else:
            yield _plain("UCS", str(fault.segment), code)
