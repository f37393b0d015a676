"""Converts Tryton's price lists into ladders of net prices.

In Tryton the first line of a list that matches item or category, quantity and date gives the price, by a formula. Here
every item of every list is evaluated at each date and quantity at which another line could match, so the ladders have
exactly the prices that Tryton would answer, with its rounding: four decimals, half to even.
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, DecimalException
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

PRICE_STEP: Final = Decimal("0.0001")
"""Tryton's default `price_decimal`."""
PARENTS_MAX: Final = 16

_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[Decimal, Decimal], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class NotExtractableError(Exception):
    """A dataset can't represent the prices of an item in this list; the text says why."""


@dataclass(frozen=True, slots=True)
class ListLine:
    """A line of a price list; dates are inclusive."""

    record: int
    formula: str
    product: int | None = None
    category: int | None = None
    quantity: Decimal | None = None
    """In the unit of the list."""
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True)
class PriceList:
    """A price list with its lines in order."""

    record: int
    name: str
    in_sale_unit: bool
    """Quantities are in the item's sale unit; otherwise in its default unit."""
    unit_price: str | None
    """The meaning of `unit_price` in formulas: `list_price`, `cost_price` or none."""
    lines: Sequence[ListLine]
    parent: "PriceList | None" = None


@dataclass(frozen=True, slots=True)
class ListedItem:
    """What a price list needs of an item."""

    record: int
    list_price: Decimal | None
    cost_price: Decimal
    categories: frozenset[int]
    """Including their ancestors."""
    sale_unit: Fraction
    """Default units in one sale unit."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One entry of a ladder, from a minimum quantity in default units; both dates are inclusive."""

    minimum: Decimal
    price: Decimal
    line: int
    start: date | None
    end: date | None


def ladders(price_list: PriceList, item: ListedItem) -> list[Rung]:
    """All rungs of an item. Raises NotExtractableError."""
    relevant = list(_relevant(price_list, item))
    starts: list[date | None] = [None, *sorted({day for _, line in relevant for day in _turns(line)})]
    breaks = sorted({Decimal(0), *(_break(owner, line, item) for owner, line in relevant)})
    found: list[tuple[date | None, date | None, list[tuple[Decimal, Decimal, int]]]] = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        ladder = _ladder(price_list, item, start, breaks)
        end = following - timedelta(days=1) if following else None
        if found and found[-1][2] == ladder:
            found[-1] = (found[-1][0], end, ladder)
        else:
            found.append((start, end, ladder))
    return [
        Rung(minimum, price, line, start, end)
        for start, end, ladder in found
        for minimum, price, line in ladder
    ]


def _relevant(price_list: PriceList, item: ListedItem) -> Iterator[tuple[PriceList, ListLine]]:
    above: PriceList | None = price_list
    for _ in range(PARENTS_MAX):
        if above is None:
            return
        for line in above.lines:
            if _is_about(line, item):
                yield above, line
        above = above.parent
    raise NotExtractableError(f"the parents of {price_list.name} lead back or are more than {PARENTS_MAX}")


def _is_about(line: ListLine, item: ListedItem) -> bool:
    return (line.product is None or line.product == item.record) and (
        line.category is None or line.category in item.categories
    )


def _turns(line: ListLine) -> Iterator[date]:
    if line.start is not None:
        yield line.start
    if line.end is not None:
        yield line.end + timedelta(days=1)


def _break(price_list: PriceList, line: ListLine, item: ListedItem) -> Decimal:
    """The quantity of a line in default units."""
    exact = Fraction(line.quantity or 0) * (item.sale_unit if price_list.in_sale_unit else 1)
    micros = exact * 1_000_000
    if micros.denominator != 1:
        raise NotExtractableError(f"the break {line.quantity} of {price_list.name} is finer than 10^-6 units")
    return Decimal(micros.numerator) / 1_000_000


def _ladder(
    price_list: PriceList, item: ListedItem, day: date | None, breaks: Sequence[Decimal]
) -> list[tuple[Decimal, Decimal, int]]:
    ladder: list[tuple[Decimal, Decimal, int]] = []
    for minimum in breaks:
        answer = _answer(price_list, item, day, minimum)
        if answer is None:
            if ladder:
                raise NotExtractableError(f"{price_list.name} stops giving a price from {minimum} on")
            continue
        price, line = answer
        if price < 0:
            raise NotExtractableError(f"{price_list.name} gives a price below 0 from {minimum} on")
        if not ladder or ladder[-1][1:] != (price, line):
            ladder.append((minimum, price, line))
    return ladder


def _answer(
    price_list: PriceList, item: ListedItem, day: date | None, quantity: Decimal
) -> tuple[Decimal, int] | None:
    """(the price that Tryton's `compute` returns, the line it is from)."""
    day = day or date.min
    for line in price_list.lines:
        if (
            _is_about(line, item)
            and _break(price_list, line, item) <= quantity
            and (line.start is None or line.start <= day)
            and (line.end is None or line.end >= day)
        ):
            price = evaluate(line.formula, _names(price_list, item, day, quantity))
            return None if price is None else (price, line.record)
    return None


def _names(
    price_list: PriceList, item: ListedItem, day: date, quantity: Decimal
) -> Mapping[str, Decimal | None]:
    names = {"list_price": item.list_price, "cost_price": item.cost_price}
    names["unit_price"] = names[price_list.unit_price] if price_list.unit_price else None
    if price_list.parent is not None:
        above = _answer(price_list.parent, item, day, quantity)
        names["parent_unit_price"] = above[0] if above else None
    return names


def evaluate(formula: str, names: Mapping[str, Decimal | None]) -> Decimal | None:
    """Evaluates a formula as Tryton does, rounded; None if a price that it needs is missing.

    Raises NotExtractableError for formulas that only Tryton can evaluate.
    """
    try:
        value = _value(_parsed(formula), names, formula)
        return None if value is None else value.quantize(PRICE_STEP)
    except (SyntaxError, DecimalException, ValueError, RecursionError) as error:
        raise NotExtractableError(f"the formula {formula!r} can't be worked out: {error!r}") from None


@lru_cache(maxsize=4096)
def _parsed(formula: str) -> ast.expr:
    return ast.parse(formula.strip(), mode="eval").body


def _value(node: ast.expr, names: Mapping[str, Decimal | None], formula: str) -> Decimal | None:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return Decimal((ast.get_source_segment(formula.strip(), node) or "").replace("_", ""))
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Call(
            func=ast.Name(id="Decimal"), args=[ast.Constant(value=str() | int() as text)], keywords=[]
        ):
            return Decimal(text)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _value(operand, names, formula)
            return None if value is None else -value
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            one, other = _value(left, names, formula), _value(right, names, formula)
            return None if one is None or other is None else _OPERATORS[type(op)](one, other)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _holds(test, names, formula) else orelse, names, formula)
    raise NotExtractableError(f"the formula {formula!r} has parts that only Tryton works out")


def _holds(node: Any, names: Mapping[str, Decimal | None], formula: str) -> bool:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            one, other = _value(left, names, formula), _value(right, names, formula)
            if one is not None and other is not None:
                return _COMPARISONS[type(op)](one, other)
    raise NotExtractableError(f"the formula {formula!r} has a condition that only Tryton works out")
