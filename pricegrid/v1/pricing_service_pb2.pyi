import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricegrid.v1 import price_pb2 as _price_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PriceLinesRequest(_message.Message):
    __slots__ = ("customer_id", "lines", "currency", "branch", "as_of_time", "as_of_date", "snapshot_version")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    lines: _containers.RepeatedCompositeFieldContainer[_price_pb2.PriceLine]
    currency: str
    branch: str
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    snapshot_version: str
    def __init__(self, customer_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[_price_pb2.PriceLine, _Mapping]]] = ..., currency: _Optional[str] = ..., branch: _Optional[str] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., snapshot_version: _Optional[str] = ...) -> None: ...

class PriceLinesResponse(_message.Message):
    __slots__ = ("results", "currency", "snapshot_version", "snapshot_age_ms", "as_of_us", "correlation_id", "mixed_breaks")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    MIXED_BREAKS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_price_pb2.PriceLineResult]
    currency: str
    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str
    mixed_breaks: _containers.RepeatedCompositeFieldContainer[_price_pb2.MixedBreak]
    def __init__(self, results: _Optional[_Iterable[_Union[_price_pb2.PriceLineResult, _Mapping]]] = ..., currency: _Optional[str] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ..., mixed_breaks: _Optional[_Iterable[_Union[_price_pb2.MixedBreak, _Mapping]]] = ...) -> None: ...

class ExplainPriceRequest(_message.Message):
    __slots__ = ("customer_id", "line", "currency", "branch", "as_of_time", "as_of_date", "snapshot_version")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    line: _price_pb2.PriceLine
    currency: str
    branch: str
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    snapshot_version: str
    def __init__(self, customer_id: _Optional[str] = ..., line: _Optional[_Union[_price_pb2.PriceLine, _Mapping]] = ..., currency: _Optional[str] = ..., branch: _Optional[str] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., snapshot_version: _Optional[str] = ...) -> None: ...

class ExplainPriceResponse(_message.Message):
    __slots__ = ("result", "explanation_json", "currency", "snapshot_version", "snapshot_age_ms", "as_of_us", "correlation_id")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_JSON_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    result: _price_pb2.PriceLineResult
    explanation_json: str
    currency: str
    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str
    def __init__(self, result: _Optional[_Union[_price_pb2.PriceLineResult, _Mapping]] = ..., explanation_json: _Optional[str] = ..., currency: _Optional[str] = ..., snapshot_version: _Optional[str] = ..., snapshot_age_ms: _Optional[int] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ...) -> None: ...
