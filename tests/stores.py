"""Small stores for the tests of the service: one item list at one price, published as real snapshots."""

from datetime import UTC, datetime
from pathlib import Path

from loaders.compile_prices import compile_prices
from loaders.snapshot import activate, write_snapshot
from loaders.validate import validate_tables
from tests.datasets import Rows, as_frames

SKUS = tuple(f"S{number}" for number in range(20))


def price_rows(price: str = "10") -> Rows:
    """A shop: `SKUS` at `price` EUR each, S0 with a break at 10, S1 with a minimum of 5, boxes of 12 of S2.

    Customer C1 (EUR) has a contract for S3 at 1.25; E1 is never sold to them; X1 is priced by the ERP; N1 has no price.
    """
    items = [{"sku": sku, "base_uom": "EA"} for sku in (*SKUS, "E1", "N1")]
    items.append({"sku": "X1", "base_uom": "EA", "price_source": "erp"})
    entries = [
        {"book_id": "LIST", "sku": sku, "method": "net", "value": price}
        for sku in (*SKUS, "E1", "X1")
        if sku != "S1"
    ]
    entries += [
        {"book_id": "LIST", "sku": "S0", "method": "net", "value": "9.5", "min_quantity": "10"},
        {"book_id": "LIST", "sku": "S1", "method": "net", "value": price, "min_quantity": "5"},
        {
            "book_id": "C1",
            "sku": "S3",
            "method": "net",
            "value": "1.25",
            "entry_id": "deal-7",
            "valid_to": "2026-06-30",
        },
    ]
    return {
        "items": items,
        "uoms": [{"sku": "S2", "uom": "BOX", "numerator": "12", "denominator": "1"}],
        "customers": [
            {"customer_id": "C1", "currency": "EUR", "price_class": "trade"},
            {"customer_id": "C2", "currency": "JPY"},
        ],
        "layers": [{"layer": "contract", "rank": "1"}, {"layer": "list", "rank": "2"}],
        "price_books": [
            {"book_id": "LIST", "layer": "list", "currency": "EUR"},
            {"book_id": "C1", "layer": "contract", "currency": "EUR"},
        ],
        "agreements": [{"book_id": "LIST", "everyone": "true"}, {"book_id": "C1", "customer_id": "C1"}],
        "price_entries": entries,
        "exchange_rates": [
            {"from_currency": "EUR", "to_currency": "JPY", "rate": "160.5", "valid_from": "2020-01-01"}
        ],
        "entitlements": [{"customer_id": "C1", "sku": "E1", "allowed": "false"}],
    }


def publish(store: Path, rows: Rows, *, minute: int = 0, time_zone: str = "UTC") -> str:
    """Publishes a snapshot of the rows, made at `minute` past midnight of 2026-01-01, and activates it."""
    dataset = validate_tables(as_frames(rows), time_zone)
    assert not any(frame.height for frame in dataset.rejects.values()), dataset.rejects
    version = write_snapshot(
        store,
        compile_prices(dataset.frames),
        {"time_zone": time_zone},
        created_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
    )
    activate(store, version)
    return version
