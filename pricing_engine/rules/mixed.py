"""Mixed breaks: lines of one request that count together (P19).

A line counts in the break group of its item, and in that of each book of the customer's stack that is valid and has an
entry in force for the line. What counts is added up in base units; returns count with returns. A line that fails before
any price is asked counts nowhere.
"""

from collections.abc import Iterable
from fractions import Fraction

from pricegrid.pricing_engine.model import LineStatus, Mixed, PriceData, PriceQuestion
from pricegrid.pricing_engine.rules.asked import line_of
from pricegrid.pricing_engine.rules.audience import customer_stack
from pricegrid.pricing_engine.rules.candidates import Line, levels_of


def mixed_breaks(lines: Iterable[tuple[int, PriceData, PriceQuestion]]) -> dict[tuple[str, bool], Mixed]:
    """What some lines of a request, each with its place, come to by break group and whether they are returns."""
    found: dict[tuple[str, bool], Mixed] = {}
    for place, data, question in lines:
        line = line_of(data, question, "")
        if isinstance(line, LineStatus):
            continue
        for group in sorted(_groups_of(line)):
            key = group, question.quantity_micros < 0
            before = found.get(key, Mixed(group, Fraction(0), ()))
            quantity = before.quantity_micros + line.quantity_micros * line.factor
            found[key] = Mixed(group, quantity, (*before.lines, place))
    return found


def _groups_of(line: Line) -> set[str]:
    groups = {line.break_group} if line.break_group else set()
    for book_id in customer_stack(line.data, line.customer, line.as_of_us):
        book = line.data.books[book_id]
        is_valid = book.valid_from_us <= line.as_of_us < book.valid_to_us
        if book.break_group and is_valid and next(levels_of(line, book), None):
            groups.add(book.break_group)
    return groups
