"""What tests write is what the loader reads: every table and column of a test's dataset is a declared one.

The loader ignores a column that it does not know, so a test that misspells one compares nothing. Generators write
through here, where that is an error; only the tests of the loader's own refusals write files of their own.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from pricegrid.loaders.tables import DELTA_ENTRIES, TABLES
from pricegrid.loaders.validate.tables import Dataset, validate_tables

COLUMNS = {name: {column.name for column in table.columns} for name, table in TABLES.items()}
READ_COLUMNS = {name: {column.out for column in table.columns} for name, table in TABLES.items()}
"""As they are called once read; a ratio is two whole numbers then (`loaders.ratios`)."""
READ_COLUMNS["uoms"] |= {"numerator", "denominator"}
DELTA_COLUMNS = {DELTA_ENTRIES.name: {column.name for column in DELTA_ENTRIES.columns}}


def check_declared(tables: Mapping[str, Iterable[str]], declared: Mapping[str, set[str]] = COLUMNS) -> None:
    """Raises AssertionError for a table or a column that the loader would ignore or refuse."""
    for name, columns in tables.items():
        assert name in declared, f'no such table: "{name}"'
        unknown = sorted(set(columns) - declared[name])
        assert not unknown, f"{name} has no column {', '.join(unknown)}: the loader would ignore it"


def write_tables(folder: Path, tables: Mapping[str, str], *, is_delta: bool = False) -> Path:
    """Writes CSV texts as files, each with a line break at its end; blank texts are tables that are not there."""
    texts = {name: text.strip() for name, text in tables.items() if text.strip()}
    headers = {name: text.partition("\n")[0].split(",") for name, text in texts.items()}
    check_declared(headers, DELTA_COLUMNS if is_delta else COLUMNS)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
    return folder


def accepted(tables: Mapping[str, pl.DataFrame], time_zone: str = "UTC") -> Dataset:
    """The tables as validated, of which not a column may be ignored and not a row rejected."""
    check_declared({name: frame.columns for name, frame in tables.items()})
    dataset = validate_tables(tables, time_zone)
    rejected = {name: frame.rows() for name, frame in dataset.rejects.items() if frame.height}
    assert not rejected, rejected
    return dataset


def write_frames(folder: Path, frames: Mapping[str, pl.DataFrame]) -> Path:
    """Writes frames as CSV files."""
    check_declared({name: frame.columns for name, frame in frames.items()})
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.write_csv(folder / f"{name}.csv")
    return folder
