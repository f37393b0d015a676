"""Graduated ladders: each slice of the quantity at the price of its own break (P19).

A break says from which unit on its price holds: with breaks of 1 and 10 the tenth unit is the first at the second
price. A ladder that begins below one unit (0, or blank) says instead beyond which quantity: with 0 and 10 what goes
beyond ten. Each slice is rounded as its book says (P9); the unit price is the average of what they cost, to 10^-6.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from pricegrid.pricing_engine.model import MICROS, Book
from pricegrid.pricing_engine.rules.money import round_price
from pricegrid.pricing_engine.rules.resolution import Offer, Slice


def slice_quantities(breaks: Sequence[Fraction], one_unit: Fraction, quantity: Fraction) -> list[Fraction]:
    """How much of a quantity falls to each of some rising breaks, all in the asked unit; `one_unit` is one of those
    that the breaks count."""
    shift = one_unit if breaks[0] >= one_unit else Fraction(0)
    starts = [Fraction(0), *(each - shift for each in breaks[1:])]
    return [end - start for start, end in zip(starts, [*starts[1:], quantity], strict=True)]


def slice_total(book: Book, slices: Iterable[Slice]) -> Fraction:
    """What slices cost together, in micros, each rounded for as many units as its price is for."""
    return sum(
        (
            Fraction(round_price(each.price_micros * each.price_per, book, each.lifted), each.price_per)
            * each.quantity_micros
            / MICROS
            for each in slices
        ),
        Fraction(0),
    )


def graduated(offer: Offer, slices: tuple[Slice, ...]) -> Offer:
    """The offer with these slices: their exact average, and the average of the rounded ones as its price."""
    quantity = sum((each.quantity_micros for each in slices), Fraction(0))
    exact = sum((each.price_micros * each.quantity_micros for each in slices), Fraction(0)) / quantity
    total = slice_total(offer.book, slices)
    rounded = round_price(total * MICROS / quantity * offer.price_per, Book("", "", ""), lifted=False)
    return replace(
        offer,
        price_micros=exact,
        rounded_micros=rounded,
        lifted=any(each.lifted for each in slices),
        slices=slices,
        total_micros=total,
    )
