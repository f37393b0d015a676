"""`pricegrid quote` and `explain` on a store, as a user types them."""

import json

import pytest

from pricegrid.service.cli.main import COMMANDS, main
from tests.stores import price_rows, publish

KEYS = [
    "sku", "quantity", "uom", "status", "unit_price", "currency", "extended_price", "book_id", "entry_id", "layer",
    "source", "valid_until", "snapshot_version", "available", "shortage", "promise_date", "freshness",
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    directory = tmp_path_factory.mktemp("store")
    publish(directory, price_rows(), time_zone="Europe/Berlin")
    return str(directory)


@pytest.fixture
def quote(store, capsys):
    def run(*words: str) -> tuple[int, list[dict[str, object]]]:
        code = main(["quote", "--store", store, "--json", *words])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_prints_a_list_with_one_object_a_line(store, capsys):
    assert main(["quote", "--store", store, "--customer", "C1", "--json", "S4", "S5:2"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert [json.loads(line.rstrip(","))["sku"] for line in lines[1:-1]] == ["S4", "S5"]


def test_the_named_keys_come_first_and_in_order(quote):
    _, (row,) = quote("--customer", "C1", "S4")

    assert list(row)[: len(KEYS)] == KEYS


def test_decimals_are_strings(quote):
    code, (row,) = quote("--customer", "C1", "--as-of", "2026-03-01", "S3:2.50")

    assert code == 0
    assert {key: row[key] for key in ("quantity", "unit_price", "extended_price", "currency")} == {
        "quantity": "2.5",
        "unit_price": "1.25",
        "extended_price": "3.13",
        "currency": "EUR",
    }
    assert (row["book_id"], row["entry_id"], row["layer"], row["source"]) == (
        "C1",
        "deal-7",
        "contract",
        "MATRIX",
    )


def test_a_contracts_end_is_when_the_answer_ends_in_the_datasets_zone(quote):
    _, (row,) = quote("--customer", "C1", "--as-of", "2026-03-01", "S3")

    assert row["valid_until"] == "2026-06-30T22:00:00Z"
    assert row["as_of"] == "2026-02-28T23:00:00Z"


def test_prices_have_the_digits_of_their_currency(quote):
    _, (row,) = quote("--customer", "C2", "S0:12")

    assert (row["unit_price"], row["extended_price"], row["converted"]) == ("1524.75", "18297", True)


STATUSES = [
    ("S4", "OK"),
    ("S4:-2", "OK"),
    ("S4:0", "INVALID_QUANTITY"),
    ("S4:0.0000001", "INVALID_QUANTITY"),
    ("S4:9223372036854.775808", "INVALID_QUANTITY"),
    ("S4:99999999999999999999999999", "INVALID_QUANTITY"),
    ("S4:9223372036854.775807", "OUT_OF_RANGE"),
    ("nope", "UNKNOWN_ITEM"),
    ("E1", "NOT_ENTITLED"),
    ("S4:1:XX", "UNKNOWN_UOM"),
    ("N1", "NO_PRICE"),
    ("S1:2", "BELOW_MINIMUM"),
]


@pytest.mark.parametrize(("line", "status"), STATUSES)
def test_each_line_has_its_status_and_the_exit_code_says_if_all_are_ok(quote, line, status):
    code, (row,) = quote("--customer", "C1", line)

    assert row["status"] == status
    assert code == (0 if status == "OK" else 1)
    assert (row["unit_price"] is not None) == (status == "OK")


def test_one_bad_line_spoils_no_other(quote):
    code, rows = quote("--customer", "C1", "S4", "nope", "S5")

    assert code == 1
    assert [row["status"] for row in rows] == ["OK", "UNKNOWN_ITEM", "OK"]


def test_says_from_which_quantity_on_there_is_a_price(quote):
    _, (row,) = quote("--customer", "C1", "S1:2")

    assert row["minimum_quantity"] == "5"


def test_an_item_of_the_erps_is_an_unconfirmed_exception(quote):
    _, (row,) = quote("--customer", "C1", "X1")

    assert (row["status"], row["exception"]) == ("OK", "PRICE_SOURCE_ERP")


@pytest.mark.parametrize(
    ("options", "exception"),
    [
        ([], None),
        (["--exception-above", "99.99:EUR"], "OVER_THRESHOLD"),
        (["--exception-above", "100:EUR"], None),
        (["--exception-above", "1:JPY"], None),
        (["--flag-customer", "C1"], "FLAGGED"),
        (["--flag-sku", "S4"], "FLAGGED"),
        (["--flag-sku", "S5"], None),
    ],
)
def test_the_operator_says_what_else_is_an_exception(quote, options, exception):
    _, (row,) = quote("--customer", "C1", *options, "S4:10")

    assert row["exception"] == exception


def test_options_may_stand_anywhere(quote):
    code, rows = quote("S4", "--branch", "B1", "S5:2", "--customer", "C1", "--branch", "B2", "S6")

    assert code == 0
    assert [row["sku"] for row in rows] == ["S4", "S5", "S6"]


def test_lines_come_from_a_file_too(quote, tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text('sku,quantity,uom\nS5,3,\n"S2",2,BOX\nS6,,\n', encoding="utf-8")

    code, rows = quote("--customer", "C1", "S4", "--lines", str(path))

    assert code == 0
    assert [(row["sku"], row["quantity"], row["uom"]) for row in rows] == [
        ("S4", "1", None),
        ("S5", "3", None),
        ("S2", "2", "BOX"),
        ("S6", "1", None),
    ]


def test_without_a_customer_everyones_price_is_told_in_the_currency_asked(quote):
    code, (row,) = quote("--currency", "JPY", "S4")

    assert (code, row["unit_price"], row["currency"]) == (0, "1605", "JPY")


REFUSED = [
    (["--customer", "C9", "S4"], "CUSTOMER_NOT_ALLOWED"),
    (["S4"], "CURRENCY_REQUIRED"),
    (["--customer", "C1", "--currency", "euro", "S4"], "INVALID_CURRENCY"),
    (["--customer", "C1", "--snapshot-version", "nope", "S4"], "UNKNOWN_SNAPSHOT"),
    (["--customer", "C1", "S" * 200], "SKU_TOO_LONG"),
]


@pytest.mark.parametrize(("words", "reason"), REFUSED)
def test_a_refused_request_says_why_and_ends_with_1(store, capsys, words, reason):
    assert main(["quote", "--store", store, "--json", *words]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert reason in printed.err


BAD_USAGE = [
    ["--customer", "C1"],
    ["--customer", "C1", "S4:many"],
    ["--customer", "C1", "S4:1,000"],
    ["--customer", "C1", "S4:1e3"],
    ["--customer", "C1", "S4:nan"],
    ["--customer", "C1", ":5"],
    ["--customer", "C1", "S4", "--as-of", "yesterday"],
    ["--customer", "C1", "S4", "--as-of", "2026-03-01T10:00:00"],
    ["--customer", "C1", "S4", "--lines", "no-such-file.csv"],
    ["--customer", "C1", "S4", "--address", "127.0.0.1:1"],
    ["--customer", "C1", "S4", "--exception-above", "100"],
    ["--customer", "C1", "S4", "--nonsense"],
    ["--cust", "C1", "S4"],
]


@pytest.mark.parametrize("words", BAD_USAGE, ids=" ".join)
def test_bad_usage_ends_with_2(store, capsys, words):
    assert main(["quote", "--store", store, *words]) == 2
    assert capsys.readouterr().err


BAD_FILES = {
    "no header": "S4,1,EA\n",
    "an unknown column": "sku,qty\nS4,1\n",
    "no number": "sku,quantity\nS4,many\n",
    "no sku": "sku,quantity\n,1\n",
    "too many fields": "sku,quantity,uom\nS4,1,EA,EUR\n",
    "not UTF-8": b"sku\n\xff\xfe\n",
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_lines_file_is_bad_usage(store, capsys, tmp_path, content):
    path = tmp_path / "lines.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    assert main(["quote", "--store", store, "--customer", "C1", "--lines", str(path)]) == 2
    assert "lines.csv" in capsys.readouterr().err


def test_a_store_without_snapshot_says_what_to_do(capsys, tmp_path):
    assert main(["quote", "--store", str(tmp_path), "--customer", "C1", "S4"]) == 1
    assert "load" in capsys.readouterr().err


def test_no_server_there_is_said_plainly(capsys):
    assert main(["quote", "--address", "127.0.0.1:1", "--timeout", "5", "--customer", "C1", "S4"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


def test_without_json_a_table(store, capsys):
    main(["quote", "--store", store, "--customer", "C1", "S4:3", "S1:2"])

    printed = capsys.readouterr().out
    assert "30.00" in printed
    assert "BELOW_MINIMUM" in printed
    assert "from 5 on" in printed


def test_explains_readably(store, capsys):
    assert main(["explain", "--store", store, "S3:4", "--customer", "C1", "--as-of", "2026-03-01"]) == 0

    printed = capsys.readouterr().out
    assert "C1/deal-7" in printed
    assert "1.25 EUR a unit, 5.00 EUR in all" in printed


def test_explains_as_json(store, capsys):
    assert main(["explain", "--store", store, "--json", "--customer", "C1", "nope"]) == 1

    assert json.loads(capsys.readouterr().out)["answer"]["status"] == "UNKNOWN_ITEM"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"usage: pricegrid {command}" in capsys.readouterr().out


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0

    printed = capsys.readouterr().out
    assert [command for command in COMMANDS if f"  {command}" not in printed] == []


def test_no_command_and_no_such_command_are_bad_usage():
    assert main([]) == 2
    assert main(["nonsense"]) == 2


@pytest.fixture(scope="module")
def screws(tmp_path_factory):
    """A store in which S4 costs 12.35 per 1000, less 47.5 % (P14)."""
    directory, rows = tmp_path_factory.mktemp("screws"), price_rows()
    rows["price_books"].append({"book_id": "SCREWS", "layer": "list", "currency": "EUR"})
    rows["price_entries"] += [
        {"book_id": "SCREWS", "sku": "S4", "method": "net", "value": "12.35", "price_per": "1000"},
        {"book_id": "C1", "sku": "S4", "method": "discount_pct", "value": "47.5", "basis": "SCREWS"},
    ]
    publish(directory, rows)
    return str(directory)


def test_a_price_of_many_units_says_so(screws, capsys):
    question = ["--store", screws, "--customer", "C1", "S4:250000"]

    assert main(["quote", "--json", *question]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["unit_price"], row["price_per"], row["extended_price"]) == ("6.48375", 1000, "1620.94")
    assert main(["quote", *question]) == 0
    assert "6.48375 per 1000" in capsys.readouterr().out
    assert main(["explain", *question]) == 0
    told = capsys.readouterr().out
    assert "gives 6.48375 per 1000" in told
    assert "6.48375 EUR per 1000, 1620.94 EUR in all" in told
