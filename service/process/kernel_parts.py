"""All that kernels are for, in parts that can be done side by side.

Every part works on a small made-up store as users would, so that each kernel is compiled for the types that it is
called with.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Part:
    """Kernels that are compiled one after the other, beside those of other parts."""

    run: Callable[[Path], None]
    """Does what they are for, in the directory where part `load` has made a store."""
    after: tuple[str, ...] = ("load",)
    """Parts that make what this one needs, or kernels that both would compile."""


def _load(directory: Path) -> None:
    from pricegrid.loaders.demo.dataset import CUSTOMERS_MIN, ITEMS_MIN, generate
    from pricegrid.loaders.publish import LoadJob, load
    from pricegrid.loaders.report import Progress

    dataset = generate(directory / "dataset", items=2 * ITEMS_MIN, customers=CUSTOMERS_MIN)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        load(
            LoadJob(dataset.directory, directory / "store", time_zone=dataset.time_zone),
            progress=Progress(nowhere),
        )


def _load_again(directory: Path) -> None:
    """What only a load over a running snapshot does: comparing, and laying changes over it."""
    import polars as pl

    from pricegrid.loaders.demo.dataset import CUSTOMERS_MIN, ITEMS_MIN, TIME_ZONE, generate
    from pricegrid.loaders.publish import LoadJob, load
    from pricegrid.loaders.report import Progress

    store, changes = directory / "store", directory / "changes"
    later = generate(
        directory / "later", items=2 * ITEMS_MIN, customers=CUSTOMERS_MIN, as_of=date(2026, 1, 16)
    )
    changes.mkdir()
    entries = pl.read_csv(later.directory / "price_entries.csv", infer_schema=False)
    entries.head(20).write_csv(changes / "price_entries.csv")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        for job in (
            LoadJob(later.directory, store, time_zone=TIME_ZONE, check=True),
            LoadJob(changes, store, time_zone=TIME_ZONE, delta=True, force=True),
        ):
            load(job, progress=Progress(nowhere))


def _verify(directory: Path) -> None:
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.bootstrap import open_snapshot_engines

    open_snapshot_engines(directory / "store", None, ExceptionPolicy(), verify=True)


def _warm(name: str) -> Callable[[Path], None]:
    def run(directory: Path) -> None:
        from pricegrid.pricing_engine.model import ExceptionPolicy
        from pricegrid.service.process import warm_up
        from pricegrid.service.process.bootstrap import open_snapshot_engines

        loaded, _ = open_snapshot_engines(directory / "store", None, ExceptionPolicy(), verify=False)
        getattr(warm_up, name)(loaded)

    return run


def _prices(directory: Path) -> None:
    """Also explanations of books of each kind, which read entries one by one."""
    import csv

    import numpy as np

    from pricegrid.loaders.demo.prices import SITE
    from pricegrid.pricing_engine.engine import PriceAsk
    from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy
    from pricegrid.service.process.bootstrap import open_snapshot_engines
    from pricegrid.service.process.warm_up import warm_prices

    loaded, _ = open_snapshot_engines(directory / "store", None, ExceptionPolicy(), verify=False)
    warm_prices(loaded)
    with (directory / "dataset" / "items.csv").open(encoding="utf-8") as items:
        skus = [row["sku"].encode() for row in csv.DictReader(items)]
    asked = np.full(len(skus), MICROS, np.int64)
    ask = PriceAsk(SITE, "", "", loaded.created_at_us, skus, asked, [b""] * len(skus), service_desk=True)
    for line in range(len(skus)):
        loaded.engine.explain(ask, line)


def _codec(directory: Path) -> None:
    """Requests taken apart and answers put together, of no lines: without the kernels that price."""
    import numpy as np

    from pricegrid import v1
    from pricegrid.atp.kernels.quote import FREE_SIZE
    from pricegrid.pricing_engine.kernels.price import ANSWER_SIZE
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.codec.encode_kernel import write_prices, write_quotes
    from pricegrid.service.codec.prices import scan
    from pricegrid.service.process.bootstrap import open_snapshot_engines

    loaded, _ = open_snapshot_engines(directory / "store", None, ExceptionPolicy(), verify=False)
    answers, sources, free = (np.zeros((0, size), np.int64) for size in (ANSWER_SIZE, 2, FREE_SIZE))
    out = np.empty(0, np.uint8)
    write_prices(loaded.engine.descriptor, answers, sources, out)
    write_quotes(loaded.engine.descriptor, answers, sources, free, loaded.created_at_us, out)
    scan(v1.QuoteLinesRequest(lines=[v1.PriceLine(sku="?")]).SerializeToString())


def _availability(directory: Path) -> None:
    """Also what a start leaves to the first order that has to be shipped complete."""
    import numpy as np

    from pricegrid.atp.model import PromiseAsk, PromisePolicy
    from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy
    from pricegrid.service.process.bootstrap import open_snapshot_engines
    from pricegrid.service.process.warm_up import warm_availability

    loaded, _ = open_snapshot_engines(directory / "store", None, ExceptionPolicy(), verify=False)
    warm_availability(loaded)
    engine = loaded.availability
    assert engine is not None  # noqa: S101 -- the made-up distributor has stock
    items = range(len(engine.positions.tables.kit_start) - 1)
    skus = [engine.sku(item).encode() for item in items]
    asked = np.full(len(skus), MICROS, np.int64)
    branches = [engine.branch(0).encode(), engine.branch(1).encode()]
    for policy in (PromisePolicy(ship_complete=True), PromisePolicy(allow_substitutes=True)):
        for sku in range(len(skus)):
            one = slice(sku, sku + 1)
            engine.promise(
                PromiseAsk(loaded.created_at_us, skus[one], asked[one], [b""], branches, policy=policy)
            )


def _live(directory: Path) -> None:
    """What a writer holds in memory, what a worker maps to read only, and what it charges callers with."""
    from pricegrid.atp.live.layout import VERSION
    from pricegrid.atp.live.positions import LiveWriter, PairImage, look, open_live
    from pricegrid.service.process.warm_up import warm_live
    from pricegrid.service.quota.quotas import warm_up

    warm_up()
    warm_live()
    path = directory / "positions.live"
    for writer in (LiveWriter.in_memory(1, 64), LiveWriter.create(path, 1, 64, snapshot=1, boot=1)):
        writer.put(0, 0, PairImage((0,) * VERSION, [], [], []))
        look(writer.readable(), 0, 0)
    look(open_live(path), 0, 0)


# In this order, as far as `after` lets them, two processes end at about the same time.
PARTS: Final[Mapping[str, Part]] = MappingProxyType(
    {
        "load": Part(_load, after=()),
        "live": Part(_live, after=()),
        "prices": Part(_prices),
        "codec": Part(_codec),
        "availability": Part(_availability, after=("load", "live")),
        "fast_path": Part(_warm("warm_fast_path"), after=("prices", "codec")),
        "verify": Part(_verify),
        "load_again": Part(_load_again, after=("prices", "availability", "verify")),
    }
)
