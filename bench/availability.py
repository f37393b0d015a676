"""Availability in process: ATP of 10,000 (item, branch) pairs in one call, beside reading one number a pair.

The pairs are random ones of a million items in two branches, a third of them with a receipt and a third with a demand.
"kernel" has the items as ordinals; "check" resolves their SKUs and makes the whole answer.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench import datasets as data
from bench.measure import Figure, figure, median_us
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import CheckAsk
from pricegrid.loaders.store.snapshot import open_snapshot
from pricegrid.pricing_engine.model import MICROS

PAIRS = 10_000


def measure(size: data.Size, store: Path, calls: int) -> list[Figure]:
    """Microseconds a call and, in the note, pairs a second."""
    engine = AvailabilityEngine(open_snapshot(store, verify=False).arrays)
    rng, skus = np.random.default_rng(3), [sku.encode() for sku in data.item_skus(size)]
    on_hand = rng.integers(0, 10**9, size.items * size.branches)
    branch = data.branch_names(size)[0].encode()

    def asks() -> Iterator[CheckAsk]:
        for _ in range(calls + 1):
            places = rng.integers(0, size.items, PAIRS).tolist()
            quantities = np.full(PAIRS, MICROS)
            chosen = [skus[place] for place in places]
            yield CheckAsk(data.AS_OF_US, chosen, quantities, [b""] * PAIRS, (branch,))

    first, *others = asks()
    engine.check(first)
    reached = median_us([lambda ask=ask: engine.check(ask) for ask in others])
    places = [rng.integers(0, len(on_hand), PAIRS) for _ in range(calls)]
    floor = median_us([lambda at=at: np.take(on_hand, at) for at in places])
    name = f"availability of {PAIRS:,} pairs, {size.items * size.branches / 1e6:.1f} M pairs"
    note = f"{PAIRS / reached:.2f} M pairs/s"
    return [figure(name, "", reached, floor, "np.take", "µs", note)]
