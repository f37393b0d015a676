"""What EDIFACT files of partners look like, and how each is read."""

import pytest

from pricegrid.edi.syntax.model import Repeated
from tests.edi_files import codes, edifact, headers, parts_of, segments

BODY = ("BGM+220+PO-1+9", "LIN+1++4012345678901:EN", "QTY+21:12", "UNS+S")
READ = [
    ("UNH", (("1",), ("ORDERS", "D", "96A", "UN"))),
    ("BGM", (("220",), ("PO-1",), ("9",))),
    ("LIN", (("1",), ("",), ("4012345678901", "EN"))),
    ("QTY", (("21", "12"),)),
    ("UNS", (("S",),)),
    ("UNT", (("6",), ("1",))),
    ("UNZ", (("1",), ("1",))),
]


def read_back(data):
    parts = parts_of(data)
    return [(each.tag, each.elements) for each in segments(parts)], codes(parts)


def text_of(data, tag="FTX"):
    return next(each for each in segments(parts_of(data)) if each.tag == tag).elements[0]


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("una", ["", "UNA:+.? '", "UNA:+,? '"])
def test_separators_are_those_of_the_standard_or_of_the_una(una, line_end):
    data = edifact(("ORDERS", BODY), una=una).replace(b"'", b"'" + line_end.encode())

    assert read_back(data) == (READ, [])
    (header,) = headers(parts_of(data))
    assert header.segment.get(2) == "PARTNER"
    assert header.separators.decimal == (una[5:6] or ".").encode()
    assert header.has_una == bool(una)


@pytest.mark.parametrize("element", ["*", "|", "\x1d"])
@pytest.mark.parametrize("terminator", ["~", "\x1c", "\n"])
def test_a_una_may_declare_any_characters(element, terminator):
    plain = edifact(("ORDERS", BODY)).decode("latin-1")
    told = plain.replace("+", element).replace("'", terminator).replace(":", ">")
    data = f"UNA>{element}.\\ {terminator}{told}".encode("latin-1")

    assert read_back(data) == (READ, [])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("FTX+a?+b", ("a+b",)),
        ("FTX+a?:b:c", ("a:b", "c")),
        ("FTX+what??", ("what?",)),
        ("FTX+what??:b", ("what?", "b")),
        ("FTX+it?'s", ("it's",)),
        ("FTX+?'??'", ("'?",)[:1]),
        ("FTX+a?b", ("ab",)),
    ],
)
@pytest.mark.parametrize("before", [0, 40])
def test_a_released_separator_is_part_of_the_text(written, read, before):
    if written.endswith("??'"):
        written = written[:-1]
    data = edifact(("ORDERS", (*["RFF+X"] * before, written, *BODY)))

    assert text_of(data) == read
    assert codes(parts_of(data)) == []


def test_an_una_without_release_character_releases_nothing():
    data = edifact(("ORDERS", ("FTX+what?+b", *BODY)), una="UNA:+.  '")

    assert text_of(data) == ("what?",)


@pytest.mark.parametrize(
    ("unb", "una", "read"),
    [
        ("UNB+UNOC:4+A+B+260102:0930", "", Repeated([("a",), ("b", "c")])),
        ("UNB+UNOC:4+A+B+260102:0930", "UNA:+.?*'", Repeated([("a",), ("b", "c")])),
        ("UNB+UNOC:4+A+B+260102:0930", "UNA:+.? '", ("a*b", "c")),
        ("UNB+UNOC:3+A+B+260102:0930", "", ("a*b", "c")),
        ("UNB+UNOC:3+A+B+260102:0930", "UNA:+.?*'", ("a*b", "c")),
    ],
)
def test_repetition_is_known_from_syntax_version_4_on(unb, una, read):
    assert text_of(edifact(("ORDERS", ("FTX+a*b:c", *BODY)), unb=unb, una=una)) == read


@pytest.mark.parametrize(
    ("syntax", "raw", "text", "faults"),
    [
        ("UNOC", b"M\xfcller", "Müller", []),
        ("UNOD", b"\xb1", "ą", []),
        ("UNOE", b"\xc4", "Ф", []),
        ("UNOY", "Müller".encode(), "Müller", []),
        ("UNOY", b"M\xfcller", "Müller", ["ENCODING"]),
        ("UNOA", b"M\xfcller", "Müller", ["ENCODING"]),
        ("XXXX", b"M\xfcller", "Müller", []),
    ],
)
def test_the_unb_names_the_character_set(syntax, raw, text, faults):
    unb = f"UNB+{syntax}:3+A+B+260102:0930"
    data = edifact(("ORDERS", ("FTX+@", *BODY)), unb=unb).replace(b"@", raw)

    assert text_of(data) == (text,)
    assert codes(parts_of(data)) == faults


def test_groups_and_several_interchanges_of_both_dialects_are_read():
    group = edifact(("ORDERS", BODY)).replace(b"UNH+", b"UNG+ORDERS+A+B+260102:0930+7+UN+D:96A'UNH+")
    grouped = group.replace(b"UNZ+", b"UNE+1+7'UNZ+")

    found, faults = read_back(grouped + b"\n" + edifact(("ORDERS", BODY), una="UNA:+.? '"))

    assert [tag for tag, _ in found][:2] == ["UNG", "UNH"]
    assert found[-7:] == READ
    assert faults == []


def test_a_file_wrapped_at_80_columns_is_read_without_its_line_ends():
    whole = edifact(("ORDERS", BODY))
    data = b"\n".join(whole[at : at + 80] for at in range(0, len(whole), 80))

    assert read_back(data) == (READ, ["LINE_ENDS_INSIDE"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"UNA::.? 'UNB+UNOA:1'", ["BAD_HEADER", "UNKNOWN_DATA"]),
        (b"UNA:+", ["BAD_HEADER", "UNKNOWN_FORMAT"]),
        (b"UNA:+.? 'UNH+1'", ["BAD_HEADER", "UNKNOWN_FORMAT"]),
        (b"UNB+UN" + b"A" * 70_000 + b"'", ["SEGMENT_TOO_LONG"]),
        (b"UNB+UN" + b":" * 300 + b"'", ["BAD_HEADER"]),
    ],
)
def test_a_header_that_can_t_be_read_is_a_fault_with_its_place(data, expected):
    parts = parts_of(data)

    assert codes(parts)[: len(expected)] == expected
    assert parts[0].offset in {0, 9}


def test_an_interchange_without_unz_ends_where_the_next_begins():
    one, other = edifact(("ORDERS", BODY)), edifact(("ORDERS", BODY), una="UNA:+.? '")
    data = one[: one.index(b"UNZ")] + other

    found, faults = read_back(data)

    assert found == READ[:-1] + READ
    assert faults == ["NO_TRAILER"]
