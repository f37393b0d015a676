"""Orders of partners as they are understood: lines, expected prices, stores; a bad line stays in its order."""

import io
from decimal import Decimal

import pytest

from pricegrid.edi.documents import order
from pricegrid.edi.documents.order import ExpectedPrice, read_order
from pricegrid.edi.documents.sets import check_file, documents
from pricegrid.edi.profile import read_profile
from tests.edi_datasets import PROFILE
from tests.edi_files import edifact, x12

HEAD = (("BEG", "00", "RL", "PO-1", "R-2", "20260102"), ("N1", "ST", "Site", "92", "0007"))
LINE = ("PO1", "10", "12", "EA", "1.25", "PE", "VP", "A-1", "UP", "400638133393")


@pytest.fixture
def read(tmp_path):
    def told(data):
        is_x12 = data.startswith(b"ISA")
        ours, theirs = ("ZZ:PRICEGRID", "ZZ:PARTNER") if is_x12 else ("14:PRICEGRID", "14:PARTNER")
        dialect = "x12" if is_x12 else "edifact"
        path = tmp_path / "acme.toml"
        path.write_text(PROFILE.format(dialect=dialect, ours=ours, theirs=theirs, more="", zone="UTC"))
        profile = read_profile(path)
        stream = io.BytesIO(data)
        accepted = check_file(stream, profile).accepted
        stream.seek(0)
        (found,) = (read_order(document, profile) for document in documents(stream, accepted))
        return found

    return told


def price(value, per=1, uom=""):
    return ExpectedPrice(Decimal(value), per, uom)


def test_an_850_is_an_order(read):
    body = (
        *HEAD,
        ("CUR", "BY", "USD"),
        ("DTM", "002", "20260110"),
        LINE,
        ("PO1", "20", "3", "CA", "", "", "VP", "B"),
    )

    found = read(x12(("850", [*body, ("DTM", "010", "20260115"), ("CTT", "2"), ("AMT", "TT", "1")])))

    assert (found.number, found.release, found.purpose, found.day) == ("PO-1", "R-2", "00", "2026-01-02")
    assert (found.currency, found.ship_to, found.fault) == ("USD", "0007", "")
    first, second = found.lines
    assert (first.reference, first.quantity, first.uom) == ("10", Decimal(12), "PIECE")
    assert first.part_numbers == (("sku", "A-1"), ("gtin", "400638133393"))
    assert (first.price, first.requested, first.fault) == (price("1.25"), "2026-01-10", "")
    assert (second.uom, second.price, second.requested) == ("BOX", None, "2026-01-15")


@pytest.mark.parametrize(
    ("said", "basis", "expected"),
    [
        ("35", "HP", price("35", 100)),
        ("350.5", "TP", price("350.5", 1000)),
        ("1.25", "CA", price("1.25")),
        ("1.25", "", price("1.25")),
        ("0", "PE", price("0")),
        ("", "PE", None),
    ],
)
def test_an_expected_price_is_for_as_many_units_as_its_basis_says(read, said, basis, expected):
    found = read(x12(("850", [*HEAD, ("PO1", "1", "1", "EA", said, basis, "VP", "A-1")])))

    assert found.lines[0].price == expected


def test_quantities_by_store_add_up_to_the_line(read):
    sdq = ("SDQ", "EA", "92", "0101", "5", "0102", "4"), ("SDQ", "EA", "92", "0103", "3")

    (line,) = read(x12(("850", [*HEAD, LINE, *sdq]))).lines

    assert line.places == (("0101", Decimal(5)), ("0102", Decimal(4)), ("0103", Decimal(3)))
    assert line.fault == ""


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([("PO1", "1", "1", "RL", "", "", "VP", "A")], "the unit 'RL' is not in the profile"),
        ([("PO1", "1", "0", "EA", "", "", "VP", "A")], "the quantity is '0', not above 0"),
        ([("PO1", "1", "-1", "EA", "", "", "VP", "A")], "the quantity is '-1', not above 0"),
        ([("PO1", "1", "", "EA", "", "", "VP", "A")], "the quantity is '', no number"),
        ([("PO1", "1", "1", "EA", "1e3", "", "VP", "A")], "the price is '1e3', no number"),
        ([("PO1", "1", "1", "EA", "-1", "", "VP", "A")], "the price is '-1', below 0"),
        ([("PO1", "1", "1", "EA", "1", "XX", "VP", "A")], "the price basis 'XX' is not in the profile"),
        ([("PO1", "1", "1", "EA", "1", "PE", "SK", "A")], "no part number of the profile is given"),
        (
            [LINE, ("SDQ", "EA", "92", "0101", "5", "0102", "4")],
            "quantities by place add up to 9, and the line is 12",
        ),
        ([LINE, ("SDQ", "CA", "92", "0101", "12")], "quantities by place are in 'CA', and the line in 'EA'"),
        ([LINE, ("DTM", "002", "2026")], "the requested date is '2026', no date"),
    ],
)
def test_a_line_that_is_not_understood_says_why_and_the_others_are_read(read, lines, fault):
    found = read(x12(("850", [*HEAD, *lines, ("PO1", "2", "1", "EA", "", "", "VP", "B")])))

    assert [line.fault for line in found.lines] == [fault, ""]
    assert found.fault == ""


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ((("BEG", "00", "SA", ""), LINE), "the order has no number"),
        (HEAD, "the order has no line"),
        ((("BEG", "00", "SA", "PO-1", "", "20261301"), LINE), "the order's date is '20261301', no date"),
    ],
)
def test_an_order_that_is_none_says_why(read, body, fault):
    assert read(x12(("850", body))).fault == fault


def test_an_order_of_too_many_lines_says_so_and_keeps_no_more(read, monkeypatch):
    monkeypatch.setattr(order, "LINES_MAX", 3)

    found = read(x12(("850", [*HEAD, *[LINE] * 9])))

    assert (len(found.lines), found.fault) == (3, "the order has more than 3 lines")


def test_an_orders_is_read_alike(read):
    body = (
        "BGM+220+PO-1+9",
        "DTM+137:20260102:102",
        "DTM+2:20260110:102",
        "NAD+DP+0007::92",
        "CUX+2:USD:9",
        "LIN+1++4006381333931:EN",
        "PIA+5+A-1:SA",
        "QTY+21:12:PCE",
        "PRI+AAA:35,5:CT::100:PCE",
        "LOC+7+0101::92",
        "QTY+11:5:PCE",
        "LOC+7+0102::92",
        "QTY+11:7:PCE",
        "LIN+2++B:SA",
        "QTY+21:3:CA",
        "DTM+2:20260115:102",
        "LIN+3++C:SA",
        "QTY+21:3:STK",
        "UNS+S",
        "CNT+2:3",
    )
    found = read(edifact(("ORDERS", body)))

    assert (found.number, found.purpose, found.day, found.currency) == ("PO-1", "9", "2026-01-02", "USD")
    assert (found.ship_to, found.fault) == ("0007", "")
    first, second, third = found.lines
    assert first.part_numbers == (("sku", "A-1"), ("gtin", "4006381333931"))
    assert (first.quantity, first.uom, first.requested) == (Decimal(12), "PIECE", "2026-01-10")
    assert first.price == price("35.5", 100, "PIECE")
    assert first.places == (("0101", Decimal(5)), ("0102", Decimal(7)))
    assert (second.uom, second.price, second.requested) == ("BOX", None, "2026-01-15")
    assert third.fault == "the unit 'STK' is not in the profile"
