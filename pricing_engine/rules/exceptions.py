"""Which answers are exceptions that the ERP should confirm (P13)."""

from dataclasses import replace

from pricegrid.pricing_engine.model import (
    ExceptionPolicy,
    ExceptionReason,
    LineStatus,
    PriceData,
    PriceQuestion,
)
from pricegrid.pricing_engine.rules.audience import (
    agreement_distance,
    customer_stack,
    entry_level,
    item_levels,
)
from pricegrid.pricing_engine.rules.resolution import Resolution


def with_exception(
    resolution: Resolution, data: PriceData, question: PriceQuestion, policy: ExceptionPolicy
) -> Resolution:
    """P13: mark the line, and answer ERP_UNAVAILABLE where only the ERP could have answered."""
    priced = resolution.status == LineStatus.OK
    nothing = resolution.status in (LineStatus.NO_PRICE, LineStatus.BELOW_MINIMUM)
    if not (priced or nothing):
        return resolution
    if data.items[question.sku].price_source_erp:
        status = LineStatus.OK if priced else LineStatus.ERP_UNAVAILABLE
        return replace(resolution, status=status, exception=ExceptionReason.PRICE_SOURCE_ERP)
    threshold = policy.extended_price_above_micros.get(resolution.currency)
    flagged = question.customer_id in policy.flagged_customers or question.sku in policy.flagged_skus
    reason = ExceptionReason.NONE
    if resolution.missed != ExceptionReason.NONE:
        reason = resolution.missed
    elif resolution.status == LineStatus.NO_PRICE:
        reason = ExceptionReason.NO_PRICE
    elif priced and threshold is not None and abs(resolution.extended_price_micros) > threshold:
        reason = ExceptionReason.OVER_THRESHOLD
    elif _expired_lately(data, question, policy.grace_us):
        reason = ExceptionReason.AGREEMENT_EXPIRED
    elif flagged:
        reason = ExceptionReason.FLAGGED
    return replace(resolution, exception=reason)


def _expired_lately(data: PriceData, question: PriceQuestion, grace_us: int) -> bool:
    """Whether a book with an entry for the item left the customer's stack within the grace period."""
    customer = data.customers.get(question.customer_id)
    levels = set(item_levels(data, data.items[question.sku]))
    stack = customer_stack(data, customer, question.as_of_us)
    for book_id, agreements in data.agreements.items():
        ended = any(
            a.valid_to_us <= question.as_of_us < a.valid_to_us + grace_us
            and agreement_distance(data, customer, a) is not None
            for a in agreements
        )
        if (
            ended
            and book_id not in stack
            and any(entry_level(e) in levels for e in data.entries.get(book_id, ()))
        ):
            return True
    return False
