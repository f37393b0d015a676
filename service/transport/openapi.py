"""The HTTP door as an OpenAPI 3.1 document, made from the descriptors of the protos."""

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from pricegrid.service.transport.connect import HTTP_STATUS

_SIMPLE: Final[dict[int, dict[str, str]]] = {
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "uint32"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code"],
    "properties": {
        "code": {"type": "string", "enum": sorted(HTTP_STATUS)},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "value": {"type": "string", "contentEncoding": "base64"},
                    "debug": {"type": "object"},
                },
            },
        },
    },
}


def document(services: Iterable[str], version: str) -> dict[str, Any]:
    """The unary methods of services, as Connect's unary protocol in JSON has them."""
    pool, schemas, paths = descriptor_pool.Default(), {"Error": _ERROR}, {}
    for name in services:
        for method in pool.FindServiceByName(name).methods:
            if not method.client_streaming and not method.server_streaming:
                paths[f"/{name}/{method.name}"] = {"post": _operation(name, method, schemas)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pricegrid",
            "version": version,
            "description": "Prices, availability and promises of a distributor. Money and quantities are whole "
            "numbers of millionths, as text.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{}, {"bearer": []}],
    }


def _operation(service: str, method: MethodDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    def content(message: Descriptor) -> dict[str, Any]:
        return {"application/json": {"schema": _schema_of(message, schemas)}}

    return {
        "operationId": method.name,
        "tags": [service.rpartition(".")[2]],
        "parameters": [
            {
                "name": "Connect-Timeout-Ms", "in": "header", "schema": {"type": "integer", "minimum": 1},
                "description": "After how many milliseconds the caller no longer waits.",
            }
        ],
        "requestBody": {"required": True, "content": content(method.input_type)},
        "responses": {
            "200": {"description": "The answer.", "content": content(method.output_type)},
            "default": {
                "description": "A refusal; `details` has its reason.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }  # fmt: skip


def _schema_of(message: Descriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of a message, which is made if there is none."""
    if message.name not in schemas:
        made: dict[str, Any] = {"type": "object", "additionalProperties": False}
        schemas[message.name] = made
        made["properties"] = {field.json_name: _field(field, schemas) for field in message.fields}
    return {"$ref": f"#/components/schemas/{message.name}"}


def _field(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _one(kind.fields_by_name["value"], schemas)}
    if field.is_repeated:
        return {"type": "array", "items": _one(field, schemas)}
    return _one(field, schemas)


def _one(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if field.message_type is not None:
        return _schema_of(field.message_type, schemas)
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    return dict(_SIMPLE[field.cpp_type])
