"""What a dataset says of items: part numbers, units and their factors, read from its CSV tables."""

import csv
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final

from pricegrid.edi.documents.values import PLACES_MAX, ValueRefusedError
from pricegrid.edi.profile import Profile

SKU: Final = "sku"
_GTIN: Final = "gtin"
_GTIN_DIGITS: Final = 14
_TRUE: Final = frozenset({"true", "yes", "1"})


class DatasetFolderError(ValueError):
    """A dataset that can't be read or written here; the message names the file."""


class Names:
    """The dataset's items, by part number and by unit; what it does not say can't be resolved."""

    def __init__(self, dataset: Path, profile: Profile) -> None:
        self._profile = profile
        self._found: dict[tuple[str, str, bool], set[tuple[str, str]]] = {}
        """(SKU, the unit that the number names) by scheme, number and whether letter case does not count."""
        for row in rows_of(dataset, "part_numbers", ("scheme", "code", "sku")):
            if _is_known_here(row, profile):
                any_case = row.get("any_case", "").lower() in _TRUE
                key = (row["scheme"], _code(row["scheme"], row["code"], any_case=any_case), any_case)
                self._found.setdefault(key, set()).add((row["sku"], row.get("uom", "")))
        self._base = {row["sku"]: row["base_uom"] for row in rows_of(dataset, "items", ("sku", "base_uom"))}
        self._factors: dict[tuple[str, str], Fraction] = {}
        for row in rows_of(dataset, "uoms", ("sku", "uom", "numerator")):
            factor = _factor(row.get("numerator", "")) / _factor(row.get("denominator") or "1")
            self._factors[row["sku"], row["uom"]] = factor

    def item(self, numbers: Sequence[tuple[str, str]]) -> tuple[str, str]:
        """The SKU of an item by the first of its numbers that is known, in the profile's order, and the unit that this
        number names, or ""."""
        given = {qualifier.strip(): code.strip() for qualifier, code in numbers}
        for qualifier, scheme in self._profile.part_numbers:
            code = given.get(qualifier)
            if not code:
                continue
            if scheme == SKU:
                return code, ""
            found = {
                each
                for any_case in (False, True)
                for each in self._found.get((scheme, _code(scheme, code, any_case=any_case), any_case), ())
            }
            if len(found) > 1:
                several = ", ".join(" ".join(each).strip() for each in sorted(found))
                raise ValueRefusedError(f"{qualifier} {code!r} is several items: {several}")
            if found:
                return next(iter(found))
        said = ", ".join(f"{qualifier} {code!r}" for qualifier, code in numbers) or "none"
        raise ValueRefusedError(f"no part number is known: {said}")

    def unit(self, code: str) -> str:
        """Our unit of their code; "" where the document names none."""
        code = code.strip()
        if not code:
            return ""
        found = self._profile.units.get(code)
        if found is None:
            raise ValueRefusedError(f"the unit {code!r} is not in the profile")
        return found

    def base_quantity(self, sku: str, quantity: Decimal, uom: str) -> Decimal:
        """A quantity in the item's base unit, exact."""
        base = self._base.get(sku)
        if base is None:
            raise ValueRefusedError(f"the SKU {sku!r} is not in the table items of the dataset")
        if uom in {"", base}:
            return quantity
        factor = self._factors.get((sku, uom))
        if factor is None:
            raise ValueRefusedError(f"the item {sku!r} has no unit {uom!r} in the table uoms")
        scaled = Fraction(quantity) * factor * 10**PLACES_MAX
        if scaled.denominator != 1:
            raise ValueRefusedError(
                f"{quantity} {uom} of {sku!r} is no decimal of {PLACES_MAX} places in {base}"
            )
        return Decimal(scaled.numerator).scaleb(-PLACES_MAX)


def _is_known_here(row: dict[str, str], profile: Profile) -> bool:
    """Whether a number is one of this partner's: of nobody in particular, or theirs as a customer or maker. One of a
    price class, or for a time, is not: what is not sure is not resolved."""
    if any(row.get(name) for name in ("price_class", "valid_from", "valid_to")):
        return False
    customer, maker = row.get("customer_id", ""), row.get("maker", "")
    return customer in {"", profile.customer} and maker in {"", profile.partner}


def _code(scheme: str, code: str, *, any_case: bool) -> str:
    """A number as it is compared: a GTIN as 14 digits, others to the letter unless its case does not count."""
    if any_case:
        code = code.casefold()
    return code.zfill(_GTIN_DIGITS) if scheme == _GTIN and code.isdecimal() else code


def _factor(text: str) -> Fraction:
    try:
        found = Fraction(text.replace(",", "."))
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if found <= 0:
        raise DatasetFolderError(f"uoms.csv: {text!r} is no factor")
    return found


def rows_of(dataset: Path, table: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a table that the dataset has as CSV with commas; none where there is no such table."""
    path = csv_of(dataset, table)
    if path is None:
        return
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise DatasetFolderError(f"{path} has no column {missing[0]!r}; commas must separate columns")
        for row in reader:
            yield {name: (value or "").strip() for name, value in row.items() if isinstance(value, str)}


def csv_of(dataset: Path, table: str) -> Path | None:
    """The file of a table; None where there is none. DatasetFolderError if it is of another form."""
    for ending in (".csv.gz", ".parquet", ".xlsx"):
        if (dataset / f"{table}{ending}").exists():
            raise DatasetFolderError(
                f"{dataset / table}{ending}: only tables as .csv are read and written here"
            )
    path = dataset / f"{table}.csv"
    return path if path.exists() else None
