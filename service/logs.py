"""How every process logs: one line an event, as text or as JSON, with UTC time and the correlation id of its exchange.

A line goes to standard error; whoever runs the server collects it. Two formats say the same: text for a person, JSON
for a machine that searches.
"""

import json
import logging
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)
EXCHANGE: ContextVar[str] = ContextVar("pricegrid_exchange", default="")
"""The correlation id of the call that this thread carries out, '' for none."""
TRACE: ContextVar[str] = ContextVar("pricegrid_trace", default="")
"""The id of its trace, '' where it has none."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a server logs."""

    format: str = TEXT
    """One of `FORMATS`."""
    access_one_in: int = 0
    """Every how many answered calls of a process one is logged; 0: none."""


class LineFormatter(logging.Formatter):
    """What both formats know of a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process


class TextFormatter(LineFormatter):
    """`2026-11-28T20:15:00.123Z INFO worker 4711 message, correlation id web-17`."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        message, exchange = record.getMessage(), _exchange(record)
        if exchange and exchange not in message:
            message = f"{message}, correlation id {exchange}"
        if trace := TRACE.get():
            message = f"{message}, trace {trace}"
        line = f"{_time(record)} {record.levelname} {self.process} {record.process} {message}"
        error = _error(record)
        return f"{line}\n{error}" if error else line


class JsonFormatter(LineFormatter):
    """One JSON object: time, level, process, pid, message; correlation_id, trace_id, error and the fields of the line,
    if any."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "process": self.process,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if exchange := _exchange(record):
            line["correlation_id"] = exchange
        if trace := TRACE.get():
            line["trace_id"] = trace
        line.update(getattr(record, "fields", {}))
        if error := _error(record):
            line["error"] = error
        return json.dumps(line)


_FORMATTERS: Final[Mapping[str, type[LineFormatter]]] = {TEXT: TextFormatter, JSON: JsonFormatter}


def begin_logging(process: str, log_format: str) -> None:
    """Begins to log to standard error, in the name of this process; nothing if somebody else logs already."""
    handler = logging.StreamHandler()
    handler.setFormatter(_FORMATTERS[log_format](process))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def of_exchange(correlation_id: str, **fields: object) -> dict[str, Any]:
    """The `extra` of a line about a call; `fields` are members of their own in JSON."""
    return {"correlation_id": correlation_id, "fields": fields}


def _exchange(record: logging.LogRecord) -> str:
    return getattr(record, "correlation_id", "") or EXCHANGE.get()


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _error(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return "".join(traceback.format_exception(*record.exc_info)).rstrip()
