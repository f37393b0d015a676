"""A consumer of a Redis stream in a group: it delivers entries, which the caller applies and then acknowledges.

Delivery is at least once. An entry that was not acknowledged is delivered again: after a lost connection, from a
consumer of the group that died (XAUTOCLAIM), after a failover that lost acknowledgements; and all entries are when the
group itself was lost. The caller must recognise duplicates, which sequence numbers do (A10).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from pricegrid.cache.mirror import ordered
from pricegrid.cache.redis_link import Link, LinkError
from pricegrid.cache.redis_options import RedisOptions

CLAIM_IDLE_MS: Final = 30_000
"""Entries that a consumer has not acknowledged for this long may be claimed by another."""

StreamEntry = tuple[str, Mapping[bytes, bytes]]
"""(stream id, fields)"""


class EventStream:
    """The entries of one stream for one consumer. For one thread."""

    def __init__(
        self,
        options: RedisOptions,
        stream: str,
        group: str,
        consumer: str,
        *,
        after: str = "0",
        claim_idle_ms: int = CLAIM_IDLE_MS,
    ) -> None:
        """`after`: the id of the last applied entry, after which a new group begins."""
        self._options = options
        self._link = Link(options)
        self._stream, self._group, self._consumer = stream, group, consumer
        self._claim_idle_ms = claim_idle_ms
        self._own_after = "0"
        self._own_read = False
        self._claim_from = "0-0"
        self._claimed_last = False
        self.last_id = after
        """The highest id acknowledged so far."""

    def read(self, limit: int, wait_s: float = 0.0) -> list[StreamEntry]:
        """The next entries, oldest first: those delivered to this consumer before and not acknowledged, those of dead
        consumers, then new ones, for which it waits. Raises CacheUnavailableError when Redis is unreachable; call
        again."""
        try:
            return self._read(limit, min(wait_s, self._options.command_timeout_s / 2))
        except LinkError:
            self._own_after, self._own_read = "0", False
            raise

    def _read(self, limit: int, wait_s: float) -> list[StreamEntry]:
        if not self._own_read:
            own = self._group_read(limit, self._own_after, 0)
            if own:
                self._own_after = own[-1][0]
                return [entry for entry in own if entry[1]]
            self._own_read = True
        # Alternate, so that entries that always fail do not block new ones.
        self._claimed_last = not self._claimed_last
        claimed = self._claimed(limit) if self._claimed_last else []
        return claimed or self._group_read(limit, ">", wait_s)

    def _group_read(self, limit: int, after: str, wait_s: float) -> list[StreamEntry]:
        block = ("BLOCK", max(1, round(wait_s * 1000))) if wait_s else ()
        head = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", limit)
        reply = self._asked((*head, *block, "STREAMS", self._stream, after))
        return _entries(reply[0][1]) if reply else []

    def _claimed(self, limit: int) -> list[StreamEntry]:
        command = (
            "XAUTOCLAIM",
            self._stream,
            self._group,
            self._consumer,
            self._claim_idle_ms,
            self._claim_from,
        )
        reply = self._asked((*command, "COUNT", limit))
        if not reply:
            return []
        self._claim_from = reply[0].decode()
        return _entries(reply[1])

    def _asked(self, command: Sequence[Any]) -> Any:
        """The reply to a command; creates the group if it does not exist."""
        (reply,) = self._link.run(self._stream, [command])
        if isinstance(reply, ResponseError) and str(reply).startswith("NOGROUP"):
            self._make_group()
            (reply,) = self._link.run(self._stream, [command])
        if isinstance(reply, Exception):
            raise LinkError(f"{self._options}: {reply}", sent=True)
        return reply

    def _make_group(self) -> None:
        (newest,) = self._link.run(self._stream, [("XREVRANGE", self._stream, "+", "-", "COUNT", 1)])
        known = (
            isinstance(newest, list) and newest and ordered(newest[0][0].decode()) >= ordered(self.last_id)
        )
        # A stream that ends before the last applied entry is a new one: begin at its start.
        begin = self.last_id if known else "0"
        (reply,) = self._link.run(
            self._stream, [("XGROUP", "CREATE", self._stream, self._group, begin, "MKSTREAM")]
        )
        if isinstance(reply, Exception) and not str(reply).startswith("BUSYGROUP"):
            raise LinkError(f"{self._options}: {reply}", sent=True)

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Acknowledge entries whose effects are durable. Raises CacheUnavailableError: they will be delivered again."""
        if not ids:
            return
        (reply,) = self._link.run(self._stream, [("XACK", self._stream, self._group, *ids)])
        if isinstance(reply, Exception):
            raise LinkError(f"{self._options}: {reply}", sent=True)
        self.last_id = max(self.last_id, *ids, key=ordered)

    def close(self) -> None:
        """Close the connection; entries that were not acknowledged will be delivered again."""
        self._link.close()


def _entries(reply: Sequence[Any]) -> list[StreamEntry]:
    # Redis 6 returns a claimed entry that was deleted meanwhile as nil, and a pending one without fields.
    return [
        (entry[0].decode(), dict(zip(entry[1][::2], entry[1][1::2], strict=True)) if entry[1] else {})
        for entry in reply
        if entry
    ]
