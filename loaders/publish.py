"""`pricegrid load`: read, validate, set rejects aside, compile, pass the gates, write, activate (design sections 4, 7).

Whatever goes wrong before the last step, the running snapshot stays.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import polars as pl

from erp.protocol import Extract
from loaders.delta import DeltaBase
from loaders.errors import DatasetError, LoadError, NoSnapshotError, SnapshotError
from loaders.gates import (
    NO_LIMITS,
    Decode,
    Gate,
    Limits,
    decode_running,
    gate_change,
    gate_items,
    gate_rejects,
    gate_vanished,
)
from loaders.hashing import hash_file
from loaders.report import LoadReport, Progress
from loaders.snapshot import (
    activate,
    current_version,
    loader_lock,
    open_snapshot,
    write_snapshot,
)
from loaders.validate import Dataset, read_delta, read_tables, validate_raw
from pricing_engine.model import NEVER_US

Arrays = Mapping[str, np.ndarray[Any, Any]]
Frames = Mapping[str, pl.DataFrame]

_WINDOWED: Final = ("price_entries", "price_books", "agreements")


@dataclass(frozen=True, slots=True)
class LoadFunctions:
    """What `load` needs from the compilers; `default_functions` gives the real ones."""

    compile: Callable[[Frames, str], Arrays]
    """Normalised frames and the dataset's zone to all arrays of a snapshot."""
    decode_entries: Decode = decode_running
    delta_base: Callable[[Arrays], DeltaBase] | None = None
    """The arrays of a snapshot to what lays deltas over them."""


def default_functions() -> LoadFunctions:
    """The compilers of this repository, imported only when a load runs."""
    from loaders.delta import DeltaBase

    return LoadFunctions(compile_dataset, delta_base=DeltaBase)


def compile_dataset(frames: Frames, time_zone: str) -> Arrays:
    """Prices and positions as one snapshot's arrays; those of positions are named `atp_...`."""
    from loaders.compile_positions import compile_positions
    from loaders.compile_prices import compile_prices

    prices, positions = compile_prices(frames), compile_positions(frames, time_zone=time_zone)
    if shared := prices.keys() & positions.keys():
        raise AssertionError(f"prices and positions both have arrays named {', '.join(sorted(shared))}")
    return {**prices, **positions}


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class LoadJob:
    """One load, as the operator asked for it."""

    dataset: Path
    store: Path
    time_zone: str = "UTC"
    limits: Limits = NO_LIMITS
    force: bool = False
    delta: bool = False


@dataclass(frozen=True, slots=True)
class _Compiled:
    arrays: Arrays
    unchanged: Mapping[str, Path]
    manifest: Mapping[str, object]
    gates: tuple[Gate, ...]


def load(
    job: LoadJob,
    functions: LoadFunctions | None = None,
    *,
    clock: Callable[[], datetime] = utc_now,
    progress: Progress | None = None,
) -> LoadReport:
    """Runs one load. The report says whether it was published; a gate that refuses is no exception. Raises LoadError
    (DatasetError, LoaderBusyError, SnapshotError) if the load can't be done at all."""
    functions = default_functions() if functions is None else functions
    progress = Progress(sys.stderr) if progress is None else progress
    report = LoadReport(str(job.dataset), str(job.store), job.delta)
    if not job.dataset.is_dir():
        raise DatasetError(f"dataset directory {job.dataset} doesn't exist or isn't a directory")
    with loader_lock(job.store):
        report.previous_version = _previous(job.store)
        compile_job = _compile_delta if job.delta else _compile_full
        compiled = compile_job(job, functions, report, progress)
        report.gates = list(compiled.gates)
        refused = [gate for gate in compiled.gates if not gate.passed]
        if not refused or job.force:
            report.forced = bool(refused)
            with progress.phase("write"):
                report.snapshot_version = write_snapshot(
                    job.store,
                    compiled.arrays,
                    compiled.manifest,
                    created_at=clock(),
                    link_from=compiled.unchanged,
                )
            with progress.phase("activate"):
                activate(job.store, report.snapshot_version)
            report.published = True
    report.finish(progress.seconds)
    return report


def _previous(store: Path) -> str | None:
    try:
        return current_version(store)
    except SnapshotError:
        return None


def _compile_full(
    job: LoadJob, functions: LoadFunctions, report: LoadReport, progress: Progress
) -> _Compiled:
    with progress.phase("read"):
        raw = read_tables(job.dataset, lambda file: progress.say(f"  {file}"))
    with progress.phase("validate"):
        dataset = validate_raw(raw, job.time_zone)
        del raw
    _take_rejects(job, dataset, report, progress)
    with progress.phase("hash"):
        manifest = _manifest(dataset)
    early = (gate_items(dataset.frames), gate_rejects(dataset.counts, job.limits))
    with progress.phase("compile"):
        arrays = functions.compile(dataset.frames, dataset.time_zone)
    with progress.phase("gates"):
        gates = (*early, *_entry_gates(job, functions, arrays))
    return _Compiled(arrays, {}, manifest, gates)


def _compile_delta(
    job: LoadJob, functions: LoadFunctions, report: LoadReport, progress: Progress
) -> _Compiled:
    if functions.delta_base is None:
        raise LoadError("delta loads are not available in this build")
    base = open_snapshot(job.store, verify=False)
    zone = str(base.manifest["time_zone"])
    if job.time_zone not in (zone, "UTC"):
        raise DatasetError(f"--time-zone {job.time_zone} is not that of the running snapshot, {zone}")
    with progress.phase("read"):
        under = functions.delta_base(base.arrays)
        dataset = read_delta(job.dataset, under.known_names, zone)
    _take_rejects(job, dataset, report, progress)
    with progress.phase("hash"):
        manifest = {**base.manifest, **_manifest(dataset), "base_version": base.version}
        manifest["counts"] = base.manifest.get("counts", {})
        manifest["as_of_horizon_us"] = _latest(
            base.manifest.get("as_of_horizon_us"), _horizon_us(dataset.frames)
        )
    with progress.phase("compile"):
        changed = under.apply(dataset.frames["price_entries"]).arrays
    folder = job.store / "snapshots" / base.version
    unchanged = {name: folder / f"{name}.npy" for name in base.arrays if name not in changed}
    with progress.phase("gates"):
        arrays = {**base.arrays, **changed}
        gates = (gate_rejects(dataset.counts, job.limits), *_entry_gates(job, functions, arrays))
    return _Compiled(changed, unchanged, manifest, gates)


def _take_rejects(job: LoadJob, dataset: Dataset, report: LoadReport, progress: Progress) -> None:
    with progress.phase("rejects"):
        report.describe(dataset)
        report.rejects = {name: str(path) for name, path in write_rejects(job.store, dataset.rejects).items()}


def write_rejects(store: Path, rejects: Mapping[str, pl.DataFrame]) -> dict[str, Path]:
    """Replaces STORE/rejects by the rejects of this load."""
    folder = store / "rejects"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.csv"):
        stale.unlink()
    paths = {name: folder / f"{name}.csv" for name in rejects}
    for name, path in paths.items():
        rejects[name].write_csv(path)
    return paths


def _manifest(dataset: Dataset) -> dict[str, object]:
    inputs = {
        path.name: {"sha256": hash_file(path), "size_bytes": path.stat().st_size}
        for path in dataset.files.values()
    }
    return {
        "time_zone": dataset.time_zone,
        "counts": {name: frame.height for name, frame in dataset.frames.items()},
        "inputs": inputs,
        "as_of_horizon_us": _horizon_us(dataset.frames),
    }


def _horizon_us(frames: Frames) -> int | None:
    """The last instant at which something is known to end: beyond it the dataset says nothing new."""
    latest: int | None = None
    for name in _WINDOWED:
        if name in frames:
            ends = frames[name]["valid_to_us"]
            latest = _latest(latest, ends.filter(ends < NEVER_US).max())
    return latest


def _latest(one: Any, other: Any) -> int | None:
    return max((int(value) for value in (one, other) if value is not None), default=None)


def _entry_gates(job: LoadJob, functions: LoadFunctions, arrays: Arrays) -> tuple[Gate, ...]:
    if not job.limits.compare_entries:
        return ()
    try:
        running = open_snapshot(job.store)
    except NoSnapshotError:
        return ()
    except SnapshotError as error:
        return (Gate("running", False, None, f"the running snapshot can't be compared: {error}"),)
    old, new = functions.decode_entries(running.arrays), functions.decode_entries(arrays)
    return gate_vanished(old, new, job.limits), gate_change(old, new, job.limits)


def _percent(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage")
    return value


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `pricegrid load`."""
    parser.add_argument(
        "dataset", type=Path, metavar="DATASET", help="directory of NAME.csv, .csv.gz or .parquet"
    )
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="snapshot store")
    parser.add_argument(
        "--time-zone", default="UTC", metavar="ZONE", help="zone of business dates (default UTC)"
    )
    parser.add_argument(
        "--max-reject-pct", type=_percent, metavar="PCT", help="refuse if a table rejects more"
    )
    parser.add_argument(
        "--max-vanished-pct", type=_percent, metavar="PCT", help="refuse if more entries are gone"
    )
    parser.add_argument(
        "--max-change-pct", type=_percent, metavar="PCT", help="refuse if a value moved by more"
    )
    parser.add_argument("--force", action="store_true", help="publish even if a gate refuses")
    parser.add_argument("--delta", action="store_true", help="DATASET holds changed price_entries only")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    group = parser.add_argument_group("from an ERP (docs/erp.md)")
    group.add_argument(
        "--from",
        dest="source",
        choices=("tryton", "http_json"),
        help="read the tables from an ERP first; DATASET is where they are written",
    )
    group.add_argument("--erp-config", type=Path, metavar="FILE", help="how to reach the ERP")
    group.add_argument(
        "--mastering", type=Path, metavar="FILE", help="which ERP owns which tables; others' are left out"
    )


def _extracted(args: argparse.Namespace, clock: Callable[[], datetime], progress: Progress) -> Extract:
    """Reads the ERP. Raises LoadError."""
    from loaders.extract import ExtractJob, extract_dataset

    if args.erp_config is None or args.delta:
        raise DatasetError("--from needs --erp-config FILE, and no --delta")
    job = ExtractJob(args.source, args.erp_config, args.dataset, args.mastering)
    with progress.phase("extract"):
        extract = extract_dataset(job, clock, progress.say)
    if args.time_zone not in (extract.time_zone, "UTC"):
        raise DatasetError(
            f"--time-zone {args.time_zone} is not that of the ERP's dates, {extract.time_zone}"
        )
    return extract


def run_load(
    args: argparse.Namespace,
    functions: LoadFunctions | None = None,
    *,
    clock: Callable[[], datetime] = utc_now,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Runs `pricegrid load`: 0 published, 1 refused or not possible now, 2 the dataset can't be used."""
    out, err = out or sys.stdout, err or sys.stderr
    limits = Limits(args.max_reject_pct, args.max_vanished_pct, args.max_change_pct)
    progress = Progress(err)
    try:
        extract = _extracted(args, clock, progress) if args.source else None
        time_zone = extract.time_zone if extract else args.time_zone
        job = LoadJob(args.dataset, args.store, time_zone, limits, args.force, args.delta)
        report = load(job, functions, clock=clock, progress=progress)
        if extract:
            report.warnings = [*extract.remarks, *report.warnings]
    except (LoadError, OSError) as error:
        if args.json:
            print(json.dumps({"published": False, "error": str(error)}, indent=2), file=out)
        print(f"pricegrid load: {error}", file=err)
        return 2 if isinstance(error, DatasetError) else 1
    print(json.dumps(report.as_json(), indent=2) if args.json else report.as_text(), file=out)
    for gate in report.gates:
        if not gate.passed and not report.published:
            print(f"pricegrid load: refused by gate {gate.name}: {gate.detail}", file=err)
    return 0 if report.published else 1
