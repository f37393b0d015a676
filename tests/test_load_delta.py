"""A delta laid over a snapshot answers as a full load of the edited dataset does."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.loaders.compile.book_digests import book_digests
from pricegrid.loaders.compile.decode import decode_entries
from pricegrid.loaders.compile.ordinals import SnapshotOrdinals, string_table, table_names
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.store.commands import snapshots_list
from pricegrid.loaders.validate.tables import validate_delta, validate_tables
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.service.cli.main import main
from tests.datasets import ZONES, Rows, as_frames, random_questions, random_rows
from tests.profiles import examples
from tests.test_price_rules_agree import _ask, _compiled
from tests.written import accepted, write_tables


def _entries(rows: Rows, zone: str) -> pl.DataFrame:
    return accepted(as_frames(rows), zone).frames["price_entries"]


def _split(rng: Random, rows: Rows, zone: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(entries before, delta, entries after): the delta adds, changes and deletes some of the dataset's entries."""
    after = _entries(rows, zone)
    fate = [rng.choice(["stays", "stays", "added", "changed", "deleted"]) for _ in range(len(after))]
    chosen = pl.Series("fate", fate, dtype=pl.Utf8)
    changed = after.filter(chosen == "changed").with_columns(
        value_micros=pl.lit(5_000_000, dtype=pl.Int64),
        method=pl.lit("net"),
        basis=pl.lit(None, dtype=pl.Utf8),
        price_per=pl.lit(1, dtype=pl.Int64),
    )
    before = pl.concat([after.filter(chosen.is_in(["stays", "deleted"])), changed])
    delta = pl.concat(
        [
            after.filter(chosen.is_in(["added", "changed"])).with_columns(deleted=pl.lit(value=False)),
            after.filter(chosen == "deleted").with_columns(deleted=pl.lit(value=True)),
        ]
    )
    return before, delta, after.filter(chosen != "deleted")


@settings(max_examples=examples(60), deadline=None, derandomize=True)
@given(st.integers(0, 2**62))
def test_a_delta_answers_as_a_full_load_does(seed: int) -> None:
    rng = Random(seed)
    zone = rng.choice(ZONES)
    rows = random_rows(rng)
    frames = accepted(as_frames(rows), zone).frames
    before, delta, after = _split(rng, rows, zone)
    arrays = compile_prices({**frames, "price_entries": before})
    digests = book_digests(frames["price_books"], before)[1]
    half = len(delta) // 2
    for part in (delta[:half], delta[half:]):  # two in a row: a delta on a delta
        changed = DeltaBase(arrays).apply(part)
        arrays, digests = {**arrays, **changed.arrays}, digests + changed.book_difference
    assert digests.tolist() == book_digests(frames["price_books"], after)[1].tolist()
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
    frames = accepted(as_frames(random_rows(rng))).frames
    decoded = decode_entries(compile_prices(frames))
    expected = frames["price_entries"].select(decoded.columns)
    assert decoded.sort(decoded.columns).equals(expected.sort(decoded.columns))


def test_a_deletion_that_matches_nothing_is_reported_not_dropped() -> None:
    frames = accepted(as_frames(random_rows(Random(5)))).frames
    arrays = compile_prices(frames)
    unknown = frames["price_entries"][:1].with_columns(
        min_quantity_micros=pl.lit(77_000_000, dtype=pl.Int64), deleted=pl.lit(value=True)
    )
    base = DeltaBase(arrays)
    assert base.deletions_of_nothing(unknown).to_list() == [True]
    assert base.deletions_of_nothing(frames["price_entries"].with_columns(deleted=True)).any() is False


@pytest.mark.slow
def test_a_delta_may_name_what_a_full_load_may_name() -> None:
    rejected = Counter()
    for seed in range(25):
        rng = Random(seed)
        tables = as_frames(random_rows(rng))
        base = DeltaBase(compile_prices(accepted(tables).frames))
        entries = tables["price_entries"]
        wrong = {
            "sku": ["ZZZ", "A", "~"],
            "product_group": ["", "toolz"],
            "uom": ["BOX", "THIRD", "EACH"],
            "book_id": ["L"],
        }
        for column, words in wrong.items():
            places = [
                place for place in range(len(entries)) if rng.random() < 0.15 and entries[column][place]
            ]
            entries = entries.with_columns(
                entries[column].scatter(places, [rng.choice(words) or None for _ in places])
            )
        full = validate_tables({**tables, "price_entries": entries}).rejects
        delta = validate_delta(entries, base.known_names).rejects
        lines = [
            sorted(each["price_entries"]["line"]) if "price_entries" in each else [] for each in (full, delta)
        ]
        assert lines[0] == lines[1]
        if lines[0]:
            rejected.update(full["price_entries"]["reason"].str.replace('".*" ', ""))
    assert {"is an unknown SKU", "is an unknown product group", "is an unknown price book"} <= set(rejected)
    assert any("unknown unit of item" in reason or "unit that no item has" in reason for reason in rejected)


@settings(max_examples=examples(100), deadline=None, derandomize=True)
@given(st.sets(st.text(max_size=5)), st.lists(st.text(max_size=5)))
def test_names_are_found_in_a_snapshot_as_in_a_dataset(known: set[str], others: list[str]) -> None:
    names = sorted(known, key=str.encode)
    arrays = {**string_table("sku", names), **string_table("uom", [])}
    asked = pl.Series([*others, *names], dtype=pl.Utf8)
    places = {name: place for place, name in enumerate(names)}
    assert SnapshotOrdinals(arrays).find("sku", asked).tolist() == [places.get(name, -1) for name in asked]


def test_a_delta_is_loaded_from_a_directory_and_rolled_back(tmp_path: Path, capsys) -> None:
    dataset, changes, store = tmp_path / "shop", tmp_path / "changes", tmp_path / "store"
    shop = {
        "items": "sku,base_uom\nA,EA\nB,EA\nC,EA",
        "price_books": "book_id,layer,currency\nLIST,list,EUR",
        "price_entries": "book_id,sku,method,value\nLIST,A,net,1\nLIST,B,net,2",
    }
    lines = [
        "book_id,sku,price_class,method,value,deleted",
        *("LIST,A,,net,1.5,", "LIST,B,,,,true", "LIST,C,,net,3,"),
        *("LIST,C,,net,,true", "LIST,X,,net,1,", "LIST,C,vip,net,1,"),
    ]
    write_tables(dataset, shop)
    write_tables(changes, {"price_entries": "\n".join(lines)}, is_delta=True)

    assert main(["load", str(dataset), "--store", str(store)]) == 0
    limits = ["--max-reject-pct", "70", "--max-vanished-pct", "50"]
    assert main(["load", str(changes), "--store", str(store), "--delta", *limits]) == 0
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
