"""Validation that requests have in common, made once when they are decoded; failures raise `RequestRefusedError`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from pricegrid import v1
from pricegrid.columnar.instants import day_date, day_number, day_start_us
from pricegrid.pricing_engine.kernels.price import NO_AS_OF
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.pricing_engine.model import ALWAYS_US
from pricegrid.service.codec.scan_kernel import FIRST_DAY
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import BRANCHES_MAX, FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX

FIELDS_MAX: Final = 2 * LINES_MAX
"""Fields of a message that the runtime is asked to decode; more than any valid request has."""
_TEXT = 2  # the wire type of texts and messages
_VARINT_BYTES_MAX = 10
_SECONDS_MIN = -62_135_596_800  # 0001-01-01T00:00:00Z
_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z

AsOfRequest = (
    v1.PriceLine
    | v1.PriceLinesRequest
    | v1.ExplainPriceRequest
    | v1.CheckAvailabilityRequest
    | v1.PromiseOrderRequest
    | v1.QuoteLinesRequest
    | v1.ValidateOrderRequest
)


class LineMessage(Protocol):
    """A line of any request."""

    @property
    def sku(self) -> str:
        """The item's name."""

    @property
    def quantity_micros(self) -> int:
        """In 10^-6 of the unit."""

    @property
    def uom(self) -> str:
        """The unit; '' for the base unit."""


BLANKS = " \t"
"""The characters that names are trimmed of, in requests as in tables (`loaders.read.columns`)."""


NAMES = frozenset({"customer_id", "currency", "branch", "ship_to", "sku", "uom", "order_ref", "order_line"})
"""Fields with names of the dataset, which are trimmed; ids and keys are not."""


def trimmed(name: str) -> str:
    """A name as the loader reads it, without outer blanks."""
    return name.strip(BLANKS)


def trim_names(message: Message, *fields: str) -> None:
    """Trims those of the fields that hold names."""
    for field in NAMES.intersection(fields):
        name = getattr(message, field)
        if name != trimmed(name):
            setattr(message, field, trimmed(name))


def parse(request: Message, raw: bytes) -> None:
    """Decodes a request from its bytes; one that is stuffed with fields is refused before the runtime makes objects."""
    tags = _repeated_tags(request.DESCRIPTOR)
    if len(raw) > 2 * FIELDS_MAX and sum(map(raw.count, tags)) > FIELDS_MAX:
        _check_field_count(request, raw)
    try:
        request.ParseFromString(raw)
    except DecodeError as error:
        raise RequestRefusedError(
            Reason.MALFORMED_REQUEST, f"the request is not a valid {request.DESCRIPTOR.name}"
        ) from error


@cache
def _repeated_tags(message: Descriptor) -> tuple[bytes, ...]:
    """The first byte of the tags of repeated fields, in the shortest form and in longer ones."""
    numbers = [field.number for field in message.fields if field.is_repeated]
    tags = [number << 3 | _TEXT for number in numbers]
    return tuple(bytes([tag & 127 | more]) for tag in tags for more in (0, 128))


def _check_field_count(request: Message, raw: bytes) -> None:
    """Refuses more fields at the top level than `FIELDS_MAX`; stops counting there."""
    lines = request.DESCRIPTOR.fields_by_name.get("lines")
    line_count = 0
    for count, tag in enumerate(top_level_tags(raw), start=1):
        line_count += lines is not None and tag >> 3 == lines.number
        if count > FIELDS_MAX:
            if line_count > LINES_MAX:
                check_line_count(line_count)
            raise RequestRefusedError(
                Reason.MALFORMED_REQUEST, f"the request has more than {FIELDS_MAX} fields"
            )


def top_level_tags(raw: bytes) -> Iterator[int]:
    """The tag of each field at the top level of a message, up to what is none: the runtime says what that is."""
    at = 0
    try:
        while at < len(raw):
            tag, at = _varint(raw, at)
            yield tag
            match tag & 7:
                case 0:
                    _, at = _varint(raw, at)
                case 1:
                    at += 8
                case 2:
                    length, at = _varint(raw, at)
                    at += length
                case 5:
                    at += 4
                case _:
                    return  # a group, which no message has
    except IndexError:
        return  # cut short, or no number


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """(value, start of what follows) of the number at `at`; IndexError beyond its tenth byte, or the end."""
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = raw[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise IndexError


def check_line_count(count: int) -> None:
    """Refuses requests without lines or with too many."""
    if not count:
        raise RequestRefusedError(Reason.NO_LINES, "the request has no lines")
    if count > LINES_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_LINES,
            f"{count} lines in one request; at most {LINES_MAX}",
            lines=str(count),
            lines_max=str(LINES_MAX),
        )


def check_fields(request: Message, *fields: str) -> None:
    """Trims the names among the fields, and refuses texts that are too long."""
    trim_names(request, *fields)
    for field in fields:
        if len(getattr(request, field).encode()) > FIELD_BYTES_MAX:
            raise RequestRefusedError(
                Reason.FIELD_TOO_LONG, f"{field} is longer than {FIELD_BYTES_MAX} bytes", field=field
            )


def line_columns(lines: Sequence[LineMessage]) -> LineColumns:
    """The lines as columns; refuses names that are too long."""
    skus = [trimmed(line.sku).encode() for line in lines]
    uoms = [trimmed(line.uom).encode() for line in lines]
    _check_lengths("sku", skus, SKU_BYTES_MAX, Reason.SKU_TOO_LONG)
    _check_lengths("uom", uoms, UOM_BYTES_MAX, Reason.UOM_TOO_LONG)
    quantities = np.fromiter((line.quantity_micros for line in lines), np.int64, len(lines))
    return LineColumns(skus, quantities, uoms)


def price_line_columns(lines: Sequence[v1.PriceLine]) -> LineColumns:
    """The same with the instants of the lines (P20), those of dates as the scanner writes them."""
    columns = line_columns(lines)
    if not any(line.WhichOneof("as_of") for line in lines):
        return columns
    return columns.at(np.array([_line_as_of(index, line) for index, line in enumerate(lines)], np.int64))


def dated_lines(lines: LineColumns, time_zone: str) -> LineColumns:
    """The lines with an instant where they have a date: its first in the dataset's time zone."""
    if lines.as_of_us is None:
        return lines
    is_day = (lines.as_of_us != NO_AS_OF) & (lines.as_of_us < ALWAYS_US)
    if not is_day.any():
        return lines
    zone, as_of_us = ZoneInfo(time_zone), lines.as_of_us.copy()
    days, places = np.unique(as_of_us[is_day] - FIRST_DAY, return_inverse=True)
    starts = [day_start_us(day_date(day), zone) for day in days.tolist()]
    as_of_us[is_day] = np.array(starts, np.int64)[places]
    return lines.at(as_of_us)


def _line_as_of(index: int, line: v1.PriceLine) -> int:
    try:
        found = as_of(line)
    except RequestRefusedError as error:
        raise RequestRefusedError(
            error.reason, f"lines[{index}]: {error.message}", index=str(index)
        ) from None
    if found is None:
        return NO_AS_OF
    return found if isinstance(found, int) else FIRST_DAY + day_number(found)


def _check_lengths(field: str, values: list[bytes], bytes_max: int, reason: Reason) -> None:
    if max(map(len, values)) <= bytes_max:
        return
    index = next(i for i, value in enumerate(values) if len(value) > bytes_max)
    message = f"{field} of lines[{index}] has {len(values[index])} bytes; at most {bytes_max}"
    raise RequestRefusedError(reason, message, index=str(index), bytes_max=str(bytes_max))


def branch_names(branches: Iterable[str]) -> tuple[bytes, ...]:
    """The branches of a request, in order, without repetitions."""
    names = tuple(dict.fromkeys(trimmed(branch).encode() for branch in branches))
    if len(names) > BRANCHES_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_BRANCHES, f"{len(names)} branches in one request; at most {BRANCHES_MAX}"
        )
    if any(len(name) > FIELD_BYTES_MAX for name in names):
        raise RequestRefusedError(
            Reason.FIELD_TOO_LONG, f"a branch is longer than {FIELD_BYTES_MAX} bytes", field="branches"
        )
    return names


def as_of(request: AsOfRequest) -> int | date | None:
    """`as_of` of a request or a line: microseconds since the epoch, a date, or None for now."""
    match request.WhichOneof("as_of"):
        case "as_of_time":
            stamp = request.as_of_time
            if not (_SECONDS_MIN <= stamp.seconds <= _SECONDS_MAX and 0 <= stamp.nanos <= 999_999_999):
                raise RequestRefusedError(
                    Reason.INVALID_AS_OF, "as_of_time is not an instant of the years 0001 to 9999"
                )
            return stamp.seconds * 1_000_000 + stamp.nanos // 1000
        case "as_of_date":
            day = parse_date(request.as_of_date)
            if day is None:
                raise RequestRefusedError(Reason.INVALID_AS_OF, "as_of_date is not a date YYYY-MM-DD")
            return day
        case _:
            return None


def optional_date(field: str, text: str) -> date | None:
    """An optional date, None for ''."""
    day = parse_date(text) if text else None
    if text and day is None:
        raise RequestRefusedError(Reason.INVALID_DATE, f"{field} is not a date YYYY-MM-DD", field=field)
    return day


def parse_date(text: str) -> date | None:
    """A date YYYY-MM-DD, None for anything else."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.isoformat() == text else None  # fromisoformat also accepts week dates and YYYYMMDD
