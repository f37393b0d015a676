"""The word of an operator that what a Redis has left is all there is: see docs/redis.md, "What is missing for good"."""

import json
from datetime import UTC, datetime

from pricegrid.cache.protocol import CacheUnavailableError
from pricegrid.cache.redis_link import Link
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import ACCEPT, key_named


def accept(options: RedisOptions, by: str, reason: str) -> tuple[int, int] | None:
    """Let a healing end that waits for something: how many messages and records are given up, None when none waits.

    The next server to ask ends it, and writes a record of the space `audit` with this word. Raises
    CacheUnavailableError when Redis can't be asked.
    """
    said = {"by": by, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    link = Link(options)
    key = key_named(options.prefix, "life")
    try:
        link.server(key)
        _, reply = link.run(
            key, [("SCRIPT", "LOAD", ACCEPT.source), (*ACCEPT.head(options.prefix), json.dumps(said))]
        )
    finally:
        link.close()
    if isinstance(reply, Exception):
        raise CacheUnavailableError(f"{options}: {reply}")
    return (int(reply[0]), int(reply[1])) if reply else None
