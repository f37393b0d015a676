"""The Online Retail example: how price books are read back from invoices, and that the engine prices as they say."""

import sys
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.store.snapshot import activate, write_snapshot
from pricegrid.loaders.validate.tables import read_dataset
from tests.written import write_frames

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "online_retail"
DATA = ROOT.parent / "shared" / "data" / "online-retail"
SKUS = (
    "85123A",
    "22423",
    "22720",
    "POST",
    "M",
    "22960",
    "21181",
    "22385",
)  # popular, by country, typed by hand


def script(name: str):
    spec = spec_from_file_location(name, FOLDER / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scripts():
    """The two scripts as modules, under the names by which they know each other."""
    kept = {name: sys.modules.pop(name, None) for name in ("build", "replay")}
    yield script("build"), script("replay")
    for name, module in kept.items():
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module


@pytest.fixture(scope="module")
def build(scripts):
    return scripts[0]


@pytest.fixture(scope="module")
def replay(scripts):
    return scripts[1]


# Sightings are (instant, price, lines); a change costs 1 line.
HISTORIES = [
    ("one price", [(1, 200, 3), (2, 200, 1)], [(None, 200)]),
    ("a lasting change", [(1, 200, 3), (2, 250, 1), (3, 250, 1)], [(None, 200), (2, 250)]),
    ("a single stray line", [(1, 200, 2), (2, 999, 1), (3, 200, 2)], [(None, 200)]),
    ("a stray line at first", [(1, 999, 1), (2, 200, 2), (3, 200, 1)], [(None, 200)]),
    ("a price for a while", [(1, 200, 2), (2, 150, 3), (3, 200, 2)], [(None, 200), (2, 150), (3, 200)]),
    ("the majority at one instant", [(1, 200, 1), (1, 250, 2)], [(None, 250)]),
]


@pytest.mark.parametrize(
    ("sightings", "expected"), [row[1:] for row in HISTORIES], ids=[row[0] for row in HISTORIES]
)
def test_a_price_history_explains_most_lines_with_few_changes(build, sightings, expected):
    found = build.dominant_prices(sightings, 1)

    assert [(None if since == build.ALWAYS_US else since, price) for since, price in found] == expected


BREAKS = [
    ("one price", [(1, 295, 9), (40, 295, 9)], []),
    ("cheaper from 32 on", [(1, 295, 9), (6, 295, 9), (32, 255, 9), (64, 255, 2)], [32]),
    ("two breaks", [(1, 300, 9), (10, 250, 9), (50, 200, 9)], [10, 50]),
    ("dearer from 10 on is no break", [(1, 200, 9), (10, 300, 9)], []),
    ("too few lines", [(1, 300, 9), (10, 250, 4)], []),
]


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in BREAKS], ids=[row[0] for row in BREAKS])
def test_quantity_breaks_are_where_a_lower_price_becomes_usual(build, seen, expected):
    sizes, prices, counts = (np.array(column) for column in zip(*seen, strict=True))

    assert build.quantity_breaks(sizes, prices, counts) == expected


# Lines are (instant, size, paid, base price); windows are (from, to, ladder).
CONTRACTS = [
    ("never anything special", [(1, 6, 300, 300)], []),
    ("one price for good", [(1, 6, 250, 300), (5, 9, 250, 300)], [(1, None, ((0, 250),))]),
    (
        "until the next other price",
        [(1, 6, 250, 300), (5, 6, 240, 300)],
        [(1, 5, ((0, 250),)), (5, None, ((0, 240),))],
    ),
    ("until the base price is back", [(1, 6, 250, 300), (5, 6, 300, 300)], [(1, 5, ((0, 250),))]),
    ("small lines pay the base price", [(1, 12, 250, 300), (5, 2, 300, 300)], [(1, None, ((12, 250),))]),
    ("a ladder", [(1, 2, 280, 300), (5, 12, 250, 300)], [(1, None, ((0, 280), (12, 250)))]),
    (
        "a price never rises with quantity",
        [(1, 2, 250, 300), (5, 12, 280, 300)],
        [(1, 5, ((0, 250),)), (5, None, ((0, 280),))],
    ),
    (
        "two prices at once: the one seen more",
        [(1, 6, 250, 300), (1, 6, 240, 300), (1, 6, 240, 300)],
        [(1, None, ((0, 240),))],
    ),
]


@pytest.mark.parametrize(
    ("lines", "expected"), [row[1:] for row in CONTRACTS], ids=[row[0] for row in CONTRACTS]
)
def test_contract_windows_hold_until_a_line_contradicts_them(build, lines, expected):
    found = build.contract_windows(lines)

    assert [(w.from_us, None if w.to_us == build.NEVER_US else w.to_us, w.steps) for w in found] == expected


def test_a_country_price_needs_two_customers(build):
    lines = pl.DataFrame(
        {
            "sku": ["POST"] * 5 + ["A"] * 5,
            "at_us": [1, 2, 3, 4, 5] * 2,
            "customer": ["1", "2", "1", "2", "1"] + ["1"] * 5,
            "price_micros": [18] * 5 + [7] * 5,
            "base_micros": [15] * 5 + [8] * 5,
        }
    )

    book = build.derive_country(lines)

    assert {sku: [window.steps for window in windows] for sku, windows in book.items()} == {
        "POST": [((0, 18),)]
    }


# (customer, instant, sku, quantity, paid): what everybody is answered is 2.00
REPLAYED = [
    ("exact", ("1", 1, "A", 6, 2_000_000)),
    ("negative_amount", ("", 1, "B", 1, -9_000_000)),
    ("price_zero", ("", 2, "A", 1, 0)),
    ("typed_by_hand", ("1", 2, "M", 1, 7_000_000)),
    ("two_prices_at_once", ("1", 3, "A", 6, 1_900_000)),
    ("exact", ("1", 3, "A", 6, 2_000_000)),
    ("no_customer_trade_price", ("", 4, "A", 6, 1_900_000)),
    ("no_customer_single_price", ("", 5, "A", 6, 4_000_000)),
    ("unexplained", ("2", 6, "A", 6, 1_950_000)),
]


def replayed_lines() -> pl.DataFrame:
    schema = ["customer", "at_us", "sku", "quantity", "price_micros"]
    return pl.DataFrame([row for _, row in REPLAYED], schema=schema, orient="row")


def test_the_replay_counts_every_line_once_and_names_the_reason(replay):
    report = replay.replay(
        replayed_lines(), lambda customer, at, skus, _: [replay.Answer("OK", 2_000_000, "list")] * len(skus)
    )

    assert (report.lines, report.requests, report.exact, report.unexplained, report.errors) == (9, 8, 2, 1, 0)
    assert dict(report.explained) == {
        reason: 1 for reason, _ in REPLAYED if reason not in {"exact", "unexplained"}
    }
    assert report.as_json()["examples"][0]["customer"] == "2"


def test_a_failing_request_is_counted_and_the_replay_goes_on(replay):
    def ask(customer, at_us, skus, quantities):
        if customer == "2":
            raise ConnectionError("gone")
        return [replay.Answer("OK", 2_000_000, "list")] * len(skus)

    report = replay.replay(replayed_lines(), ask)

    assert (report.lines, report.errors, report.unexplained) == (9, 1, 0)


def test_a_replay_without_a_server_gives_up(replay):
    def ask(customer, at_us, skus, quantities):
        raise ConnectionError("no server")

    lines = pl.DataFrame({"customer": "1", "at_us": range(500), "sku": "A", "quantity": 1, "price_micros": 1})

    assert replay.replay(lines, ask).errors == replay.FAILED_REQUESTS_MAX


@pytest.fixture(scope="module")
def some_lines(build) -> pl.DataFrame:
    if not DATA.is_dir():
        pytest.skip(f"needs the Online Retail data set in {DATA}")
    return build.read_lines(DATA).filter(pl.col("sku").is_in(SKUS))


def test_the_engine_prices_some_items_of_the_real_invoices_as_the_books_say(
    build, replay, some_lines, tmp_path
):
    books = build.derive_books(some_lines)
    dataset = read_dataset(write_frames(tmp_path, build.dataset_tables(some_lines, books)), build.TIME_ZONE)
    store = tmp_path / "store"
    store.mkdir()
    version = write_snapshot(
        store,
        compile_prices(dataset.frames),
        {},
        created_at=datetime(2011, 12, 10, tzinfo=UTC),
    )
    activate(store, version)

    report = replay.replay(some_lines, replay.store_asker(store))

    counts = build.summary(some_lines, books, build.dataset_tables(some_lines, books))
    assert {name: count.rejected for name, count in dataset.counts.items() if count.rejected} == {}
    assert (report.lines, report.errors, report.unexplained) == (some_lines.height, 0, 0), report.examples
    assert report.exact == counts["lines priced as invoiced"]
    assert report.exact + report.explained.total() == report.lines
    assert report.exact > 0.9 * report.lines
    assert set(report.exact_by_layer) == {"contract", "country", "list", "retail"}
