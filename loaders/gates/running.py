"""The running snapshot beside a load: every gate that compares the two, and what customers would see."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pricegrid.loaders.errors import NoSnapshotError, SnapshotVersionError
from pricegrid.loaders.gates.gates import Decode, Gate, gate_change
from pricegrid.loaders.gates.limits import Limits
from pricegrid.loaders.gates.sample import Ask
from pricegrid.loaders.gates.sample_change import SampleChange, compare_answers
from pricegrid.loaders.gates.tables import (
    book_currencies,
    counts_only,
    gate_absent,
    gate_agreements,
    gate_deleted,
    gate_sample,
    gate_vanished,
)
from pricegrid.loaders.store.kept import Digests, Kept, entry_digests, stored_tables
from pricegrid.loaders.store.snapshot import current_version, open_snapshot, read_manifest, snapshot_folder

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Side:
    """One of two snapshots to compare; one of them may not be written yet."""

    version: str
    kept: Kept
    arrays: Arrays | None
    """None: of a format that this release doesn't read."""


@dataclass(frozen=True, slots=True)
class Tools:
    """How arrays are read."""

    decode: Decode
    ask: Ask | None
    """None: nothing can be asked, and no sample is compared."""


def open_side(store: Path, version: str, *, verify: bool = True) -> Side:
    """A snapshot of the store. What another release wrote has no arrays; the tables it keeps can be read. Raises
    NoSnapshotError, SnapshotCorruptError."""
    folder = snapshot_folder(store, version)
    kept = stored_tables(store, version)
    counts = read_manifest(folder, any_format=True).get("counts", {})
    try:
        arrays: Arrays | None = open_snapshot(store, version, verify=verify).arrays
    except SnapshotVersionError:
        arrays = None
    return Side(version, counts_only(counts) if kept is None else kept, arrays)


def open_running(store: Path) -> Side | None:
    """The running snapshot; None: there is none. Raises SnapshotCorruptError."""
    try:
        return open_side(store, current_version(store))
    except NoSnapshotError:
        return None


def compare_full(
    running: Side, fresh: Side, tools: Tools, limits: Limits, allowed: Collection[str], as_of_us: int
) -> tuple[list[Gate], SampleChange | None]:
    """The gates of a full load, and how the sample's answers differ; None: there is no sample to ask."""
    old, new = running.kept, fresh.kept
    gates = [
        gate_absent(old, new, allowed),
        gate_vanished(old, new, _entry_digests(running, fresh, tools), limits),
        gate_agreements(old, new, allowed),
    ]
    return _with_answers(gates, running, fresh, tools, limits, as_of_us)


def compare_delta(
    running: Side, fresh: Side, deleted: int, tools: Tools, limits: Limits, as_of_us: int
) -> tuple[list[Gate], SampleChange | None]:
    """The gates of a delta that deletes so many entries; as `compare_full`."""
    before = running.kept.rows.get("price_entries", deleted)
    return _with_answers([gate_deleted(deleted, before, limits)], running, fresh, tools, limits, as_of_us)


def _with_answers(
    gates: list[Gate], running: Side, fresh: Side, tools: Tools, limits: Limits, as_of_us: int
) -> tuple[list[Gate], SampleChange | None]:
    if limits.max_change_pct is not None and running.arrays is not None and fresh.arrays is not None:
        gates.append(gate_change(tools.decode(running.arrays), tools.decode(fresh.arrays), limits))
    change = compare_sample(running, fresh, tools, limits, as_of_us)
    if change is None:
        gates.append(
            Gate("sample", True, None, "not asked: " + why_not_asked(running, tools), "--max-sample-pct")
        )
    else:
        gates.append(gate_sample(change, limits))
    return gates, change


def compare_sample(old: Side, new: Side, tools: Tools, limits: Limits, as_of_us: int) -> SampleChange | None:
    """Asks both the questions that the old one keeps; None: see `why_not_asked`."""
    questions = old.kept.sample()
    if (
        tools.ask is None
        or questions is None
        or questions.is_empty()
        or old.arrays is None
        or new.arrays is None
    ):
        return None
    before, after = (
        tools.ask(side.arrays, questions, as_of_us) for side in (old, new) if side.arrays is not None
    )
    currencies = book_currencies(old.kept), book_currencies(new.kept)
    return compare_answers(questions, before, after, currencies, limits.sample_move_pct)


def why_not_asked(old: Side, tools: Tools) -> str:
    """Why there is no sample to compare by."""
    if tools.ask is None:
        return "this build can't ask"
    if old.arrays is None:
        return f"snapshot {old.version} has a format that this release doesn't read"
    if old.kept.sample() is None:
        return f"snapshot {old.version} was written without the tables and the sample that comparisons need"
    return f"snapshot {old.version} has no customers or no items"


def _entry_digests(running: Side, fresh: Side, tools: Tools) -> tuple[Digests, Digests] | None:
    new = fresh.kept.entry_keys()
    old = running.kept.entry_keys()
    if old is None and running.arrays is not None:
        old = entry_digests(tools.decode(running.arrays))
    return None if old is None or new is None else (old, new)
