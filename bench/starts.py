"""What a start costs whose kernels are there, and what it costs that they are for any CPU.

A start is the CPU time of `pricegrid quote --store`, from the shell to the answer, beside that of a Python that does
nothing; it fails if a kernel is compiled. Then quotes of 1, 100 and 1,000 lines, request bytes to answer bytes: by
kernels for any CPU, as they are shipped, beside the same compiled for this one, in processes that take turns.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench import datasets as data
from bench.measure import Figure, figure, median_us

ROOT = Path(__file__).resolve().parent.parent
LINES = {1: 2000, 100: 200, 1000: 40}
"""Lines of a quote, and how many are asked in a round."""


def measure(size: str, store: Path, folder: Path, rounds: int) -> list[Figure]:
    """`size` names one of `bench.datasets`. Compiles kernels once for this CPU, into `folder`: some minutes."""
    sku = data.item_skus(getattr(data, size))[0]
    bare, ours = [sys.executable, "-c", "pass"], [sys.executable, "-m", "pricegrid.service.cli.main"]
    ours += ["quote", "--store", str(store), "--currency", "EUR", f"{sku}:1"]
    shipped = dict(os.environ)
    _cpu_s(ours, shipped)  # what was never asked here is compiled now
    took = [(_cpu_s(ours, shipped), _cpu_s(bare, shipped)) for _ in range(rounds)]
    figures = [
        figure(
            "first quote of a store, from the shell, kernels at hand",
            "–",
            *(statistics.median(column) for column in zip(*took, strict=True)),
            "a Python that does nothing",
            "s CPU",
        )
    ]
    native = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    native |= {"NUMBA_CACHE_DIR": str(folder), "PRICEGRID_SHIPPED_KERNELS": ""}
    _asked(size, store, native, dict.fromkeys(LINES, 1))  # compiles
    pairs = [(_asked(size, store, shipped, LINES), _asked(size, store, native, LINES)) for _ in range(rounds)]
    figures += [
        figure(
            f"quote of {lines:,} lines, kernels for any CPU",
            "≤ 1.10×",
            min(ours[str(lines)] for ours, _ in pairs),
            min(theirs[str(lines)] for _, theirs in pairs),
            "kernels for this one",
            "µs CPU",
        )
        for lines in LINES
    ]
    return figures


def _cpu_s(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stderr)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _asked(size: str, store: Path, environment: dict[str, str], lines: dict[int, int]) -> dict[str, float]:
    """Median CPU time of a quote, µs, by its lines, in a process of its own."""
    question = json.dumps([size, str(store), list(lines.items())])
    command = [sys.executable, "-c", "from bench.starts import main; main()", question]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """In the process: answers what `_asked` asks."""
    from bench import kernel
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.methods.quotes import QuoteService
    from pricegrid.service.process.bootstrap import load_snapshot
    from pricegrid.service.process.snapshots import SnapshotHolder
    from pricegrid.service.rpc.call import Caller

    name, store, lines = json.loads(sys.argv[1])
    size = getattr(data, name)
    loaded = load_snapshot(Path(store), None, ExceptionPolicy(), verify=False)
    service = QuoteService(SnapshotHolder(loaded, lambda _: loaded), lambda: data.AS_OF_US)
    questions, caller = kernel.Questions(size), Caller("bench")
    branches = data.branch_names(size)[:1]
    answer = {}
    for count, calls in lines:
        raws = [kernel.quote_bytes(questions.ask(count, "mixed"), branches) for _ in range(calls)]
        asked = [partial(service.quote_lines, raw, caller) for raw in raws]
        answer[count] = median_us(asked, time.process_time_ns)
    print(json.dumps(answer))
