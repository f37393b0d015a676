"""Finds and reads the tables of a dataset: every column as it is written, every row with its file and line.

CSV columns and the cells of workbooks become text; Parquet columns keep their native types. The notation of the text
(`loaders.read.notation`) is found out afterwards, for all files alike.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.csv_files import read_csv
from pricegrid.loaders.read.dialect import DATASET_TOML, NOTHING_STATED, Dialect, FoundDialect
from pricegrid.loaders.read.notation import notation_of
from pricegrid.loaders.read.raw import RawTable, check_header
from pricegrid.loaders.tables import TABLES, Table

ENDINGS: Final = (".csv.gz", ".csv", ".parquet", ".xlsx")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table lies: a file, or a sheet of a workbook."""

    path: Path
    sheet: str | None = None

    @property
    def name(self) -> str:
        """As reports and rejects call it."""
        return self.path.name if self.sheet is None else f"{self.path.name}[{self.sheet}]"


def find_tables(directory: Path) -> tuple[dict[str, Source], list[str]]:
    """The file or sheet of each table, and warnings about those that are none. DatasetError: no directory, nothing in
    it, an unknown table, or two files for one table."""
    if not directory.is_dir():
        raise DatasetError(f"dataset directory {directory} doesn't exist or isn't a directory")
    found: dict[str, Source] = {}
    warnings: list[str] = []
    for path in sorted(directory.iterdir()):
        if path.name.startswith((".", "~$")) or path.name == DATASET_TOML:
            continue
        if not path.name.endswith(ENDINGS) or not path.is_file():
            warnings.append(f"{path.name}: ignored, neither .csv, .csv.gz, .parquet nor .xlsx")
            continue
        for name, source in tables_in(path, warnings).items():
            if name in found:
                raise DatasetError(
                    f"table {name} has two files, {found[name].name} and {source.name}: keep one"
                )
            found[name] = source
    if not found:
        raise DatasetError(f"dataset {directory} is empty: no NAME.csv, .csv.gz, .parquet or .xlsx in it")
    return found, warnings


def tables_in(path: Path, warnings: list[str]) -> dict[str, Source]:
    """The tables of one file, which must have one of the known endings. A workbook with the name of a table and one
    sheet is that table; in any other each sheet with the name of a table is one."""
    ending = next(each for each in ENDINGS if path.name.endswith(each))
    name = path.name.removesuffix(ending)
    if ending != ".xlsx":
        if name not in TABLES:
            raise DatasetError(f'{path.name}: unknown table "{name}"; tables are {", ".join(TABLES)}')
        return {name: Source(path)}
    from pricegrid.loaders.read.sheets import sheet_names

    sheets = sheet_names(path)
    if name in TABLES and len(sheets) == 1:
        return {name: Source(path, sheets[0])}
    warnings.extend(
        f'{path.name}: sheet "{sheet}" is ignored: it has the name of no table'
        for sheet in sheets
        if sheet not in TABLES
    )
    found = {sheet: Source(path, sheet) for sheet in sheets if sheet in TABLES}
    if not found:
        raise DatasetError(f"{path.name}: no sheet has the name of a table; tables are {', '.join(TABLES)}")
    return found


def read_table(source: Source | Path, table: Table, stated: Dialect = NOTHING_STATED) -> RawTable:
    """Reads one file or sheet. DatasetError naming it: unreadable, no header, a column missing or twice."""
    if isinstance(source, Path):
        source = Source(source)
    if source.path.name.endswith(".parquet"):
        raw = _read_parquet(source.path, table)
    elif source.path.name.endswith(".xlsx"):
        from pricegrid.loaders.read.sheets import read_sheet

        raw = read_sheet(source.path, source.sheet, source.name, table)
    else:
        raw = read_csv(source.path, table, stated)
    return _with_notation(raw, table, stated)


def _with_notation(raw: RawTable, table: Table, stated: Dialect) -> RawTable:
    found = notation_of(raw, table, stated)
    assert raw.dialect is not None  # noqa: S101 -- every reader says it
    return replace(
        raw,
        restated={**found.restated, **raw.restated},
        ambiguous=pl.concat(found.ambiguous) if found.ambiguous else None,
        warnings=(*raw.warnings, *found.warnings),
        dialect=replace(
            raw.dialect,
            decimal=found.decimal,
            dates=found.dates,
            evidence=(*raw.dialect.evidence, *found.evidence),
        ),
    )


def _read_parquet(path: Path, table: Table) -> RawTable:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{path.name}: can't be read as Parquet: {error}") from error
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    frame = frame.drop(nested)
    warnings = [f'{path.name}: column "{name}" is nested and is ignored' for name in nested]
    warnings.extend(check_header(path.name, frame.columns, table))
    for name, dtype in frame.schema.items():
        if dtype.is_float() and any(c.name == name for c in table.columns):
            warnings.append(
                f'{path.name}: column "{name}" is binary float; its shortest decimal text is read'
            )
    dialect = FoundDialect(path.name, "parquet")
    return RawTable(table.name, path.name, frame, first_line=1, warnings=tuple(warnings), dialect=dialect)
