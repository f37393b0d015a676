"""A partner's stock and ship notices as rows of `stock` and `receipts` (docs/dataset.md)."""

from pathlib import Path
from typing import Final

from pricegrid.edi.documents.inventory import Figure, read_inventory
from pricegrid.edi.documents.sets import Document
from pricegrid.edi.documents.shipment import Arrival, read_shipment
from pricegrid.edi.documents.values import ValueRefusedError, instant, number, plain
from pricegrid.edi.profile import Profile
from pricegrid.edi.tables.merging import NewRows
from pricegrid.edi.tables.names import Names
from pricegrid.edi.tables.rejecting import Rejects

_STOCK: Final = ("sku", "branch", "on_hand", "as_of")
_RECEIPTS: Final = (
    *("sku", "branch", "quantity", "expected_at", "kind", "reference", "line"),
    "supersedes",
)
_KIND: Final = "asn"


class SupplyRows:
    """What a file's reports of stock and ship notices say."""

    def __init__(self, dataset: Path, profile: Profile, names: Names, rejects: Rejects) -> None:
        self._profile = profile
        self._names = names
        self._rejects = rejects
        self._dataset = dataset
        self._stock: dict[tuple[str, str], tuple[str, ...]] = {}
        self._receipts: dict[str, list[tuple[str, ...]]] = {}
        """Of each shipment; the last notice of one counts."""

    @property
    def stock(self) -> int:
        """Pairs of item and branch."""
        return len(self._stock)

    @property
    def receipts(self) -> int:
        """Rows of receipts."""
        return sum(map(len, self._receipts.values()))

    def take_inventory(self, document: Document) -> None:
        """The figures of a document; of a pair the last one counts."""
        for figure in read_inventory(document):
            try:
                sku, branch, quantity, as_of = self._row(figure)
                self._stock[sku, branch] = (sku, branch, quantity, as_of)
            except ValueRefusedError as error:
                self._reject(document, figure, error)

    def take_shipment(self, document: Document) -> None:
        """The receipts of a notice."""
        seen: set[str] = set()
        for arrival in read_shipment(document):
            try:
                if not arrival.shipment:
                    raise ValueRefusedError("the notice has no number")
                if arrival.shipment not in seen:
                    self._receipts[arrival.shipment] = []
                    seen.add(arrival.shipment)
                if arrival.is_cancelled:
                    continue
                sku, branch, quantity, expected_at = self._row(arrival)
                if quantity.startswith("-"):
                    raise ValueRefusedError(f"the quantity is {arrival.quantity!r}, below 0")
                line = arrival.line if arrival.order else ""
                row = (sku, branch, quantity, expected_at, _KIND, arrival.shipment, line, arrival.order)
                self._receipts[arrival.shipment].append(row)
            except ValueRefusedError as error:
                self._reject(document, arrival, error)

    def finish(self) -> None:
        """Puts the tables in place: a pair's figure and a shipment's receipts replace those that were there."""
        if self._stock:
            rows = NewRows(self._dataset, "stock", _STOCK)
            for row in self._stock.values():
                rows.add(row)
            rows.put_in_place(lambda row: (row.get("sku", ""), row.get("branch", "")) in self._stock)
        if self._receipts:
            rows = NewRows(self._dataset, "receipts", _RECEIPTS)
            for shipment in self._receipts.values():
                for row in shipment:
                    rows.add(row)
            rows.put_in_place(
                lambda row: row.get("kind") == _KIND and row.get("reference", "").strip() in self._receipts
            )

    def _row(self, found: Figure | Arrival) -> tuple[str, str, str, str]:
        """SKU, branch, quantity in base units, and the instant."""
        branch = self._profile.branches.get(found.place.strip())
        if branch is None:
            raise ValueRefusedError(f"the place {found.place.strip()!r} is not among the profile's branches")
        sku, named = self._names.item(found.numbers)
        uom = self._names.unit(found.unit) or named
        quantity = self._names.base_quantity(sku, number(found.quantity, "the quantity"), uom)
        moment = instant(found.day, found.time, self._profile.time_zone, "the document's date")
        return sku, branch, plain(quantity), moment

    def _reject(self, document: Document, found: Figure | Arrival, error: ValueRefusedError) -> None:
        numbers = " ".join(f"{qualifier}:{code}" for qualifier, code in found.numbers)
        self._rejects.add(document, found.segment, numbers, str(error))
