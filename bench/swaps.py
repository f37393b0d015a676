"""Swaps of the snapshot under load: failed calls, mixed answers, and p99 while swapping over p99 of the same load.

`pricegrid serve --workers 1`, its processes all on one core, answers QuoteLines of 100 lines that come at random
instants, half as many as it can answer (`bench.swap_load`, on another core). Windows of a few seconds with and without
swaps take turns on the same server; the ratio is the median over the pairs. In a swapping window another version
becomes active every two seconds: versions that no worker has mapped, so each is checked byte by byte, mapped, its pages
populated, its kernels tried, and an old one unmapped. They are deltas that give 10,000 items other prices; the
requests ask these items only, so that a line says by its price which version it is from.
"""

import io
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench import datasets as data
from bench.http2_load import write_messages
from bench.kernel import quote_bytes
from bench.measure import Figure, child, figure
from bench.rpc import QUOTE_LINES, cores, pricegrid_server
from pricegrid.loaders.publish import LoadJob, load
from pricegrid.loaders.report import Progress
from pricegrid.loaders.store.snapshot import activate
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.limits import KEPT_SNAPSHOTS_MAX

LINES, ITEMS, REQUESTS, SWAP_EVERY_S = 100, 10_000, 200, 2.0
VERSIONS = KEPT_SNAPSHOTS_MAX + 3  # more than a worker keeps mapped: none is there when its turn comes
_CENT = MICROS // 100


def prepare(size: data.Size, store: Path, folder: Path) -> list[str]:
    """Publishes the versions and writes what `bench.swap_load` reads; the versions, the active one last."""
    rng = np.random.default_rng(11)
    chosen = np.sort(rng.choice(size.items, min(ITEMS, size.items), replace=False))
    cents = rng.integers(100, 50_000, len(chosen)) + np.arange(VERSIONS)[:, None]
    skus = data.item_skus(size).gather(chosen)
    versions = [_publish(store, folder / f"change-{at}", skus, row) for at, row in enumerate(cents)]
    asked = np.stack([rng.choice(len(chosen), LINES, replace=False) for _ in range(REQUESTS)])
    names, branches = [sku.encode() for sku in skus], data.branch_names(size)[:1]
    one = np.full(LINES, MICROS, np.int64)
    asks = [
        PriceAsk("", "EUR", "", data.AS_OF_US, [names[item] for item in row], one, [b""] * LINES)
        for row in asked
    ]
    write_messages(folder / "requests", [quote_bytes(ask, branches) for ask in asks])
    np.save(folder / "prices.npy", cents[:, asked] * _CENT)
    (folder / "versions.json").write_text(json.dumps(versions))
    return versions


def _publish(store: Path, folder: Path, skus: pl.Series, cents: NDArray[np.int64]) -> str:
    folder.mkdir(parents=True)
    value = pl.Series("value", cents).cast(pl.Decimal(18, 2)) / 100
    entries = pl.DataFrame({"sku": skus, "value": value}).with_columns(
        book_id=pl.lit("LIST"), method=pl.lit("net")
    )
    entries.write_parquet(folder / "price_entries.parquet")
    report = load(LoadJob(folder, store, delta=True), progress=Progress(io.StringIO()))
    if not report.published or report.rejects or report.snapshot_version is None:
        raise AssertionError(report.as_text())
    return report.snapshot_version


def measure(size: data.Size, store: Path, folder: Path, rounds: int, seconds: float) -> list[Figure]:
    """Three figures: failed calls, mixed answers, p99. `folder` is made."""
    versions = prepare(size, store, folder)
    turns = cycle(versions)  # the last one is active
    server_core, load_core = cores()
    with pricegrid_server(store, server_core) as (address, _):
        most = (
            "bench.http2_load",
            address,
            QUOTE_LINES.path,
            str(folder / "requests"),
            "2",
            "32",
            str(load_core),
        )
        child(*most)
        done = child(*most)
        rate = 0.5 * done["calls"] / done["seconds"]
        pairs = []
        for each in range(rounds):
            words = [
                address,
                QUOTE_LINES.path,
                str(folder),
                str(rate),
                str(seconds),
                str(load_core),
                str(each),
            ]
            steady = child("bench.swap_load", *words)
            pairs.append((steady, _swapping(words, seconds, store, turns)))
    return _figures(pairs, rate)


def _swapping(words: list[str], seconds: float, store: Path, turns: Iterator[str]) -> dict[str, Any]:
    with ThreadPoolExecutor(1) as pool:
        window = pool.submit(child, "bench.swap_load", *words)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not window.done():
            activate(store, next(turns))
            time.sleep(SWAP_EVERY_S)
        return window.result()


def _figures(pairs: list[tuple[dict[str, Any], dict[str, Any]]], rate: float) -> list[Figure]:
    windows = [window for pair in pairs for window in pair]
    calls = sum(there["calls"] for _, there in pairs)
    swaps = sum(len(swapping["versions"]) - 1 for _, swapping in pairs)
    if not all(len(swapping["versions"]) > 1 for _, swapping in pairs):
        raise AssertionError("no swap came about in a window")
    steady, swapping = (statistics.median(pair[at]["p99_ms"] for pair in pairs) for at in (0, 1))
    ratio = statistics.median(there["p99_ms"] / here["p99_ms"] for here, there in pairs)
    spread = ", ".join(f"{there['p99_ms'] / here['p99_ms']:.2f}" for here, there in pairs)
    highest = [max(pair[at]["max_ms"] for pair in pairs) for at in (0, 1)]
    middle = [statistics.median(pair[at]["p50_ms"] for pair in pairs) for at in (0, 1)]
    note = (
        f"{rate:,.0f} calls a second of {LINES} lines; rounds {spread}; p50 {middle[0]:.2f} and {middle[1]:.2f} ms, "
        f"longest {highest[0]:.1f} and {highest[1]:.1f} ms"
    )
    refused = sum(here["failed"] for here, _ in pairs)
    seen = f"at least {swaps} versions taken over; {refused} failed without swaps"
    failed = float(sum(there["failed"] for _, there in pairs))
    mixed = float(sum(window["mixed"] for window in windows))
    return [
        figure("calls failed while snapshots are swapped", "0", failed, calls, "all calls", "calls", seen),
        figure("answers that mix two snapshots", "0", mixed, calls, "all calls", "calls", seen),
        Figure(
            "p99 while snapshots are swapped", "≤ 1.5×", swapping, steady, "the same load", "ms", ratio, note
        ),
    ]
