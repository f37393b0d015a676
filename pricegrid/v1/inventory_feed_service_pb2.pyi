from pricegrid.v1 import inventory_event_pb2 as _inventory_event_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_inventory_event_pb2.InventoryEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[_inventory_event_pb2.InventoryEvent, _Mapping]]] = ...) -> None: ...

class PublishEventsResponse(_message.Message):
    __slots__ = ("applied_count", "duplicate_count", "older_count", "dead_letter_count", "dead_letter_ids", "gap_count", "correlation_id", "refused_count", "restart_count")
    APPLIED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_IDS_FIELD_NUMBER: _ClassVar[int]
    GAP_COUNT_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESTART_COUNT_FIELD_NUMBER: _ClassVar[int]
    applied_count: int
    duplicate_count: int
    older_count: int
    dead_letter_count: int
    dead_letter_ids: _containers.RepeatedScalarFieldContainer[str]
    gap_count: int
    correlation_id: str
    refused_count: int
    restart_count: int
    def __init__(self, applied_count: _Optional[int] = ..., duplicate_count: _Optional[int] = ..., older_count: _Optional[int] = ..., dead_letter_count: _Optional[int] = ..., dead_letter_ids: _Optional[_Iterable[str]] = ..., gap_count: _Optional[int] = ..., correlation_id: _Optional[str] = ..., refused_count: _Optional[int] = ..., restart_count: _Optional[int] = ...) -> None: ...
