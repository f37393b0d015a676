from pricegrid.v1 import availability_pb2 as _availability_pb2
from pricegrid.v1 import part_number_pb2 as _part_number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReservationStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESERVATION_STATUS_UNSPECIFIED: _ClassVar[ReservationStatus]
    RESERVATION_STATUS_HELD: _ClassVar[ReservationStatus]
    RESERVATION_STATUS_CONFIRMED: _ClassVar[ReservationStatus]
    RESERVATION_STATUS_CONSUMED: _ClassVar[ReservationStatus]
    RESERVATION_STATUS_RELEASED: _ClassVar[ReservationStatus]
    RESERVATION_STATUS_EXPIRED: _ClassVar[ReservationStatus]
RESERVATION_STATUS_UNSPECIFIED: ReservationStatus
RESERVATION_STATUS_HELD: ReservationStatus
RESERVATION_STATUS_CONFIRMED: ReservationStatus
RESERVATION_STATUS_CONSUMED: ReservationStatus
RESERVATION_STATUS_RELEASED: ReservationStatus
RESERVATION_STATUS_EXPIRED: ReservationStatus

class ReserveLine(_message.Message):
    __slots__ = ("sku", "quantity_micros", "uom", "branch", "from_date", "order_line", "part_number", "uom_system")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    UOM_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    FROM_DATE_FIELD_NUMBER: _ClassVar[int]
    ORDER_LINE_FIELD_NUMBER: _ClassVar[int]
    PART_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UOM_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity_micros: int
    uom: str
    branch: str
    from_date: str
    order_line: str
    part_number: _part_number_pb2.PartNumber
    uom_system: str
    def __init__(self, sku: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., uom: _Optional[str] = ..., branch: _Optional[str] = ..., from_date: _Optional[str] = ..., order_line: _Optional[str] = ..., part_number: _Optional[_Union[_part_number_pb2.PartNumber, _Mapping]] = ..., uom_system: _Optional[str] = ...) -> None: ...

class ReservedPart(_message.Message):
    __slots__ = ("sku", "quantity_micros", "cleared_micros")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    CLEARED_MICROS_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity_micros: int
    cleared_micros: int
    def __init__(self, sku: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., cleared_micros: _Optional[int] = ...) -> None: ...

class ReservedLine(_message.Message):
    __slots__ = ("line", "status", "held_micros", "granted_micros", "shortage_micros", "parts", "named_items")
    LINE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HELD_MICROS_FIELD_NUMBER: _ClassVar[int]
    GRANTED_MICROS_FIELD_NUMBER: _ClassVar[int]
    SHORTAGE_MICROS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    NAMED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    line: ReserveLine
    status: _availability_pb2.AvailabilityStatus
    held_micros: int
    granted_micros: int
    shortage_micros: int
    parts: _containers.RepeatedCompositeFieldContainer[ReservedPart]
    named_items: _containers.RepeatedCompositeFieldContainer[_part_number_pb2.NamedItem]
    def __init__(self, line: _Optional[_Union[ReserveLine, _Mapping]] = ..., status: _Optional[_Union[_availability_pb2.AvailabilityStatus, str]] = ..., held_micros: _Optional[int] = ..., granted_micros: _Optional[int] = ..., shortage_micros: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[ReservedPart, _Mapping]]] = ..., named_items: _Optional[_Iterable[_Union[_part_number_pb2.NamedItem, _Mapping]]] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("reservation_id", "status", "customer_id", "lines", "created_us", "expires_us", "order_ref", "confirmed_us", "idempotency_key")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    CREATED_US_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_US_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    status: ReservationStatus
    customer_id: str
    lines: _containers.RepeatedCompositeFieldContainer[ReservedLine]
    created_us: int
    expires_us: int
    order_ref: str
    confirmed_us: int
    idempotency_key: str
    def __init__(self, reservation_id: _Optional[str] = ..., status: _Optional[_Union[ReservationStatus, str]] = ..., customer_id: _Optional[str] = ..., lines: _Optional[_Iterable[_Union[ReservedLine, _Mapping]]] = ..., created_us: _Optional[int] = ..., expires_us: _Optional[int] = ..., order_ref: _Optional[str] = ..., confirmed_us: _Optional[int] = ..., idempotency_key: _Optional[str] = ...) -> None: ...
