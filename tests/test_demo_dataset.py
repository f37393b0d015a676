"""The demo's dataset loads without a reject, is the same every time, and its basket shows what it says."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.demo.dataset import DemoDataset, generate
from pricegrid.loaders.validate.tables import Dataset, read_dataset
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, PriceEngine
from pricegrid.pricing_engine.model import LineStatus

MICROS = 1_000_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> DemoDataset:
    return generate(tmp_path_factory.mktemp("demo"), items=2_000, customers=400)


@pytest.fixture(scope="module")
def loaded(demo) -> Dataset:
    return read_dataset(demo.directory, demo.time_zone)


@pytest.fixture(scope="module")
def engine(loaded) -> PriceEngine:
    return engine_of(loaded)


def test_no_row_is_rejected_or_warned_about(loaded, demo):
    rejected = {name: counts.rejected for name, counts in loaded.counts.items() if counts.rejected}

    assert rejected == {}
    assert loaded.warnings == []
    assert {name: counts.rows for name, counts in loaded.counts.items()} == dict(demo.rows)


def test_every_table_of_a_dataset_is_there(demo):
    assert len(demo.rows) == 21
    assert min(demo.rows.values()) > 0


def test_the_same_seed_gives_the_same_bytes(demo, tmp_path):
    again = generate(tmp_path, items=2_000, customers=400)

    for name in demo.rows:
        assert (again.directory / f"{name}.csv").read_bytes() == (
            demo.directory / f"{name}.csv"
        ).read_bytes(), name


def test_another_seed_gives_other_prices(demo, tmp_path):
    other = generate(tmp_path, seed=8, items=2_000, customers=400)

    entries = "price_entries.csv"
    assert (other.directory / entries).read_bytes() != (demo.directory / entries).read_bytes()


def test_dates_hang_on_the_day_given(tmp_path):
    leap_day = generate(tmp_path, items=500, customers=100, as_of=date(2028, 2, 29))
    engine = engine_of(read_dataset(tmp_path, leap_day.time_zone))

    assert leap_day.as_of == datetime(2028, 2, 29, 9, tzinfo=UTC)
    assert layers(engine, ask_basket(leap_day, engine)) == [line.layer for line in leap_day.basket]


@pytest.mark.parametrize(("items", "customers"), [(40, 400), (500, 99)])
def test_a_dataset_too_small_to_show_anything_is_refused(tmp_path, items, customers):
    with pytest.raises(ValueError, match="at least"):
        generate(tmp_path, items=items, customers=customers)


def test_customers_form_three_levels_and_contracts_are_shared(loaded):
    customers, agreements = loaded.frames["customers"], loaded.frames["agreements"]
    parents = dict(customers.select("customer_id", "parent_id").iter_rows())
    shared = agreements.filter(pl.col("customer_id").is_not_null()).group_by("book_id").len()

    assert max(len(path_to_root(parents, customer)) for customer in parents) == 3
    assert shared["len"].max() >= 20


def path_to_root(parents, customer) -> list[str]:
    path = [customer]
    while parents[path[-1]] is not None:
        path.append(parents[path[-1]])
    return path


def test_each_basket_line_is_answered_by_the_layer_its_caption_speaks_of(demo, engine):
    answers = ask_basket(demo, engine)

    assert layers(engine, answers) == [line.layer for line in demo.basket]
    assert [status == LineStatus.OK for status in answers.status] == [
        bool(line.layer) for line in demo.basket
    ]


def test_the_basket_shows_what_its_captions_promise(demo, loaded, engine):
    answers = ask_basket(demo, engine)
    books = [engine.book_id(book) if book >= 0 else "" for book in answers.book]
    entries = [engine.entry_id(entry) if entry >= 0 else "" for entry in answers.entry]
    line = {line.caption.split(",")[0]: number for number, line in enumerate(demo.basket)}

    assert entries[line["the site's contract"]] == "NM-1002"
    assert books[line["the group's contract"]] == "NORDMARK-GROUP"
    assert np.flatnonzero(answers.converted).tolist() == [line["a contract in US dollars"]]
    assert np.flatnonzero(answers.floor_lifted).tolist() == [line["cost plus 6 %"]]
    assert books[line["the lower of two that run"]] == "PROMO-LIGHTING"
    assert books[line["net book of the class INSTALLER"]] == "INSTALLER-NET"
    assert demo.basket[7].sku in set(loaded.frames["kits"]["kit_sku"])
    assert answers.status[-2:].tolist() == [LineStatus.BELOW_MINIMUM, LineStatus.UNKNOWN_ITEM]
    assert answers.minimum_quantity_micros[-2] == 24 * MICROS


def test_the_promotion_lasts_to_the_end_of_its_last_day(demo, engine):
    last_day = datetime(2026, 2, 14, 23, tzinfo=UTC)  # midnight in Hamburg

    promotion = ask_basket(demo, engine).valid_until_us[5]

    assert promotion == int(last_day.timestamp()) * MICROS


def test_a_box_costs_its_pieces_and_a_pair_a_third_of_a_pack(demo, engine):
    box, pair = demo.basket[2], demo.basket[8]
    pieces = int(ask(demo, engine, [(box.sku, 1, "BOX")]).unit_price_micros[0])
    piece = int(ask(demo, engine, [(box.sku, 1, "")]).unit_price_micros[0])
    of_pair, of_pack = ask(demo, engine, [(pair.sku, 1, "PR"), (pair.sku, 1, "")]).unit_price_micros.tolist()

    assert pieces in {50 * piece, 100 * piece}
    assert of_pair == (of_pack + 150) // 300 * 100  # both rounded to 0.0001


def test_the_list_has_a_lower_price_from_500_on(demo, engine):
    cable = demo.basket[9].sku

    below, from_500 = ask(demo, engine, [(cable, 499, ""), (cable, 500, "")]).unit_price_micros.tolist()

    assert from_500 < below


def test_every_basket_item_but_the_kit_lies_in_the_suggested_branch(demo, loaded):
    stock = loaded.frames["stock"].filter(pl.col("branch") == demo.branch)
    held = dict(stock.select("sku", "on_hand_micros").iter_rows())

    assert [held[line.sku] > 0 for n, line in enumerate(demo.basket[:-1]) if n != 7] == [True] * 10


def engine_of(loaded: Dataset) -> PriceEngine:
    return PriceEngine(compile_prices(loaded.frames))


def ask(demo: DemoDataset, engine: PriceEngine, lines: list[tuple[str, int | str, str]]) -> PriceAnswers:
    return engine.price(
        PriceAsk(
            customer_id=demo.customer_id,
            currency="",
            branch=demo.branch,
            as_of_us=int(demo.as_of.timestamp()) * MICROS,
            skus=[sku.encode() for sku, _, _ in lines],
            quantities_micros=np.array([int(quantity) * MICROS for _, quantity, _ in lines], dtype=np.int64),
            uoms=[uom.encode() for _, _, uom in lines],
        )
    )


def ask_basket(demo: DemoDataset, engine: PriceEngine) -> PriceAnswers:
    return ask(demo, engine, [(line.sku, line.quantity, line.uom) for line in demo.basket])


def layers(engine: PriceEngine, answers: PriceAnswers) -> list[str]:
    return [engine.layer_name(layer) if layer >= 0 else "" for layer in answers.layer]
