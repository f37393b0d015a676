"""Catalogues of partners into a dataset's tables: what a price means, what is refused, what of the dataset stays."""

import json

import pytest

from pricegrid.loaders.tables import DELTA_ENTRIES, TABLES
from pricegrid.service.cli.main import main
from tests.edi_datasets import PROFILE, EdiWorld
from tests.edi_files import edifact, x12

ITEM = (("LIN", "", "VP", "A-1"),)


@pytest.fixture
def world(tmp_path):
    return EdiWorld(tmp_path)


def catalogue(*body, purpose="00", head=()):
    bct = ("BCT", "PS", "CAT-1", "", "", "", "", "", "", "", purpose)
    return x12(("832", [bct, *head, *body]), kind="SC")


def entry(**cells):
    return {"book_id": "ACME", "sku": "A-1", "method": "net", **cells}


@pytest.mark.parametrize(
    ("ctp", "cells"),
    [
        (("CTP", "", "CON", "1.25", "1", "EA"), {"value": "1.25", "uom": "PIECE", "min_quantity": "1"}),
        (("CTP", "", "CON", "1.25"), {"value": "1.25"}),
        (("CTP", "", "CON", "1.25", "0", "EA"), {"value": "1.25", "uom": "PIECE"}),
        (
            ("CTP", "", "CON", "35", "1", "EA", "", "", "", "HP"),
            {"value": "35", "uom": "PIECE", "min_quantity": "1", "price_per": "100"},
        ),
        (
            ("CTP", "", "CON", "0350.50", "12", "CA", "", "", "", "TP"),
            {"value": "350.5", "uom": "BOX", "min_quantity": "12", "price_per": "1000"},
        ),
        (
            ("CTP", "", "CON", "10.00", "1", "EA", "", "", "", "", "", "3"),
            {"value": "10", "uom": "PIECE", "min_quantity": "1", "price_per": "3"},
        ),
        (
            ("CTP", "", "CON", "10.00", "1", "EA", "", "", "", "HP", "", "2"),
            {"value": "10", "uom": "PIECE", "min_quantity": "1", "price_per": "200"},
        ),
        (("CTP", "", "CON", ".5"), {"value": "0.5"}),
        (("CTP", "", "CON", "12,5"), {"value": "12.5"}),
        (("CTP", "", "CON", "0.000001"), {"value": "0.000001"}),
    ],
)
def test_a_price_of_an_832_is_an_entry(world, ctp, cells):
    world.bring(catalogue(*ITEM, ctp))

    assert world.rows() == [entry(**cells)]
    assert world.reasons() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ((*ITEM, ("CTP", "", "CON", "1.25", "1", "RL")), "the unit 'RL' is not in the profile"),
        ((*ITEM, ("CTP", "", "CON", "1.25", "1", "BOX")), "the unit 'BOX' is not in the profile"),
        (
            (*ITEM, ("CTP", "", "CON", "1", "", "", "", "", "", "XX")),
            "the price basis 'XX' is not in the profile",
        ),
        ((*ITEM, ("CTP", "", "CON", "1.2.3")), "the price is '1.2.3', no number"),
        ((*ITEM, ("CTP", "", "CON", "")), "the price is '', no number"),
        ((*ITEM, ("CTP", "", "CON", "0.0000001")), "the price is '0.0000001': more than 6 decimal places"),
        ((*ITEM, ("CTP", "", "CON", "0")), "the price is '0', not above 0"),
        ((*ITEM, ("CTP", "", "CON", "-1")), "the price is '-1', not above 0"),
        ((*ITEM, ("CTP", "", "CON", "1", "1x", "EA")), "the quantity is '1x', no number"),
        (
            (*ITEM, ("CTP", "", "CON", "1", "", "", "DIS", ".9")),
            "CTP06 and CTP07: a price multiplier is not read",
        ),
        ((*ITEM, ("CTP", "", "CON", "1", "", "", "", "", "5")), "CTP08: a rebate is not read"),
        ((("LIN", "", "SK", "A-1"), ("CTP", "", "CON", "1")), "no part number is known: SK 'A-1'"),
        ((("LIN", "", "UP", "400"), ("CTP", "", "CON", "1")), "no part number is known: UP '400'"),
        ((*ITEM, ("DTM", "007", "20261301"), ("CTP", "", "CON", "1")), "the date is '20261301', no date"),
    ],
)
def test_what_is_not_understood_is_rejected_with_its_reason_and_the_rest_is_taken(world, body, reason):
    found = world.bring(catalogue(*body, ("LIN", "", "VP", "B"), ("CTP", "", "CON", "2")))

    assert world.reasons() == [reason]
    assert [row["sku"] for row in world.rows()] == ["B"]
    assert (found.prices, found.rejected_rows) == (1, 1)


def test_dates_of_the_document_of_an_item_and_of_a_price(world):
    world.bring(
        catalogue(
            *ITEM,
            ("CTP", "", "CON", "1"),
            ("LIN", "", "VP", "B"),
            ("DTM", "007", "20260201"),
            ("CTP", "", "CON", "2"),
            ("DTM", "036", "20260228"),
            ("CTP", "", "CON", "3", "10", "EA"),
            ("LIN", "", "VP", "C"),
            ("CTP", "", "CON", "4"),
            head=(("DTM", "007", "20260101"), ("DTM", "036", "20261231")),
        )
    )

    told = [(row["sku"], row["valid_from"], row["valid_to"]) for row in world.rows()]
    assert told == [
        ("A-1", "2026-01-01", "2026-12-31"),
        ("B", "2026-02-01", "2026-02-28"),
        ("B", "2026-02-01", "2026-12-31"),
        ("C", "2026-01-01", "2026-12-31"),
    ]


def test_part_numbers_are_tried_in_the_profiles_order_and_gtins_as_14_digits(world):
    world.table(
        "part_numbers", "scheme,code,sku\ngtin,4006381333931,PEN\ngtin,0012,X\ngtin,12,Y\ncustomer,7,NO\n"
    )
    world.bring(
        catalogue(
            *(("LIN", "", "UP", "04006381333931"), ("CTP", "", "CON", "1")),
            *(("LIN", "", "UP", "04006381333931", "VP", "A-1"), ("CTP", "", "CON", "2")),
            *(("LIN", "", "UP", "00012"), ("CTP", "", "CON", "3")),
            *(("LIN", "", "UP", "7"), ("CTP", "", "CON", "4")),
        )
    )

    assert [row["sku"] for row in world.rows()] == ["PEN", "A-1"]
    assert world.reasons() == ["UP '00012' is several items: X, Y", "no part number is known: UP '7'"]


@pytest.mark.parametrize(
    ("row", "sku", "uom"),
    [
        ("gtin,4711,PEN,BOX,,,,,", "PEN", "BOX"),
        ("gtin,4711,PEN,,C-100,,,,", "PEN", ""),
        ("gtin,4711,PEN,,OTHER,,,,", "", ""),
        ("gtin,4711,PEN,,,,acme,,", "PEN", ""),
        ("gtin,4711,PEN,,,,other,,", "", ""),
        ("gtin,4711,PEN,,,GOLD,,,", "", ""),
        ("gtin,4711,PEN,,,,,2026-12-31,", "", ""),
        ("customer,ab-1,PEN,,,,,,true", "PEN", ""),
        ("customer,ab-1,PEN,,,,,,", "", ""),
    ],
)
def test_only_numbers_that_are_surely_the_partners_are_known(world, row, sku, uom):
    head = "scheme,code,sku,uom,customer_id,price_class,maker,valid_to,any_case"
    world.table("part_numbers", f"{head}\n{row}\n")
    item = ("LIN", "", "UP", "4711", "BP", "AB-1")

    world.bring(catalogue(item, ("CTP", "", "CON", "1"), *ITEM, ("CTP", "", "CON", "2")))

    told = [(each["sku"], each.get("uom", "")) for each in world.rows()]
    assert told == ([(sku, uom)] if sku else []) + [("A-1", "")]


def test_only_the_prices_of_the_profile_are_taken(world):
    data = catalogue(*ITEM, ("CTP", "", "MSR", "9"), ("CTP", "", "CON", "5"))

    found = world.bring(data, more='codes = ["CON"]')

    assert [row["value"] for row in world.rows()] == ["5"]
    assert (found.prices, found.skipped) == (1, 1)


def test_a_pricat_is_read_alike(world):
    body = (
        "BGM+9+CAT-1+9",
        "DTM+194:20260101:102",
        "CUX+2:USD:9",
        "PGI+2",
        "LIN+1+1+4006381333931:EN",
        "PIA+5+A-1:SA",
        "PRI+AAA:1.25",
        "PRI+AAA:35,5:CT::100:PCE",
        "RNG+4+PCE:10",
        "DTM+206:20260630:102",
        "LIN+2++B:SA",
        "DTM+273:20260301-20260331:718",
        "PRI+AAA:2:::1:CA",
        "LIN+3++C:SA",
        "PRI+AAA:2:::1:STK",
        "UNS+S",
    )
    world.bring(edifact(("PRICAT", body)))

    assert world.rows() == [
        entry(value="1.25", valid_from="2026-01-01"),
        entry(
            value="35.5",
            uom="PIECE",
            min_quantity="10",
            price_per="100",
            valid_from="2026-01-01",
            valid_to="2026-06-30",
        ),
        entry(sku="B", value="2", uom="BOX", valid_from="2026-03-01", valid_to="2026-03-31"),
    ]
    assert world.reasons() == ["the unit 'STK' is not in the profile"]
    assert world.rows("price_books") == [
        {"book_id": "ACME", "layer": "default", "currency": "USD", "name": "acme"}
    ]


def test_a_whole_book_replaces_its_entries_and_leaves_other_books_and_columns(world):
    world.table("price_books", "book_id,layer,currency,rounding_mode\nACME,vendor,EUR,up\nLIST,list,EUR,\n")
    world.table("price_entries", "sku,book_id,method,value,entry_id\nOLD,ACME,net,1,e1\nA-1,LIST,net,9,e2\n")

    world.bring(catalogue(*ITEM, ("CTP", "", "CON", "1.25")))
    world.bring(catalogue(*ITEM, ("CTP", "", "CON", "1.50")))

    assert world.rows() == [
        {"sku": "A-1", "book_id": "LIST", "method": "net", "value": "9", "entry_id": "e2"},
        entry(value="1.5"),
    ]
    assert world.rows("price_books")[0] == {
        "book_id": "ACME",
        "layer": "vendor",
        "currency": "EUR",
        "rounding_mode": "up",
    }
    assert sorted(path.name for path in world.dataset.iterdir()) == ["price_books.csv", "price_entries.csv"]


def test_a_book_keeps_its_currency(world, capsys):
    world.table("price_books", "book_id,layer,currency\nACME,vendor,USD\n")

    with pytest.raises(ValueError, match="the book 'ACME' is in USD in price_books, and in EUR"):
        world.bring(catalogue(*ITEM, ("CTP", "", "CON", "1.25")))
    assert not (world.dataset / "price_entries.csv").exists()


@pytest.mark.parametrize("purpose", ["02", "04"])
def test_changes_are_a_delta_and_the_last_one_of_an_entry_counts(world, purpose):
    change = catalogue(*ITEM, ("CTP", "", "CON", "1.25", "1", "EA"), purpose=purpose)
    world.bring(change)
    world.bring(catalogue(*ITEM, ("CTP", "", "CON", "2", "5", "EA"), purpose="04"))
    world.bring(change.replace(b"1.25", b"1.30"))
    world.bring(catalogue(*ITEM, ("CTP", "", "CON", "", "5", "EA"), purpose="03"))

    assert world.rows() == [
        entry(value="1.3", uom="PIECE", min_quantity="1"),
        {"book_id": "ACME", "sku": "A-1", "uom": "PIECE", "min_quantity": "5", "deleted": "true"},
    ]
    with (world.dataset / "price_entries.csv").open() as stream:
        assert set(next(stream).strip().split(",")) <= {column.name for column in DELTA_ENTRIES.columns}


def test_a_delta_goes_into_a_directory_of_its_own(world):
    world.table("items", "sku,base_uom\nA-1,PIECE\n")

    with pytest.raises(ValueError, match="has the table items: changes of prices go into"):
        world.bring(catalogue(*ITEM, ("CTP", "", "CON", "1.25"), purpose="04"))


def test_what_is_written_has_the_columns_of_the_tables(world):
    world.bring(catalogue(*ITEM, ("CTP", "", "CON", "1.25")))

    for name in ("price_entries", "price_books"):
        with (world.dataset / f"{name}.csv").open() as stream:
            header = set(next(stream).strip().split(","))
        assert header <= {column.name for column in TABLES[name].columns}


@pytest.mark.parametrize("purpose", ["01", "22", "xx"])
def test_a_document_of_another_purpose_is_rejected(world, purpose):
    world.bring(catalogue(*ITEM, ("CTP", "", "CON", "1.25"), purpose=purpose))

    assert world.reasons() == [f"BCT10 is {purpose!r}: its purpose is not read"]
    assert not (world.dataset / "price_entries.csv").exists()


def test_sets_that_the_envelope_rejects_are_not_read_and_the_others_are(world):
    body = [("BCT", "PS", "CAT-1"), *ITEM, ("CTP", "", "CON", "1")]
    other = [("BCT", "PS", "CAT-1"), ("LIN", "", "VP", "B"), ("CTP", "", "CON", "2")]
    data = x12(("832", body), ("832", other), ("850", body), kind="SC").replace(b"SE*5*0001", b"SE*6*0001")

    found = world.bring(data)

    assert [row["sku"] for row in world.rows()] == ["B"]
    assert found.complaints == (
        "832 0001 SE counts other segments",
        "850 0003 is no document that is imported",
    )


def test_two_currencies_are_not_one_book(world):
    world.bring(
        catalogue(
            *ITEM,
            ("CTP", "", "CON", "1"),
            ("LIN", "", "VP", "B"),
            ("CUR", "SE", "USD"),
            ("CTP", "", "CON", "2"),
        )
    )

    assert world.reasons() == ["the currency is 'USD', and 'EUR' before; a book has one"]


def test_the_command_says_what_became_of_a_file(tmp_path, capsys):
    (tmp_path / "acme.toml").write_text(
        PROFILE.format(dialect="x12", ours="ZZ:PRICEGRID", theirs="ZZ:PARTNER", more="", zone="UTC")
    )
    file = tmp_path / "in.edi"
    file.write_bytes(catalogue(*ITEM, ("CTP", "", "CON", "1"), ("LIN", "", "VP", "=B"), ("CTP", "", "", "x")))
    words = ["edi", "import", str(file), "--profile", str(tmp_path / "acme.toml")]

    assert main([*words, "--dataset", str(tmp_path / "shop")]) == 1
    assert capsys.readouterr().out == (
        f"1 documents: 1 prices, 0 figures of stock, 0 receipts\n1 rows rejected, see {tmp_path / 'shop.rejects.csv'}\n"
    )
    assert (tmp_path / "shop.rejects.csv").read_text().splitlines()[1].startswith("832,0001,8,")
    file.write_bytes(catalogue(*ITEM, ("CTP", "", "CON", "1")))
    assert main([*words, "--dataset", str(tmp_path / "shop"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prices"] == 1
    assert not (tmp_path / "shop.rejects.csv").exists()
    (tmp_path / "shop" / "uoms.parquet").write_bytes(b"")
    assert main([*words, "--dataset", str(tmp_path / "shop")]) == 2
    assert "uoms.parquet: only tables as .csv" in capsys.readouterr().err
