"""Kernels out of an extension answer as numba's do, and numba is not needed then."""

import ast
import json
import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import ir

from pricegrid import Client, Line
from pricegrid.columnar.extension import exception_of
from pricegrid.service.process import kernel_cache
from pricegrid.service.process.kernel_cache import (
    EXTENSION_FILE,
    EXTENSION_VARIABLE,
    MADE_FOR,
    compile_reason,
    made_for,
    use_kernel_cache,
)
from tests.servers import DEADLINE_S
from tests.stores import publish, stocked_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
KERNELS = "pricegrid.spare.kernels"
SPARE = f"""
import importlib.util, json, os, sys
from pricegrid.service.process.kernel_cache import use_kernel_cache
use_kernel_cache(os.environ)
spec = importlib.util.spec_from_file_location("{KERNELS}", "tests/spare_kernels.py")
module = sys.modules["{KERNELS}"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
CALLS = """
answers = {name: getattr(module, name)() for name in sys.argv[1:]}
print(json.dumps(answers | {"numba": "numba" in sys.modules}))
"""
LINK = """
from pathlib import Path
from pricegrid.service.process.kernel_extension import link_extension
link_extension(Path(os.environ["NUMBA_CACHE_DIR"]), Path(sys.argv[1]))
"""


def process(*words, absent=(), **variables):
    """Runs Python on the tree; packages of `absent` can't be imported, in none of its processes."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    path = os.pathsep.join([*map(str, absent), str(ROOT)])
    environment = inherited | {EXTENSION_VARIABLE: "", "PYTHONPATH": path} | variables
    return subprocess.Popen(
        [sys.executable, *words],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(*words, **settings):
    """(exit code, output, errors)."""
    with process(*words, **settings) as child:
        out, err = child.communicate()
    return child.returncode, out, err


@pytest.fixture(scope="module")
def without_numba(tmp_path_factory):
    """A folder that comes first on the path: numba and llvmlite can't be imported."""
    directory = tmp_path_factory.mktemp("without")
    for package in ("numba", "llvmlite"):
        (directory / f"{package}.py").write_text("raise ImportError('it is not needed')\n")
    return [directory]


# -- a small one, of kernels made for this ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spare(tmp_path_factory, without_numba):
    """(what numba's kernels say, what those of the extension say)."""
    directory = tmp_path_factory.mktemp("spare")
    cache = {"PRICEGRID_KERNEL_CACHE": str(directory / "cache")}
    compiled = ended("-c", SPARE + CALLS, "same", **cache)
    assert compiled[0] == 0, compiled[2]
    linked = ended("-c", SPARE + LINK, str(directory / "made"), **cache)
    assert linked[0] == 0, linked[2]
    ways, extension = (
        ("same", "refused", "taken"),
        {EXTENSION_VARIABLE: str(directory / "made" / EXTENSION_FILE)},
    )
    answered = ended("-c", SPARE + CALLS, *ways, absent=without_numba, **extension)
    assert answered[0] == 0, answered[2]
    return json.loads(compiled[1]), json.loads(answered[1])


def test_it_answers_and_raises_as_numba_does(spare):
    compiled, extension = spare

    assert extension["same"] == compiled["same"]
    assert (compiled["numba"], extension["numba"]) == (True, False)
    assert [each for each in extension["same"] if isinstance(each, str)] == [
        "ValueError('negative',)",
        "OverflowError('too large', 9)",
        "ValueError('cannot assign slice of shape (4,) from input of shape (5,)',)",
        "ValueError('negative dimensions not allowed',)",
    ]
    assert extension["same"][-1] is True, "a kernel holds the GIL"


def test_what_it_is_not_compiled_for_is_refused_with_the_types(spare):
    _, extension = spare

    fits_nothing = "TypeError('{kernel} is not compiled for ({types})',)"
    *others, too_large, plain, too_long = extension["refused"]
    assert others == [
        fits_nothing.format(kernel=f"{KERNELS}.{name}", types=types)
        for name, types in (
            ("total", "array(int64, 2d, C)"),
            ("total", "array(int64, 1d, strided)"),
            ("total", "array(float64, 1d, C)"),
            ("total", "array(>i8, 1d, C)"),
            ("total", "NoneType"),
            ("total", ""),
            ("fill", "readonly array(int64, 1d, C), int"),
            ("fill", "array(int64, 1d, C), float"),
        )
    ]
    assert too_large.startswith("OverflowError")
    assert f"{KERNELS}.of_pair is not compiled for (tuple(array(int64" in plain
    assert "tuple(int, int, int), bool)" in too_long


def test_numbers_of_other_kinds_are_taken(spare):
    assert spare[1]["taken"] == [3, 3, 3, 1, 1]


def test_an_exception_gets_what_the_kernel_put_in_without_the_compiler():
    known = pickle.dumps((ValueError, ("of", ir.Constant(ir.IntType(8), 1), "and"), None))

    assert exception_of(known, (7,)) == (ValueError, ("of", 7, "and"), None)


# -- which one is used --------------------------------------------------------------------------------------------


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """The folder of an installation that has brought an extension."""
    folder = tmp_path / "kernels" / f"kernels-{made_for()['digest']}"
    folder.mkdir(parents=True)
    (folder / EXTENSION_FILE).touch()
    (folder / MADE_FOR).write_text(json.dumps(made_for()))
    monkeypatch.setattr(kernel_cache, "_package", lambda: tmp_path)
    return folder


def used(**variables):
    environment = dict(variables)
    use_kernel_cache(environment)
    return environment.get(EXTENSION_VARIABLE)


def test_that_of_the_installation_is_used_unless_it_is_for_something_else(installation):
    assert used() == str(installation / EXTENSION_FILE)
    assert used(PRICEGRID_KERNEL_EXTENSION="") == ""
    (installation / MADE_FOR).write_text(json.dumps(made_for() | {"numba": "none"}))
    assert used() == str(installation / EXTENSION_FILE), "numba is not needed"
    (installation / MADE_FOR).write_text(json.dumps(made_for() | {"machine": "vax"}))
    assert used() == ""
    assert compile_reason() == (
        f"the kernels of this installation can't be used: they are for machine vax, not {made_for()['machine']}"
    )


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"digest": "0"}, "they are for digest 0, not "),
        ({"python": "3.1"}, "they are for python 3.1, not "),
        (None, " holds none"),
    ],
)
def test_one_that_is_named_and_can_t_be_used_is_an_error(installation, tmp_path, differs, said):
    path, told = installation / EXTENSION_FILE, installation / MADE_FOR
    told.unlink() if differs is None else told.write_text(json.dumps(made_for() | differs))

    with pytest.raises(OSError, match=f"PRICEGRID_KERNEL_EXTENSION can't be used: .*{said}"):
        use_kernel_cache({EXTENSION_VARIABLE: str(path)})
    with pytest.raises(OSError, match="nowhere is no file"):
        use_kernel_cache({EXTENSION_VARIABLE: str(tmp_path / "nowhere")})


def test_numba_s_own_way_has_no_extension():
    environment = {"NUMBA_CACHE_DIR": "/somewhere", EXTENSION_VARIABLE: "/elsewhere"}

    use_kernel_cache(environment)

    assert environment == {"NUMBA_CACHE_DIR": "/somewhere"}


def test_without_numba_and_without_kernels_a_command_says_what_to_install(without_numba, tmp_path):
    command = ["-m", "pricegrid.service.cli.main", "serve", "--store", str(tmp_path)]
    code = "import importlib.util as u, sys\nfind = u.find_spec\n"
    code += "u.find_spec = lambda name, *more: None if name == 'numba' else find(name, *more)\n"
    code += f"sys.argv[1:] = {command[2:]}\nfrom pricegrid.service.cli.main import entry\nentry()"

    code, out, err = ended("-c", code)

    assert (code, out) == (1, "")
    reason = "this installation came without kernels"
    assert (
        err
        == f"pricegrid: serve needs numba to compile kernels ({reason}): pip install 'pricegrid[kernels]'\n"
    )


# -- that of all kernels ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    """Linked as `make wheel` does it, out of what is compiled already."""
    directory = tmp_path_factory.mktemp("kernels")
    command = ["-m", "pricegrid.service.cli.main", "kernels", "build", str(directory / "cache")]
    code, out, err = ended(*command, "--extension", str(directory / "extension"))
    assert code == 0, err
    (path,) = directory.glob("extension/kernels-*/*.so")
    assert str(path) in out
    assert "Copyright" in path.with_name("LICENSE.numba").read_text()
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    directory = tmp_path_factory.mktemp("store")
    publish(directory, stocked_rows())
    return directory


def test_all_that_kernels_are_for_is_done_without_numba(extension, without_numba):
    code, out, err = ended(
        "-m",
        "pricegrid.service.cli.main",
        "kernels",
        "check",
        str(extension.parent.parent),
        absent=without_numba,
        **{EXTENSION_VARIABLE: str(extension)},
    )

    assert (code, "all is there, without numba" in out) == (0, True), err


def test_a_store_is_quoted_from_as_with_numba(extension, without_numba, store):
    for lines in (["S4:2"], [f"S{number % 6}:{1 + number}" for number in range(60)]):
        quote = ["-m", "pricegrid.service.cli.main", "quote", "--store", str(store), "--json"]
        quote += ["--customer", "C1", "--branch", "HAM", "--as-of", "2026-03-02T09:00:00Z", *lines]

        by_numba = ended(*quote)
        answer = ended(*quote, absent=without_numba, **{EXTENSION_VARIABLE: str(extension)})

        assert answer == by_numba
        assert len(json.loads(answer[1])) == len(lines)


def test_a_server_answers_without_numba(extension, without_numba, store):
    serve = ["-m", "pricegrid.service.cli.main", "serve", "--store", str(store), "--port", "0"]
    with process(
        *serve, "--workers", "1", "--json", absent=without_numba, **{EXTENSION_VARIABLE: str(extension)}
    ) as server:
        try:
            line = server.stdout.readline()
            assert line, server.stderr.read()
            with Client(json.loads(line)["address"]) as client:
                answer = client.quote_lines("C1", [Line("S3", 2)], branches=("HAM",), timeout_s=DEADLINE_S)
        finally:
            server.terminate()
    assert answer.lines[0].price.unit_price == 10


DECORATORS = {"compiled", "inlined", "kernel", "part"}
ASIDE = {"verify_reference"}
"""Modules that only tests use."""


def decorators(node) -> set[str]:
    named = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return {each.id for each in named if isinstance(each, ast.Name)}


def product() -> dict[str, ast.Module]:
    packages = ("atp", "columnar", "erp", "loaders", "pricing_engine", "service")
    paths = [
        path for package in packages for path in (ROOT / package).rglob("*.py") if path.stem not in ASIDE
    ]
    return {
        ".".join(("pricegrid", *path.relative_to(ROOT).with_suffix("").parts)): ast.parse(path.read_text())
        for path in paths
    }


def named_by_python(module: str, tree: ast.Module) -> set[str]:
    """What the functions of a module that are no kernels, or its body, name: of others, and of its own."""
    known = {node.name: f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    found, left = set(), [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef) and decorators(node) & {*DECORATORS, "intrinsic", "overload"}:
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Name) and node.id in known:
            found.add(known[node.id])
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            found.add(f"{known[node.value.id]}.{node.attr}")
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="they are other processors' instructions")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
def test_any_processor_of_the_architecture_runs_it(extension):
    """`deploy/try_wheel.sh` asks on one without AVX, too, where there is an emulator."""
    shown = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", extension], capture_output=True, text=True, check=True
    )
    used = set(re.findall(r"^ +[0-9a-f]+:\t(\w+)", shown.stdout, re.MULTILINE))
    assert {"call", "imul"} <= used
    assert [name for name in used if name[0] == "v"] == [], "instructions of AVX"
    assert used & {"andn", "bextr", "mulx", "pdep", "pext", "popcnt", "rorx", "sarx", "shlx", "shrx"} == set()


def test_every_kernel_that_python_names_is_in_it(extension):
    code, out, err = ended(
        "-c",
        "from pricegrid.columnar.extension import _kernels; print(*_kernels())",
        **{EXTENSION_VARIABLE: str(extension)},
    )
    assert code == 0, err
    modules = product()
    kernels = {
        f"{module}.{node.name}"
        for module, tree in modules.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and decorators(node) & DECORATORS
    }

    named = kernels & {name for module, tree in modules.items() for name in named_by_python(module, tree)}

    assert len(named) > 40
    assert named <= set(out.split())
