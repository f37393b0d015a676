"""Kernels are compiled ahead of who would wait for them: only what a command needs, with the time that is left."""

import ast
import io
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pricegrid.service.process import kernel_build as build
from pricegrid.service.process.kernel_cache import MADE_FOR, made_for
from pricegrid.service.process.kernel_parts import PARTS, Part

ROOT = Path(__file__).parent.parent
LOCATED = {"NUMBA_CACHE_LOCATOR_CLASSES": "pricegrid.service.process.kernel_locator.PackageLocator"}

LOAD = """
import os, sys
from pathlib import Path
from pricegrid.service.process.kernel_build import provide
provide("load", Path("none"), os.environ, sys.stderr)
"""


@cache
def functions(package: str, module: str) -> set[str]:
    path = ROOT.joinpath(*package.split(".")[1:], f"{module}.py")
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_the_plan_names_kernels_that_there_are():
    plan = build.read_plan()

    assert set(plan) == set(PARTS)
    lost = [
        kernel
        for kernels in plan.values()
        for kernel in kernels
        for package, module, name in [kernel.rsplit(".", 2)]
        if name not in functions(package, module)
    ]
    assert lost == []


@pytest.mark.parametrize(
    ("command", "has_store", "parts"),
    [
        ("load", True, {"load"}),
        ("quote", False, set()),
        ("quote", True, {"verify", "prices", "codec", "availability", "fast_path", "live"}),
        ("snapshots", True, set()),
        ("demo", False, {"load", "verify", "prices", "codec", "availability", "fast_path", "live"}),
    ],
)
def test_a_command_compiles_what_it_needs(tmp_path, command, has_store, parts):
    assert set(build.parts_of(command, tmp_path if has_store else None)) == parts


def test_a_load_over_a_running_snapshot_compiles_what_compares_them(tmp_path):
    (tmp_path / "current").touch()

    assert set(build.parts_of("load", tmp_path)) == {"load", "load_again"}


def test_parts_wait_for_parts_that_there_are():
    for part in PARTS.values():
        assert set(part.after) <= set(PARTS)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_counts_and_tells_the_time_that_is_left():
    plan = {"load": {"a.b": 10.0, "a.c": 20.0}, "live": {"d.e": 30.0}}
    progress = build.Progress(plan, {"a.c"}, out := Terminal())
    progress.expect(("load", "live"), 2)
    began_s = progress._began_s

    assert progress.left_text(began_s) == "about 40 s of CPU left"
    progress.compiled("load", "a.b", 9.0)
    assert progress.left_text(began_s + 20) == "about 60 s left"  # 10 of 40 took 20
    progress.tell()
    assert "compiling 2 kernels with 2 processes, once" in out.getvalue()
    assert "compiling kernels: 1 of 2" in out.getvalue()
    progress.compiled("live", "a.b", 1.0)  # again, in another process: what is left stays
    assert progress.left_text(began_s + 20) == "about 60 s left"


def test_a_part_that_fails_is_named(monkeypatch):
    monkeypatch.setenv("PRICEGRID_KERNEL_EXTENSION", "/none")  # numba is not imported
    monkeypatch.setattr(build, "PARTS", {"nobody's": Part(print, after=())})  # the process does not know it

    with pytest.raises(RuntimeError, match=r"kernels of part nobody's can't be compiled(?s:.*)KeyError"):
        build.compile_parts(["nobody's"], build.Progress({"nobody's": {}}, set(), io.StringIO()))


@pytest.mark.slow
def test_what_lacks_is_compiled_once_and_said(tmp_path):
    environment = LOCATED | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    command = [sys.executable, "-c", LOAD]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}

    first, again = (
        subprocess.run(
            command, env=inherited | environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )

    load = build.read_plan()["load"]
    assert f"pricegrid: compiling {len(load)} kernels with" in first.stderr
    assert "pricegrid: kernels compiled in" in first.stderr
    assert set(load) <= build.kernels_in(tmp_path / "kernels")
    assert again.stderr == ""


@pytest.mark.parametrize("reason", ["brought along", "built", "kept numba's way"])
def test_nothing_is_compiled_ahead_where_kernels_are_there(tmp_path, reason):
    environment = LOCATED | {"NUMBA_CACHE_DIR": str(tmp_path)}
    if reason == "brought along":
        environment["PRICEGRID_SHIPPED_KERNELS"] = "/elsewhere"
    elif reason == "built":
        (tmp_path / MADE_FOR).write_text(json.dumps(made_for()))
    else:
        del environment["NUMBA_CACHE_LOCATOR_CLASSES"]

    build.provide("serve", tmp_path, environment, out := io.StringIO())

    assert out.getvalue() == ""
