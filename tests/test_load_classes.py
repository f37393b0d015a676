"""`customer_classes` from the file to the arrays: what is rejected, and the runs that customers share (P18)."""

import numpy as np
import pytest

from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.verify import verify_prices
from pricegrid.pricing_engine.model import CLASSES_MAX
from tests.load_tables import loaded, rejected

CUSTOMERS = """
    customer_id, currency, parent_id, price_class
    GROUP,       EUR,      ,          GOLD
    ACME,        EUR,      GROUP,
    SITE,        EUR,      ACME,
    LONE,        EUR,      ,
    """


def _classes_of(arrays: dict[str, np.ndarray], customer: int) -> list[list[int]]:
    run = arrays["customers"][customer, mx.CUSTOMER_CLASSES]
    return arrays["customer_classes"][mx.run_start(run) : mx.run_end(run)].tolist()


def test_a_class_of_an_unknown_customer_is_rejected_and_so_is_a_contradiction() -> None:
    text = "customer_id, price_class, priority\nNOBODY, GOLD,\nACME, GOLD, 1\nACME, GOLD, 2\nACME, , 1"

    found = rejected(loaded({"customer_classes": text}), "customer_classes")

    assert [(line, column) for line, column, _ in found] == [
        (2, "customer_id"),
        (3, "priority"),
        (4, "priority"),
        (5, "price_class"),
    ]


def test_more_classes_than_a_customer_may_have_are_rejected_whole() -> None:
    rows = [f"ACME, C{number}," for number in range(CLASSES_MAX)] + ["GROUP, C1,"]
    dataset = loaded({"customer_classes": "\n".join(["customer_id, price_class, priority", *rows])})

    assert len(rejected(dataset, "customer_classes")) == CLASSES_MAX
    assert dataset.counts["customer_classes"].accepted == 1


def test_a_class_that_somebody_is_in_by_the_table_alone_is_no_odd_name() -> None:
    agreements = "book_id, customer_id, price_class, everyone\nLIST, , ROOFER,"
    text = "customer_id, price_class, priority\nACME, ROOFER,"

    assert loaded({"agreements": agreements, "customer_classes": text}).warnings == []
    assert loaded({"agreements": agreements}).warnings != []


def test_customers_share_the_runs_of_their_classes_and_of_their_ancestors() -> None:
    text = "customer_id, price_class, priority\nACME, TILER, 1\nACME, ROOFER, 1\nACME, GOLD, 2"
    arrays = compile_prices(loaded({"customers": CUSTOMERS, "customer_classes": text}).frames)

    acme, group, lone, site = range(4)
    gold, roofer, tiler = range(3)
    assert _classes_of(arrays, group) == [[gold, 0]]
    assert _classes_of(arrays, acme) == [[roofer, 0], [tiler, 0], [gold, 1]]
    assert arrays["customers"][site, mx.CUSTOMER_CLASSES] == arrays["customers"][acme, mx.CUSTOMER_CLASSES]
    assert _classes_of(arrays, lone) == []
    verify_prices(arrays)


@pytest.mark.parametrize(
    ("array", "row", "column", "value", "told"),
    [
        ("customer_classes", 4, mx.CLASS_RANK, 3, "customer_classes: out of the order"),
        ("customer_classes", 0, mx.CLASS_RANK, 1, "customer_classes: out of the order"),
        ("customer_classes", 3, mx.CLASS_NAME, 3, "customer_classes, row 3"),
        ("customers", 0, mx.CUSTOMER_CLASSES, 4 << mx.RUN_BITS | 3, "customers: its classes lie outside"),
        ("customers", 1, mx.CUSTOMER_CLASSES, 4 << mx.RUN_BITS | 1, "customers: its classes lie outside"),
    ],
)
def test_classes_that_lead_elsewhere_are_refused_when_a_snapshot_is_opened(
    array: str, row: int, column: int, value: int, told: str
) -> None:
    text = "customer_id, price_class, priority\nACME, TILER, 1\nACME, ROOFER, 1\nACME, GOLD, 2"
    arrays = compile_prices(loaded({"customers": CUSTOMERS, "customer_classes": text}).frames)
    arrays[array] = arrays[array].copy()
    arrays[array][row, column] = value

    with pytest.raises(ValueError, match=told):
        verify_prices(arrays)
