"""The quantity breaks of a price, found by asking prices of other quantities."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

from pricegrid import Explanation, Line, LinePrice
from pricegrid.service.cli.text import unit_price_text
from pricegrid.service.console.asked import Asked
from pricegrid.service.console.charts import Step, steps
from pricegrid.service.console.html import Node, tag
from pricegrid.service.console.layout import picture, section, table

_LADDER: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 25, 30, 36, 40, 48, 50, 60, 72, 75, 80, 96)
_MOST: Final = 10_000
_ROUNDS: Final = 16
"""Halving so often finds a break between any two rungs."""
_CHANGES_MAX: Final = 40


def break_section(asked: Asked, line: Line, found: Explanation) -> Node:
    """How the unit price goes on with the quantity; nothing where there is none, or the ERP would be asked for it."""
    if found.line.exception is not None or found.line.source_age is not None:
        return None
    known = _find(asked, line, found)
    changes = [at for at in sorted(known) if _is_change(known, at)]
    if not changes or len(changes) > _CHANGES_MAX:
        return None
    told = f"Found by asking the prices of {len(known):,} whole quantities from 1 to {max(known):,}, at one instant."
    if len(changes) == 1:
        return section(
            "Quantity breaks", tag("p", "None: a unit costs the same in every quantity."), _hint(told)
        )
    rows = []
    for at in changes:
        price = known[at]
        shown = unit_price_text(price.unit_price, found.currency, price.price_per) or price.status.value
        rows.append((f"{at:,}", shown, price.book_id, price.entry_id))
    places = [*changes, max(known)]
    points = [Step(number, price_of_one(known[at])) for number, at in enumerate(changes)]
    ticks = [(number, f"{at:,}") for number, at in enumerate(places)]
    title = f"Unit price by quantity, in {found.currency}"
    return section(
        "Quantity breaks",
        picture(
            steps(title, points, len(changes), ticks),
            f"{title}; the ranges are drawn equally wide.",
        ),
        table(title, ("From", "Unit price", "Book", "Entry"), rows, right=(0, 1)),
        _hint(told),
    )


def _hint(told: str) -> Node:
    return tag("p", told, class_="hint")


def _find(asked: Asked, line: Line, found: Explanation) -> Mapping[int, LinePrice]:
    """Prices by quantity: those of a ladder, and around each place where they change."""
    known: dict[int, LinePrice] = {}
    wanted = {rung * power for rung in _LADDER for power in (1, 10, 100) if rung * power <= _MOST}
    asked_for = int(line.quantity)
    wanted |= {asked_for} if 0 < asked_for <= _MOST else set()
    for _ in range(_ROUNDS):
        _price(asked, line, found, sorted(wanted), known)
        places = sorted(known)
        wanted = {
            (low + high) // 2
            for low, high in pairwise(places)
            if high - low > 1 and _differ(known[low], known[high])
        }
        if not wanted or len(wanted) > _CHANGES_MAX:
            break
    return known


def _price(
    asked: Asked, line: Line, found: Explanation, quantities: Sequence[int], known: dict[int, LinePrice]
) -> None:
    result = asked.client.price_lines(
        asked.text("customer"),
        [Line(line.sku, quantity, line.uom) for quantity in quantities],
        currency=found.currency,
        branch=asked.text("branch") or None,
        as_of=found.as_of,
        snapshot_version=found.snapshot_version,
    )
    known.update(zip(quantities, result.lines, strict=True))


def _is_change(known: Mapping[int, LinePrice], at: int) -> bool:
    before = max((each for each in known if each < at), default=None)
    return before is None or _differ(known[before], known[at])


def _differ(one: LinePrice, other: LinePrice) -> bool:
    return _said(one) != _said(other)


def _said(price: LinePrice) -> tuple[object, ...]:
    return price.unit_price, price.price_per, price.book_id, price.entry_id


def price_of_one(price: LinePrice) -> Fraction | None:
    """The price of one unit: what can be drawn beside prices of other price units."""
    return None if price.unit_price is None else Fraction(price.unit_price) / price.price_per
