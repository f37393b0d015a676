"""The shape of the code base, kept by tests: who may import whom, what the domain may not use, how long things get."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parent.parent
PACKAGES = ("atp", "cache", "columnar", "edi", "erp", "loaders", "pricegrid", "pricing_engine", "service")
MAY_IMPORT = {
    "columnar": set(),
    "pricing_engine": {"columnar"},
    "atp": {"columnar"},
    "pricegrid": set(),
    "cache": set(),
    "edi": set(),
    "erp": {"pricing_engine", "atp", "cache", "columnar"},
    "loaders": {"pricing_engine", "atp", "erp", "cache", "columnar"},
    "service": set(PACKAGES),
}
DOMAIN = ("columnar", "pricing_engine", "atp", "edi")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
CLOCKS = {"datetime": {"now", "utcnow", "today"}, "date": {"today"}}
FLOATS = {"float", "float16", "float32", "float64", "double", "sqrt", "true_divide"}


def sources(*packages: str) -> list[Path]:
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in files if "_pb2" not in path.name]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, _package(alias.name)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, _package(node.module)


def _package(module: str) -> str:
    """The folder that an imported module lies in: `pricegrid` for the client's own."""
    top, *inner = module.split(".")
    return inner[0] if top == "pricegrid" and inner and inner[0] in PACKAGES else top


def at(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_inward(package):
    allowed = MAY_IMPORT[package] | {package}

    outward = [
        f"{at(path, line)} imports {name}"
        for path in sources(package)
        for line, name in imported(path)
        if name in PACKAGES and name not in allowed
    ]

    assert outward == []


def test_workers_have_nothing_of_object_storage():
    """obstore brings threads and sixteen megabytes: one module imports it, in the supervisor alone."""
    rooms = ("loaders/objects", "service/process/follower.py")
    inside = [
        at(path, node.lineno)
        for path in sources(*PACKAGES)
        if not str(path.relative_to(ROOT)).startswith(rooms)
        for node in ast.parse(path.read_text(encoding="utf-8")).body  # what is imported with the module
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("pricegrid.loaders.objects")
        and not (node.module or "").endswith(".urls")  # of command lines, and light
    ]
    outside = [
        at(path, line)
        for path in sources(*PACKAGES)
        if path.relative_to(ROOT) != Path("loaders/objects/storage.py")
        for line, name in imported(path)
        if name == "obstore"
    ]

    assert inside == []
    assert outside == []


def test_the_domain_knows_no_binary_float():
    """Money and quantities are integers and fractions there (docs/pricing.md, "Numbers and time")."""
    found = []
    for path in sources(*DOMAIN):
        for node in nodes(path):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                found.append(f"{at(path, node.lineno)} {node.value}")
            elif isinstance(node, ast.Name) and node.id in FLOATS:
                found.append(f"{at(path, node.lineno)} {node.id}")
            elif isinstance(node, ast.Attribute) and node.attr in FLOATS:
                found.append(f"{at(path, node.lineno)} {node.attr}")

    assert found == []


def test_the_domain_is_told_the_time():
    """No clock in there: what is asked now can be asked again later."""
    found = [
        f"{at(path, node.lineno)} {node.attr}"
        for path in sources(*DOMAIN)
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in CLOCKS
        and node.attr in CLOCKS[node.value.id]
    ]
    found += [at(path, line) for path in sources(*DOMAIN) for line, name in imported(path) if name == "time"]

    assert found == []


def test_functions_fit_a_screen():
    too_long = [
        f"{at(path, node.lineno)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in sources(*PACKAGES)
        for node in nodes(path)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert too_long == []


def test_files_stay_short():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*PACKAGES, "tests")
    }

    assert {str(path): lines for path, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_the_distribution_holds_every_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    found = find_packages(str(ROOT), include=settings["packages"]["find"]["include"])
    folders = {
        path.parent.relative_to(ROOT).parts
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    present = {".".join(dict.fromkeys(("pricegrid", *parts))) for parts in folders}

    assert set(found) == present


def test_the_image_and_the_checks_of_dead_code_know_every_room():
    image = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    product = re.search(r"^PRODUCT := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert {f"!{package}" for package in PACKAGES} <= set(image)
    assert set(PACKAGES) <= set(product[1].split())


def test_lock_file_names_no_host():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert "--find-links" not in lock
