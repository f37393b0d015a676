"""The tables behind availability: branches, lanes, stock, receipts, demands, kits (docs/dataset.md, A5, A6, A11)."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from pricegrid.atp.model import NO_INSTANT, Source
from pricegrid.atp.rules.events import SOURCE_OF, Measure
from pricegrid.loaders.compile.positions import compile_positions
from tests.load_tables import loaded, rejected

BRANCHES = {
    "branches": """
        branch, time_zone,        cutoff, inbound_handling_days, calendar
        NYC,    America/New_York, 14:30,  1,                     US
        BER,    Europe/Berlin,    9:00:30, ,
        DEF,    ,                 ,       ,
        """,
    "calendars": """
        calendar, date,       weekday, working
        US,       ,           sat,     false
        US,       ,           Sunday,  false
        US,       2026-07-04, ,        no
        US,       ,           1,       true
        """,
}


def us(day: int, hour: int = 0) -> int:
    return int(datetime(2026, 7, day, hour, tzinfo=UTC).timestamp()) * 1_000_000


def test_branches_and_calendars() -> None:
    frames = loaded(BRANCHES, time_zone="Europe/Paris").frames

    columns = (
        "branch",
        "time_zone",
        "cutoff_s",
        "inbound_handling_days",
        "outbound_handling_days",
        "calendar",
    )
    assert frames["branches"].select(columns).rows() == [
        ("NYC", "America/New_York", 52_200, 1, 0, "US"),
        ("BER", "Europe/Berlin", 32_430, 0, 0, None),
        ("DEF", "Europe/Paris", None, 0, 0, None),
    ]
    assert frames["calendars"].rows() == [
        ("US", None, 6, False),
        ("US", None, 7, False),
        ("US", date(2026, 7, 4), None, False),
        ("US", None, 1, True),
    ]


def test_a_date_of_a_receipt_is_a_day_of_its_branch_and_an_instant_is_an_instant() -> None:
    frames = loaded(
        {
            **BRANCHES,
            "receipts": """
            sku,  branch, quantity, expected_at,          confidence
            BOLT, NYC,    5,        2026-07-10,
            BOLT, BER,    5,        2026-07-10,           0.5
            BOLT, DEF,    5,        2026-07-10,           0
            BOLT, NYC,    5,        2026-07-10T12:00:00Z, 1
            """,
            "demands": "sku, branch, quantity, due_at\nNUT, NYC, 2.5, 2026-07-11",
        }
    ).frames

    receipts = frames["receipts"].select("expected_at_us", "kind", "confidence_micros").rows()
    assert receipts == [
        (us(10, 4), "purchase", 1_000_000),
        (us(9, 22), "purchase", 500_000),
        (us(10), "purchase", 0),
        (us(10, 12), "purchase", 1_000_000),
    ]
    assert frames["demands"].select("quantity_micros", "due_at_us").row(0) == (2_500_000, us(11, 4))


def test_the_newest_stock_row_of_a_pair_counts_and_on_hand_may_be_negative() -> None:
    dataset = loaded(
        {
            **BRANCHES,
            "stock": """
            sku,  branch, on_hand, as_of
            BOLT, NYC,    10,      2026-07-01T00:00:00Z
            BOLT, NYC,    -3,      2026-07-02T00:00:00Z
            BOLT, NYC,    7,       2026-06-30T00:00:00Z
            NUT,  NYC,    1,       2026-07-01T00:00:00Z
            NUT,  NYC,    2,       2026-07-01T00:00:00Z
            """,
        }
    )

    assert dataset.frames["stock"].select("sku", "on_hand_micros", "unavailable_micros").rows() == [
        ("BOLT", -3_000_000, 0),
        ("NUT", None, 0),  # its rows contradict each other: unknown, whatever the feed says of missing rows
    ]
    assert [line for line, _, _ in rejected(dataset, "stock")] == [5, 6]
    assert dataset.counts["stock"].repeated == 2
    assert "2 rows are older than another row" in dataset.warnings[0]


@pytest.mark.parametrize(
    ("name", "text", "column", "reason"),
    [
        (
            "branches",
            "branch, time_zone\nX, Mars/Olympus",
            "time_zone",
            '"Mars/Olympus" is not a known time zone',
        ),
        ("branches", "branch, cutoff\nX, 25:00", "cutoff", '"25:00" is not a time of day'),
        ("branches", "branch, inbound_handling_days\nX, -1", "inbound_handling_days", '"-1" is negative'),
        ("branches", "branch, calendar\nX, MOON", "calendar", '"MOON" is an unknown calendar'),
        ("lanes", "from_branch, transit_days\nNYC, 1", "to_branch", "exactly one of to_branch and ship_zone"),
        (
            "lanes",
            "from_branch, to_branch, transit_days\nNYC, LAX, 1",
            "to_branch",
            '"LAX" is an unknown branch',
        ),
        ("lanes", "from_branch, ship_zone, transit_days\nNYC, EAST,", "transit_days", "required and blank"),
        (
            "stock",
            "sku, branch, on_hand, as_of\nBOLT, NYC, many, 2026-07-01",
            "on_hand",
            '"many" is not a number',
        ),
        ("stock", "sku, branch, on_hand, as_of\nX, NYC, 1, 2026-07-01", "sku", '"X" is an unknown SKU'),
        (
            "stock",
            "sku, branch, on_hand, as_of, unavailable\nBOLT,NYC,1,2026-07-01,-1",
            "unavailable",
            "is negative",
        ),
        (
            "allocations",
            "sku, branch, allocated, as_of\nBOLT, LAX, 1, 2026-07-01",
            "branch",
            '"LAX" is an unknown',
        ),
        (
            "allocations",
            "sku, branch, allocated, as_of\nBOLT, NYC, -1, 2026-07-01",
            "allocated",
            "is negative",
        ),
        (
            "receipts",
            "sku, branch, quantity, expected_at\nBOLT, NYC, 1,",
            "expected_at",
            "required and blank",
        ),
        (
            "receipts",
            "sku, branch, quantity, expected_at, confidence\nBOLT,NYC,1,2026-07-01,2",
            "confidence",
            "more than 1",
        ),
        (
            "receipts",
            "sku, branch, quantity, expected_at, kind\nBOLT,NYC,1,2026-07-01,gift",
            "kind",
            "is not one of",
        ),
        (
            "demands",
            "sku, branch, quantity, due_at\nBOLT, NYC, 1, soon",
            "due_at",
            '"soon" is neither a date',
        ),
        ("safety_stock", "sku, branch, quantity\nBOLT, NYC, -1", "quantity", '"-1" is negative'),
        ("calendars", "calendar, date, weekday, working\nX, 2026-07-01, mon, true", "date", "exactly one of"),
        (
            "calendars",
            "calendar, weekday, working\nX, someday, true",
            "weekday",
            '"someday" is not a weekday',
        ),
        ("calendars", "calendar, date, working\nX, 2026-02-30, true", "date", '"2026-02-30" is not a date'),
        (
            "feeds",
            "branch, source, as_of\nNYC, sap, 2026-07-01T00:00:00Z",
            "source",
            "is not one of erp, wms, transit",
        ),
        ("feeds", "branch, source, as_of\nNYC, erp,", "as_of", "required and blank"),
        (
            "kits",
            "kit_sku, component_sku, quantity\nBOLT, BOLT, 1",
            "component_sku",
            "contains this kit: a cycle",
        ),
        ("kits", "kit_sku, component_sku, quantity\nBOLT, X, 1", "component_sku", '"X" is an unknown SKU'),
        ("kits", "kit_sku, component_sku, quantity\nBOLT, NUT, 0", "quantity", '"0" is not above zero'),
    ],
)
def test_a_row_that_cannot_be_used(name: str, text: str, column: str, reason: str) -> None:
    found = rejected(loaded({**BRANCHES, name: text}), name)

    assert [(line, where) for line, where, _ in found] == [(2, column)]
    assert reason in found[0][2]


def test_a_kit_stands_or_falls_as_a_whole_and_with_it_the_kits_it_is_part_of() -> None:
    items = "sku, base_uom\n" + "\n".join(f"{sku}, EA" for sku in "ABCDEFGH")
    dataset = loaded(
        {
            "items": items,
            "kits": """
            kit_sku, component_sku, quantity
            A, B, 4
            A, C, x
            D, A, 1
            D, E, 1
            F, G, 2
            G, H, 2
            """,
        },
        drop=["uoms", "price_entries"],
    )

    assert dataset.frames["kits"].select("kit_sku", "component_sku").rows() == [("F", "G"), ("G", "H")]
    words = "another component of this kit, or a kit in it, is rejected"
    assert rejected(dataset, "kits") == [
        (2, "kit_sku", f'"A" {words}'),
        (3, "quantity", '"x" is not a number'),
        (4, "kit_sku", f'"D" {words}'),
        (5, "kit_sku", f'"D" {words}'),
    ]


def test_a_kit_that_contains_itself_through_others_is_rejected() -> None:
    items = "sku, base_uom\n" + "\n".join(f"{sku}, EA" for sku in "ABCD")
    kits = "kit_sku, component_sku, quantity\nA, B, 1\nB, C, 1\nC, A, 1\nD, C, 1"

    dataset = loaded({"items": items, "kits": kits}, drop=["uoms", "price_entries"])

    assert dataset.frames["kits"].is_empty()
    assert [line for line, _, _ in rejected(dataset, "kits")] == [2, 3, 4, 5]


def test_receipts_repeated_to_the_letter_count_once() -> None:
    receipts = "sku, branch, quantity, expected_at, reference\n" + "BOLT, NYC, 5, 2026-07-10, PO1\n" * 2
    dataset = loaded({**BRANCHES, "receipts": receipts + "BOLT, NYC, 5, 2026-07-10, PO2"})

    assert dataset.frames["receipts"]["reference"].to_list() == ["PO1", "PO2"]
    assert dataset.counts["receipts"].repeated == 1


FEEDS = """
    branch, source,  measure,   as_of,                complete, decrease_means
    NYC,    erp,     ,          2026-07-01T00:00:00Z, true,
    NYC,    wms,     on_hand,   2026-07-02T00:00:00Z, true,
    NYC,    wms,     ,          2026-07-03T00:00:00Z, false,    shipped
    DEF,    transit, ,          2026-07-04T00:00:00Z, ,
    """


def test_feeds_say_which_source_owns_which_measure() -> None:
    frames = loaded({**BRANCHES, "feeds": FEEDS}).frames
    arrays = compile_positions({**frames, "items": pl.DataFrame({"sku": ["A"], "base_uom": ["PC"]})})
    nyc, default = 2, 1  # BER, DEF, NYC

    assert arrays["atp_feed_owner"][nyc].tolist() == [
        Source.WMS,
        Source.ERP,
        Source.WMS,
        Source.TRANSIT,
        Source.TRANSIT,
    ]
    assert arrays["atp_feed_owner"][default].tolist() == [SOURCE_OF[measure] for measure in Measure]
    assert arrays["atp_feed_as_of"][nyc].tolist() == [us(2), us(3), NO_INSTANT]
    assert arrays["atp_feed_complete"][nyc].tolist() == [True, False, False]
    assert arrays["atp_feed_decrease_shipped"].tolist() == [False, False, True]


def test_a_measure_of_two_sources_is_no_ones() -> None:
    rows = """
        branch, source, measure, as_of
        NYC,    erp,    on_hand, 2026-07-01
        NYC,    wms,    on_hand, 2026-07-01
        BER,    wms,    on_hand, 2026-07-01
        """
    result = loaded({**BRANCHES, "feeds": rows})

    assert result.frames["feeds"]["branch"].to_list() == ["BER"]
    assert [(line, column) for line, column, *_ in rejected(result, "feeds")] == [
        (2, "measure"),
        (3, "measure"),
    ]
