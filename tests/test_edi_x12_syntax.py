"""What X12 files of partners look like, and how each is read."""

import pytest

from tests.edi_files import ORDER, codes, headers, isa, parts_of, segments, texts, written, x12

READ = [
    ("GS", "PO", "PARTNER", "PRICEGRID", "20260102", "0930", "1", "X", "004010"),
    ("ST", "850", "0001"),
    *ORDER,
    ("SE", "5", "0001"),
    ("GE", "1", "1"),
    ("IEA", "1", "000000001"),
]


def read_back(data):
    parts = parts_of(data)
    return [texts(segment) for segment in segments(parts)], codes(parts)


@pytest.mark.parametrize("element", ["*", "|", "~", "+", "?", "\x87", "\x7f"])
@pytest.mark.parametrize("terminator", ["~", "!", "'", "$", "\n", "\r\n", "\r", "\x15"])
def test_separators_are_those_that_the_isa_shows(element, terminator):
    if element == terminator:
        return
    data = x12(("850", ORDER), element=element, terminator=terminator)

    found, faults = read_back(data)

    assert (found, faults) == (READ, [])
    (header,) = headers(parts_of(data))
    assert header.separators.element == element.encode("latin-1")
    assert header.separators.terminator == terminator.encode("latin-1")
    assert header.separators.component == b">"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r\n\r\n", "  \n", "\t"])
def test_line_ends_between_segments_are_not_part_of_them(line_end):
    assert read_back(x12(("850", ORDER), line_end=line_end)) == (READ, [])


@pytest.mark.parametrize(
    ("changed", "element"),
    [
        ({"ISA06": "PARTNER"}, 6),  # not filled up with blanks
        ({"ISA08": "A RECEIVER WITH A LONG NAME"}, 8),
        ({"ISA02": ""}, 2),
        ({"ISA09": "20260102"}, 9),
        ({"ISA13": "1"}, 13),
        ({"ISA10": "093000"}, 10),
    ],
)
@pytest.mark.parametrize("terminator", ["~", "\n", "\r\n"])
def test_an_isa_of_another_width_is_read_and_said(changed, element, terminator):
    data = x12(("850", ORDER), header=isa(**changed)[:15], terminator=terminator)

    parts = parts_of(data)

    assert [texts(segment) for segment in segments(parts)] == READ
    assert codes(parts) == ["HEADER_WIDTH"]
    assert (parts[1].tag, parts[1].element, parts[1].offset) == ("ISA", element, 0)
    assert headers(parts)[0].separators.terminator == terminator.encode()


@pytest.mark.parametrize(
    ("behind", "component", "terminator"),
    [
        (">~", b">", b"~"),
        (":~\r\n", b":", b"~"),
        ("~", b"", b"~"),  # no ISA16
        ("\n", b"", b"\n"),
        (">\n", b">", b"\n"),
        (">\r\n", b">", b"\r\n"),
        (">>~", b">", b"~"),  # ISA16 too wide
    ],
)
def test_terminator_and_component_separator_stand_between_the_isa_and_what_follows(
    behind, component, terminator
):
    rest = written(READ, terminator=terminator.decode())
    data = ("*".join(["ISA", *isa()[:15]]) + "*" + behind + rest).encode()

    parts = parts_of(data)

    (header,) = headers(parts)
    assert (header.separators.component, header.separators.terminator) == (component, terminator)
    assert [texts(segment) for segment in segments(parts)] == READ
    assert codes(parts) == ([] if component and behind != ">>~" else ["HEADER_WIDTH"])


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_file_wrapped_at_80_columns_is_read_without_its_line_ends(line_end):
    whole = x12(("850", ORDER))
    data = line_end.join(whole[at : at + 80] for at in range(0, len(whole), 80))

    found, faults = read_back(data)

    assert found == READ
    assert faults == ["LINE_ENDS_INSIDE"]


def test_a_line_end_inside_one_segment_is_taken_out_and_said_with_its_place():
    data = x12(("850", ORDER)).replace(b"CABLE-3", b"CAB\nLE-3")

    parts = parts_of(data)

    assert [texts(segment) for segment in segments(parts)] == READ
    (fault,) = [part for part in parts if hasattr(part, "code")]
    assert str(fault) == (
        f"LINE_ENDS_INSIDE at byte {data.index(b'PO1*')}, segment 5, PO1: line ends inside segments are taken out"
    )


@pytest.mark.parametrize("count", range(1, 6))
def test_a_file_may_hold_several_interchanges_each_with_its_own_separators(count):
    signs = [("*", "~"), ("|", "\n"), ("+", "'"), ("*", "\x15"), ("~", "!")][:count]
    data = b"\r\n".join(x12(("850", ORDER), element=element, terminator=end) for element, end in signs)

    parts = parts_of(data)

    assert codes(parts) == []
    assert [header.separators.element.decode() for header in headers(parts)] == [each for each, _ in signs]
    assert [texts(segment) for segment in segments(parts)] == READ * count


def test_a_byte_order_mark_is_skipped_and_said():
    found, faults = read_back(b"\xef\xbb\xbf" + x12(("850", ORDER)))

    assert (found, faults) == (READ, ["BYTE_ORDER_MARK"])


def test_wrong_counts_and_control_numbers_are_read_like_right_ones():
    """What they mean is decided by who checks the envelope."""
    data = x12(("850", ORDER)).replace(b"SE*5*0001", b"SE*7*0002").replace(b"IEA*1*000000001", b"IEA*3*5")

    found, faults = read_back(data)

    assert found == [*READ[:-3], ("SE", "7", "0002"), ("GE", "1", "1"), ("IEA", "3", "5")]
    assert faults == []


@pytest.mark.parametrize("end", [b"", b"\x1a", b"\n\n", b" \r\n\x1a"])
def test_the_last_terminator_may_be_missing(end):
    assert read_back(x12(("850", ORDER))[:-1] + end) == (READ, [])


def test_an_interchange_without_iea_ends_where_the_next_begins():
    data = x12(("850", ORDER)).replace(b"IEA*1*000000001~", b"") + x12(("850", ORDER), element="|")

    parts = parts_of(data)

    assert codes(parts) == ["NO_TRAILER"]
    assert [texts(segment) for segment in segments(parts)] == READ[:-1] + READ


@pytest.mark.parametrize("cut", [120, 150, 200])
def test_a_file_that_is_cut_off_says_where(cut):
    data = x12(("850", ORDER))[:cut]

    parts = parts_of(data)

    assert codes(parts) == ["UNFINISHED", "NO_TRAILER"]
    assert parts[-2].offset == data.rindex(b"~") + 1
    assert [texts(segment) for segment in segments(parts)] == READ[: len(segments(parts))]


def test_what_stands_outside_interchanges_is_skipped_and_said():
    data = b"Subject: orders\n\n" + x12(("850", ORDER)) + b"-- \nsent by mail" + x12(("850", ORDER))

    parts = parts_of(data)

    assert codes(parts) == ["UNKNOWN_DATA", "UNKNOWN_DATA"]
    assert [texts(segment) for segment in segments(parts)] == READ * 2


def test_repetition_is_known_from_version_00402_on():
    def first(version, sign):
        header = isa(ISA11=sign, ISA12=version)[:15]
        data = x12(("850", [("REF", "A^B>C^D")]), header=header)
        return next(each for each in segments(parts_of(data)) if each.tag == "REF").elements[0]

    assert first("00501", "^") == (("A",), ("B", "C"), ("D",))
    assert first("00401", "^") == ("A^B", "C^D")
    assert first("00401", "U") == ("A^B", "C^D")


def test_elements_and_components_are_counted_from_1_and_absent_ones_are_empty():
    (segment,) = [
        each for each in segments(parts_of(x12(("850", [("PO1", "1", "", "A>B>C")])))) if each.tag == "PO1"
    ]

    assert [segment.get(1), segment.get(2), segment.get(3), segment.get(3, 3)] == ["1", "", "A", "C"]
    assert [segment.get(4), segment.get(3, 4)] == ["", ""]


@pytest.mark.parametrize(("encoding", "faults"), [("utf-8", []), ("latin-1", ["ENCODING"])])
def test_texts_are_utf_8_or_else_latin_1(encoding, faults):
    data = x12(("850", [("PID", "F", "", "", "", "Schraube für Müller")]), encoding=encoding)

    parts = parts_of(data)

    assert codes(parts) == faults
    assert next(each for each in segments(parts) if each.tag == "PID").get(5) == "Schraube für Müller"


@pytest.mark.parametrize(
    ("broken", "code", "tag", "element"),
    [
        (("REF", "A\x00B"), "INVALID_CHARACTER", "REF", 1),
        (("REF", "A", "B\x07"), "INVALID_CHARACTER", "REF", 2),
        (("ref", "A"), "BAD_TAG", "", 0),
        (("", "A"), "BAD_TAG", "", 0),
        (("REFXX", "A"), "BAD_TAG", "REF", 0),
        (("REF", *["A"] * 300), "TOO_MANY_ELEMENTS", "REF", 0),
        (("REF", ">".join(["A"] * 300)), "TOO_MANY_ELEMENTS", "REF", 1),
        (("REF", "A" * 70_000), "SEGMENT_TOO_LONG", "", 0),
        (("REF", "A" * 140_000), "SEGMENT_TOO_LONG", "", 0),
    ],
)
@pytest.mark.parametrize("before", [0, 40])
def test_a_broken_segment_is_a_fault_with_its_place_and_the_others_are_read(
    broken, code, tag, element, before
):
    body = [*[("REF", "X")] * before, broken, *ORDER]

    data = x12(("850", body))
    parts = parts_of(data)

    (fault,) = [part for part in parts if hasattr(part, "code")]
    place = data.index(("*".join(broken) + "~").encode())
    assert (fault.code.value, fault.tag, fault.element) == (code, tag, element)
    assert (fault.offset, fault.segment) == (place, 4 + before)
    kept = [texts(each) for each in segments(parts)]
    assert [each for each in kept if each[0] in {"BEG", "PO1", "CTT"}] == list(ORDER)


@pytest.mark.parametrize(
    "data",
    [
        b"ISA*00*too short~",
        b"ISA" + b"*00" * 15 + b"~GS*PO*",
        b"ISA" + b"*" * 16 + b"**GS*PO~",
        b"ISA*" + b"x" * 2000,
    ],
)
def test_an_isa_that_can_t_be_read_is_a_fault_and_the_next_interchange_is_read(data):
    parts = parts_of(data + x12(("850", ORDER)))

    assert codes(parts)[0] == "BAD_HEADER"
    assert [texts(segment) for segment in segments(parts)] == READ


def test_offsets_and_numbers_are_those_of_the_file():
    data = x12(
        ("850", [*[("REF", "X", "é")] * 40, *[("REF", "Y")] * 9000]), encoding="utf-8", line_end="\r\n"
    )

    parts = parts_of(data)

    for at, segment in enumerate(segments(parts), 2):
        assert data[segment.offset :].startswith(segment.tag.encode())
        assert segment.number == at
