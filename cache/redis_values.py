"""Values that expire, in a Redis: a module of its own, since a store of one host needs none of redis-py."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final

from pricegrid.cache.io_thread import Abandoned, IoThread
from pricegrid.cache.protocol import Value
from pricegrid.cache.redis_link import Link, LinkError
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.values import (
    CLOSE_S,
    ENTRIES_MAX,
    IDLE_S,
    RETRY_S,
    Held,
    Name,
    Remembered,
    payload_of,
    valid,
)

FRESH_US: Final = 5_000_000
"""How long a value that was read from Redis is used without reading it again: others may replace it."""


class RedisValueCache(Remembered):
    """Values in Redis, shared by hosts; in a cluster they spread over its nodes. Safe to use from many threads."""

    def __init__(self, options: RedisOptions, *, entries_max: int = ENTRIES_MAX) -> None:
        super().__init__(entries_max)
        self._options = options
        self._link = Link(options)
        self._reading: Future[None] | None = None
        self._io = IoThread("redis-values", self._pass_on)

    def key_named(self, owner: str, key: str) -> str:
        """The key in Redis; it includes the length of the owner to be unambiguous."""
        return f"{self._options.prefix}:value:{len(owner)}:{owner}:{key}"

    def get(self, owner: str, keys: Sequence[str], now_us: int) -> list[Value | None]:
        """The known values, and those that can be fetched within `value_budget_s`; see `ValueCache.get`."""
        names = [(owner, key) for key in keys]
        with self.lock:
            asked = [name for name in names if not self._believed(name, now_us)]
            stamp = self._stamp
        if asked:
            self._fetch_within_budget(asked, now_us, stamp)
        with self.lock:
            return [valid(self._known(name), now_us) for name in names]

    def _known(self, name: Name) -> Value | None:
        if name in self._pending:
            return self._pending[name]
        held = self._memory.get(name)
        return held.value if held else None

    def _believed(self, name: Name, now_us: int) -> bool:
        if name in self._pending:
            return True
        held = self._memory.get(name)
        return held is not None and held.value is not None and now_us - held.read_us < FRESH_US

    def _fetch_within_budget(self, names: Sequence[Name], now_us: int, stamp: int) -> None:
        reading = self._reading
        if reading is not None and not reading.done():
            return  # an abandoned read still waits for Redis: do not queue up behind it
        with contextlib.suppress(Abandoned, TimeoutError, LinkError):
            future = self._io.submit(lambda: self._fetch(names, now_us, stamp))
            try:
                future.result(self._options.value_budget_s)
            except TimeoutError:
                if not future.cancel():
                    self._reading = future

    def _fetch(self, names: Sequence[Name], now_us: int, stamp: int) -> None:
        keys = [self.key_named(*name) for name in names]
        replies = self._link.run_each([(key, ("GET", key)) for key in keys])
        with self.lock:
            for name, reply in zip(names, replies, strict=True):
                held = self._memory.get(name)
                if isinstance(reply, Exception) or (held is not None and held.stamp > stamp):
                    continue
                value = self._compared(name, reply)
                if value is not None:
                    self._remember(name, Held(value, now_us, stamp))
                elif held is not None:
                    del self._memory[name]

    def _pass_on(self) -> float:
        items = self._taken()
        if not items:
            return IDLE_S
        try:
            replies = self._link.run_each([self._command(name, value) for name, value in items.items()])
        except LinkError:
            return max(self._link.retry_in_s, 0.01)
        done = zip(items.items(), replies, strict=True)
        self._passed_on(dict(item for item, reply in done if not isinstance(reply, Exception)))
        return RETRY_S if any(isinstance(reply, Exception) for reply in replies) else IDLE_S

    def _command(self, name: Name, value: Value | None) -> tuple[str, tuple[Any, ...]]:
        key = self.key_named(*name)
        if value is None:
            return key, ("DEL", key)
        # Redis' own expiry is for cleaning up only: `expires_us` decides.
        kept_ms = max(1, -(-(value.expires_us - value.stored_at_us) // 1000))
        return key, ("SET", key, payload_of(value), "PX", kept_ms)

    def close(self) -> None:
        """See `ValueCache.close`."""
        with contextlib.suppress(Abandoned):
            self._io.call(self._pass_on, CLOSE_S)
        if self._io.close(CLOSE_S):
            self._link.close()
