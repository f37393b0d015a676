"""A consumer of a Redis stream in a group: entries are handed out, applied by the caller, then acknowledged.

Every entry is handed out at least once. It comes again when it was not acknowledged: after a lost connection, from a
consumer of the group that died (XAUTOCLAIM), after a failover that lost acknowledgements, and from its beginning when
the group itself was lost. Whoever applies it must know what was applied before: sequences do (A10).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from pricegrid.cache.mirror import ordered
from pricegrid.cache.redis_link import Link, LinkError
from pricegrid.cache.redis_options import RedisOptions

CLAIM_IDLE_MS: Final = 30_000
"""Entries that a consumer has held so long without acknowledging them are another's."""

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
        """`after`: the id of the last entry that was applied, where a group that does not exist yet begins."""
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
        """The next entries, oldest first: what this consumer was given before and did not acknowledge, what a dead one
        left, then new ones, for which it waits. CacheUnavailableError when Redis can't be asked: call again."""
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
        # In turns: entries that nobody gets done must not keep the new ones from being read.
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
        """A reply, the group being made when there is none."""
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
        # A stream that ends before what we have seen is another one: its ids say nothing about ours.
        begin = self.last_id if known else "0"
        (reply,) = self._link.run(
            self._stream, [("XGROUP", "CREATE", self._stream, self._group, begin, "MKSTREAM")]
        )
        if isinstance(reply, Exception) and not str(reply).startswith("BUSYGROUP"):
            raise LinkError(f"{self._options}: {reply}", sent=True)

    def acknowledge(self, ids: Sequence[str]) -> None:
        """These were applied, and what came of it is safe. CacheUnavailableError: they will come again."""
        if not ids:
            return
        (reply,) = self._link.run(self._stream, [("XACK", self._stream, self._group, *ids)])
        if isinstance(reply, Exception):
            raise LinkError(f"{self._options}: {reply}", sent=True)
        self.last_id = max(self.last_id, *ids, key=ordered)

    def close(self) -> None:
        """End; what was not acknowledged comes again."""
        self._link.close()


def _entries(reply: Sequence[Any]) -> list[StreamEntry]:
    # Redis 6 hands out a claimed entry that was deleted meanwhile as nil, a pending one without fields.
    return [
        (entry[0].decode(), dict(zip(entry[1][::2], entry[1][1::2], strict=True)) if entry[1] else {})
        for entry in reply
        if entry
    ]
