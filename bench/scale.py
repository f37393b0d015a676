"""2·10^8 cells: a published snapshot of that many, mapped from disk, beside smaller ones of the same kind.

The world: price books of one price class each, every book a net price for every item; a customer is in one class. A
full load of 2·10^8 Parquet rows needs some 70 GB of memory, so the cells are not loaded: everything but the entries is
compiled from tables as always, then the cells are handed to the loader's own index builder as arrays, in the place of
the ones it makes of sorted rows, and the snapshot is written, hashed and synced as any other. What is asked is the
mapped snapshot, in a process of its own: 1,000 distinct items of a random customer a call, all worlds in turn.
`python -m bench.scale build STORE BOOKS ITEMS` and `python -m bench.scale ask STORE ...` print one JSON object.
"""

import gc
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench import datasets as data
from bench.measure import Figure, child, figure

WORLDS = ((10, 10_000), (10, 1_000_000), (200, 1_000_000))
"""Books and items: 10^5, 10^7 and 2·10^8 cells."""
QUICK = ((2, 1_000), (2, 5_000), (4, 5_000))
CUSTOMERS = 10_000
ROOM_GB = 16
"""What a load of 30 M entries, or the building of 2·10^8 cells, may need at its peak, and a little more."""
_ROUNDS, _CALLS, _LINES = 30, 5, 1000


def has_room() -> bool:
    """Whether this machine has the memory for the large sizes now; says so if not."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available_gb = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1e6
    if available_gb < ROOM_GB:
        print(
            f"  left out: large sizes need {ROOM_GB} GB of memory, {available_gb:.0f} are available",
            flush=True,
        )
    return available_gb >= ROOM_GB


def sizes() -> list[str]:
    """The large loads that this machine has room for: names of `bench.datasets`."""
    return ["LOAD_30M"] if has_room() else []


def worlds() -> tuple[tuple[int, int], ...]:
    """WORLDS, the largest only with room for it."""
    return WORLDS if has_room() else ((10, 10_000), (10, 100_000), (10, 1_000_000))


def measure(folder: Path, worlds: tuple[tuple[int, int], ...] = WORLDS) -> list[Figure]:
    """All figures; makes the stores in `folder`, which they leave."""
    stores = [folder / f"{books}x{items}" for books, items in worlds]
    built = [
        child("bench.scale", "build", str(store), str(books), str(items))
        for store, (books, items) in zip(stores, worlds, strict=True)
    ]
    words = [f"{store}:{items}" for store, (_, items) in zip(stores, worlds, strict=True)]
    asked = child("bench.scale", "ask", *words)
    few, middle, many = (each["cells"] for each in built)
    least, mid, most = asked["line_us"]
    label = f"{many:,} cells"
    made = f"{books_of(worlds[-1])}; built in {built[-1]['seconds']:.0f} s"
    return [
        figure(f"cost a line from {few:,} to {label}", "≤ 2×", most, least, f"{few:,} cells", "µs", made),
        figure(f"cost a line from {middle:,} to {label}", "", most, mid, f"{middle:,} cells", "µs", made),
        figure(f"bytes a cell, {label}", "≤ 12", built[-1]["bytes_a_cell"], 8.0, "the int64 price", "B"),
        figure(f"private memory of an engine, {label}", "≤ 1", asked["private_mb"], 200, "200 MB", "MB"),
        figure(
            f"map and populate, {label}",
            "",
            asked["map_ms"],
            asked["read_ms"],
            "reading the same bytes from the page cache",
            "ms",
            f"{built[-1]['snapshot_gb']:.2f} GB",
        ),
        figure(f"unmap, {label}", "", asked["unmap_ms"], asked["read_ms"], "reading the same bytes", "ms"),
    ]


def books_of(world: tuple[int, int]) -> str:
    """A world in words."""
    return f"{world[0]} books of {world[1]:,} items"


def size_of(items: int) -> data.Size:
    """What `bench.kernel.Questions` needs to know of a world."""
    return data.Size(items=items, class_entries=0, customers=CUSTOMERS, contract_entries=0)


def build(store: str, books: str, items: str) -> dict[str, Any]:
    """Publishes a world."""
    from pricegrid.loaders.compile import prices as compile_prices
    from pricegrid.loaders.store.snapshot import activate, write_snapshot
    from pricegrid.loaders.validate.tables import validate_tables

    begin = time.perf_counter()
    dataset = validate_tables(_tables(int(books), size_of(int(items))))
    if any(rows.height for rows in dataset.rejects.values()):
        raise AssertionError("the generated dataset has rejects")
    with _full_books(int(items)):
        arrays = compile_prices.compile_prices(dataset.frames)
    manifest = {"time_zone": "UTC", "counts": {}, "inputs": {}}
    version = write_snapshot(Path(store), arrays, manifest, created_at=datetime.now(UTC))
    activate(Path(store), version)
    cells = len(arrays["cell_value"])
    priced = [name for name in arrays if name.startswith("cell_") and name != "cell_entry"]
    return {
        "seconds": time.perf_counter() - begin,
        "cells": cells,
        "bytes_a_cell": sum(arrays[name].nbytes for name in priced) / cells,
        "snapshot_gb": sum(array.nbytes for array in arrays.values()) / 1e9,
    }


def _tables(books: int, size: data.Size) -> data.Tables:
    """Items, customers, a class and a book for every `books`, and one entry, which is not used."""
    skus, customers = data.item_skus(size), data.customer_ids(size)
    number = pl.Series(np.arange(books)).cast(pl.String).str.zfill(3)
    classes, names = "CLASS-" + number, "BOOK-" + number
    return {
        "items": pl.DataFrame({"sku": skus}).with_columns(base_uom=pl.lit("EA")),
        "customers": pl.DataFrame(
            {"customer_id": customers, "price_class": classes.gather(np.arange(size.customers) % books)}
        ).with_columns(currency=pl.lit("EUR")),
        "layers": pl.DataFrame({"layer": ["class"], "rank": [1]}),
        "price_books": pl.DataFrame({"book_id": names}).with_columns(
            layer=pl.lit("class"), currency=pl.lit("EUR")
        ),
        "agreements": pl.DataFrame({"book_id": names, "price_class": classes}),
        "price_entries": pl.DataFrame(
            {"book_id": names[:1], "sku": skus[:1], "method": ["net"], "value": ["1"]}
        ),
    }


@contextmanager
def _full_books(items: int) -> Iterator[None]:
    """Lets the compiler find, in the place of the cells of sorted rows, one net price of every item in every book."""
    from pricegrid.loaders.compile import entries as compile_entries

    make_cells = compile_entries.make_cells

    def full(rows: pl.DataFrame, bundles: Any, *, choose_minimums: bool = False, **rest: Any) -> Any:
        few = make_cells(rows, bundles, choose_minimums=choose_minimums, **rest)
        if not choose_minimums:  # the empty delta
            return few
        count = len(bundles) * items
        cents = np.random.default_rng(data.SEED).integers(50, 50_000, count)
        cents *= 10_000
        bundle = np.repeat(np.arange(len(bundles)), items)
        key = np.tile(np.arange(items), len(bundles))
        return compile_entries.Cells(bundle, key, cents, np.arange(count), few.ladders, few.records)

    compile_entries.make_cells = full
    try:
        yield
    finally:
        compile_entries.make_cells = make_cells


def ask(*worlds: str) -> dict[str, Any]:
    """Cost of a line in each world; of the last one, what mapping and unmapping take and what is private."""
    from bench.kernel import Questions, kernel_call
    from bench.measure import median_us
    from pricegrid.loaders.store.snapshot import open_snapshot
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.bootstrap import load_snapshot, open_snapshot_engines, populate

    policy, engines = ExceptionPolicy(), []
    for word in worlds:
        store, _, items = word.rpartition(":")
        engines.append(
            (load_snapshot(Path(store), None, policy, verify=False), Questions(size_of(int(items))))
        )
    times: list[list[float]] = [[] for _ in worlds]
    for _ in range(_ROUNDS):
        for place, (loaded, questions) in enumerate(engines):
            calls = [kernel_call(loaded.engine, questions.ask(_LINES, "mixed")) for _ in range(_CALLS)]
            times[place].append(median_us(calls) / _LINES)
    del loaded, calls, engines
    store = worlds[-1].rpartition(":")[0]
    maps, unmaps, reads = [], [], []
    for _ in range(3):
        gc.collect()
        gc.freeze()  # what is left to collect is what the snapshot leaves
        begin = time.perf_counter()
        opened, arrays = open_snapshot_engines(Path(store), None, policy, verify=False)
        populate(arrays)
        maps.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        del opened, arrays
        gc.collect()
        unmaps.append(time.perf_counter() - begin)
        version = open_snapshot(Path(store), verify=False).version
        begin = time.perf_counter()
        for path in sorted((Path(store) / "snapshots" / version).iterdir()):
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass
        reads.append(time.perf_counter() - begin)
    map_ms, unmap_ms, read_ms = (1000 * statistics.median(each) for each in (maps, unmaps, reads))
    return {
        "line_us": [statistics.median(each) for each in times],
        "private_mb": child("bench.load_child", "private", store)["private_mb"],
        "map_ms": map_ms,
        "unmap_ms": unmap_ms,
        "read_ms": read_ms,
    }


if __name__ == "__main__":
    print(json.dumps({"build": build, "ask": ask}[sys.argv[1]](*sys.argv[2:])))
