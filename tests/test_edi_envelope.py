"""Envelopes: what a wrong count, number or nesting rejects, what goes on, and what partners are told of it."""

import io
from datetime import UTC, datetime

import pytest

from pricegrid.edi.envelope import checking, model
from pricegrid.edi.envelope.answering import acknowledge
from pricegrid.edi.envelope.checking import check
from pricegrid.edi.envelope.model import CheckedInterchange
from pricegrid.edi.syntax.reading import read
from pricegrid.service.cli.main import main
from tests.edi_files import ORDER, edifact, isa, parts_of, segments, texts, x12

NOW = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
MESSAGE = ("BGM+220+PO-1+9", "UNS+S")
SETS = [("850", ORDER)] * 3
X12 = x12(*SETS)
EDIFACT = edifact(*[("ORDERS", MESSAGE)] * 3)
GROUPED = (
    edifact(*[("ORDERS", MESSAGE)] * 3)
    .replace(b"UNH+1+", b"UNG+ORDERS+A+B+260102:0930+7+UN+D:96A'UNH+1+")
    .replace(b"UNZ+3+", b"UNE+3+7'UNZ+1+")
)
ACCEPTED = ("", ["A", "A", "A"])


def checked(data):
    return list(check(read(io.BytesIO(data))))


def outcome(data):
    """The names of the interchange's and group's problems, and each set: A or the names of its problems."""
    (found,) = checked(data)
    problems = [each.name for each in found.problems]
    problems += [each.name for group in found.groups for each in group.problems]
    sets = [(group, each) for group in found.groups for each in group.sets]
    told = [
        "A" if found.is_accepted(group, each) else " ".join(problem.name for problem in each.problems) or "R"
        for group, each in sets
    ]
    return " ".join(problems), told


def answer(data):
    """The acknowledgement's segments behind its header, simple elements joined."""
    (found,) = checked(data)
    return ["*".join(texts(each)) for each in segments(parts_of(acknowledge(found, NOW)))]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"", b"", ACCEPTED),
        (b"SE*5*0002", b"SE*6*0002", ("", ["A", "SET_COUNT", "A"])),
        (b"SE*5*0002", b"SE*x*0002", ("", ["A", "SET_COUNT", "A"])),
        (b"SE*5*0002", b"SE*5*2", ("", ["A", "SET_CONTROL", "A"])),
        (b"SE*5*0002", b"SE*4*0003", ("", ["A", "SET_COUNT SET_CONTROL", "A"])),
        (b"SE*5*0002~", b"", ("", ["A", "NO_SET_TRAILER", "A"])),
        (b"SE*5*0003~", b"", ("", ["A", "A", "NO_SET_TRAILER"])),
        (b"ST*850*0002", b"ST**0002", ("", ["A", "NO_SET_KIND", "A"])),
        (b"0002", b"0001", ("", ["A", "SET_NUMBER", "A"])),
        (b"0002", b"", ("", ["A", "SET_NUMBER", "A"])),
        (b"SE*5*0002", b"R\x00F*1~SE*6*0002", ("", ["A", "SET_SEGMENTS", "A"])),
        (b"GE*3*1", b"GE*2*1", ("GROUP_COUNT", ["R", "R", "R"])),
        (b"GE*3*1", b"GE*3*2", ("GROUP_CONTROL", ["R", "R", "R"])),
        (b"GE*3*1", b"GE*03*001", ACCEPTED),
        (b"GE*3*1~", b"", ("NO_GROUP_TRAILER", ["R", "R", "R"])),
        (b"0930*1*X", b"0930**X", ("NO_GROUP_NUMBER GROUP_CONTROL", ["R", "R", "R"])),
        (b"IEA*1*", b"IEA*2*", ("COUNT", ["R", "R", "R"])),
        (b"IEA*1*000000001", b"IEA*1*000000002", ("CONTROL", ["R", "R", "R"])),
        (b"IEA*1*000000001", b"IEA*1*1", ACCEPTED),
        (b"IEA*1*000000001~", b"", ("NO_TRAILER", ["R", "R", "R"])),
        (b"IEA*", b"REF*1~IEA*", ("STRUCTURE", ["R", "R", "R"])),
        (b"ST*850*0001", b"ref~ST*850*0001", ("STRUCTURE", ["R", "R", "R"])),
        (b"GS*", b"TA1*1*260102*0930*A*000~GS*", ACCEPTED),
    ],
)
def test_what_is_wrong_in_x12_rejects_what_it_is_about(old, new, expected):
    assert outcome(X12.replace(old, new)) == expected


@pytest.mark.parametrize("data", [EDIFACT, GROUPED], ids=["plain", "grouped"])
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"", b"", ACCEPTED),
        (b"UNT+4+2", b"UNT+5+2", ("", ["A", "SET_COUNT", "A"])),
        (b"UNT+4+2", b"UNT+4+7", ("", ["A", "SET_CONTROL", "A"])),
        (b"UNT+4+2'", b"", ("", ["A", "NO_SET_TRAILER", "A"])),
        (b"UNH+2+ORDERS:D:96A:UN", b"UNH+2", ("", ["A", "NO_SET_KIND", "A"])),
        (b"'UNZ+", b"'FTX+A'UNZ+", ("STRUCTURE", ["R", "R", "R"])),
    ],
)
def test_what_is_wrong_in_edifact_rejects_what_it_is_about(data, old, new, expected):
    assert outcome(data.replace(old, new, 1)) == expected


@pytest.mark.parametrize("data", [EDIFACT, GROUPED], ids=["plain", "grouped"])
def test_the_control_number_of_a_unz_is_that_of_its_unb(data):
    assert outcome(data[: -len("1'")] + b"2'") == ("CONTROL", ["R", "R", "R"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"UNE+3+7", b"UNE+2+7", ("GROUP_COUNT", ["R", "R", "R"])),
        (b"UNE+3+7", b"UNE+3+8", ("GROUP_CONTROL", ["R", "R", "R"])),
        (b"UNE+3+7'", b"", ("NO_GROUP_TRAILER", ["R", "R", "R"])),
        (b"UNZ+1", b"UNZ+3", ("COUNT", ["R", "R", "R"])),
    ],
)
def test_groups_of_edifact_are_counted(old, new, expected):
    assert outcome(GROUPED.replace(old, new)) == expected


def test_a_rejected_group_leaves_the_others():
    body = X12[X12.index(b"GS*") : X12.index(b"IEA")]
    data = X12.replace(b"IEA*1", body.replace(b"GE*3*1", b"GE*9*1") + b"IEA*2")

    (found,) = checked(data)

    assert [group.verdict for group in found.groups] == ["A", "R"]
    assert not found.is_rejected


def test_a_rejected_interchange_leaves_the_others():
    first, second = checked(X12.replace(b"IEA*1", b"IEA*3") + x12(("850", ORDER), control="000000002"))

    assert (first.is_rejected, second.is_rejected) == (True, False)
    assert [found.control for found in (first, second)] == ["000000001", "000000002"]


def test_faults_are_counted_from_the_header_of_their_set():
    (found,) = checked(x12(("850", ORDER), ("850", [("REF", "A\x00")])))

    (fault,) = found.groups[0].sets[1].faults
    assert (fault.segment, fault.tag, fault.element) == (2, "REF", 1)


def test_a_997_says_what_became_of_each_set():
    data = X12.replace(b"SE*5*0002", b"SE*6*0002").replace(b"SE*5*0003", b"REF*A\x07~re>~SE*7*0003")

    assert answer(data) == [
        "GS*FA*PRICEGRID*PARTNER*20260105*1430*1*X*004010",
        "ST*997*0001",
        "AK1*PO*1",
        "AK2*850*0001",
        "AK5*A",
        "AK2*850*0002",
        "AK5*R*4",
        "AK2*850*0003",
        "AK3*REF*5**8",
        "AK4*1**6",
        "AK3*UNK*6**1",
        "AK5*R*5",
        "AK9*P*3*3*1",
        "SE*13*0001",
        "GE*1*1",
        "IEA*1*000000001",
    ]


@pytest.mark.parametrize(
    ("old", "new", "ak9"),
    [
        (b"", b"", "AK9*A*3*3*3"),
        (b"SE*5*", b"SE*6*", "AK9*R*3*3*0"),
        (b"GE*3*1", b"GE*2*1", "AK9*R*2*3*0*5"),
        (b"GE*3*1", b"GE*3*2", "AK9*R*3*3*0*4"),
        (b"GE*3*1~", b"", "AK9*R*3*3*0*3"),
    ],
)
def test_ak9_counts_the_sets_and_says_why_a_group_is_rejected(old, new, ak9):
    assert ak9 in answer(X12.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"IEA*1*000000001", b"IEA*1*000000002", "001"),
        (b"IEA*1", b"IEA*4", "021"),
        (b"IEA*1*000000001~", b"", "023"),
        (b"IEA*1", b"REF*1~IEA*1", "022"),
    ],
)
def test_a_ta1_rejects_an_interchange_and_no_997_comes_with_it(old, new, code):
    assert answer(X12.replace(old, new)) == [f"TA1*000000001*260102*0930*R*{code}", "IEA*0*000000001"]


def test_a_ta1_accepts_where_the_sender_asks_for_one():
    data = x12(*SETS, header=isa(ISA14="1")[:15])

    assert answer(data)[0] == "TA1*000000001*260102*0930*A*000"
    assert answer(data)[-1] == "IEA*1*000000001"


def test_the_answer_goes_back_in_the_separators_of_the_question():
    data = x12(*SETS, element="|", terminator="\x15", component=":")
    (found,) = checked(data)

    told = acknowledge(found, NOW)

    assert told.startswith(
        b"ISA|00|          |00|          |ZZ|PRICEGRID      |ZZ|PARTNER        |260105|1430|U|"
    )
    assert b"|0|P|:\x15\nGS|FA|" in told
    assert outcome(told) == ("", ["A"])


def test_what_is_given_back_has_no_separator_and_no_control_character():
    data = X12.replace(b"ST*850*0002", b"ST*8>0*0\x07\xe92")

    assert "AK2*8*0  2" in answer(data)


def test_a_contrl_says_what_became_of_each_message():
    data = EDIFACT.replace(b"UNT+4+2", b"UNT+5+2").replace(b"UNT+4+3", b"FTX+A:\x07'ftx'UNT+6+3")
    (found,) = checked(data)

    assert acknowledge(found, NOW).decode().splitlines() == [
        "UNA:+.? '",
        "UNB+UNOC:3+PRICEGRID:14+PARTNER:14+260105:1430+1'",
        "UNH+1+CONTRL:D:3:UN'",
        "UCI+1+PARTNER:14+PRICEGRID:14+7'",
        "UCM+1+ORDERS:D:96A:UN+7'",
        "UCM+2+ORDERS:D:96A:UN+4+29+UNT'",
        "UCM+3+ORDERS:D:96A:UN+4'",
        "UCS+4'",
        "UCD+21+2'",
        "UCS+5+12'",
        "UNT+9+1'",
        "UNZ+1+1'",
    ]


def test_a_contrl_rejects_an_interchange_and_a_group():
    def told(data):
        (found,) = checked(data)
        return [line for line in acknowledge(found, NOW).decode().splitlines() if line[:3] in {"UCI", "UCF"}]

    assert told(EDIFACT.replace(b"UNZ+3", b"UNZ+4")) == ["UCI+1+PARTNER:14+PRICEGRID:14+4+29+UNZ'"]
    assert told(GROUPED.replace(b"UNE+3", b"UNE+4"))[1:] == ["UCF+7+A+B+4+29+UNE'"]


@pytest.mark.parametrize(
    "data",
    [x12(("997", [("AK9", "A", "1", "1", "1")]), kind="FA"), edifact(("CONTRL", ("UCI+1+A+B+7",)))],
)
def test_acknowledgements_are_not_acknowledged(data):
    (found,) = checked(data)

    assert acknowledge(found, NOW) == b""


def test_an_interchange_of_too_many_sets_is_rejected_and_keeps_no_more(monkeypatch):
    monkeypatch.setattr(checking, "SETS_MAX", 4)
    (found,) = checked(x12(*[("850", ORDER)] * 9))

    assert [each.name for each in found.problems] == ["TOO_MANY_SETS"] or found.problems[0] is (
        model.Problem.TOO_MANY_SETS
    )
    assert len(found.groups[0].sets) < 5


def test_faults_are_kept_up_to_a_bound_and_counted_beyond(monkeypatch):
    monkeypatch.setattr(checking, "FAULTS_MAX", 3)
    (found,) = checked(x12(("850", [("ref",)] * 10)))

    assert isinstance(found, CheckedInterchange)
    assert (len(found.groups[0].sets[0].faults), found.faults_left_out) == (3, 7)


def test_the_command_prints_verdicts_writes_the_answer_and_ends_with_1_if_something_is_rejected(
    tmp_path, capsys
):
    right, wrong, out = tmp_path / "right.edi", tmp_path / "wrong.edi", tmp_path / "ack.edi"
    right.write_bytes(X12)
    wrong.write_bytes(b"\xef\xbb\xbf" + X12.replace(b"SE*5*0002", b"SE*6*0002") + EDIFACT)

    assert main(["edi", "check", str(right)]) == 0
    assert main(["edi", "check", str(wrong), "--ack", str(out)]) == 1
    assert capsys.readouterr().out.splitlines()[-9:] == [
        "interchange 000000001 from ZZ:PARTNER to ZZ:PRICEGRID, X12 00401: accepted",
        "  group PO 1: P, 2 of 3 sets accepted",
        "    850 0001: accepted",
        "    850 0002: rejected (SE counts other segments)",
        "    850 0003: accepted",
        "interchange 1 from 14:PARTNER to 14:PRICEGRID, EDIFACT UNOC:3: accepted",
        "    ORDERS 1: accepted",
        "    ORDERS 2: accepted",
        "    ORDERS 3: accepted",
    ]
    assert [each.header.dialect.value for each in checked(out.read_bytes())] == ["x12", "edifact"]
    assert main(["edi", "check", str(tmp_path / "none.edi")]) == 2
