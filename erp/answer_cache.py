"""Validated answers as values of the cache, and back: keys, lifetimes, and what is compared when one is read.

A value lives until it is too old to be the last known answer, or until its `valid_until`; inside it stands until
when it is fresh, and what it answers: read back, it must answer exactly what is asked.
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
"""Of the bytes; a value of another format counts as none."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the cache has."""

    asked_at_us: int
    fresh_until_us: int
    price: ValidPrice | None = None
    stock: ValidStock | None = None


def price_key(erp: str, question: PriceQuestion, zone: ZoneInfo) -> str:
    """Everything a price depends on but the customer, who is the owner. Returns pay what sales do."""
    day = business_date(question.as_of_us, zone).isoformat()
    quantity = abs(question.quantity_micros)
    return json.dumps(["erp-price", erp, question.sku, question.uom, quantity, question.currency, day])


def stock_key(erp: str, question: StockQuestion) -> str:
    """Of the stock of an item at a branch."""
    return json.dumps(["erp-stock", erp, question.sku, question.branch])


def price_value(
    key: str, question: PriceQuestion, price: ValidPrice, settings: CacheSettings, now_us: int
) -> Value | None:
    """None: it may not be kept, its `valid_until` is over (a question about the past)."""
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


def kept_price(value: Value | None, question: PriceQuestion) -> Kept | None:
    """The kept answer to a question."""
    document = _document(value)
    asked = {
        "customer_id": question.customer_id,
        "sku": question.sku,
        "uom": question.uom,
        "currency": question.currency,
        "quantity_micros": abs(question.quantity_micros),
    }
    if document is None or any(document.get(name) != told for name, told in asked.items()):
        return None
    if document["valid_until_us"] <= question.as_of_us:
        return None  # of an earlier hour of the same day, and over at the one asked about
    price = ValidPrice(document["unit_price_micros"], document["valid_until_us"])
    return Kept(document["asked_at_us"], document["fresh_until_us"], price=price)


def stock_value(question: StockQuestion, stock: ValidStock, settings: ErpSettings, now_us: int) -> Value:
    """Stock as a value; it belongs to nobody in particular."""
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


def kept_stock(value: Value | None, question: StockQuestion) -> Kept | None:
    """The kept answer to a question."""
    document = _document(value)
    if document is None or (document.get("sku"), document.get("branch")) != (question.sku, question.branch):
        return None
    stock = ValidStock(document["on_hand_micros"], document["available_micros"])
    return Kept(document["asked_at_us"], document["fresh_until_us"], stock=stock)


def _document(value: Value | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        document = json.loads(value.value)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("format") == FORMAT else None
