"""Stock and ship notices of partners into a dataset's tables."""

import pytest

from pricegrid.loaders.tables import TABLES
from tests.edi_datasets import EdiWorld
from tests.edi_files import edifact, x12

ITEMS = "sku,base_uom\nA-1,PIECE\nB,PIECE\n"
UOMS = "sku,uom,numerator,denominator\nA-1,BOX,12,\nB,BOX,1,3\n"


@pytest.fixture
def shop(tmp_path):
    world = EdiWorld(tmp_path)
    world.table("items", ITEMS)
    world.table("uoms", UOMS)
    return world


def stock_846(*body, bia=("BIA", "00", "SI", "R-1", "20260102", "0930"), place="0001"):
    return x12(("846", [bia, ("N1", "WH", "Main", "92", place), *body]), kind="IB")


def item(sku):
    return ("LIN", "", "VP", sku)


def figure(branch="MAIN", as_of="2026-01-02T09:30:00Z", **cells):
    return {"sku": "A-1", "branch": branch, "as_of": as_of, **cells}


def test_an_846_sets_what_is_on_hand_in_base_units(shop):
    found = shop.bring(
        stock_846(
            *(item("A-1"), ("QTY", "33", "40", "EA"), ("QTY", "20", "7", "EA")),
            *(item("B"), ("N1", "WH", "North", "92", "0002"), ("QTY", "17", "9", "CA")),
            *(item("B"), ("QTY", "17", "0", "EA")),
        )
    )

    assert shop.rows("stock") == [
        figure(on_hand="40"),
        figure("NORTH", sku="B", on_hand="3"),
        figure(sku="B", on_hand="0"),
    ]
    assert (found.stock, found.rejected_rows) == (3, 0)


def test_a_later_figure_of_a_pair_replaces_the_earlier_one_and_other_pairs_stay(shop):
    shop.table(
        "stock", "sku,branch,on_hand,as_of,unavailable\nA-1,MAIN,1,2026-01-01,5\nA-1,NORTH,2,2026-01-01,\n"
    )

    shop.bring(stock_846(item("A-1"), ("QTY", "33", "40", "EA"), ("QTY", "33", "41", "EA")))

    assert shop.rows("stock") == [figure("NORTH", "2026-01-01", on_hand="2"), figure(on_hand="41")]


def test_quantities_by_store(shop):
    shop.bring(stock_846(item("A-1"), ("SDQ", "EA", "92", "0001", "5", "0002", "6")))

    assert shop.rows("stock") == [figure(on_hand="5"), figure("NORTH", on_hand="6")]


@pytest.mark.parametrize(
    ("body", "changed", "reason"),
    [
        ((item("A-1"), ("QTY", "33", "1", "RL")), {}, "the unit 'RL' is not in the profile"),
        ((item("C"), ("QTY", "33", "1", "EA")), {}, "the SKU 'C' is not in the table items of the dataset"),
        ((item("B"), ("QTY", "33", "1", "CA")), {}, "1 BOX of 'B' is no decimal of 6 places in PIECE"),
        ((item("A-1"), ("QTY", "33", "x", "EA")), {}, "the quantity is 'x', no number"),
        (
            (item("A-1"), ("QTY", "33", "1", "EA")),
            {"place": "9"},
            "the place '9' is not among the profile's branches",
        ),
        (
            (item("A-1"), ("QTY", "33", "1", "EA")),
            {"bia": ("BIA", "00", "SI", "R-1", "20261301")},
            "the document's date is '20261301', no date",
        ),
        (
            (item("A-1"), ("QTY", "33", "1", "EA")),
            {"bia": ("BIA", "00", "SI", "R-1", "20260102", "2530")},
            "the document's date has the time '2530'",
        ),
    ],
)
def test_what_is_not_understood_is_rejected_with_its_reason(shop, body, changed, reason):
    shop.bring(stock_846(*body, **changed))

    assert shop.reasons() == [reason]
    assert not (shop.dataset / "stock.csv").exists()


@pytest.mark.parametrize(
    ("time", "more", "as_of"),
    [
        ("0930", "", "2026-01-02T09:30:00Z"),
        ("", "", "2026-01-02"),
        ("093015", "Europe/Berlin", "2026-01-02T08:30:15Z"),
    ],
)
def test_times_of_day_are_those_of_the_profiles_zone(shop, time, more, as_of):
    data = stock_846(item("A-1"), ("QTY", "33", "1", "EA"), bia=("BIA", "00", "SI", "R-1", "20260102", time))

    shop.bring(data, zone=more or "UTC")

    assert [row["as_of"] for row in shop.rows("stock")] == [as_of]


def test_an_invrpt_is_read_alike(shop):
    body = (
        "BGM+35+R-1+9",
        "DTM+366:202601020930:203",
        "NAD+WH+0001::92",
        "LIN+1++A-1:SA",
        "QTY+145:40:PCE",
        "LIN+2",
        "PIA+1+B:SA",
        "QTY+145:2:PCE",
        "LOC+18+0002",
        "QTY+200:9:PCE",
    )
    shop.bring(edifact(("INVRPT", body)))

    assert shop.rows("stock") == [figure(on_hand="40"), figure("NORTH", sku="B", on_hand="2")]


NOTICE = [
    ("BSN", "00", "SH-1", "20260102", "0930"),
    ("HL", "1", "", "S"),
    ("DTM", "017", "20260105", "0800"),
    ("N1", "ST", "Main", "92", "0001"),
    ("HL", "2", "1", "O"),
    ("PRF", "PO-9"),
    ("HL", "3", "2", "I"),
    ("LIN", "1", "VP", "A-1"),
    ("SN1", "", "2", "CA"),
    ("HL", "4", "2", "I"),
    ("LIN", "", "VP", "B"),
    ("SN1", "7", "5", "EA"),
]


def receipt(**cells):
    row = {"sku": "A-1", "branch": "MAIN", "quantity": "24", "expected_at": "2026-01-05T08:00:00Z"}
    return row | {"kind": "asn", "reference": "SH-1", "line": "1", "supersedes": "PO-9", **cells}


def test_an_856_is_receipts_that_supersede_the_lines_of_their_order(shop):
    found = shop.bring(x12(("856", NOTICE), kind="SH"))

    assert shop.rows("receipts") == [receipt(), receipt(sku="B", quantity="5", line="7")]
    assert found.receipts == 2


def test_a_notice_that_comes_again_replaces_itself_and_a_cancellation_takes_it_away(shop):
    shop.table(
        "receipts",
        "sku,branch,quantity,expected_at,kind,reference\n"
        "A-1,MAIN,9,2026-01-09,purchase,SH-1\nA-1,MAIN,8,2026-01-09,asn,SH-0\n",
    )
    shop.bring(x12(("856", NOTICE), kind="SH"))
    again = [each if each[0] != "SN1" else (*each[:2], "1", "EA") for each in NOTICE]
    shop.bring(x12(("856", again), kind="SH"))

    assert [row["quantity"] for row in shop.rows("receipts")] == ["9", "8", "1", "1"]
    shop.bring(x12(("856", again), ("856", NOTICE), kind="SH"))
    assert [row["quantity"] for row in shop.rows("receipts")] == ["9", "8", "24", "5"]
    shop.bring(x12(("856", [("BSN", "01", *NOTICE[0][2:]), *NOTICE[1:]]), kind="SH"))
    assert [row["quantity"] for row in shop.rows("receipts")] == ["9", "8"]


def test_a_desadv_is_read_alike(shop):
    body = (
        "BGM+351+SH-1+9",
        "DTM+137:20260102:102",
        "DTM+17:202601050800:203",
        "RFF+ON:PO-9",
        "NAD+DP+0001::92",
        "CPS+1",
        "LIN+1++A-1:SA",
        "QTY+12:2:CA",
        "LIN+2++B:SA",
        "QTY+12:5:PCE",
        "RFF+ON:PO-10:7",
        "LIN+3++A-1:SA",
        "QTY+12:1:PCE",
    )
    shop.bring(edifact(("DESADV", body)))

    assert shop.rows("receipts") == [
        receipt(),
        receipt(sku="B", quantity="5", line="7", supersedes="PO-10"),
        receipt(quantity="1", line="3"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (("SN1", "7", "5", "EA"), ("SN1", "7", "-5", "EA"), "the quantity is '-5', below 0"),
        (NOTICE[0], ("BSN", "00"), "the notice has no number"),
        (NOTICE[2], ("DTM", "011", "20260105"), "the document's date is '', no date"),
    ],
)
def test_a_notice_that_is_not_understood_is_rejected(shop, old, new, reason):
    shop.bring(x12(("856", [new if each == old else each for each in NOTICE]), kind="SH"))

    assert set(shop.reasons()) == {reason}


def test_a_thousand_nested_levels_are_read_one_after_another(shop):
    levels = [("HL", str(at), str(at - 1), "P") for at in range(3, 1003)]

    shop.bring(x12(("856", [*NOTICE[:6], *levels, *NOTICE[7:9]]), kind="SH"))

    assert shop.rows("receipts") == [receipt()]


def test_what_is_written_has_the_columns_of_the_tables(shop):
    shop.bring(stock_846(item("A-1"), ("QTY", "33", "1", "EA")))
    shop.bring(x12(("856", NOTICE), kind="SH"))

    for name in ("stock", "receipts"):
        with (shop.dataset / f"{name}.csv").open() as stream:
            header = set(next(stream).strip().split(","))
        assert header <= {column.name for column in TABLES[name].columns}
