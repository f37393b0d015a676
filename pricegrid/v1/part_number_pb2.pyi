from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PartNumber(_message.Message):
    __slots__ = ("scheme", "code")
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    scheme: str
    code: str
    def __init__(self, scheme: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class NamedItem(_message.Message):
    __slots__ = ("sku", "uom", "scheme")
    SKU_FIELD_NUMBER: _ClassVar[int]
    UOM_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    sku: str
    uom: str
    scheme: str
    def __init__(self, sku: _Optional[str] = ..., uom: _Optional[str] = ..., scheme: _Optional[str] = ...) -> None: ...
