"""Business dates of an ERP."""

from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pricegrid.columnar.instants import instant_of_us, us_of

_MIN_US: Final = us_of(datetime(1, 1, 2, tzinfo=UTC))
_MAX_US: Final = us_of(datetime(9999, 12, 30, tzinfo=UTC))


def business_date(instant_us: int, zone: ZoneInfo) -> date:
    """The date of an instant in a zone, clamped to the calendar's first and last day."""
    return instant_of_us(min(max(instant_us, _MIN_US), _MAX_US)).astimezone(zone).date()
