"""The kernels one by one, by pytest-benchmark: `make bench-kernels`.

For who works on one: `--benchmark-compare` holds it against a run that was saved before (`--benchmark-autosave`). What
is published are the ratios of `bench/run.py`. Every round asks other lines of a hundred thousand items.
"""

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

from pricegrid.service.process.kernel_cache import use_kernel_cache

use_kernel_cache(os.environ)  # before any kernel is imported

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from pytest_benchmark.fixture import BenchmarkFixture  # noqa: E402

from bench import datasets as data  # noqa: E402
from bench import kernel, loads  # noqa: E402
from pricegrid.atp.model import CheckAsk, PromiseAsk  # noqa: E402
from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy  # noqa: E402
from pricegrid.service.fast_path.kernel import QUOTE  # noqa: E402
from pricegrid.service.process.bootstrap import load_snapshot  # noqa: E402
from pricegrid.service.process.snapshots import LoadedSnapshot  # noqa: E402

SIZE, LINES, REQUESTS = "QUOTES_TENTH", (1, 100, 1000), 50


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedSnapshot:
    folder: Path = tmp_path_factory.mktemp("bench")
    return load_snapshot(loads.publish(SIZE, folder), None, ExceptionPolicy())


@pytest.fixture(scope="module")
def questions() -> kernel.Questions:
    return kernel.Questions(getattr(data, SIZE), seed=9)


def run(benchmark: BenchmarkFixture, calls: list[Callable[[], object]]) -> None:
    turns: Iterator[Callable[[], object]] = cycle(calls)
    calls[0]()
    benchmark(lambda: next(turns)())  # noqa: PLW0108 - it would time one call only


@pytest.mark.parametrize("lines", LINES)
def test_price_kernel(
    benchmark: BenchmarkFixture, loaded: LoadedSnapshot, questions: kernel.Questions, lines: int
) -> None:
    run(
        benchmark,
        [kernel.kernel_call(loaded.engine, questions.ask(lines, "mixed")) for _ in range(REQUESTS)],
    )


@pytest.mark.parametrize("lines", LINES)
def test_np_take(benchmark: BenchmarkFixture, lines: int) -> None:
    rng, prices = np.random.default_rng(2), np.arange(1_000_000)
    places = [rng.integers(0, len(prices), lines) for _ in range(REQUESTS)]
    run(benchmark, [lambda each=each: prices.take(each) for each in places])


@pytest.mark.parametrize("lines", LINES)
def test_quote_bytes_to_bytes(
    benchmark: BenchmarkFixture, loaded: LoadedSnapshot, questions: kernel.Questions, lines: int
) -> None:
    fast_path = loaded.fast_path
    branches = data.branch_names(getattr(data, SIZE))[:1]
    raws = [kernel.quote_bytes(questions.ask(lines, "mixed"), branches) for _ in range(REQUESTS)]
    assert fast_path is not None
    asked = QUOTE, data.AS_OF_US, ""
    assert fast_path.answer(raws[0], *asked) is not None
    run(benchmark, [lambda raw=raw: fast_path.answer(raw, *asked) for raw in raws])


@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("what", ["check", "promise"])
def test_availability(
    benchmark: BenchmarkFixture, loaded: LoadedSnapshot, questions: kernel.Questions, lines: int, what: str
) -> None:
    engine, branches = loaded.availability, [n.encode() for n in data.branch_names(getattr(data, SIZE))]
    quantities, uoms = np.full(lines, MICROS, np.int64), [b""] * lines
    skus = [questions.ask(lines, "list").skus for _ in range(REQUESTS)]
    assert engine is not None
    if what == "check":
        asks = [CheckAsk(data.AS_OF_US, each, quantities, uoms, branches=branches) for each in skus]
        run(benchmark, [lambda ask=ask: engine.check(ask) for ask in asks])
    else:
        orders = [PromiseAsk(data.AS_OF_US, each, quantities, uoms, branches=branches) for each in skus]
        run(benchmark, [lambda ask=ask: engine.promise(ask) for ask in orders])
