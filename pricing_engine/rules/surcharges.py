"""What comes on top of the price that answered: the surcharges of the customer's books in layers of mode `add` (P16).

Every such book gives at most one, that of its most specific entry at the quantity (P4-P6); in a layer those in the
asked currency come first, and converted ones count only where there is none (P3). All percentages are of the price that
answered, so the order of the books makes no difference; the sum is rounded once, as the answering book says (P9). Below
the first break of a book it adds nothing, but with `first_break` what it says there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from pricegrid.pricing_engine.model import MICROS, Book, Layer, Method, Mode
from pricegrid.pricing_engine.rules.candidates import AS_BASIS, Line, offers_of
from pricegrid.pricing_engine.rules.money import convert, round_price
from pricegrid.pricing_engine.rules.resolution import Considered, Offer, Slice, Step
from pricegrid.pricing_engine.rules.slices import graduated

_AS_LINK = 1
"""A surcharge is neither rounded nor converted by itself, as a link of a basis chain."""


@dataclass(slots=True)
class Surcharges:
    """What the books of all layers of mode `add` say of a line."""

    found: list[tuple[Book, Offer]]
    considered: list[Considered]
    is_input_missed: bool = False
    """Whether one lacks its exchange rate (P13)."""


def surcharges_of(
    line: Line, layers: Iterable[Layer], stack: Mapping[str, tuple[int, int]], *, is_priced: bool
) -> Surcharges:
    """The surcharges of a line that has a price; `layers` in the order of search."""
    found = Surcharges([], [])
    for layer in (each for each in layers if each.mode == Mode.ADD):
        books = [line.data.books[b] for b in sorted(stack) if line.data.books[b].layer == layer.name]
        before = len(found.found)
        for asked in (True, False):
            is_second = not asked and len(found.found) > before
            for book in books:
                if (book.currency == line.currency) == asked:
                    why = (
                        "its currency would need conversion"
                        if is_second
                        else _note(line, book, found, is_priced)
                    )
                    adds = not why
                    said = Considered(
                        layer.name, book.book_id, stack[book.book_id][0], why or "adds", adds=adds
                    )
                    found.considered.append(said)
    return found


def _note(line: Line, book: Book, found: Surcharges, is_priced: bool) -> str:
    """Add the surcharge of a book; returns why there is none, '' where there is."""
    if not is_priced:
        return "nothing answers that it could come on top of"
    if not book.valid_from_us <= line.as_of_us < book.valid_to_us:
        return "the book is not valid at this time"
    outcome = offers_of(line, AS_BASIS, book, _AS_LINK)
    if not outcome.offers:
        return "; ".join(outcome.passed_over) or "no entry for this item, class, unit and time"
    offer = outcome.offers[0]
    is_amount = offer.entry.method == Method.SURCHARGE_AMOUNT
    if is_amount and convert(line.data, Fraction(0), book.currency, line.currency, line.as_of_us) is None:
        found.is_input_missed = True
        return f"no exchange rate from {book.currency} to {line.currency}"
    found.found.append((book, offer))
    return ""


def surcharged(line: Line, offer: Offer, surcharges: Surcharges) -> Offer:
    """The offer that answered with its surcharges, each a step, rounded again."""
    if not surcharges.found:
        return offer
    if offer.slices:
        return graduated(offer, tuple(_slice_with(line, each, surcharges) for each in offer.slices))
    price, steps = _with(line, offer, surcharges)
    rounded = round_price(steps[-1].price_micros, offer.book, offer.lifted)
    return replace(offer, price_micros=price, rounded_micros=rounded, steps=steps)


def _slice_with(line: Line, each: Slice, surcharges: Surcharges) -> Slice:
    price, steps = _with(line, each, surcharges)
    return replace(each, price_micros=price, steps=steps)


def _with(line: Line, priced: Offer | Slice, surcharges: Surcharges) -> tuple[Fraction, tuple[Step, ...]]:
    """A price of one unit with its surcharges, and its steps with theirs before that to so many units (P14)."""
    has_unit_step = priced.price_per > 1
    steps = list(priced.steps[:-1] if has_unit_step else priced.steps)
    answered = price = priced.price_micros
    for book, each in surcharges.found:
        amount = each.price_micros
        if each.entry.method == Method.SURCHARGE_PCT:
            amount /= MICROS
            price += answered * amount / 100
        else:
            amount = convert(line.data, amount, book.currency, line.currency, line.as_of_us) or amount
            price += amount
        steps.append(Step(each.entry.method.name.lower(), book.book_id, amount, price, line.currency))
    if has_unit_step:
        steps.append(replace(priced.steps[-1], price_micros=price * priced.price_per))
    return price, tuple(steps)
