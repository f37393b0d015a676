"""A delta laid over a snapshot answers as a full load of the edited dataset does."""

from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.compile_prices import compile_prices
from loaders.decode_prices import decode_entries
from loaders.delta import apply_delta
from loaders.validate import validate_tables
from pricing_engine.engine import PriceEngine
from pricing_engine.explain import decimal_text
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
        arrays = {**arrays, **apply_delta(arrays, part).arrays}
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
    delta = apply_delta(arrays, unknown)
    assert (delta.added, delta.changed, delta.deleted) == (0, 0, 0)
    assert delta.not_found.height == 1
    assert decimal_text(int(delta.not_found["min_quantity_micros"][0])) == "77"
    assert np.array_equal(
        delta.arrays["delta_records"],
        np.zeros((0, 8)) if not len(delta.arrays["delta_keys"]) else delta.arrays["delta_records"],
    )
