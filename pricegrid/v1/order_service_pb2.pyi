import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pricegrid.v1 import availability_pb2 as _availability_pb2
from pricegrid.v1 import part_number_pb2 as _part_number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderHold(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_HOLD_UNSPECIFIED: _ClassVar[OrderHold]
    ORDER_HOLD_HELD: _ClassVar[OrderHold]
    ORDER_HOLD_CONFIRMED: _ClassVar[OrderHold]

class OrderSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_SEVERITY_UNSPECIFIED: _ClassVar[OrderSeverity]
    ORDER_SEVERITY_INFO: _ClassVar[OrderSeverity]
    ORDER_SEVERITY_WARNING: _ClassVar[OrderSeverity]
    ORDER_SEVERITY_HOLD: _ClassVar[OrderSeverity]
    ORDER_SEVERITY_REJECT: _ClassVar[OrderSeverity]

class OrderDifferenceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_DIFFERENCE_KIND_UNSPECIFIED: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_ITEM: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_AMBIGUOUS_ITEM: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_UNIT: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_QUANTITY: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_MULTIPLE: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_NO_PRICE: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_UNCONFIRMED: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_PRICE_MISSING: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_PRICE: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_SHORT: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_INCOMPLETE: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_HOLD: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_TOTAL: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_VALUE: _ClassVar[OrderDifferenceKind]
    ORDER_DIFFERENCE_KIND_DUPLICATE_ORDER: _ClassVar[OrderDifferenceKind]

class PriceWithin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_WITHIN_UNSPECIFIED: _ClassVar[PriceWithin]
    PRICE_WITHIN_THEIRS: _ClassVar[PriceWithin]

class PriceBeyond(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICE_BEYOND_UNSPECIFIED: _ClassVar[PriceBeyond]
    PRICE_BEYOND_REPRICE: _ClassVar[PriceBeyond]
    PRICE_BEYOND_REJECT: _ClassVar[PriceBeyond]

class QuantityAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUANTITY_ACTION_UNSPECIFIED: _ClassVar[QuantityAction]
    QUANTITY_ACTION_DOWN: _ClassVar[QuantityAction]
    QUANTITY_ACTION_UP: _ClassVar[QuantityAction]
    QUANTITY_ACTION_NEAREST: _ClassVar[QuantityAction]

class ShortAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHORT_ACTION_UNSPECIFIED: _ClassVar[ShortAction]
    SHORT_ACTION_BACKORDER_REST: _ClassVar[ShortAction]
    SHORT_ACTION_BACKORDER_LINE: _ClassVar[ShortAction]
    SHORT_ACTION_REJECT_LINE: _ClassVar[ShortAction]
    SHORT_ACTION_SHIP_COMPLETE: _ClassVar[ShortAction]
ORDER_HOLD_UNSPECIFIED: OrderHold
ORDER_HOLD_HELD: OrderHold
ORDER_HOLD_CONFIRMED: OrderHold
ORDER_SEVERITY_UNSPECIFIED: OrderSeverity
ORDER_SEVERITY_INFO: OrderSeverity
ORDER_SEVERITY_WARNING: OrderSeverity
ORDER_SEVERITY_HOLD: OrderSeverity
ORDER_SEVERITY_REJECT: OrderSeverity
ORDER_DIFFERENCE_KIND_UNSPECIFIED: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_ITEM: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_AMBIGUOUS_ITEM: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_UNIT: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_QUANTITY: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_MULTIPLE: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_NO_PRICE: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_UNCONFIRMED: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_PRICE_MISSING: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_PRICE: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_SHORT: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_INCOMPLETE: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_HOLD: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_TOTAL: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_VALUE: OrderDifferenceKind
ORDER_DIFFERENCE_KIND_DUPLICATE_ORDER: OrderDifferenceKind
PRICE_WITHIN_UNSPECIFIED: PriceWithin
PRICE_WITHIN_THEIRS: PriceWithin
PRICE_BEYOND_UNSPECIFIED: PriceBeyond
PRICE_BEYOND_REPRICE: PriceBeyond
PRICE_BEYOND_REJECT: PriceBeyond
QUANTITY_ACTION_UNSPECIFIED: QuantityAction
QUANTITY_ACTION_DOWN: QuantityAction
QUANTITY_ACTION_UP: QuantityAction
QUANTITY_ACTION_NEAREST: QuantityAction
SHORT_ACTION_UNSPECIFIED: ShortAction
SHORT_ACTION_BACKORDER_REST: ShortAction
SHORT_ACTION_BACKORDER_LINE: ShortAction
SHORT_ACTION_REJECT_LINE: ShortAction
SHORT_ACTION_SHIP_COMPLETE: ShortAction

class ValidateOrderRequest(_message.Message):
    __slots__ = ("customer_id", "idempotency_key", "order_ref", "channel", "ship_to", "branches", "currency", "as_of_time", "as_of_date", "hold", "ttl_ms", "expected_total_micros", "policy", "lines")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SHIP_TO_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AS_OF_TIME_FIELD_NUMBER: _ClassVar[int]
    AS_OF_DATE_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TOTAL_MICROS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    idempotency_key: str
    order_ref: str
    channel: str
    ship_to: str
    branches: _containers.RepeatedScalarFieldContainer[str]
    currency: str
    as_of_time: _timestamp_pb2.Timestamp
    as_of_date: str
    hold: OrderHold
    ttl_ms: int
    expected_total_micros: int
    policy: OrderPolicy
    lines: _containers.RepeatedCompositeFieldContainer[OrderLine]
    def __init__(self, customer_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., order_ref: _Optional[str] = ..., channel: _Optional[str] = ..., ship_to: _Optional[str] = ..., branches: _Optional[_Iterable[str]] = ..., currency: _Optional[str] = ..., as_of_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., as_of_date: _Optional[str] = ..., hold: _Optional[_Union[OrderHold, str]] = ..., ttl_ms: _Optional[int] = ..., expected_total_micros: _Optional[int] = ..., policy: _Optional[_Union[OrderPolicy, _Mapping]] = ..., lines: _Optional[_Iterable[_Union[OrderLine, _Mapping]]] = ...) -> None: ...

class OrderLine(_message.Message):
    __slots__ = ("line_ref", "sku", "quantity_micros", "uom", "expected_price_micros", "expected_per", "requested_date", "part_number", "uom_system")
    LINE_REF_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    UOM_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PRICE_MICROS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_DATE_FIELD_NUMBER: _ClassVar[int]
    PART_NUMBER_FIELD_NUMBER: _ClassVar[int]
    UOM_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    line_ref: str
    sku: str
    quantity_micros: int
    uom: str
    expected_price_micros: int
    expected_per: int
    requested_date: str
    part_number: _part_number_pb2.PartNumber
    uom_system: str
    def __init__(self, line_ref: _Optional[str] = ..., sku: _Optional[str] = ..., quantity_micros: _Optional[int] = ..., uom: _Optional[str] = ..., expected_price_micros: _Optional[int] = ..., expected_per: _Optional[int] = ..., requested_date: _Optional[str] = ..., part_number: _Optional[_Union[_part_number_pb2.PartNumber, _Mapping]] = ..., uom_system: _Optional[str] = ...) -> None: ...

class OrderPolicy(_message.Message):
    __slots__ = ("unit_up_micros", "unit_down_micros", "percent_up_micros", "percent_down_micros", "line_up_micros", "line_down_micros", "order_up_micros", "order_down_micros", "within", "beyond", "quantity", "short", "allow_substitutes", "minimum_total_micros", "maximum_total_micros", "small_order_fee_micros", "unconfirmed", "duplicate_days", "profile_version")
    UNIT_UP_MICROS_FIELD_NUMBER: _ClassVar[int]
    UNIT_DOWN_MICROS_FIELD_NUMBER: _ClassVar[int]
    PERCENT_UP_MICROS_FIELD_NUMBER: _ClassVar[int]
    PERCENT_DOWN_MICROS_FIELD_NUMBER: _ClassVar[int]
    LINE_UP_MICROS_FIELD_NUMBER: _ClassVar[int]
    LINE_DOWN_MICROS_FIELD_NUMBER: _ClassVar[int]
    ORDER_UP_MICROS_FIELD_NUMBER: _ClassVar[int]
    ORDER_DOWN_MICROS_FIELD_NUMBER: _ClassVar[int]
    WITHIN_FIELD_NUMBER: _ClassVar[int]
    BEYOND_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    SHORT_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SUBSTITUTES_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_TOTAL_MICROS_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_TOTAL_MICROS_FIELD_NUMBER: _ClassVar[int]
    SMALL_ORDER_FEE_MICROS_FIELD_NUMBER: _ClassVar[int]
    UNCONFIRMED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_DAYS_FIELD_NUMBER: _ClassVar[int]
    PROFILE_VERSION_FIELD_NUMBER: _ClassVar[int]
    unit_up_micros: int
    unit_down_micros: int
    percent_up_micros: int
    percent_down_micros: int
    line_up_micros: int
    line_down_micros: int
    order_up_micros: int
    order_down_micros: int
    within: PriceWithin
    beyond: PriceBeyond
    quantity: QuantityAction
    short: ShortAction
    allow_substitutes: bool
    minimum_total_micros: int
    maximum_total_micros: int
    small_order_fee_micros: int
    unconfirmed: OrderSeverity
    duplicate_days: int
    profile_version: str
    def __init__(self, unit_up_micros: _Optional[int] = ..., unit_down_micros: _Optional[int] = ..., percent_up_micros: _Optional[int] = ..., percent_down_micros: _Optional[int] = ..., line_up_micros: _Optional[int] = ..., line_down_micros: _Optional[int] = ..., order_up_micros: _Optional[int] = ..., order_down_micros: _Optional[int] = ..., within: _Optional[_Union[PriceWithin, str]] = ..., beyond: _Optional[_Union[PriceBeyond, str]] = ..., quantity: _Optional[_Union[QuantityAction, str]] = ..., short: _Optional[_Union[ShortAction, str]] = ..., allow_substitutes: _Optional[bool] = ..., minimum_total_micros: _Optional[int] = ..., maximum_total_micros: _Optional[int] = ..., small_order_fee_micros: _Optional[int] = ..., unconfirmed: _Optional[_Union[OrderSeverity, str]] = ..., duplicate_days: _Optional[int] = ..., profile_version: _Optional[str] = ...) -> None: ...

class ValidateOrderResponse(_message.Message):
    __slots__ = ("verdict", "lines", "differences", "total_micros", "small_order_fee_micros", "reservation_id", "expires_us", "currency", "snapshot_version", "as_of_us", "correlation_id", "profile_version")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MICROS_FIELD_NUMBER: _ClassVar[int]
    SMALL_ORDER_FEE_MICROS_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_US_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_VERSION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_US_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_VERSION_FIELD_NUMBER: _ClassVar[int]
    verdict: OrderSeverity
    lines: _containers.RepeatedCompositeFieldContainer[OrderLineAnswer]
    differences: _containers.RepeatedCompositeFieldContainer[OrderDifference]
    total_micros: int
    small_order_fee_micros: int
    reservation_id: str
    expires_us: int
    currency: str
    snapshot_version: str
    as_of_us: int
    correlation_id: str
    profile_version: str
    def __init__(self, verdict: _Optional[_Union[OrderSeverity, str]] = ..., lines: _Optional[_Iterable[_Union[OrderLineAnswer, _Mapping]]] = ..., differences: _Optional[_Iterable[_Union[OrderDifference, _Mapping]]] = ..., total_micros: _Optional[int] = ..., small_order_fee_micros: _Optional[int] = ..., reservation_id: _Optional[str] = ..., expires_us: _Optional[int] = ..., currency: _Optional[str] = ..., snapshot_version: _Optional[str] = ..., as_of_us: _Optional[int] = ..., correlation_id: _Optional[str] = ..., profile_version: _Optional[str] = ...) -> None: ...

class OrderLineAnswer(_message.Message):
    __slots__ = ("line_ref", "verdict", "sku", "uom", "our_price_micros", "price_per", "agreed_price_micros", "agreed_per", "extended_micros", "quantity_micros", "confirmed_micros", "backordered_micros", "promised", "differences")
    LINE_REF_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    UOM_FIELD_NUMBER: _ClassVar[int]
    OUR_PRICE_MICROS_FIELD_NUMBER: _ClassVar[int]
    PRICE_PER_FIELD_NUMBER: _ClassVar[int]
    AGREED_PRICE_MICROS_FIELD_NUMBER: _ClassVar[int]
    AGREED_PER_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_MICROS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_MICROS_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_MICROS_FIELD_NUMBER: _ClassVar[int]
    BACKORDERED_MICROS_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    line_ref: str
    verdict: OrderSeverity
    sku: str
    uom: str
    our_price_micros: int
    price_per: int
    agreed_price_micros: int
    agreed_per: int
    extended_micros: int
    quantity_micros: int
    confirmed_micros: int
    backordered_micros: int
    promised: _containers.RepeatedCompositeFieldContainer[_availability_pb2.PromisedPart]
    differences: _containers.RepeatedCompositeFieldContainer[OrderDifference]
    def __init__(self, line_ref: _Optional[str] = ..., verdict: _Optional[_Union[OrderSeverity, str]] = ..., sku: _Optional[str] = ..., uom: _Optional[str] = ..., our_price_micros: _Optional[int] = ..., price_per: _Optional[int] = ..., agreed_price_micros: _Optional[int] = ..., agreed_per: _Optional[int] = ..., extended_micros: _Optional[int] = ..., quantity_micros: _Optional[int] = ..., confirmed_micros: _Optional[int] = ..., backordered_micros: _Optional[int] = ..., promised: _Optional[_Iterable[_Union[_availability_pb2.PromisedPart, _Mapping]]] = ..., differences: _Optional[_Iterable[_Union[OrderDifference, _Mapping]]] = ...) -> None: ...

class OrderDifference(_message.Message):
    __slots__ = ("kind", "severity", "expected", "ours", "rule")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    OURS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    kind: OrderDifferenceKind
    severity: OrderSeverity
    expected: str
    ours: str
    rule: str
    def __init__(self, kind: _Optional[_Union[OrderDifferenceKind, str]] = ..., severity: _Optional[_Union[OrderSeverity, str]] = ..., expected: _Optional[str] = ..., ours: _Optional[str] = ..., rule: _Optional[str] = ...) -> None: ...

class GetOrderAnswerRequest(_message.Message):
    __slots__ = ("customer_id", "idempotency_key", "order_ref", "correlation_id")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    idempotency_key: str
    order_ref: str
    correlation_id: str
    def __init__(self, customer_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., order_ref: _Optional[str] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class GetOrderAnswerResponse(_message.Message):
    __slots__ = ("request", "answer")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    request: ValidateOrderRequest
    answer: bytes
    def __init__(self, request: _Optional[_Union[ValidateOrderRequest, _Mapping]] = ..., answer: _Optional[bytes] = ...) -> None: ...

class OrderRecord(_message.Message):
    __slots__ = ("customer_id", "idempotency_key", "request_sha256", "request", "answer", "reserve", "is_final", "made_us", "order_ref", "correlation_id")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    MADE_US_FIELD_NUMBER: _ClassVar[int]
    ORDER_REF_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    idempotency_key: str
    request_sha256: str
    request: bytes
    answer: bytes
    reserve: bytes
    is_final: bool
    made_us: int
    order_ref: str
    correlation_id: str
    def __init__(self, customer_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., request_sha256: _Optional[str] = ..., request: _Optional[bytes] = ..., answer: _Optional[bytes] = ..., reserve: _Optional[bytes] = ..., is_final: _Optional[bool] = ..., made_us: _Optional[int] = ..., order_ref: _Optional[str] = ..., correlation_id: _Optional[str] = ...) -> None: ...
