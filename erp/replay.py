"""A refused answer asked again: from the payload of a dead letter to an answer that is kept, or refused once more."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pricegrid.erp.gateway import Answer, ErpGateway
from pricegrid.erp.observe import LineResult
from pricegrid.erp.protocol import StockQuestion
from pricegrid.erp.validation import PriceCheck
from pricegrid.pricing_engine.model import MICROS, PriceQuestion


class ReplayError(Exception):
    """The payload is none of an ERP's; the text says what is wrong with it."""


Refreshed = Callable[[PriceCheck], PriceCheck]
"""A check with what the matrices say now: since the letter they may have been mended, or have another end."""


def replay(
    gateway: ErpGateway, payload: Mapping[str, Any], now_us: int, deadline_s: float, refreshed: Refreshed
) -> Answer | None:
    """Asks the question of a dead letter again. A validated answer is kept in the cache as any other; None: there is
    still none. Raises ReplayError."""
    try:
        asked = payload["question"]
        if payload["kind"] == "stock":
            found = gateway.stock([StockQuestion(asked["sku"], asked["branch"], now_us)], deadline_s)
        else:
            check = refreshed(_check(asked, payload.get("matrix_price"), now_us))
            found = gateway.prices([check], deadline_s)
    except (KeyError, TypeError, InvalidOperation) as error:
        raise ReplayError(f"the payload is no question to an ERP: {error!r}") from None
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
