"""What a snapshot keeps of its tables, for the gates and comparisons of later loads; no server opens it.

Every table that was given is kept as it was validated (`kept_TABLE.parquet`), but for price entries: the arrays say
all of them, and a 64-bit digest of each one's key (`kept_entry_keys.npy`, sorted) tells what vanished. A delta keeps
the tables of its base as they are. `kept_sample.parquet` are the questions by which two snapshots are compared
(`loaders.gates.sample`).
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.loaders.errors import SnapshotCorruptError
from pricegrid.loaders.gates.gates import ENTRY_KEY
from pricegrid.loaders.store.hashing import hash_file
from pricegrid.loaders.store.snapshot import KeptFile, read_manifest, snapshot_folder
from pricegrid.loaders.tables import TABLES

ENTRIES: Final = "price_entries"
SAMPLE: Final = "sample"
TRANSIENT: Final = frozenset({"allocations", "receipts", "demands"})
"""Rows come and go with every order: what counts there is how many there are."""

_DIGEST: Final = f"polars-{pl.__version__}"
"""Whose digests these are: another release of Polars may give others."""
_ENTRY_KEYS: Final = "kept_entry_keys.npy"
_SAME_ROW: Final[Mapping[str, tuple[str, ...]]] = {
    "agreements": ("book_id", "customer_id", "price_class", "everyone"),
    "costs": ("sku", "branch"),
    "exchange_rates": ("from_currency", "to_currency"),
    "part_numbers": ("scheme", "code", "sku", "uom", "customer_id", "price_class", "maker"),
    "stock": ("sku", "branch"),
}
"""Where a row of tonight is that of last night although its date is another."""

Digests = NDArray[np.uint64]


def gate_key(table: str) -> tuple[str, ...]:
    """The columns, as they are called once read, by which a row is found again or has vanished."""
    return _SAME_ROW.get(table, TABLES[table].key)


def row_key(table: str) -> tuple[str, ...]:
    """The columns that make a row of one snapshot the same as one of another; empty: all of them."""
    return _SAME_ROW["stock"] if table == "stock" else TABLES[table].key


def entry_digests(entries: pl.DataFrame) -> Digests:
    """A digest of the key of each entry, sorted, each once."""
    is_of_branch = pl.col("branch").is_not_null()
    # without the branch where there is none: as releases made them that knew of no branch
    plain = [name for name in ENTRY_KEY if name != "branch"]
    hashes = [
        entries.filter(~is_of_branch).select(plain).hash_rows(),
        entries.filter(is_of_branch).select(ENTRY_KEY).hash_rows(),
    ]
    digests: Digests = pl.concat(hashes).unique().sort().to_numpy()
    return digests


class Kept(Protocol):
    """The tables of one snapshot, or of one to be."""

    @property
    def rows(self) -> Mapping[str, int]:
        """Rows of each table that was given."""

    def table(self, name: str) -> pl.DataFrame | None:
        """A table as it was validated; None: not given, or it is that of the price entries."""

    def entry_keys(self) -> Digests | None:
        """The digests of all price entries, sorted; None: other ones than this release makes, or none."""

    def sample(self) -> pl.DataFrame | None:
        """The questions to compare by."""


@dataclass(frozen=True, slots=True)
class FreshTables:
    """The tables of a load before it is written."""

    rows: Mapping[str, int]
    tables: Mapping[str, pl.DataFrame]
    questions: pl.DataFrame
    digests: Digests

    @classmethod
    def of(
        cls, frames: Mapping[str, pl.DataFrame], given: Mapping[str, Any], questions: pl.DataFrame
    ) -> "FreshTables":
        """Those of a validated dataset in which the tables `given` were."""
        tables = {name: frames[name] for name in given if name != ENTRIES}
        if "stock" in tables:  # pairs whose rows were rejected are there without a figure
            tables["stock"] = tables["stock"].filter(pl.col("on_hand_micros").is_not_null())
        rows = {name: frame.height for name, frame in tables.items()}
        if ENTRIES in given:
            rows[ENTRIES] = frames[ENTRIES].height
        return cls(rows, tables, questions, entry_digests(frames[ENTRIES]))

    def table(self, name: str) -> pl.DataFrame | None:
        """See `Kept`."""
        return self.tables.get(name)

    def entry_keys(self) -> Digests | None:
        """See `Kept`."""
        return self.digests

    def sample(self) -> pl.DataFrame | None:
        """See `Kept`."""
        return self.questions

    def files(self) -> dict[str, KeptFile]:
        """What `write_snapshot` takes. The same tables give the same bytes."""
        frames = {**self.tables, SAMPLE: self.questions}
        return {
            **{f"kept_{name}.parquet": _parquet(frame) for name, frame in frames.items()},
            _ENTRY_KEYS: self.digests,
        }

    def manifest(self) -> dict[str, object]:
        """What the manifest says of them."""
        return {"digest": _DIGEST, "rows": dict(self.rows)}


def _parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd", compression_level=1, statistics=False)
    return content.getvalue()


@dataclass(frozen=True, slots=True)
class StoredTables:
    """The tables of a snapshot that exists; each file is compared with its hash when it is read."""

    folder: Path
    rows: Mapping[str, int]
    digest: str
    hashes: Mapping[str, Mapping[str, Any]]
    changed: bool = False
    """Whether deltas have changed price entries since the digests were made."""
    _read: dict[str, pl.DataFrame] = field(default_factory=dict)

    def table(self, name: str) -> pl.DataFrame | None:
        """See `Kept`. Raises SnapshotCorruptError."""
        file = f"kept_{name}.parquet"
        if file not in self.hashes:
            return None
        if name not in self._read:
            self._read[name] = pl.read_parquet(self._verified(file), glob=False)
        return self._read[name]

    def entry_keys(self) -> Digests | None:
        """See `Kept`. Raises SnapshotCorruptError."""
        if _ENTRY_KEYS not in self.hashes or self.digest != _DIGEST or self.changed:
            return None
        digests: Digests = np.load(self._verified(_ENTRY_KEYS), mmap_mode="r", allow_pickle=False)
        return digests

    def sample(self) -> pl.DataFrame | None:
        """See `Kept`. Raises SnapshotCorruptError."""
        return self.table(SAMPLE)

    def files(self) -> dict[str, KeptFile]:
        """The same files for a snapshot that a delta makes of this one."""
        return {name: self.folder / name for name in self.hashes}

    def with_entries(self, difference: int) -> dict[str, object]:
        """What the manifest of a delta says: so many entries more."""
        rows = {**self.rows, ENTRIES: self.rows.get(ENTRIES, 0) + difference}
        return {"digest": self.digest, "rows": rows, "changed": True}

    def _verified(self, file: str) -> Path:
        path = self.folder / file
        if not path.is_file():
            raise SnapshotCorruptError(f"{path} is missing")
        if hash_file(path) != self.hashes[file]["sha256"]:
            raise SnapshotCorruptError(f"{path} is corrupt: its SHA-256 is not the manifest's")
        return path


def stored_tables(store: Path, version: str) -> StoredTables | None:
    """The tables that a snapshot keeps, whatever release wrote it; None: it keeps none. Raises NoSnapshotError,
    SnapshotCorruptError."""
    folder = snapshot_folder(store, version)
    manifest = read_manifest(folder, any_format=True)
    kept = manifest.get("kept")
    if not isinstance(kept, dict):
        return None
    return StoredTables(
        folder, kept["rows"], str(kept["digest"]), manifest.get("kept_files", {}), bool(kept.get("changed"))
    )
