"""A question with its names looked up, or what it fails with before any price is asked."""

from fractions import Fraction

from pricegrid.pricing_engine.model import INT64_MAX, LineStatus, PriceData, PriceQuestion
from pricegrid.pricing_engine.rules.audience import break_group_of, is_entitled, item_levels, price_classes
from pricegrid.pricing_engine.rules.candidates import Line


def line_of(data: PriceData, question: PriceQuestion, currency: str) -> Line | LineStatus:
    """The line of a question in a currency, or its status."""
    quantity = question.quantity_micros
    if quantity == 0 or abs(quantity) > INT64_MAX:
        return LineStatus.INVALID_QUANTITY
    item = data.items.get(question.sku)
    if item is None:
        return LineStatus.UNKNOWN_ITEM
    customer = data.customers.get(question.customer_id)
    levels = tuple(item_levels(data, item))
    if not is_entitled(data, customer, levels):
        return LineStatus.NOT_ENTITLED
    uom = question.uom or item.base_uom
    factor = Fraction(1) if uom == item.base_uom else data.uoms.get((item.sku, uom))
    if factor is None:
        return LineStatus.UNKNOWN_UOM
    return Line(
        data,
        item,
        abs(quantity),
        uom,
        factor,
        customer,
        question.branch,
        currency,
        question.as_of_us,
        levels,
        tuple(name for name, _ in price_classes(data, customer)),
        {group: mixed for (group, is_return), mixed in question.mixed.items() if is_return == (quantity < 0)},
        break_group_of(data, item),
    )
