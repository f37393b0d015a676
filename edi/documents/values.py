"""Numbers and days as documents write them; exact, or refused with the reason."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

PLACES_MAX: Final = 6
_NUMBER: Final = re.compile(r"([+-]?)(\d{0,13})(?:[.,](\d{0,20}))?")
_DAY: Final = re.compile(r"\d{8}|\d{6}")


class ValueRefusedError(ValueError):
    """A value that can't be used; the message says why."""


def exact_text(text: str, what: str) -> str:
    """A decimal of at most six places as `plain` has it; both decimal signs are the standards'."""
    text = text.strip()
    found = _NUMBER.fullmatch(text)
    if not found or not (found[2] or found[3]):
        raise ValueRefusedError(f"{what} is {text!r}, no number")
    places = (found[3] or "").rstrip("0")
    if len(places) > PLACES_MAX:
        raise ValueRefusedError(f"{what} is {text!r}: more than {PLACES_MAX} decimal places")
    whole = found[2].lstrip("0") or "0"
    exact = f"{whole}.{places}" if places else whole
    return f"-{exact}" if found[1] == "-" and exact != "0" else exact


def number(text: str, what: str) -> Decimal:
    """The same as a number."""
    return Decimal(exact_text(text, what))


def plain(value: Decimal) -> str:
    """A decimal without exponent and without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def day(text: str, what: str) -> str:
    """CCYYMMDD (or YYMMDD, of this century) as a date of the dataset; what stands behind it is a time of day."""
    text = text.strip()
    digits = text[:8] if len(text) >= 8 else text
    if not _DAY.fullmatch(digits):
        raise ValueRefusedError(f"{what} is {text!r}, no date")
    if len(digits) == 6:
        digits = "20" + digits
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        raise ValueRefusedError(f"{what} is {text!r}, no date") from None


def instant(day_text: str, time_text: str, zone: str, what: str) -> str:
    """A day and HHMM or HHMMSS in a time zone as an instant in UTC; without a time the day alone."""
    found = day(day_text, what)
    digits = time_text.strip()[:6]
    if not digits:
        return found
    if not (digits.isascii() and digits.isdecimal() and len(digits) in {4, 6}):
        raise ValueRefusedError(f"{what} has the time {time_text!r}")
    hour, minute, second = int(digits[:2]), int(digits[2:4]), int(digits[4:] or "0")
    try:
        begin = datetime.fromisoformat(found).replace(
            hour=hour, minute=minute, second=second, tzinfo=ZoneInfo(zone)
        )
    except ValueError:
        raise ValueRefusedError(f"{what} has the time {time_text!r}") from None
    return begin.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
