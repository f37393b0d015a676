"""The messages and stubs of `pricegrid.v1`, from the generated modules; import them from here."""

from pricegrid.v1.price_pb2 import ExceptionReason, LineStatus, PriceLine, PriceLineResult, PriceSource
from pricegrid.v1.pricing_service_pb2 import (
    DESCRIPTOR as PRICING_SERVICE_FILE,
)
from pricegrid.v1.pricing_service_pb2 import (
    ExplainPriceRequest,
    ExplainPriceResponse,
    PriceLinesRequest,
    PriceLinesResponse,
)
from pricegrid.v1.pricing_service_pb2_grpc import PricingServiceStub

PRICING_SERVICE = "pricegrid.v1.PricingService"

__all__ = [
    "PRICING_SERVICE",
    "PRICING_SERVICE_FILE",
    "ExceptionReason",
    "ExplainPriceRequest",
    "ExplainPriceResponse",
    "LineStatus",
    "PriceLine",
    "PriceLineResult",
    "PriceLinesRequest",
    "PriceLinesResponse",
    "PriceSource",
    "PricingServiceStub",
]
