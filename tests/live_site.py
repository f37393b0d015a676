"""One server's live state over a store of its own, for tests."""

from pathlib import Path

import numpy as np

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import MICROS, AvailabilityStatus, CheckAsk, Source
from pricegrid.atp.rules.events import Event, EventStatus, Kind, Measure
from pricegrid.atp.rules.reservations import (
    ReserveAsk,
    ReserveLine,
)
from pricegrid.atp.rules.rows import Rows
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.loaders.compile.positions import compile_positions
from pricegrid.service.codec.events import encode_events
from pricegrid.service.live.state import LiveState
from tests.atp_world import at, complete_feed, frames_of, q, world

VERSION = "20260302T060000Z-00000000"


class Site:
    """A store with one snapshot: its cache stays when the process that used it ends."""

    open_cache = staticmethod(EmbeddedStateCache)

    def __init__(self, rows: Rows, directory: Path) -> None:
        self.rows, self.directory = rows, directory
        self.now_us = at(0)
        self.start()

    def start(self) -> None:
        self.engine = AvailabilityEngine(compile_positions(frames_of(self.rows)))
        self.cache = self.open_cache(self.directory)
        self.live = LiveState(
            self.cache,
            self.engine,
            VERSION,
            at(0, 6),
            lambda grown: LiveWriter.in_memory(2 << grown, 1 << 6 + grown),
            lambda: self.now_us,
        )

    def load(self, rows: Rows | None = None, created_us: int | None = None) -> None:
        """Go over to a new snapshot, of the same rows unless others are given."""
        self.rows = rows or self.rows
        self.engine = AvailabilityEngine(compile_positions(frames_of(self.rows)))
        room = lambda grown: LiveWriter.in_memory(2 << grown, 1 << 6 + grown)  # noqa: E731
        self.live.use(self.engine, VERSION, at(0, 6) if created_us is None else created_us, room)

    def restart(self) -> None:
        self.cache.close()
        self.start()

    def publish(self, *events: Event) -> dict[EventStatus, int]:
        return self.live.publish(encode_events(events)).counts

    def free(self, sku: str = "X", branch: str = "MAIN", exclude: str = "") -> int | None:
        """Whole units available, None when unknown."""
        ask = CheckAsk(
            self.now_us,
            [sku.encode()],
            np.array([MICROS]),
            [b""],
            [branch.encode()],
            exclude_reservation=exclude,
        )
        found = self.engine.check(ask)
        is_known = found.status[0] == AvailabilityStatus.OK
        return int(found.atp_micros[0]) // MICROS if is_known else None

    def reserve(self, units: int, key: str = "K", sku: str = "X", **more) -> str:
        ttl_us = more.pop("ttl_us", 60 * MICROS)
        ask = ReserveAsk(key, "C1", [ReserveLine(sku, q(units), "MAIN")], ttl_us, **more)
        return self.live.reserve(ask).reservation.reservation_id


def new_site(directory: Path, rows: Rows | None = None) -> Site:
    """A hundred X at MAIN unless the rows say otherwise; complete extracts at six."""
    rows = rows or world(X=100)
    for source in Source:
        complete_feed(rows, "MAIN", source, at(0, 6))
    return Site(rows, directory)


def event(
    sequence: int, units: int, kind: Kind = Kind.SET, measure: Measure = Measure.ON_HAND, **more
) -> Event:
    source = {Measure.ON_HAND: Source.ERP, Measure.UNAVAILABLE: Source.ERP, Measure.ALLOCATED: Source.WMS}
    fields = {"sku": "X", "branch": "MAIN", "effective_us": at(0, 13) + sequence, **more}
    return Event(
        source=source.get(measure, Source.TRANSIT),
        sequence=sequence,
        measure=measure,
        kind=kind,
        quantity_micros=units * MICROS,
        **fields,
    )


def down(sequence: int, units: int, **more) -> Event:
    return event(sequence, -units, Kind.DELTA, **more)
