"""A shop whose dataset has every table, written as files and spoilt as an export goes wrong at night."""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.datasets import Rows
from tests.stores import stocked_rows
from tests.written import COLUMNS, DELTA_COLUMNS, check_declared

NOW = "2026-03-02T06:00:00Z"


def every_table() -> Rows:
    """The stocked shop, with the tables that it does without."""
    rows = stocked_rows()
    rows["product_groups"] = [{"product_group": name} for name in ("TOOLS", "METAL", "PAINT", "WOOD")]
    rows["items"][0]["product_group"] = "TOOLS"
    rows["customer_classes"] = [{"customer_id": name, "price_class": "gold"} for name in ("C1", "C2")]
    rows["costs"] = [{"sku": f"S{n}", "cost": "4", "currency": "EUR"} for n in range(8)]
    rows["allocations"] = [
        {"sku": f"S{n}", "branch": "HAM", "allocated": "1", "as_of": NOW, "order_ref": f"O{n}"}
        for n in (2, 4, 5)
    ]
    rows["demands"] = [
        {"sku": f"S{n}", "branch": "HAM", "quantity": "1", "due_at": "2026-03-09"} for n in (2, 4, 5)
    ]
    rows["safety_stock"] = [{"sku": f"S{n}", "branch": "HAM", "quantity": "1"} for n in (2, 4, 5)]
    rows["part_numbers"] = [
        {"scheme": "gtin", "code": f"401234567890{n}", "sku": f"S{n}", "uom": "EA"} for n in range(4)
    ]
    rows["unit_codes"] = [{"system": "x12", "code": code, "uom": "EA"} for code in ("EA", "PC")]
    rows["ship_tos"] = [{"customer_id": name, "ship_to": "YARD", "zone": "NORTH"} for name in ("C1", "C2")]
    rows["party_codes"] = [
        {"scheme": "gln", "code": f"400000000000{n}", "customer_id": f"C{n}"} for n in (1, 2)
    ]
    rows["calendars"] = [
        {"calendar": "DE", "weekday": day, "working": "false"} for day in ("saturday", "sunday")
    ]
    return rows


def write(folder: Path, rows: Rows, *, is_delta: bool = False) -> Path:
    """The rows as CSV files, and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        stale.unlink()
    for name, records in rows.items():
        columns = list(
            dict.fromkeys(column for record in records or every_table()[name] for column in record)
        )
        check_declared({name: columns}, DELTA_COLUMNS if is_delta else COLUMNS)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(records)
        (folder / f"{name}.csv").write_text(text.getvalue(), encoding="utf-8")
    return folder


def absent(rows: Rows, table: str) -> Rows:
    """Without the file."""
    return {name: records for name, records in rows.items() if name != table}


def emptied(rows: Rows, table: str) -> Rows:
    """A header and no row."""
    return {**rows, table: []}


def halved(rows: Rows, table: str) -> Rows:
    """Cut off in the middle."""
    return {**rows, table: rows[table][: len(rows[table]) // 2]}


RETYPED: Mapping[str, str] = {
    "product_groups": "parent",
    "items": "product_group",
    "uoms": "numerator",
    "customers": "currency",
    "customer_classes": "priority",
    "layers": "rank",
    "price_books": "currency",
    "agreements": "everyone",
    "price_entries": "value",
    "costs": "cost",
    "exchange_rates": "rate",
    "entitlements": "allowed",
    "branches": "cutoff",
    "lanes": "transit_days",
    "stock": "on_hand",
    "allocations": "allocated",
    "receipts": "quantity",
    "demands": "quantity",
    "safety_stock": "quantity",
    "calendars": "working",
    "feeds": "as_of",
    "kits": "quantity",
    "part_numbers": "any_case",
    "unit_codes": "sku",
    "ship_tos": "branch",
    "party_codes": "customer_id",
}
"""A column of each table that words are written into."""


def retyped(rows: Rows, table: str) -> Rows:
    """Words where something else belongs."""
    return {**rows, table: [{**record, RETYPED[table]: "n/a ?"} for record in rows[table]]}


SPOILT: Mapping[str, Callable[[Rows, str], Rows]] = {
    "absent": absent,
    "emptied": emptied,
    "halved": halved,
    "retyped": retyped,
}
