"""Live state's link to the servers it is shared with: since when it is lost, and what a caller is told of that."""

import logging
from collections.abc import Callable, Iterator
from typing import Final

from pricegrid.cache.protocol import CacheError, CommitUnknownError, Health, StateCache
from pricegrid.service.errors import Reason, RequestRefusedError

REPEAT_LOG_US: Final = 60_000_000

_log = logging.getLogger(__name__)


class LiveLink:
    """The cache as far as others stand behind it."""

    def __init__(self, cache: StateCache, now_us: Callable[[], int]) -> None:
        self._cache = cache
        self._now_us = now_us
        self._lost_us = 0
        self._last_log: tuple[str, int] = ("", 0)

    def lost_us(self) -> int:
        """Since when what others did can't be known to be here; 0: it is, as soon as the cache's changes so far are
        followed."""
        self._lost_us = 0 if self._cache.health is Health.OK else (self._lost_us or self._now_us())
        return self._lost_us

    def waiting(self) -> Iterator[bytes]:
        """Messages that are acknowledged and not told to the others yet."""
        for notes in self._cache.waiting():
            yield from notes

    def refusal(self, error: CacheError) -> RequestRefusedError:
        """What the caller gets. The texts of these errors name files, addresses and users: they go into the log, the
        same once a minute."""
        text, now_us = str(error), self._now_us()
        if text != self._last_log[0] or now_us - self._last_log[1] >= REPEAT_LOG_US:
            self._last_log = text, now_us
            _log.warning("a request is refused: %s", text)
        if isinstance(error, CommitUnknownError):
            return RequestRefusedError(
                Reason.LIVE_STATE_UNAVAILABLE,
                "no word came in time on what was asked; ask for the same again, it may have been carried out",
            )
        return RequestRefusedError(
            Reason.LIVE_STATE_UNAVAILABLE,
            "live state can't be changed now, and was not; ask for the same again",
        )


def busy() -> RequestRefusedError:
    """Every try met somebody who was faster."""
    return RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "others were faster each time; ask again")
