"""Replays the dead letters of the ERP: asks their questions again. Those of events: `service.live.operators`."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pricegrid.erp.gateway import Answer, ErpGateway
from pricegrid.erp.observe import LineResult
from pricegrid.erp.protocol import StockQuestion
from pricegrid.erp.validation import PriceCheck
from pricegrid.pricing_engine.model import MICROS, PriceQuestion


class ReplayError(Exception):
    """The payload is not that of an ERP's dead letter; the text says what is wrong with it."""


Refreshed = Callable[[PriceCheck], PriceCheck]
"""Updates a check with the current matrix price, which may have changed since the letter."""


def replay(
    gateway: ErpGateway, payload: Mapping[str, Any], now_us: int, deadline_s: float, refreshed: Refreshed
) -> Answer | None:
    """Asks the question of a dead letter again. A validated answer is cached like any other. Returns None if there is
    still no usable answer. Raises ReplayError."""
    try:
        asked = payload["question"]
        if payload["kind"] == "stock":
            found = gateway.stock([StockQuestion(asked["sku"], asked["branch"], now_us)], deadline_s)
        else:
            check = refreshed(_check(asked, payload.get("matrix_price"), now_us))
            found = gateway.prices([check], deadline_s)
    except (KeyError, TypeError, InvalidOperation) as error:
        raise ReplayError(f"the payload is not a question to an ERP: {error!r}") from None
    answer = found[0]
    return None if answer is None or answer.result is LineResult.LAST_KNOWN else answer


def _check(asked: Mapping[str, Any], matrix_price: str | None, now_us: int) -> PriceCheck:
    question = PriceQuestion(
        customer_id=asked["customer_id"],
        sku=asked["sku"],
        quantity_micros=int(Decimal(asked["quantity"]) * MICROS),
        as_of_us=now_us if asked["as_of_us"] is None else asked["as_of_us"],
        uom=asked["uom"],
        currency=asked["currency"],
    )
    return PriceCheck(question, None if matrix_price is None else int(Decimal(matrix_price) * MICROS))
