"""The page that finds customers and items, in the store's active snapshot."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pricegrid.service.console.asked import Asked
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import ask, field, link, section, table
from pricegrid.service.console.snapshots import may_list

if TYPE_CHECKING:
    import polars as pl

PATH = "/find"
_SHOWN: Final = 50
_CUSTOMERS: Final = ("customer_id", "name", "parent_id", "price_class", "branch", "currency")
_ITEMS: Final = ("sku", "description", "product_group", "base_uom", "superseded_by")


def form(asked: Asked) -> Element:
    """Asks what to find."""
    return ask(
        PATH,
        field("Find", "q", asked.text("q"), hint="part of a number, a name or a description"),
        field("For customer", "customer", asked.text("customer"), hint="goes on to the prices of items"),
        button="Find",
    )


def answer(asked: Asked) -> Node:
    """Customers and items that have the words in them; without words, the first ones."""
    if asked.store is None:
        return None
    may_list(asked)
    words = asked.text("q").lower().split()
    customers, count = _matches(asked.store, "customers", _CUSTOMERS, words)
    items, item_count = _matches(asked.store, "items", _ITEMS, words)
    customer_rows: list[list[Node]] = [
        [link(row[0], "/price", {"customer": row[0], "sku": asked.text("sku")}), *row[1:]]
        for row in customers
    ]
    item_rows: list[list[Node]] = [
        [
            link(row[0], "/price", {"sku": row[0], "customer": asked.text("customer")}),
            *row[1:],
            link("Availability", "/availability", {"sku": row[0], "customer": asked.text("customer")}),
        ]
        for row in items
    ]
    return [
        _found(
            "Customers",
            count,
            ("Customer", "Name", "Group", "Price class", "Branch", "Currency"),
            customer_rows,
        ),
        _found(
            "Items",
            item_count,
            ("Item", "Description", "Product group", "Unit", "Superseded by", "Stock"),
            item_rows,
        ),
    ]


def stocked_item(store: Path) -> str:
    """An item of the active snapshot that is in stock somewhere; '' where there is none."""
    return _first_stocked(store, _version(store))


@lru_cache(maxsize=1)
def _first_stocked(store: Path, version: str) -> str:
    from pricegrid.loaders.store.kept import stored_tables

    kept = stored_tables(store, version)
    found = None if kept is None else kept.table("stock")
    return "" if found is None or found.is_empty() else str(found["sku"][0])


def _found(title: str, count: int, header: tuple[str, ...], rows: list[list[Node]]) -> Element:
    if not rows:
        return section(title, tag("p", "None."))
    caption = f"{count:,} found" + (f", the first {len(rows)}" if count > len(rows) else "")
    return section(title, table(caption, header, rows))


def _matches(
    store: Path, name: str, columns: tuple[str, ...], words: list[str]
) -> tuple[list[list[str]], int]:
    """The first rows in which every word stands, and how many there are."""
    import polars as pl

    frame = _rows(store, _version(store), name, columns)
    if frame is None:
        return [], 0
    for word in words:
        frame = frame.filter(pl.col("searched").str.contains(word, literal=True))
    shown = [column for column in columns if column in frame.columns]
    rows = [
        ["" if column not in shown or row[column] is None else str(row[column]) for column in columns]
        for row in frame.head(_SHOWN).iter_rows(named=True)
    ]
    return rows, frame.height


@lru_cache(maxsize=4)
def _rows(store: Path, version: str, name: str, columns: tuple[str, ...]) -> "pl.DataFrame | None":
    """A table of a snapshot, with what is searched of each row in lower case."""
    import polars as pl

    from pricegrid.loaders.store.kept import stored_tables

    kept = stored_tables(store, version)
    frame = None if kept is None else kept.table(name)
    if frame is None:
        return None
    present = [column for column in columns if column in frame.columns]
    searched = pl.concat_str(
        [pl.col(each).cast(pl.String) for each in present], separator="\n", ignore_nulls=True
    )
    return frame.select(*present, searched.str.to_lowercase().alias("searched"))


def _version(store: Path) -> str:
    from pricegrid.loaders.store.snapshot import current_version

    return current_version(store)
