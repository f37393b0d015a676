"""The messages and stubs of `pricegrid.v1`, from the generated modules; import them from here."""

from pricegrid.v1.admin_service_pb2 import DESCRIPTOR as ADMIN_SERVICE_FILE
from pricegrid.v1.admin_service_pb2 import (
    DeadLetter,
    DropDeadLettersRequest,
    DropDeadLettersResponse,
    FeedIssue,
    GetDeadLetterRequest,
    GetDeadLetterResponse,
    ListDeadLettersRequest,
    ListDeadLettersResponse,
    ListFeedIssuesRequest,
    ListFeedIssuesResponse,
    ListReservationsRequest,
    ListReservationsResponse,
    ListResetsRequest,
    ListResetsResponse,
    ReplayDeadLettersRequest,
    ReplayDeadLettersResponse,
    ResetStreamsRequest,
    ResetStreamsResponse,
    SequenceRange,
    StreamReset,
)
from pricegrid.v1.admin_service_pb2_grpc import (
    AdminServiceStub,
)
from pricegrid.v1.availability_pb2 import (
    AvailabilityLine,
    AvailabilityStatus,
    AvailabilityStep,
    BranchAvailability,
    Freshness,
    FreshnessState,
    PromisedPart,
    PromiseLimit,
    PromisePolicy,
    SupplyPolicy,
)
from pricegrid.v1.availability_service_pb2 import (
    DESCRIPTOR as AVAILABILITY_SERVICE_FILE,
)
from pricegrid.v1.availability_service_pb2 import (
    AvailabilityChange,
    CheckAvailabilityRequest,
    CheckAvailabilityResponse,
    ConfirmReservationRequest,
    ConfirmReservationResponse,
    ExtendReservationRequest,
    ExtendReservationResponse,
    GetReservationRequest,
    GetReservationResponse,
    LineAvailability,
    LinePromise,
    PromiseOrderRequest,
    PromiseOrderResponse,
    ReleasedPart,
    ReleaseReservationRequest,
    ReleaseReservationResponse,
    ReserveRequest,
    ReserveResponse,
    WatchAvailabilityRequest,
    WatchAvailabilityResponse,
    WatchedLine,
)
from pricegrid.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from pricegrid.v1.inventory_event_pb2 import (
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventoryReceiptKind,
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
from pricegrid.v1.part_number_pb2 import NamedItem, PartNumber
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
from pricegrid.v1.reservation_pb2 import (
    Reservation,
    ReservationStatus,
    ReservedLine,
    ReservedPart,
    ReserveLine,
)

ADMIN_SERVICE = "pricegrid.v1.AdminService"
AVAILABILITY_SERVICE = "pricegrid.v1.AvailabilityService"
INVENTORY_FEED_SERVICE = "pricegrid.v1.InventoryFeedService"
PRICING_SERVICE = "pricegrid.v1.PricingService"
QUOTE_SERVICE = "pricegrid.v1.QuoteService"

__all__ = [
    "ADMIN_SERVICE",
    "ADMIN_SERVICE_FILE",
    "AVAILABILITY_SERVICE",
    "AVAILABILITY_SERVICE_FILE",
    "INVENTORY_FEED_SERVICE",
    "INVENTORY_FEED_SERVICE_FILE",
    "PRICING_SERVICE",
    "PRICING_SERVICE_FILE",
    "QUOTE_SERVICE",
    "QUOTE_SERVICE_FILE",
    "AdminServiceStub",
    "AvailabilityChange",
    "AvailabilityLine",
    "AvailabilityServiceStub",
    "AvailabilityStatus",
    "AvailabilityStep",
    "BranchAvailability",
    "CheckAvailabilityRequest",
    "CheckAvailabilityResponse",
    "ConfirmReservationRequest",
    "ConfirmReservationResponse",
    "DeadLetter",
    "DropDeadLettersRequest",
    "DropDeadLettersResponse",
    "ExceptionReason",
    "ExplainPriceRequest",
    "ExplainPriceResponse",
    "ExtendReservationRequest",
    "ExtendReservationResponse",
    "FeedIssue",
    "Freshness",
    "FreshnessState",
    "GetDeadLetterRequest",
    "GetDeadLetterResponse",
    "GetReservationRequest",
    "GetReservationResponse",
    "InventoryEvent",
    "InventoryEventKind",
    "InventoryFeedServiceStub",
    "InventoryMeasure",
    "InventoryReceiptKind",
    "InventorySource",
    "LineAvailability",
    "LinePromise",
    "LineStatus",
    "ListDeadLettersRequest",
    "ListDeadLettersResponse",
    "ListFeedIssuesRequest",
    "ListFeedIssuesResponse",
    "ListReservationsRequest",
    "ListReservationsResponse",
    "ListResetsRequest",
    "ListResetsResponse",
    "NamedItem",
    "PartNumber",
    "PriceLine",
    "PriceLineResult",
    "PriceLinesRequest",
    "PriceLinesResponse",
    "PriceSource",
    "PricingServiceStub",
    "PromiseLimit",
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
    "ReleaseReservationRequest",
    "ReleaseReservationResponse",
    "ReleasedPart",
    "ReplayDeadLettersRequest",
    "ReplayDeadLettersResponse",
    "Reservation",
    "ReservationStatus",
    "ReserveLine",
    "ReserveRequest",
    "ReserveResponse",
    "ReservedLine",
    "ReservedPart",
    "ResetStreamsRequest",
    "ResetStreamsResponse",
    "SequenceRange",
    "StreamReset",
    "SupplyPolicy",
    "WatchAvailabilityRequest",
    "WatchAvailabilityResponse",
    "WatchedLine",
]
