"""The two limits of the layout at the size of a distributor: cells follow the entries, probes stay few (issue 2).

Bytes and probes are counted, never timed: 1 M list entries, 10 classes × 20,000, a class × group matrix, 50,000
customers in three levels, each with a contract.
"""

import functools

import numpy as np
import polars as pl
import pytest

from bench import datasets as data
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine
from pricegrid.pricing_engine.kernels.stack import STACK_ATTACHMENT, gather_stack
from pricegrid.pricing_engine.model import MICROS, LineStatus
from tests.written import accepted

CELL_ARRAYS = ("cell_value", "cell_entry", "cell_low", "cell_directory", "cell_ranks", "ladders", "records")
BYTES_PER_ENTRY_MAX = 32  # one break is 18.5 with its entry number; a further break is a row of 16
STACK_ROWS_MAX = 6  # contracts of the customer and two ancestors, class book, matrix, list
ITEM_LEVELS = 4  # item, group, parent group, every item
HUNDREDTH = data.Size(items=7_200, class_entries=200, customers=500, contract_entries=20)


@functools.cache
def compiled(size):
    return compile_prices(data.frames(size))


def customers_of(arrays, step=1):
    return range(0, len(arrays["customers"]), step)


def probes(m, customer, item):
    """How many cells a lookup asks for at most: each bundle of the stack once for each level that it has."""
    levels = [mx.LEVEL_ITEM]
    group = mx.item_group(m.items[item, mx.ITEM_NAMES])
    while group >= 0:
        levels.append(mx.LEVEL_GROUP)
        group = m.group_parents[group]
    levels.append(mx.LEVEL_EVERY)
    bundles = m.attachments[gather_stack(m, customer)[:, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE]
    return sum(
        int(m.bundles[bundle, mx.BUNDLE_LEVELS]) & level != 0 for bundle in bundles for level in levels
    )


def shop(books, agreements, entries, customers=1):
    """Compiled frames of a small shop: one layer, every book in EUR."""
    skus = pl.concat([table["sku"] for table in entries]).unique().sort()
    tables = {
        "items": pl.DataFrame({"sku": skus}).with_columns(base_uom=pl.lit("EA")),
        "customers": pl.DataFrame({"customer_id": [f"C{n:05}" for n in range(customers)]}).with_columns(
            currency=pl.lit("EUR")
        ),
        "layers": pl.DataFrame({"layer": ["only"], "rank": [1]}),
        "price_books": pl.DataFrame({"book_id": books}).with_columns(
            layer=pl.lit("only"), currency=pl.lit("EUR")
        ),
        "agreements": agreements,
        "price_entries": pl.concat(entries).with_columns(method=pl.lit("net")),
    }
    return compile_prices(accepted(tables).frames)


def ask(customer, skus, quantity=1):
    return PriceAsk(
        customer,
        "EUR",
        "",
        0,
        [sku.encode() for sku in skus],
        np.full(len(skus), quantity * MICROS, np.int64),
        [b""] * len(skus),
    )


@pytest.mark.slow
def test_stored_cells_stay_proportional_to_the_entries():
    small, large = compiled(data.TENTH), compiled(data.ISSUE_2)

    bytes_per_entry = {}
    for size, arrays in ((data.TENTH, small), (data.ISSUE_2, large)):
        assert len(arrays["cell_value"]) <= size.entries + len(arrays["records"])
        bytes_per_entry[size] = sum(arrays[name].nbytes for name in CELL_ARRAYS) / size.entries

    assert data.ISSUE_2.items + 2 * data.ISSUE_2.items // 5 > 1_000_000  # list entries
    assert bytes_per_entry[data.ISSUE_2] < BYTES_PER_ENTRY_MAX
    assert bytes_per_entry[data.ISSUE_2] < 1.1 * bytes_per_entry[data.TENTH]


@pytest.mark.slow
@pytest.mark.parametrize("size", [HUNDREDTH, data.ISSUE_2], ids=["hundredth", "full"])
def test_a_class_and_group_rule_stays_one_rule_however_many_items_it_prices(size):
    arrays = compiled(size)
    in_matrix = arrays["bundles"][:, mx.BUNDLE_LEVELS] == mx.LEVEL_GROUP

    assert len(arrays["records"]) == data.CLASSES * data.GROUPS // 2
    cells = np.diff(arrays["bundles"][:, mx.BUNDLE_CELLS], append=len(arrays["cell_value"]))
    assert cells[in_matrix].tolist() == [data.GROUPS // 2]


def test_a_book_shared_by_ten_thousand_customers_adds_agreements_and_no_cells():
    entries = [
        pl.DataFrame(
            {"book_id": ["SHARED"] * 1000, "sku": [f"S{n:04}" for n in range(1000)], "value": ["2"] * 1000}
        )
    ]

    def shared_by(count):
        agreements = pl.DataFrame({"customer_id": [f"C{n:05}" for n in range(count)]})
        return shop(["SHARED"], agreements.with_columns(book_id=pl.lit("SHARED")), entries, customers=10_000)

    by_one, by_all = shared_by(1), shared_by(10_000)

    assert {name: by_all[name].tobytes() for name in CELL_ARRAYS} == {
        name: by_one[name].tobytes() for name in CELL_ARRAYS
    }
    assert len(by_all["bundles"]) == len(by_one["bundles"]) == 1
    assert len(by_all["agreements"]) == 10_000
    engine = PriceEngine(by_all)
    assert engine.price(ask("C09999", ["S0999"])).unit_price_micros.tolist() == [2 * MICROS]


@pytest.mark.slow
@pytest.mark.parametrize("size", [HUNDREDTH, data.ISSUE_2], ids=["hundredth", "full"])
def test_a_lookup_makes_as_few_probes_among_a_hundred_times_as_much(size):
    m = mx.matrix_from_arrays(compiled(size))
    customers = customers_of(compiled(size), step=7)

    rows = [len(gather_stack(m, customer)) for customer in customers]
    most = max(
        probes(m, customer, item) for customer in customers_of(compiled(size), 499) for item in (0, 1, 99)
    )

    assert max(rows) == STACK_ROWS_MAX
    # contracts, class book and list hold items only: one probe each; the matrix holds groups only: one for each group
    assert most == STACK_ROWS_MAX - 1 + 2
    assert most <= STACK_ROWS_MAX * ITEM_LEVELS


def test_ten_thousand_books_for_everyone_are_one_bundle_and_one_probe():
    books = [f"B{n:05}" for n in range(10_000)]
    entries = [
        pl.DataFrame({"book_id": books, "sku": [f"S{n % 100:02}" for n in range(10_000)]}).with_columns(
            value=pl.Series(range(10_000)).cast(pl.String) + ".5"
        )
    ]
    arrays = shop(books, pl.DataFrame({"book_id": books, "everyone": [True] * 10_000}), entries)
    m = mx.matrix_from_arrays(arrays)

    assert len(arrays["bundles"]) == 1
    assert len(gather_stack(m, 0)) == 1
    assert probes(m, 0, 42) == 1
    answers = PriceEngine(arrays).price(ask("C00000", ["S42"]))
    assert answers.unit_price_micros.tolist() == [42 * MICROS + MICROS // 2]  # of equals, the lowest book id


@pytest.mark.slow
def test_every_kind_of_price_is_right_at_that_size():
    entries = data.raw_tables(data.ISSUE_2)["price_entries"].with_row_index("row")
    engine = PriceEngine(compiled(data.ISSUE_2))
    contracts = entries.filter(pl.col("book_id").str.starts_with("K-")).sample(500, seed=7)
    breaks = entries.filter((pl.col("book_id") == "LIST") & (pl.col("min_quantity") == 10)).sample(
        500, seed=7
    )

    for row in contracts.iter_rows(named=True):
        answer = engine.price(ask(row["book_id"].removeprefix("K-"), [row["sku"]]))
        assert answer.status[0] == LineStatus.OK
        assert answer.unit_price_micros[0] == int(row["value"] * MICROS), row
    at_the_break = engine.price(ask("", breaks["sku"].to_list(), quantity=99))
    assert at_the_break.unit_price_micros.tolist() == [int(value * MICROS) for value in breaks["value"]]
