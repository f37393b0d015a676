"""`pricegrid kernels`: compiled kernels as files, to be carried to where nobody should wait for a compiler."""

import argparse
import contextlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pricegrid.columnar.kernel_mode import EXTENSION_VARIABLE
from pricegrid.service.cli.text import UsageError
from pricegrid.service.process import kernel_build as build
from pricegrid.service.process.kernel_cache import (
    EXTENSION_FILE,
    MADE_FOR,
    SHIPPED_VARIABLE,
    compile_reason,
    extension_reason,
    made_for,
    unusable_reason,
)
from pricegrid.service.process.kernel_parts import PARTS

_PACKED = ".tar.xz"
_COPY = re.compile(r"\.\d+$")


def add_kernels_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `kernels`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    making = actions.add_parser(
        "build",
        help="compile all kernels into a folder",
        description="Compile all kernels, for any CPU of this architecture, into DIR/kernels-DIGEST. What the cache "
        "has already is taken from there.",
    )
    making.add_argument("directory", type=Path, metavar="DIR", help="where to; made if need be")
    making.add_argument(
        "--extension",
        type=Path,
        metavar="DIR",
        help="link the kernels to an extension for this Python, too: into DIR/kernels-DIGEST; takes a C and a C++ "
        "compiler. With it numba is not needed",
    )
    making.add_argument("--pack", type=Path, metavar="FILE.tar.xz", help="pack the folder, too")
    making.add_argument(
        "--plan", type=Path, metavar="FILE", help="write what each kernel cost, as kernel_plan.json has it"
    )
    checking = actions.add_parser(
        "check",
        help="whether nothing is compiled with these kernels; 1 if anything is",
        description="Do all that kernels are for with those of DIR or FILE alone, and say which had to be compiled. "
        "DIR is only read. An extension compiles nothing: whatever it lacks is an error.",
    )
    checking.add_argument("directory", type=Path, metavar="DIR|FILE.tar.xz", help="what `build` made")
    listing = actions.add_parser("list", help="where the kernels of this installation are")
    listing.add_argument("--json", action="store_true", help="print JSON")


def run_kernels(args: argparse.Namespace) -> int:
    """Runs the subcommand; 0 when all is well."""
    if "NUMBA_CACHE_LOCATOR_CLASSES" not in os.environ and args.action != "list":
        raise UsageError("NUMBA_CACHE_DIR is set: numba keeps kernels in its own way, unset it")
    try:
        match args.action:
            case "build":
                return _build(args.directory, args.extension, args.pack, args.plan)
            case "check":
                return _check(args.directory)
            case _:
                return _list(as_json=args.json)
    except RuntimeError as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _own_folder(directory: Path) -> Path:
    return directory.absolute() / f"kernels-{made_for()['digest']}"


def _build(directory: Path, extension: Path | None, pack: Path | None, plan: Path | None) -> int:
    if importlib.util.find_spec("numba") is None:
        raise ModuleNotFoundError("No module named 'numba'", name="numba")
    if pack is not None and not pack.name.endswith(_PACKED):
        raise UsageError(f"--pack {pack}: not a {_PACKED} file")
    folder = _own_folder(directory)
    if plan is None and not folder.exists():  # what kernels cost is only seen when they are compiled
        _take_over(folder)
    made = _run_all(folder, None)
    again = _run_all(folder, None) if made.costs else made
    _drop_unused(folder, again.used)  # a compiled kernel has all that it calls in it
    (folder / MADE_FOR).write_text(json.dumps(made_for(), indent=1) + "\n", encoding="utf-8")
    if plan is not None:
        plan.write_text(json.dumps(made.costs, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{folder}: {len(build.kernels_in(folder))} kernels, {_megabytes(folder)}")
    if extension is not None:
        from pricegrid.service.process.kernel_extension import link_extension

        linked = link_extension(folder, _own_folder(extension))
        print(f"{linked}: {linked.stat().st_size / 1e6:.1f} MB")
    if pack is not None:
        with tarfile.open(pack, "w:xz", preset=9) as archive:
            archive.add(folder, folder.name, filter=_nobodys)
        print(f"{pack}: {pack.stat().st_size / 1e6:.1f} MB")
    return 0


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same whoever built it, and when."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _take_over(folder: Path) -> None:
    """Begins with the kernels that are there: the folder is named after their sources."""
    for known in (os.environ.get(SHIPPED_VARIABLE), os.environ["NUMBA_CACHE_DIR"]):
        if known and Path(known).is_dir():
            others = shutil.ignore_patterns("*.tmp.*", "*.done")
            shutil.copytree(known, folder, ignore=others, dirs_exist_ok=True)


def _drop_unused(folder: Path, used: set[str]) -> None:
    for path in folder.glob("*/*.nb[ic]"):
        if f"{path.parent.name}.{_COPY.sub('', path.stem)}" not in used:
            path.unlink()


def _run_all(folder: Path, shipped: Path | None) -> build.Progress:
    os.environ["NUMBA_CACHE_DIR"], os.environ[EXTENSION_VARIABLE] = str(folder), ""
    os.environ.pop(SHIPPED_VARIABLE, None)
    if shipped is not None:
        os.environ[SHIPPED_VARIABLE] = str(shipped)
    has_kernels = shipped is not None or bool(build.kernels_in(folder))
    plan = {part: {} for part in PARTS} if has_kernels else build.read_plan()
    progress = build.Progress(plan, set(), sys.stderr)
    build.compile_parts(tuple(PARTS), progress)
    return progress


def _check(directory: Path) -> int:
    with _unpacked(directory) as unpacked, tempfile.TemporaryDirectory() as empty:
        folder = _own_folder(unpacked)
        if not folder.is_dir():
            others = ", ".join(path.name for path in sorted(unpacked.glob("kernels-*")))
            print(
                f"pricegrid: {directory} has no {folder.name} for these sources, only {others or 'none'}",
                file=sys.stderr,
            )
            return 1
        if (folder / EXTENSION_FILE).is_file():
            return _check_extension(folder / EXTENSION_FILE)
        if reason := unusable_reason(folder):
            print(f"pricegrid: these kernels can't be used here: {reason}", file=sys.stderr)
            return 1
        progress = _run_all(Path(empty) / "compiled", folder)
    compiled = sorted(kernel for costs in progress.costs.values() for kernel in costs)
    for kernel in compiled:
        print(f"compiled: {kernel}")
    print(f"{len(progress.used)} kernels used, {len(compiled)} compiled")
    return 1 if compiled else 0


def _check_extension(path: Path) -> int:
    if reason := extension_reason(path):
        print(f"pricegrid: this extension can't be used here: {reason}", file=sys.stderr)
        return 1
    os.environ[EXTENSION_VARIABLE] = str(path)
    build.compile_parts(tuple(PARTS), build.Progress({part: {} for part in PARTS}, set(), sys.stderr))
    print(f"{path}: all is there, without numba")
    return 0


@contextlib.contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    if not source.name.endswith(_PACKED):
        yield source
        return
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(source) as archive:
            # Python before 3.11.4 has no filters
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(directory)  # noqa: S202
        yield Path(directory)


def _list(*, as_json: bool) -> int:
    shipped, compiled = os.environ.get(SHIPPED_VARIABLE), os.environ["NUMBA_CACHE_DIR"]
    extension = os.environ.get(EXTENSION_VARIABLE)
    places = [("came with the installation", shipped), ("compiled here", compiled)]
    rows = [
        {"kept": kept, "folder": folder, "kernels": len(build.kernels_in(Path(folder)))}
        for kept, folder in places
        if folder
    ]
    if as_json:
        print(json.dumps({"made_for": made_for(), "extension": extension or None, "folders": rows}, indent=2))
        return 0
    print("for " + ", ".join(f"{name} {value}" for name, value in made_for().items()))
    if extension:
        print(f"all kernels are in the extension {extension}, numba is not used")
        return 0
    if shipped is None:
        print(compile_reason())
    for row in rows:
        print(f"{row['kernels']:>5} {row['kept']}: {row['folder']}")
    return 0


def _megabytes(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB"
