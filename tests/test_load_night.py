"""A safe night is the default: what an export may lose, and what customers would see, is refused until told otherwise.

Every load goes through the command, with the real compilers and the real engines.
"""

import json
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pricegrid.loaders.store.kept import stored_tables
from pricegrid.loaders.store.snapshot import _checksum, activate, current_version, list_snapshots
from pricegrid.loaders.tables import TABLES
from pricegrid.service.cli.main import main
from tests.datasets import Rows
from tests.night_shop import RETYPED, SPOILT, every_table, write
from tests.servers import until


class Night:
    """Loads into one store, and keeps what was printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.out = self.err = ""
        self._capsys = capsys

    def load(self, rows: Rows, *words: str) -> int:
        dataset = write(self.folder / "dataset", rows)
        return self.run("load", str(dataset), "--store", str(self.store), *words)

    def run(self, *words: str) -> int:
        self._capsys.readouterr()
        code = main(words)
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    def flags(self) -> list[str]:
        """Those that the refusal names, opened wide."""
        words: list[str] = []
        for flag in re.findall(r"to publish all the same: (--[^\n]*?)(?: or --force)?\n", self.err + "\n"):
            name, *tables = flag.split()
            for table in tables:
                words += [name, table]
            if not tables:
                words += [name] if name == "--force" else [name, "100"]
        return words


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store into which the shop was loaded."""
    folder = tmp_path_factory.mktemp("first")
    dataset = write(folder / "dataset", every_table())
    assert main(["load", str(dataset), "--store", str(folder / "store")]) == 0
    return folder


@pytest.fixture
def night(first_night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Night:
    shutil.copytree(first_night, tmp_path, dirs_exist_ok=True)
    return Night(tmp_path, capsys)


def test_the_shop_has_every_table() -> None:
    assert every_table().keys() == TABLES.keys() == RETYPED.keys()


def test_the_same_again_is_published_and_stored_once(night: Night) -> None:
    before = current_version(night.store)
    second = int(time.time())
    until(
        lambda: time.time() >= second + 1,
        "another second: the same content in the same one is the same version",
    )

    assert night.load(every_table(), "--json") == 0

    report = json.loads(night.out)
    assert [gate["passed"] for gate in report["gates"]] == [True] * len(report["gates"])
    assert report["sample"]["questions"] > 20
    assert report["shared_bytes"] == report["size_bytes"] > 0
    first, second = (_inodes(night.store, version) for version in (before, report["snapshot_version"]))
    assert second <= first


def _inodes(store: Path, version: str) -> set[int]:
    files = (store / "snapshots" / version).iterdir()
    return {file.stat().st_ino for file in files if file.name != "manifest.json"}


@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("table", TABLES)
def test_a_spoilt_table_is_refused_and_named_and_published_when_told(
    night: Night, table: str, how: str
) -> None:
    before = current_version(night.store)
    spoilt = SPOILT[how](every_table(), table)

    assert night.load(spoilt) == 1

    assert re.search(rf"\b{table}\b", night.err)
    assert "--" in night.err
    assert current_version(night.store) == before
    assert len(list_snapshots(night.store)) == 1
    flags = night.flags()
    assert flags
    assert night.load(spoilt, *flags) == 0, night.err
    assert current_version(night.store) != before


def test_a_currency_that_changed_is_seen_by_the_sample(night: Night) -> None:
    rows = every_table()
    rows["price_books"][0]["currency"] = "JPY"  # rates say what a yen is: everything still has a price

    assert night.load(rows) == 1

    assert "gate sample" in night.err
    assert "--max-sample-pct" in night.err
    assert night.load(rows, "--max-sample-pct", "100") == 0


def test_prices_that_moved_too_far_are_seen_by_the_sample(night: Night) -> None:
    def priced(factor: int) -> Rows:
        rows = every_table()
        for entry in rows["price_entries"]:
            entry["value"] = str(factor * float(entry["value"]))
        return rows

    assert night.load(priced(100)) == 1
    assert "sampled answers moved too far" in night.err
    assert night.load(priced(100), "--max-change-pct", "9900") == 0


def test_a_book_of_many_that_nobody_gets_any_more_is_named(night: Night) -> None:
    rows = every_table()
    for number in range(20):
        rows["customers"].append({"customer_id": f"D{number}", "currency": "EUR"})
        rows["price_books"].append({"book_id": f"D{number}", "layer": "contract", "currency": "EUR"})
        rows["agreements"].append({"book_id": f"D{number}", "customer_id": f"D{number}"})
        rows["price_entries"].append({"book_id": f"D{number}", "sku": "S7", "method": "net", "value": "9"})
    assert night.load(rows, "--max-sample-pct", "100") == 0
    rows["agreements"].pop()

    assert night.load(rows) == 1
    assert "D19" in night.err
    assert "--allow-absent agreements" in night.err
    assert night.load(rows, "--allow-absent", "agreements") == 0


def test_a_first_load_that_rejects_much_is_refused(night: Night) -> None:
    rows = every_table()
    rows["price_entries"] = [{**entry, "book_id": "LOST"} for entry in rows["price_entries"][:2]] + rows[
        "price_entries"
    ][2:]
    shutil.rmtree(night.store)

    assert night.load(rows) == 1
    assert "2 of 24 rows of price_entries rejected (limit 5 %)" in night.err
    assert night.load(rows, "--max-reject-pct", "10") == 0


def test_a_delta_that_deletes_much_or_loses_sampled_prices_is_refused(night: Night) -> None:
    delta = [{"book_id": "LIST", "sku": f"S{number}", "deleted": "true"} for number in range(2, 8)]
    folder = write(night.folder / "delta", {"price_entries": delta}, is_delta=True)
    words = ("load", str(folder), "--store", str(night.store), "--delta")

    assert night.run(*words) == 1
    assert "gate vanished: 6 of 24 rows of price_entries are deleted" in night.err
    assert "gate sample" in night.err
    assert night.run(*words, "--max-vanished-pct", "30", "--max-sample-pct", "100") == 0
    assert stored_tables(night.store, current_version(night.store)).rows["price_entries"] == 18
    # the next full load compares with what the delta left
    assert night.load(every_table(), "--json") == 0


def test_check_does_all_but_publish(night: Night) -> None:
    rows = every_table()
    before = current_version(night.store)
    rows["customers"][0]["price_class"] = "gold"

    assert night.load(rows, "--check") == 0
    assert "it would be published" in night.out
    assert "customers: 0 added, 0 removed, 1 changed" in night.out

    assert night.load(SPOILT["absent"](rows, "agreements"), "--check", "--json") == 1
    report = json.loads(night.out)
    assert report["refused"]
    assert report["diff"]["tables"]["agreements"]["removed"] == 2
    assert current_version(night.store) == before
    assert len(list_snapshots(night.store)) == 1
    assert not (night.store / "snapshots" / ".loading").exists()


def test_diff_covers_every_table_and_says_what_customers_will_see(night: Night) -> None:
    old = current_version(night.store)
    rows = every_table()
    for table in TABLES:
        if table != "price_entries":
            rows[table] = rows[table][1:] or rows[table]
    rows["price_entries"][0]["value"] = "12"
    assert night.load(rows, "--force") == 0

    assert night.run("snapshots", "diff", old, "current", "--store", str(night.store), "--json") == 0
    diff = json.loads(night.out)
    for table in TABLES.keys() - {"price_entries", "uoms", "exchange_rates", "entitlements", "receipts"}:
        assert diff["tables"][table]["removed"] >= 1, table  # and what names the row
        assert diff["tables"][table]["examples"][0]["change"] == "removed"
    assert diff["sample"]["gone"] + diff["sample"]["not_asked"] > 0

    assert night.run("snapshots", "diff", old, "current", "--store", str(night.store)) == 0
    assert "sampled prices change" in night.out
    assert "removed  book_id LIST, everyone True" in night.out


def test_diff_says_plainly_what_an_older_snapshot_cannot_tell(night: Night) -> None:
    from tests.stores import price_rows, publish

    old = publish(night.store, price_rows())

    assert night.load(every_table(), "--force") == 0
    assert night.run("snapshots", "diff", old, "current", "--store", str(night.store)) == 0
    assert f"snapshot {old} keeps no tables" in night.out


def as_if_loaded(store: Path, when: datetime) -> str:
    """Gives the active snapshot another time, in its name and its manifest; returns its version."""
    version = current_version(store)
    manifest_path = store / "snapshots" / version / "manifest.json"
    manifest = {**json.loads(manifest_path.read_text()), "created_at": when.isoformat()}
    manifest_path.write_text(json.dumps({**manifest, "checksum": _checksum(manifest)}))
    other = f"{when:%Y%m%dT%H%M%SZ}-{version[-8:]}"
    (store / "snapshots" / version).rename(store / "snapshots" / other)
    return other


def test_the_disk_is_bounded_and_the_active_snapshot_never_removed(night: Night) -> None:
    first = current_version(night.store)
    for number in range(3):
        rows = every_table()
        rows["items"][0]["description"] = f"night {number}"
        assert night.load(rows) == 0
        activate(night.store, as_if_loaded(night.store, datetime(2030, 1, number + 1, tzinfo=UTC)))
    activate(night.store, first)

    assert night.run("snapshots", "prune", "--keep", "2", "--store", str(night.store)) == 0

    left = sorted(path.name for path in (night.store / "snapshots").iterdir())
    assert [name[:8] for name in left] == [first[:8], "20300102", "20300103"]
    assert current_version(night.store) == first
    assert night.run("snapshots", "prune", "--keep", "1", "--store", str(night.store)) == 0
    assert night.load(every_table(), "--keep", "1") == 0
    assert len(list_snapshots(night.store)) <= 2
