"""A delta laid over a snapshot answers as a full load of the edited dataset does."""

import json
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.compile_prices import compile_prices
from loaders.decode_prices import decode_entries
from loaders.delta import DeltaBase
from loaders.ordinals import string_table, table_names
from loaders.snapshots import snapshots_list
from loaders.validate import validate_tables
from pricing_engine.engine import PriceEngine
from service.cli import main
from tests.datasets import ZONES, Rows, as_frames, random_questions, random_rows
from tests.test_price_rules_agree import _ask, _compiled


def _entries(rows: Rows, zone: str) -> pl.DataFrame:
    return validate_tables(as_frames(rows), zone).frames["price_entries"]


def _split(rng: Random, rows: Rows, zone: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(entries before, delta, entries after): the delta adds, changes and deletes some of the dataset's entries."""
    after = _entries(rows, zone)
    fate = [rng.choice(["stays", "stays", "added", "changed", "deleted"]) for _ in range(len(after))]
    chosen = pl.Series("fate", fate, dtype=pl.Utf8)
    changed = after.filter(chosen == "changed").with_columns(
        value_micros=pl.lit(5_000_000, dtype=pl.Int64),
        method=pl.lit("net"),
        basis=pl.lit(None, dtype=pl.Utf8),
    )
    before = pl.concat([after.filter(chosen.is_in(["stays", "deleted"])), changed])
    delta = pl.concat(
        [
            after.filter(chosen.is_in(["added", "changed"])).with_columns(deleted=pl.lit(value=False)),
            after.filter(chosen == "deleted").with_columns(deleted=pl.lit(value=True)),
        ]
    )
    return before, delta, after.filter(chosen != "deleted")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**62))
def test_a_delta_answers_as_a_full_load_does(seed: int) -> None:
    rng = Random(seed)
    zone = rng.choice(ZONES)
    rows = random_rows(rng)
    frames = validate_tables(as_frames(rows), zone).frames
    before, delta, after = _split(rng, rows, zone)
    arrays = compile_prices({**frames, "price_entries": before})
    half = len(delta) // 2
    for part in (delta[:half], delta[half:]):  # two in a row: a delta on a delta
        arrays = {**arrays, **DeltaBase(arrays).apply(part).arrays}
    laid_over = PriceEngine(arrays)
    loaded = PriceEngine(compile_prices({**frames, "price_entries": after}))
    for question in random_questions(rng, zone, 10):
        if question.customer_id or question.currency:
            ask = _ask(question)
            assert _compiled(laid_over, laid_over.price(ask), 0) == _compiled(loaded, loaded.price(ask), 0)
            assert laid_over.explain(ask, 0) == loaded.explain(ask, 0)
    columns = decode_entries(arrays).columns
    assert (
        decode_entries(arrays)
        .sort(columns)
        .equals(decode_entries(compile_prices({**frames, "price_entries": after})).sort(columns))
    )


@pytest.mark.parametrize("seed", range(20))
def test_entries_survive_compilation(seed: int) -> None:
    rng = Random(seed)
    frames = validate_tables(as_frames(random_rows(rng)), "UTC").frames
    decoded = decode_entries(compile_prices(frames))
    expected = frames["price_entries"].select(decoded.columns)
    assert decoded.sort(decoded.columns).equals(expected.sort(decoded.columns))


def test_a_deletion_that_matches_nothing_is_reported_not_dropped() -> None:
    frames = validate_tables(as_frames(random_rows(Random(5))), "UTC").frames
    arrays = compile_prices(frames)
    unknown = frames["price_entries"][:1].with_columns(
        min_quantity_micros=pl.lit(77_000_000, dtype=pl.Int64), deleted=pl.lit(value=True)
    )
    base = DeltaBase(arrays)
    assert base.deletions_of_nothing(unknown).to_list() == [True]
    assert base.deletions_of_nothing(frames["price_entries"].with_columns(deleted=True)).any() is False


def test_a_delta_is_loaded_from_a_directory_and_rolled_back(tmp_path: Path, capsys) -> None:
    dataset, changes, store = tmp_path / "shop", tmp_path / "changes", tmp_path / "store"
    dataset.mkdir()
    changes.mkdir()
    (dataset / "items.csv").write_text("sku,base_uom\nA,EA\nB,EA\nC,EA\n")
    (dataset / "price_books.csv").write_text("book_id,layer,currency\nLIST,list,EUR\n")
    (dataset / "price_entries.csv").write_text("book_id,sku,method,value\nLIST,A,net,1\nLIST,B,net,2\n")
    (changes / "price_entries.csv").write_text(
        "book_id,sku,price_class,method,value,deleted\nLIST,A,,net,1.5,\nLIST,B,,,,true\nLIST,C,,net,3,\nLIST,C,,net,,true\nLIST,X,,net,1,\nLIST,C,vip,net,1,\n"
    )

    assert main(["load", str(dataset), "--store", str(store)]) == 0
    assert main(["load", str(changes), "--store", str(store), "--delta"]) == 0
    assert _prices(store, capsys) == ["1.50", None, None]
    rejects = (store / "rejects" / "price_entries.csv").read_text()
    assert all(reason in rejects for reason in ("unknown SKU", "unknown price class", "differ in value"))
    folders = [store / "snapshots" / str(each["version"]) for each in snapshots_list(store)]
    linked, rewritten = (
        [folder / f"{name}.npy" for folder in folders] for name in ("cell_value", "delta_value")
    )
    assert linked[0].samefile(linked[1])
    assert not rewritten[0].samefile(rewritten[1])
    first = snapshots_list(store)[0]["version"]
    assert main(["snapshots", "activate", "--store", str(store), str(first)]) == 0
    assert _prices(store, capsys) == ["1.00", "2.00", None]


def _prices(store: Path, capsys) -> list[str | None]:
    capsys.readouterr()
    main(["quote", "--store", str(store), "--currency", "EUR", "--json", "A", "B", "C"])
    return [line["unit_price"] for line in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize("names", [[], [""], ["a"], ["", "a", "ä\u20ac", ""], ["a\0b", "c"], ["\0"]])
def test_a_string_table_gives_back_its_names(names: list[str]) -> None:
    assert table_names(string_table("sku", names), "sku") == names
