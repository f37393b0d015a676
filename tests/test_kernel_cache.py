"""Compiled kernels are found again wherever the same sources lie, and never where anything they are made of differs."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pricegrid.service.process.kernel_cache import (
    MADE_FOR,
    _private_folder,
    digest,
    made_for,
    use_kernel_cache,
)

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
from numba.core.registry import CPUDispatcher
import gc
print("compiled", sum(sum(d.stats.cache_misses.values()) for d in gc.get_objects() if isinstance(d, CPUDispatcher)))
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


class Asked(NamedTuple):
    answer: str
    compiled: int
    """Kernels that the process compiled."""
    said: str


def asked(tree: Path, cache: Path | str, **variables: str) -> Asked:
    """What a kernel answers in a process on a tree."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")},
        "PRICEGRID_KERNEL_CACHE": str(cache),
        "NUMBA_DEBUG_CACHE": "1",
        "PYTHONPATH": str(tree),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tree, env=environment, capture_output=True, text=True, check=True
    )
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("slots")]
    return Asked(answer, int(done.stdout.rpartition("compiled ")[2]), done.stderr)


def copied(tree: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "kernels-*")
    shutil.copytree(ROOT / "pricegrid", tree / "pricegrid", ignore=ignored, copy_function=shutil.copyfile)
    return tree


@pytest.fixture(scope="module")
def installation(tmp_path_factory) -> Path:
    """A tree that brings its kernels along, one at least."""
    tree = copied(tmp_path_factory.mktemp("installation"))
    shipped = tree / "pricegrid" / "kernels"
    assert asked(tree, shipped).compiled > 0
    (folder,) = shipped.iterdir()
    (folder / MADE_FOR).write_text(json.dumps(made_for()))
    return tree


def moved(installation: Path, tree: Path) -> Path:
    return Path(shutil.copytree(installation, tree, copy_function=shutil.copyfile))


@pytest.mark.slow
def test_kernels_are_found_from_another_path_and_of_other_times(tmp_path):
    one, other = copied(tmp_path / "one"), copied(tmp_path / "other")
    cache = tmp_path / "cache"

    first = asked(one, cache)
    elsewhere = Path(shutil.move(cache, tmp_path / "moved"))
    files = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    again = asked(other, elsewhere)

    assert (first.compiled > 0, again.compiled, again.answer) == (True, 0, first.answer)
    assert "compiling kernels, once: this installation came without kernels" in first.said
    assert {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")} == files


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [{}, {"NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": "+avx2"}],
    ids=["as it is", "another CPU"],
)
def test_an_installation_brings_its_kernels(installation, tmp_path, variables):
    tree, cache = moved(installation, tmp_path / "elsewhere"), tmp_path / "cache"
    for path in tree.rglob("*.py"):
        path.touch()

    found = asked(tree, cache, **variables)

    assert (found.compiled, found.said) == (0, "")
    assert not cache.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("numba", "0.1", "they are for numba 0.1, not "),
        ("python", "3.1", "they are for python 3.1, not "),
        ("machine", "vax", "they are for machine vax, not "),
    ],
)
def test_kernels_for_something_else_are_not_used(installation, tmp_path, name, value, reason):
    tree = moved(installation, tmp_path / "other")
    (told,) = tree.rglob(MADE_FOR)
    told.write_text(json.dumps(made_for() | {name: value}))

    found = asked(tree, tmp_path / "cache")

    assert found.compiled > 0
    assert f"compiling kernels, once: the kernels of this installation can't be used: {reason}" in found.said
    assert asked(tree, tmp_path / "cache").compiled == 0


@pytest.mark.slow
def test_kernels_of_other_sources_are_not_used(installation, tmp_path):
    tree = moved(installation, tmp_path / "changed")
    with (tree / "pricegrid" / "columnar" / "bits.py").open("a") as source:
        source.write("# changed\n")

    found = asked(tree, tmp_path / "cache")

    assert found.compiled > 0
    assert "compiled from other sources" in found.said


@pytest.mark.slow
def test_a_kernel_that_is_not_there_is_compiled_and_kept_where_that_can_be(installation, tmp_path):
    tree, cache = moved(installation, tmp_path / "lacking"), tmp_path / "cache"
    lost = next(tree.rglob("names.build_slots*.nbi"))
    lost.unlink()

    found, again = asked(tree, cache), asked(tree, cache)
    nowhere = asked(tree, "/dev/null/kernels")

    assert (found.compiled > 0, again.compiled, nowhere.compiled > 0) == (True, 0, True)
    assert [path.name for path in cache.rglob("*.nbi")] == [lost.name]
    assert found.answer == again.answer == nowhere.answer
    assert "this installation lacks some" in found.said
    assert not lost.exists()
    assert nowhere.said.count("can't be kept in /dev/null/kernels") == 1


def test_kernels_are_not_read_from_a_folder_that_others_may_write(tmp_path):
    mine, open_to_all = tmp_path / "mine", tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (tmp_path / "link").symlink_to(mine)

    assert _private_folder(mine) == mine
    assert _private_folder(mine) == mine
    for taken in (open_to_all, tmp_path / "link"):
        found = _private_folder(taken)
        assert found != taken
        assert stat.S_IMODE(found.lstat().st_mode) == 0o700
        found.rmdir()
