import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricegrid.v1 import availability_pb2 as _availability_pb2
from pricegrid.v1 import price_pb2 as _price_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QuoteLinesRequest(_message.Message):
    __slots__ = ("customer_id", "lines", "currency", "branches", "as_of_time", "as_of_date", "snapshot_version")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    lines: _containers.RepeatedCompositeFieldContainer[_price_pb2.PriceLine]
    currency: str
    branches: _containers.RepeatedScalarFieldContainer[str]
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    snapshot_version: str
    def __init__(self, customer_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[_price_pb2.PriceLine, _Mapping]]] = ..., currency: _Optional[str] = ..., branches: _Optional[_Iterable[str]] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., snapshot_version: _Optional[str] = ...) -> None: ...

class QuoteLinesResponse(_message.Message):
    __slots__ = ("results", "currency", "snapshot_version", "snapshot_age_ms", "as_of_us", "correlation_id", "mixed_breaks")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    MIXED_BREAKS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[QuoteLineResult]
    currency: str
    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str
    mixed_breaks: _containers.RepeatedCompositeFieldContainer[_price_pb2.MixedBreak]
    def __init__(self, results: _Optional[_Iterable[_Union[QuoteLineResult, _Mapping]]] = ..., currency: _Optional[str] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ..., mixed_breaks: _Optional[_Iterable[_Union[_price_pb2.MixedBreak, _Mapping]]] = ...) -> None: ...

class QuoteLineResult(_message.Message):
    __slots__ = ("price", "availability")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    price: _price_pb2.PriceLineResult
    availability: QuoteAvailability
    def __init__(self, price: _Optional[_Union[_price_pb2.PriceLineResult, _Mapping]] = ..., availability: _Optional[_Union[QuoteAvailability, _Mapping]] = ...) -> None: ...

class QuoteAvailability(_message.Message):
    __slots__ = ("status", "available_micros", "shortage_micros", "promise_date", "freshness", "limited_by")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_MICROS_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    PROMISE_DATE_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    LIMITED_BY_FIELD_NUMBER: _ClassVar[int]
    status: _availability_pb2.AvailabilityStatus
    available_micros: int
    shortage_micros: int
    promise_date: str
    freshness: _availability_pb2.Freshness
    limited_by: _availability_pb2.PromiseLimit
    def __init__(self, status: _Optional[_Union[_availability_pb2.AvailabilityStatus, str]] = ..., available_micros: _Optional[int] = ..., shortage_micros: _Optional[int] = ..., promise_date: _Optional[str] = ..., freshness: _Optional[_Union[_availability_pb2.Freshness, _Mapping]] = ..., limited_by: _Optional[_Union[_availability_pb2.PromiseLimit, str]] = ...) -> None: ...
