"""The messages and stubs of `pricegrid.v1`, from the generated modules; import them from here."""

from pricegrid.v1.availability_pb2 import (
    AvailabilityLine,
    AvailabilityStatus,
    AvailabilityStep,
    BranchAvailability,
    Freshness,
    FreshnessState,
    PromisedPart,
    PromisePolicy,
    SupplyPolicy,
)
from pricegrid.v1.availability_service_pb2 import (
    DESCRIPTOR as AVAILABILITY_SERVICE_FILE,
)
from pricegrid.v1.availability_service_pb2 import (
    CheckAvailabilityRequest,
    CheckAvailabilityResponse,
    LineAvailability,
    LinePromise,
    PromiseOrderRequest,
    PromiseOrderResponse,
)
from pricegrid.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from pricegrid.v1.inventory_event_pb2 import (
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
)
from pricegrid.v1.inventory_feed_service_pb2 import (
    DESCRIPTOR as INVENTORY_FEED_SERVICE_FILE,
)
from pricegrid.v1.inventory_feed_service_pb2 import (
    PublishEventsRequest,
    PublishEventsResponse,
)
from pricegrid.v1.inventory_feed_service_pb2_grpc import InventoryFeedServiceStub
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
from pricegrid.v1.quote_service_pb2 import (
    DESCRIPTOR as QUOTE_SERVICE_FILE,
)
from pricegrid.v1.quote_service_pb2 import (
    QuoteAvailability,
    QuoteLineResult,
    QuoteLinesRequest,
    QuoteLinesResponse,
)
from pricegrid.v1.quote_service_pb2_grpc import QuoteServiceStub

AVAILABILITY_SERVICE = "pricegrid.v1.AvailabilityService"
INVENTORY_FEED_SERVICE = "pricegrid.v1.InventoryFeedService"
PRICING_SERVICE = "pricegrid.v1.PricingService"
QUOTE_SERVICE = "pricegrid.v1.QuoteService"

__all__ = [
    "AVAILABILITY_SERVICE",
    "AVAILABILITY_SERVICE_FILE",
    "INVENTORY_FEED_SERVICE",
    "INVENTORY_FEED_SERVICE_FILE",
    "PRICING_SERVICE",
    "PRICING_SERVICE_FILE",
    "QUOTE_SERVICE",
    "QUOTE_SERVICE_FILE",
    "AvailabilityLine",
    "AvailabilityServiceStub",
    "AvailabilityStatus",
    "AvailabilityStep",
    "BranchAvailability",
    "CheckAvailabilityRequest",
    "CheckAvailabilityResponse",
    "ExceptionReason",
    "ExplainPriceRequest",
    "ExplainPriceResponse",
    "Freshness",
    "FreshnessState",
    "InventoryEvent",
    "InventoryEventKind",
    "InventoryFeedServiceStub",
    "InventoryMeasure",
    "InventorySource",
    "LineAvailability",
    "LinePromise",
    "LineStatus",
    "PriceLine",
    "PriceLineResult",
    "PriceLinesRequest",
    "PriceLinesResponse",
    "PriceSource",
    "PricingServiceStub",
    "PromiseOrderRequest",
    "PromiseOrderResponse",
    "PromisePolicy",
    "PromisedPart",
    "PublishEventsRequest",
    "PublishEventsResponse",
    "QuoteAvailability",
    "QuoteLineResult",
    "QuoteLinesRequest",
    "QuoteLinesResponse",
    "QuoteServiceStub",
    "SupplyPolicy",
]
