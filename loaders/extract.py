"""`pricegrid load --from ERP`: the tables of an ERP, read now and written as a dataset that the ordinary load takes.

What a mastering table says another system owns is left out: those tables come from files of that system, beside, and
are never written over or removed.
"""

import asyncio
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Final

from pricegrid.columnar.instants import us_of
from pricegrid.erp.mastering import NO_MASTERING, Mastering
from pricegrid.erp.protocol import ErpError, Extract
from pricegrid.erp.settings import read_settings
from pricegrid.loaders.errors import DatasetError, LoadError
from pricegrid.loaders.read.dialect import CANONICAL_TOML, DATASET_TOML
from pricegrid.loaders.tables import TABLES

EXTRACT_TIMEOUT_S: Final = 3600.0
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
MARK: Final = ".extracted-by-pricegrid"
"""A folder with this file may be written over."""


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """One extract, as the operator asked for it."""

    source: str
    """`tryton` or `http_json`: must be the adapter of the configuration."""
    config: Path
    dataset: Path
    """Where to write; made if it is not there."""
    mastering: Path | None = None


def extract_dataset(job: ExtractJob, clock: Callable[[], datetime], say: Callable[[str], None]) -> Extract:
    """Reads the ERP and writes the dataset, replacing an earlier extract whole; what was written. Raises LoadError."""
    try:
        mastering = Mastering.read(job.mastering) if job.mastering else NO_MASTERING
        owned = frozenset(name for name in TABLES if mastering.takes(name, extract_name(job)))
        _check_folder(job.dataset, owned)
        extract = asyncio.run(_extract(job, clock()))
    except ErpError as error:
        raise LoadError(f"the ERP was not extracted: {error}") from error
    tables = {name: rows for name, rows in extract.tables.items() if name in owned}
    written = Extract(tables, extract.time_zone, extract.remarks)
    _write(job.dataset, written, owned)
    for name in sorted(extract.tables):
        counted = len(extract.tables[name]) if name in tables else "left out: another system owns it"
        say(f"  {name}: {counted}")
    return written


def extract_name(job: ExtractJob) -> str:
    """The ERP as a mastering table calls it."""
    return read_settings(job.config).name


async def _extract(job: ExtractJob, now: datetime) -> Extract:
    from dataclasses import replace

    from pricegrid.erp.adapters import make_adapter

    settings = read_settings(job.config)
    if settings.adapter != job.source:
        raise DatasetError(f"--from {job.source}, but {job.config} is for the adapter {settings.adapter}")
    limits = replace(settings.limits, answer_bytes_max=ANSWER_BYTES_MAX)
    adapter = make_adapter(replace(settings, limits=limits))
    try:
        as_of_us = us_of(now)
        return await adapter.extract(as_of_us, monotonic() + EXTRACT_TIMEOUT_S)
    finally:
        await adapter.close()


def _check_folder(folder: Path, owned: frozenset[str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is no directory")
    if not folder.is_dir() or (folder / MARK).exists():
        return
    others = {
        f"{name}.{kind}" for name in TABLES.keys() - owned for kind in ("csv", "csv.gz", "parquet", "xlsx")
    }
    if any(path.name not in {*others, DATASET_TOML} for path in folder.iterdir()):
        raise DatasetError(f"{folder} holds files that no extract wrote: name an empty or a new directory")


def _write(folder: Path, extract: Extract, owned: frozenset[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    if not (folder / DATASET_TOML).exists():  # a later load of the directory must not wonder what `1.234` is
        (folder / DATASET_TOML).write_text(CANONICAL_TOML, encoding="utf-8")
    for name in owned:
        path = folder / f"{name}.csv"
        rows = extract.tables.get(name, ())
        if not rows:
            path.unlink(missing_ok=True)
            continue
        _write_table(path, rows)


def _write_table(path: Path, rows: Sequence[object]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))  # type: ignore[attr-defined]
    making = path.with_suffix(".csv.new")
    with making.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)  # type: ignore[arg-type]
    making.rename(path)
