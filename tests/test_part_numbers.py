"""Items, units, customers and places by the names of others: the tables, and what a number names (P15)."""

import numpy as np
import pytest

from pricegrid.loaders.compile.other_names import compile_other_names
from pricegrid.loaders.publish import compile_dataset
from pricegrid.pricing_engine.arrays import other_names as on
from pricegrid.pricing_engine.arrays.verify_other_names import verify_other_names
from pricegrid.pricing_engine.rules.part_numbers import (
    Audience,
    Named,
    PartRow,
    gtin_of,
    named,
)
from tests.load_tables import loaded, rejected

NUMBERS = "scheme, code, sku, uom, customer_id, price_class, maker, valid_from, valid_to, any_case"
PLACES = {
    "branches": "branch\nHAM",
    "lanes": "from_branch, ship_zone, transit_days\nHAM, NORTH, 1",
}


def _numbers(*lines: str) -> dict[str, str]:
    return {"part_numbers": "\n".join([NUMBERS, *lines])}


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("gtin, 40123, BOLT, , , , , , ,", "code", '"40123" is no GTIN: 8 to 14 digits'),
        ("gtin, 4012345X, BOLT, , , , , , ,", "code", '"4012345X" is no GTIN: 8 to 14 digits'),
        (
            "ean, 4711, BOLT, , , , , , ,",
            "scheme",
            '"ean" is not one of customer, gtin, vendor, maker, legacy',
        ),
        ("legacy, 4711, SCREW, , , , , , ,", "sku", '"SCREW" is an unknown SKU'),
        ("legacy, 4711, NUT, BOX, , , , , ,", "uom", '"BOX" is an unknown unit of item "NUT"'),
        ("customer, 4711, NUT, , NOBODY, , , , ,", "customer_id", '"NOBODY" is an unknown customer'),
        (
            "customer, 4711, NUT, , ACME, GOLD, , , ,",
            "customer_id",
            "more than one of customer_id, price_class and maker is given",
        ),
    ],
)
def test_a_part_number_that_cannot_be_used(row, column, reason):
    [(line, told, why)] = rejected(loaded(_numbers(row)), "part_numbers")

    assert (line, told, why) == (2, column, reason)


def test_a_wrong_check_digit_is_a_warning_and_no_reject():
    wrong, right = (
        ("4012345678902", "96385075"),
        ("4012345678901", "96385074", "036000291452", "04006381333931"),
    )
    dataset = loaded(_numbers(*(f"gtin, {code}, BOLT, , , , , , ," for code in (*wrong, *right))))

    assert dataset.rejects == {}
    assert [text for text in dataset.warnings if "check digit" in text] == [
        "part_numbers.csv: 2 GTINs have a wrong check digit and are taken as they are (lines 2, 3)"
    ]


@pytest.mark.parametrize(
    ("table", "text", "column", "reason"),
    [
        ("unit_codes", "system, code, uom, sku\nx12, CA, CASE,", "uom", '"CASE" is a unit that no item has'),
        (
            "unit_codes",
            "system, code, uom, sku\nx12, CA, BOX, NUT",
            "uom",
            '"BOX" is an unknown unit of item "NUT"',
        ),
        (
            "ship_tos",
            "customer_id, ship_to, zone, branch\nACME, KIEL, NORTH, HAM",
            "zone",
            "exactly one of zone and branch must be given",
        ),
        ("ship_tos", "customer_id, ship_to, branch\nACME, KIEL, RTM", "branch", '"RTM" is an unknown branch'),
        ("party_codes", "scheme, code, ship_to\ngln, 4012, KIEL", "ship_to", '"KIEL" is an unknown ship-to'),
        (
            "party_codes",
            "scheme, code, customer_id, branch\ngln, 4012, ACME, HAM",
            "customer_id",
            "exactly one of customer_id, ship_to and branch must be given",
        ),
    ],
)
def test_a_row_of_the_other_tables_that_cannot_be_used(table, text, column, reason):
    [(_, told, why)] = rejected(loaded({**PLACES, table: text}), table)

    assert (told, why) == (column, reason)


def test_a_dataset_without_the_tables_has_no_arrays_of_them():
    assert compile_other_names(loaded().frames) == {}


def _names() -> on.OtherNames:
    dataset = loaded(
        {
            **PLACES,
            **_numbers("gtin, 4012345678901, BOLT, BOX, , , , , ,", "legacy, ab-7, NUT, , , , , , , true"),
            "unit_codes": "system, code, uom, sku\nx12, CA, BOX,\nrec20, CA, EA,\nx12, EA, EA, BOLT",
            "ship_tos": "customer_id, ship_to, zone, branch, name\nACME, KIEL, NORTH, , Kiel yard\nACME, HQ, , HAM,",
            "party_codes": "scheme, code, customer_id, ship_to, branch\n"
            "gln, 4012, ACME, ,\ngln, 4013, , KIEL,\nduns, 4012, , , HAM",
        }
    )
    assert dataset.rejects == {}
    arrays = compile_dataset(dataset.frames, "UTC")
    verify_other_names(arrays)
    return on.OtherNames(arrays)


def test_units_places_and_parties_are_found_by_the_names_of_others():
    names = _names()

    assert [
        names.uom(*ask) for ask in (("x12", "CA", "BOLT"), ("rec20", "CA", "BOLT"), ("x12", "EA", "NUT"))
    ] == [
        "BOX",
        "EA",
        None,
    ]
    assert names.uom("x12", "EA", "BOLT") == "EA"
    assert names.place("ACME", "KIEL") == on.Place("NORTH", "Kiel yard")
    assert names.place("ACME", "HQ") == on.Place("HAM", "")
    assert names.place("GROUP", "KIEL") is None
    assert names.party("gln", "4012") == on.Party("customer", "ACME")
    assert names.party("gln", "4013") == on.Party("ship_to", "KIEL")
    assert names.party("duns", "4012") == on.Party("branch", "HAM")
    assert names.party("gln", "04012") is None


def test_a_code_is_text_and_letter_case_counts_unless_its_row_says_otherwise():
    numbers = _names().part_numbers

    found = numbers.rows([on.part_key("legacy", "AB-7"), on.part_key("legacy", "AB-7", any_case=True)])
    assert [len(rows) for rows in found] == [0, 1]
    assert numbers.rows([on.part_key("gtin", gtin_of("04012345678901"))])[0][0].uom == "BOX"


OWN, PARENT, CLASS, SECOND = 3, 5, 1, 4
ME = Audience((OWN, PARENT), ((CLASS, 0), (SECOND, 1)))


def _row(sku: str, uom: str = "", customer: int = -1, price_class: int = -1, dates: tuple[int, int] = (0, 9)):
    return PartRow(sku, uom, customer, price_class, *dates)


@pytest.mark.parametrize(
    ("schemes", "found"),
    [
        pytest.param([("gtin", [_row("A", "BOX")])], [("A", "BOX", "gtin")], id="one"),
        pytest.param(
            [("gtin", [_row("A", "EA"), _row("A", "EA")])], [("A", "EA", "gtin")], id="the same twice"
        ),
        pytest.param(
            [("vendor", [_row("B"), _row("A")])],
            [("A", "", "vendor"), ("B", "", "vendor")],
            id="two items are both told",
        ),
        pytest.param(
            [("gtin", [_row("A", "EA"), _row("A", "BOX")])],
            [("A", "BOX", "gtin"), ("A", "EA", "gtin")],
            id="two packs are both told",
        ),
        pytest.param([("customer", []), ("gtin", [_row("B")])], [("B", "", "gtin")], id="the next scheme"),
        pytest.param(
            [("customer", [_row("A")]), ("gtin", [_row("B")])], [("A", "", "customer")], id="the first scheme"
        ),
        pytest.param([("customer", [_row("A", customer=4)])], [], id="the number of another customer"),
        pytest.param([("customer", [_row("A", price_class=2)])], [], id="the number of another class"),
        pytest.param(
            [("customer", [_row("A", customer=OWN), _row("B", customer=PARENT), _row("C")])],
            [("A", "", "customer")],
            id="the customer's own before an ancestor's",
        ),
        pytest.param(
            [("customer", [_row("B", customer=PARENT), _row("C", price_class=CLASS)])],
            [("B", "", "customer")],
            id="an ancestor's before the class's",
        ),
        pytest.param(
            [("customer", [_row("B", price_class=SECOND), _row("C", price_class=CLASS), _row("D")])],
            [("C", "", "customer")],
            id="the first class before the second",
        ),
        pytest.param(
            [("customer", [_row("B", price_class=SECOND), _row("D")])],
            [("B", "", "customer")],
            id="any class before everyone",
        ),
        pytest.param([("maker", [_row("A", dates=(0, 5))])], [], id="over, the end is exclusive"),
        pytest.param(
            [("maker", [_row("A", dates=(5, 6))])], [("A", "", "maker")], id="from its first instant"
        ),
        pytest.param([("maker", [_row("HIDDEN")])], [], id="hidden"),
        pytest.param(
            [("maker", [_row("HIDDEN"), _row("A")])],
            [("A", "", "maker")],
            id="what is hidden makes nothing ambiguous",
        ),
    ],
)
def test_what_a_number_names(schemes, found):
    assert named(schemes, ME, 5, lambda sku: sku != "HIDDEN") == tuple(Named(*each) for each in found)


@pytest.mark.parametrize(
    ("array", "change", "told"),
    [
        (
            "part_rows",
            lambda a: a.__setitem__((0, on.PART_ITEM), 10**6),
            "part_rows, row 0: 1000000 in column 0",
        ),
        ("part_rows", lambda a: a.__setitem__((0, on.PART_UOM), -2), "part_rows, row 0: -2 in column 1"),
        (
            "part_rows",
            lambda a: a.__setitem__((1, on.PART_TO), -(2**62)),
            "part_rows, row 1: ends before it begins",
        ),
        ("part_starts", lambda a: a.__setitem__(1, 0), "part_starts: does not lead"),
        ("part_bytes", lambda a: a.__setitem__(0, 0xFF), "part_offsets: its text is not UTF-8"),
        ("unit_code_value_offsets", lambda a: a.__setitem__(1, 10**6), "unit_code_value_offsets, row"),
        (
            "ship_to_value_bytes",
            lambda a: a.__setitem__(slice(None), 65),
            "ship_to_value_bytes, row 0: not 3 parts",
        ),
    ],
)
def test_damaged_arrays_are_refused(array, change, told):
    arrays = {
        name: np.array(each)
        for name, each in compile_dataset(
            loaded(
                {
                    **PLACES,
                    **_numbers(
                        "gtin, 4012345678901, BOLT, BOX, , , , , ,", "legacy, ab-7, NUT, , , , , , , true"
                    ),
                    "unit_codes": "system, code, uom, sku\nx12, CA, BOX,\nrec20, CA, EA,",
                    "ship_tos": "customer_id, ship_to, zone\nACME, KIEL, NORTH",
                }
            ).frames,
            "UTC",
        ).items()
    }
    verify_other_names(arrays)
    change(arrays[array])

    with pytest.raises(ValueError, match=told):
        verify_other_names(arrays)
