"""Compiled kernels are found again wherever the same sources lie, and never where anything they are made of differs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pricegrid.service.process.kernel_cache import digest, use_kernel_cache

ROOT = Path(__file__).parent.parent
SOURCES = {
    "atp/kernels/free.py": "from numba import njit\nfrom pricegrid.atp.days import DAY\n",
    "atp/days.py": "DAY = 1\n",
    "atp/rules.py": "RULE = 1\n",
    "pricing_engine/arrays.py": "class Arrays(NamedTuple):\n    one: int\n    other: int\n",
}
ASK = """
import os
from pricegrid.service.process.kernel_cache import use_kernel_cache
use_kernel_cache(os.environ)
import numpy as np
from pricegrid.columnar.names import slots_for
print("slots", slots_for(np.frombuffer(b"AB", np.uint8), np.array([0, 1, 2])).tolist())
"""


@pytest.fixture
def folders(tmp_path):
    for name, source in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return {package: tmp_path / package for package in ("atp", "pricing_engine")}


def changed(folders, name: str, source: str) -> bool:
    before = digest(folders)
    (folders["atp"].parent / name).write_text(source)
    return digest(folders) != before


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("atp/kernels/free.py", "from numba import njit\nfrom pricegrid.atp.days import DAY\nMORE = 1\n"),
        ("atp/days.py", "DAY = 2\n"),
        ("pricing_engine/arrays.py", "class Arrays(NamedTuple):\n    other: int\n    one: int\n"),
    ],
    ids=["a kernel", "what a kernel imports", "the order of the arrays that it takes"],
)
def test_the_cache_is_another_one_when_what_kernels_are_made_of_changes(folders, name, source):
    assert changed(folders, name, source)


def test_the_cache_is_the_same_when_anything_else_changes(folders):
    assert not changed(folders, "atp/rules.py", "RULE = 2\n")


def test_the_cache_stays_where_the_operator_put_it():
    environment = {"NUMBA_CACHE_DIR": "/somewhere"}

    use_kernel_cache(environment)

    assert environment == {"NUMBA_CACHE_DIR": "/somewhere"}


def asked(tree: Path, cache: Path) -> tuple[str, int]:
    """What a kernel answers in a process on a tree, and how many kernels that process compiled."""
    environment = {
        **os.environ,
        "PRICEGRID_KERNEL_CACHE": str(cache),
        "NUMBA_DEBUG_CACHE": "1",
        "PYTHONPATH": str(tree),
    }
    for name in ("NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_CACHE_LOCATOR_CLASSES"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tree, env=environment, capture_output=True, text=True, check=True
    )
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("slots")]
    return answer, done.stdout.count("data saved")


@pytest.mark.slow
def test_kernels_are_found_from_another_path_and_of_other_times(tmp_path):
    for tree in ("one", "other"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(
            ROOT / "pricegrid", tmp_path / tree / "pricegrid", ignore=ignored, copy_function=shutil.copyfile
        )
    cache = tmp_path / "cache"

    first, compiled = asked(tmp_path / "one", cache)
    moved = Path(shutil.move(cache, tmp_path / "moved"))
    files = {path: path.stat().st_mtime_ns for path in moved.rglob("*")}
    again, compiled_again = asked(tmp_path / "other", moved)

    assert (compiled > 0, compiled_again, again) == (True, 0, first)
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("*")} == files
