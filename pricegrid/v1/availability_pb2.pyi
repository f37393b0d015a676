from pricegrid.v1 import part_number_pb2 as _part_number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AvailabilityStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AVAILABILITY_STATUS_UNSPECIFIED: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_OK: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_INVALID_QUANTITY: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_UNKNOWN_ITEM: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_NOT_ENTITLED: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_UNKNOWN_UOM: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_UNKNOWN_BRANCH: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_UNKNOWN_STOCK: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_OUT_OF_RANGE: _ClassVar[AvailabilityStatus]
    AVAILABILITY_STATUS_AMBIGUOUS_ITEM: _ClassVar[AvailabilityStatus]

class FreshnessState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRESHNESS_STATE_UNSPECIFIED: _ClassVar[FreshnessState]
    FRESHNESS_STATE_FRESH: _ClassVar[FreshnessState]
    FRESHNESS_STATE_STALE: _ClassVar[FreshnessState]
    FRESHNESS_STATE_UNKNOWN: _ClassVar[FreshnessState]

class PromiseLimit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMISE_LIMIT_UNSPECIFIED: _ClassVar[PromiseLimit]
    PROMISE_LIMIT_UNIT: _ClassVar[PromiseLimit]
    PROMISE_LIMIT_ORDER_MULTIPLE: _ClassVar[PromiseLimit]
    PROMISE_LIMIT_MINIMUM_SHIPMENT: _ClassVar[PromiseLimit]
AVAILABILITY_STATUS_UNSPECIFIED: AvailabilityStatus
AVAILABILITY_STATUS_OK: AvailabilityStatus
AVAILABILITY_STATUS_INVALID_QUANTITY: AvailabilityStatus
AVAILABILITY_STATUS_UNKNOWN_ITEM: AvailabilityStatus
AVAILABILITY_STATUS_NOT_ENTITLED: AvailabilityStatus
AVAILABILITY_STATUS_UNKNOWN_UOM: AvailabilityStatus
AVAILABILITY_STATUS_UNKNOWN_BRANCH: AvailabilityStatus
AVAILABILITY_STATUS_UNKNOWN_STOCK: AvailabilityStatus
AVAILABILITY_STATUS_OUT_OF_RANGE: AvailabilityStatus
AVAILABILITY_STATUS_AMBIGUOUS_ITEM: AvailabilityStatus
FRESHNESS_STATE_UNSPECIFIED: FreshnessState
FRESHNESS_STATE_FRESH: FreshnessState
FRESHNESS_STATE_STALE: FreshnessState
FRESHNESS_STATE_UNKNOWN: FreshnessState
PROMISE_LIMIT_UNSPECIFIED: PromiseLimit
PROMISE_LIMIT_UNIT: PromiseLimit
PROMISE_LIMIT_ORDER_MULTIPLE: PromiseLimit
PROMISE_LIMIT_MINIMUM_SHIPMENT: PromiseLimit

class AvailabilityLine(_message.Message):
    __slots__ = ("sku", "quantity_micros", "uom", "part_number", "uom_system")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    UOM_FIELD_NUMBER: _ClassVar[int]
    PART_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UOM_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity_micros: int
    uom: str
    part_number: _part_number_pb2.PartNumber
    uom_system: str
    def __init__(self, sku: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., uom: _Optional[str] = ..., part_number: _Optional[_Union[_part_number_pb2.PartNumber, _Mapping]] = ..., uom_system: _Optional[str] = ...) -> None: ...

class SupplyPolicy(_message.Message):
    __slots__ = ("horizon_days", "past_due_offset_days", "past_due_max_days", "min_confidence_micros")
    HORIZON_DAYS_FIELD_NUMBER: _ClassVar[int]
    PAST_DUE_OFFSET_DAYS_FIELD_NUMBER: _ClassVar[int]
    PAST_DUE_MAX_DAYS_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_MICROS_FIELD_NUMBER: _ClassVar[int]
    horizon_days: int
    past_due_offset_days: int
    past_due_max_days: int
    min_confidence_micros: int
    def __init__(self, horizon_days: _Optional[int] = ..., past_due_offset_days: _Optional[int] = ..., past_due_max_days: _Optional[int] = ..., min_confidence_micros: _Optional[int] = ...) -> None: ...

class PromisePolicy(_message.Message):
    __slots__ = ("on_date", "need_by_date", "late_until_date", "no_late", "ship_complete", "no_split", "minimum_shipment_micros", "allow_substitutes")
    ON_DATE_FIELD_NUMBER: _ClassVar[int]
    NEED_BY_DATE_FIELD_NUMBER: _ClassVar[int]
    LATE_UNTIL_DATE_FIELD_NUMBER: _ClassVar[int]
    NO_LATE_FIELD_NUMBER: _ClassVar[int]
    SHIP_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    NO_SPLIT_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_SHIPMENT_MICROS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SUBSTITUTES_FIELD_NUMBER: _ClassVar[int]
    on_date: str
    need_by_date: str
    late_until_date: str
    no_late: bool
    ship_complete: bool
    no_split: bool
    minimum_shipment_micros: int
    allow_substitutes: bool
    def __init__(self, on_date: _Optional[str] = ..., need_by_date: _Optional[str] = ..., late_until_date: _Optional[str] = ..., no_late: _Optional[bool] = ..., ship_complete: _Optional[bool] = ..., no_split: _Optional[bool] = ..., minimum_shipment_micros: _Optional[int] = ..., allow_substitutes: _Optional[bool] = ...) -> None: ...

class Freshness(_message.Message):
    __slots__ = ("erp", "wms", "transit", "erp_age_ms", "wms_age_ms", "transit_age_ms")
    ERP_FIELD_NUMBER: _ClassVar[int]
    WMS_FIELD_NUMBER: _ClassVar[int]
    TRANSIT_FIELD_NUMBER: _ClassVar[int]
    ERP_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    WMS_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSIT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    erp: FreshnessState
    wms: FreshnessState
    transit: FreshnessState
    erp_age_ms: int
    wms_age_ms: int
    transit_age_ms: int
    def __init__(self, erp: _Optional[_Union[FreshnessState, str]] = ..., wms: _Optional[_Union[FreshnessState, str]] = ..., transit: _Optional[_Union[FreshnessState, str]] = ..., erp_age_ms: _Optional[int] = ..., wms_age_ms: _Optional[int] = ..., transit_age_ms: _Optional[int] = ...) -> None: ...

class AvailabilityStep(_message.Message):
    __slots__ = ("date", "atp_micros", "balance_micros")
    DATE_FIELD_NUMBER: _ClassVar[int]
    ATP_MICROS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_MICROS_FIELD_NUMBER: _ClassVar[int]
    date: str
    atp_micros: int
    balance_micros: int
    def __init__(self, date: _Optional[str] = ..., atp_micros: _Optional[int] = ..., balance_micros: _Optional[int] = ...) -> None: ...

class BranchAvailability(_message.Message):
    __slots__ = ("branch", "status", "available_micros", "shortage_micros", "freshness", "dropped_receipts", "projected", "explanation_json", "limited_by")
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MICROS_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    PROJECTED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_JSON_FIELD_NUMBER: _ClassVar[int]
    LIMITED_BY_FIELD_NUMBER: _ClassVar[int]
    branch: str
    status: AvailabilityStatus
    available_micros: int
    shortage_micros: int
    freshness: Freshness
    dropped_receipts: int
    projected: _containers.RepeatedCompositeFieldContainer[AvailabilityStep]
    explanation_json: str
    limited_by: PromiseLimit
    def __init__(self, branch: _Optional[str] = ..., status: _Optional[_Union[AvailabilityStatus, str]] = ..., available_micros: _Optional[int] = ..., shortage_micros: _Optional[int] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., dropped_receipts: _Optional[int] = ..., projected: _Optional[_Iterable[_Union[AvailabilityStep, _Mapping]]] = ..., explanation_json: _Optional[str] = ..., limited_by: _Optional[_Union[PromiseLimit, str]] = ...) -> None: ...

class PromisedPart(_message.Message):
    __slots__ = ("sku", "branch", "quantity_micros", "pick_date", "ship_date", "arrival_date")
    SKU_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    PICK_DATE_FIELD_NUMBER: _ClassVar[int]
    SHIP_DATE_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_DATE_FIELD_NUMBER: _ClassVar[int]
    sku: str
    branch: str
    quantity_micros: int
    pick_date: str
    ship_date: str
    arrival_date: str
    def __init__(self, sku: _Optional[str] = ..., branch: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., pick_date: _Optional[str] = ..., ship_date: _Optional[str] = ..., arrival_date: _Optional[str] = ...) -> None: ...
