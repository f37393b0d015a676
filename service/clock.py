"""Clocks, and the text forms of instants.

This is the one module that reads the wall clock; all other code is passed a time or a clock.
"""

import hashlib
import re
import time
from datetime import UTC, date, datetime
from pathlib import Path

from pricegrid.columnar.instants import instant_of_us, instant_text, us_of

__all__ = [
    "created_at_us",
    "host_ns",
    "host_number",
    "host_us",
    "instant_of_us",
    "instant_text",
    "now_us",
    "number_of",
    "parse_as_of",
    "us_of",
]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def host_us() -> int:
    """Microseconds since the host booted, including suspend: the same for all its processes, and never adjusted."""
    return host_ns() // 1000


def host_ns() -> int:
    """The same in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def host_number() -> int:
    """Identifies this boot of this host; `host_us` is comparable only within one boot."""
    return number_of(Path("/proc/sys/kernel/random/boot_id").read_text())


def number_of(text: str) -> int:
    """A 63-bit hash of a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def created_at_us(snapshot_version: str) -> int:
    """When a snapshot was created, from its version `YYYYMMDDTHHMMSSZ-...`."""
    stamp = datetime.strptime(snapshot_version.partition("-")[0], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 -- the Z is UTC
    return us_of(stamp.replace(tzinfo=UTC))


def parse_as_of(text: str) -> date | datetime:
    """A date YYYY-MM-DD or an RFC 3339 instant; raises `ValueError`."""
    if _DATE.fullmatch(text):
        return date.fromisoformat(text)
    if _RFC3339.fullmatch(text):
        return datetime.fromisoformat(text.upper())
    raise ValueError(f"{text!r} is neither a date YYYY-MM-DD nor an RFC 3339 instant")
