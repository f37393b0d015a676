"""What all measurements share: clocks, medians, memory of a process, and what machine and versions they ran on."""

import gc
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("grpcio", "protobuf", "numpy", "numba", "polars")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing beside its floor, both from the same run."""

    name: str
    goal: str
    reached: float | None
    """In `unit`; None: could not be measured."""
    floor: float | None
    floor_is: str
    unit: str
    ratio: float | None
    """Reached to floor, as the goal says it."""
    note: str = ""
    part: str = ""
    """Of `bench/run.py`."""
    run: str = ""
    """When that run began."""


def figure(
    name: str, goal: str, reached: float, floor: float, floor_is: str, unit: str, note: str = ""
) -> Figure:
    """A figure whose ratio is reached / floor."""
    return Figure(name, goal, reached, floor, floor_is, unit, reached / floor, note)


def as_json(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Figures as plain dictionaries."""
    return [asdict(each) for each in figures]


def median_us(
    calls: Iterable[Callable[[], object]], clock_ns: Callable[[], int] = time.perf_counter_ns
) -> float:
    """Median time of the calls, each made once, in microseconds."""
    times = []
    gc.collect()
    gc.disable()
    try:
        for call in calls:
            start = clock_ns()
            call()
            times.append(clock_ns() - start)
    finally:
        gc.enable()
    return statistics.median(times) / 1000


def peak_mb() -> float:
    """The most memory that this process held, in MB (VmHWM: unlike ru_maxrss it starts anew with the program)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    raise AssertionError("no VmHWM in /proc/self/status")


def private_mb() -> float:
    """Memory that is this process's alone: the pages of a snapshot belong to its files."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Anonymous:"))


def child(module: str, *words: str) -> dict[str, Any]:
    """Runs `python -m module words` in a process of its own; the JSON object of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(words)}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.system() + " " + platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
