from pricegrid.v1 import inventory_event_pb2 as _inventory_event_pb2
from pricegrid.v1 import reservation_pb2 as _reservation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeadLetter(_message.Message):
    __slots__ = ("dead_letter_id", "received_us", "origin", "reason", "detail", "payload_json", "replay_count", "seen_count", "last_received_us")
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_US_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    REPLAY_COUNT_FIELD_NUMBER: _ClassVar[int]
    SEEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVED_US_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    received_us: int
    origin: str
    reason: str
    detail: str
    payload_json: str
    replay_count: int
    seen_count: int
    last_received_us: int
    def __init__(self, dead_letter_id: _Optional[str] = ..., received_us: _Optional[int] = ..., origin: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., payload_json: _Optional[str] = ..., replay_count: _Optional[int] = ..., seen_count: _Optional[int] = ..., last_received_us: _Optional[int] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("origin", "limit", "page_token")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    origin: str
    limit: int
    page_token: str
    def __init__(self, origin: _Optional[str] = ..., limit: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("dead_letters", "correlation_id", "next_page_token")
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dead_letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    correlation_id: str
    next_page_token: str
    def __init__(self, dead_letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ..., correlation_id: _Optional[str] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetDeadLetterRequest(_message.Message):
    __slots__ = ("dead_letter_id",)
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    def __init__(self, dead_letter_id: _Optional[str] = ...) -> None: ...

class GetDeadLetterResponse(_message.Message):
    __slots__ = ("dead_letter", "correlation_id")
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    dead_letter: DeadLetter
    correlation_id: str
    def __init__(self, dead_letter: _Optional[_Union[DeadLetter, _Mapping]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ReplayDeadLettersRequest(_message.Message):
    __slots__ = ("dead_letter_ids",)
    DEAD_LETTER_IDS_FIELD_NUMBER: _ClassVar[int]
    dead_letter_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dead_letter_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ReplayDeadLettersResponse(_message.Message):
    __slots__ = ("dead_letters", "correlation_id")
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    dead_letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    correlation_id: str
    def __init__(self, dead_letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class DropDeadLettersRequest(_message.Message):
    __slots__ = ("dead_letter_ids",)
    DEAD_LETTER_IDS_FIELD_NUMBER: _ClassVar[int]
    dead_letter_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dead_letter_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DropDeadLettersResponse(_message.Message):
    __slots__ = ("dropped_count", "correlation_id")
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    dropped_count: int
    correlation_id: str
    def __init__(self, dropped_count: _Optional[int] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ListReservationsRequest(_message.Message):
    __slots__ = ("customer_id", "unreported_for_ms", "limit")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    UNREPORTED_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    customer_id: str
    unreported_for_ms: int
    limit: int
    def __init__(self, customer_id: _Optional[str] = ..., unreported_for_ms: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListReservationsResponse(_message.Message):
    __slots__ = ("reservations", "correlation_id")
    RESERVATIONS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservations: _containers.RepeatedCompositeFieldContainer[_reservation_pb2.Reservation]
    correlation_id: str
    def __init__(self, reservations: _Optional[_Iterable[_Union[_reservation_pb2.Reservation, _Mapping]]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ListFeedIssuesRequest(_message.Message):
    __slots__ = ("restarts", "limit")
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    restarts: bool
    limit: int
    def __init__(self, restarts: _Optional[bool] = ..., limit: _Optional[int] = ...) -> None: ...

class FeedIssue(_message.Message):
    __slots__ = ("source", "sku", "branch", "missing", "restart_count", "restart_sequence", "restart_effective_us")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    RESTART_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESTART_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESTART_EFFECTIVE_US_FIELD_NUMBER: _ClassVar[int]
    source: _inventory_event_pb2.InventorySource
    sku: str
    branch: str
    missing: _containers.RepeatedCompositeFieldContainer[SequenceRange]
    restart_count: int
    restart_sequence: int
    restart_effective_us: int
    def __init__(self, source: _Optional[_Union[_inventory_event_pb2.InventorySource, str]] = ..., sku: _Optional[str] = ..., branch: _Optional[str] = ..., missing: _Optional[_Iterable[_Union[SequenceRange, _Mapping]]] = ..., restart_count: _Optional[int] = ..., restart_sequence: _Optional[int] = ..., restart_effective_us: _Optional[int] = ...) -> None: ...

class SequenceRange(_message.Message):
    __slots__ = ("first_sequence", "last_sequence")
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    first_sequence: int
    last_sequence: int
    def __init__(self, first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ...) -> None: ...

class ListFeedIssuesResponse(_message.Message):
    __slots__ = ("issues", "correlation_id")
    ISSUES_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    issues: _containers.RepeatedCompositeFieldContainer[FeedIssue]
    correlation_id: str
    def __init__(self, issues: _Optional[_Iterable[_Union[FeedIssue, _Mapping]]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class ResetStreamsRequest(_message.Message):
    __slots__ = ("source", "sku", "branch", "all", "effective_us", "actor")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_US_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    source: _inventory_event_pb2.InventorySource
    sku: str
    branch: str
    all: bool
    effective_us: int
    actor: str
    def __init__(self, source: _Optional[_Union[_inventory_event_pb2.InventorySource, str]] = ..., sku: _Optional[str] = ..., branch: _Optional[str] = ..., all: _Optional[bool] = ..., effective_us: _Optional[int] = ..., actor: _Optional[str] = ...) -> None: ...

class ResetStreamsResponse(_message.Message):
    __slots__ = ("reset", "correlation_id")
    RESET_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    reset: StreamReset
    correlation_id: str
    def __init__(self, reset: _Optional[_Union[StreamReset, _Mapping]] = ..., correlation_id: _Optional[str] = ...) -> None: ...

class StreamReset(_message.Message):
    __slots__ = ("reset_id", "at_us", "actor", "source", "sku", "branch", "effective_us", "stream_count")
    RESET_ID_FIELD_NUMBER: _ClassVar[int]
    AT_US_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SKU_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_US_FIELD_NUMBER: _ClassVar[int]
    STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    reset_id: str
    at_us: int
    actor: str
    source: _inventory_event_pb2.InventorySource
    sku: str
    branch: str
    effective_us: int
    stream_count: int
    def __init__(self, reset_id: _Optional[str] = ..., at_us: _Optional[int] = ..., actor: _Optional[str] = ..., source: _Optional[_Union[_inventory_event_pb2.InventorySource, str]] = ..., sku: _Optional[str] = ..., branch: _Optional[str] = ..., effective_us: _Optional[int] = ..., stream_count: _Optional[int] = ...) -> None: ...

class ListResetsRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListResetsResponse(_message.Message):
    __slots__ = ("resets", "correlation_id")
    RESETS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    resets: _containers.RepeatedCompositeFieldContainer[StreamReset]
    correlation_id: str
    def __init__(self, resets: _Optional[_Iterable[_Union[StreamReset, _Mapping]]] = ..., correlation_id: _Optional[str] = ...) -> None: ...
