"""What is in a file, a dataset or a store, as documents that `pricegrid inspect` prints."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from pricegrid.columnar.instants import instant_of_us, instant_us_text
from pricegrid.loaders.errors import DatasetError, LoadError, SnapshotVersionError
from pricegrid.loaders.read.dialect import NOTHING_STATED, Dialect, FoundDialect, read_dialects
from pricegrid.loaders.read.instants import time_zone
from pricegrid.loaders.read.tables import ENDINGS, Source, read_table, tables_in
from pricegrid.loaders.store.book_ages import book_ages
from pricegrid.loaders.store.kept import ENTRIES, stored_tables
from pricegrid.loaders.store.snapshot import (
    current_version,
    file_sizes,
    list_snapshots,
    open_snapshot,
    read_manifest,
    snapshot_folder,
)
from pricegrid.loaders.tables import DEFAULT_LAYER, RATE_DIGITS, TABLES
from pricegrid.loaders.validate.causes import RootCause
from pricegrid.loaders.validate.tables import Dataset, TableCounts, read_dataset, validate_alone
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US, PRIORITY_FIRST, PRIORITY_LAST

_EXAMPLES: Final = 3
_COUNTED_VALUES: Final = 6
"""A column of few different values is told by how often each occurs."""

ENTRIES_MAX: Final = 1_000_000
"""The columns of so many price entries are looked at; of more, only how many there are."""

BOOKS_NAMED: Final = 3
"""Of those that are unchanged for longest."""

_DAY: Final = timedelta(days=1)
_DIGITS: Final = {"_micros": 6, "_e12": RATE_DIGITS}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to inspect files with."""

    dialect: Dialect = NOTHING_STATED
    time_zone: str = "UTC"
    table: str | None = None
    """The table that a file holds, where its name doesn't say it."""


def is_store(path: Path) -> bool:
    """Whether a path is a snapshot store, not a dataset."""
    return (path / "snapshots").is_dir()


# -- files ------------------------------------------------------------------------------------------------------------


def inspect_file(path: Path, asked: Asked) -> Document:
    """The tables of one file, each by itself. Raises DatasetError."""
    if not path.name.endswith(ENDINGS):
        raise DatasetError(f"{path.name}: neither .csv, .csv.gz, .parquet nor .xlsx")
    warnings: list[str] = []
    sources = {asked.table: Source(path)} if asked.table else tables_in(path, warnings)
    dialects = read_dialects(path.parent, asked.dialect)
    tables: list[Document] = []
    causes: list[RootCause] = []
    for name in (name for name in TABLES if name in sources):
        dataset = validate_alone(read_table(sources[name], TABLES[name], dialects.of(name)), asked.time_zone)
        tables += _tables(dataset)
        causes += dataset.causes
        warnings += dataset.warnings
    return {"file": str(path), "tables": tables, "causes": _causes(causes), "warnings": warnings}


def inspect_dataset(path: Path, asked: Asked) -> Document:
    """The tables of a directory, checked against each other. Raises DatasetError."""
    dataset = read_dataset(path, asked.time_zone, asked.dialect)
    return {
        "dataset": str(path),
        "tables": _tables(dataset),
        "causes": _causes(dataset.causes),
        "warnings": dataset.warnings,
    }


def _causes(causes: list[RootCause]) -> list[Document]:
    return [{**asdict(cause), "text": cause.text} for cause in causes]


def _tables(dataset: Dataset) -> list[Document]:
    return [
        _table(name, dataset.frames[name], counts, dataset.dialects.get(name), dataset.time_zone)
        for name, counts in dataset.counts.items()
    ]


def _table(
    name: str, frame: pl.DataFrame, counts: TableCounts, dialect: FoundDialect | None, zone: str
) -> Document:
    return {
        "table": name,
        **asdict(counts),
        "dialect": None if dialect is None else dialect.as_json(),
        "columns": [_column(frame[column], zone) for column in frame.columns],
    }


# -- columns ----------------------------------------------------------------------------------------------------------


def _column(values: pl.Series, zone: str) -> Document:
    """How many cells are filled, how many values there are, and their range, counts or examples."""
    name = _written(values.name)
    if values.name.endswith("_us"):
        values = values.filter((values != ALWAYS_US) & (values != NEVER_US))
    values = values.drop_nulls()
    distinct = values.n_unique()
    answer: Document = {"column": name, "filled": len(values), "distinct": distinct}
    if not len(values):
        return answer
    if values.dtype in (pl.Int64, pl.Int128, pl.Date):
        answer |= {
            "lowest": shown(values.name, values.min(), zone),
            "highest": shown(values.name, values.max(), zone),
        }
    elif distinct <= _COUNTED_VALUES < len(values):
        counted = values.value_counts(sort=True)
        answer["values"] = {shown("", value, zone): count for value, count in counted.iter_rows()}
    else:
        answer["examples"] = [
            shown("", value, zone) for value in values.unique(maintain_order=True).head(_EXAMPLES)
        ]
    return answer


def _written(name: str) -> str:
    return name.removesuffix("_micros").removesuffix("_us").removesuffix("_e12")


def shown(name: str, value: Any, zone: str) -> str | None:
    """A value of a normalised column as a person reads it: decimals, and dates in the zone; None for a blank."""
    if value is None or (name.endswith("_us") and value in (ALWAYS_US, NEVER_US)):
        return None
    for suffix, digits in _DIGITS.items():
        if name.endswith(suffix):
            return _decimal(Decimal(value).scaleb(-digits))
    if name.endswith("_us"):
        local = instant_of_us(value).astimezone(time_zone(zone))
        if (local.hour, local.minute, local.second, local.microsecond) != (0, 0, 0, 0):
            return local.isoformat()
        return (local - _DAY if name == "valid_to_us" else local).date().isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# -- stores -----------------------------------------------------------------------------------------------------------


def inspect_store(store: Path, version: str | None, now_us: int) -> Document:
    """A snapshot of a store; None: the active one. Raises LoadError."""
    version = current_version(store) if version is None else version
    manifest = read_manifest(snapshot_folder(store, version), any_format=True)
    size, shared = file_sizes(store, version)
    zone = str(manifest["time_zone"])
    tables: list[Document] = []
    kept = stored_tables(store, version)
    rows: Mapping[str, int] = manifest.get("counts", {}) if kept is None else kept.rows
    for name in (name for name in TABLES if name in rows):
        frame = None if kept is None else kept.table(name)
        if name == ENTRIES and rows[name] <= ENTRIES_MAX:
            frame = _all_entries(store, version)
        columns = [] if frame is None else [_column(frame[column], zone) for column in frame.columns]
        tables.append({"table": name, "rows": rows[name], "columns": columns})
    return {
        "store": str(store),
        "snapshot": version,
        "created_at": manifest["created_at"],
        "format_version": manifest["format_version"],
        "time_zone": zone,
        "size_bytes": size,
        "shared_bytes": shared,
        "snapshots": len(list_snapshots(store)),
        "books": _book_ages(store, version, now_us),
        "tables": tables,
    }


def _book_ages(store: Path, version: str, now_us: int) -> Document | None:
    """How long the books in force are unchanged; None: of a format that this release doesn't read."""
    try:
        ages = book_ages(store, version)
    except SnapshotVersionError:
        return None
    span = ages.span(now_us)
    longest = islice(ages.oldest(now_us), BOOKS_NAMED)
    return {
        "unchanged": ages.counts(now_us),
        "last_changed": None if span is None else instant_us_text(span[1], "seconds"),
        "longest": [
            {"book_id": book_id, "unchanged_since": instant_us_text(since_us, "seconds")}
            for book_id, since_us in longest
        ],
    }


def _all_entries(store: Path, version: str) -> pl.DataFrame | None:
    """Every price entry; None: of a format that this release doesn't read."""
    from pricegrid.loaders.compile.decode import decode_entries

    try:
        return decode_entries(open_snapshot(store, version, verify=False).arrays)
    except SnapshotVersionError:
        return None


def books_of(store: Path, customer_id: str, as_of_us: int) -> Document:
    """The price books that apply to a customer, in the order in which they are searched. Raises LoadError."""
    version = current_version(store)
    zone = str(read_manifest(snapshot_folder(store, version))["time_zone"])
    kept = stored_tables(store, version)
    tables = {
        name: None if kept is None else kept.table(name)
        for name in ("customers", "customer_classes", "agreements", "price_books", "layers")
    }
    customers, books = tables["customers"], tables["price_books"]
    path = [] if customers is None else _path_up(customers, customer_id)
    if customers is None or not path:
        raise LoadError(f'there is no customer "{customer_id}" in snapshot {version}')
    own = customers.row(by_predicate=pl.col("customer_id") == customer_id, named=True)
    ranks = _ranks(tables["layers"], books)
    classes = _ranked_classes(customers, tables["customer_classes"], path)
    agreements = _agreements(tables["agreements"], path, classes)
    found = []
    for book in () if books is None else books.iter_rows(named=True):
        way = _way(agreements, book["book_id"], path, classes)
        if way is not None:
            agreement, through, distance = way
            starts = max(book["valid_from_us"], agreement["valid_from_us"])
            ends = min(book["valid_to_us"], agreement["valid_to_us"])
            order = (
                ranks.get(book["layer"], 0),
                distance,
                PRIORITY_LAST if agreement["priority"] is None else agreement["priority"],
            )
            described = {
                "book_id": book["book_id"],
                "name": book["name"],
                "layer": book["layer"],
                "layer_rank": order[0],
                "currency": book["currency"],
                "through": through,
                "priority": agreement["priority"],
                "valid_from": shown("valid_from_us", starts, zone),
                "valid_to": shown("valid_to_us", ends, zone),
                "in_force": starts <= as_of_us < ends,
            }
            found.append((order, book["book_id"], described))
    return {
        "snapshot": version,
        "customer": {
            name: own[name] for name in ("customer_id", "name", "currency", "price_class", "branch")
        },
        "price_classes": list(classes),
        "groups": path[1:],
        "books": [described for *_, described in sorted(found, key=lambda each: each[:2])],
    }


def _path_up(customers: pl.DataFrame, customer_id: str) -> list[str]:
    """The customer and the groups above, from the nearest up; empty: there is no such customer."""
    path: list[str] = []
    name: str | None = customer_id
    while name is not None and name not in path:
        rows = customers.filter(pl.col("customer_id") == name)
        if rows.is_empty():
            break
        path.append(name)
        name = rows["parent_id"][0]
    return path


def _ranked_classes(
    customers: pl.DataFrame, listed: pl.DataFrame | None, path: list[str]
) -> Mapping[str, int]:
    """The price classes of a customer, or of the nearest group above that has any, in order, with their ranks (P18)."""
    for name in path:
        priorities = {}
        rows = listed.filter(pl.col("customer_id") == name) if listed is not None else customers.clear()
        for row in rows.iter_rows(named=True):
            priorities[row["price_class"]] = PRIORITY_LAST if row["priority"] is None else row["priority"]
        own = customers.row(by_predicate=pl.col("customer_id") == name, named=True)["price_class"]
        if own is not None:
            priorities.setdefault(own, PRIORITY_FIRST)
        if priorities:
            ranks = sorted(set(priorities.values()))
            ordered = sorted(priorities, key=lambda each: (priorities[each], each))
            return {each: ranks.index(priorities[each]) for each in ordered}
    return {}


def _ranks(layers: pl.DataFrame | None, books: pl.DataFrame | None) -> Mapping[str, int]:
    if layers is None:
        names = [] if books is None else books["layer"].unique().to_list()
        return dict.fromkeys([DEFAULT_LAYER, *names], 0)
    return dict(layers.select("layer", "rank").iter_rows())


def _agreements(
    table: pl.DataFrame | None, path: list[str], classes: Mapping[str, int]
) -> Mapping[str, list[Document]] | None:
    """The agreements that a customer may have to do with, by book; None: there is no such table."""
    if table is None:
        return None
    concerns = pl.col("customer_id").is_in(path) | pl.col("everyone")
    if classes:
        concerns |= pl.col("price_class").is_in(list(classes))
    found: dict[str, list[Document]] = {}
    for row in table.filter(concerns).iter_rows(named=True):
        found.setdefault(row["book_id"], []).append(row)
    return found


def _way(
    agreements: Mapping[str, list[Document]] | None, book_id: str, path: list[str], classes: Mapping[str, int]
) -> tuple[Document, str, int] | None:
    """The nearest agreement by which a book applies to a customer, in words, and how far up it stands; None: none."""
    if agreements is None:
        open_end = {"valid_from_us": ALWAYS_US, "valid_to_us": NEVER_US, "priority": None}
        return open_end, "everyone (there is no table agreements)", len(path) + 1
    ways: list[tuple[int, int, Document, str]] = []
    for row in agreements.get(book_id, ()):
        priority = PRIORITY_LAST if row["priority"] is None else row["priority"]
        if row["everyone"]:
            ways.append((len(path) + 1 + max(classes.values(), default=0), priority, row, "everyone"))
        elif row["price_class"] is not None:
            if row["price_class"] in classes:
                distance = len(path) + classes[row["price_class"]]
                ways.append((distance, priority, row, f"price class {row['price_class']}"))
        elif row["customer_id"] == path[0]:
            ways.append((0, priority, row, "the customer"))
        elif row["customer_id"] in path and row["inherit"]:
            distance = path.index(row["customer_id"])
            ways.append((distance, priority, row, f"group {row['customer_id']}"))
    if not ways:
        return None
    distance, _, row, through = min(ways, key=lambda way: way[:2])
    return row, through, distance


def entries_of(store: Path, book_id: str, page: int, limit: int) -> Document:
    """A page of the entries of a book, ordered by item, group, class, unit, break and validity. Raises LoadError."""
    from pricegrid.loaders.compile.decode import decode_book
    from pricegrid.loaders.compile.ordinals import SnapshotOrdinals

    snapshot = open_snapshot(store, verify=False)
    book = int(SnapshotOrdinals(snapshot.arrays).find("book", pl.Series([book_id]))[0])
    if book < 0:
        raise LoadError(f'there is no price book "{book_id}" in snapshot {snapshot.version}')
    kept = stored_tables(store, snapshot.version)
    books = None if kept is None else kept.table("price_books")
    zone = str(snapshot.manifest["time_zone"])
    described = (
        {"book_id": book_id}
        if books is None
        else _readable(books.row(by_predicate=pl.col("book_id") == book_id, named=True), zone)
    )
    since_us = book_ages(store, snapshot.version).since(book_id)
    if since_us is not None:
        described["unchanged_since"] = instant_us_text(since_us, "seconds")
    order = [
        *(
            "sku",
            "product_group",
            "price_class",
            "branch",
            "uom",
            "min_quantity_micros",
            "valid_from_us",
            "valid_to_us",
        ),
    ]
    entries = decode_book(snapshot.arrays, book).sort(order, nulls_last=True)
    is_one = (pl.col("method") == "net") & (pl.col("price_per") == 1)
    entries = entries.with_columns(pl.when(~is_one).then("price_per"))
    rows = entries.slice((page - 1) * limit, limit).drop("book_id").iter_rows(named=True)
    return {
        "snapshot": snapshot.version,
        "book": described,
        "entries_total": entries.height,
        "page": page,
        "pages": max(1, -(-entries.height // limit)),
        "entries": [_readable(row, zone) for row in rows],
    }


def _readable(row: Mapping[str, Any], zone: str) -> Document:
    """The cells of a row that are not blank."""
    texts = {_written(name): shown(name, value, zone) for name, value in row.items()}
    return {name: text for name, text in texts.items() if text is not None}
