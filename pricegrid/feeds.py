"""What the client says of feeds: missing events, sources that seem to have begun anew, resets."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pricegrid import v1
from pricegrid.inventory import InventorySource
from pricegrid.results import instant_from_us


@dataclass(frozen=True, slots=True)
class FeedIssue:
    """A stream (source, item, branch) that needs a look."""

    source: InventorySource
    sku: str
    branch: str
    missing: tuple[tuple[int, int], ...]
    """The first and last of each run of missing numbers: the first 100 runs."""
    restarts: int
    """Events that came under a number that was passed already, and took effect later than all before."""
    restart_sequence: int | None
    """The number of the last of these, and when it took effect; None when there is none."""
    restart_effective: datetime | None


@dataclass(frozen=True, slots=True)
class StreamReset:
    """A reset that was carried out."""

    reset_id: str
    at: datetime
    actor: str
    source: InventorySource
    sku: str
    """'' is every item, as of the branch."""
    branch: str
    effective: datetime
    """From when on the new numbers count."""
    streams: int
    """How many streams it reset."""


def source_number(source: InventorySource) -> Any:
    """A source as it goes over the wire."""
    return v1.InventorySource.Value(f"INVENTORY_SOURCE_{source.value}")


_SOURCES: Mapping[int, InventorySource] = {source_number(source): source for source in InventorySource}


def feed_issue(message: v1.FeedIssue) -> FeedIssue:
    """Reads a `FeedIssue`."""
    has_restart = message.restart_count > 0
    return FeedIssue(
        source=_SOURCES[message.source],
        sku=message.sku,
        branch=message.branch,
        missing=tuple((run.first_sequence, run.last_sequence) for run in message.missing),
        restarts=message.restart_count,
        restart_sequence=message.restart_sequence if has_restart else None,
        restart_effective=instant_from_us(message.restart_effective_us) if has_restart else None,
    )


def stream_reset(message: v1.StreamReset) -> StreamReset:
    """Reads a `StreamReset`."""
    return StreamReset(
        reset_id=message.reset_id,
        at=instant_from_us(message.at_us),
        actor=message.actor,
        source=_SOURCES[message.source],
        sku=message.sku,
        branch=message.branch,
        effective=instant_from_us(message.effective_us),
        streams=message.stream_count,
    )
