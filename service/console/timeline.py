"""The page of a price over time: how it changes from day to day, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from pricegrid import LinePrice
from pricegrid.service.cli.text import extended_price_text, unit_price_text
from pricegrid.service.clock import instant_of_us, instant_text, now_us, us_of
from pricegrid.service.console.asked import Asked, FormError
from pricegrid.service.console.breaks import price_of_one
from pricegrid.service.console.charts import Step, spread, steps
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import ask, badge, field, link, notice, picture, section, table
from pricegrid.service.console.price import QUESTION, settings

PATH = "/timeline"
_DAYS_BEFORE: Final = timedelta(days=90)
_DAYS_AFTER: Final = timedelta(days=275)
_CHANGES_MAX: Final = 60
_TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class _Period:
    begins: datetime
    price: LinePrice
    currency: str


def form(asked: Asked) -> Element:
    """Asks for a price over time."""
    return ask(
        PATH,
        field("Customer", "customer", asked.text("customer"), hint="empty: what everyone gets"),
        field("Item", "sku", asked.text("sku"), needed=True),
        field("Quantity", "quantity", asked.text("quantity"), hint="empty: 1"),
        field("Unit", "uom", asked.text("uom"), hint="empty: base unit"),
        field("Branch", "branch", asked.text("branch"), hint="empty: the customer's"),
        field("Currency", "currency", asked.text("currency"), hint="empty: the customer's"),
        field("From", "from", asked.text("from"), hint="YYYY-MM-DD; empty: 90 days ago"),
        field("To", "to", asked.text("to"), hint="YYYY-MM-DD; empty: in 275 days"),
        button="Show prices",
    )


def answer(asked: Asked) -> Node:
    """Each price of the time asked about, and when the next one begins."""
    if not asked.fields:
        return tag("p", "Name an item, and whose price of it you want to see change.", class_="lead")
    line = asked.line()
    today = instant_of_us(now_us()).date()
    first = asked.day("from", "From") if asked.text("from") else today - _DAYS_BEFORE
    last = asked.day("to", "To") if asked.text("to") else today + _DAYS_AFTER
    if last <= first:
        raise FormError("to", f"To: {last} is not after {first}")
    begins, ends = (datetime.combine(day, time(), UTC) for day in (first, last))
    found, is_whole = _walk(asked, begins, ends)
    currency = found[0].currency
    title = f"Unit price of {line.sku} over time, in {currency}"
    points = [Step(us_of(each.begins), price_of_one(each.price)) for each in found]
    ticks = [(at, instant_of_us(at).date().isoformat()) for at in spread(us_of(begins), us_of(ends), _TICKS)]
    return [
        None if is_whole else notice(f"Only the first {_CHANGES_MAX} prices: choose a shorter time."),
        section(
            f"Price of {line.sku}",
            picture(steps(title, points, us_of(ends), ticks), f"{title}. A gap is a time without a price."),
            table(
                "The same prices in figures",
                ("From", "Unit price", "In all", "Status", "Layer", "Book", "Entry"),
                [_row(asked, each) for each in found],
                right=(1, 2),
            ),
        ),
    ]


def _walk(asked: Asked, begins: datetime, ends: datetime) -> tuple[list[_Period], bool]:
    """The periods in which the answer is the same, by the instants that the answers themselves name."""
    line, client = asked.line(), asked.client
    found: list[_Period] = []
    at: datetime | None = begins
    for _ in range(_CHANGES_MAX):
        if at is None or at >= ends:
            return found, True
        result = client.price_lines(asked.text("customer"), [line], as_of=at, **settings(asked))
        price = result.lines[0]
        if not found or _said(found[-1].price) != _said(price):
            found.append(_Period(result.as_of, price, result.currency))
        at = price.valid_until
    return found, at is None or at >= ends


def _said(price: LinePrice) -> Sequence[object]:
    amounts = (price.unit_price, price.price_per, price.extended_price)
    return (price.status, *amounts, price.layer, price.book_id, price.entry_id)


def _row(asked: Asked, each: _Period) -> Sequence[Node]:
    price, begins = each.price, instant_text(each.begins)
    question = {name: asked.text(name) for name in QUESTION} | {"as_of": begins}
    return (
        link(begins, "/price", question),
        unit_price_text(price.unit_price, each.currency, price.price_per),
        extended_price_text(price.extended_price, each.currency),
        badge(price.status.value),
        price.layer,
        price.book_id,
        price.entry_id,
    )
