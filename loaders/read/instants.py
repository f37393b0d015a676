"""Dates and instants of the input to int64 microseconds since the epoch, UTC (P10).

A date means its first instant in the declared zone, as `valid_to` the first instant of the next day. Only distinct
values are converted, one at a time through zoneinfo, so that changes of the clock are exact.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pricegrid.columnar.instants import MICROSECOND, day_start_us, us_of
from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.tables import Kind
from pricegrid.pricing_engine.model import NEVER_US

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))", re.ASCII
)

ZONE_MARK: Final = "|"
"""Between a date and the zone of its branch, in the keys given to `InstantReader.read`."""

Value = str | date | datetime


def time_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name; DatasetError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DatasetError(f'unknown time zone "{name}"') from error


def _local_us(local: datetime, zone: ZoneInfo) -> int:
    return (
        us_of(local.replace(tzinfo=UTC))
        - (local.replace(tzinfo=zone).utcoffset() or timedelta(0)) // MICROSECOND
    )


def _instant_us(match: re.Match[str]) -> int | None:
    day, clock, fraction, sign, hours, minutes = match.groups()
    digits = (fraction or "").ljust(6, "0")
    if digits[6:].strip("0") or (hours and (int(hours) > 23 or int(minutes) > 59)):
        return None
    local = datetime.fromisoformat(f"{day}T{clock}+00:00") + int(digits[:6]) * MICROSECOND
    offset = timedelta(hours=int(hours), minutes=int(minutes)) if hours else timedelta(0)
    return us_of(local) - (-offset if sign == "-" else offset) // MICROSECOND


class InstantReader:
    """Reads values of the date kinds; remembers each distinct value, so a column costs its distinct values once."""

    def __init__(self, zone_name: str) -> None:
        self.zone_name = zone_name
        self._zone = time_zone(zone_name)
        self._zones: dict[str, ZoneInfo] = {}
        self._known: dict[tuple[Kind, Value], int | None] = {}

    def read(self, kind: Kind, values: Iterable[Value]) -> list[int | None]:
        """Microseconds for each value, None where it can't be read. `values` hold texts, or the dates and datetimes of
        a Parquet column (a datetime without a zone is local time of the dataset's zone)."""
        known = self._known
        answer: list[int | None] = []
        for value in values:
            key = (kind, value)
            if key not in known:
                known[key] = _guarded(self._convert, kind, value)
            answer.append(known[key])
        return answer

    def _convert(self, kind: Kind, value: Value) -> int | None:
        if isinstance(value, datetime):
            if value.tzinfo is None:
                return _local_us(value, self._zone)
            return us_of(value)
        if isinstance(value, date):
            return self._day_us(kind, value, self._zone)
        text, _, zone_name = value.partition(ZONE_MARK)
        if _DATE.fullmatch(text):
            return self._day_us(kind, date.fromisoformat(text), self._named(zone_name))
        match = None if zone_name else _INSTANT.fullmatch(text)
        return None if match is None else _instant_us(match)

    def _day_us(self, kind: Kind, day: date, zone: ZoneInfo) -> int:
        if kind is not Kind.VALID_TO:
            return day_start_us(day, zone)
        # 9999-12-31 is how exports write "for ever", and the calendar of Python ends there.
        return NEVER_US if day == date.max else day_start_us(day + timedelta(days=1), zone)

    def _named(self, name: str) -> ZoneInfo:
        if not name:
            return self._zone
        if name not in self._zones:
            self._zones[name] = time_zone(name)
        return self._zones[name]


def _guarded(convert: Callable[[Kind, Value], int | None], kind: Kind, value: Value) -> int | None:
    try:
        return convert(kind, value)
    except (ValueError, OverflowError):
        return None
