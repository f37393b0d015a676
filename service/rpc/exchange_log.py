"""What the log says of calls: answered ones by sampling, refused ones as far as they are not too many.

Neither line has a price, a token or a customer: who called, what, how it ended and the id by which it is found.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from pricegrid.service.codec.request import top_level_tags
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.logs import of_exchange
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.response import Response

_BESIDE: Final = frozenset({"GAP", "RESTART"})
"""What events are counted under beside their outcome."""
REFUSALS_S: Final = 1.0
"""A refusal of a method is logged once in that time; how many more there were goes with the next line."""

_log = logging.getLogger(__name__)


class AccessLog:
    """Logs one in so many answered calls; safe to use from many threads."""

    def __init__(self, one_in: int, tags: Mapping[str, int]) -> None:
        self._one_in = one_in
        self._tags = tags
        """By method, the tag of the lines of its request."""
        self._calls = itertools.count()

    def answered(self, method: str, response: Response, raw: bytes, seconds: float, caller: Caller) -> None:
        """A call was answered; `raw` is its request."""
        if next(self._calls) % self._one_in:
            return
        lines, ms = self._lines(method, response, raw), round(seconds * 1e3, 3)
        by = f" by {caller.subject}" if caller.subject else ""
        fields = {"subject": caller.subject} if caller.subject else {}
        _log.info(
            "%s OK: %d lines in %s ms%s",
            method,
            lines,
            ms,
            by,
            extra=of_exchange(
                caller.correlation_id, method=method, status="OK", lines=lines, ms=ms, **fields
            ),
        )

    def _lines(self, method: str, response: Response, raw: bytes) -> int:
        if response.events is not None:  # of a stream, whose messages are gone
            return sum(count for outcome, count in response.events.items() if outcome not in _BESIDE)
        tag = self._tags[method]
        return sum(each == tag for each in top_level_tags(raw)) if tag else 0


class RefusalLog:
    """Logs refusals, of each method and reason one a second: a flood of them must not fill a disk."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._due_s: dict[tuple[str, Reason], float] = {}
        self._unsaid: dict[tuple[str, Reason], int] = {}

    def refused(self, method: str, refused: RequestRefusedError, caller: Caller) -> None:
        """A call was refused."""
        key, now_s = (method, refused.reason), self._clock_s()
        with self._lock:
            if now_s < self._due_s.get(key, 0.0):
                self._unsaid[key] = self._unsaid.get(key, 0) + 1
                return
            self._due_s[key] = now_s + REFUSALS_S
            unsaid = self._unsaid.pop(key, 0)
        by = f" by {caller.subject}" if caller.subject else ""
        more = f" ({unsaid} more since the last line)" if unsaid else ""
        fields: dict[str, object] = {"method": method, "status": str(refused.reason)}
        if caller.subject:
            fields["subject"] = caller.subject
        if unsaid:
            fields["more"] = unsaid
        _log.info(
            "%s refused: %s%s%s",
            method,
            refused.reason,
            by,
            more,
            extra=of_exchange(caller.correlation_id, **fields),
        )
