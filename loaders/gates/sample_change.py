"""What customers will see: how the answers of two snapshots to the sample differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import polars as pl

from pricegrid.columnar.decimals import decimal_text, per_text

EXAMPLES_MAX: Final = 3
_OK: Final = "OK"

KINDS: Final = {
    "gone": "have no price any more",
    "currency": "are in another currency, or come from it",
    "other_book": "come from another book or layer",
    "moved": "moved too far",
    "unavailable": "have unknown availability",
}
"""What the gate counts, and in what words."""


@dataclass(slots=True)
class SampleChange:
    """How many answers differ, by kind; one answer may be of several kinds."""

    questions: int
    up: int = 0
    down: int = 0
    gone: int = 0
    """A price before and none now, though customer and item are there."""
    new: int = 0
    currency: int = 0
    """Another currency: of the answer, or of the book it comes from."""
    other_book: int = 0
    """Another price from a book or layer that the old snapshot had too, or of an item that was not to be seen."""
    moved: int = 0
    """Beyond the limit."""
    unavailable: int = 0
    """Availability was known, and isn't now."""
    not_asked: int = 0
    """The customer or the item is gone."""
    examples: list[dict[str, object]] = field(default_factory=list)
    """The first of each kind, in the order of the questions."""

    @property
    def text(self) -> str:
        """What customers will see, in one line."""
        changed = self.up + self.down + self.gone + self.new
        words = (
            f"{changed} of {self.questions} sampled prices change: {self.up} up, {self.down} down, {self.gone} gone, "
            f"{self.new} new; {self.currency} in another currency, {self.other_book} from another book, "
            f"{self.unavailable} of unknown availability"
        )
        if self.not_asked:
            words += f"; {self.not_asked} were of customers or items that are gone"
        return words


def compare_answers(
    questions: pl.DataFrame,
    old: pl.DataFrame,
    new: pl.DataFrame,
    book_currencies: tuple[Mapping[str, str], Mapping[str, str]],
    move_pct: Decimal,
) -> SampleChange:
    """Counts the differences. `book_currencies` are those of the old and the new books, `move_pct` says how far a
    price may move."""
    change = SampleChange(questions.height)
    shown: dict[str, int] = {}
    rows = zip(
        questions.iter_rows(named=True), old.iter_rows(named=True), new.iter_rows(named=True), strict=True
    )
    for question, before, after in rows:
        if _OK in (before["status"], before["availability"]) and after["status"] in (
            "UNKNOWN_CUSTOMER",
            "UNKNOWN_ITEM",
        ):
            change.not_asked += 1
            continue
        for kind in _kinds(before, after, book_currencies, move_pct):
            setattr(change, kind, getattr(change, kind) + 1)
            shown[kind] = shown.get(kind, 0) + 1
            if shown[kind] <= EXAMPLES_MAX:
                change.examples.append(_example(kind, question, before, after))
    return change


def _kinds(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    book_currencies: tuple[Mapping[str, str], Mapping[str, str]],
    move_pct: Decimal,
) -> Iterator[str]:
    """Every kind of difference between two answers."""
    old_books, new_books = book_currencies
    was, now = before["status"] == _OK, after["status"] == _OK
    # prices of as many units as both price units make (P14)
    old_price = before["price_micros"] * after["price_per"]
    new_price = after["price_micros"] * before["price_per"]
    if was and now:
        if new_price != old_price:
            yield "up" if new_price > old_price else "down"
        if 100 * abs(new_price - old_price) > move_pct * abs(old_price):
            yield "moved"
        book = after["book_id"]
        is_other_currency = (
            after["currency"] != before["currency"] or after["converted"] != before["converted"]
        )
        if is_other_currency or new_books.get(book) != old_books.get(book, new_books.get(book)):
            yield "currency"
        is_other_place = (before["book_id"], before["layer"]) != (book, after["layer"])
        if is_other_place and new_price != old_price and book in old_books:
            yield "other_book"
    elif was:
        yield "gone"
    elif now:
        yield "new"
        if before["status"] == "NOT_ENTITLED":
            yield "other_book"
    if before["availability"] == _OK and after["availability"] not in (_OK, "NOT_ENTITLED"):
        yield "unavailable"


def _example(
    kind: str, question: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, object]:
    sides = {}
    for side, answer in (("old", before), ("new", after)):
        is_priced = answer["status"] == _OK
        sides[side] = {
            **{name: answer[name] for name in ("status", "currency", "book_id", "layer", "availability")},
            "unit_price": decimal_text(answer["price_micros"]) if is_priced else None,
            "price_per": answer["price_per"] if is_priced else None,
        }
    asked = {name: question[name] for name in ("customer_id", "branch", "sku", "uom")}
    return {"change": kind, **asked, "quantity": decimal_text(question["quantity_micros"]), **sides}


def example_text(example: Mapping[str, Any]) -> str:
    """One example for people."""
    old, new = (
        f"{side['unit_price']} {side['currency']}{per_text(side['price_per'])} ({side['book_id']})"
        if side["unit_price"]
        else side["status"]
        for side in (example["old"], example["new"])
    )
    if example["change"] == "unavailable":
        old, new = example["old"]["availability"], example["new"]["availability"]
    branch = f" at {example['branch']}" if example["branch"] else ""
    return f"{example['customer_id']}, {example['sku']} x {example['quantity']}{branch}: {old} -> {new}"
