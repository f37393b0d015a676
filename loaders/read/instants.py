"""Dates and instants of the input to int64 microseconds since the epoch, UTC (P10).

A date means its first instant in the declared zone, as `valid_to` the first instant of the next day. Only distinct
values are converted, one at a time through zoneinfo, so that changes of the clock are exact.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.tables import Kind
from pricegrid.pricing_engine.model import NEVER_US

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001, local times are subtracted from it
_MICROSECOND = timedelta(microseconds=1)
_DAY_US: Final = 86_400_000_000

ZONE_MARK: Final = "|"
"""Between a date and the zone of its branch, in the keys given to `InstantReader.read`."""

Value = str | date | datetime


def time_zone(name: str) -> ZoneInfo:
    """The zone of that IANA name; DatasetError if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DatasetError(f'unknown time zone "{name}"') from error


def day_start_us(day: date, zone: ZoneInfo) -> int:
    """The first instant of `day` in `zone`. A midnight that happens twice counts the first time; a midnight, or a
    whole day, that a change of the clock leaves out begins at the first instant after the gap."""
    local = datetime.combine(day, time.min)
    start_us = _local_us(local, zone)
    if not _is_gap(local, zone):
        return start_us
    low_us, high_us = start_us - 2 * _DAY_US, start_us + 2 * _DAY_US
    while low_us < high_us:
        middle_us = (low_us + high_us) // 2
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=middle_us)
        if instant.astimezone(zone).date() >= day:
            high_us = middle_us
        else:
            low_us = middle_us + 1
    return low_us


def _local_us(local: datetime, zone: ZoneInfo) -> int:
    offset = local.replace(tzinfo=zone).utcoffset() or timedelta(0)
    return (local - _EPOCH - offset) // _MICROSECOND


def _is_gap(local: datetime, zone: ZoneInfo) -> bool:
    """PEP 495: in a gap, and only there, the offset of fold 0 is less than that of fold 1."""
    first = local.replace(tzinfo=zone).utcoffset() or timedelta(0)
    second = local.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
    return first < second


def _instant_us(match: re.Match[str]) -> int | None:
    day, clock, fraction, sign, hours, minutes = match.groups()
    digits = (fraction or "").ljust(6, "0")
    if digits[6:].strip("0") or (hours and (int(hours) > 23 or int(minutes) > 59)):
        return None
    local = datetime.fromisoformat(f"{day}T{clock}") + int(digits[:6]) * _MICROSECOND
    offset = timedelta(hours=int(hours), minutes=int(minutes)) if hours else timedelta(0)
    return (local - _EPOCH - (-offset if sign == "-" else offset)) // _MICROSECOND


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
            return (value - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
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
