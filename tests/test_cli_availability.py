"""`pricegrid availability`, `promise` and `quote` as a user types them: what is unknown, wrong or explained."""

from pathlib import Path

import pytest

from pricegrid.service.cli.main import main
from tests.supply_stores import FEEDS, NOON, Asking, Stores, day, supply
from tests.written import write_tables


@pytest.fixture(scope="module")
def load(tmp_path_factory) -> Stores:
    return Stores(tmp_path_factory)


@pytest.fixture
def ask(capsys) -> Asking:
    return Asking(capsys)


# ---- unknown is never zero

BAD_LINES = [
    ("no such branch", ["--branch", "NOPE", "X"], "UNKNOWN_BRANCH"),
    ("no such item", ["--branch", "MAIN", "nope"], "UNKNOWN_ITEM"),
    ("no such unit", ["--branch", "MAIN", "X:1:BOX"], "UNKNOWN_UOM"),
    ("no quantity", ["--branch", "MAIN", "X:0"], "INVALID_QUANTITY"),
    ("less than nothing", ["--branch", "MAIN", "X:-1"], "INVALID_QUANTITY"),
    ("finer than micros", ["--branch", "MAIN", "X:0.0000001"], "INVALID_QUANTITY"),
]


@pytest.mark.parametrize(
    ("words", "status"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES]
)
def test_a_bad_line_has_a_status_and_no_figures(load, ask, words, status):
    store = load(**supply())

    (row,) = ask(store, "availability", *words, code=1)
    (promise,) = ask(
        store, "promise", *words[:-1], words[-1] if ":" in words[-1] else f"{words[-1]}:1", code=1
    )

    assert (row["status"], row["available"], row["shortage"], row["projected"]) == (status, None, None, [])
    assert (promise["status"], promise["promised"]) == (status, [])


def test_one_bad_line_spoils_no_other(load, ask):
    rows = ask(load(**supply()), "availability", "--branch", "MAIN", "X", "nope", "X:2", code=1)

    assert [row["available"] for row in rows] == ["10", None, "10"]


FEED = "branch,source,as_of,complete,stale_after_min"
ERP = [
    ("no feed and no row", "", None, NOON, None, "UNKNOWN_STOCK", "UNKNOWN"),
    ("an incomplete feed", f"{FEED}\nMAIN,erp,{NOON},false,", None, NOON, None, "UNKNOWN_STOCK", "UNKNOWN"),
    ("a complete one: none", f"{FEED}\nMAIN,erp,{NOON},true,", None, NOON, "0", "OK", "FRESH"),
    ("nearly a day old", f"{FEED}\nMAIN,erp,{NOON},true,", None, "2026-03-03T11:59:59Z", "0", "OK", "FRESH"),
    ("a day old", f"{FEED}\nMAIN,erp,{NOON},true,", None, "2026-03-03T12:00:00Z", "0", "OK", "STALE"),
    ("stale after an hour", f"{FEED}\nMAIN,erp,{NOON},true,60", None, "2026-03-02T13:00:01Z", "0", "OK", "STALE"),
    ("negative on hand", FEEDS, -4, NOON, "0", "OK", "FRESH"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("feeds", "on_hand", "as_of", "available", "status", "erp"),
    [row[1:] for row in ERP],
    ids=[row[0] for row in ERP],
)
def test_a_source_that_is_missing_or_old_is_said(load, ask, feeds, on_hand, as_of, available, status, erp):
    store = load(**supply(on_hand) | {"feeds": feeds})
    code = 0 if status == "OK" else 1

    (row,) = ask(store, "availability", "--branch", "MAIN", "X", as_of=as_of, code=code)
    (promise,) = ask(store, "promise", "--branch", "MAIN", "X:1", as_of=as_of, code=code)

    assert (row["status"], row["available"]) == (status, available)
    assert row["freshness"]["erp"] == erp
    assert (promise["status"], promise["promised"]) == (status, [])


def test_a_quote_says_how_old_its_figures_are(load, ask):
    prices = {
        "price_books": "book_id,layer,currency\nL,list,EUR",
        "price_entries": "book_id,sku,method,value\nL,X,net,2\nL,Y,net,3",
        "items": "sku,base_uom\nX,EA\nY,EA",
    }
    feeds = f"{FEED}\nMAIN,wms,2026-03-01T12:00:00Z,true,60"
    store = load(**supply(10) | prices | {"feeds": feeds})

    known, unknown = ask(store, "quote", "--currency", "EUR", "--branch", "MAIN", "X:4", "Y")

    assert (known["status"], known["available"], known["promise_date"]) == ("OK", "10", day(0))
    assert known["freshness"]["wms"] == "STALE"
    assert known["source_age_s"]["wms"] == 86_400
    assert (unknown["status"], unknown["unit_price"]) == ("OK", "3.00")
    assert (unknown["available"], unknown["shortage"], unknown["promise_date"]) == (None, None, None)
    assert unknown["freshness"]["erp"] == "UNKNOWN"
    assert unknown["availability_status"] == "UNKNOWN_STOCK"


RECEIPTS = "sku,branch,quantity,expected_at"
REJECTED = [
    ("a receipt without date", "receipts", f"{RECEIPTS}\nX,MAIN,5,\nX,MAIN,6,{day(0)}"),
    ("a receipt of less than nothing", "receipts", f"{RECEIPTS}\nX,MAIN,-5,{day(0)}\nX,MAIN,6,{day(0)}"),
    ("stock of an unknown item", "stock", f"sku,branch,on_hand,as_of\nnope,MAIN,5,{NOON}\nX,MAIN,6,{NOON}"),
    ("stock at an unknown branch", "stock", f"sku,branch,on_hand,as_of\nX,NOPE,5,{NOON}\nX,MAIN,6,{NOON}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "content"), [row[1:] for row in REJECTED], ids=[row[0] for row in REJECTED]
)
def test_a_row_that_cannot_be_used_is_set_aside_and_the_others_count(load, ask, table, content):
    store = load(**supply(None) | {table: content})

    (row,) = ask(store, "availability", "--branch", "MAIN", "X")

    assert row["available"] == "6"
    assert (Path(store) / "rejects" / f"{table}.csv").read_text(encoding="utf-8").count("\n") == 2


def test_a_kit_that_contains_itself_is_rejected(load, ask):
    tables = supply() | {
        "items": "sku,base_uom\nX,EA\nRING,EA",
        "kits": "kit_sku,component_sku,quantity\nRING,X,1\nRING,RING,1",
    }

    store = load(**tables)

    assert "cycle" in (Path(store) / "rejects" / "kits.csv").read_text(encoding="utf-8")
    (row,) = ask(store, "availability", "--branch", "MAIN", "X")
    assert row["available"] == "10"


# ---- the command itself

AVAILABILITY_KEYS = ["sku", "branch", "status", "available", "shortage", "projected", "freshness"]
PROMISE_KEYS = ["sku", "status", "requested", "promised", "shortage"]


def test_the_named_keys_come_first_and_in_order(load, ask):
    store = load(**supply())

    (row,) = ask(store, "availability", "--branch", "MAIN", "X")
    (promise,) = ask(store, "promise", "--branch", "MAIN", "X:1")

    assert list(row)[: len(AVAILABILITY_KEYS)] == AVAILABILITY_KEYS
    assert list(row["freshness"]) == ["erp", "wms", "transit"]
    assert list(row["projected"][0]) == ["date", "atp", "balance"]
    assert list(promise)[: len(PROMISE_KEYS)] == PROMISE_KEYS


def test_options_may_stand_anywhere(load, ask):
    store = load(**supply())

    rows = ask(store, "availability", "X", "--branch", "MAIN", "X:2", "--horizon-days", "5", "--branch", "B")

    assert [(row["sku"], row["branch"], row["quantity"]) for row in rows] == [
        ("X", "MAIN", "1"), ("X", "B", "1"), ("X", "MAIN", "2"), ("X", "B", "2"),
    ]  # fmt: skip


def test_an_answer_explains_itself_on_request(load, ask):
    store = load(**supply(10, {2: 7}, {1: 5, 3: 10}))

    (row,) = ask(store, "availability", "--branch", "MAIN", "--explain", "X")
    (promise,) = ask(store, "promise", "--branch", "MAIN", "--explain", "X:1")

    (part,) = row["explanation"]["components"]
    assert [receipt["quantity"] for receipt in part["receipts"]] == ["7"]
    assert [demand["counted"] for demand in part["demands"]] == ["5", "10"]
    assert (part["on_hand"], part["lowest_balance"], part["lowest_on"]) == ("10", "2", day(3))
    assert promise["explanation"]["branches"][0]["components"] == [part]


def test_without_json_tables(load, capsys):
    store = load(**supply(10, {5: 10}))

    words = ["--store", store, "--as-of", NOON, "X:20"]
    assert main(["availability", *words, "--explain"]) == 0
    assert main(["promise", *words, "--need-by", day(2)]) == 0

    printed = capsys.readouterr().out
    for text in ("X", "MAIN", "FRESH 6:00", f"{day(5)} 20", "lowest balance 10", "10 short"):
        assert text in printed


BAD_USAGE = [
    ["availability"],
    ["availability", "X:many"],
    ["availability", "X", "--horizon-days", "0"],
    ["availability", "X", "--horizon-days", "731"],
    ["availability", "X", "--horizon-days", "-1"],
    ["availability", "X", "--past-due-offset-days", "0"],
    ["availability", "X", "--min-confidence", "1.1"],
    ["availability", "X", "--min-confidence", "high"],
    ["availability", "X", "--as-of", "yesterday"],
    ["promise", "X"],
    ["promise", "X:"],
    ["promise", "X:1", "--on", "2026-02-30"],
    ["promise", "X:1", "--need-by", "2026-03-02T12:00:00Z"],
    ["promise", "X:1", "--branch", "MAIN", "--ship-to", "B"],
    ["promise", "X:1", "--no-late", "--late-until", "2026-03-05"],
    ["promise", "X:1", "--minimum-shipment", "-1"],
    ["promise", "X:1", "--past-due-max-days", "3"],
]


@pytest.mark.parametrize("words", BAD_USAGE, ids=" ".join)
def test_bad_usage_ends_with_2(tmp_path, capsys, words):
    assert main([words[0], "--store", str(tmp_path), *words[1:]]) == 2
    assert capsys.readouterr().err


def test_a_dataset_without_branches_says_so(load, capsys):
    store = load(items="sku,base_uom\nX,EA")

    assert main(["availability", "--store", store, "X"]) == 1
    assert "NO_AVAILABILITY_DATA" in capsys.readouterr().err


def test_a_quote_without_branches_has_no_availability(load, ask):
    store = load(
        items="sku,base_uom\nX,EA",
        price_books="book_id,layer,currency\nL,list,EUR",
        price_entries="book_id,sku,method,value\nL,X,net,2",
    )

    (row,) = ask(store, "quote", "--currency", "EUR", "--branch", "MAIN", "X")

    assert row["status"] == "OK"
    assert {row[key] for key in ("available", "shortage", "promise_date", "freshness")} == {None}


def test_a_delta_of_prices_keeps_the_positions(ask, tmp_path):
    prices = {
        "price_books": "book_id,layer,currency\nL,list,EUR",
        "price_entries": "book_id,sku,method,value\nL,X,net,2",
    }
    dataset, changes, store = (tmp_path / name for name in ("dataset", "changes", "store"))
    write_tables(dataset, {**supply(10, {5: 10}), "demands": "sku,branch,quantity,due_at", **prices})
    write_tables(changes, {"price_entries": prices["price_entries"].replace("2", "3")}, is_delta=True)
    assert main(["load", str(dataset), "--store", str(store)]) == 0
    assert main(["load", str(changes), "--store", str(store), "--delta"]) == 0

    (row,) = ask(str(store), "quote", "--currency", "EUR", "--branch", "MAIN", "X:20")

    assert (row["unit_price"], row["available"], row["promise_date"]) == ("3.00", "10", day(5))
    files = [store / "snapshots" / version / "atp_pair_record.npy" for version in _versions(store)]
    assert len({file.stat().st_ino for file in files}) == 1


def _versions(store: Path) -> list[str]:
    return [folder.name for folder in (store / "snapshots").iterdir()]
