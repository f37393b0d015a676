import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricegrid.v1 import availability_pb2 as _availability_pb2
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
    __slots__ = ("status", "available_micros", "shortage_micros", "branches")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MICROS_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    status: _availability_pb2.AvailabilityStatus
    available_micros: int
    shortage_micros: int
    branches: _containers.RepeatedCompositeFieldContainer[_availability_pb2.BranchAvailability]
    def __init__(self, status: _Optional[_Union[_availability_pb2.AvailabilityStatus, str]] = ..., available_micros: _Optional[int] = ..., shortage_micros: _Optional[int] = ..., branches: _Optional[_Iterable[_Union[_availability_pb2.BranchAvailability, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("status", "promised", "shortage_micros", "explanation_json", "freshness", "dropped_receipts")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_JSON_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    status: _availability_pb2.AvailabilityStatus
    promised: _containers.RepeatedCompositeFieldContainer[_availability_pb2.PromisedPart]
    shortage_micros: int
    explanation_json: str
    freshness: _availability_pb2.Freshness
    dropped_receipts: int
    def __init__(self, status: _Optional[_Union[_availability_pb2.AvailabilityStatus, str]] = ..., promised: _Optional[_Iterable[_Union[_availability_pb2.PromisedPart, _Mapping]]] = ..., shortage_micros: _Optional[int] = ..., explanation_json: _Optional[str] = ..., freshness: _Optional[_Union[_availability_pb2.Freshness, _Mapping]] = ..., dropped_receipts: _Optional[int] = ...) -> None: ...
