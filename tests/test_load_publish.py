"""The load job: what is published, what is refused, and that the running snapshot stays."""

import argparse
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricegrid.columnar.decimals import decimal_text
from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.gates.gates import ENTRY_KEY, edge_text
from pricegrid.loaders.publish import LoadFunctions, add_load_arguments, run_load
from pricegrid.loaders.store.commands import add_snapshots_arguments, run_snapshots
from pricegrid.loaders.store.last_load import last_load
from pricegrid.loaders.store.snapshot import current_version, list_snapshots, loader_lock, open_snapshot
from pricegrid.loaders.validate.references import KnownNames
from pricegrid.loaders.validate.tables import read_delta, validate_delta
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US
from tests.load_tables import DISTRIBUTOR, entries, rejected, table
from tests.written import write_frames

MONDAY = datetime(2026, 3, 2, 4, 5, 6, tzinfo=UTC)


def compile_entries(frames: Mapping[str, pl.DataFrame], time_zone: str) -> dict[str, np.ndarray]:
    """Stands in for the compiler: the entries as JSON bytes, and the items beside them."""
    text = frames["price_entries"].write_json().encode()
    items = "\n".join(frames["items"]["sku"]).encode()
    return {"entries": np.frombuffer(text, np.uint8), "items": np.frombuffer(items, np.uint8)}


def decode_entries(arrays: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """The opposite of `loaders.compile.entries`."""
    integers = {"min_quantity_micros", "valid_from_us", "valid_to_us", "value_micros", "price_per"}
    names = [*ENTRY_KEY, "method", "value_micros", "price_per", "basis", "entry_id"]
    schema = {name: pl.Int64 if name in integers else pl.String for name in names}
    rows = json.loads(arrays["entries"].tobytes())
    return pl.DataFrame([{name: row[name] for name in names} for row in rows], schema=schema)


class Operator:
    """Types commands, an hour apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.out = ""
        self.err = ""
        self.functions = LoadFunctions(compile_entries, decode_entries)
        self._now = MONDAY

    def write(self, changes: Mapping[str, str] | None = None) -> Path:
        texts = {**DISTRIBUTOR, **(changes or {})}
        return write_frames(self.folder / "dataset", {name: table(text) for name, text in texts.items()})

    def load(self, *options: str, dataset: Path | None = None) -> int:
        parser = argparse.ArgumentParser()
        add_load_arguments(parser)
        args = parser.parse_args(
            [str(dataset or self.folder / "dataset"), "--store", str(self.store), *options]
        )
        out, err = io.StringIO(), io.StringIO()
        code = run_load(args, self.functions, clock=self._clock, out=out, err=err)
        self.out, self.err = out.getvalue(), err.getvalue()
        return code

    def snapshots(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        add_snapshots_arguments(parser)
        out, err = io.StringIO(), io.StringIO()
        args = parser.parse_args([*words, "--store", str(self.store)])
        code = run_snapshots(args, self.functions.tools, clock=self._clock, out=out, err=err)
        self.out, self.err = out.getvalue(), err.getvalue()
        return code

    def _clock(self) -> datetime:
        self._now += timedelta(hours=1)
        return self._now


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def test_a_load_publishes_and_reports(operator: Operator) -> None:
    operator.write()

    assert operator.load("--time-zone", "Europe/Berlin", "--json") == 0

    report = json.loads(operator.out)
    assert operator.err == ""
    assert report["published"] is True
    assert report["snapshot_version"] == current_version(operator.store)
    assert report["tables"]["price_entries"] == {"rows": 2, "accepted": 2, "rejected": 0, "repeated": 0}
    assert report["rejects"] == {}
    assert {"read", "validate", "compile", "gates", "write", "activate", "total"} <= set(report["seconds"])
    manifest = open_snapshot(operator.store).manifest
    assert manifest["time_zone"] == "Europe/Berlin"
    assert manifest["counts"]["items"] == 3
    assert set(manifest["inputs"]) == {f"{name}.csv" for name in DISTRIBUTOR}
    assert manifest["created_at"] == "2026-03-02T05:05:06.000000Z"


def test_the_horizon_is_the_last_known_end(operator: Operator) -> None:
    operator.write(
        entries("LIST, BOLT, , , , , net, 1, , , 2026-12-31, ,", "LIST, NUT, , , , , net, 1, , , , ,")
    )

    operator.load()

    end = datetime(2027, 1, 1, tzinfo=UTC)
    assert open_snapshot(operator.store).manifest["as_of_horizon_us"] == int(end.timestamp()) * 1_000_000


def test_the_same_input_gives_the_same_arrays(operator: Operator) -> None:
    operator.write()

    assert (operator.load(), operator.load()) == (0, 0)

    first, second = (open_snapshot(operator.store, info.version) for info in list_snapshots(operator.store))
    assert first.version != second.version
    assert first.manifest["files"] == second.manifest["files"]
    assert first.manifest["inputs"] == second.manifest["inputs"]


def test_rejected_rows_are_written_and_those_of_the_last_load_removed(operator: Operator) -> None:
    operator.write(entries("LIST, GONE, , , , , net, 1, , , , , e7", "LIST, NUT, , , , , net, 1, , , , ,"))

    assert operator.load("--max-reject-pct", "50") == 0

    path = operator.store / "rejects" / "price_entries.csv"
    row = pl.read_csv(path, infer_schema=False).row(0, named=True)
    assert row["sku"] == "GONE"
    assert row["entry_id"] == "e7"
    assert (row["file"], row["line"], row["column"]) == ("price_entries.csv", "2", "sku")
    assert row["reason"] == '"GONE" is an unknown SKU'
    assert "price_entries" in operator.out
    assert str(path) in operator.out

    operator.write()
    assert operator.load("--max-vanished-pct", "100") == 0  # there are other entries than before
    assert not path.exists()


def test_too_many_rejects_are_refused_unless_forced(operator: Operator) -> None:
    operator.write()
    operator.load()
    before = current_version(operator.store)
    operator.write(
        entries("LIST, GONE, , , , , net, 1, , , , ,", *[f"LIST, NUT,,,,{n}, net,1,,,,," for n in range(9)])
    )

    assert operator.load("--max-reject-pct", "9.99") == 1
    assert current_version(operator.store) == before
    assert len(list_snapshots(operator.store)) == 1
    assert "refused by gate rejects: 1 of 10 rows of price_entries rejected" in operator.err
    last = last_load(operator.store)
    assert (last.published, last.gates["rejects"], last.gates["items"]) == (False, False, True)
    assert "the running snapshot stays" in operator.out
    assert (operator.store / "rejects" / "price_entries.csv").exists()

    assert operator.load("--max-reject-pct", "9.99", "--force", "--json") == 0
    assert json.loads(operator.out)["forced"] is True
    assert operator.load("--max-reject-pct", "10") == 0


PRICES = ["LIST, BOLT, , , , , net, 10.00, , , , ,", "LIST, NUT, , , , , net, 4.00, , , , ,"]


@pytest.mark.parametrize(
    ("after", "options", "code", "gate"),
    [
        (PRICES, ["--max-vanished-pct", "0", "--max-change-pct", "0"], 0, ""),
        (PRICES[:1], ["--max-vanished-pct", "49.9"], 1, "vanished: 1 of 2 rows of price_entries are gone"),
        (PRICES[:1], [], 1, "vanished: 1 of 2 rows of price_entries are gone (limit 20 %)"),
        (PRICES[:1], ["--max-vanished-pct", "50"], 0, ""),
        (PRICES[:1], ["--max-vanished-pct", "50", "--max-change-pct", "0"], 0, ""),
        (PRICES[:1], ["--max-vanished-pct", "0", "--force"], 0, ""),
        ([PRICES[0].replace("10.00", "11.000000"), PRICES[1]], ["--max-change-pct", "10"], 0, ""),
        (
            [PRICES[0].replace("10.00", "11.000001"), PRICES[1]],
            ["--max-change-pct", "10"],
            1,
            "change: 1 of 2 entries moved too far, as book LIST, item BOLT: net 10 to net 11.000001",
        ),
        ([PRICES[0].replace("10.00", "8.99"), PRICES[1]], ["--max-change-pct", "10"], 1, "change: 1 of 2"),
        (
            [PRICES[0].replace("net", "markup_pct"), PRICES[1]],
            ["--max-change-pct", "1000"],
            1,
            "change: 1 of 2",
        ),
    ],
)
def test_vanished_entries_and_moved_prices(
    operator: Operator, after: list[str], options: list[str], code: int, gate: str
) -> None:
    operator.write(entries(*PRICES))
    operator.load(*options)
    operator.write(entries(*after))

    assert operator.load(*options) == code
    assert gate in operator.err
    assert len(list_snapshots(operator.store)) == 2 - code


def test_an_empty_dataset_is_refused_unless_forced(operator: Operator) -> None:
    dataset = operator.folder / "dataset"
    dataset.mkdir()
    (dataset / "items.csv").write_text("sku,base_uom\n")

    assert operator.load() == 1
    assert "refused by gate items: 0 items" in operator.err
    assert operator.load("--force") == 0


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "doesn't exist"),
        (lambda folder: (folder / "dataset").mkdir(), "is empty"),
        (
            lambda folder: Operator(folder).write({"items": "sku\nBOLT"}),
            "items.csv: required column base_uom is missing",
        ),
    ],
)
def test_a_dataset_that_cannot_be_used_is_bad_usage(operator: Operator, prepare, message: str) -> None:
    prepare(operator.folder)

    assert operator.load("--json") == 2
    assert message in operator.err
    assert message in json.loads(operator.out)["error"]


def test_a_second_load_does_not_start_while_one_runs(operator: Operator) -> None:
    operator.write()

    with loader_lock(operator.store):
        assert operator.load() == 1

    assert "another load is running" in operator.err
    assert operator.load() == 0


def test_a_running_snapshot_that_is_damaged_is_not_silently_passed_over(operator: Operator) -> None:
    operator.write()
    operator.load()
    path = operator.store / "snapshots" / current_version(operator.store) / "items.npy"
    path.write_bytes(path.read_bytes()[:-1])

    assert operator.load("--max-vanished-pct", "5") == 1
    assert "items.npy is truncated" in operator.err
    assert operator.load("--max-vanished-pct", "5", "--force") == 0
    assert operator.load("--max-vanished-pct", "5") == 0


def test_progress_is_told_on_a_terminal_only(operator: Operator) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    operator.write()
    parser = argparse.ArgumentParser()
    add_load_arguments(parser)
    args = parser.parse_args([str(operator.folder / "dataset"), "--store", str(operator.store)])
    terminal = Terminal()

    assert run_load(args, operator.functions, clock=operator._clock, out=io.StringIO(), err=terminal) == 0

    assert "read ..." in terminal.getvalue()
    assert "price_entries.csv" in terminal.getvalue()
    assert operator.load() == 0
    assert operator.err == ""


@pytest.mark.parametrize("text", ["-1", "nan", "many"])
def test_a_limit_must_be_a_percentage(operator: Operator, text: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        operator.load(f"--max-reject-pct={text}")
    assert stopped.value.code == 2


def test_snapshots_are_listed_compared_and_activated(operator: Operator) -> None:
    operator.write(entries(*PRICES))
    operator.load()
    operator.write(
        entries(PRICES[0].replace("10.00", "10.50"), "LIST, DRILL, , , , 2.5, net, 99, , 2026-05-01, , ,")
    )
    assert operator.load("--max-vanished-pct", "50") == 0

    assert operator.snapshots("list", "--json") == 0
    first, second = json.loads(operator.out)
    assert (first["active"], second["active"]) == (False, True)
    assert second["counts"]["price_entries"] == 2

    assert operator.snapshots("diff", first["version"], "current", "--json") == 0
    diff = json.loads(operator.out)
    assert (diff["added"], diff["removed"], diff["changed"]) == (1, 1, 1)
    assert diff["books"] == [{"book_id": "LIST", "added": 1, "removed": 1, "changed": 1}]
    shown = {row["change"]: (row["sku"], row["old"], row["new"]) for row in diff["rows"]}
    assert shown["changed"][0] == "BOLT"
    assert (shown["changed"][1]["value"], shown["changed"][2]["value"]) == ("10", "10.5")
    assert shown["removed"][2] is None
    assert shown["added"][1] is None
    added = next(row for row in diff["rows"] if row["change"] == "added")
    assert (added["min_quantity"], added["valid_from"], added["valid_to"]) == (
        "2.5",
        "2026-05-01T00:00:00Z",
        None,
    )

    assert operator.snapshots("activate", first["version"], "--json") == 0
    assert current_version(operator.store) == first["version"]
    assert operator.snapshots("diff", "current", "current") == 0
    assert "price_entries: 0 added, 0 removed, 0 changed" in operator.out
    assert operator.snapshots("list") == 0
    assert operator.out.startswith(f"* {first['version']}")


def test_a_snapshot_that_is_damaged_or_missing_is_not_activated(operator: Operator) -> None:
    operator.write()
    operator.load()
    operator.load()
    first, second = (info.version for info in list_snapshots(operator.store))
    path = operator.store / "snapshots" / first / "items.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    assert operator.snapshots("activate", first) == 1
    assert "items.npy is corrupt" in operator.err
    assert operator.snapshots("activate", "20200101T000000Z-00000000") == 1
    assert current_version(operator.store) == second


KNOWN = KnownNames(
    skus=pl.Series(["BOLT", "NUT"]),
    groups=pl.Series(["TOOLS"]),
    books=pl.Series(["LIST", "DEAL", "A", "B"]),
    classes=pl.Series(["GOLD"]),
    units=pl.DataFrame({"sku": ["BOLT", "NUT"], "uom": ["EA", "EA"]}),
    uoms=pl.Series(["EA"]),
    basis_edges=pl.DataFrame({"source": ["A"], "target": ["B"]}),
)


def test_a_delta_is_checked_against_the_names_of_its_base() -> None:
    dataset = validate_delta(
        table(
            """
            book_id, sku,  method,       value, basis, deleted
            LIST,    BOLT, net,          3,     ,
            LIST,    NUT,  ,             ,      ,      true
            LIST,    GONE, net,          3,     ,
            LIST,    NUT,  ,             ,      ,      false
            B,       NUT,  discount_pct, 3,     A,
            DEAL,    NUT,  discount_pct, 3,     A,
            """
        ),
        lambda _: KNOWN,
    )

    assert dataset.frames["price_entries"].select("book_id", "sku", "deleted").rows() == [
        ("LIST", "BOLT", False),
        ("LIST", "NUT", True),
        ("DEAL", "NUT", False),
    ]
    assert [(line, column) for line, column, _ in rejected(dataset, "price_entries")] == [
        (4, "sku"),
        (5, "method"),
        (6, "basis"),
    ]


def test_a_delta_holds_price_entries_only(tmp_path: Path) -> None:
    (tmp_path / "price_entries.csv").write_text("book_id,sku,method,value\nLIST,BOLT,net,1\n")
    assert read_delta(tmp_path, lambda _: KNOWN).counts["price_entries"].accepted == 1

    (tmp_path / "items.csv").write_text("sku,base_uom\n")
    with pytest.raises(DatasetError, match=r"items.csv: a delta holds price_entries and no other table"):
        read_delta(tmp_path, lambda _: KNOWN)


def test_functions_without_a_delta_can_load_none(operator: Operator) -> None:
    operator.write()

    with pytest.raises(ValueError, match="load no deltas"):
        operator.load("--delta")


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0"), (1, "0.000001"), (-1, "-0.000001"), (12_500_000, "12.5"), (-(2**63), "-9223372036854.775808")],
)
def test_micros_are_shown_as_plain_decimals(micros: int, text: str) -> None:
    assert decimal_text(micros) == text


@pytest.mark.parametrize(
    ("instant", "text"),
    [(ALWAYS_US, None), (NEVER_US, None), (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999999Z")],
)
def test_instants_are_shown_in_utc(instant: int, text: str | None) -> None:
    assert edge_text(instant) == text
