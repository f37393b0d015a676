"""Live state's link to the servers that share it: since when it is lost, and what callers get meanwhile."""

import logging
from collections.abc import Callable, Iterator
from typing import Final

from pricegrid.cache.protocol import CacheError, CommitUnknownError, Health, StateCache
from pricegrid.service.errors import Reason, RequestRefusedError

REPEAT_LOG_US: Final = 60_000_000
"""The same error is logged again after this long."""

_log = logging.getLogger(__name__)


class LiveLink:
    """The shared side of a cache."""

    def __init__(self, cache: StateCache, now_us: Callable[[], int]) -> None:
        self._cache = cache
        self._now_us = now_us
        self._lost_us = 0
        self._last_log: tuple[str, int] = ("", 0)

    def lost_us(self) -> int:
        """Since when changes of others may be missing here; 0: none is, once the cache's changes so far are read."""
        self._lost_us = 0 if self._cache.health is Health.OK else (self._lost_us or self._now_us())
        return self._lost_us

    def waiting(self) -> Iterator[bytes]:
        """Messages that are acknowledged but not yet sent to the other servers."""
        for notes in self._cache.waiting():
            yield from notes

    def refusal(self, error: CacheError) -> RequestRefusedError:
        """The refusal for the caller. The text of the error names files, addresses and users, so it goes to the log
        only, once a minute if it repeats."""
        text, now_us = str(error), self._now_us()
        if text != self._last_log[0] or now_us - self._last_log[1] >= REPEAT_LOG_US:
            self._last_log = text, now_us
            _log.warning("a request is refused: %s", text)
        if isinstance(error, CommitUnknownError):
            return RequestRefusedError(
                Reason.LIVE_STATE_UNAVAILABLE,
                "the store did not confirm in time, the request may have been carried out; retry it unchanged",
            )
        return RequestRefusedError(
            Reason.LIVE_STATE_UNAVAILABLE,
            "live state can't be changed now, and was not; retry",
        )


def busy() -> RequestRefusedError:
    """Every attempt conflicted with another server."""
    return RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "too many conflicts with other servers; retry")
