"""Small stores for the tests of the service: one item list at one price, published as real snapshots."""

from datetime import UTC, datetime
from pathlib import Path

from pricegrid.columnar.instants import us_of
from pricegrid.loaders.compile.book_digests import book_digests
from pricegrid.loaders.publish import compile_dataset
from pricegrid.loaders.store import book_ages
from pricegrid.loaders.store.snapshot import activate, write_snapshot
from tests.datasets import Rows, as_frames
from tests.written import accepted

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


def stocked_rows() -> Rows:
    """The shop with stock: branches HAM and RTM in UTC, complete extracts at 6:00 on 2026-03-02, a Monday.

    S4 has 10 at HAM and 3 at RTM, with 10 to HAM on the 7th; S5 is short by 3 at RTM and has 5 at HAM; S6 is not in
    stock anywhere; KIT takes 4 of BOLT, a thousand at HAM, and 1 PANEL, as many; OLD, of which there is none, is
    superseded by S4 and then by E1, which C1 may not buy. RTM delivers to the zone NORTH in 1 day, HAM in 2. C1 is
    delivered from HAM.
    """
    rows = price_rows()
    rows["items"] += [{"sku": sku, "base_uom": "EA"} for sku in ("KIT", "BOLT", "PANEL")]
    rows["items"].append({"sku": "OLD", "base_uom": "EA", "superseded_by": "S4"})
    next(item for item in rows["items"] if item["sku"] == "S4")["superseded_by"] = "E1"
    rows["customers"][0]["branch"] = "HAM"
    rows["branches"] = [{"branch": "HAM"}, {"branch": "RTM"}]
    rows["lanes"] = [
        {"from_branch": "RTM", "ship_zone": "NORTH", "transit_days": "1", "rank": "1"},
        {"from_branch": "HAM", "ship_zone": "NORTH", "transit_days": "2", "rank": "2"},
    ]
    rows["feeds"] = [
        {"branch": branch, "source": source, "as_of": "2026-03-02T06:00:00Z", "complete": "true"}
        for branch in ("HAM", "RTM")
        for source in ("erp", "wms", "transit")
    ]
    rows["stock"] = [
        {"sku": sku, "branch": branch, "on_hand": on_hand, "as_of": "2026-03-02T06:00:00Z"}
        for sku, branch, on_hand in (
            ("S4", "HAM", "10"),
            ("S4", "RTM", "3"),
            ("S5", "HAM", "5"),
            ("S5", "RTM", "-3"),
            ("S2", "HAM", "30"),
            ("BOLT", "HAM", "1000"),
            ("PANEL", "HAM", "1000"),
            ("E1", "HAM", "100"),
        )
    ]
    rows["receipts"] = [
        {"sku": "S4", "branch": "HAM", "quantity": "10", "expected_at": "2026-03-07", "reference": "PO-1"}
    ]
    rows["kits"] = [
        {"kit_sku": "KIT", "component_sku": "BOLT", "quantity": "4"},
        {"kit_sku": "KIT", "component_sku": "PANEL", "quantity": "1"},
    ]
    return rows


def publish(store: Path, rows: Rows, *, minute: int = 0, time_zone: str = "UTC") -> str:
    """Publishes a snapshot of the rows, made at `minute` past midnight of 2026-01-01, and activates it."""
    frames = accepted(as_frames(rows), time_zone).frames
    created = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
    books = book_digests(frames["price_books"], frames["price_entries"])
    version = write_snapshot(
        store,
        compile_dataset(frames, time_zone),
        {"time_zone": time_zone},
        created_at=created,
        kept={book_ages.FILE: book_ages.kept_books(*books, None, us_of(created))},
    )
    activate(store, version)
    return version
