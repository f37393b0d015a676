"""How the cost of a line grows with cells, items, customers, books and lines a request, beside `np.take`.

In process, requests of random customers and items ("mixed" of `bench.kernel`), other ones each time. One thing grows
at a time, by powers of ten; the rest stays as in `BASE`:

- items: of the catalogue, each with a list price;
- customers: in three levels, none with an entry of their own;
- books: a contract of 20 entries for each customer;
- cells: entries of each of 2,500 customers' contracts, which gives 10⁵ to 5·10⁶ cells;
- lines: of a request.

A line's cost is the median time of a request (1,000 lines, or as many as the curve says) divided by its lines: of the
kernel alone, and of `PriceLines` from request bytes to answer bytes. Every world is measured a few times in turn with
the others of its curve, and the median is kept: worlds of one curve can be compared.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench import datasets as data
from bench.kernel import One, Questions, kernel_call, request_bytes, take_calls
from bench.measure import Figure, figure, median_us
from pricegrid.loaders.compile.ordinals import Arrays
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.service.methods.pricing import PricingService
from pricegrid.service.rpc.call import Caller

BASE = data.Size(items=100_000, class_entries=2_000, customers=2_500, contract_entries=20)
LINES = 1000
SERVICE, KERNEL, TAKE = "PriceLines, bytes to bytes", "kernel", "np.take"
_REQUEST_LINES = (1, 10, 100, 1_000, 10_000)
_LINES_A_BLOCK = 20_000  # of each world in each round


@dataclass(frozen=True, slots=True)
class Curve:
    """What grows, and in which worlds."""

    what: str
    at: Sequence[int]
    """What the worlds have of it."""
    sizes: Sequence[data.Size]
    lines: Sequence[int]
    """Lines of a request, by world."""


def curves(tens: int) -> list[Curve]:
    """All curves; `tens` is how many powers of ten the largest world is made smaller by."""
    less = 10**tens

    def grown(what: str, counts: Sequence[int], **fixed: int) -> Curve:
        field = {
            "items": "items",
            "customers": "customers",
            "books": "customers",
            "cells": "contract_entries",
        }
        sizes = [replace(BASE, **{**fixed, field[what]: count}) for count in counts]
        at = [size.items + 10 * size.class_entries + size.customers * size.contract_entries for size in sizes]
        return Curve(what, at if what == "cells" else counts, sizes, [LINES] * len(counts))

    lines = _REQUEST_LINES[: len(_REQUEST_LINES) - tens]
    return [
        grown("cells", (0, 200 // less, 2_000 // less)),
        grown("items", (10_000 // less, 100_000 // less, 1_000_000 // less), class_entries=1_000 // less),
        grown("customers", (1_000 // less, 10_000 // less, 100_000 // less), contract_entries=0),
        grown("books", (1_000 // less, 10_000 // less, 100_000 // less)),
        Curve("lines", lines, [BASE] * len(lines), lines),
    ]


class _World:
    """Something to ask, and how."""

    def __init__(self, arrays: Arrays, size: data.Size, lines: int) -> None:
        self._arrays, self._lines = arrays, lines
        self._engine, self._questions = PriceEngine(arrays), Questions(size, seed=3)
        self._rng = np.random.default_rng(4)
        service, caller = PricingService(One(self._engine), lambda: data.AS_OF_US), Caller("bench")
        self._answer = lambda raw: service.price_lines(raw, caller)

    def us_a_line(self) -> dict[str, float]:
        """Of one block of requests."""
        count = max(3, min(200, _LINES_A_BLOCK // self._lines))
        asks = [self._questions.ask(self._lines, "mixed") for _ in range(2 * count)]
        raws = [request_bytes(ask) for ask in asks[count:]]
        spent = {
            TAKE: median_us(take_calls(self._arrays, self._lines, count, self._rng)),
            KERNEL: median_us(kernel_call(self._engine, ask) for ask in asks[:count]),
            SERVICE: median_us([lambda raw=raw: self._answer(raw) for raw in raws]),
        }
        return {what: us / self._lines for what, us in spent.items()}


def points(curve: Curve, rounds: int) -> list[dict[str, Any]]:
    """One point a world: what it has of it, and µs a line."""
    compiled: dict[data.Size, Arrays] = {}
    for size in curve.sizes:
        if size not in compiled:
            compiled[size] = compile_prices(data.frames(size))
    worlds = [
        _World(compiled[size], size, lines) for size, lines in zip(curve.sizes, curve.lines, strict=True)
    ]
    blocks = [[world.us_a_line() for world in worlds] for _ in range(rounds + 1)][1:]  # the first warms up
    return [
        {
            "at": at,
            "us_a_line": {what: statistics.median(b[k][what] for b in blocks) for what in blocks[0][k]},
        }
        for k, at in enumerate(curve.at)
    ]


def measure(tens: int, rounds: int) -> tuple[list[Figure], dict[str, Any]]:
    """The growth of each curve as a figure, and its points."""
    details = {curve.what: points(curve, rounds) for curve in curves(tens)}
    return figures(details), details


def figures(details: dict[str, Any]) -> list[Figure]:
    """A line in the largest world beside one in the smallest."""
    made = []
    for what, some in details.items():
        least, most = (each["us_a_line"][KERNEL] for each in (some[0], some[-1]))
        if what == "lines":
            name, floor_is = "kernel, a line of {1:,} beside a line of {0:,}", "a line of {0:,}"
        else:
            name, floor_is = "kernel, cost a line from {0:,} to {1:,} " + what, "{0:,} " + what
        ends = some[0]["at"], some[-1]["at"]
        goal = "≤ 2×" if what == "cells" else ""
        made.append(figure(name.format(*ends), goal, most, least, floor_is.format(*ends), "µs a line"))
    return made


def table(details: dict[str, Any]) -> str:
    """All points as Markdown."""
    rows = [f"| | | {TAKE}, µs a line | {KERNEL} | {SERVICE} |", "|---|---|---|---|---|"]
    for what, some in details.items():
        for each in some:
            us = each["us_a_line"]
            cells = [f"{us[who]:.3f} ({us[who] / us[TAKE]:.0f}×)" for who in (KERNEL, SERVICE)]
            rows.append(f"| {what} | {each['at']:,} | {us[TAKE]:.4f} | {' | '.join(cells)} |")
    return "\n".join(rows)
