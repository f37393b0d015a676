"""Local days and working days as arrays, worked out once for a branch and an as_of day (A5)."""

from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.model import CALENDAR_EXTRA_DAYS
from pricegrid.columnar import instants
from pricegrid.columnar.instants import DAY_US, day_date, day_number, instant_of_us

OUT_OF_REACH: Final = 2**30
"""Stands for a working day past the calendar's end; greater than any day offset."""


def local_moment(instant_us: int, time_zone: str) -> tuple[int, int]:
    """(local day since 1970-01-01, seconds since local midnight by the wall clock)."""
    local = instant_of_us(instant_us).astimezone(ZoneInfo(time_zone))
    return day_number(local.date()), local.hour * 3600 + local.minute * 60 + local.second


@lru_cache(maxsize=100_000)
def day_start_us(day: int, time_zone: str) -> int:
    """`columnar.instants.day_start_us` of a day since 1970-01-01."""
    return instants.day_start_us(day_date(day), ZoneInfo(time_zone))


def local_days(instants_us: NDArray[np.int64], time_zone: str) -> NDArray[np.int32]:
    """The local day (since 1970-01-01) of each instant, by the instants of local midnights."""
    if time_zone == "UTC" or not len(instants_us):
        return (instants_us // DAY_US).astype(np.int32)
    guesses = (instants_us // DAY_US).astype(np.int64)
    result = guesses.astype(np.int32)
    days, place = np.unique(guesses, return_inverse=True)
    start = np.array([day_start_us(int(day), time_zone) for day in days], dtype=np.int64)
    after = np.array([day_start_us(int(day) + 1, time_zone) for day in days], dtype=np.int64)
    result -= (instants_us < start[place]).astype(np.int32)
    result += (instants_us >= after[place]).astype(np.int32)
    return result


def working_days(
    first_day: int,
    count: int,
    weekdays: NDArray[np.bool_],
    dates: NDArray[np.int32],
    working: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which of `count` days from `first_day` are worked: seven weekdays (Monday first), then sorted exceptions."""
    span = np.arange(first_day, first_day + count)
    worked: NDArray[np.bool_] = weekdays[(span + 3) % 7].copy()
    inside = (dates >= first_day) & (dates < first_day + count)
    worked[dates[inside] - first_day] = working[inside]
    return worked


def add_working(worked: NDArray[np.bool_], offsets: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The `count`-th worked day after each offset, the offset itself for 0; OUT_OF_REACH past the end."""
    if count == 0:
        return np.where(offsets < len(worked), offsets, OUT_OF_REACH)
    places = np.flatnonzero(worked)
    rank = np.searchsorted(places, offsets, side="right") + count - 1
    padded = np.append(places, OUT_OF_REACH)
    return padded[np.minimum(rank, len(places))]


def calendar_days(horizon_days: int) -> int:
    """Days from the as_of day on over which working days are counted."""
    return horizon_days + CALENDAR_EXTRA_DAYS
