"""Lets an operator accept that data missing in Redis is lost: see docs/redis.md, "What is missing for good"."""

import json
from datetime import UTC, datetime

from pricegrid.cache.protocol import CacheUnavailableError
from pricegrid.cache.redis_link import Link
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import ACCEPT, key_named


def accept(options: RedisOptions, by: str, reason: str) -> tuple[int, int] | None:
    """End a healing that waits for missing data. Returns how many messages and records are given up, None when no
    healing waits.

    The next server to ask ends the healing, and writes a record to the space `audit`. Raises CacheUnavailableError when
    Redis is unreachable.
    """
    word = {"by": by, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    link = Link(options)
    key = key_named(options.prefix, "life")
    try:
        link.server(key)
        _, reply = link.run(
            key, [("SCRIPT", "LOAD", ACCEPT.source), (*ACCEPT.head(options.prefix), json.dumps(word))]
        )
    finally:
        link.close()
    if isinstance(reply, Exception):
        raise CacheUnavailableError(f"{options}: {reply}")
    return (int(reply[0]), int(reply[1])) if reply else None
