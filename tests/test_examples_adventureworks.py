"""The AdventureWorks example: an ERP's tables become a dataset without a reject, and the prices its offers mean."""

from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import CheckAsk, PromiseAsk
from pricegrid.loaders.compile.positions import compile_positions
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.validate.tables import read_dataset
from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "adventureworks"
MICROS = 1_000_000
RESELLER, INDIVIDUAL = "AW00000001", "AW00011000"


@pytest.fixture(scope="module")
def build():
    spec = spec_from_file_location("adventureworks_build", ROOT / "examples" / "adventureworks" / "build.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dataset(build, tmp_path_factory):
    if not DATA.is_dir():
        pytest.skip(f"needs the AdventureWorks tables in {DATA}")
    out = tmp_path_factory.mktemp("adventureworks")
    build.build(DATA, out)
    return read_dataset(out, build.TIME_ZONE)


@pytest.fixture(scope="module")
def engine(dataset):
    return PriceEngine(compile_prices(dataset.frames))


def test_no_row_is_rejected_or_warned_about(dataset):
    assert {name: counts.rejected for name, counts in dataset.counts.items() if counts.rejected} == {}
    assert dataset.warnings == []


# Helmet HL-U509-R: list 33.6442, then 34.99 from 2024-05-29; volume discount to 2025-05-29: 2 % from 11, 5 % from 15,
# none from 25; 10 % off in June 2023, 15 % off in June 2024.
PRICES = [
    ("the first price", RESELLER, "2022-06-01", 1, 33_644_200),
    ("11 to 14", RESELLER, "2022-06-01", 14, 32_971_300),
    ("15 to 24", RESELLER, "2022-06-01", 15, 31_962_000),
    ("above the last range: list", RESELLER, "2022-06-01", 25, 33_644_200),
    ("not for individuals", INDIVIDUAL, "2022-06-01", 15, 33_644_200),
    ("seasonal, lower than volume", RESELLER, "2023-06-29", 15, 30_279_800),
    ("the day after", RESELLER, "2023-06-30", 15, 31_962_000),
    ("the new price, seasonal", RESELLER, "2024-05-29", 1, 29_741_500),
    ("the new price", RESELLER, "2024-07-01", 1, 34_990_000),
    ("the volume discount's last day", RESELLER, "2025-05-29", 11, 34_290_200),
    ("the day after that", RESELLER, "2025-05-30", 11, 34_990_000),
]


@pytest.mark.parametrize(
    ("customer", "day", "quantity", "expected"), [row[1:] for row in PRICES], ids=[row[0] for row in PRICES]
)
def test_a_helmet_costs_what_its_offers_say(engine, customer, day, quantity, expected):
    noon = datetime.fromisoformat(day).replace(hour=20, tzinfo=UTC)

    answers = engine.price(
        PriceAsk(
            customer_id=customer,
            currency="",
            branch="",
            as_of_us=int(noon.timestamp()) * MICROS,
            skus=[b"HL-U509-R"],
            quantities_micros=np.array([quantity * MICROS]),
            uoms=[b""],
        )
    )

    assert answers.unit_price_micros.tolist() == [expected]


def test_safety_stock_adds_up_to_the_products_level(dataset, build):
    levels = build.read_table(DATA, "Product").select("sku", pl.col("safety").cast(pl.Int64))
    shared = dataset.frames["safety_stock"].group_by("sku").agg(pl.col("quantity_micros").sum() // MICROS)

    wrong = shared.join(levels, on="sku").filter(pl.col("quantity_micros") != pl.col("safety"))

    assert wrong.height == 0
    assert shared.height > 400


def test_open_quantity_is_ordered_less_stocked(dataset):
    receipts = {row["reference"]: row for row in dataset.frames["receipts"].iter_rows(named=True)}

    assert receipts["PO-4001-8789"]["quantity_micros"] == 5 * MICROS  # 25 ordered, 20 received, none rejected
    assert receipts["PO-3796-8352"]["quantity_micros"] == 82 * MICROS  # 550 ordered and received, 82 rejected


def test_units_are_exact(dataset):
    units = {
        (row["sku"], row["uom"]): (row["numerator"], row["denominator"])
        for row in dataset.frames["uoms"].iter_rows(named=True)
    }

    assert units["GT-2908", "M"] == (5000, 127)
    assert units["PA-187B", "GAL"] == (128, 1)
    assert ("PA-187B", "DZ") not in units


def test_merged_locations_make_one_branch_with_all_stock(build, dataset, tmp_path):
    build.build(DATA, tmp_path, merge_locations=True)

    plant = read_dataset(tmp_path, build.TIME_ZONE).frames

    assert plant["branches"]["branch"].to_list() == ["PLANT"]
    assert plant["stock"]["on_hand_micros"].sum() == dataset.frames["stock"]["on_hand_micros"].sum()


def test_cranksets_that_share_their_parts_are_promised_once(build, dataset, tmp_path):
    build.build(DATA, tmp_path, merge_locations=True)
    plant = AvailabilityEngine(
        compile_positions(read_dataset(tmp_path, build.TIME_ZONE).frames, time_zone=build.TIME_ZONE)
    )
    noon_us = int(datetime(2025, 8, 12, 19, tzinfo=UTC).timestamp()) * MICROS
    lines = [b"CS-4759", b"CS-9183"], np.array([30 * MICROS] * 2), [b"", b""]

    free = plant.check(CheckAsk(noon_us, *lines))
    promised = plant.promise(PromiseAsk(noon_us, *lines))

    assert (free.available_micros // MICROS).tolist() == [45, 45]
    assert (promised.shortage_micros // MICROS).tolist() == [0, 15]
