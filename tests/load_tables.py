"""Small datasets for the loader's tests, written as an analyst would write them in a sheet."""

from collections.abc import Iterable, Mapping

import polars as pl

from pricegrid.loaders.validate.tables import Dataset, validate_tables
from tests.written import check_declared

DISTRIBUTOR = {
    "product_groups": """
        product_group, parent
        TOOLS,
        DRILLS, TOOLS
        """,
    "items": """
        sku,   base_uom, product_group
        BOLT,  EA,
        NUT,   EA,
        DRILL, EA,       DRILLS
        """,
    "uoms": """
        sku,  uom, numerator
        BOLT, BOX, 100
        """,
    "customers": """
        customer_id, currency, parent_id, price_class
        GROUP,       EUR,      ,          GOLD
        ACME,        EUR,      GROUP,     GOLD
        """,
    "layers": """
        layer,    rank
        contract, 1
        list,     2
        """,
    "price_books": """
        book_id, layer,    currency
        LIST,    list,     EUR
        DEAL,    contract, EUR
        """,
    "agreements": """
        book_id, customer_id, price_class, everyone
        LIST,    ,            ,            true
        DEAL,    ACME,        ,
        """,
    "price_entries": """
        book_id, sku,  min_quantity, method, value, entry_id
        LIST,    BOLT, ,             net,    12.50, e1
        LIST,    BOLT, 10,           net,    11.00, e2
        """,
}
"""A dataset without a fault."""


def table(text: str) -> pl.DataFrame:
    """A table of text columns; blanks around commas don't count, an empty cell is null."""
    rows = [[cell.strip() or None for cell in line.split(",")] for line in text.strip().splitlines()]
    names = [str(name) for name in rows[0]]
    return pl.DataFrame(rows[1:], schema=dict.fromkeys(names, pl.String), orient="row")


def loaded(
    changes: Mapping[str, str] | None = None, time_zone: str = "UTC", drop: Iterable[str] = ()
) -> Dataset:
    """The distributor's dataset with some tables replaced."""
    texts = {**DISTRIBUTOR, **(changes or {})}
    tables = {name: table(text) for name, text in texts.items() if name not in set(drop)}
    check_declared({name: frame.columns for name, frame in tables.items()})
    return validate_tables(tables, time_zone)


def entries(*lines: str) -> dict[str, str]:
    """A price_entries table with every column."""
    header = "book_id, sku, product_group, price_class, uom, min_quantity, method, value, basis, valid_from, valid_to"
    return {"price_entries": "\n".join([f"{header}, explicit_zero, entry_id", *lines])}


def rejected(dataset: Dataset, name: str) -> list[tuple[int, str, str]]:
    """(line, column, reason) of the rejected rows of a table."""
    if name not in dataset.rejects:
        return []
    return dataset.rejects[name].select("line", "column", "reason").rows()
