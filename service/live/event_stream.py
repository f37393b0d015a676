"""Ingests inventory events from a Redis stream, as a consumer of a group: read, apply, acknowledge, store the offset.

An entry is an event in fields with the names of A10, or as JSON in one field `event`. An invalid entry becomes a dead
letter like any other event, so every entry is acknowledged once it is durable and none blocks those behind it.
"""

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pricegrid.atp.rules.events import Event
from pricegrid.cache.protocol import CacheError
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.stream import EventStream
from pricegrid.service.codec.event_json import EventError, Unreadable, event_from_json
from pricegrid.service.codec.events import unreadable_text
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.limits import STREAM_ENTRIES_MAX, STREAM_RETRY_S, STREAM_WAIT_S
from pricegrid.service.live.state import LiveState

if TYPE_CHECKING:
    from pricegrid.service.live.writer_metrics import StreamMetrics

_log = logging.getLogger(__name__)
_NUMBERS = ("sequence", "version")


class EventIngest:
    """Ingests a stream in a thread of its own until closed."""

    def __init__(
        self,
        live: LiveState,
        options: RedisOptions,
        stream: str,
        group: str,
        consumer: str,
        metrics: "StreamMetrics | None" = None,
    ) -> None:
        self._metrics = metrics
        self._live = live
        self._name = stream
        self._stream = EventStream(options, stream, group, consumer, after=live.offset(stream) or "0")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops after the current entries; those that were not acknowledged will be delivered again."""
        self._stopping.set()
        self._thread.join()
        self._stream.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._ingest()
            except (CacheError, RequestRefusedError, OSError) as error:
                _log.warning("events of stream %s could not be ingested, retrying: %s", self._name, error)
                self._stopping.wait(STREAM_RETRY_S)

    def _ingest(self) -> None:
        entries = self._stream.read(STREAM_ENTRIES_MAX, STREAM_WAIT_S)
        if not entries:
            return
        ids = [entry_id for entry_id, _ in entries]
        result = self._live.publish_events(*read_entries([fields for _, fields in entries]))
        if self._metrics is not None:
            self._metrics.applied(result, ids[-1])
        # Without an acknowledgement all entries are delivered again; those applied now are duplicates then.
        if result.refused:
            _log.warning(
                "%d events of stream %s are invalid, and there is no room for more dead letters: drop some",
                result.refused,
                self._name,
            )
            return
        self._stream.acknowledge(ids)
        self._live.keep_offset(self._name, self._stream.last_id)


def read_entries(entries: Iterable[Mapping[bytes, bytes]]) -> tuple[list[Event], list[Unreadable]]:
    """The events of stream entries, and the entries that are none."""
    events, unreadable = [], []
    for fields in entries:
        text = event_text(fields)
        try:
            events.append(event_from_json(text))
        except EventError as error:
            unreadable.append(unreadable_text(text, error.reason, error.detail))
    return events, unreadable


def event_text(fields: Mapping[bytes, bytes]) -> str:
    """The JSON of an entry; bytes that are not UTF-8 are replaced."""
    if b"event" in fields:
        return fields[b"event"].decode(errors="replace")
    members: dict[str, object] = {}
    for name, value in fields.items():
        key, text = name.decode(errors="replace"), value.decode(errors="replace")
        members[key] = int(text) if key in _NUMBERS and text.isascii() and text.isdecimal() else text
    return json.dumps(members, ensure_ascii=False)
