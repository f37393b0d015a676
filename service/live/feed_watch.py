"""Resets of feeds by operators: their events, and the records that are kept of them."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict

from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import RESET_MEASURE, Event, Kind
from pricegrid.atp.rules.rows import Pair
from pricegrid.cache.protocol import Put
from pricegrid.service.codec.events import encode_events
from pricegrid.service.limits import EVENTS_MAX
from pricegrid.service.live.api import ResetAsk, ResetRecord

RESET = "reset"
OPERATOR_SEQUENCE = 0
"""The sequence number of an operator's reset, because the numbers above belong to the source."""


def reset_notes(effective_us: int, streams: Sequence[tuple[Source, Pair]]) -> list[bytes]:
    """Reset events for these streams, as encoded messages."""
    events = [
        Event(source, OPERATOR_SEQUENCE, effective_us, RESET_MEASURE, Kind.RESET, *pair, 0)
        for source, pair in streams
    ]
    batches = [events[at : at + EVENTS_MAX] for at in range(0, len(events), EVENTS_MAX)]
    return [encode_events(batch) for batch in batches]


def reset_record(ask: ResetAsk, effective_us: int, at_us: int, streams: int) -> ResetRecord:
    """The permanent record of a reset."""
    name = f"N{at_us:016x}{secrets.token_hex(4)}"
    return ResetRecord(name, at_us, ask.actor, ask.source, ask.sku, ask.branch, effective_us, streams)


def reset_put(record: ResetRecord) -> Put:
    """A reset as it is stored."""
    return Put(RESET, record.reset_id, json.dumps(asdict(record), ensure_ascii=False).encode())


def reset_from(raw: bytes) -> ResetRecord:
    """Decodes a stored reset."""
    fields = json.loads(raw)
    fields["source"] = Source(fields["source"])
    return ResetRecord(**fields)
