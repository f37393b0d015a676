"""Which items a customer may not see (P11), according to the price engine."""

from collections.abc import Sequence

import numpy as np

from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine
from pricegrid.pricing_engine.model import MICROS, LineStatus


def hidden_skus(engine: PriceEngine, customer_id: str, skus: Sequence[bytes]) -> frozenset[bytes]:
    """The `skus` that the customer is not entitled to; customer '' may see all. Raises UnknownCustomerError."""
    if not customer_id:
        return frozenset()
    ask = PriceAsk(
        customer_id=customer_id,
        currency="",
        branch="",
        as_of_us=0,  # entitlements have no dates
        skus=skus,
        quantities_micros=np.full(len(skus), MICROS, np.int64),
        uoms=[b""] * len(skus),
        service_desk=True,
    )
    denied = engine.price(ask).status == LineStatus.NOT_ENTITLED
    return frozenset(skus[line] for line in np.flatnonzero(denied).tolist())
