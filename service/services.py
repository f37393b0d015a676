"""Which services there are and what answers each method: the same over gRPC and in-process."""

from collections.abc import Callable, Mapping

from pricegrid import v1
from service.availability_service import AvailabilityService
from service.erp_fallback import ErpFallback
from service.exchange import Answer, SnapshotSource
from service.pricing_service import PricingService
from service.quote_service import QuoteService

Services = Mapping[str, Mapping[str, Answer]]
"""The methods of each service, by their names in the protos."""

SERVICES = (v1.PRICING_SERVICE, v1.AVAILABILITY_SERVICE, v1.QUOTE_SERVICE)


def services(
    snapshots: SnapshotSource, now_us: Callable[[], int], erp: ErpFallback | None = None
) -> Services:
    """All services over a source of snapshots, with an ERP for what these can't answer alone."""
    pricing = PricingService(snapshots, now_us, erp.prices if erp else None)
    availability = AvailabilityService(snapshots, now_us, erp.stock if erp else None)
    quote = QuoteService(snapshots, now_us, erp)
    return {
        v1.PRICING_SERVICE: {"PriceLines": pricing.price_lines, "ExplainPrice": pricing.explain_price},
        v1.AVAILABILITY_SERVICE: {
            "CheckAvailability": availability.check_availability,
            "PromiseOrder": availability.promise_order,
        },
        v1.QUOTE_SERVICE: {"QuoteLines": quote.quote_lines},
    }
