"""What counts as lines of a request, by its proto: `lines`, the one `line`, or the `events` of a publisher."""

from typing import Final

from google.protobuf.descriptor_pool import Default

_FIELDS: Final = ("lines", "line", "events")
_TEXT: Final = 2  # the wire type of a message


def line_tag(service: str, method: str) -> int:
    """The tag of the lines of a method's request as it is encoded, 0 for a request without lines."""
    fields = Default().FindServiceByName(service).methods_by_name[method].input_type.fields_by_name
    found = next((fields[name] for name in _FIELDS if name in fields), None)
    return 0 if found is None else found.number << 3 | _TEXT
