"""What is written is read again as it was, whatever the texts hold; what has no form is refused with its place."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.edi.syntax.model import (
    EDIFACT_SEPARATORS,
    X12_SEPARATORS,
    Dialect,
    Header,
    Repeated,
    Segment,
    Separators,
)
from pricegrid.edi.syntax.writing import Writer, WritingError
from tests.edi_files import codes, headers, isa, parts_of, segments
from tests.profiles import examples

SIGNS = "*|~+?!'$>:^\x15\x1c\x1d"
SEPARATORS = st.lists(st.sampled_from(SIGNS), min_size=5, max_size=5, unique=True)
PRINTABLE = st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f\x85\xa0")
PLAIN = st.characters(min_codepoint=32, max_codepoint=0x7E, exclude_characters=SIGNS)


def x12_header(separators):
    elements = isa(ISA16=separators.component.decode(), ISA12="00501", ISA11=separators.repetition.decode())
    segment = Segment("ISA", tuple((each,) for each in elements), 0, 1)
    return Header(Dialect.X12, separators, segment, "utf-8")


def edifact_header(separators, charset="UNOC", *, has_una=True):
    elements = ((charset, "4"), ("PARTNER", "14"), ("PRICEGRID",), ("260102", "0930"), ("1",))
    names = {"UNOC": "latin-1", "UNOY": "utf-8"}
    return Header(Dialect.EDIFACT, separators, Segment("UNB", elements, 0, 1), names[charset], has_una)


def elements(characters):
    components = st.lists(st.text(characters, max_size=8), min_size=1, max_size=4).map(tuple)
    return components | st.lists(components, min_size=2, max_size=3).map(Repeated)


def bodies(characters, tags):
    one = st.tuples(st.sampled_from(tags), st.lists(elements(characters), max_size=4).map(tuple))
    return st.lists(one, max_size=20)


def trailer(header):
    return Segment("IEA" if header.dialect is Dialect.X12 else "UNZ", (("1",), ("1",)))


def assert_identity(header, body):
    body = [("GS" if header.dialect is Dialect.X12 else "UNG", (("1",),)), *body]
    written = Writer(header).interchange([*(Segment(*each) for each in body), trailer(header)])
    parts = parts_of(written)
    (found,) = headers(parts)
    read = segments(parts)

    assert [(each.tag, each.elements) for each in read[:-1]] == body
    assert codes(parts) == []
    assert Writer(found).interchange(read) == written


@settings(max_examples=examples(40))
@given(st.data())
def test_x12_is_read_as_it_was_written(data):
    signs = data.draw(SEPARATORS)
    end = data.draw(st.sampled_from([signs[2], "\n", "\r\n", "\r"]))
    separators = Separators(*(each.encode() for each in (signs[0], signs[1], end, signs[3])))
    body = data.draw(bodies(PLAIN | st.sampled_from("éüß"), ("GS", "ST", "PO1", "B10", "SE")))

    assert_identity(x12_header(separators), body)


@settings(max_examples=examples(40))
@given(st.data())
def test_edifact_is_read_as_it_was_written_whatever_the_texts_hold(data):
    signs = data.draw(SEPARATORS)
    separators = Separators(
        *(each.encode() for each in (signs[0], signs[1], signs[2], signs[3])), release=signs[4].encode()
    )
    body = data.draw(bodies(PRINTABLE, ("UNH", "LIN", "FTX", "UNT")))

    assert_identity(edifact_header(separators, data.draw(st.sampled_from(["UNOC", "UNOY"]))), body)


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (Segment("PID", (("F",), ("a*b",))), "PID02: 'a*b' has the separator '*'"),
        (Segment("PID", (("F~",),)), "PID01: 'F~' has the separator '~'"),
        (Segment("PID", (("a", "b>"),)), "PID01: 'b>' has the separator '>'"),
        (Segment("PID", (("a\nb",),)), "PID01: 'a\\nb' has a line end"),
        (Segment("PID", (Repeated([("a",), ("b",)]),)), "PID01: is repeated, and the interchange has no"),
    ],
)
def test_what_x12_has_no_form_for_is_refused(segment, message):
    with pytest.raises(WritingError, match=f"^{re.escape(message)}"):
        Writer(x12_header(X12_SEPARATORS)).segment(segment)


def test_what_the_character_set_does_not_have_is_refused():
    with pytest.raises(WritingError, match=r"^FTX01: 'Ф' can't be written as latin-1"):
        Writer(edifact_header(EDIFACT_SEPARATORS)).segment(Segment("FTX", (("Ф",),)))


def test_line_ends_may_follow_each_segment():
    header = edifact_header(EDIFACT_SEPARATORS)

    written = Writer(header, b"\n").interchange([trailer(header)])

    assert written == b"UNA:+.? '\nUNB+UNOC:4+PARTNER:14+PRICEGRID+260102:0930+1'\nUNZ+1+1'\n"
