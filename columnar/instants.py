"""Instants: int64 microseconds since 1970-01-01T00:00Z (`..._us`), as datetimes, local days and text."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo  # a command that asks a server needs none, and it takes a while to import

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL: Final = EPOCH.date().toordinal()
MICROSECOND: Final = timedelta(microseconds=1)
DAY_US: Final = 86_400_000_000


def us_of(instant: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (instant - EPOCH) // MICROSECOND


def instant_of_us(instant_us: int) -> datetime:
    """An aware datetime in UTC. Raises OverflowError outside the years 1 to 9999."""
    return EPOCH + timedelta(microseconds=instant_us)


def instant_text(instant: datetime, timespec: str = "auto") -> str:
    """An aware datetime as RFC 3339 in UTC; by default with a fraction only where there is one."""
    return instant.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def instant_us_text(instant_us: int, timespec: str = "auto") -> str:
    """The same of microseconds since the epoch. Raises OverflowError outside the years 1 to 9999."""
    return instant_text(instant_of_us(instant_us), timespec)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - EPOCH_ORDINAL


def day_date(day: int) -> date:
    """The date of a number of days since 1970-01-01."""
    return date.fromordinal(day + EPOCH_ORDINAL)


def day_start_us(day: date, zone: ZoneInfo) -> int:
    """The first instant of `day` in `zone`.

    A midnight that happens twice counts the first time; a midnight, or a whole day, that a change of the clock leaves
    out begins at the first instant after the gap, which is found by bisection.
    """
    first, second = (_midnight_us(day, zone, fold) for fold in (0, 1))
    if first <= second:
        return first
    # in a gap, and only there, the later reading (PEP 495: fold 1) is the earlier instant
    low_us, high_us = first - 2 * DAY_US, first + 2 * DAY_US
    while low_us < high_us:
        middle_us = (low_us + high_us) // 2
        if instant_of_us(middle_us).astimezone(zone).date() >= day:
            high_us = middle_us
        else:
            low_us = middle_us + 1
    return low_us


def _midnight_us(day: date, zone: ZoneInfo, fold: int) -> int:
    local = datetime.combine(day, time.min, UTC)
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0)
    return (local - EPOCH - offset) // MICROSECOND
