"""Where hosts leave their reports for each other: a hash in Redis, a field for each host."""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from pricegrid.cache.protocol import CacheUnavailableError
from pricegrid.cache.redis_link import Link
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import key_named
from pricegrid.service.quota.limits import LEASE_TIMEOUT_S, REPORTS_KEPT_S

_HOST: Final = re.compile(rb"[0-9a-f]{16}")


class Exchange(Protocol):
    """Where reports are left and found."""

    def swap(self, host: str, report: bytes, gone: Collection[str]) -> Mapping[str, bytes]:
        """Leaves the report of `host`, removes those of hosts that are `gone`, and returns all that are there. Raises
        CacheUnavailableError."""


class RedisExchange:
    """Over a connection of its own. For one thread."""

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        # a Redis that hangs is known as soon here for the first command as for any other
        self._link = Link(
            options.with_options(command_timeout_s=LEASE_TIMEOUT_S, wait_timeout_s=LEASE_TIMEOUT_S / 2)
        )
        self._key = key_named(options.prefix, "quotas")

    def __str__(self) -> str:
        return str(self._options)

    def swap(self, host: str, report: bytes, gone: Collection[str]) -> Mapping[str, bytes]:
        """As in Exchange."""
        commands: list[tuple[Any, ...]] = [("HDEL", self._key, *gone)] if gone else []
        commands += [
            ("HSET", self._key, host, report),
            ("EXPIRE", self._key, REPORTS_KEPT_S),
            ("HGETALL", self._key),
        ]
        replies = self._link.run(self._key, commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise CacheUnavailableError(f"{self._options}: {reply}")
        found = replies[-1]
        if not isinstance(found, list):
            raise CacheUnavailableError(f"{self._options}: HGETALL returned no list")
        return MappingProxyType(
            {
                name.decode(): value
                for name, value in zip(found[::2], found[1::2], strict=False)
                if _HOST.fullmatch(name)
            }
        )

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()
