"""Promises in process: lines a second under each policy, and the two requests that once held a worker.

Random positions of 10,000 items in four branches: stock everywhere, half of the pairs with up to three receipts and
half with up to three demands; a kit of two of them for every tenth item. Every request asks for `LINES` lines of half
to twice what a branch has on its shelf, so that most are split over branches and days.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.measure import Figure, figure, median_us
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import MICROS, PromiseAsk, PromisePolicy
from pricegrid.loaders.compile.positions import compile_positions

LINES = 10_000
DAY_US = 86_400 * MICROS
AS_OF_US = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * MICROS
POLICIES = {
    "plain": PromisePolicy(),
    "no_split": PromisePolicy(no_split=True),
    "minimum_shipment": PromisePolicy(minimum_shipment_micros=5 * MICROS),
    "ship_complete": PromisePolicy(ship_complete=True),
    "allow_substitutes": PromisePolicy(allow_substitutes=True),
}


def dated(rng: np.random.Generator, pairs: int, most: int, units: int) -> tuple[NDArray[np.int64], ...]:
    """(pair, micros, instant) of up to `most` rows for half of the pairs, within 60 days."""
    count = rng.integers(0, most + 1, pairs) * rng.integers(0, 2, pairs)
    pair = np.repeat(np.arange(pairs), count)
    return (
        pair,
        rng.integers(1, units, len(pair)) * MICROS,
        AS_OF_US + rng.integers(0, 60, len(pair)) * DAY_US,
    )


def make_engine(items: int, branches: int, receipts: int, seed: int = 5) -> AvailabilityEngine:
    """An engine over random positions; the first tenth of the SKUs are kits of two later ones."""
    rng, pairs = np.random.default_rng(seed), items * branches
    skus = np.array([f"I{item:06d}" for item in range(items)])
    names = np.array([f"B{branch:03d}" for branch in range(branches)])

    def columns(pair: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
        return {"sku": skus[pair // branches], "branch": names[pair % branches]}

    later = [skus[item + 1] if item % 2 == 0 and item + 1 < items else None for item in range(items)]
    every = np.arange(pairs)
    receipt, received, expected = dated(rng, pairs, receipts, 60)
    demand, owed, due = dated(rng, pairs, 3, 20)
    kits = max(1, items // 10)
    parts = rng.integers(kits, items, 2 * kits)
    parts[1::2] = np.where(
        parts[1::2] == parts[::2], kits + (parts[1::2] - kits + 1) % (items - kits), parts[1::2]
    )
    frames = {
        "items": pl.DataFrame({"sku": skus, "base_uom": "EA", "superseded_by": later}),
        "branches": pl.DataFrame({"branch": names}),
        "stock": pl.DataFrame(
            {**columns(every), "on_hand_micros": rng.integers(0, 60, pairs) * MICROS, "as_of_us": AS_OF_US}
        ),
        "receipts": pl.DataFrame(
            {
                **columns(receipt),
                "quantity_micros": received,
                "expected_at_us": expected,
                "confidence_micros": MICROS,
            }
        ),
        "demands": pl.DataFrame({**columns(demand), "quantity_micros": owed, "due_at_us": due}),
        "kits": pl.DataFrame(
            {
                "kit_sku": np.repeat(skus[:kits], 2),
                "component_sku": skus[parts],
                "quantity_micros": rng.integers(1, 4, 2 * kits) * MICROS,
            }
        ),
    }
    return AvailabilityEngine(compile_positions(frames))


def ask(skus: Sequence[bytes], rng: np.random.Generator, policy: PromisePolicy) -> PromiseAsk:
    """Some tens of each SKU."""
    return PromiseAsk(
        AS_OF_US, skus, rng.integers(30, 120, len(skus)) * MICROS, [b""] * len(skus), policy=policy
    )


def measure(items: int = 10_000, lines: int = LINES, calls: int = 5) -> list[Figure]:
    """Microseconds a request, beside the same lines promised plainly."""
    engine, rng = make_engine(items, 4, 3), np.random.default_rng(11)
    skus = engine.positions.skus.all()
    kits, singles = skus[: items // 10], skus[items // 10 :]
    requests = {
        name: [
            ask([singles[k] for k in rng.permutation(len(singles))[:lines]], rng, policy)
            for _ in range(calls + 1)
        ]
        for name, policy in POLICIES.items()
    }
    requests["lines that share items"] = [
        ask([singles[k] for k in rng.integers(0, lines // 10, lines)], rng, PromisePolicy())
        for _ in range(calls + 1)
    ]
    requests["kits"] = [
        ask([kits[k] for k in rng.integers(0, len(kits), lines)], rng, PromisePolicy())
        for _ in range(calls + 1)
    ]
    figures, floor = [], 0.0
    for name, (first, *others) in requests.items():
        engine.promise(first)
        reached = median_us([lambda each=each: engine.promise(each) for each in others])
        floor = floor or reached
        note = f"{len(first.skus) / reached * 1e6:,.0f} lines/s"
        figures.append(
            figure(f"promise of {len(first.skus):,} lines, {name}", "", reached, floor, "plain", "µs", note)
        )
    figures.append(_one_hard_line(floor))
    return figures


def _one_hard_line(floor: float) -> Figure:
    """One line with a minimum shipment, from twenty branches with thirty receipts each."""
    engine = make_engine(20, 20, 0)
    rng, pairs = np.random.default_rng(3), 20
    frames = {
        "items": pl.DataFrame({"sku": ["X"], "base_uom": ["EA"]}),
        "branches": pl.DataFrame({"branch": [f"B{k:02d}" for k in range(pairs)]}),
    }
    branch = np.repeat(frames["branches"]["branch"].to_numpy(), 30)
    frames["stock"] = frames["branches"].with_columns(
        sku=pl.lit("X"), on_hand_micros=pl.lit(0, dtype=pl.Int64), as_of_us=pl.lit(AS_OF_US)
    )
    frames["receipts"] = pl.DataFrame(
        {
            "sku": "X",
            "branch": branch,
            "quantity_micros": rng.integers(1, 20, len(branch)) * MICROS,
            "expected_at_us": AS_OF_US + rng.integers(0, 85, len(branch)) * DAY_US,
            "confidence_micros": MICROS,
        }
    )
    engine = AvailabilityEngine(compile_positions(frames))
    policy = PromisePolicy(minimum_shipment_micros=7 * MICROS)
    hard = PromiseAsk(AS_OF_US, [b"X"], np.array([3_000 * MICROS]), [b""], policy=policy)
    engine.promise(hard)
    begin = time.perf_counter_ns()
    engine.promise(hard)
    reached = (time.perf_counter_ns() - begin) / 1000
    return figure(
        "promise of 1 line, minimum_shipment, 20 branches with 30 receipts each",
        "",
        reached,
        floor,
        "plain",
        "µs",
    )
