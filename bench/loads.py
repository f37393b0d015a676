"""Loads: Parquet to published snapshot beside Polars reading, sorting and writing the same rows; delta; cold start.

Every step runs in a process of its own (`bench.load_child`), whose peak memory is its VmHWM; the times leave out the
start of Python and imports, but for the cold start, which is all of it. The floor reads every table, sorts the
entries by book, item and break, writes Parquet and syncs it. A delta sets new prices for 10,000 list items and is
published like a full load. Floor and load are run in turn a few times; the pair with the median ratio is shown.
"""

import shutil
from pathlib import Path
from typing import Any

from bench import datasets as data
from bench.measure import Figure, child, figure

CHILD = "bench.load_child"
DELTA_ROWS = 10_000


def measure(size: str, folder: Path, repeats: int) -> tuple[list[Figure], dict[str, object]]:
    """Figures of one size (a name of `bench.datasets`), with the phases of the load; leaves the store in `folder`."""
    pairs = []
    dataset, store = folder / "dataset", folder / "store"
    sku = data.item_skus(getattr(data, size))[3]
    entries = child(CHILD, "write", size, str(dataset))["entries"]
    for _ in range(repeats):  # in turn: a disk that is slow for one is slow for the other
        shutil.rmtree(store, ignore_errors=True)
        floor = child(CHILD, "floor", str(dataset), str(folder / "sorted"))
        pairs.append((child(CHILD, "load", str(dataset), str(store)), floor))
    full, floor = sorted(pairs, key=lambda pair: pair[0]["seconds"] / pair[1]["seconds"])[len(pairs) // 2]
    label = f"{entries / 1e6:.1f} M entries"
    sorting = "Polars reads, sorts, writes"
    child(CHILD, "cold", str(store), sku)  # compiles, if nothing has yet: the next one finds it in the cache
    cold = child(CHILD, "cold", str(store), sku)
    allowed = 2 + cold["snapshot_gb"]
    delta = child(CHILD, "delta", size, str(DELTA_ROWS), str(store), str(folder / "delta"))
    figures = [
        figure(f"full load, {label}", "≤ 3×", full["seconds"], floor["seconds"], sorting, "s", _phases(full)),
        figure(
            f"peak memory of a full load, {label}",
            "≤ 3×",
            full["peak_mb"],
            floor["input_mb"],
            "the input in memory",
            "MB",
            f"Python with Polars and numba included; Polars' own peak {floor['peak_mb']:,.0f} MB",
        ),
        figure(
            f"delta of {DELTA_ROWS:,} in {label}",
            "≤ 0.05 of 30 M",
            delta["seconds"],
            full["seconds"],
            "the full load",
            "s",
            f"peak memory {delta['peak_mb']:,.0f} MB",
        ),
        figure(
            f"cold start, {label}",
            "≤ 1",
            cold["seconds"],
            allowed,
            "2 s + 1 s a GB",
            "s",
            f"snapshot {cold['snapshot_gb']:.2f} GB, imports {cold['imports_s']:.2f} s",
        ),
        figure(f"private memory of an engine, {label}", "≤ 1", cold["private_mb"], 200, "200 MB", "MB"),
    ]
    return figures, {"full": full, "floor": floor, "delta": delta, "cold": cold}


def publish(size: str, folder: Path) -> Path:
    """Loads a dataset of that size, unmeasured; its store."""
    child(CHILD, "write", size, str(folder / "dataset"))
    child(CHILD, "load", str(folder / "dataset"), str(folder / "store"))
    return folder / "store"


def _phases(full: dict[str, Any]) -> str:
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in full["phases"].items())
