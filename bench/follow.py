"""Measures a delta on its way from one producer to many followers, through files or an S3 server, in processes.

    python bench/follow.py [--entries N] [--changed N] [--followers N] [--s3]

A follower is the follow loop alone in a process of its own: it polls, pulls, verifies by hashes and activates. What a
server adds is the verification of contents and the swap (docs/performance.md).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.objects.pull import Puller
from pricegrid.loaders.objects.push import push
from pricegrid.loaders.objects.storage import open_storage
from pricegrid.loaders.objects.target import Pointers
from pricegrid.loaders.publish import LoadFunctions, LoadJob, LoadReport, compile_dataset, load
from pricegrid.loaders.store.snapshot import current_version, open_snapshot
from pricegrid.service.process.follower import Follower

BOOKS = 40
NAMES = "{:07d}"


def dataset(folder: Path, entries: int, *, is_other: bool = False) -> Path:
    """A shop of so many price entries in `BOOKS` books; the other one has other prices in two of them, and one more
    entry in the first."""
    folder.mkdir()
    items = entries // BOOKS
    rows = "\n".join(f"I{NAMES.format(item)},EA" for item in range(items))
    (folder / "items.csv").write_text(f"sku,base_uom\nA,EA\n{rows}\n")
    books = "\n".join(f"B{book},list,EUR" for book in range(BOOKS))
    (folder / "price_books.csv").write_text(f"book_id,layer,currency\n{books}\n")
    prices = np.random.default_rng(1).integers(100, 99_999, (BOOKS, items))
    if is_other:
        prices[:2] += 1
    with (folder / "price_entries.csv").open("w") as file:
        file.write("book_id,sku,method,value\n" + ("B0,A,net,1\n" if is_other else ""))
        for book in range(BOOKS):
            file.writelines(
                f"B{book},I{NAMES.format(item)},net,{price / 100}\n"
                for item, price in enumerate(prices[book].tolist())
            )
    agreed = "\n".join(f"B{book},C{book}" for book in range(BOOKS))
    (folder / "agreements.csv").write_text(f"book_id,customer_id\n{agreed}\n")
    customers = "\n".join(f"C{book},EUR" for book in range(BOOKS))
    (folder / "customers.csv").write_text(f"customer_id,currency\n{customers}\n")
    return folder


def delta(folder: Path, entries: int, changed: int) -> Path:
    """Other prices for so many entries, spread over all books."""
    folder.mkdir()
    chance = np.random.default_rng(2)
    chosen = chance.choice(entries // BOOKS * BOOKS, changed, replace=False)
    with (folder / "price_entries.csv").open("w") as file:
        file.write("book_id,sku,method,value\n")
        file.writelines(
            f"B{each % BOOKS},I{NAMES.format(each // BOOKS)},net,{each % 997 + 1}\n"
            for each in chosen.tolist()
        )
    return folder


def follow(url: str, store: Path, told: multiprocessing.Queue) -> None:
    """One follower; says what it has, and what it fetched."""
    storage = open_storage(url)
    puller = Puller(storage, store, open_snapshot, with_kept=False)
    follower = Follower(url, Pointers(storage, store), puller, lambda: None)
    before, had = 0, ""
    while True:
        if follower.poll() and (now := current_version(store)) != had:
            told.put((now, puller.fetched_bytes - before, time.time(), time.process_time()))
            before, had = puller.fetched_bytes, now
        time.sleep(2.0 * np.random.default_rng().uniform(0.75, 1.25))


def run_load(data: Path, store: Path, *, is_delta: bool) -> LoadReport:
    """Without the questions of the sample, which take compiled kernels and are not what is measured."""
    functions = LoadFunctions(compile_dataset, delta_base=DeltaBase)
    return load(LoadJob(data, store, delta=is_delta, force=True), functions)


def snapshot_bytes(store: Path) -> int:
    """What a server needs of the active snapshot."""
    files = open_snapshot(store, verify=False).manifest["files"]
    return sum(entry["size_bytes"] for entry in files.values())


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=4_000_000)
    parser.add_argument("--changed", type=int, default=10_000)
    parser.add_argument("--followers", type=int, default=20)
    parser.add_argument("--s3", action="store_true", help="through moto's server, in place of files")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pricegrid-follow-"))
    server = None
    url = f"file://{folder}/remote"
    if args.s3:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.s3_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.environ.update(
            AWS_ENDPOINT=server.stdout.readline().strip(),
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_REGION="us-east-1",
            AWS_ALLOW_HTTP="true",
        )
        url = "s3://shop/prices"
    try:
        measure(folder, url, args.entries, args.changed, args.followers)
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder)


def measure(folder: Path, url: str, entries: int, changed: int, count: int) -> None:
    """Prints a JSON line a step."""
    store = folder / "made"
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    followers = [
        context.Process(target=follow, args=(url, folder / f"follower-{number}", told), daemon=True)
        for number in range(count)
    ]
    for each in followers:
        each.start()
    for name, data, is_delta in (
        ("first load", dataset(folder / "night", entries), False),
        ("delta", delta(folder / "noon", entries, changed), True),
        (
            "night: 2 of 40 books changed, one entry put in",
            dataset(folder / "next", entries, is_other=True),
            False,
        ),
    ):
        run_load(data, store, is_delta=is_delta)
        size = snapshot_bytes(store)
        began_s, cpu_s = time.time(), time.process_time()
        pushed = push(open_storage(url, to_write=True), store, current_version(store))
        step = {
            "step": name,
            "snapshot_mb": round(size / 1e6, 1),
            "push_s": round(time.time() - began_s, 2),
            "push_cpu_s": round(time.process_time() - cpu_s, 2),
            "sent_mb": round(pushed.sent_bytes / 1e6, 3),
        }
        if count:
            seen = [told.get() for _ in followers]
            fetched = [each[1] for each in seen]
            step |= {
                "all_have_it_s": round(max(each[2] for each in seen) - began_s, 2),
                "fetched_percent_max": round(100 * max(fetched) / size, 3),
                "fetched_mb_max": round(max(fetched) / 1e6, 3),
            }
            assert {each[0] for each in seen} == {current_version(store)}
        sys.stdout.write(json.dumps(step) + "\n")
        sys.stdout.flush()
    for each in followers:
        each.terminate()
        each.join()


if __name__ == "__main__":
    run()
