"""Asks the engines the questions of the sample, over the arrays of one snapshot."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import PREFIX
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import AvailabilityStatus, CheckAsk
from pricegrid.loaders.gates.sample import ANSWER, Arrays
from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine
from pricegrid.pricing_engine.errors import UnknownCustomerError
from pricegrid.pricing_engine.model import LineStatus


def ask(arrays: Arrays, questions: pl.DataFrame, as_of_us: int) -> pl.DataFrame:
    """Prices and availability of one snapshot (all prices, also of items the customer may not see); one row of ANSWER
    for each question."""
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    prices = PriceEngine(plain)
    stock = AvailabilityEngine(plain) if any(name.startswith(PREFIX) for name in plain) else None
    numbered = questions.with_row_index("_row")
    parts = [
        _ask_prices(prices, part, as_of_us)
        for part in numbered.partition_by("customer_id", "branch", maintain_order=True)
    ]
    priced = pl.concat(parts).sort("_row").drop("_row")
    known = [
        _ask_stock(stock, part, as_of_us) for part in numbered.partition_by("branch", maintain_order=True)
    ]
    return priced.hstack(pl.concat(known).sort("_row").drop("_row"))


def _lines(part: pl.DataFrame) -> tuple[list[bytes], NDArray[np.int64], list[bytes]]:
    skus, uoms = ([name.encode() for name in part[column]] for column in ("sku", "uom"))
    return skus, part["quantity_micros"].to_numpy().astype(np.int64), uoms


def _ask_prices(engine: PriceEngine, part: pl.DataFrame, as_of_us: int) -> pl.DataFrame:
    skus, quantities, uoms = _lines(part)
    customer, branch = part["customer_id"][0], part["branch"][0]
    schema: dict[str, Any] = {"_row": pl.UInt32(), **{n: d for n, d in ANSWER.items() if n != "availability"}}
    asked = PriceAsk(customer, "", branch, as_of_us, skus, quantities, uoms, service_desk=True)
    try:
        answers = engine.price(asked)
    except UnknownCustomerError:
        rows = [(row, "UNKNOWN_CUSTOMER", 0, 0, "", None, None, False) for row in part["_row"]]
        return pl.DataFrame(rows, schema=schema, orient="row")
    columns = (
        *(answers.status, answers.unit_price_micros, answers.price_per),
        *(answers.book, answers.layer, answers.converted),
    )
    told = [
        (
            row,
            LineStatus(status).name,
            price,
            price_per,
            answers.currency,
            engine.book_id(book) if book >= 0 else None,
            engine.layer_name(layer) if layer >= 0 else None,
            converted,
        )
        for row, status, price, price_per, book, layer, converted in zip(
            part["_row"], *(column.tolist() for column in columns), strict=True
        )
    ]
    return pl.DataFrame(told, schema=schema, orient="row")


def _ask_stock(engine: AvailabilityEngine | None, part: pl.DataFrame, as_of_us: int) -> pl.DataFrame:
    branch = part["branch"][0]
    if engine is None or not branch:
        return part.select("_row", availability=pl.lit(""))
    answers = engine.check(CheckAsk(as_of_us, *_lines(part), branches=(branch.encode(),)))
    names = [AvailabilityStatus(status).name for status in answers.status.tolist()]
    return part.select("_row").with_columns(availability=pl.Series(names, dtype=pl.String))
