"""The worked examples of availability and promises, from files to the JSON of the command."""

import pytest

from tests.supply_stores import NOON, Asking, Stores, day, shipments, steps, supply

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def load(tmp_path_factory) -> Stores:
    return Stores(tmp_path_factory)


@pytest.fixture
def ask(capsys) -> Asking:
    return Asking(capsys)


# ---- A2, A3, A7: the worked examples

A2 = [
    ("later demand takes it all", {2: 1}, {1: 5, 3: 6}, "0"),
    ("a receipt in between covers part", {2: 7}, {1: 5, 3: 10}, "2"),
]


@pytest.mark.parametrize(
    ("receipts", "demands", "available"), [row[1:] for row in A2], ids=[row[0] for row in A2]
)
def test_what_is_promised_now_breaks_no_later_commitment(load, ask, receipts, demands, available):
    (row,) = ask(load(**supply(10, receipts, demands)), "availability", "--branch", "MAIN", "X:3")

    assert (row["status"], row["available"]) == ("OK", available)
    assert row["shortage"] == str(3 - int(available))


def test_supply_against_demand_gives_the_suffix_minimum(load, ask):
    supplied, demanded = (6, 4, 2, 4, 8, 4, 4, 4), (6, 2, 3, 6, 6, 1, 2, 2)
    store = load(**supply(0, dict(enumerate(supplied)), dict(enumerate(demanded))))

    (row,) = ask(store, "availability", "--branch", "MAIN", "X")

    found, atp = {step["date"]: step["atp"] for step in row["projected"]}, []
    for distance in range(8):
        atp.append(found.get(day(distance), atp[-1] if atp else None))
    assert atp == ["-1", "-1", "-1", "-1", "1", "4", "6", "8"]
    assert (row["available"], row["shortage"]) == ("0", "1")


def test_a_late_receipt_counts_from_tomorrow_and_late_demand_goes_on_consuming(load, ask):
    store = load(**supply(0, {-3: 200, 10: 100}, {-1: 75}))

    (row,) = ask(store, "availability", "--branch", "MAIN", "X:150")
    (promise,) = ask(store, "promise", "--branch", "MAIN", "--ship-complete", "X:150")

    assert row["available"] == "0"
    assert steps(row) == [(day(0), "-75", "-75"), (day(1), "125", "125"), (day(10), "225", "225")]
    assert shipments(promise) == [("MAIN", "150", day(10))]


def test_a_receipt_too_late_is_dropped_and_reported(load, ask):
    store = load(**supply(1, {-31: 200}))

    (dropped,) = ask(store, "availability", "--branch", "MAIN", "X")
    (kept,) = ask(store, "availability", "--branch", "MAIN", "--past-due-max-days", "31", "X")
    (later,) = ask(
        store,
        "availability",
        "X",
        "--past-due-max-days",
        "31",
        "--past-due-offset-days",
        "4",
        "--branch",
        "MAIN",
    )

    assert (dropped["dropped_receipts"], steps(dropped)) == (1, [(day(0), "1", "1")])
    assert steps(kept) == [(day(0), "1", "1"), (day(1), "201", "201")]
    assert steps(later)[1][0] == day(4)


def test_branches_with_five_and_minus_three_sum_to_five(load, ask):
    tables = supply() | {
        "stock": f"sku,branch,on_hand,as_of\nX,MAIN,5,{NOON}\nX,B,-3,{NOON}",
        "price_books": "book_id,layer,currency\nL,list,EUR",
        "price_entries": "book_id,sku,method,value\nL,X,net,2",
    }
    store = load(**tables)

    rows = ask(store, "availability", "X:7")
    (quote,) = ask(store, "quote", "--currency", "EUR", "--branch", "MAIN", "--branch", "B", "X:7")

    assert [(row["branch"], row["available"]) for row in rows] == [("B", "0"), ("MAIN", "5")]
    assert steps(rows[0]) == [(day(0), "-3", "-3")]
    assert (quote["available"], quote["shortage"], quote["promise_date"]) == ("5", "2", None)


TWENTY = [
    ("free", [], [("MAIN", "10", day(0)), ("MAIN", "10", day(5))], "0"),
    ("no late", ["--no-late"], [("MAIN", "10", day(0))], "10"),
    ("late until the day before", ["--late-until", day(4)], [("MAIN", "10", day(0))], "10"),
    ("late until that day", ["--late-until", day(5)], [("MAIN", "10", day(0)), ("MAIN", "10", day(5))], "0"),
    ("ship complete", ["--ship-complete"], [("MAIN", "20", day(5))], "0"),
    ("both", ["--no-late", "--ship-complete"], [], "20"),
    ("from tomorrow", ["--on", day(1), "--no-late"], [("MAIN", "10", day(1))], "10"),
    ("arriving by day 4", ["--need-by", day(4)], [("MAIN", "10", day(0))], "10"),
    ("at least 15 a shipment", ["--minimum-shipment", "15"], [("MAIN", "20", day(5))], "0"),
    ("four days ahead", ["--horizon-days", "5"], [("MAIN", "10", day(0))], "10"),
]


@pytest.mark.parametrize(
    ("options", "expected", "shortage"), [row[1:] for row in TWENTY], ids=[row[0] for row in TWENTY]
)
def test_twenty_wanted_ten_here_and_ten_in_five_days(load, ask, options, expected, shortage):
    store = load(**supply(10, {5: 10}))

    (row,) = ask(store, "promise", *options, "--branch", "MAIN", "X:20")

    assert (row["status"], row["requested"]) == ("OK", "20")
    assert (shipments(row), row["shortage"]) == (expected, shortage)


def test_uncertain_receipts_are_left_out_on_request(load, ask):
    tables = supply(10) | {
        "receipts": f"sku,branch,quantity,expected_at,confidence\nX,MAIN,10,{day(5)},0.8",
    }
    store = load(**tables)

    (counted,) = ask(store, "promise", "--branch", "MAIN", "--min-confidence", "0.8", "X:20")
    (left_out,) = ask(store, "promise", "--branch", "MAIN", "--min-confidence", "0.81", "X:20")

    assert (counted["shortage"], left_out["shortage"]) == ("0", "10")


KITS = {
    "items": "sku,base_uom\nKIT,EA\nCASE,EA\nBOLT,EA\nPANEL,EA",
    "stock": f"sku,branch,on_hand,as_of\nBOLT,MAIN,1000,{NOON}\nPANEL,MAIN,1000,{NOON}",
    "kits": "kit_sku,component_sku,quantity\nKIT,BOLT,4\nKIT,PANEL,1\nCASE,BOLT,100",
}


def test_a_thousand_bolts_at_four_a_kit_and_a_thousand_panels_make_250(load, ask):
    (row,) = ask(load(**supply() | KITS), "availability", "--branch", "MAIN", "KIT")

    assert row["available"] == "250"


def test_nothing_is_promised_twice_within_an_order(load, ask):
    store = load(**supply() | KITS)

    twice = ask(store, "promise", "--branch", "MAIN", "KIT:200", "KIT:200")
    shared = ask(store, "promise", "--branch", "MAIN", "CASE:6", "KIT:250")

    assert [row["shortage"] for row in twice] == ["0", "150"]
    assert [row["shortage"] for row in shared] == ["0", "150"]


def test_a_quote_promises_its_lines_one_after_the_other(load, ask):
    tables = supply(10, {5: 10}) | {
        "price_books": "book_id,layer,currency\nL,list,EUR",
        "price_entries": "book_id,sku,method,value\nL,X,net,2",
        "customers": "customer_id,currency,branch\nC,EUR,MAIN",
    }
    store = load(**tables)

    rows = ask(store, "quote", "--customer", "C", "X:6", "X:6", "X:9")

    assert [row["available"] for row in rows] == ["10"] * 3
    assert [row["promise_date"] for row in rows] == [day(0), day(5), None]


MIDNIGHTS = [
    ("the night before the clocks go forward", "2026-03-29T00:00:00+01:00", "2026-03-29"),
    ("a second earlier", "2026-03-28T23:59:59+01:00", "2026-03-28"),
    ("the night after", "2026-03-30T00:00:00+02:00", "2026-03-30"),
    ("a second earlier, then", "2026-03-29T23:59:59+02:00", "2026-03-29"),
]


@pytest.mark.parametrize(
    ("instant", "usable"), [row[1:] for row in MIDNIGHTS], ids=[row[0] for row in MIDNIGHTS]
)
def test_a_receipt_at_local_midnight_belongs_to_the_day_that_begins(load, ask, instant, usable):
    tables = supply(0) | {
        "branches": "branch,time_zone\nMAIN,Europe/Berlin\nB,UTC",
        "receipts": f"sku,branch,quantity,expected_at\nX,MAIN,10,{instant}",
    }

    (row,) = ask(load(**tables), "promise", "--branch", "MAIN", "X:10", as_of="2026-03-27T12:00:00Z")

    assert shipments(row) == [("MAIN", "10", usable)]


# ---- the network


def test_lanes_say_who_ships_and_when_it_arrives(load, ask):
    tables = supply() | {
        "branches": "branch,outbound_handling_days,cutoff\nMAIN,1,11:00\nB,0,",
        "lanes": "from_branch,ship_zone,transit_days,rank\nB,NORTH,2,2\nMAIN,NORTH,1,1",
        "stock": f"sku,branch,on_hand,as_of\nX,MAIN,5,{NOON}\nX,B,5,{NOON}",
    }
    store = load(**tables)

    (row,) = ask(store, "promise", "--ship-to", "NORTH", "X:8")
    (one,) = ask(store, "promise", "--ship-to", "NORTH", "--no-split", "X:4")
    (nowhere,) = ask(store, "promise", "--ship-to", "SOUTH", "X:4", code=1)

    assert row["promised"] == [
        {
            "sku": "X", "branch": "B", "quantity": "5",
            "pick_date": day(0), "ship_date": day(0), "arrival_date": day(2),
        },
        {
            "sku": "X", "branch": "MAIN", "quantity": "3",
            "pick_date": day(1), "ship_date": day(2), "arrival_date": day(3),
        },
    ]  # fmt: skip
    assert shipments(one) == [("B", "4", day(0))]
    assert (nowhere["status"], nowhere["promised"]) == ("UNKNOWN_BRANCH", [])


def test_the_branch_named_first_is_preferred(load, ask):
    store = load(**supply() | {"stock": f"sku,branch,on_hand,as_of\nX,MAIN,5,{NOON}\nX,B,5,{NOON}"})

    (row,) = ask(store, "promise", "X:7", "--branch", "MAIN", "--branch", "B")

    assert shipments(row) == [("MAIN", "5", day(0)), ("B", "2", day(0))]


def test_substitutes_come_only_when_asked_for_and_after_the_item(load, ask):
    tables = supply() | {
        "items": "sku,base_uom,superseded_by\nX,EA,Y\nY,EA,",
        "stock": f"sku,branch,on_hand,as_of\nX,MAIN,3,{NOON}\nY,MAIN,9,{NOON}",
    }
    store = load(**tables)

    (without,) = ask(store, "promise", "--branch", "MAIN", "X:5")
    (with_them,) = ask(store, "promise", "--branch", "MAIN", "--allow-substitutes", "X:5")

    assert (len(without["promised"]), without["shortage"]) == (1, "2")
    assert [(part["sku"], part["quantity"]) for part in with_them["promised"]] == [("X", "3"), ("Y", "2")]


def test_answers_are_whole_units_and_order_multiples(load, ask):
    tables = supply() | {
        "items": "sku,base_uom,order_multiple\nX,EA,4",
        "uoms": "sku,uom,numerator,denominator\nX,BOX,12,\nX,THIRD,1,3",
        "stock": f"sku,branch,on_hand,as_of\nX,MAIN,30,{NOON}",
    }
    store = load(**tables)

    boxes, thirds = ask(store, "availability", "--branch", "MAIN", "X:3:BOX", "X:1:THIRD")
    (promise,) = ask(store, "promise", "--branch", "MAIN", "X:30")

    assert (boxes["available"], boxes["shortage"]) == ("2", "1")
    assert thirds["available"] == "90"
    assert (shipments(promise), promise["shortage"]) == ([("MAIN", "28", day(0))], "2")
