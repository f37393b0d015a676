"""`PriceLines` and `QuoteLines` over real gRPC beside an echo of the same byte counts on the same core.

`pricegrid serve --workers 1` and the echo server (`bench.echo_server`: grpcio, sync, as many threads) are pinned to
one core, the load generator (`bench.http2_load`, 32 calls in flight) to another. They are asked in turn, several
rounds, each round with the same requests; the figure is the median of the rounds' ratios of RPC rates. Requests are
distinct ones of random customers and items ("mixed" of `bench.kernel`), sent in turn. Beside the rate stands the CPU
time of the server process a call, which a busy machine disturbs less.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import grpc

from bench import datasets as data
from bench.echo_server import SERVICE
from bench.http2_load import write_messages
from bench.kernel import Questions, quote_bytes, request_bytes
from bench.measure import ROOT, Figure, child
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.service.limits import WORKER_THREADS
from pricegrid.service.transport.choice import GRPCIO, HTTP2

LINES = (1, 100, 1000)


@dataclass(frozen=True, slots=True)
class Method:
    """A method under test."""

    name: str
    path: str
    request: Callable[[data.Size, PriceAsk], bytes]
    goals: Mapping[str, Mapping[int, str]]
    """By transport and lines."""


PRICE_LINES = Method(
    "PriceLines", "/pricegrid.v1.PricingService/PriceLines", lambda _, ask: request_bytes(ask), {}
)
QUOTE_LINES = Method(
    "QuoteLines",
    "/pricegrid.v1.QuoteService/QuoteLines",
    lambda size, ask: quote_bytes(ask, data.branch_names(size)[:1]),
    {
        GRPCIO: {1: "≥ 0.90", 100: "≥ 0.85", 1000: "≥ 0.60"},
        HTTP2: {1: "≥ 5.0", 100: "≥ 1.3", 1000: "≥ 0.35"},
    },
)
IN_FLIGHT = 32
_OVER = {GRPCIO: "gRPC", HTTP2: "gRPC by uvloop"}
_REQUESTS = {1: 4000, 100: 1000, 1000: 300}


def cores() -> tuple[int, int]:
    """One core for servers, one for the load."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process, by its clock: /proc counts in hundredths, which on a busy machine may be none."""
    return time.clock_gettime(~pid << 3 | 2)  # the number of that clock, as clock_getcpuclockid(3) makes it


def _worker_of(pid: int) -> int:
    """The process that answers: the supervisor has others too."""
    own = _children(pid)
    others = chain(own, *map(_children, own))  # another one forks it
    return next(c for c in others if Path(f"/proc/{c}/comm").read_text().strip() == "pricegrid-work")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def _process(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile runs on that core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def pricegrid_server(store: Path, core: int, transport: str = GRPCIO) -> Iterator[tuple[str, int]]:
    """Address and worker of a server whose processes are all on `core`."""
    with on_core(core):
        serve = _process(
            [
                "pricegrid.service.cli.main",
                "serve",
                "--store",
                str(store),
                "--port",
                "0",
                "--workers",
                "1",
                "--transport",
                transport,
                "--json",
            ]
        )
        process = serve.__enter__()
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield ready["address"], _worker_of(process.pid)
    finally:
        serve.__exit__(None, None, None)


@contextmanager
def echo_server(core: int, answer_bytes: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Address and process of the floor, on `core`, for answers of those sizes."""
    words = [str(w) for w in ("bench.echo_server", core, WORKER_THREADS, *answer_bytes)]
    with _process(words) as echo:
        assert echo.stdout is not None
        yield echo.stdout.readline().strip(), echo.pid


def _load(address: str, path: str, requests: Path, seconds: float, core: int, pid: int) -> dict[str, Any]:
    before = _cpu_s(pid)
    words = (address, path, str(requests), str(seconds), str(IN_FLIGHT), str(core))
    done = child("bench.http2_load", *words)
    done["server_cpu_us"] = (_cpu_s(pid) - before) / done["calls"] * 1e6
    done["rate"] = done["calls"] / done["seconds"]
    if done["resets"]:
        raise RuntimeError(f"{done['resets']} calls were reset by {path}")
    return done


def median_answer_bytes(address: str, path: str, raws: list[bytes]) -> int:
    """Median size of the answers to some of the requests; raises if one is refused."""
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 1 << 26)]) as channel:
        call = channel.unary_unary(path)
        return int(statistics.median(len(call(raw)) for raw in raws[:30]))


def one_line_quote_us(size: data.Size, store: Path, folder: Path) -> float:
    """CPU time of the server for a quote of one line: what parts of a call are compared with."""
    figures = measure(QUOTE_LINES, size, store, folder, 5, 0.5)
    found = next(each.reached for each in figures if each.name.endswith("1 line, server CPU a call"))
    assert found is not None
    return found


def measure(
    method: Method,
    size: data.Size,
    store: Path,
    folder: Path,
    rounds: int,
    seconds: float,
    transport: str = GRPCIO,
) -> list[Figure]:
    """The ratios at each number of lines."""
    server_core, load_core = cores()
    questions = Questions(size, seed=5)
    figures = []
    with pricegrid_server(store, server_core, transport) as (address, worker):
        raws = {
            n: [method.request(size, questions.ask(n, "mixed")) for _ in range(_REQUESTS[n])] for n in LINES
        }
        files = {n: write_messages(folder / f"{method.name}-{n}", raws[n]) for n in LINES}
        answers = {n: median_answer_bytes(address, method.path, raws[n]) for n in LINES}
        with echo_server(server_core, answers.values()) as (echo_address, echo_pid):
            for lines in LINES:
                pairs = []
                for _ in range(rounds):
                    floor = _load(
                        echo_address,
                        f"/{SERVICE}/{answers[lines]}",
                        files[lines],
                        seconds,
                        load_core,
                        echo_pid,
                    )
                    ours = _load(address, method.path, files[lines], seconds, load_core, worker)
                    check_answered(ours, answers[lines])
                    pairs.append((ours, floor))
                name = f"{method.name} over {_OVER[transport]}, {lines:,} line{'s' if lines > 1 else ''}"
                goal = method.goals[transport].get(lines, "") if transport in method.goals else ""
                figures.extend(_figures(name, goal, pairs, len(raws[lines][0]), answers[lines]))
    return figures


def check_answered(done: dict[str, Any], answer_bytes: int) -> None:
    """Refusals have no message: the bytes that came must be those of answers."""
    if done["data_bytes"] < 0.8 * done["calls"] * answer_bytes:
        raise RuntimeError(f"{done['data_bytes']} bytes in {done['calls']} answers: some were refused")


def _figures(
    name: str, goal: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]], sent: int, got: int
) -> list[Figure]:
    def medians(key: str) -> tuple[float, float, float]:
        ratio = statistics.median(ours[key] / floor[key] for ours, floor in pairs)
        return statistics.median(o[key] for o, _ in pairs), statistics.median(f[key] for _, f in pairs), ratio

    client = max(f["client_cpu_s"] / f["seconds"] for _, f in pairs)
    ours, floor, ratio = medians("rate")
    spread = ", ".join(f"{o['rate'] / f['rate']:.3f}" for o, f in pairs)
    note = f"{sent:,} B asked, {got:,} B answered; rounds {spread}; load generator {client:.0%} of its core"
    rate = Figure(name, goal, ours, floor, "grpcio echo, same bytes", "RPC/s", ratio, note)
    ours, floor, ratio = medians("server_cpu_us")
    cpu = Figure(f"{name}, server CPU a call", "", ours, floor, "grpcio echo, same bytes", "µs", ratio)
    return [rate, cpu]
