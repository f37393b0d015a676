"""Messages as JSON, by the protobuf JSON mapping: read strictly, so that no digit of a number is lost on the way.

The runtime takes a whole number that is written with a fraction or an exponent through a binary float. Here such a
number is refused, and every fault is named by its place.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

DEPTH_MAX: Final = 32
"""Of objects within each other."""
_WHOLE: Final = re.compile(r"-?[0-9]+", re.ASCII)
_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


class JsonError(ValueError):
    """What is wrong, and where."""


def read(raw: bytes, kind: Callable[[], Any]) -> Any:
    """The message of that kind; raises JsonError."""
    message = kind()
    try:
        found = json.loads(raw, object_pairs_hook=_object)
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except ValueError as error:  # JsonError, and what is no JSON or no UTF-8
        raise JsonError(str(error)) from None
    if not isinstance(found, dict):
        raise JsonError("it is no object")
    _check(found, message.DESCRIPTOR, "", DEPTH_MAX)
    try:
        return json_format.ParseDict(found, message, max_recursion_depth=DEPTH_MAX)
    except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
        raise JsonError(str(error)) from None


def written(message: Any) -> bytes:
    """A message as JSON."""
    return dumped(json_format.MessageToDict(message))


def dumped(found: object) -> bytes:
    """JSON without blanks."""
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise JsonError(f"{next(name for name in names if names.count(name) > 1)} stands twice in an object")
    return found


def _check(found: Mapping[str, Any], kind: Descriptor, place: str, depth: int) -> None:
    if not depth:
        raise JsonError("it is nested too deeply")
    fields = {name: field for field in kind.fields for name in (field.json_name, field.name)}
    for name, value in found.items():
        here, field = f"{place}{name}", fields.get(name)
        if field is None:
            raise JsonError(f"{here}: {kind.name} has no such field")
        if value is None:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            if not isinstance(value, dict):
                raise JsonError(f"{here} is no object")
            for key, each in value.items():
                _check_one(each, field.message_type.fields_by_name["value"], f"{here}.{key}", depth)
        elif field.is_repeated:
            if not isinstance(value, list):
                raise JsonError(f"{here} is no list")
            for at, each in enumerate(value):
                _check_one(each, field, f"{here}[{at}]", depth)
        else:
            _check_one(value, field, here, depth)


def _check_one(value: object, field: FieldDescriptor, here: str, depth: int) -> None:
    if field.cpp_type in _INTEGERS:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole and not (isinstance(value, str) and _WHOLE.fullmatch(value)):
            raise JsonError(f"{here} is no whole number, such as 1500000 or its text")
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if not isinstance(value, str):
            raise JsonError(f"{here} is no text")
    elif field.message_type is not None and not field.message_type.full_name.startswith("google.protobuf."):
        if not isinstance(value, dict):
            raise JsonError(f"{here} is no object")
        _check(value, field.message_type, f"{here}.", depth - 1)
