"""`pricegrid inspect`: what is in a file, a dataset or a store."""

import json
from pathlib import Path
from typing import Any

import pytest

from pricegrid.service.cli.main import main
from tests.load_tables import DISTRIBUTOR, table

Spoken = pytest.CaptureFixture[str]

CHANGED = {
    "customers": """
        customer_id, currency, parent_id, price_class
        GROUP,       EUR,      ,          GOLD
        ACME,        EUR,      GROUP,     GOLD
        OTHER,       EUR,      ,
        HEAD,        EUR,      ,          TRADE
        BRANCH,      EUR,      HEAD,
        """,
    "customer_classes": """
        customer_id, price_class, priority
        HEAD,        TILER,       2
        HEAD,        GOLD,        1
        """,
    "price_books": """
        book_id, layer,    currency, valid_from, valid_to
        LIST,    list,     EUR,      ,
        DEAL,    contract, EUR,      ,
        OLD,     contract, EUR,      2020-01-01, 2020-12-31
        ABOVE,   contract, EUR,      ,
        ALONE,   contract, EUR,      ,
        GOLD,    list,     EUR,      ,
        """,
    "agreements": """
        book_id, customer_id, price_class, everyone, priority, inherit
        LIST,    ,            ,            true,     ,
        DEAL,    ACME,        ,            ,         2,
        OLD,     ACME,        ,            ,         1,
        ABOVE,   GROUP,       ,            ,         ,
        ALONE,   GROUP,       ,            ,         ,         false
        GOLD,    ,            GOLD,        ,         ,
        """,
    "price_entries": """
        book_id, sku,  uom, min_quantity, method,       value, basis, valid_from, valid_to,   entry_id
        LIST,    NUT,  ,    ,             net,          3,     ,      ,           ,           e4
        LIST,    BOLT, ,    10,           net,          11.00, ,      2026-01-01, 2026-12-31, e2
        LIST,    BOLT, ,    ,             net,          12.50, ,      2026-01-01, ,           e1
        LIST,    BOLT, BOX, 0.5,          net,          999.9, ,      ,           ,           e3
        DEAL,    BOLT, ,    ,             discount_pct, 5,     LIST,  ,           ,           e5
        """,
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "shop"
    folder.mkdir()
    for name, text in {**DISTRIBUTOR, **CHANGED}.items():
        table(text).write_csv(folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def store(shop: Path) -> Path:
    store = shop.parent / "store"
    assert main(["load", str(shop), "--store", str(store), "--time-zone", "Europe/Berlin"]) == 0
    return store


def inspected(capsys: Spoken, path: Path, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["inspect", str(path), "--json", *words]) == 0
    return dict(json.loads(capsys.readouterr().out))


def spoken(capsys: Spoken, path: Path, *words: str) -> str:
    capsys.readouterr()
    assert main(["inspect", str(path), *words]) == 0
    return capsys.readouterr().out


def columns_of(document: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    (found,) = [each for each in document["tables"] if each["table"] == name]
    return {column["column"]: column for column in found["columns"]}


def test_a_file_is_told_by_itself(tmp_path: Path, capsys: Spoken) -> None:
    path = tmp_path / "price_entries.csv"
    path.write_bytes(
        b"book_id;sku;method;value;valid_from;valid_to\r\n"
        b"L;A;net;1.000,50;01.02.2026;31.12.2026\r\n"
        b"L;B;net;9,5;;\r\n"
        b"L;C;net;dear;;\r\n"
    )

    document = inspected(capsys, path)

    (entries,) = document["tables"]
    assert (entries["rows"], entries["accepted"], entries["rejected"]) == (3, 2, 1)
    assert entries["dialect"]["separator"] == "semicolon"
    assert entries["dialect"]["decimal"] == "comma"
    assert entries["dialect"]["dates"] == {"valid_from": "dd.mm.yyyy", "valid_to": "dd.mm.yyyy"}
    columns = columns_of(document, "price_entries")
    assert (columns["value"]["lowest"], columns["value"]["highest"]) == ("9.5", "1000.5")
    assert columns["valid_to"]["highest"] == "2026-12-31"
    assert columns["sku"]["examples"] == ["A", "B"]
    assert columns["basis"] == {"column": "basis", "filled": 0, "distinct": 0}
    assert [cause["text"] for cause in document["causes"]] == [
        '1× price_entries.value: is not a number, e.g. "dear"'
    ]
    text = spoken(capsys, path)
    assert "separator semicolon, encoding utf-8, line ends CRLF, decimal comma" in text
    assert "9.5 to 1000.5" in text


def test_a_file_with_another_name_is_told_as_the_table_that_is_said(tmp_path: Path, capsys: Spoken) -> None:
    path = tmp_path / "export of Monday.csv"
    path.write_text("sku|base_uom\nA|EA\n")

    assert main(["inspect", str(path)]) == 2
    assert "unknown table" in capsys.readouterr().err
    assert inspected(capsys, path, "--table", "items")["tables"][0]["accepted"] == 1


def test_a_dataset_is_told_with_its_causes(shop: Path, capsys: Spoken) -> None:
    document = inspected(capsys, shop)

    assert [each["table"] for each in document["tables"]] == [
        *("product_groups", "items", "uoms", "customers", "customer_classes", "layers", "price_books"),
        *("agreements", "price_entries"),
    ]
    assert columns_of(document, "price_entries")["value"]["highest"] == "999.9"
    assert columns_of(document, "layers")["mode"]["examples"] == ["first"]
    assert document["causes"] == []


def test_a_store_is_told(store: Path, capsys: Spoken) -> None:
    document = inspected(capsys, store)

    assert document["time_zone"] == "Europe/Berlin"
    assert document["snapshots"] == 1
    columns = columns_of(document, "price_entries")
    assert (columns["value"]["lowest"], columns["value"]["highest"]) == ("3", "999.9")
    assert columns["valid_from"]["lowest"] == "2026-01-01"
    assert columns["valid_to"]["highest"] == "2026-12-31"
    assert "price_entries: 5 rows" in spoken(capsys, store)


def test_a_store_says_how_long_its_books_are_unchanged(store: Path, capsys: Spoken) -> None:
    document = inspected(capsys, store)
    books, made = document["books"], document["created_at"][:19] + "Z"

    assert {age: count for age, count in books["unchanged"].items() if count} == {"0-1 days": 5}
    assert books["last_changed"] == made
    longest = [{"book_id": name, "unchanged_since": made} for name in ("ABOVE", "ALONE", "DEAL")]
    assert books["longest"] == longest, "not OLD, which is over"
    assert f"0-1 days 5; longest: ABOVE since {made}" in spoken(capsys, store)
    assert inspected(capsys, store, "--book", "LIST")["book"]["unchanged_since"] == made


def test_the_books_of_a_customer_stand_in_the_order_of_search(store: Path, capsys: Spoken) -> None:
    document = inspected(capsys, store, "--customer", "ACME")

    assert document["groups"] == ["GROUP"]
    assert [(book["book_id"], book["through"], book["in_force"]) for book in document["books"]] == [
        ("OLD", "the customer", False),
        ("DEAL", "the customer", True),
        ("ABOVE", "group GROUP", True),
        ("GOLD", "price class GOLD", True),
        ("LIST", "everyone", True),
    ]
    assert document["books"][0]["valid_to"] == "2020-12-31"
    assert [book["book_id"] for book in inspected(capsys, store, "--customer", "OTHER")["books"]] == ["LIST"]
    alone = inspected(capsys, store, "--customer", "GROUP")["books"]
    assert [book["book_id"] for book in alone] == ["ABOVE", "ALONE", "GOLD", "LIST"]
    assert "contract (1)" in spoken(capsys, store, "--customer", "ACME")


def test_all_classes_of_a_customer_bring_it_books(store: Path, capsys: Spoken) -> None:
    document = inspected(capsys, store, "--customer", "BRANCH")

    assert document["price_classes"] == ["TRADE", "GOLD", "TILER"]
    assert [(book["book_id"], book["through"]) for book in document["books"]] == [
        ("GOLD", "price class GOLD"),
        ("LIST", "everyone"),
    ]
    assert "price classes in order: TRADE, GOLD, TILER" in spoken(capsys, store, "--customer", "BRANCH")
    assert "price classes" not in spoken(capsys, store, "--customer", "ACME")


def test_the_entries_of_a_book_come_in_pages(store: Path, capsys: Spoken) -> None:
    whole = inspected(capsys, store, "--book", "LIST")
    pages = [
        inspected(capsys, store, "--book", "LIST", "--limit", "3", "--page", page) for page in ("1", "2")
    ]

    assert [entry["entry_id"] for entry in whole["entries"]] == ["e3", "e1", "e2", "e4"]
    assert [entry for page in pages for entry in page["entries"]] == whole["entries"]
    assert (pages[0]["entries_total"], pages[0]["pages"]) == (4, 2)
    assert whole["entries"][2] == {
        "sku": "BOLT",
        "min_quantity": "10",
        "method": "net",
        "value": "11",
        "valid_from": "2026-01-01",
        "valid_to": "2026-12-31",
        "explicit_zero": "false",
        "entry_id": "e2",
    }
    assert "--page 2 for more" in spoken(capsys, store, "--book", "LIST", "--limit", "3")
    assert inspected(capsys, store, "--book", "DEAL")["entries"][0]["basis"] == "LIST"


def test_a_delta_is_in_the_entries_of_a_book(store: Path, tmp_path: Path, capsys: Spoken) -> None:
    before = (store / "current").read_text().strip()
    (tmp_path / "price_entries.csv").write_text("book_id;sku;method;value;entry_id\nDEAL;NUT;net;2,5;new\n")
    assert main(["load", str(tmp_path), "--store", str(store), "--delta", "--force"]) == 0

    entries = inspected(capsys, store, "--book", "DEAL")["entries"]
    assert main(["snapshots", "activate", before, "--store", str(store)]) == 0

    assert [(entry["sku"], entry["value"]) for entry in entries] == [("BOLT", "5"), ("NUT", "2.5")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--customer", "NOBODY"], 1, 'there is no customer "NOBODY"'),
        (["--book", "NONE"], 1, 'there is no price book "NONE"'),
        (["--snapshot", "20200101T000000Z-00000000"], 1, "has no snapshot"),
        (["--page", "0"], 2, "not a number from 1 on"),
    ],
)
def test_what_a_store_does_not_have(
    store: Path, words: list[str], code: int, said: str, capsys: Spoken
) -> None:
    assert main(["inspect", str(store), *words]) == code
    assert said in capsys.readouterr().err


def test_what_is_neither_file_nor_store(shop: Path, tmp_path: Path, capsys: Spoken) -> None:
    (tmp_path / "notes.txt").write_text("x")

    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
    assert main(["inspect", str(tmp_path / "notes.txt")]) == 2
    assert main(["inspect", str(shop), "--book", "LIST"]) == 2
    said = capsys.readouterr().err
    assert all(words in said for words in ("doesn't exist", "neither .csv", "is no snapshot store"))
