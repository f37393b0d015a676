"""The demo distributor's price books: the list, class books, the matrix, promotions, contracts shared and own.

Layers are searched by rank: contracts, promotions, class books, the matrix of class x product group, the list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from pricegrid.loaders.demo.catalogue import LEAVES, group_id, round_price

CLASSES = (
    "INSTALLER",
    "WORKSHOP",
    "INDUSTRY",
    "PUBLIC",
    "RESELLER",
    "CONSTRUCTION",
    "AGRICULTURE",
    "EXPORT",
    "ONLINE",
    "CASH",
)

# (layer, rank, mode): the first layer by rank that gives a price answers.
LAYERS = (
    ("contract", 10, "first"),
    ("promotion", 20, "lowest"),
    ("class", 25, "first"),
    ("matrix", 30, "first"),
    ("list", 90, "first"),
)

# The suggested customer: a site in a company in a group.
SITE, COMPANY, GROUP = "S00001", "C00001", "G00001"

ENTRY_COLUMNS = (
    "book_id", "sku", "product_group", "price_class", "uom", "min_quantity", "method", "value", "basis",
    "valid_from", "valid_to", "entry_id",
)  # fmt: skip
BOOK_COLUMNS = (
    "book_id", "layer", "currency", "valid_from", "valid_to", "below_minimum", "rounding_increment",
    "rounding_mode", "floor_margin_pct", "name",
)  # fmt: skip
AGREEMENT_COLUMNS = (
    "book_id",
    "customer_id",
    "price_class",
    "everyone",
    "priority",
    "valid_from",
    "valid_to",
    "inherit",
)


@dataclass(frozen=True, slots=True)
class Demo:
    """What the builders below share: the catalogue, the customers, the showcase items by role, the day it hangs on."""

    items: pl.DataFrame
    open_items: pl.DataFrame  # without the showcase items, whose prices are written by hand
    customers: pl.DataFrame
    showcase: Mapping[str, Mapping[str, object]]
    as_of: date
    seed: int

    def rng(self, stream: int) -> np.random.Generator:
        """A random stream of its own for each builder: changing one table leaves the others as they are."""
        return np.random.default_rng([self.seed, stream])

    def sku(self, role: str) -> str:
        """SKU of a showcase item."""
        return str(self.showcase[role]["sku"])

    def shown(self) -> list[str]:
        """SKUs of all showcase items."""
        return [str(item["sku"]) for item in self.showcase.values()]

    def percent_of_list(self, role: str, percent: int) -> str:
        """A decimal: so many percent of a showcase item's list price."""
        micros = np.array([self.showcase[role]["list_micros"]], dtype=np.int64) * percent // 100
        return str(decimal_text(round_price(micros))[0])

    def day(self, days: int) -> str:
        """ISO date so many days after `as_of`."""
        return (self.as_of + timedelta(days=days)).isoformat()

    def new_year(self, years: int = 0) -> str:
        """ISO date of 1 January, so many years after that of `as_of`."""
        return date(self.as_of.year + years, 1, 1).isoformat()

    def new_years_eve(self, years: int = 0) -> str:
        """ISO date of 31 December, so many years after that of `as_of`."""
        return date(self.as_of.year + years, 12, 31).isoformat()


def decimal_text(micros: pl.Series | np.ndarray) -> pl.Series:
    """10^-6 units (not negative) as the shortest decimals."""
    value = pl.Series("value", micros, dtype=pl.Int64)
    whole, part = value // 1_000_000, (value % 1_000_000).cast(pl.Utf8).str.zfill(6)
    text = pl.DataFrame({"whole": whole.cast(pl.Utf8), "part": part}).select(
        pl.concat_str("whole", "part", separator=".")
    )
    return text.to_series().str.strip_chars_end("0").str.strip_chars_end(".").alias("value")


def money(micros: pl.Expr) -> pl.Expr:
    """Prices rounded as a price list would, as decimals."""
    return micros.map_batches(
        lambda column: decimal_text(round_price(column.to_numpy())), return_dtype=pl.Utf8
    )


def with_columns(table: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """The table as text with exactly these columns, blank where it has none."""
    return table.select(
        pl.col(name).cast(pl.Utf8) if name in table.columns else pl.lit(None, pl.Utf8).alias(name)
        for name in columns
    )


def table(columns: str, *records: tuple[str, ...]) -> pl.DataFrame:
    """A small table: the names of its columns, and its rows; '' is blank."""
    schema = dict.fromkeys(columns.split(), pl.Utf8)
    return pl.DataFrame(records, schema=schema, orient="row").with_columns(pl.all().replace("", None))


@dataclass(frozen=True, slots=True)
class Part:
    """Books with their agreements and entries, any columns; the rest are blank."""

    books: pl.DataFrame
    agreements: pl.DataFrame
    entries: pl.DataFrame


def stacked(*tables: pl.DataFrame) -> pl.DataFrame:
    """Tables below each other, missing columns blank."""
    return pl.concat([table.with_columns(pl.all().cast(pl.Utf8)) for table in tables], how="diagonal")


# ---------------------------------------------------------------------------------------------- the books

# Percent off list that the lines of the basket show, '' for none.
SHOWCASE_DISCOUNTS = {
    ("INSTALLER", "Assortments/Assortments"): "12.5",
    ("INSTALLER", "Safety/Hand protection"): "10",
    ("INSTALLER", "Electrical/Cable"): "",
}
DISCOUNTS = ("", "", "5", "7.5", "10", "12.5", "15", "17.5", "20", "22.5", "25", "27.5")


def list_book(demo: Demo) -> Part:
    """LIST in EUR: last year's prices, this year's, some of next quarter's; breaks and box prices where usual."""
    rng = demo.rng(10)
    priced = pl.Series(rng.random(demo.items.height) >= 0.004)  # a few have no price yet
    now = demo.items.filter(priced | pl.col("sku").is_in(demo.shown()))
    now = now.select(
        "sku",
        "leaf",
        "base_uom",
        "popularity",
        micros="list_micros",
        minimum=pl.lit("0"),
        valid_from=pl.lit(demo.new_year()),
        valid_to=pl.lit(None, pl.Utf8),
        uom=pl.lit(None, pl.Utf8),
    )
    popularity = pl.col("popularity")
    before = now.filter(popularity < 250).with_columns(
        pl.col("micros") * 96 // 100,
        valid_from=pl.lit(demo.new_year(-1)),
        valid_to=pl.lit(demo.new_years_eve(-1)),
    )
    boxes = now.filter((pl.col("base_uom") == "PK") & (popularity >= 500)).with_columns(
        pl.col("micros") * 12 * 94 // 100, uom=pl.lit("BOX")
    )
    breaks = [
        now.filter((popularity >= popular_from) | (pl.col("leaf") == "CBL")).with_columns(
            pl.col("micros") * percent // 100, minimum=pl.lit(minimum)
        )
        for popular_from, minimum, percent in ((400, "10", 96), (400, "100", 92), (700, "500", 88))
    ]
    announced = (  # with the same breaks: the new ladder answers for all of the old one
        pl.concat([now, *breaks])
        .filter(popularity >= 950)
        .with_columns(pl.col("micros") * 103 // 100, valid_from=pl.lit(demo.day(75)))
    )
    entries = pl.concat([now, *breaks, before, announced, boxes]).select(
        "sku", "uom", "valid_from", "valid_to", min_quantity="minimum", value=money(pl.col("micros"))
    )
    return Part(
        table("book_id layer currency name", ("LIST", "list", "EUR", "List price")),
        table("book_id everyone", ("LIST", "true")),
        entries.with_columns(book_id=pl.lit("LIST"), method=pl.lit("net")),
    )


def class_books(demo: Demo) -> Part:
    """Net books of two classes, a cost-plus book with a floor, and an export book in USD that follows the list."""
    rng = demo.rng(11)
    department, popularity = pl.col("department"), pl.col("popularity")
    installer = demo.open_items.filter(
        department.is_in(["Electrical", "Plumbing"])
        & (popularity >= 350)
        & (pl.col("middle_group") != "Electrical/Cable")
    )
    reseller = demo.open_items.filter((department == "Fasteners") & (popularity >= 300))
    return Part(
        table(
            "book_id layer currency rounding_increment rounding_mode floor_margin_pct name",
            ("INSTALLER-NET", "class", "EUR", "", "", "", "Installers' net prices"),
            ("RESELLER-NET", "class", "EUR", "", "", "", "Resellers' net prices"),
            ("PUBLIC-COSTPLUS", "class", "EUR", "0.01", "", "11", "Public bodies, cost plus"),
            ("EXPORT-USD", "class", "USD", "0.01", "half_even", "", "Export in US dollars"),
        ),
        table(
            "book_id price_class",
            ("INSTALLER-NET", "INSTALLER"),
            ("RESELLER-NET", "RESELLER"),
            ("PUBLIC-COSTPLUS", "PUBLIC"),
            ("EXPORT-USD", "EXPORT"),
        ),
        stacked(
            net_entries("INSTALLER-NET", installer, (("0", 100),), rng),
            net_entries("RESELLER-NET", reseller, (("0", 100), ("200", 94), ("1000", 87)), rng),
            table(
                "book_id sku product_group min_quantity method value basis",
                ("INSTALLER-NET", demo.sku("class"), "", "0", "net", demo.percent_of_list("class", 68), ""),
                ("PUBLIC-COSTPLUS", "", "Power tools", "", "markup_pct", "14", "cost"),
                ("PUBLIC-COSTPLUS", "", "Safety", "", "markup_pct", "22", "cost"),
                ("PUBLIC-COSTPLUS", "", "Safety/Head protection", "", "margin_pct", "17.5", "cost"),
                ("PUBLIC-COSTPLUS", "", "Storage", "", "markup_pct", "9", "cost"),
                ("EXPORT-USD", "", "", "", "multiplier", "0.94", "LIST"),
            ),
        ),
    )


def net_entries(
    book_id: str, chosen: pl.DataFrame, ladder: tuple[tuple[str, int], ...], rng: np.random.Generator
) -> pl.DataFrame:
    """Net prices at 62 to 77 % of list, with the same ladder of (minimum, percent) for all items."""
    percent = pl.Series(rng.integers(62, 78, chosen.height))
    base = chosen.select(
        "sku", book_id=pl.lit(book_id), method=pl.lit("net"), micros=pl.col("list_micros") * percent
    )
    return pl.concat(
        base.select(
            "sku",
            "book_id",
            "method",
            min_quantity=pl.lit(minimum),
            value=money(pl.col("micros") * step // 10_000),
        )
        for minimum, step in ladder
    )


def matrix_book(demo: Demo) -> Part:
    """MATRIX: discounts on list by class and product group, kept to 8 % above cost; some groups have none."""
    rng = demo.rng(12)
    entries = []
    for price_class in CLASSES:
        for group in dict.fromkeys(group_id(leaf) for leaf in LEAVES):
            drawn = DISCOUNTS[rng.integers(0, len(DISCOUNTS))]
            if discount := SHOWCASE_DISCOUNTS.get((price_class, group), drawn):
                entries.append(("MATRIX", group, price_class, "discount_pct", discount, "LIST"))
    return Part(
        table(
            "book_id layer currency rounding_increment floor_margin_pct name",
            ("MATRIX", "matrix", "EUR", "0.0001", "8", "Discounts by class and group"),
        ),
        table("book_id everyone", ("MATRIX", "true")),
        table("book_id product_group price_class method value basis", *entries),
    )


def promotion_books(demo: Demo) -> Part:
    """Promotions past, running and to come; where two run, the lower price wins (mode `lowest`)."""
    rng = demo.rng(13)
    popular = demo.open_items.filter(pl.col("popularity") >= 900)
    promotions = (
        ("PROMO-AUTUMN", "Autumn safety weeks", -100, -60, pl.col("department") == "Safety"),
        ("PROMO-WINTER", "Winter promotion", -14, 16, pl.col("department") == "Electrical"),
        ("PROMO-LIGHTING", "Lighting weeks", -5, 30, pl.col("leaf") == "LED"),
        ("PROMO-SPRING", "Spring promotion", 45, 80, pl.col("department") == "Power tools"),
    )
    parts = []
    for book_id, _, _, _, of_interest in promotions:
        chosen = popular.filter(of_interest)
        micros = pl.col("list_micros") * pl.Series(rng.integers(52, 66, chosen.height)) // 100
        parts.append(chosen.select("sku", book_id=pl.lit(book_id), method=pl.lit("net"), value=money(micros)))
    by_hand = table(
        "book_id sku method value basis",
        ("PROMO-WINTER", demo.sku("promotion"), "discount_pct", "30", "LIST"),
        ("PROMO-LIGHTING", demo.sku("promotion"), "net", demo.percent_of_list("promotion", 58), ""),
    )
    return Part(
        table(
            "book_id layer currency valid_from valid_to rounding_increment name",
            *(
                (book_id, "promotion", "EUR", demo.day(start), demo.day(end), "0.01", name)
                for book_id, name, start, end, _ in promotions
            ),
        ),
        table("book_id everyone", *((book_id, "true") for book_id, *_ in promotions)),
        stacked(*parts, by_hand),
    )


def frame_contracts(demo: Demo) -> Part:
    """Framework contracts: each stored once and shared by hundreds of customers."""
    rng = demo.rng(14)
    members_pool = demo.customers.filter(~pl.col("customer_id").is_in([SITE, COMPANY, GROUP]))[
        "customer_id"
    ].to_numpy()
    count = max(3, demo.customers.height // 160)
    count = max(3, demo.customers.height // 160)
    book_ids = [f"FRAME-{number:03}" for number in range(1, count + 1)]
    agreements = []
    for number, book_id in enumerate(book_ids, 1):
        members = rng.choice(members_pool, size=max(5, members_pool.size // 16), replace=False)
        agreements.append(
            pl.DataFrame({"customer_id": np.sort(members)}).with_columns(
                book_id=pl.lit(book_id),
                priority=pl.lit(str(number % 9 + 1)),
                inherit=pl.lit("false" if number % 10 == 0 else "true"),
            )
        )
    # Every sixth has just ended.
    ends = [demo.new_years_eve() if number % 6 else demo.day(-10) for number in range(1, count + 1)]
    books = table(
        "book_id layer currency valid_from valid_to name",
        *(
            (book_id, "contract", "EUR", demo.new_year(-1), end, f"Framework contract {book_id[-3:]}")
            for book_id, end in zip(book_ids, ends, strict=True)
        ),
    )
    owners = np.repeat(book_ids, min(600, demo.open_items.height // 4))
    return Part(books, stacked(*agreements), contract_entries(demo, owners, rng))


def own_contracts(demo: Demo) -> Part:
    """Contracts of one customer each; a group's or company's reaches the sites below it."""
    rng = demo.rng(15)
    pool = demo.customers.filter(~pl.col("customer_id").is_in([SITE, COMPANY, GROUP]))
    kind = pool["customer_id"].str.slice(0, 1)
    chance = kind.replace_strict({"G": 0.45, "C": 0.2, "S": 0.06}, return_dtype=pl.Float64).to_numpy()
    owners = pool.filter(pl.Series(rng.random(pool.height) < chance))
    book_ids = ("OWN-" + owners["customer_id"]).to_numpy().astype(str)
    past = pl.Series(rng.random(owners.height) < 0.06)
    books = owners.select(
        book_id="OWN-" + pl.col("customer_id"),
        layer=pl.lit("contract"),
        currency="currency",
        valid_from=pl.lit(demo.new_year(-1)),
        valid_to=pl.when(past).then(pl.lit(demo.day(-20))),
        name="Contract of " + pl.col("name"),
    )
    agreements = owners.select("customer_id", book_id="OWN-" + pl.col("customer_id"), priority=pl.lit("1"))
    lines = rng.integers(10, 90, owners.height)
    return Part(books, agreements, contract_entries(demo, np.repeat(book_ids, lines), rng))


def contract_entries(demo: Demo, owners: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Net prices of random items, one line an element of `owners` (book ids), four in ten with two breaks more."""
    chosen = demo.open_items[rng.integers(0, demo.open_items.height, owners.size)]
    lines = chosen.select(
        "sku",
        book_id=pl.Series(owners),
        micros=pl.col("list_micros") * pl.Series(rng.integers(48, 84, owners.size)) // 100,
        broken=pl.Series(rng.random(owners.size) < 0.4),
    ).unique(["book_id", "sku"], keep="first", maintain_order=True)
    ladder = [lines.with_columns(minimum=pl.lit("0"))]
    for minimum, percent in ((25, 95), (250, 89)):
        ladder.append(
            lines.filter(pl.col("broken")).with_columns(
                pl.col("micros") * percent // 100, minimum=pl.lit(str(minimum))
            )
        )
    return pl.concat(ladder).select(
        "book_id", "sku", min_quantity="minimum", method=pl.lit("net"), value=money(pl.col("micros"))
    )


BOOKS = (list_book, class_books, matrix_book, promotion_books, frame_contracts, own_contracts)
