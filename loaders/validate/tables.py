"""Tables as they were written to normalised frames: the row checks, repeated rows, and the final shape.

Order of work: every table is read column by column (`columns`, `rules`), repeated and conflicting rows are settled,
then references across tables (`references`). What remains is in `Dataset.frames`; what doesn't is in `Dataset.rejects`
with its reason. All of it works on whole columns; Python loops only over distinct dates and over graph edges.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import polars as pl

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.columns import (
    ROW,
    TEXT,
    clean,
    dated,
    ends_in_last_second,
    is_dated,
    out_type,
    padded,
    said,
    table_expressions,
)
from pricegrid.loaders.read.dialect import (
    CANONICAL,
    NOTHING_STATED,
    Dialect,
    FoundDialect,
    read_dialects,
)
from pricegrid.loaders.read.instants import InstantReader
from pricegrid.loaders.read.ratios import RATIOS, normal_columns, with_ratios
from pricegrid.loaders.read.raw import CELL_BYTES_MAX, RawTable, check_header
from pricegrid.loaders.read.tables import find_tables, read_table
from pricegrid.loaders.tables import (
    DEFAULT_LAYER,
    DELTA_ENTRIES,
    TABLES,
    Table,
)
from pricegrid.loaders.validate.causes import RootCause, root_causes
from pricegrid.loaders.validate.other_names import check_other_names
from pricegrid.loaders.validate.references import KnownNames, check_entries, check_references
from pricegrid.loaders.validate.repeats import settle_repeated
from pricegrid.loaders.validate.rules import first_broken, row_rules
from pricegrid.loaders.validate.state import Validation
from pricegrid.pricing_engine.model import ALWAYS_US, COST, NEVER_US

_SLICE_ROWS: Final = 1 << 22
Known = Callable[[pl.DataFrame], KnownNames]
"""Entries to those names of a base snapshot that they use."""

_RENAMED: Final = {"floor_margin_pct_micros": "floor_margin_micros"}


@dataclass(frozen=True, slots=True)
class TableCounts:
    """What became of the rows of a table: rows = accepted + rejected + repeated."""

    rows: int
    accepted: int
    rejected: int
    repeated: int
    """Rows that say what an accepted row says, or (stock) an older figure."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A validated dataset: one normalised frame for every table of section 4 (empty where the table is missing), the
    rejected rows as they were written, warnings, and counts of the tables that were given."""

    frames: dict[str, pl.DataFrame]
    rejects: dict[str, pl.DataFrame]
    warnings: list[str]
    counts: dict[str, TableCounts]
    time_zone: str
    files: dict[str, Path]
    """The file of each table; empty for tables given in memory."""
    causes: list[RootCause] = field(default_factory=list)
    """Why rows were rejected, the cause of most first."""
    dialects: dict[str, FoundDialect] = field(default_factory=dict)
    """How the file of each table is written; empty for tables given in memory."""


@dataclass(frozen=True, slots=True)
class RawDataset:
    """The tables of a directory as they were written."""

    tables: Mapping[str, RawTable]
    files: dict[str, Path]
    warnings: list[str]


def _ignore(_: str) -> None:
    pass


def read_dataset(path: Path, time_zone: str = "UTC", stated: Dialect = NOTHING_STATED) -> Dataset:
    """Reads and validates a directory of tables. DatasetError if it can't be used as a whole."""
    return validate_raw(read_tables(path, stated=stated), time_zone)


def read_tables(
    path: Path,
    notify: Callable[[str], None] = _ignore,
    stated: Dialect = NOTHING_STATED,
    own: Collection[str] = (),
) -> RawDataset:
    """Reads a directory of tables; `notify` hears the name of each file before it is read. `stated` says how the files
    are written, but for those of the tables `own`, which this product wrote. DatasetError if one can't be read."""
    sources, warnings = find_tables(path)
    dialects = read_dialects(path, stated)
    tables: dict[str, RawTable] = {}
    for name in (name for name in TABLES if name in sources):
        notify(sources[name].name)
        tables[name] = read_table(
            sources[name], TABLES[name], CANONICAL if name in own else dialects.of(name)
        )
    return RawDataset(tables, {name: source.path for name, source in sources.items()}, warnings)


def validate_raw(raw: RawDataset, time_zone: str = "UTC") -> Dataset:
    """Validates what `read_tables` read. DatasetError: unknown time zone."""
    return _validate(raw.tables, InstantReader(time_zone), raw.warnings, raw.files)


def validate_tables(raw: Mapping[str, pl.DataFrame], time_zone: str = "UTC") -> Dataset:
    """Validates tables in memory, as if each were NAME.csv: row i is line i + 2. Columns are text or native types."""
    reader = InstantReader(time_zone)
    unknown = sorted(set(raw) - set(TABLES))
    if unknown:
        raise DatasetError(f'unknown table "{unknown[0]}"; tables are {", ".join(TABLES)}')
    raws = {name: _in_memory(raw[name], TABLES[name]) for name in TABLES if name in raw}
    return _validate(raws, reader, [], {})


def read_delta(path: Path, known: Known, time_zone: str = "UTC", stated: Dialect = NOTHING_STATED) -> Dataset:
    """Reads and validates a delta: `price_entries` alone, with a column `deleted` (default false), its names checked
    against those of the base snapshot. A deletion needs only the key of the entry. DatasetError for other tables."""
    reader = InstantReader(time_zone)
    sources, warnings = find_tables(path)
    others = sorted(set(sources) - {DELTA_ENTRIES.name})
    if others:
        raise DatasetError(f"{sources[others[0]].name}: a delta holds price_entries and no other table")
    dialect = read_dialects(path, stated).of(DELTA_ENTRIES.name)
    raw = read_table(sources[DELTA_ENTRIES.name], DELTA_ENTRIES, dialect)
    files = {name: source.path for name, source in sources.items()}
    return _validate_delta(raw, known, reader, warnings, files)


def validate_alone(raw: RawTable, time_zone: str = "UTC") -> Dataset:
    """Validates one table without those that it refers to: every name in it counts as known."""
    reader = InstantReader(time_zone)
    state = Validation({raw.name: raw}, warnings=list(raw.warnings))
    state.frames = {name: _empty(table) for name, table in TABLES.items()}
    _read_rows(state, TABLES[raw.name], reader)
    settle_repeated(state, TABLES[raw.name])
    return _dataset(state, _without_rows(state.frames), reader, {})


def validate_delta(entries: pl.DataFrame, known: Known, time_zone: str = "UTC") -> Dataset:
    """`read_delta` for a table in memory."""
    return _validate_delta(_in_memory(entries, DELTA_ENTRIES), known, InstantReader(time_zone), [], {})


def _in_memory(frame: pl.DataFrame, table: Table) -> RawTable:
    file = f"{table.name}.csv"
    return RawTable(table.name, file, frame, warnings=check_header(file, frame.columns, table))


def _validate(
    raws: Mapping[str, RawTable], reader: InstantReader, warnings: list[str], files: dict[str, Path]
) -> Dataset:
    state = Validation(raws, warnings=[*warnings, *(w for raw in raws.values() for w in raw.warnings)])
    for name, table in TABLES.items():
        if name in raws:
            _read_rows(state, table, reader)
            settle_repeated(state, table)
        else:
            state.frames[name] = _empty(table)
    if state.given("stock"):
        _keep_newest_stock(state)
    if not state.given("layers"):
        _one_layer(state)
    check_references(state)
    check_other_names(state)
    frames = _without_rows(state.frames)
    if not state.given("agreements"):
        frames["agreements"] = _everyone(frames["price_books"])
    return _dataset(state, frames, reader, files)


def _without_rows(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The frames without ROW, by no query: there are as many as tables, and most are empty."""
    return {
        name: pl.DataFrame([column for column in frame if column.name != ROW])
        for name, frame in frames.items()
    }


def _validate_delta(
    raw: RawTable, known: Known, reader: InstantReader, warnings: list[str], files: dict[str, Path]
) -> Dataset:
    state = Validation({DELTA_ENTRIES.name: raw}, warnings=[*warnings, *raw.warnings])
    _read_rows(state, DELTA_ENTRIES, reader)
    settle_repeated(state, DELTA_ENTRIES)
    names = known(state.frames[DELTA_ENTRIES.name])
    check_entries(state, names)
    if names.deletions_of_nothing is not None:
        broken = names.deletions_of_nothing(state.frames[DELTA_ENTRIES.name])
        state.reject(DELTA_ENTRIES.name, broken, "deleted", said("there is no such entry to delete"))
    frames = _without_rows(state.frames)
    return _dataset(state, frames, reader, files)


def _dataset(
    state: Validation, frames: dict[str, pl.DataFrame], reader: InstantReader, files: dict[str, Path]
) -> Dataset:
    rejects = state.rejects()
    counts: dict[str, TableCounts] = {}
    for name, raw in state.raws.items():
        rejected = rejects[name].height if name in rejects else 0
        accepted = state.frames[name].height
        rows = raw.rows - state.blank[name]
        counts[name] = TableCounts(rows, accepted, rejected, state.repeated[name])
        if rows != accepted + rejected + state.repeated[name]:
            raise AssertionError(f"{name}: {counts[name]} loses a row")
    if rejects.keys() & {"stock", "kits"}:
        frames = frames | {"stock": _with_unknown_pairs(frames, rejects)}
    causes = root_causes({name: (state.raws[name], rows) for name, rows in rejects.items()})
    dialects = {name: raw.dialect for name, raw in state.raws.items() if raw.dialect is not None}
    return Dataset(frames, rejects, state.warnings, counts, reader.zone_name, files, causes, dialects)


def _with_unknown_pairs(
    frames: Mapping[str, pl.DataFrame], rejects: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """`stock` with a row without a figure for every pair whose row was rejected, and for rejected kits at every branch.

    A complete feed says that a missing row means 0; a row that was there and can't be used means unknown (A11). The
    stock rows of a rejected kit are its own, which never count (A6).
    """
    stock = frames["stock"]
    tables = ("branches", "stock", "feeds", "receipts", "demands")
    branches = frames["branches"].select("branch")
    if branches.is_empty():
        branches = pl.concat([frames[table].select("branch") for table in tables]).unique()
    pair = ["sku", "branch"]
    unknown = stock.clear().select(pair)
    if "stock" in rejects:
        lost = rejects["stock"].select(pl.col(pair).str.strip_chars()).join(stock, on=pair, how="anti")
        unknown = pl.concat([unknown, lost.join(branches, on="branch", how="semi")])
    if "kits" in rejects:
        kits = rejects["kits"].select(sku=pl.col("kit_sku").str.strip_chars()).unique()
        stock = stock.join(kits, on="sku", how="anti")
        unknown = pl.concat([unknown, kits.join(branches, how="cross").select(pair)])
    unknown = unknown.join(frames["items"], on="sku", how="semi").unique(maintain_order=True)
    return pl.concat([stock, unknown], how="diagonal").with_columns(pl.col("unavailable_micros").fill_null(0))


def _read_rows(state: Validation, table: Table, reader: InstantReader) -> None:
    """Reads all columns; rejects rows that break a rule of their own."""
    raw = state.raws[table.name].canonical
    ambiguous = state.raws[table.name].ambiguous
    if ambiguous is not None:
        state.log(table.name, ambiguous.select(pl.col("row").alias(ROW), _column="column", _reason="reason"))
    parts = [
        _read_slice(state, table, reader, raw.slice(offset, _SLICE_ROWS), offset)
        for offset in range(0, raw.height, _SLICE_ROWS)
    ]
    state.frames[table.name] = _shaped(pl.concat(parts, rechunk=False), table) if parts else _empty(table)
    state.warn_last_seconds(table.name)


def _read_slice(
    state: Validation, table: Table, reader: InstantReader, raw: pl.DataFrame, offset: int
) -> pl.DataFrame:
    columns = [column for column in table.columns if column.name in raw.columns]
    row = pl.int_range(offset, offset + raw.height, dtype=pl.UInt32).alias(ROW)
    strip = padded(raw, columns)
    types = raw.schema
    work = raw.select(row, *(clean(c, types[c.name], strip=c.name in strip) for c in columns))
    work = _without_blank_rows(state, table, work, raw)
    work = _without_long_cells(state, table, work)
    ambiguous = state.raws[table.name].ambiguous
    if ambiguous is not None:
        work = work.filter(~pl.col(ROW).is_in(ambiguous["row"].implode()))
    full = [c for c in columns if work[TEXT + c.name].null_count() < work.height]
    present = tuple((c.name, work.schema[TEXT + c.name]) for c in full)
    if "valid_to" in (c.name for c in full):
        state.note_last_seconds(table.name, work.filter(ends_in_last_second(work)))
    dates = _date_expressions(state, table, reader, work, [c.name for c in full])
    work = work.with_columns(*table_expressions(table, present, reader.zone_name), *dates)
    if table.name in RATIOS:
        work = with_ratios(work, table.name)
    work = _apply(state, table, work, tuple(c.name for c in full))
    return work.select(ROW, *normal_columns(table))


def _without_blank_rows(
    state: Validation, table: Table, work: pl.DataFrame, raw: pl.DataFrame
) -> pl.DataFrame:
    """The rows in which something stands, in whatever column."""
    required = next(TEXT + column.name for column in table.columns if column.required)
    if work[required].null_count() == 0:
        return work
    blank = work.select(pl.all_horizontal(pl.exclude(ROW).is_null())).to_series()
    others = [name for name in raw.columns if TEXT + name not in work.columns]
    if others:
        is_blank = [
            pl.col(name).str.strip_chars().fill_null("") == ""
            if raw.schema[name] == pl.String
            else pl.col(name).is_null()
            for name in others
        ]
        blank &= raw.select(pl.all_horizontal(is_blank)).to_series()
    if not blank.any():
        return work
    rows = work[ROW].filter(blank)
    state.blank[table.name] += len(rows)
    state.warn_rows(table.name, rows, "rows are blank and don't count")
    return work.filter(~blank)


def _without_long_cells(state: Validation, table: Table, work: pl.DataFrame) -> pl.DataFrame:
    """The rows of which no cell is longer than CELL_BYTES_MAX."""
    texts = [name for name, dtype in work.schema.items() if dtype == pl.String]
    longest = work.select(pl.col(texts).str.len_bytes().max())
    for name in texts:
        if (longest[name][0] or 0) > CELL_BYTES_MAX:
            length = pl.col(name).str.len_bytes()
            lost = work.filter(length > CELL_BYTES_MAX).rechunk()
            reason = pl.format(f"{{}} bytes: a cell may have {CELL_BYTES_MAX}", length)
            column = pl.lit(name.removeprefix(TEXT), pl.String).alias("_column")
            state.log(table.name, lost.select(ROW, column, reason.alias("_reason")))
            work = work.filter(length.fill_null(0) <= CELL_BYTES_MAX)
    return work


def _date_expressions(
    state: Validation, table: Table, reader: InstantReader, work: pl.DataFrame, present: list[str]
) -> list[pl.Expr]:
    columns = [column for column in table.columns if is_dated(column)]
    branches = (
        state.frames.get("branches")
        if "branch" in present and table.name in ("receipts", "demands")
        else None
    )
    zones = (
        None if branches is None else branches.select("branch", "time_zone").unique("branch", keep="first")
    )
    read = dated(work, [c for c in columns if c.name in present], reader, zones)
    absent = [c for c in columns if c.name not in present]
    defaults = {"valid_from": ALWAYS_US, "valid_to": NEVER_US}
    return [*read, *(pl.lit(defaults.get(c.name), pl.Int64).alias(c.out) for c in absent)]


def _apply(state: Validation, table: Table, work: pl.DataFrame, present: tuple[str, ...]) -> pl.DataFrame:
    """The rows that break no rule; the others are logged with the first rule they break."""
    rules = row_rules(table, present)
    codes = work.select(ROW, first_broken(table, present).alias("_code"))["_code"]
    if codes.max() == 0:
        return work
    bad = work.with_columns(codes).filter(codes > 0)
    for code in bad["_code"].unique(maintain_order=True).to_list():
        rule = rules[code - 1]
        # `pl.format` panics on an empty chunk, as a filter may leave one
        chosen = bad.filter(pl.col("_code") == code).rechunk()
        column = pl.lit(rule.column, pl.String).alias("_column")
        state.log(table.name, chosen.select(ROW, column, rule.reason.alias("_reason")))
    return work.filter(codes == 0)


def _shaped(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Defaults that depend on other columns, and the names that compilers expect."""
    if table.name == "price_entries":
        no_basis = pl.col("method").is_null() | (pl.col("method") == "net")
        if frame["basis"].null_count() == frame.height and frame.select(no_basis.all()).item():
            return frame.with_columns(pl.col("price_per").fill_null(1))
        from_cost = pl.col("method").is_in(["markup_pct", "margin_pct"]) & pl.col("basis").is_null()
        basis = pl.when(from_cost).then(pl.lit(COST)).when(~no_basis).then(pl.col("basis"))
        of_basis = (basis != COST).fill_null(
            value=False
        )  # a blank price unit is then that of the basis (P14)
        price_per = pl.when(of_basis).then("price_per").otherwise(pl.col("price_per").fill_null(1))
        return frame.with_columns(basis.alias("basis"), price_per.alias("price_per"))
    renamed = {old: new for old, new in _RENAMED.items() if old in frame.columns}
    return frame.rename(renamed) if renamed else frame


@cache
def _empty(table: Table) -> pl.DataFrame:
    schema: dict[str, pl.DataType] = {ROW: pl.UInt32()}
    schema.update({column.out: out_type(column) for column in table.columns})
    frame = pl.DataFrame(schema=schema)
    if table.name in RATIOS:
        frame = with_ratios(frame, table.name)
    return _shaped(frame.select(ROW, *normal_columns(table)), table)


def _keep_newest_stock(state: Validation) -> None:
    frame = state.frames["stock"]
    newest = frame.sort("as_of_us", descending=True).unique(["sku", "branch"], keep="first")
    older = frame.join(newest, on=ROW, how="anti")[ROW]
    if len(older):
        state.repeated["stock"] += len(older)
        state.warn_rows(
            "stock", older, "rows are older than another row of their item and branch and don't count"
        )
        state.frames["stock"] = frame.filter(~pl.col(ROW).is_in(older.implode()))


def _one_layer(state: Validation) -> None:
    """Without layers all books are in one; it has the name that all of them give it, if they agree."""
    names = state.frames["price_books"]["layer"].unique()
    name = names[0] if len(names) == 1 else DEFAULT_LAYER
    layer = pl.DataFrame({"layer": [name], "rank": [0], "mode": ["first"], "ladder": ["owner"]})
    state.frames["layers"] = layer.insert_column(0, pl.Series(ROW, [0], pl.UInt32))
    state.frames["price_books"] = state.frames["price_books"].with_columns(layer=pl.lit(name))


def _everyone(books: pl.DataFrame) -> pl.DataFrame:
    """Without agreements every book applies to everyone."""
    return books.select(
        "book_id",
        customer_id=pl.lit(None, pl.String),
        price_class=pl.lit(None, pl.String),
        everyone=pl.lit(value=True),
        priority=pl.lit(None, pl.Int64),
        valid_from_us=pl.lit(ALWAYS_US, pl.Int64),
        valid_to_us=pl.lit(NEVER_US, pl.Int64),
        inherit=pl.lit(value=True),
    )
