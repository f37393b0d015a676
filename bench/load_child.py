"""One step of the load measurements in a process of its own, so that its peak memory is its own.

`python -m bench.load_child STEP ARGUMENTS` prints one JSON object. Steps: `write SIZE FOLDER` (the dataset), `load
DATASET STORE` (Parquet to published snapshot), `floor DATASET FOLDER` (Polars reads, sorts and writes the same rows),
`delta SIZE ROWS STORE FOLDER`, `cold STORE SKU` (from the start of the program to the first answer).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from bench.measure import peak_mb, private_mb

_BEGIN = time.perf_counter()


def write(size: str, folder: str) -> dict[str, Any]:
    from bench import datasets as data

    chosen: data.Size = getattr(data, size)
    data.write_dataset(chosen, Path(folder))
    return {"entries": chosen.entries}


def load(dataset: str, store: str) -> dict[str, Any]:
    from pricegrid.loaders import publish
    from pricegrid.loaders.report import Progress

    begin = time.perf_counter()
    progress = Progress(StringIO())
    report = publish.load(publish.LoadJob(Path(dataset), Path(store)), progress=progress)
    if not report.published or report.rejects:
        raise AssertionError(report.as_text())
    return {"seconds": time.perf_counter() - begin, "peak_mb": peak_mb(), "phases": dict(progress.seconds)}


def floor(dataset: str, folder: str) -> dict[str, Any]:
    import polars as pl

    target, paths = Path(folder), sorted(Path(dataset).iterdir())
    target.mkdir(exist_ok=True)
    begin = time.perf_counter()
    for path in paths:
        table = pl.read_parquet(path)
        keys = ["book_id", "sku", "min_quantity"] if path.stem == "price_entries" else table.columns[:1]
        written = target / path.name
        table.sort(keys).write_parquet(written)
        with written.open("rb") as file:  # the load syncs what it writes
            os.fsync(file.fileno())
    seconds, peak = time.perf_counter() - begin, peak_mb()
    held = sum(_bytes_held(pl.read_parquet(path)) for path in paths)
    return {"seconds": seconds, "peak_mb": peak, "input_mb": held / 1e6}


def _bytes_held(table: Any) -> int:
    """What Polars holds of a table: 16 bytes a text and its bytes from 13 on (`estimated_size` leaves out the 16)."""
    held = 0
    for column in table.get_columns():
        if str(column.dtype) == "String":
            lengths = column.str.len_bytes()
            held += 16 * len(column) + int(lengths.filter(lengths > 12).sum())
        else:
            held += column.estimated_size()
    return held


def delta(size: str, rows: str, store: str, folder: str) -> dict[str, Any]:
    from bench import datasets as data
    from pricegrid.loaders import publish
    from pricegrid.loaders.report import Progress

    dataset = data.write_delta(getattr(data, size), Path(folder), int(rows))
    begin = time.perf_counter()
    progress = Progress(StringIO())
    report = publish.load(publish.LoadJob(dataset, Path(store), delta=True), progress=progress)
    if not report.published or report.rejects:
        raise AssertionError(report.as_text())
    return {"seconds": time.perf_counter() - begin, "peak_mb": peak_mb(), "phases": dict(progress.seconds)}


def cold(store: str, sku: str) -> dict[str, Any]:
    """Cold start of an engine: imports, every byte checked, pages read in, kernels from their cache, one answer."""
    import numpy as np

    from pricegrid.pricing_engine.engine import PriceAsk
    from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy
    from pricegrid.service.process.bootstrap import load_snapshot

    imported = time.perf_counter()
    loaded = load_snapshot(Path(store), None, ExceptionPolicy())
    ask = PriceAsk("", "EUR", "", 0, [sku.encode()], np.full(1, MICROS, np.int64), [b""])
    answers = loaded.engine.price(ask)
    if answers.status[0] != 0:
        raise AssertionError(f"status {answers.status[0]} for {sku}")
    folder = Path(store) / "snapshots" / loaded.version
    return {
        "seconds": time.perf_counter() - _BEGIN,
        "imports_s": imported - _BEGIN,
        "snapshot_gb": sum(file.stat().st_size for file in folder.iterdir()) / 1e9,
        "private_mb": private_mb(),
    }


def private(store: str) -> dict[str, Any]:
    """What a process holds for itself that has a snapshot of the store ready to answer."""
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.bootstrap import load_snapshot

    loaded = load_snapshot(Path(store), None, ExceptionPolicy(), verify=False)
    return {"version": loaded.version, "private_mb": private_mb()}


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "write": write,
    "load": load,
    "floor": floor,
    "delta": delta,
    "cold": cold,
    "private": private,
}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
