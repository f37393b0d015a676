"""What must be in no log: tokens, keys, passwords, and a price beside a customer."""

import json
import logging
import re
from collections.abc import Iterable

from pricegrid.service.logs import JsonFormatter

SECRET = re.compile(
    r"eyJ[\w-]{6,}\.[\w-]{6,}"  # a JWT
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|rediss?://[^@\s/]*:[^@\s/]+@"
    r"|\bpassword\s*[=:]\s*\S",
    re.IGNORECASE,
)
CUSTOMER = re.compile(r"\bC-?\d{1,6}\b|\bcustomer\W+(?!id\b)[\w-]*\d", re.IGNORECASE)
PRICE = re.compile(r"(?<![\d.:-])\d+\.\d{2,}(?![\d.]|\s*(?:s|ms|us|MB|GB|KB|%))|\b\d+\s*(?:EUR|USD|GBP)\b")
WHEN = re.compile(r"\d{4}-\d{2}-\d{2}[ T][\d:]+(?:[.,]\d+)?")


def leaks(lines: Iterable[str]) -> list[str]:
    """The lines that hold one of them."""
    found = []
    for line in lines:
        told = WHEN.sub("", plain(line))
        if SECRET.search(told) or (CUSTOMER.search(told) and PRICE.search(told)):
            found.append(line)
    return found


def plain(line: str) -> str:
    """A line of either format as text: a price in JSON would hide behind escapes, and a duration look like one."""
    try:
        members = json.loads(line)
    except ValueError:
        return line
    if not isinstance(members, dict):
        return line
    return "\n".join(f"{name} {value}" for name, value in members.items() if name != "ms")


JSON = JsonFormatter("test")


class LeakHandler(logging.Handler):
    """Keeps what leaks into the log of this process, and all that is told there."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(JSON.format(record))
        text = record.getMessage() + (str(record.exc_info[1]) if record.exc_info else "")
        self.found += leaks(text.splitlines()) or leaks([JSON.format(record)])
