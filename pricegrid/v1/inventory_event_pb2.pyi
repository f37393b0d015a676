from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InventorySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVENTORY_SOURCE_UNSPECIFIED: _ClassVar[InventorySource]
    INVENTORY_SOURCE_ERP: _ClassVar[InventorySource]
    INVENTORY_SOURCE_WMS: _ClassVar[InventorySource]
    INVENTORY_SOURCE_TRANSIT: _ClassVar[InventorySource]

class InventoryMeasure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVENTORY_MEASURE_UNSPECIFIED: _ClassVar[InventoryMeasure]
    INVENTORY_MEASURE_ON_HAND: _ClassVar[InventoryMeasure]
    INVENTORY_MEASURE_UNAVAILABLE: _ClassVar[InventoryMeasure]
    INVENTORY_MEASURE_ALLOCATED: _ClassVar[InventoryMeasure]
    INVENTORY_MEASURE_RECEIPT: _ClassVar[InventoryMeasure]
    INVENTORY_MEASURE_DEMAND: _ClassVar[InventoryMeasure]

class InventoryEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVENTORY_EVENT_KIND_UNSPECIFIED: _ClassVar[InventoryEventKind]
    INVENTORY_EVENT_KIND_SET: _ClassVar[InventoryEventKind]
    INVENTORY_EVENT_KIND_DELTA: _ClassVar[InventoryEventKind]
    INVENTORY_EVENT_KIND_RESET: _ClassVar[InventoryEventKind]

class InventoryReceiptKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVENTORY_RECEIPT_KIND_UNSPECIFIED: _ClassVar[InventoryReceiptKind]
    INVENTORY_RECEIPT_KIND_PURCHASE: _ClassVar[InventoryReceiptKind]
    INVENTORY_RECEIPT_KIND_TRANSFER: _ClassVar[InventoryReceiptKind]
    INVENTORY_RECEIPT_KIND_ASN: _ClassVar[InventoryReceiptKind]
INVENTORY_SOURCE_UNSPECIFIED: InventorySource
INVENTORY_SOURCE_ERP: InventorySource
INVENTORY_SOURCE_WMS: InventorySource
INVENTORY_SOURCE_TRANSIT: InventorySource
INVENTORY_MEASURE_UNSPECIFIED: InventoryMeasure
INVENTORY_MEASURE_ON_HAND: InventoryMeasure
INVENTORY_MEASURE_UNAVAILABLE: InventoryMeasure
INVENTORY_MEASURE_ALLOCATED: InventoryMeasure
INVENTORY_MEASURE_RECEIPT: InventoryMeasure
INVENTORY_MEASURE_DEMAND: InventoryMeasure
INVENTORY_EVENT_KIND_UNSPECIFIED: InventoryEventKind
INVENTORY_EVENT_KIND_SET: InventoryEventKind
INVENTORY_EVENT_KIND_DELTA: InventoryEventKind
INVENTORY_EVENT_KIND_RESET: InventoryEventKind
INVENTORY_RECEIPT_KIND_UNSPECIFIED: InventoryReceiptKind
INVENTORY_RECEIPT_KIND_PURCHASE: InventoryReceiptKind
INVENTORY_RECEIPT_KIND_TRANSFER: InventoryReceiptKind
INVENTORY_RECEIPT_KIND_ASN: InventoryReceiptKind

class InventoryEvent(_message.Message):
    __slots__ = ("source", "sequence", "effective_us", "measure", "kind", "sku", "branch", "quantity_micros", "expected_at_us", "order_ref", "order_line", "version", "unreadable", "unreadable_detail", "shipped_micros", "receipt_kind", "confidence_micros", "supersedes")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_US_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    ORDER_LINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_DETAIL_FIELD_NUMBER: _ClassVar[int]
    SHIPPED_MICROS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_KIND_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_MICROS_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    source: InventorySource
    sequence: int
    effective_us: int
    measure: InventoryMeasure
    kind: InventoryEventKind
    sku: str
    branch: str
    quantity_micros: int
    expected_at_us: int
    order_ref: str
    order_line: str
    version: int
    unreadable: str
    unreadable_detail: str
    shipped_micros: int
    receipt_kind: InventoryReceiptKind
    confidence_micros: int
    supersedes: str
    def __init__(self, source: _Optional[_Union[InventorySource, str]] = ..., sequence: _Optional[int] = ..., effective_us: _Optional[int] = ..., measure: _Optional[_Union[InventoryMeasure, str]] = ..., kind: _Optional[_Union[InventoryEventKind, str]] = ..., sku: _Optional[str] = ..., branch: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., expected_at_us: _Optional[int] = ..., order_ref: _Optional[str] = ..., order_line: _Optional[str] = ..., version: _Optional[int] = ..., unreadable: _Optional[str] = ..., unreadable_detail: _Optional[str] = ..., shipped_micros: _Optional[int] = ..., receipt_kind: _Optional[_Union[InventoryReceiptKind, str]] = ..., confidence_micros: _Optional[int] = ..., supersedes: _Optional[str] = ...) -> None: ...
