import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricegrid.v1 import availability_pb2 as _availability_pb2
from pricegrid.v1 import part_number_pb2 as _part_number_pb2
from pricegrid.v1 import reservation_pb2 as _reservation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckAvailabilityRequest(_message.Message):
    __slots__ = ("customer_id", "lines", "branches", "as_of_time", "as_of_date", "snapshot_version", "supply", "projected", "explain", "exclude_reservation")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUPPLY_FIELD_NUMBER: _ClassVar[int]
    PROJECTED_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    lines: _containers.RepeatedCompositeFieldContainer[_availability_pb2.AvailabilityLine]
    branches: _containers.RepeatedScalarFieldContainer[str]
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    snapshot_version: str
    supply: _availability_pb2.SupplyPolicy
    projected: bool
    explain: bool
    exclude_reservation: str
    def __init__(self, customer_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[_availability_pb2.AvailabilityLine, _Mapping]]] = ..., branches: _Optional[_Iterable[str]] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., snapshot_version: _Optional[str] = ..., supply: _Optional[_Union[_availability_pb2.SupplyPolicy, _Mapping]] = ..., projected: _Optional[bool] = ..., explain: _Optional[bool] = ..., exclude_reservation: _Optional[str] = ...) -> None: ...

class CheckAvailabilityResponse(_message.Message):
    __slots__ = ("results", "snapshot_version", "snapshot_age_ms", "as_of_us", "correlation_id")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[LineAvailability]
    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str
    def __init__(self, results: _Optional[_Iterable[_Union[LineAvailability, _Mapping]]] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class LineAvailability(_message.Message):
    __slots__ = ("status", "available_micros", "shortage_micros", "branches", "named_items")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MICROS_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    NAMED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    status: _availability_pb2.AvailabilityStatus
    available_micros: int
    shortage_micros: int
    branches: _containers.RepeatedCompositeFieldContainer[_availability_pb2.BranchAvailability]
    named_items: _containers.RepeatedCompositeFieldContainer[_part_number_pb2.NamedItem]
    def __init__(self, status: _Optional[_Union[_availability_pb2.AvailabilityStatus, str]] = ..., available_micros: _Optional[int] = ..., shortage_micros: _Optional[int] = ..., branches: _Optional[_Iterable[_Union[_availability_pb2.BranchAvailability, _Mapping]]] = ..., named_items: _Optional[_Iterable[_Union[_part_number_pb2.NamedItem, _Mapping]]] = ...) -> None: ...

class PromiseOrderRequest(_message.Message):
    __slots__ = ("customer_id", "lines", "branches", "ship_to", "as_of_time", "as_of_date", "snapshot_version", "supply", "policy", "explain", "exclude_reservation")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    SHIP_TO_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUPPLY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    lines: _containers.RepeatedCompositeFieldContainer[_availability_pb2.AvailabilityLine]
    branches: _containers.RepeatedScalarFieldContainer[str]
    ship_to: str
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    snapshot_version: str
    supply: _availability_pb2.SupplyPolicy
    policy: _availability_pb2.PromisePolicy
    explain: bool
    exclude_reservation: str
    def __init__(self, customer_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[_availability_pb2.AvailabilityLine, _Mapping]]] = ..., branches: _Optional[_Iterable[str]] = ..., ship_to: _Optional[str] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., snapshot_version: _Optional[str] = ..., supply: _Optional[_Union[_availability_pb2.SupplyPolicy, _Mapping]] = ..., policy: _Optional[_Union[_availability_pb2.PromisePolicy, _Mapping]] = ..., explain: _Optional[bool] = ..., exclude_reservation: _Optional[str] = ...) -> None: ...

class PromiseOrderResponse(_message.Message):
    __slots__ = ("results", "snapshot_version", "snapshot_age_ms", "as_of_us", "correlation_id")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[LinePromise]
    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str
    def __init__(self, results: _Optional[_Iterable[_Union[LinePromise, _Mapping]]] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class LinePromise(_message.Message):
    __slots__ = ("status", "promised", "shortage_micros", "explanation_json", "freshness", "dropped_receipts", "limited_by", "named_items")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_JSON_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    LIMITED_BY_FIELD_NUMBER: _ClassVar[int]
    NAMED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    status: _availability_pb2.AvailabilityStatus
    promised: _containers.RepeatedCompositeFieldContainer[_availability_pb2.PromisedPart]
    shortage_micros: int
    explanation_json: str
    freshness: _availability_pb2.Freshness
    dropped_receipts: int
    limited_by: _availability_pb2.PromiseLimit
    named_items: _containers.RepeatedCompositeFieldContainer[_part_number_pb2.NamedItem]
    def __init__(self, status: _Optional[_Union[_availability_pb2.AvailabilityStatus, str]] = ..., promised: _Optional[_Iterable[_Union[_availability_pb2.PromisedPart, _Mapping]]] = ..., shortage_micros: _Optional[int] = ..., explanation_json: _Optional[str] = ..., freshness: _Optional[_Union[_availability_pb2.Freshness, _Mapping]] = ..., dropped_receipts: _Optional[int] = ..., limited_by: _Optional[_Union[_availability_pb2.PromiseLimit, str]] = ..., named_items: _Optional[_Iterable[_Union[_part_number_pb2.NamedItem, _Mapping]]] = ...) -> None: ...

class ReserveRequest(_message.Message):
    __slots__ = ("customer_id", "idempotency_key", "lines", "ttl_ms", "allow_partial", "all_or_nothing", "order_ref", "exclude_reservation", "replace_reservation")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_PARTIAL_FIELD_NUMBER: _ClassVar[int]
    ALL_OR_NOTHING_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    REPLACE_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    idempotency_key: str
    lines: _containers.RepeatedCompositeFieldContainer[_reservation_pb2.ReserveLine]
    ttl_ms: int
    allow_partial: bool
    all_or_nothing: bool
    order_ref: str
    exclude_reservation: str
    replace_reservation: str
    def __init__(self, customer_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[_reservation_pb2.ReserveLine, _Mapping]]] = ..., ttl_ms: _Optional[int] = ..., allow_partial: _Optional[bool] = ..., all_or_nothing: _Optional[bool] = ..., order_ref: _Optional[str] = ..., exclude_reservation: _Optional[str] = ..., replace_reservation: _Optional[str] = ...) -> None: ...

class ReserveResponse(_message.Message):
    __slots__ = ("reservation", "is_repeat", "snapshot_version", "snapshot_age_ms", "correlation_id")
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    IS_REPEAT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation: _reservation_pb2.Reservation
    is_repeat: bool
    snapshot_version: str
    snapshot_age_ms: int
    correlation_id: str
    def __init__(self, reservation: _Optional[_Union[_reservation_pb2.Reservation, _Mapping]] = ..., is_repeat: _Optional[bool] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ConfirmReservationRequest(_message.Message):
    __slots__ = ("customer_id", "reservation_id", "order_ref", "order_lines")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    ORDER_LINES_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    reservation_id: str
    order_ref: str
    order_lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, customer_id: _Optional[str] = ..., reservation_id: _Optional[str] = ..., order_ref: _Optional[str] = ..., order_lines: _Optional[_Iterable[str]] = ...) -> None: ...

class ConfirmReservationResponse(_message.Message):
    __slots__ = ("reservation", "correlation_id")
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation: _reservation_pb2.Reservation
    correlation_id: str
    def __init__(self, reservation: _Optional[_Union[_reservation_pb2.Reservation, _Mapping]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ReleaseReservationRequest(_message.Message):
    __slots__ = ("customer_id", "reservation_id", "parts")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    reservation_id: str
    parts: _containers.RepeatedCompositeFieldContainer[ReleasedPart]
    def __init__(self, customer_id: _Optional[str] = ..., reservation_id: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[ReleasedPart, _Mapping]]] = ...) -> None: ...

class ReleasedPart(_message.Message):
    __slots__ = ("line_index", "quantity_micros")
    LINE_INDEX_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    line_index: int
    quantity_micros: int
    def __init__(self, line_index: _Optional[int] = ..., quantity_micros: _Optional[int] = ...) -> None: ...

class ReleaseReservationResponse(_message.Message):
    __slots__ = ("reservation", "correlation_id")
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation: _reservation_pb2.Reservation
    correlation_id: str
    def __init__(self, reservation: _Optional[_Union[_reservation_pb2.Reservation, _Mapping]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ExtendReservationRequest(_message.Message):
    __slots__ = ("customer_id", "reservation_id", "ttl_ms")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    reservation_id: str
    ttl_ms: int
    def __init__(self, customer_id: _Optional[str] = ..., reservation_id: _Optional[str] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class ExtendReservationResponse(_message.Message):
    __slots__ = ("reservation", "correlation_id")
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation: _reservation_pb2.Reservation
    correlation_id: str
    def __init__(self, reservation: _Optional[_Union[_reservation_pb2.Reservation, _Mapping]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class GetReservationRequest(_message.Message):
    __slots__ = ("customer_id", "reservation_id")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    reservation_id: str
    def __init__(self, customer_id: _Optional[str] = ..., reservation_id: _Optional[str] = ...) -> None: ...

class GetReservationResponse(_message.Message):
    __slots__ = ("reservation", "correlation_id")
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation: _reservation_pb2.Reservation
    correlation_id: str
    def __init__(self, reservation: _Optional[_Union[_reservation_pb2.Reservation, _Mapping]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class WatchAvailabilityRequest(_message.Message):
    __slots__ = ("customer_id", "lines", "branches", "supply", "exclude_reservation", "heartbeat_ms")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    SUPPLY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    lines: _containers.RepeatedCompositeFieldContainer[WatchedLine]
    branches: _containers.RepeatedScalarFieldContainer[str]
    supply: _availability_pb2.SupplyPolicy
    exclude_reservation: str
    heartbeat_ms: int
    def __init__(self, customer_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[WatchedLine, _Mapping]]] = ..., branches: _Optional[_Iterable[str]] = ..., supply: _Optional[_Union[_availability_pb2.SupplyPolicy, _Mapping]] = ..., exclude_reservation: _Optional[str] = ..., heartbeat_ms: _Optional[int] = ...) -> None: ...

class WatchedLine(_message.Message):
    __slots__ = ("line", "threshold_micros")
    LINE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_MICROS_FIELD_NUMBER: _ClassVar[int]
    line: _availability_pb2.AvailabilityLine
    threshold_micros: int
    def __init__(self, line: _Optional[_Union[_availability_pb2.AvailabilityLine, _Mapping]] = ..., threshold_micros: _Optional[int] = ...) -> None: ...

class WatchAvailabilityResponse(_message.Message):
    __slots__ = ("changes", "snapshot_version", "snapshot_age_ms", "as_of_us", "correlation_id")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[AvailabilityChange]
    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str
    def __init__(self, changes: _Optional[_Iterable[_Union[AvailabilityChange, _Mapping]]] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class AvailabilityChange(_message.Message):
    __slots__ = ("line_index", "availability", "named_items")
    LINE_INDEX_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    NAMED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    line_index: int
    availability: _availability_pb2.BranchAvailability
    named_items: _containers.RepeatedCompositeFieldContainer[_part_number_pb2.NamedItem]
    def __init__(self, line_index: _Optional[int] = ..., availability: _Optional[_Union[_availability_pb2.BranchAvailability, _Mapping]] = ..., named_items: _Optional[_Iterable[_Union[_part_number_pb2.NamedItem, _Mapping]]] = ...) -> None: ...
