"""Live state in one process, for measurements: a snapshot, and a clock shortly after it."""

from pathlib import Path

import numpy as np

from bench import datasets as data
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.cache.protocol import StateCache
from pricegrid.loaders.store.snapshot import current_version, open_snapshot
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.clock import created_at_us
from pricegrid.service.limits import LIVE_PAIRS, LIVE_WORDS
from pricegrid.service.live.state import LiveState

PAIRS = 20_000
"""Of one branch, that events and reservations touch."""


class Place:
    """A snapshot, and a clock shortly after it."""

    def __init__(self, size: data.Size, store: Path) -> None:
        self.version = current_version(store)
        arrays = open_snapshot(store, verify=False).arrays
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}  # as the service has them
        self.skus = data.item_skus(size).to_list()
        self.branch = data.branch_names(size)[0]
        self.now_us = created_at_us(self.version) + 3_600 * MICROS

    def live(self, cache: StateCache) -> tuple[LiveState, AvailabilityEngine]:
        """Live state over it, and the engine that shows it."""
        engine = AvailabilityEngine(self.arrays)

        def room(grown: int) -> LiveWriter:
            return LiveWriter.in_memory(LIVE_PAIRS << grown, LIVE_WORDS << grown)

        created_us = created_at_us(self.version)
        return LiveState(cache, engine, self.version, created_us, room, lambda: self.now_us), engine
