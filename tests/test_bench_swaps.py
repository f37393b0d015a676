"""The swap measurement finds an answer that mixes two snapshots, and a call that failed."""

from pathlib import Path

import numpy as np

from bench import scale
from bench.http2_load import Record
from bench.swap_load import check
from pricegrid import v1
from pricegrid.loaders.store.snapshot import open_snapshot
from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine
from pricegrid.pricing_engine.model import MICROS

VERSIONS = ["first", "second"]
PRICES = np.array([[[10, 20]], [[11, 21]]])  # (versions, requests, lines)


def checked(*answers: tuple[str, list[int]] | None) -> tuple[int, int, dict[str, int]]:
    record = Record()
    for call, answer in enumerate(answers):
        if answer is not None:
            version, prices = answer
            message = v1.QuoteLinesResponse(snapshot_version=version)
            for price in prices:
                message.results.add().price.unit_price_micros = price
            record.answers[2 * call + 1] += b"\0\0\0\0\0" + message.SerializeToString()
    found = check(record, len(answers), VERSIONS, PRICES)
    return found["failed"], found["mixed"], found["versions"]


def test_answers_that_are_as_their_version_says_are_neither_failed_nor_mixed():
    assert checked(("first", [10, 20]), ("second", [11, 21])) == (0, 0, {"first": 1, "second": 1})


def test_a_line_of_another_version_is_mixed_and_a_call_without_answer_failed():
    assert checked(("first", [10, 21]), None, ("second", [11]), ("second", [10, 20])) == (
        1,
        3,
        {"first": 1, "second": 2},
    )


def test_a_world_that_is_not_loaded_row_by_row_prices_every_item_in_every_book(tmp_path: Path):
    built = scale.build(str(tmp_path), "3", "50")
    arrays = {name: np.asarray(array) for name, array in open_snapshot(tmp_path).arrays.items()}
    engine, size = PriceEngine(arrays), scale.size_of(50)
    skus = [sku.encode() for sku in scale.data.item_skus(size)]
    one, none = np.full(50, MICROS, np.int64), [b""] * 50
    prices = np.stack(
        [
            engine.price(PriceAsk(customer, "EUR", "", 0, skus, one, none)).unit_price_micros
            for customer in scale.data.customer_ids(size).head(3)
        ]
    )

    assert built["cells"] == 150
    assert sorted(prices.reshape(-1)) == sorted(arrays["cell_value"])
