"""What people hand over by mistake ends in one line, with exit code 1 or 2, and never in a traceback."""

import csv
import gzip
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pricegrid.loaders.read import csv_files as read
from pricegrid.loaders.read.raw import CELL_BYTES_MAX
from pricegrid.loaders.store.reject_files import neutralised, write_rejects
from pricegrid.loaders.validate.tables import read_dataset
from pricegrid.service.cli.main import main
from tests.load_tables import DISTRIBUTOR, loaded, table
from tests.night_shop import every_table, write
from tests.written import write_frames

Spoken = pytest.CaptureFixture[str]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write_frames(folder, {name: table(text) for name, text in DISTRIBUTOR.items()})
    return folder


def load(shop: Path, *words: str) -> int:
    return main(["load", str(shop), "--store", str(shop.parent / "store"), *words])


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def one_line(capsys: Spoken) -> str:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    "supply", ["feeds", "stock", "allocations", "receipts", "demands", "safety_stock", "lanes"]
)
def test_availability_without_branches_is_refused(shop: Path, supply: str, capsys: Spoken) -> None:
    rows = {name: every_table()[name] for name in ("items", supply)}
    write(shop, rows)

    assert load(shop) == 1

    said = one_line(capsys)
    assert f"rows of {supply} rejected" in said


def test_lines_that_end_with_cr_alone_load(shop: Path) -> None:
    for path in shop.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))

    assert load(shop) == 0
    assert read_dataset(shop).counts["price_entries"].accepted == 2


def test_a_header_of_stray_returns_is_refused(shop: Path, capsys: Spoken) -> None:
    (shop / "items.csv").write_bytes(b"sku\rbase_uom,x\nA,EA\n")

    assert load(shop) == 2
    assert "items.csv: the header can't be read" in one_line(capsys)


@pytest.mark.parametrize("count", [1, 20, 1_000])
def test_long_cells_beside_other_faults_are_rejected_each_with_its_reason(shop: Path, count: int) -> None:
    """A filter may leave an empty chunk, on which the building of a reason panicked."""
    cell = "9" * max(50, 50_000 // count)
    entries = [["LIST", "BOLT", 100 + n, "net", cell, ""] for n in range(2 * count)]
    entries += [
        ["LIST", "NUT", "", "net", "1", "10000-01-01"],
        ["LIST", "DRILL", "", "net", "1", "-2026-01-01"],
    ]
    with (shop / "price_entries.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["book_id", "sku", "min_quantity", "method", "value", "valid_from"], *entries]
        )

    assert load(shop) == 1

    rejects = read_csv(shop.parent / "store" / "rejects" / "price_entries.csv")
    assert len(rejects) == len(entries)
    assert all(row["reason"] for row in rejects)
    if count == 1:
        assert rejects[0]["reason"] == f"50000 bytes: a cell may have {CELL_BYTES_MAX}"
        assert len(rejects[0]["value"]) == CELL_BYTES_MAX


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(shop: Path, capsys: Spoken) -> None:
    (shop / "items.csv").unlink()
    with gzip.open(shop / "items.csv.gz", "wb") as file:
        file.write(b"sku,base_uom\n")
        for _ in range(40):
            file.write(b"A" * (1 << 20))

    assert load(shop) == 2
    assert "items.csv.gz: unpacks to more than" in one_line(capsys)


def test_rows_that_this_machine_cannot_hold_are_refused(
    shop: Path, capsys: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_memory_bytes", lambda: 100)

    assert load(shop) == 2
    assert "rows need about" in one_line(capsys)


def test_a_file_of_broken_records_is_refused(
    shop: Path, capsys: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "BROKEN_RECORDS_MAX", 2)
    (shop / "items.csv").write_text("sku,base_uom\n" + "A\n" * 3)

    assert load(shop) == 2
    assert "items.csv: 3 records are no rows of these 2 columns" in one_line(capsys)


def test_a_password_file_that_is_missing_is_bad_usage(tmp_path: Path, capsys: Spoken) -> None:
    url = f"redis://localhost?password_file={tmp_path / 'none'}"

    assert main(["serve", "--store", str(tmp_path), "--redis-url", url]) == 2
    said = capsys.readouterr().err
    assert "can't be read" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [["--items", "1"], ["--customers", "1"], ["--items", "-5"]])
def test_a_demo_that_is_too_small_is_bad_usage(tmp_path: Path, words: list[str], capsys: Spoken) -> None:
    assert main(["demo", "--dir", str(tmp_path / "demo"), *words]) == 2
    assert "the demo needs at least" in one_line(capsys)
    assert not (tmp_path / "demo").exists()


_WITHOUT_OVERRIDE = ("setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override")


@pytest.mark.slow
@pytest.mark.parametrize("action", ["load", "check", "activate", "prune"])
def test_a_store_that_cannot_be_written(shop: Path, action: str) -> None:
    assert load(shop) == 0
    store = shop.parent / "store"
    version = (store / "current").read_text().strip()
    words = {
        "load": ["load", str(shop)],
        "check": ["load", str(shop), "--check"],
        "activate": ["snapshots", "activate", version],
        "prune": ["snapshots", "prune", "--keep", "1"],
    }[action]
    (store / "lock").unlink()
    for folder, _, files in os.walk(store):
        for file in files:
            (Path(folder) / file).chmod(0o444)
        Path(folder).chmod(0o555)
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("the superuser can write everything, and there is no setpriv")
        prefix = _WITHOUT_OVERRIDE

    ran = subprocess.run(
        [*prefix, sys.executable, "-m", "pricegrid.service.cli.main", *words, "--store", str(store)],
        capture_output=True,
        text=True,
        check=False,
    )
    for folder, _, _ in os.walk(store):
        Path(folder).chmod(0o755)

    assert ran.returncode == 1
    assert "Permission denied" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "Traceback" not in ran.stderr


def test_rejects_are_safe_in_a_spreadsheet_and_can_be_read_back(tmp_path: Path) -> None:
    cells = ["=1+1", "+1", "-5", "@SUM(A1)", "\tx", "\rx", "'quoted", "plain", None]
    frame = table("sku, reason\nA, b")[:0].clear(len(cells)).with_columns(sku=_series(cells))
    path = write_rejects(tmp_path, {"items": frame})["items"]

    written = [row["sku"] for row in read_csv(path)]

    assert all(cell[:1] not in set("=+-@\t\r") or not cell for cell in written)
    assert [cell.removeprefix("'") or None for cell in written] == [*cells[:6], "'quoted", "plain", None]
    assert neutralised(frame.rename({"sku": "=cmd"})).columns[0] == "'=cmd"


def _series(cells: list[str | None]):
    import polars as pl

    return pl.Series(cells, dtype=pl.String)


def test_the_report_says_root_causes_first_and_rejects_name_the_row() -> None:
    dataset = loaded(
        {
            "price_books": """
                book_id, layer,    currency, valid_from
                LIST,    list,     EUR,      01.01.2026
                DEAL,    contract, EUR,
                """,
        }
    )

    assert dataset.rejects["price_entries"]["caused_by"].to_list() == ["price_books.csv:2"] * 2
    assert dataset.rejects["agreements"]["caused_by"].to_list() == ["price_books.csv:2"]
    assert dataset.rejects["price_books"]["caused_by"].to_list() == [None]
    assert dataset.causes[0].text.startswith("1× price_books.valid_from: is neither a date like")
    assert dataset.causes[0].text.endswith('e.g. "01.01.2026"; 3 rows follow from these')
    assert len(dataset.causes) == 1


def test_a_chain_of_causes_leads_to_its_first_row() -> None:
    dataset = loaded(
        {
            "customers": """
                customer_id, currency, parent_id
                TOP,         Euro,
                MIDDLE,      EUR,      TOP
                ACME,        EUR,      MIDDLE
                """,
        }
    )

    assert dataset.rejects["customers"]["caused_by"].to_list() == [None, "customers.csv:2", "customers.csv:2"]
    assert dataset.rejects["agreements"]["caused_by"].to_list() == ["customers.csv:2"]
