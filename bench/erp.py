"""What ordinary requests feel of an ERP in trouble, and how soon it is left alone and found again.

`pricegrid serve --workers 1 --erp-config ...` with the limits that it has by default is on one core; the load and a
small ERP that misbehaves on demand (`tests.erp_server`) are on another. All the time there are ordinary requests (ten
lines, 200 a second) and exceptions (one line that only the ERP answers and that was never asked before, 20 a second),
both at fixed instants, whatever came back. Stretches with the ERP well and with the fault alternate, each with the
breaker closed at its beginning; a figure is the p99 of the ordinary requests of all stretches with the fault beside
that of all without.
"""

import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench.measure import ROOT, Figure, figure
from bench.rpc import cores
from bench.small_erp import STOPPED
from pricegrid import v1
from tests.erp_server import MAPPING
from tests.stores import SKUS, publish, stocked_rows

FAULTS = (
    STOPPED,
    "HANGING",
    "SLOW",
    "DRIPPING",
    "ERRORS",
    "WRONG_CURRENCY",
    "NEGATIVE",
    "NAN",
    "HUGE",
    "REDIRECT",
    "OTHER_ITEM",
)
WELL = "NONE"
ORDINARY_PER_S, EXCEPTIONS_PER_S = 200, 20
DEADLINE_S = 2.0
_PATH = "/pricegrid.v1.PricingService/PriceLines"


@dataclass
class World:
    """A server, its ERP, and a channel to it."""

    channel: grpc.Channel
    erp: subprocess.Popen[str]
    metrics_url: str
    quantities: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def set_fault(self, fault: str) -> None:
        """Takes effect before this returns."""
        assert self.erp.stdin is not None
        assert self.erp.stdout is not None
        self.erp.stdin.write(fault + "\n")
        self.erp.stdin.flush()
        assert self.erp.stdout.readline().strip() == fault

    def exception(self) -> bytes:
        """A request that nobody has asked yet."""
        line = v1.PriceLine(sku="X1", quantity_micros=next(self.quantities) * 1_000_000)
        return v1.PriceLinesRequest(customer_id="C1", lines=[line]).SerializeToString()

    def is_open(self) -> bool:
        """Whether the breaker is."""
        page = urllib.request.urlopen(self.metrics_url, timeout=10).read().decode()
        return "\npricegrid_erp_breaker_open 1.0" in page

    def is_answered(self) -> bool:
        """Whether an exception comes back from the ERP now."""
        raw = self.channel.unary_unary(_PATH)(self.exception(), timeout=DEADLINE_S)
        (line,) = v1.PriceLinesResponse.FromString(raw).results
        return line.source == v1.PriceSource.PRICE_SOURCE_ERP

    def is_well(self) -> None:
        """Waits until it is: the ERP well and the breaker closed."""
        self.set_fault(WELL)
        while not self.is_answered():
            time.sleep(0.02)


@contextmanager
def _child(words: Sequence[str], core: int, **more: object) -> Iterator[subprocess.Popen[str]]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # what it starts inherits it
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            **more,  # type: ignore[call-overload]
        )
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Everything running and warm."""
    server_core, load_core = cores()
    store = folder / "store"
    publish(store, stocked_rows())
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {load_core})
    try:
        with _child(["bench.small_erp"], load_core, stdin=subprocess.PIPE) as erp:
            assert erp.stdout is not None
            config = folder / "erp.toml"
            config.write_text(MAPPING.format(url=erp.stdout.readline().strip()))
            words = [
                "pricegrid.service.cli.main",
                "serve",
                "--store",
                str(store),
                "--port",
                "0",
                "--workers",
                "1",
                "--json",
            ]
            words += ["--erp-config", str(config), "--metrics-port", "0"]
            with _child(words, server_core, stderr=subprocess.DEVNULL) as server:
                assert server.stdout is not None
                ready = json.loads(server.stdout.readline())
                with grpc.insecure_channel(ready["address"]) as channel:
                    made = World(channel, erp, f"http://127.0.0.1:{ready['metrics_port']}/metrics")
                    made.is_well()
                    yield made
    finally:
        os.sched_setaffinity(0, before)


def stretch(at: World, seconds: float) -> list[float]:
    """Seconds that each ordinary request took, from the instant it was due."""
    lines = [v1.PriceLine(sku=sku, quantity_micros=3_000_000) for sku in SKUS[2:12]]
    ordinary = v1.PriceLinesRequest(customer_id="C1", lines=lines).SerializeToString()
    call = at.channel.unary_unary(_PATH)
    took: list[float] = []
    waiting = []
    begin_s = time.perf_counter()
    every = ORDINARY_PER_S // EXCEPTIONS_PER_S
    for number in range(int(seconds * ORDINARY_PER_S)):
        due_s = begin_s + number / ORDINARY_PER_S
        time.sleep(max(0.0, due_s - time.perf_counter()))
        if number % every == 0:
            waiting.append(call.future(at.exception(), timeout=DEADLINE_S))
        asked = call.future(ordinary, timeout=DEADLINE_S)
        asked.add_done_callback(lambda _, due_s=due_s: took.append(time.perf_counter() - due_s))
        waiting.append(asked)
    for each in waiting:
        each.result()  # none of them may fail
    return took


def p99_ms(took: Sequence[float]) -> float:
    """In milliseconds."""
    return statistics.quantiles(took, n=100)[98] * 1000


def breaker_s(at: World, fault: str) -> tuple[float | None, float]:
    """How soon after the fault began the breaker was open (None: this fault does not open it), and how soon after it
    ended the ERP answered again."""
    call = at.channel.unary_unary(_PATH)
    at.set_fault(fault)
    begin_s = time.perf_counter()
    opened: float | None = None
    waiting = []
    while opened is None and time.perf_counter() - begin_s < 3:
        waiting.append(call.future(at.exception(), timeout=DEADLINE_S))
        time.sleep(1 / EXCEPTIONS_PER_S)
        if at.is_open():
            opened = time.perf_counter() - begin_s
    if opened is not None:
        time.sleep(5.0)  # it is probed meanwhile, and some faults let trials fail
    for each in waiting:
        each.result()
    begin_s = time.perf_counter()
    at.is_well()
    return opened, time.perf_counter() - begin_s


def measure(folder: Path, rounds: int, seconds: float, faults: Sequence[str] = FAULTS) -> list[Figure]:
    """A figure for each fault."""
    figures = []
    with world(folder) as at:
        stretch(at, seconds)  # warm
        gc.collect()
        gc.freeze()  # the load generator's own look through its memory would be counted as 50 ms of the server's
        for fault in faults:
            well: list[float] = []
            ill: list[float] = []
            ratios = []
            for number in range(rounds):
                parts = {}
                for is_ill in (False, True) if number % 2 else (True, False):
                    at.is_well()
                    at.set_fault(fault if is_ill else WELL)
                    parts[is_ill] = stretch(at, seconds)
                well += parts[False]
                ill += parts[True]
                ratios.append(p99_ms(parts[True]) / p99_ms(parts[False]))
            at.is_well()
            opened, found = breaker_s(at, fault)
            told = "does not open" if opened is None else f"opens after {opened:.2f} s"
            note = f"breaker {told}, ERP asked again {found:.2f} s after the end; rounds " + ", ".join(
                f"{ratio:.2f}" for ratio in ratios
            )
            figures.append(
                figure(
                    f"p99 of ordinary requests, ERP {fault}",
                    "≤ 1.10×",
                    p99_ms(ill),
                    p99_ms(well),
                    "the same load, ERP well",
                    "ms",
                    note,
                )
            )
    return figures


def main() -> int:
    """`python -m bench.erp [ROUNDS SECONDS [FAULT ...]]`"""
    rounds, seconds = (int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else (5, 3.0)
    faults = sys.argv[3:] or FAULTS
    with tempfile.TemporaryDirectory(prefix="pricegrid-bench-") as folder:
        for each in measure(Path(folder), rounds, seconds, faults):
            print(
                f"{each.name}: {each.reached:.2f} ms, {each.floor:.2f} ms well, {each.ratio:.2f}x; {each.note}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
