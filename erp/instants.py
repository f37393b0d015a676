"""Business dates of an ERP, and the instants at which they begin."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MIN_US: Final = (datetime(1, 1, 2, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MAX_US: Final = (datetime(9999, 12, 30, tzinfo=UTC) - _EPOCH) // _MICROSECOND


def business_date(instant_us: int, zone: ZoneInfo) -> date:
    """The date of an instant in a zone, clamped to the calendar's first and last day."""
    instant = _EPOCH + min(max(instant_us, _MIN_US), _MAX_US) * _MICROSECOND
    return instant.astimezone(zone).date()


def first_instant_us(day: date, zone: ZoneInfo) -> int:
    """When a date begins in a zone; if a clock change skips midnight, at the clock change."""
    return (datetime.combine(day, time.min, zone).astimezone(UTC) - _EPOCH) // _MICROSECOND


def instant_us(instant: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (instant - _EPOCH) // _MICROSECOND
