"""Turn the AdventureWorks ERP tables into a Pricegrid dataset.

    python examples/adventureworks/build.py --data ../shared/data/adventureworks --out DATASET

Prices: dated list prices and costs; special offers as promotion books, the volume discounts as one ladder. Supply:
inventory by location, open purchase orders and vendors' lead times as receipts, bills of materials as kits. README.md
says what was chosen and why. All values stay the decimals and dates of the tables; nothing passes through a float.
"""

import argparse
import json
import lzma
from dataclasses import dataclass
from pathlib import Path

import polars as pl

TIME_ZONE = "America/Los_Angeles"  # the company is in Bothell, Washington
CURRENCY = "USD"
AS_OF = "2025-08-12"  # the day after the last inventory count
PLANT = "PLANT"

COLUMNS = {
    "BillOfMaterials": "_ assembly component start end unit _ quantity _",
    "Customer": "_ person store _ account _ _",
    "Location": "location name _ _ _",
    "Product": "product name sku _ _ _ safety _ _ list_price _ _ _ _ _ _ _ _ subcategory _ sell_start _ _ _ _",
    "ProductCategory": "category name _ _",
    "ProductCostHistory": "product start end cost _",
    "ProductInventory": "product location _ _ quantity _ modified",
    "ProductListPriceHistory": "product start end price _",
    "ProductSubcategory": "subcategory category name _ _",
    "ProductVendor": "product vendor lead_days _ _ _ _ _ on_order unit _",
    "PurchaseOrderDetail": "order line due ordered product _ _ _ _ stocked _",
    "PurchaseOrderHeader": "order _ status _ vendor _ ordered_on _ _ _ _ _ _",
    "SpecialOffer": "offer description discount _ audience start end minimum maximum _ _",
    "SpecialOfferProduct": "offer product _ _",
}

# Exact factors of the units that bills of materials and vendors use; cartons and cases have none in the tables.
UNITS = {
    "EA": (("DZ", 12, 1),),
    "OZ": (("GAL", 128, 1), ("PT", 16, 1)),  # paint: US fluid ounces
    "IN": (("CM", 50, 127), ("M", 5000, 127)),
}
VOLUME_BOOK = "VOLUME-DISCOUNT"
AUDIENCES = {"Reseller": "RESELLER", "Customer": "INDIVIDUAL"}
STATUS_PENDING, STATUS_APPROVED = "1", "2"
CONFIDENCE = {STATUS_APPROVED: "1", STATUS_PENDING: "0.8", "vendor": "0.5"}

Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Source:
    """The ERP's tables by name, and each product's SKU, base unit and main branch."""

    tables: Tables
    products: pl.DataFrame  # product, sku, name, base_uom, main_branch and what the Product table has
    branches: pl.DataFrame  # location, branch

    def of_product(self, name: str) -> pl.DataFrame:
        """A table with the columns of its product (sku, base_uom, main_branch) beside it."""
        return self.tables[name].join(
            self.products.select("product", "sku", "base_uom", "main_branch"),
            on="product",
            maintain_order="left",
        )


def read_table(data: Path, name: str) -> pl.DataFrame:
    """One tab separated table: its columns by name, blanks as nulls, midnights as dates."""
    names = [
        f"{column}{number}" if column == "_" else column
        for number, column in enumerate(COLUMNS[name].split())
    ]
    with lzma.open(data / f"{name}.csv.xz") as packed:
        table = pl.read_csv(
            packed.read(),
            separator="\t",
            has_header=False,
            infer_schema=False,
            quote_char=None,
            new_columns=names,
        )
    kept = table.select(pl.exclude("^_.*$"))
    return kept.with_columns(pl.all().str.strip_chars().str.strip_suffix(" 00:00:00.000").replace("", None))


def read_source(data: Path, *, merge_locations: bool) -> Source:
    """Everything read, with one branch a location or one for the whole plant."""
    tables = {name: read_table(data, name) for name in COLUMNS}
    branch = pl.col("name").str.to_uppercase().str.replace_all(" ", "-")
    branches = tables["Location"].select("location", branch=pl.lit(PLANT) if merge_locations else branch)
    main = (
        tables["ProductInventory"]
        .join(branches, on="location")
        .sort("product", pl.col("quantity").cast(pl.Int64), "location", descending=[False, True, False])
        .unique("product", keep="first", maintain_order=True)
        .select("product", main_branch="branch")
    )
    # A component is counted in the unit its bills of materials name; the tables never name two.
    units = tables["BillOfMaterials"].select("unit", product="component").unique()
    products = (
        tables["Product"]
        .join(units, on="product", how="left")
        .join(main, on="product", how="left")
        .with_columns(base_uom=pl.col("unit").fill_null("EA"))
        .with_columns(pl.col("main_branch").fill_null(PLANT if merge_locations else "MISCELLANEOUS-STORAGE"))
        .sort("sku")
    )
    return Source(tables, products, branches)


# ---------------------------------------------------------------------------------------------- prices


def item_tables(source: Source) -> Tables:
    """Items, their groups (category, subcategory) and units."""
    categories = dict(source.tables["ProductCategory"].select("category", "name").iter_rows())
    groups = source.tables["ProductSubcategory"].select(
        "subcategory", product_group="name", parent=pl.col("category").replace_strict(categories)
    )
    roots = pl.DataFrame(
        {"product_group": list(categories.values()), "parent": None},
        schema=dict.fromkeys(("product_group", "parent"), pl.Utf8),
    )
    units = [
        (sku, unit, str(numerator), str(denominator))
        for sku, base in source.products.select("sku", "base_uom").iter_rows()
        for unit, numerator, denominator in UNITS[base]
    ]
    return {
        "items": source.products.join(groups, on="subcategory", how="left", maintain_order="left").select(
            "sku", "base_uom", "product_group", description="name"
        ),
        "product_groups": pl.concat([roots, groups.select("product_group", "parent")]),
        "uoms": pl.DataFrame(units, schema=["sku", "uom", "numerator", "denominator"], orient="row"),
    }


def customer_table(source: Source) -> pl.DataFrame:
    """Resellers (a store, and its contacts below it) and individuals."""
    customers = source.tables["Customer"]
    stores = customers.filter(pl.col("person").is_null()).select("store", parent_id="account")
    contact = pl.col("person").is_not_null()
    return customers.join(stores, on="store", how="left", maintain_order="left").select(
        customer_id="account",
        currency=pl.lit(CURRENCY),
        parent_id=pl.when(contact).then("parent_id"),
        price_class=pl.when(pl.col("store").is_null())
        .then(pl.lit("INDIVIDUAL"))
        .otherwise(pl.lit("RESELLER")),
    )


def list_entries(source: Source) -> pl.DataFrame:
    """The list price history; a product that has none keeps the price of its own row from its first sale on."""
    history = source.of_product("ProductListPriceHistory")
    dated = history.select("sku", value="price", valid_from="start", valid_to="end")
    undated = source.products.filter(
        ~pl.col("product").is_in(history["product"].to_list()) & (pl.col("list_price") != ".0000")
    ).select("sku", value="list_price", valid_from="sell_start", valid_to=pl.lit(None, pl.Utf8))
    return pl.concat([dated, undated]).select(
        "sku",
        "value",
        "valid_from",
        "valid_to",
        book_id=pl.lit("LIST"),
        method=pl.lit("net"),
        basis=pl.lit(None, pl.Utf8),
        min_quantity=pl.lit("0"),
    )


def offers(source: Source) -> pl.DataFrame:
    """Special offers with a discount: book, class, dates, percent, quantities; volume discounts share a book."""
    volume = pl.col("description").str.starts_with("Volume Discount")
    return (
        source.tables["SpecialOffer"]
        .filter(pl.col("discount") != ".0000")
        .with_columns(
            book_id=pl.when(volume)
            .then(pl.lit(VOLUME_BOOK))
            .otherwise("OFFER-" + pl.col("offer").str.zfill(2)),
            name=pl.when(volume).then(pl.lit("Volume discount")).otherwise("description"),
            price_class=pl.col("audience").replace_strict(AUDIENCES),
            percent=(pl.col("discount").cast(pl.Decimal(9, 4)) * 100).cast(pl.Decimal(9, 2)).cast(pl.Utf8),
        )
    )


def offer_entries(source: Source) -> pl.DataFrame:
    """Discounts on list. Above an offer's last quantity the price returns to list: a discount of 0."""
    rows = offers(source).join(
        source.of_product("SpecialOfferProduct"), on="offer", maintain_order="left_right"
    )
    starts = rows.select("book_id", "sku", "percent", min_quantity="minimum")
    ends = rows.filter(pl.col("maximum").is_not_null()).select(
        "book_id",
        "sku",
        percent=pl.lit("0"),
        min_quantity=(pl.col("maximum").cast(pl.Int64) + 1).cast(pl.Utf8),
    )
    ladder = pl.concat([starts, ends]).unique(
        ["book_id", "sku", "min_quantity"], keep="first", maintain_order=True
    )
    return ladder.select(
        "sku",
        value="percent",
        valid_from=pl.lit(None, pl.Utf8),
        valid_to=pl.lit(None, pl.Utf8),
        book_id="book_id",
        method=pl.lit("discount_pct"),
        basis=pl.lit("LIST"),
        min_quantity="min_quantity",
    )


def price_tables(source: Source) -> Tables:
    """List and promotion books with their agreements, entries and costs."""
    promotions = offers(source).unique("book_id", keep="first", maintain_order=True)
    books = promotions.select(
        "book_id",
        "name",
        layer=pl.lit("promotion"),
        currency=pl.lit(CURRENCY),
        valid_from="start",
        valid_to="end",
        rounding_increment=pl.lit("0.0001"),
    )
    list_book = pl.DataFrame(
        {"book_id": ["LIST"], "name": ["List price"], "layer": ["list"], "currency": [CURRENCY]}
    )
    everyone = pl.DataFrame({"book_id": ["LIST"], "everyone": ["true"]})
    return {
        "layers": pl.DataFrame(
            {"layer": ["promotion", "list"], "rank": ["20", "90"], "mode": ["lowest", "first"]}
        ),
        "price_books": pl.concat([list_book, books], how="diagonal"),
        "agreements": pl.concat([everyone, promotions.select("book_id", "price_class")], how="diagonal"),
        "price_entries": pl.concat([list_entries(source), offer_entries(source)]),
        "costs": source.of_product("ProductCostHistory").select(
            "sku", "cost", currency=pl.lit(CURRENCY), valid_from="start"
        ),
    }


# ---------------------------------------------------------------------------------------------- supply


def stock_table(source: Source) -> pl.DataFrame:
    """On-hand by product and branch, with the instant of its latest count."""
    return (
        source.of_product("ProductInventory")
        .join(source.branches, on="location")
        .group_by("sku", "branch")
        .agg(on_hand=pl.col("quantity").cast(pl.Int64).sum(), as_of=pl.col("modified").max())
        .sort("sku", "branch")
    )


def safety_table(source: Source, stock: pl.DataFrame) -> pl.DataFrame:
    """The product's one safety stock level, shared out to its branches by on-hand, whole units, none lost.

    Each branch gets the difference of two running shares rounded down.
    """
    level = pl.col("safety").cast(pl.Int64)
    running = pl.col("on_hand").cum_sum().over("sku") * level // pl.col("on_hand").sum().over("sku")
    held = stock.filter(pl.col("on_hand").sum().over("sku") > 0)
    return (
        held.join(source.products.select("sku", "safety"), on="sku", maintain_order="left")
        .with_columns(running=running)
        .with_columns(quantity=pl.col("running") - pl.col("running").shift(1, fill_value=0).over("sku"))
        .filter(pl.col("quantity") > 0)
        .select("sku", "branch", "quantity")
    )


def receipt_table(source: Source) -> pl.DataFrame:
    """What is still to come, to each product's main branch.

    Purchase orders: pending or approved, ordered less stocked (received less rejected: rejected goods come again), due
    on their date or after the vendor's lead time, whichever is later. Vendors: what they owe by their own record,
    where its unit has a factor, a lead time after AS_OF.
    """
    vendors = source.of_product("ProductVendor").with_columns(
        lead=pl.duration(days=pl.col("lead_days").cast(pl.Int64))
    )
    pending = pl.col("status").is_in([STATUS_PENDING, STATUS_APPROVED])
    due = pl.max_horizontal(pl.col("due").str.to_date(), pl.col("ordered_on").str.to_date() + pl.col("lead"))
    orders = (
        source.of_product("PurchaseOrderDetail")
        .join(source.tables["PurchaseOrderHeader"].filter(pending), on="order", maintain_order="left")
        .join(
            vendors.select("product", "vendor", "lead"),
            on=["product", "vendor"],
            how="left",
            maintain_order="left",
        )
        .with_columns(
            open=pl.col("ordered").cast(pl.Int64) - pl.col("stocked").cast(pl.Decimal(12, 2)).cast(pl.Int64)
        )
        .filter(pl.col("open") > 0)
        .select(
            "sku",
            branch="main_branch",
            quantity="open",
            expected_at=due,
            confidence=pl.col("status").replace_strict(CONFIDENCE),
            reference="PO-" + pl.col("order") + "-" + pl.col("line"),
        )
    )
    factors = pl.DataFrame(
        [(base, unit, n) for base, units in UNITS.items() for unit, n, d in ((base, 1, 1), *units) if d == 1],
        schema=["base_uom", "unit", "factor"],
        orient="row",
    )
    owed = (
        vendors.filter(pl.col("on_order").is_not_null())
        .join(factors, on=["base_uom", "unit"], maintain_order="left")
        .select(
            "sku",
            branch="main_branch",
            quantity=pl.col("on_order").cast(pl.Int64) * pl.col("factor"),
            expected_at=pl.lit(AS_OF).str.to_date() + pl.col("lead"),
            confidence=pl.lit(CONFIDENCE["vendor"]),
            reference="VENDOR-" + pl.col("vendor"),
        )
    )
    return pl.concat([orders, owed]).with_columns(
        pl.col("expected_at").cast(pl.Utf8), kind=pl.lit("purchase")
    )


def kit_table(source: Source) -> pl.DataFrame:
    """Bills of materials in force on AS_OF: what one assembly takes of each component, in the component's unit."""
    skus = dict(source.products.select("product", "sku").iter_rows())
    in_force = (pl.col("start") <= AS_OF) & (pl.col("end").is_null() | (pl.col("end") > AS_OF))
    return (
        source.tables["BillOfMaterials"]
        .filter(in_force & pl.col("assembly").is_not_null())
        .select(
            kit_sku=pl.col("assembly").replace_strict(skus),
            component_sku=pl.col("component").replace_strict(skus),
            quantity="quantity",
        )
        .sort("kit_sku", "component_sku")
    )


def supply_tables(source: Source) -> Tables:
    """Branches, stock, safety stock, receipts, kits, and feeds that are complete on AS_OF."""
    stock = stock_table(source)
    branches = source.branches.select("branch").unique().sort("branch")
    feeds = branches.join(pl.DataFrame({"source": ["erp", "transit"]}), how="cross")
    weekdays = [("PLANT", str(day), "true" if day <= 5 else "false") for day in range(1, 8)]
    return {
        "branches": branches.with_columns(time_zone=pl.lit(TIME_ZONE), calendar=pl.lit("PLANT")),
        "calendars": pl.DataFrame(weekdays, schema=["calendar", "weekday", "working"], orient="row"),
        "feeds": feeds.with_columns(as_of=pl.lit(AS_OF), complete=pl.lit("true")),
        "stock": stock,
        "safety_stock": safety_table(source, stock),
        "receipts": receipt_table(source),
        "kits": kit_table(source),
    }


def build(data: Path, out: Path, *, merge_locations: bool = False) -> dict[str, int]:
    """Read the ERP tables in `data`, write the dataset to `out`, return its rows by table."""
    source = read_source(data, merge_locations=merge_locations)
    tables = (
        item_tables(source)
        | {"customers": customer_table(source)}
        | price_tables(source)
        | supply_tables(source)
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_csv(out / f"{name}.csv")
    return {name: table.height for name, table in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Turn the AdventureWorks ERP tables into a Pricegrid dataset."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables (NAME.csv.xz)")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write")
    parser.add_argument(
        "--merge-locations",
        action="store_true",
        help="one branch for the plant, so that kits find their components",
    )
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    args = parser.parse_args()
    counts = build(args.data, args.out, merge_locations=args.merge_locations)
    print(
        json.dumps(counts) if args.json else "\n".join(f"{rows:>7,}  {name}" for name, rows in counts.items())
    )


if __name__ == "__main__":
    main()
