"""A partner's file into the tables of a dataset: the documents that its envelopes accept."""

from dataclasses import dataclass
from pathlib import Path

from pricegrid.edi.documents import catalogue, inventory, shipment
from pricegrid.edi.documents.sets import COMPLAINTS_MAX, check_file, documents
from pricegrid.edi.profile import Profile
from pricegrid.edi.tables.names import Names
from pricegrid.edi.tables.prices import PriceRows
from pricegrid.edi.tables.rejecting import Rejects
from pricegrid.edi.tables.supply import SupplyRows


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    documents: int
    prices: int
    skipped: int
    stock: int
    receipts: int
    rejected_rows: int
    rejected: int
    """Sets, groups, interchanges and faults outside them."""
    complaints: tuple[str, ...]


def import_file(
    path: Path, profile: Profile, dataset: Path, rejects_path: Path, names_of: Path | None = None
) -> Imported:
    """Reads a file twice, checks it and writes the tables; no table is changed if it raises.
    `names_of` is the dataset whose items and part numbers count, if that is another one."""
    rejects = Rejects(rejects_path)
    dataset.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as stream:
        checked = check_file(stream, profile)
        stream.seek(0)
        names = Names(names_of or dataset, profile)
        prices = PriceRows(dataset, profile, names, rejects)
        supply = SupplyRows(dataset, profile, names, rejects)
        readers = {
            **dict.fromkeys(catalogue.KINDS, prices.take),
            **dict.fromkeys(inventory.KINDS, supply.take_inventory),
            **dict.fromkeys(shipment.KINDS, supply.take_shipment),
        }
        count = 0
        try:
            for document in documents(stream, checked.accepted):
                if document.kind in readers:
                    readers[document.kind](document)
                    count += 1
                else:
                    checked.complain(f"{document.kind} {document.control} is no document that is imported")
            prices.finish()
            supply.finish()
        finally:
            prices.discard()
            rejects.close()
    return Imported(
        count,
        prices.count,
        prices.skipped,
        supply.stock,
        supply.receipts,
        rejects.count,
        checked.rejected,
        tuple(checked.complaints[:COMPLAINTS_MAX]),
    )
