"""Prices of a partner's catalogues as rows of `price_books` and `price_entries` (docs/dataset.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pricegrid.edi.documents.catalogue import Price, Purpose, Unread, read_catalogue
from pricegrid.edi.documents.sets import Document
from pricegrid.edi.documents.values import ValueRefusedError, day, exact_text, number
from pricegrid.edi.profile import PRICE_PER_MAX, Profile
from pricegrid.edi.syntax.model import Segment
from pricegrid.edi.tables.merging import NewRows
from pricegrid.edi.tables.names import DatasetFolderError, Names, rows_of
from pricegrid.edi.tables.rejecting import Rejects

_KEY: Final = ("book_id", "sku", "uom", "min_quantity", "valid_from", "valid_to")
_COLUMNS: Final = (*_KEY, "method", "value", "price_per")
_BOOK: Final = ("book_id", "layer", "currency", "name")
_TABLES: Final = ("items", "customers", "layers", "price_books", "agreements", "uoms", "stock", "branches")


class PriceRows:
    """What a file's catalogues make of the partner's book: all of it, or changes."""

    def __init__(self, dataset: Path, profile: Profile, names: Names, rejects: Rejects) -> None:
        self._dataset = dataset
        self._profile = profile
        self._names = names
        self._rejects = rejects
        self._rows: NewRows | None = None
        self._is_whole = False
        self._keys: set[tuple[str, ...]] = set()
        self._currency = ""
        self._has_book = False
        self._days: dict[str, str] = {}
        self.skipped = 0
        """Prices of other codes than the profile's."""

    @property
    def count(self) -> int:
        """Rows that were taken."""
        return self._rows.count if self._rows else 0

    def take(self, document: Document) -> None:
        """The rows of a document."""
        for found in read_catalogue(document):
            if isinstance(found, Unread):
                self._rejects.add(document, Segment("", ()), "", found.reason)
                continue
            if self._profile.price_codes and found.code.strip() not in self._profile.price_codes:
                self.skipped += 1
                continue
            try:
                self._add(found)
            except ValueRefusedError as error:
                numbers = " ".join(f"{qualifier}:{code}" for qualifier, code in found.numbers)
                self._rejects.add(document, found.segment, numbers, str(error))

    def finish(self) -> None:
        """Puts the tables in place."""
        if self._rows is None:
            return
        book = self._profile.book
        if self._is_whole:
            self._rows.put_in_place(lambda row: row.get("book_id", "").strip() == book)
            books = NewRows(self._dataset, "price_books", _BOOK)
            if not self._has_book:
                books.add((book, self._profile.layer, self._currency, self._profile.partner))
                books.put_in_place(lambda _: False)
            books.discard()
        else:
            self._rows.put_in_place(lambda row: _key(row) in self._keys)

    def discard(self) -> None:
        """Leaves the tables as they were."""
        if self._rows is not None:
            self._rows.discard()

    def _add(self, price: Price) -> None:
        self._check_currency(price)
        if price.oddity:
            raise ValueRefusedError(price.oddity)
        sku, named = self._names.item(price.numbers)
        uom = self._names.unit(price.unit) or named
        quantity = exact_text(price.quantity, "the quantity") if price.quantity.strip() else ""
        quantity = "" if quantity == "0" else quantity
        begin, end = self._day(price.valid_from), self._day(price.valid_to)
        key = (self._profile.book, sku, uom, quantity, begin, end)
        if price.purpose is Purpose.DELETE:
            rows = self._rows_for(Purpose.DELETE)
            rows.add((*key, "", "", "", "true"))
            self._keys.add(key)
            return
        value = exact_text(price.value, "the price")
        if value == "0" or value.startswith("-"):
            raise ValueRefusedError(f"the price is {price.value!r}, not above 0")
        per = self._per(price)
        rows = self._rows_for(price.purpose)
        row = (*key, "net", value, "" if per == 1 else str(per))
        if self._is_whole:
            rows.add(row)
        else:
            rows.add((*row, ""))
            self._keys.add(key)

    def _rows_for(self, purpose: Purpose) -> NewRows:
        """The rows of the file, begun with its first; a file is a whole book or changes, not both."""
        is_whole = purpose is Purpose.WHOLE
        if self._rows is None:
            self._is_whole = is_whole
            if is_whole:
                self._check_book()
            else:
                self._check_folder()
            columns = _COLUMNS if is_whole else (*_COLUMNS, "deleted")
            self._rows = NewRows(self._dataset, "price_entries", columns)
        elif self._is_whole != is_whole:
            if self._is_whole and purpose is Purpose.DELETE:
                raise ValueRefusedError("an item that is deleted, in a whole book")
            raise DatasetFolderError("the file has a whole book and changes; split it")
        return self._rows

    def _check_book(self) -> None:
        """A book that is there keeps its row, so its currency must be that of the document."""
        for row in rows_of(self._dataset, "price_books", ("book_id", "currency")):
            if row["book_id"] == self._profile.book:
                self._has_book = True
                if row["currency"] != self._currency:
                    raise DatasetFolderError(
                        f"the book {self._profile.book!r} is in {row['currency']} in price_books, "
                        f"and in {self._currency} in the document"
                    )

    def _check_folder(self) -> None:
        other = next((name for name in _TABLES if (self._dataset / f"{name}.csv").exists()), None)
        if other:
            raise DatasetFolderError(
                f"{self._dataset} has the table {other}: changes of prices go into a directory of their own "
                "(`pricegrid load --delta`)"
            )

    def _check_currency(self, price: Price) -> None:
        currency = price.currency or self._profile.currency
        if not currency:
            raise ValueRefusedError("no currency: neither the document nor the profile names one")
        if self._currency and currency != self._currency:
            raise ValueRefusedError(
                f"the currency is {currency!r}, and {self._currency!r} before; a book has one"
            )
        self._currency = currency

    def _per(self, price: Price) -> int:
        per = 1
        if price.basis.strip():
            known = self._profile.price_basis.get(price.basis.strip())
            if known is None:
                raise ValueRefusedError(f"the price basis {price.basis.strip()!r} is not in the profile")
            per = known
        if price.per.strip():
            said = number(price.per, "the unit price basis")
            if said != said.to_integral_value() or not 1 <= said <= PRICE_PER_MAX // per:
                raise ValueRefusedError(f"the unit price basis is {price.per!r}, no whole number from 1")
            per *= int(said)
        return per

    def _day(self, text: str) -> str:
        if not text.strip():
            return ""
        found = self._days.get(text)
        if found is None:
            found = day(text, "the date")
            if len(self._days) < 1_000:
                self._days[text] = found
        return found


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(column, "").strip() for column in _KEY)
