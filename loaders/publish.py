"""`pricegrid load`: read, validate, set rejects aside, compile, pass the gates, write, activate (docs/dataset.md).

Whatever goes wrong before the last step, the running snapshot stays.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np
import polars as pl

from pricegrid.columnar.instants import us_of
from pricegrid.erp.protocol import Extract
from pricegrid.loaders.arguments import add_load_arguments as add_load_arguments  # noqa: PLC0414 -- who runs a load finds them here too
from pricegrid.loaders.compile.book_digests import book_digests
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.errors import DatasetError, LoaderBusyError, LoadError, SnapshotError
from pricegrid.loaders.gates.diff import diff
from pricegrid.loaders.gates.gates import Decode, Gate, decode_running, gate_items, gate_rejects
from pricegrid.loaders.gates.limits import DEFAULT_LIMITS, Limits
from pricegrid.loaders.gates.running import Side, Tools, compare_delta, compare_full, open_running, open_side
from pricegrid.loaders.gates.sample import Ask, choose
from pricegrid.loaders.read.arguments import stated_dialect
from pricegrid.loaders.read.dialect import NOTHING_STATED, Dialect
from pricegrid.loaders.report import LoadReport, Progress
from pricegrid.loaders.store import book_ages
from pricegrid.loaders.store.hashing import hash_file
from pricegrid.loaders.store.kept import FreshTables, StoredTables
from pricegrid.loaders.store.last_load import LastLoad, note_load
from pricegrid.loaders.store.reject_files import write_rejects
from pricegrid.loaders.store.signing import read_private_key, trust_of
from pricegrid.loaders.store.snapshot import (
    KeptFile,
    activate,
    current_version,
    file_sizes,
    loader_lock,
    open_snapshot,
    prune,
    write_snapshot,
)
from pricegrid.loaders.validate.tables import Dataset, read_delta, read_tables, validate_raw
from pricegrid.pricing_engine.model import NEVER_US

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
    ask: Ask | None = None
    """Asks a snapshot's arrays the questions of the sample; None: it is not asked."""

    @property
    def tools(self) -> Tools:
        """How arrays are read."""
        return Tools(self.decode_entries, self.ask)


def default_functions() -> LoadFunctions:
    """The compilers of this repository, imported only when a load runs."""
    from pricegrid.loaders.delta import DeltaBase
    from pricegrid.loaders.gates.asking import ask

    return LoadFunctions(compile_dataset, delta_base=DeltaBase, ask=ask)


def compile_dataset(frames: Frames, time_zone: str) -> Arrays:
    """Prices, positions and other names as one snapshot's arrays; those of positions are named `atp_...`."""
    from pricegrid.loaders.compile.other_names import compile_other_names
    from pricegrid.loaders.compile.positions import compile_positions
    from pricegrid.loaders.compile.prices import compile_prices

    prices, positions = compile_prices(frames), compile_positions(frames, time_zone=time_zone)
    if shared := prices.keys() & positions.keys():
        raise AssertionError(f"prices and positions both have arrays named {', '.join(sorted(shared))}")
    return {**prices, **positions, **compile_other_names(frames)}


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class LoadJob:
    """One load, as the operator asked for it."""

    dataset: Path
    store: Path
    time_zone: str = "UTC"
    limits: Limits = DEFAULT_LIMITS
    force: bool = False
    delta: bool = False
    allow_absent: frozenset[str] = frozenset()
    """Tables that may be missing though the running snapshot has them."""
    check: bool = False
    """Do all but publish."""
    keep: int | None = None
    """Remove all snapshots but so many of the newest, once this one is published."""
    dialect: Dialect = NOTHING_STATED
    """How the files are written, as far as the operator says."""
    own: frozenset[str] = frozenset()
    """Tables whose files this product wrote."""
    sign_key: Path | None = None
    """The file of the private key that signs the snapshot; a delta's base must have its signature too."""
    publish_url: str | None = None
    """Object storage to push the snapshot to, once it is active here."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    arrays: Arrays
    unchanged: Mapping[str, Path]
    manifest: Mapping[str, object]
    kept: Mapping[str, KeptFile]
    gates: tuple[Gate, ...]
    sides: tuple[Side, Side] | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    """The manifest of the snapshot under a delta, as it was opened: it may be another's by now."""
    """The running snapshot and this one, if they can be compared."""


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
    report = LoadReport(str(job.dataset), str(job.store), job.delta, job.check)
    if not job.dataset.is_dir():
        raise DatasetError(f"dataset directory {job.dataset} doesn't exist or isn't a directory")
    key = None if job.sign_key is None else read_private_key(job.sign_key)
    if job.publish_url is not None:  # what can't be opened is told before the work
        from pricegrid.loaders.objects.storage import open_storage

        open_storage(job.publish_url, to_write=True)
    with loader_lock(job.store):
        report.previous_version = _previous(job.store)
        now = clock()
        compile_job = _compile_delta if job.delta else _compile_full
        compiled = compile_job(job, functions, report, progress, us_of(now))
        report.gates = list(compiled.gates)
        refused = [gate for gate in compiled.gates if not gate.passed]
        report.forced = bool(refused) and job.force
        report.refused = bool(refused) and not job.force
        if job.check:
            if compiled.sides is not None:
                with progress.phase("diff"):
                    report.diff = diff(*compiled.sides, functions.tools, job.limits, us_of(now), DIFF_ROWS)
        elif not report.refused:
            _publish(job, compiled, now, report, progress, key)
    report.finish(progress.seconds)
    return report


DIFF_ROWS: Final = 20
"""Price entries that `--check` shows of the difference."""


def _publish(
    job: LoadJob,
    compiled: _Compiled,
    now: datetime,
    report: LoadReport,
    progress: Progress,
    key: "Ed25519PrivateKey | None",
) -> None:
    with progress.phase("write"):
        version = write_snapshot(
            job.store,
            compiled.arrays,
            compiled.manifest,
            created_at=now,
            link_from=compiled.unchanged,
            base=compiled.base,
            kept=compiled.kept,
            key=key,
        )
    with progress.phase("activate"):
        activate(job.store, version)
    report.snapshot_version, report.published = version, True
    report.size_bytes, report.shared_bytes = file_sizes(job.store, version)
    if job.keep is not None:
        with progress.phase("prune"):
            report.pruned = prune(job.store, job.keep)
    if job.publish_url is not None:
        with progress.phase("push"):
            _push(job, job.publish_url, version, report)


def _push(job: LoadJob, url: str, version: str, report: LoadReport) -> None:
    """What goes wrong there does not undo what is published here."""
    from pricegrid.loaders.objects.commands import push_snapshot

    try:
        pushed = push_snapshot(url, job.store, version, job.sign_key)
    except (LoadError, OSError) as error:
        report.push_error = str(error)
    else:
        report.pushed_to, report.pushed_bytes = url, pushed.sent_bytes


def _previous(store: Path) -> str | None:
    try:
        return current_version(store)
    except SnapshotError:
        return None


def _compile_full(
    job: LoadJob, functions: LoadFunctions, report: LoadReport, progress: Progress, now_us: int
) -> _Compiled:
    with progress.phase("read"):
        raw = read_tables(job.dataset, lambda file: progress.say(f"  {file}"), job.dialect, job.own)
    with progress.phase("validate"):
        dataset = validate_raw(raw, job.time_zone)
        del raw
    _take_rejects(job, dataset, report, progress)
    with progress.phase("hash"):
        manifest = _manifest(dataset)
    early = (gate_items(dataset.frames), gate_rejects(dataset.counts, job.limits))
    with progress.phase("keep"):
        fresh = FreshTables.of(dataset.frames, dataset.counts, choose(dataset.frames))
        kept, manifest["kept"] = fresh.files(), fresh.manifest()
        books = book_digests(dataset.frames["price_books"], dataset.frames["price_entries"])
        kept[book_ages.FILE] = book_ages.kept_books(*books, None, now_us)
    with progress.phase("compile"):
        arrays = functions.compile(dataset.frames, dataset.time_zone)
    with progress.phase("gates"):
        try:
            running = open_running(job.store)
            if running is not None:
                before = book_ages.stored_books(job.store, running.version)
                kept[book_ages.FILE] = book_ages.kept_books(*books, before, now_us)
        except SnapshotError as error:
            return _Compiled(arrays, {}, manifest, kept, (*early, _incomparable(error)))
        if running is None:
            return _Compiled(arrays, {}, manifest, kept, early)
        side = Side("this load", fresh, arrays)
        gates, report.sample = compare_full(
            running, side, functions.tools, job.limits, job.allow_absent, now_us
        )
    return _Compiled(arrays, {}, manifest, kept, (*early, *gates), (running, side))


def _incomparable(error: SnapshotError) -> Gate:
    return Gate("running", False, None, f"the running snapshot can't be compared: {error}")


def _compile_delta(
    job: LoadJob, functions: LoadFunctions, report: LoadReport, progress: Progress, now_us: int
) -> _Compiled:
    if functions.delta_base is None:
        raise ValueError("these functions load no deltas")
    signed_by = None if job.sign_key is None else trust_of(read_private_key(job.sign_key))
    base = open_snapshot(job.store, verify=signed_by is not None, keys=signed_by)
    zone = str(base.manifest["time_zone"])
    if job.time_zone not in (zone, "UTC"):
        raise DatasetError(f"--time-zone {job.time_zone} is not that of the running snapshot, {zone}")
    with progress.phase("read"):
        under = functions.delta_base(base.arrays)
        dataset = read_delta(job.dataset, under.known_names, zone, job.dialect)
    _take_rejects(job, dataset, report, progress)
    with progress.phase("hash"):
        manifest = {**base.manifest, **_manifest(dataset), "base_version": base.version}
        manifest["counts"] = base.manifest.get("counts", {})
        manifest["as_of_horizon_us"] = _latest(
            base.manifest.get("as_of_horizon_us"), _horizon_us(dataset.frames)
        )
    with progress.phase("compile"):
        delta = under.apply(dataset.frames["price_entries"])
    folder = job.store / "snapshots" / base.version
    unchanged = {name: folder / f"{name}.npy" for name in base.arrays if name not in delta.arrays}
    kept: dict[str, KeptFile] = {}
    with progress.phase("gates"):
        running = open_side(job.store, base.version, verify=False)
        side = Side("this load", running.kept, {**base.arrays, **delta.arrays})
        if isinstance(running.kept, StoredTables):
            kept = running.kept.files()
            before = book_ages.stored_books(job.store, base.version)
            if before is not None:
                kept[book_ages.FILE] = book_ages.after_delta(before, delta.book_difference, now_us)
            manifest["kept"] = running.kept.with_entries(delta.added - delta.deleted)
        gates, report.sample = compare_delta(
            running, side, delta.deleted, functions.tools, job.limits, now_us
        )
    gates = [gate_rejects(dataset.counts, job.limits), *gates]
    return _Compiled(delta.arrays, unchanged, manifest, kept, tuple(gates), (running, side), base.manifest)


def _take_rejects(job: LoadJob, dataset: Dataset, report: LoadReport, progress: Progress) -> None:
    """Those of a check stand beside those of the last load."""
    with progress.phase("rejects"):
        report.describe(dataset)
        folder = job.store / ("rejects-of-check" if job.check else "rejects")
        report.rejects = {name: str(path) for name, path in write_rejects(folder, dataset.rejects).items()}


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


def _extracted(args: argparse.Namespace, clock: Callable[[], datetime], progress: Progress) -> Extract:
    """Reads the ERP. Raises LoadError."""
    from pricegrid.loaders.extract import ExtractJob, extract_dataset

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
    """Runs `pricegrid load`: 0 published (or would be), 1 refused, not possible now or not pushed, 2 the dataset
    can't be used."""
    out, err = out or sys.stdout, err or sys.stderr
    progress = Progress(err)
    try:
        report = _noted(args, clock, lambda: _run(args, functions, clock, progress))
    except (LoadError, OSError, MemoryError) as error:
        words = (
            "there is not enough memory for this dataset" if isinstance(error, MemoryError) else str(error)
        )
        if args.json:
            print(json.dumps({"published": False, "error": words}, indent=2), file=out)
        progress.fail(words)
        return 2 if isinstance(error, DatasetError) else 1
    print(json.dumps(report.as_json(), indent=2) if args.json else report.as_text(), file=out)
    for gate in report.gates:
        if not gate.passed and report.refused:
            limit = f" (limit {gate.limit} %)" if gate.limit is not None else ""
            told = "" if gate.flag == "--force" else f"{gate.flag} or "
            progress.fail(
                f"refused by gate {gate.name}: {gate.detail}{limit}; to publish all the same: {told}--force"
            )
    if report.push_error:
        progress.fail(
            f"published in {report.store} and not to {args.publish}, where `pricegrid snapshots push` tries again: "
            f"{report.push_error}"
        )
    return 1 if report.refused or report.push_error else 0


def _noted(
    args: argparse.Namespace, clock: Callable[[], datetime], run: Callable[[], LoadReport]
) -> LoadReport:
    """Runs a load; the store keeps what became of it, for the server's metrics."""
    report: LoadReport | None = None
    is_told = not args.check
    try:
        report = run()
    except LoaderBusyError:
        is_told = False  # the other load will say how it ends
        raise
    finally:
        if is_told:
            gates = {} if report is None else {gate.name: gate.passed for gate in report.gates}
            is_published = report is not None and report.published
            note_load(args.store, LastLoad(us_of(clock()), is_published, gates))
    return report


def _run(
    args: argparse.Namespace,
    functions: LoadFunctions | None,
    clock: Callable[[], datetime],
    progress: Progress,
) -> LoadReport:
    limits = Limits(args.max_reject_pct, args.max_vanished_pct, args.max_change_pct, args.max_sample_pct)
    extract = _extracted(args, clock, progress) if args.source else None
    job = LoadJob(
        args.dataset,
        args.store,
        extract.time_zone if extract else args.time_zone,
        limits,
        args.force,
        args.delta,
        frozenset(args.allow_absent),
        args.check,
        args.keep,
        stated_dialect(args),
        frozenset(extract.tables) if extract else frozenset(),
        args.sign_key,
        args.publish,
    )
    report = load(job, functions, clock=clock, progress=progress)
    if extract:
        report.warnings = [*extract.remarks, *report.warnings]
    return report
