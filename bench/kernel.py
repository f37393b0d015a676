"""In process: what a price lookup costs beside `np.take` of as many prices, and what a cell costs in bytes.

Measured at 1, 10, 100 and 1,000 lines a call, every call with other random lines (cold: nothing is asked twice):
the kernel alone (`price_batch`), `PriceEngine.price`, and `PricingService.price_lines` from request bytes to answer
bytes. The floor is `np.take` on an int64 array of one price a cell with as many random places. Three kinds of lines:
"list" is what everyone gets (one book, net prices, breaks on every fifth item); "mixed" is a random customer of three
levels with six bundles in the stack, where half of the items are priced by a class × group discount on list; "own" is
the customer's own contract. The kernel's time holds everything: SKU text to item, stack, cells, breaks, extended
price, `valid_until`.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bench import datasets as data
from bench.measure import Figure, figure, median_us
from pricegrid import v1
from pricegrid.loaders.compile.ordinals import Arrays
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.arrays.matrix import matrix_from_arrays
from pricegrid.pricing_engine.engine import PriceAsk, PriceEngine
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.fast_path.path import FastPath
from pricegrid.service.methods.pricing import Caller, PricingService
from pricegrid.service.process.snapshots import LoadedSnapshot

LINES = (1, 10, 100, 1000)
_CALLS = {1: 2000, 10: 1000, 100: 400, 1000: 120}

Asks = Iterator[PriceAsk]


class Questions:
    """Random requests of one world; each call draws others."""

    def __init__(self, size: data.Size, seed: int = 1) -> None:
        self._rng = np.random.default_rng(seed)
        self._skus = [sku.encode() for sku in data.item_skus(size)]
        self._customers = data.customer_ids(size).to_list()

    def ask(self, lines: int, kind: str) -> PriceAsk:
        """One request of `lines` distinct items; kind "list" or "mixed"."""
        rng = self._rng
        places = (
            rng.choice(len(self._skus), lines, replace=False, shuffle=False)
            if lines > 1
            else [rng.integers(len(self._skus))]
        )
        customer = "" if kind == "list" else self._customers[int(rng.integers(len(self._customers)))]
        return PriceAsk(
            customer,
            "EUR",
            "",
            data.AS_OF_US,
            [self._skus[place] for place in places],
            rng.integers(1, 150, lines) * MICROS,
            [b""] * lines,
        )


def request_bytes(ask: PriceAsk) -> bytes:
    """The ask as a serialised PriceLinesRequest."""
    quantities = ask.quantities_micros.tolist()
    lines = [
        v1.PriceLine(sku=sku.decode(), quantity_micros=quantity)
        for sku, quantity in zip(ask.skus, quantities, strict=True)
    ]
    raw: bytes = v1.PriceLinesRequest(
        customer_id=ask.customer_id, currency=ask.currency, lines=lines
    ).SerializeToString()
    return raw


def quote_bytes(ask: PriceAsk, branches: Sequence[str]) -> bytes:
    """The ask as a serialised QuoteLinesRequest."""
    request = v1.QuoteLinesRequest.FromString(request_bytes(ask))
    request.branches.extend(branches)
    request.as_of_time.FromMicroseconds(ask.as_of_us)
    raw: bytes = request.SerializeToString()
    return raw


class _CapturedError(Exception):
    """Ends a request where the kernel would begin."""


def kernel_call(engine: PriceEngine, ask: PriceAsk) -> Callable[[], object]:
    """The kernel's call for an ask, with the arguments that the engine gives it; not made yet."""
    given: list[tuple[Any, ...]] = []

    def capture(*arguments: Any) -> None:
        given.append(arguments)
        raise _CapturedError

    kernel = kn.price_batch
    kn.price_batch = capture
    try:
        with contextlib.suppress(_CapturedError):
            engine.price(ask)
    finally:
        kn.price_batch = kernel
    return lambda: kernel(*given[0])


def take_calls(
    arrays: Arrays, lines: int, calls: int, rng: np.random.Generator
) -> Iterator[Callable[[], object]]:
    """The floor: calls of `np.take` of as many prices."""
    prices = np.asarray(arrays["cell_value"])
    for _ in range(calls):
        places = rng.integers(0, len(prices), lines)
        yield lambda places=places: np.take(prices, places)


class One:
    """A snapshot source of one snapshot."""

    def __init__(self, engine: PriceEngine) -> None:
        version = "20260101T000000Z-00000000"
        self._loaded = LoadedSnapshot(version, 0, engine, "UTC", fast_path=FastPath(version, 0, engine, None))

    def get(self, version: str) -> LoadedSnapshot:  # noqa: ARG002 -- the protocol's
        """It, whatever the version."""
        return self._loaded


def _layers_of_a_call(
    engine: PriceEngine, questions: Questions, kind: str, lines: int, calls: int
) -> dict[str, float]:
    """Median µs of the kernel, the engine, and the service from bytes to bytes."""
    service, caller = PricingService(One(engine), lambda: data.AS_OF_US), Caller("bench")

    def asks() -> Asks:
        return (questions.ask(lines, kind) for _ in range(calls))

    raws = [request_bytes(ask) for ask in asks()]
    return {
        "kernel": median_us(kernel_call(engine, ask) for ask in asks()),
        "engine": median_us((lambda ask=ask: engine.price(ask)) for ask in asks()),
        "service": median_us((lambda raw=raw: service.price_lines(raw, caller)) for raw in raws),
    }


def measure(size: data.Size, label: str, scale: float = 1.0) -> list[Figure]:
    """All in-process figures of one world."""
    arrays = compile_prices(data.frames(size))
    engine, questions, rng = PriceEngine(arrays), Questions(size), np.random.default_rng(2)
    engine.price(questions.ask(1, "mixed"))
    PricingService(One(engine), lambda: data.AS_OF_US).price_lines(
        request_bytes(questions.ask(1, "mixed")), Caller("bench")
    )
    figures = []
    for kind in ("list", "mixed"):
        for lines in LINES:
            calls = max(20, int(_CALLS[lines] * scale))
            floor = median_us(take_calls(arrays, lines, calls, rng))
            for what, reached in _layers_of_a_call(engine, questions, kind, lines, calls).items():
                goal = "≤ 3×" if what == "kernel" and lines == 1000 else ""
                figures.append(
                    figure(
                        f"{what}, {kind}, {lines:,} line{'s' if lines > 1 else ''}, {label}",
                        goal,
                        reached,
                        floor,
                        "np.take",
                        "µs",
                    )
                )
    return figures


def bytes_a_cell(size: data.Size) -> list[Figure]:
    """Index and price of a list of one break, and the same with the entry's number."""
    arrays = compile_prices(data.frames(size))
    matrix_from_arrays(arrays)
    cells = len(arrays["cell_value"])
    price = (
        sum(arrays[name].nbytes for name in ("cell_value", "cell_low", "cell_directory", "cell_ranks"))
        / cells
    )
    whole = price + arrays["cell_entry"].nbytes / cells
    floor, floor_is = 8.0, "the int64 price"
    return [
        figure("bytes a cell, index and price", "≤ 12", price, floor, floor_is, "B", f"{cells:,} cells"),
        figure("bytes a cell, with the entry's number", "", whole, floor, floor_is, "B", "for entry ids"),
    ]


def growth(small: data.Size, large: data.Size, scale: float = 1.0) -> list[Figure]:
    """Cost of a line as cells grow: 1,000 mixed lines a call, both worlds in turn."""
    worlds = []
    for size in (small, large):
        arrays = compile_prices(data.frames(size))
        worlds.append((len(arrays["cell_value"]), PriceEngine(arrays), Questions(size)))
    times: list[list[float]] = [[], []]
    for _ in range(max(5, int(20 * scale))):
        for place, (_, engine, questions) in enumerate(worlds):
            calls = [kernel_call(engine, questions.ask(1000, "mixed")) for _ in range(5)]
            times[place].append(median_us(calls))
    (few, _, _), (many, _, _) = worlds
    name, floor_is = f"cost a line from {few:,} to {many:,} cells", f"the same kernel on {few:,} cells"
    least, most = map(statistics.median, times)
    return [figure(name, "≤ 2×", most, least, floor_is, "µs", "1,000 lines, mixed")]
