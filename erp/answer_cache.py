"""The answer cache: encodes validated answers as cache values, with their keys and lifetimes, and decodes them.

A value expires when it is too old to serve as the last known answer, or at its `valid_until`. It includes the question
and the instant until which it is fresh; a value that was read is used only if it answers exactly that question.
"""

import json
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from pricegrid.cache.protocol import Value
from pricegrid.erp.instants import business_date
from pricegrid.erp.protocol import StockQuestion
from pricegrid.erp.settings import CacheSettings, ErpSettings
from pricegrid.erp.validation import ValidPrice, ValidStock
from pricegrid.pricing_engine.model import PriceQuestion

_SECOND_US = 1_000_000
FORMAT = 1
"""The version of the encoding; values of another version are ignored."""


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A cached answer."""

    asked_at_us: int
    fresh_until_us: int
    price: ValidPrice | None = None
    stock: ValidStock | None = None


def price_key(erp: str, question: PriceQuestion, zone: ZoneInfo) -> str:
    """Everything a price depends on except the customer, who is the owner. Returns have the prices of sales."""
    day = business_date(question.as_of_us, zone).isoformat()
    quantity = abs(question.quantity_micros)
    return json.dumps(["erp-price", erp, question.sku, question.uom, quantity, question.currency, day])


def stock_key(erp: str, question: StockQuestion) -> str:
    """The key of the stock of an item at a branch."""
    return json.dumps(["erp-stock", erp, question.sku, question.branch])


def price_value(
    key: str, question: PriceQuestion, price: ValidPrice, settings: CacheSettings, now_us: int
) -> Value | None:
    """Encodes a price; None when its `valid_until` has passed (a question about the past)."""
    fresh_until_us = min(now_us + settings.ttl_s * _SECOND_US, price.valid_until_us)
    lifetime_s = max(settings.ttl_s, settings.last_known_s)
    expires_us = min(now_us + lifetime_s * _SECOND_US, price.valid_until_us)
    if expires_us <= now_us:
        return None
    document = {
        "format": FORMAT,
        "asked_at_us": now_us,
        "fresh_until_us": fresh_until_us,
        "customer_id": question.customer_id,
        "sku": question.sku,
        "uom": question.uom,
        "currency": question.currency,
        "quantity_micros": abs(question.quantity_micros),
        "unit_price_micros": price.unit_price_micros,
        "valid_until_us": price.valid_until_us,
    }
    return Value(question.customer_id, key, json.dumps(document).encode(), now_us, expires_us)


def cached_price(value: Value | None, question: PriceQuestion) -> CachedAnswer | None:
    """Decodes a price; None unless it answers the question."""
    document = _document(value)
    asked = {
        "customer_id": question.customer_id,
        "sku": question.sku,
        "uom": question.uom,
        "currency": question.currency,
        "quantity_micros": abs(question.quantity_micros),
    }
    if document is None or any(document.get(name) != expected for name, expected in asked.items()):
        return None
    if document["valid_until_us"] <= question.as_of_us:
        return None  # cached earlier that day, and no longer valid at the instant of the question
    price = ValidPrice(document["unit_price_micros"], document["valid_until_us"])
    return CachedAnswer(document["asked_at_us"], document["fresh_until_us"], price=price)


def stock_value(question: StockQuestion, stock: ValidStock, settings: ErpSettings, now_us: int) -> Value:
    """Encodes stock, which has no owner."""
    cache = settings.cache
    lifetime_s = max(cache.stock_ttl_s, cache.last_known_s)
    document = {
        "format": FORMAT,
        "asked_at_us": now_us,
        "fresh_until_us": now_us + cache.stock_ttl_s * _SECOND_US,
        "sku": question.sku,
        "branch": question.branch,
        "on_hand_micros": stock.on_hand_micros,
        "available_micros": stock.available_micros,
    }
    key = stock_key(settings.name, question)
    return Value("", key, json.dumps(document).encode(), now_us, now_us + lifetime_s * _SECOND_US)


def cached_stock(value: Value | None, question: StockQuestion) -> CachedAnswer | None:
    """Decodes stock; None unless it answers the question."""
    document = _document(value)
    if document is None or (document.get("sku"), document.get("branch")) != (question.sku, question.branch):
        return None
    stock = ValidStock(document["on_hand_micros"], document["available_micros"])
    return CachedAnswer(document["asked_at_us"], document["fresh_until_us"], stock=stock)


def _document(value: Value | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        document = json.loads(value.value)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("format") == FORMAT else None
