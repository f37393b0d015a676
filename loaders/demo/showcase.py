"""The suggested customer of the demo: contracts written by hand, and a basket with a line for each rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pricegrid.loaders.demo.catalogue import KIT_LEAF
from pricegrid.loaders.demo.prices import COMPANY, GROUP, SITE, Demo, Part, table

# Role in the basket -> (product group of the third level, the how-manieth item of it).
ROLES: Final[Mapping[str, tuple[str, int]]] = {
    "contract": ("HXB", 0),
    "group": ("EXA", 0),
    "box": ("HXB", 1),
    "import": ("TWB", 0),
    "floor": ("SHV", 0),
    "promotion": ("LED", 0),
    "class": ("MCB", 0),
    "kit": (KIT_LEAF, 1),
    "third": ("GLV", 0),
    "list": ("CBL", 0),
    "minimum": ("SIL", 0),
}


@dataclass(frozen=True, slots=True)
class BasketLine:
    """A line worth asking: `quantity` is a decimal in `uom` ('' is the base unit).

    `layer` is where its price comes from, '' where there is none to be had; `caption` says why.
    """

    sku: str
    quantity: str
    uom: str
    layer: str
    caption: str


def showcase_items(items: pl.DataFrame) -> dict[str, dict[str, object]]:
    """The catalogue row of each role. Small catalogues have one bolt only, which then plays both its roles."""
    found = {}
    for role, (leaf, number) in ROLES.items():
        of_leaf = items.filter(pl.col("leaf") == leaf)
        found[role] = of_leaf.row(min(number, of_leaf.height - 1), named=True)
    return found


def showcase_contracts(demo: Demo) -> Part:
    """The suggested customer's contracts: its own, its company's in USD and cost-plus, its group's."""
    year = demo.new_year()
    columns = "book_id layer currency valid_from below_minimum rounding_increment floor_margin_pct name"
    return Part(
        table(
            columns,
            ("NORDMARK-SITE", "contract", "EUR", year, "", "", "", "Nordmark, site contract"),
            ("NORDMARK-DIRECT", "contract", "EUR", year, "no_price", "", "", "Nordmark, direct deliveries"),
            ("NORDMARK-IMPORT", "contract", "USD", year, "", "0.01", "", "Nordmark, imports in US dollars"),
            ("NORDMARK-COSTPLUS", "contract", "EUR", year, "", "0.01", "9", "Nordmark, storage at cost plus"),
            ("NORDMARK-GROUP", "contract", "EUR", year, "", "", "", "Nordmark, group contract"),
        ),
        table(
            "book_id customer_id priority",
            ("NORDMARK-SITE", SITE, "1"),
            ("NORDMARK-DIRECT", SITE, "2"),
            ("NORDMARK-IMPORT", COMPANY, ""),
            ("NORDMARK-COSTPLUS", COMPANY, ""),
            ("NORDMARK-GROUP", GROUP, ""),
        ),
        table(
            "book_id sku product_group min_quantity method value basis entry_id",
            *(
                (
                    f"NORDMARK-{book}",
                    demo.sku(role),
                    "",
                    minimum,
                    "net",
                    demo.percent_of_list(role, percent),
                    "",
                    entry,
                )
                for book, role, minimum, percent, entry in (
                    ("SITE", "contract", "0", 70, "NM-1001"),
                    ("SITE", "contract", "100", 64, "NM-1002"),
                    ("SITE", "contract", "1000", 58, "NM-1003"),
                    ("DIRECT", "minimum", "24", 55, "NM-2001"),
                    ("IMPORT", "import", "0", 66, "NM-3001"),
                    ("GROUP", "group", "0", 73, "NM-5001"),
                    ("GROUP", "box", "0", 71, "NM-5002"),
                )
            ),
            ("NORDMARK-COSTPLUS", "", "Storage", "", "markup_pct", "6", "cost", "NM-4001"),
        ),
    )


def basket(demo: Demo) -> tuple[BasketLine, ...]:
    """Lines of the suggested customer, each with another rule at work."""
    return (
        BasketLine(demo.sku("contract"), "250", "", "contract", "the site's contract, from 100 on"),
        BasketLine(demo.sku("group"), "40", "", "contract", "the group's contract, inherited"),
        BasketLine(demo.sku("box"), "3", "BOX", "contract", "priced by the piece, sold by the box"),
        BasketLine(demo.sku("import"), "12", "", "contract", "a contract in US dollars, converted"),
        BasketLine(demo.sku("floor"), "2", "", "contract", "cost plus 6 %, lifted to its floor"),
        BasketLine(demo.sku("promotion"), "10", "", "promotion", "the lower of two that run"),
        BasketLine(demo.sku("class"), "20", "", "class", "net book of the class INSTALLER"),
        BasketLine(demo.sku("kit"), "1", "", "matrix", "12.5 % off list; a kit of items"),
        BasketLine(demo.sku("third"), "4", "PR", "matrix", "10 % off; a pair: a third of a pack"),
        BasketLine(demo.sku("list"), "500", "", "list", "no agreement: the list, from 500 on"),
        BasketLine(demo.sku("minimum"), "6", "", "", "contract only from 24 on"),
        BasketLine("HXB-M99-1", "1", "", "", "no such item"),
    )
