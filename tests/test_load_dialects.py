"""One content in many dialects: the same snapshot, byte for byte, and no number through binary float."""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.publish import LoadJob, load
from pricegrid.loaders.read.dialect import Dialect, read_dialects
from pricegrid.loaders.read.tables import read_table
from pricegrid.loaders.tables import TABLES
from pricegrid.loaders.validate.tables import Dataset, validate_alone
from pricegrid.service.cli.main import main
from tests.files_as_written import Cell, Written, write_dataset, write_table
from tests.profiles import examples
from tests.test_architecture import FLOATS, nodes, sources

SHOP = {
    "items": [
        {"sku": sku, "base_uom": "Stück", "description": text, "order_multiple": multiple}
        for sku, text, multiple in (
            ("Öse 4", "Öse, verzinkt; 4 mm", Decimal("0.5")),
            ("00123", 'Rohr 3/4" | 2 m', Decimal(1000)),
            ("BOLT", None, Decimal("1.234")),
        )
    ],
    "uoms": [
        {"sku": "BOLT", "uom": "BOX", "numerator": Decimal("1234.5")},
        {"sku": "00123", "uom": "LB", "numerator": Decimal("0.45359237")},
    ],
    "customers": [{"customer_id": "Müller & Söhne", "currency": "EUR"}],
    "price_books": [
        {"book_id": "LIST", "layer": "list", "currency": "EUR", "valid_from": date(2026, 2, 1)},
        {"book_id": "USD", "layer": "list", "currency": "USD", "valid_from": date(2026, 12, 24)},
    ],
    "exchange_rates": [
        {
            "from_currency": "EUR",
            "to_currency": "USD",
            "rate": Decimal("1.08512"),
            "valid_from": date(2026, 1, 31),
        }
    ],
    "price_entries": [
        {
            "book_id": book,
            "sku": sku,
            "min_quantity": minimum,
            "method": "net",
            "value": value,
            "valid_from": start,
            "valid_to": end,
        }
        for book, sku, minimum, value, start, end in (
            ("LIST", "Öse 4", Decimal(1), Decimal("12.50"), date(2026, 3, 1), date(2026, 12, 31)),
            ("LIST", "Öse 4", Decimal(1000), Decimal("9.999999"), date(2026, 3, 1), date(2026, 12, 31)),
            ("LIST", "00123", Decimal("2.5"), Decimal("1234567.891011"), None, None),
            ("USD", "BOLT", Decimal("1.234"), Decimal("9007199254.740993"), date(2026, 1, 2), None),
        )
    ],
}

DIALECTS = {
    "canonical": Written(),
    "German Excel": Written(";", "utf-8-sig", ",", ".", "%d.%m.%Y", "\r\n"),
    "Unicode text": Written("\t", "utf-16", ",", " ", "%d.%m.%Y", "\r\n"),
    "American": Written(",", "utf-8", ".", ",", "%m/%d/%Y", quote_all=True),
    "old Mac": Written("|", "cp1252", ",", "", "%Y%m%d", "\r"),
    "Swiss": Written(";", "utf-16-be", ".", "'", "%d/%m/%Y"),
    "packed": Written(",", "utf-8", ",", "", "%Y/%m/%d", "\r\n", "csv.gz"),
    "workbook": Written(form="xlsx"),
}
TOML = {
    "American": '[files]\ndecimal = "point"\ndates = "month-first"\n',
    "Swiss": '[files]\nencoding = "utf-16-be"\ndates = "day-first"\n[tables.items]\ndecimal = "point"\n',
    "old Mac": '[files]\nencoding = "windows-1252"\n',
    "canonical": '[tables.exchange_rates]\ndecimal = "point"\n',
}
"""Where a file of the shop alone leaves two readings."""

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_the_same_tables_give_the_same_snapshot_in_every_dialect(tmp_path: Path) -> None:
    hashes: dict[str, tuple[object, ...]] = {}
    for name, how in DIALECTS.items():
        folder = write_dataset(tmp_path / name / "shop", SHOP, how)
        (folder / "dataset.toml").write_text(TOML.get(name, ""))
        store = tmp_path / name / "store"
        report = load(LoadJob(folder, store, "Europe/Berlin"), clock=lambda: AT)
        assert report.published, (name, report.as_text())
        assert not report.rejects, (name, report.as_text())
        snapshot = store / "snapshots" / str(report.snapshot_version)
        manifest = json.loads((snapshot / "manifest.json").read_text())
        arrays = {path.name: path.read_bytes() for path in snapshot.glob("*.npy")}
        hashes[name] = (report.snapshot_version, manifest["content_sha256"], arrays, manifest["kept_files"])

    assert len(DIALECTS) >= 7
    for name, found in hashes.items():
        assert found == hashes["canonical"], name


# -- random tables in random dialects ----------------------------------------------------------------------------------

NAMES = st.text(st.sampled_from("ABCxyz019 -/.;,|'\"äöüßéàñ\t\n"), min_size=1, max_size=8).map(
    lambda text: text.strip(" \t\n") or "X"
)
MICROS = st.one_of(
    st.integers(0, 2**63 - 1),
    st.integers(0, 10**7).map(lambda n: n * 1000),
    st.integers(0, 10**6).map(lambda n: n * 10**6),
).map(lambda micros: Decimal(micros).scaleb(-6))
DAYS = st.dates(date(1970, 1, 1), date(2100, 12, 31))


@st.composite
def notations(draw: st.DrawFn) -> Written:
    decimal = draw(st.sampled_from(".,"))
    return Written(
        separator=draw(st.sampled_from(",;\t|")),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252", "iso8859-1"])),
        decimal=decimal,
        thousands=draw(st.sampled_from(["", "." if decimal == "," else ",", " ", "'", "\u00a0"])),
        dates=draw(
            st.sampled_from(
                ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y%m%d"]
            )
        ),
        line_end=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        form=draw(st.sampled_from(["csv", "csv", "csv.gz", "xlsx"])),
        quote_all=draw(st.booleans()),
    )


NO_SHRINK = [phase for phase in Phase if phase is not Phase.shrink]
"""Shrinking a file takes minutes, and small rows say enough."""

ROWS = st.lists(st.tuples(NAMES, NAMES, MICROS, st.none() | DAYS), min_size=1, max_size=8)


def read_costs(
    folder: Path, rows: Sequence[tuple[str, str, Decimal, date | None]], how: Written, stated: Dialect
) -> tuple[Dataset, list[Mapping[str, Cell]]]:
    if how.line_end == "\r":  # there a line break inside a cell is one of the file
        rows = [(sku.replace("\n", " "), branch.replace("\n", " "), *rest) for sku, branch, *rest in rows]
    cells = [
        {"sku": f"{at}{sku}", "cost": cost, "currency": "EUR", "branch": f"{branch}!", "valid_from": day}
        for at, (sku, branch, cost, day) in enumerate(rows)
    ]
    path = write_table(folder, "costs", cells, how)
    try:
        return validate_alone(read_table(path, TABLES["costs"], stated)), cells
    finally:
        path.unlink()


def as_read(frame: pl.DataFrame) -> dict[str, tuple[object, ...]]:
    day = pl.from_epoch("valid_from_us", "us").dt.date()
    found = frame.select(
        "sku", "branch", "cost_micros", pl.when(pl.col("valid_from_us") > -(10**18)).then(day)
    )
    return {row[0]: row[1:] for row in found.rows()}


def as_meant(cells: Sequence[Mapping[str, Cell]]) -> dict[str, tuple[object, ...]]:
    return {
        str(cell["sku"]): (cell["branch"], int(Decimal(str(cell["cost"])).scaleb(6)), cell["valid_from"])
        for cell in cells
    }


@settings(max_examples=examples(150), deadline=None, phases=NO_SHRINK)
@given(ROWS, notations())
def test_what_is_stated_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, Decimal, date | None]],
    how: Written,
) -> None:
    encodings = {"cp1252": "windows-1252", "iso8859-1": "iso-8859-1", "utf-16": "utf-16"}
    stated = Dialect(
        encoding=encodings.get(how.encoding),
        decimal="comma" if how.decimal == "," else "point",
        dates="month-first" if how.dates.startswith("%m") else "day-first",
    )
    if how.encoding == "iso8859-1" and how.thousands == "\u00a0":
        how = replace(how, thousands=" ")

    dataset, cells = read_costs(tmp_path_factory.mktemp("stated"), rows, how, stated)

    assert dataset.rejects == {}
    assert as_read(dataset.frames["costs"]) == as_meant(cells)


@settings(max_examples=examples(150), deadline=None, phases=NO_SHRINK)
@given(ROWS, notations())
def test_what_nobody_states_is_read_equal_or_rejected_and_never_as_something_else(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, Decimal, date | None]],
    how: Written,
) -> None:
    if how.encoding in ("cp1252", "iso8859-1"):
        how = replace(how, thousands=how.thousands.replace("\u00a0", ""))
        # of a record of several lines that is not UTF-8, each line is a reject
        rows = [(sku.replace("\n", " "), branch.replace("\n", " "), *rest) for sku, branch, *rest in rows]

    dataset, cells = read_costs(tmp_path_factory.mktemp("unstated"), rows, how, Dialect())

    meant = as_meant(cells)
    found = as_read(dataset.frames["costs"])
    assert found.items() <= meant.items()
    assert len(found) + sum(frame.height for frame in dataset.rejects.values()) == len(meant)
    for reason in dataset.rejects.get("costs", pl.DataFrame({"reason": []}))["reason"]:
        assert "has two readings: say --" in reason or "are not UTF-8" in reason


# -- statements --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[files]\nseparator = ';'", "files.separator is ';'; it is one of comma, semicolon, tab, pipe"),
        ("[files]\ncharset = 'utf-8'", "unknown key files.charset; known are separator, encoding"),
        ("[tables.prices]\ndecimal = 'comma'", "unknown key tables.prices; known are product_groups"),
        ("[tables]\nitems = 1", "tables.items is no section"),
        ("decimal = 'comma'", "unknown key decimal; known are files, tables"),
        ("[files", "dataset.toml: can't be read"),
    ],
)
def test_a_dataset_toml_that_says_nonsense_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(text)

    with pytest.raises(DatasetError) as error:
        read_dialects(tmp_path)

    assert words in str(error.value)


def test_options_win_over_the_table_and_the_table_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text(
        '[files]\nseparator = "tab"\ndecimal = "comma"\n[tables.items]\nseparator = "pipe"\ndates = "day-first"\n'
    )

    dialects = read_dialects(tmp_path, Dialect(dates="month-first"))

    assert dialects.of("items") == Dialect("pipe", None, "comma", "month-first")
    assert dialects.of("costs") == Dialect("tab", None, "comma", "month-first")


def test_options_of_the_command_state_the_dialect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "items.csv").write_bytes("sku|base_uom|order_multiple\nCrème|EA|1.234\n".encode("cp1252"))
    words = ["load", str(shop), "--store", str(tmp_path / "store"), "--json", "--check"]

    assert main(words) == 1
    capsys.readouterr()
    assert main([*words, "--encoding", "windows-1252", "--decimal", "comma", "--separator", "pipe"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["tables"]["items"]["accepted"] == 1
    assert report["files"]["items"]["encoding"] == "windows-1252"
    assert report["files"]["items"]["decimal"] == "comma"


# -- no binary float ---------------------------------------------------------------------------------------------------


def test_readers_know_no_binary_float_but_that_of_workbooks() -> None:
    """A workbook's numbers are floats in the file; `sheets` writes their 15 digits as text and hands no float on."""
    found = {
        (path.name, node.attr if isinstance(node, ast.Attribute) else node.id)
        for folder in ("read", "validate")
        for path in sources("loaders")
        if path.parent.name == folder
        for node in nodes(path)
        if (isinstance(node, ast.Name) and node.id in {*FLOATS, "Float64", "Float32"})
        or (isinstance(node, ast.Attribute) and node.attr in {*FLOATS, "Float64", "Float32"})
    }

    assert found == {("sheets.py", "float")}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_number_that_no_float_can_hold_is_read_to_its_last_digit(name: str, tmp_path: Path) -> None:
    value = Decimal("9007199254740.993001")
    rows = [
        {"sku": "A", "cost": value, "currency": "EUR"},
        {"sku": "B", "cost": Decimal("0.5"), "currency": "EUR"},
    ]
    path = write_table(tmp_path, "costs", rows, DIALECTS[name])

    encoding = "utf-16-be" if name == "Swiss" else None
    raw = read_table(path, TABLES["costs"], Dialect(encoding=encoding))

    assert not any(dtype.is_float() for dtype in raw.canonical.schema.values())
    assert validate_alone(raw).frames["costs"]["cost_micros"].to_list() == [
        9_007_199_254_740_993_001,
        500_000,
    ]
