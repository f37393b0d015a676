"""Dead letters as the client hands them out."""

import json
from dataclasses import dataclass
from datetime import datetime

from pricegrid import v1
from pricegrid.results import instant_from_us


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that could not be applied, kept with the reason."""

    dead_letter_id: str
    received: datetime
    """When it was put there (UTC)."""
    origin: str
    """'events' or 'erp'."""
    reason: str
    """UPPER_SNAKE; docs/api.md lists them."""
    detail: str
    """Which field, and what is wrong with it."""
    payload: object
    """What it is: a dict with the names of a feed file, or the text that is no such object."""
    replays: int
    """How often it was tried again."""
    count: int
    """How often it came: the same again is one dead letter."""
    last_received: datetime
    """When it came last (UTC)."""


def dead_letter(message: v1.DeadLetter) -> DeadLetter:
    """Reads a `DeadLetter`."""
    return DeadLetter(
        dead_letter_id=message.dead_letter_id,
        received=instant_from_us(message.received_us),
        origin=message.origin,
        reason=message.reason,
        detail=message.detail,
        payload=json.loads(message.payload_json),
        replays=message.replay_count,
        count=message.seen_count,
        last_received=instant_from_us(message.last_received_us),
    )
