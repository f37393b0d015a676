import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricegrid.v1 import part_number_pb2 as _part_number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LineStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LINE_STATUS_UNSPECIFIED: _ClassVar[LineStatus]
    LINE_STATUS_OK: _ClassVar[LineStatus]
    LINE_STATUS_INVALID_QUANTITY: _ClassVar[LineStatus]
    LINE_STATUS_UNKNOWN_ITEM: _ClassVar[LineStatus]
    LINE_STATUS_NOT_ENTITLED: _ClassVar[LineStatus]
    LINE_STATUS_UNKNOWN_UOM: _ClassVar[LineStatus]
    LINE_STATUS_NO_PRICE: _ClassVar[LineStatus]
    LINE_STATUS_BELOW_MINIMUM: _ClassVar[LineStatus]
    LINE_STATUS_OUT_OF_RANGE: _ClassVar[LineStatus]
    LINE_STATUS_ERP_UNAVAILABLE: _ClassVar[LineStatus]
    LINE_STATUS_AMBIGUOUS_ITEM: _ClassVar[LineStatus]

class PriceSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_SOURCE_UNSPECIFIED: _ClassVar[PriceSource]
    PRICE_SOURCE_MATRIX: _ClassVar[PriceSource]
    PRICE_SOURCE_ERP: _ClassVar[PriceSource]
    PRICE_SOURCE_ERP_CACHED: _ClassVar[PriceSource]

class ExceptionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXCEPTION_REASON_UNSPECIFIED: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_PRICE_SOURCE_ERP: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_NO_PRICE: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_OVER_THRESHOLD: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_AGREEMENT_EXPIRED: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_FLAGGED: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_MISSING_INPUT: _ClassVar[ExceptionReason]
    EXCEPTION_REASON_ZERO_PRICE: _ClassVar[ExceptionReason]
LINE_STATUS_UNSPECIFIED: LineStatus
LINE_STATUS_OK: LineStatus
LINE_STATUS_INVALID_QUANTITY: LineStatus
LINE_STATUS_UNKNOWN_ITEM: LineStatus
LINE_STATUS_NOT_ENTITLED: LineStatus
LINE_STATUS_UNKNOWN_UOM: LineStatus
LINE_STATUS_NO_PRICE: LineStatus
LINE_STATUS_BELOW_MINIMUM: LineStatus
LINE_STATUS_OUT_OF_RANGE: LineStatus
LINE_STATUS_ERP_UNAVAILABLE: LineStatus
LINE_STATUS_AMBIGUOUS_ITEM: LineStatus
PRICE_SOURCE_UNSPECIFIED: PriceSource
PRICE_SOURCE_MATRIX: PriceSource
PRICE_SOURCE_ERP: PriceSource
PRICE_SOURCE_ERP_CACHED: PriceSource
EXCEPTION_REASON_UNSPECIFIED: ExceptionReason
EXCEPTION_REASON_PRICE_SOURCE_ERP: ExceptionReason
EXCEPTION_REASON_NO_PRICE: ExceptionReason
EXCEPTION_REASON_OVER_THRESHOLD: ExceptionReason
EXCEPTION_REASON_AGREEMENT_EXPIRED: ExceptionReason
EXCEPTION_REASON_FLAGGED: ExceptionReason
EXCEPTION_REASON_MISSING_INPUT: ExceptionReason
EXCEPTION_REASON_ZERO_PRICE: ExceptionReason

class PriceLine(_message.Message):
    __slots__ = ("sku", "quantity_micros", "uom", "as_of_time", "as_of_date", "part_number", "uom_system")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    UOM_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    PART_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UOM_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity_micros: int
    uom: str
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    part_number: _part_number_pb2.PartNumber
    uom_system: str
    def __init__(self, sku: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., uom: _Optional[str] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., part_number: _Optional[_Union[_part_number_pb2.PartNumber, _Mapping]] = ..., uom_system: _Optional[str] = ...) -> None: ...

class PriceLineResult(_message.Message):
    __slots__ = ("status", "unit_price_micros", "extended_price_micros", "source", "exception", "valid_until_us", "minimum_quantity_micros", "floor_lifted", "converted", "book_id", "entry_id", "layer", "source_age_ms", "price_per", "named_items")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    UNIT_PRICE_MICROS_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_PRICE_MICROS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EXCEPTION_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    FLOOR_LIFTED_FIELD_NUMBER: _ClassVar[int]
    CONVERTED_FIELD_NUMBER: _ClassVar[int]
    BOOK_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_FIELD_NUMBER: _ClassVar[int]
    NAMED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    status: LineStatus
    unit_price_micros: int
    extended_price_micros: int
    source: PriceSource
    exception: ExceptionReason
    valid_until_us: int
    minimum_quantity_micros: int
    floor_lifted: bool
    converted: bool
    book_id: str
    entry_id: str
    layer: str
    source_age_ms: int
    price_per: int
    named_items: _containers.RepeatedCompositeFieldContainer[_part_number_pb2.NamedItem]
    def __init__(self, status: _Optional[_Union[LineStatus, str]] = ..., unit_price_micros: _Optional[int] = ..., extended_price_micros: _Optional[int] = ..., source: _Optional[_Union[PriceSource, str]] = ..., exception: _Optional[_Union[ExceptionReason, str]] = ..., valid_until_us: _Optional[int] = ..., minimum_quantity_micros: _Optional[int] = ..., floor_lifted: _Optional[bool] = ..., converted: _Optional[bool] = ..., book_id: _Optional[str] = ..., entry_id: _Optional[str] = ..., layer: _Optional[str] = ..., source_age_ms: _Optional[int] = ..., price_per: _Optional[int] = ..., named_items: _Optional[_Iterable[_Union[_part_number_pb2.NamedItem, _Mapping]]] = ...) -> None: ...

class MixedBreak(_message.Message):
    __slots__ = ("break_group", "quantity_micros", "counted_lines", "priced_lines")
    BREAK_GROUP_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    COUNTED_LINES_FIELD_NUMBER: _ClassVar[int]
    PRICED_LINES_FIELD_NUMBER: _ClassVar[int]
    break_group: str
    quantity_micros: int
    counted_lines: _containers.RepeatedScalarFieldContainer[int]
    priced_lines: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, break_group: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., counted_lines: _Optional[_Iterable[int]] = ..., priced_lines: _Optional[_Iterable[int]] = ...) -> None: ...
