"""Live state in one process: events applied, what live pairs cost readers. (`bench.reservations` has the rest.)

Floors of the same run: keeping the same bytes in the cache without looking at them; the same question before anything
was live.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench import datasets as data
from bench.measure import ROOT, Figure, figure, median_us
from bench.place import PAIRS, Place
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import CheckAsk, Source
from pricegrid.atp.rules.events import Event, Kind, Measure
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import Commit
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.clock import created_at_us
from pricegrid.service.codec.events import encode_events
from pricegrid.service.live.state import LiveState

EVENTS_PER_MESSAGE = 5_000
QUESTION_PAIRS = 1_000


def measure(size: data.Size, store: Path, events: int) -> list[Figure]:
    """Events a second, cost for readers, time until all see them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Place(size, store)
        return [*_events(place, folder, events), *_visible(place, folder, 300)]


def _messages(place: Place, events: int) -> Iterator[bytes]:
    """On-hand events: a set of each pair, then changes of random ones, in order of their sequence."""
    rng, sequences = np.random.default_rng(7), [0] * PAIRS
    for start in range(0, PAIRS + events, EVENTS_PER_MESSAGE):
        batch = []
        pairs = rng.integers(0, PAIRS, EVENTS_PER_MESSAGE)
        if start < PAIRS:
            pairs = np.arange(start, start + EVENTS_PER_MESSAGE)
        for pair in pairs.tolist():
            sequences[pair] += 1
            kind = Kind.SET if sequences[pair] == 1 else Kind.DELTA
            batch.append(
                Event(
                    Source.ERP,
                    sequences[pair],
                    place.now_us,
                    Measure.ON_HAND,
                    kind,
                    place.skus[pair],
                    place.branch,
                    10_000 * MICROS if kind is Kind.SET else -MICROS,
                )
            )
        yield encode_events(batch)


def _a_second(calls: list[Callable[[], object]], each: int) -> float:
    begin_s = time.perf_counter()
    for call in calls:
        call()
    return each * len(calls) / (time.perf_counter() - begin_s)


def _events(place: Place, folder: Path, events: int) -> list[Figure]:
    everything = list(_messages(place, events))
    first, messages = everything[: PAIRS // EVENTS_PER_MESSAGE], everything[PAIRS // EVENTS_PER_MESSAGE :]
    kept = EmbeddedStateCache(folder / "kept")
    floor = _a_second(
        [lambda raw=raw: kept.commit([Commit(notes=[raw])]) for raw in messages], EVENTS_PER_MESSAGE
    )
    live, engine = place.live(EmbeddedStateCache(folder / "live"))
    question = CheckAsk(
        place.now_us,
        [sku.encode() for sku in place.skus[:QUESTION_PAIRS]],
        np.full(QUESTION_PAIRS, MICROS),
        [b""] * QUESTION_PAIRS,
        (place.branch.encode(),),
    )
    engine.check(question)
    before = median_us([lambda: engine.check(question)] * 50)
    for raw in first:  # what touches a pair first reads it from the snapshot: once a load
        live.publish(raw)
    reached = _a_second([lambda raw=raw: live.publish(raw) for raw in messages], EVENTS_PER_MESSAGE)
    after = median_us([lambda: engine.check(question)] * 50)
    return [
        figure(
            "inventory events of pairs that are live, applied",
            "≥ 200,000/s",
            reached,
            floor,
            "the same bytes kept",
            "events/s",
        ),
        figure(
            f"availability of {QUESTION_PAIRS:,} pairs, all live", "≤ 1.05×", after, before, "none live", "µs"
        ),
    ]


WATCHER = """
import json, sys, time
from pathlib import Path
from pricegrid.atp.live.positions import open_live
from pricegrid.atp.live.layout import CHANGES
head = open_live(Path(sys.argv[1])).live_head
print("ready", flush=True)
seen, at = int(head[CHANGES]), []
while len(at) < int(sys.argv[2]):
    now = int(head[CHANGES])
    if now != seen:
        at += [time.monotonic_ns()] * (now - seen)
        seen = now
    time.sleep(0.0005)
print(json.dumps(at))
"""


def _visible(place: Place, folder: Path, events: int) -> list[Figure]:
    """From handing in an event until every reader process sees it, 99th percentile; each looks twice a millisecond."""
    writer = LiveWriter.create(folder / "seen.live", pairs=1_024, words=1 << 12)
    created_us = created_at_us(place.version)
    cache = EmbeddedStateCache(folder / "seen")
    live = LiveState(
        cache,
        AvailabilityEngine(place.arrays),
        place.version,
        created_us,
        lambda _: writer,
        lambda: place.now_us,
    )
    words = (str(folder / "seen.live"), str(events))
    readers = [
        subprocess.Popen([sys.executable, "-c", WATCHER, *words], stdout=subprocess.PIPE, cwd=ROOT, text=True)
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()
    handed_in, kept = [], []
    for number in range(events):
        event = Event(
            Source.ERP,
            number + 1,
            place.now_us,
            Measure.ON_HAND,
            Kind.SET,
            place.skus[0],
            place.branch,
            MICROS,
        )
        raw = encode_events([event])
        handed_in.append(time.monotonic_ns())
        live.publish(raw)
        kept.append(time.monotonic_ns())
        time.sleep(0.002)
    seen = [json.loads(reader.communicate()[0]) for reader in readers]
    cache.close()
    last = [max(times) for times in zip(*seen, strict=True)]
    waits_us = np.percentile([(end - begin) / 1000 for begin, end in zip(handed_in, last, strict=True)], 99)
    floor_us = np.percentile([(end - begin) / 1000 for begin, end in zip(handed_in, kept, strict=True)], 99)
    return [
        figure(
            "event until every reader sees it, p99",
            "≤ 50,000",
            float(waits_us),
            float(floor_us),
            "it is answered",
            "µs",
        )
    ]
