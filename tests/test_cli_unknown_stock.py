"""What could not be loaded is unknown, not zero, and not for sale (A6, A11)."""

import json
from pathlib import Path

import pytest

from pricegrid.service.cli.main import main
from tests.written import write_tables

TABLES = {
    "items": "sku,base_uom\nP,EA\nQ,EA\nMISSING,EA\nKIT,EA\nOUTER,EA\n",
    "branches": "branch\nH\n",
    "feeds": "branch,source,as_of,complete\nH,erp,2026-11-23T06:00:00Z,true\n",
    "stock": "sku,branch,on_hand,as_of\nP,H,3,2026-11-23T06:00:00Z\nQ,H,abc,2026-11-23T06:00:00Z\n"
    "KIT,H,40,2026-11-23T06:00:00Z\n",
    "kits": "kit_sku,component_sku,quantity\nKIT,P,1\nKIT,NOSUCH,2\nOUTER,KIT,1\n",
    "price_books": "book_id,layer,currency\nLIST,list,EUR\n",
    "price_entries": "book_id,sku,method,value\nLIST,P,net,1\n",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unknown")
    write_tables(folder / "dataset", TABLES)
    assert (
        main(["load", str(folder / "dataset"), "--store", str(folder / "store"), "--max-reject-pct", "100"])
        == 0
    )
    return folder / "store"


def _ask(store: Path, capsys, *words: str) -> list[dict]:
    capsys.readouterr()
    main([words[0], "--store", str(store), "--as-of", "2026-11-23T10:00:00Z", "--json", *words[1:]])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("sku", "status", "available"),
    [
        ("P", "OK", "3"),
        ("MISSING", "OK", "0"),  # no row, and the feed is complete
        ("Q", "UNKNOWN_STOCK", None),  # its row was rejected: there was one
        ("KIT", "UNKNOWN_STOCK", None),  # a component was rejected; its own row never counts
        ("OUTER", "UNKNOWN_STOCK", None),  # it holds such a kit
    ],
)
def test_what_was_rejected_is_unknown(store, capsys, sku, status, available) -> None:
    (row,) = _ask(store, capsys, "availability", "--branch", "H", f"{sku}:2")
    (promise,) = _ask(store, capsys, "promise", "--branch", "H", f"{sku}:2")

    assert (row["status"], row["available"], promise["status"]) == (status, available, status)
    assert sum(float(part["quantity"]) for part in promise["promised"]) == (2 if sku == "P" else 0)


def test_a_mistyped_branch_is_no_success_of_the_others(store, capsys) -> None:
    (quote,) = _ask(store, capsys, "quote", "--currency", "EUR", "--branch", "H", "--branch", "NOPE", "P:2")

    assert quote["status"] == "OK"
    assert (quote["availability_status"], quote["available"], quote["promise_date"]) == (
        "UNKNOWN_BRANCH",
        None,
        None,
    )
