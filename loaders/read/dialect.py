"""How a file is written: what the operator states, and what was found in the file.

A dialect is stated by options of `pricegrid load`, or by `dataset.toml` beside the files:

    [files]                  # every file
    separator = "semicolon"  # comma, semicolon, tab, pipe
    encoding = "windows-1252"
    decimal = "comma"        # point, comma
    dates = "day-first"      # day-first, month-first: of dates like 01/02/2026

    [tables.price_entries]   # this table instead
    separator = "tab"

Options win over the file, and in the file the table wins over all files. What nobody states is detected.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.tables import TABLES

DATASET_TOML: Final = "dataset.toml"

SEPARATORS: Final[Mapping[str, str]] = MappingProxyType(
    {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
)
DECIMALS: Final = ("point", "comma")
DATE_ORDERS: Final = ("day-first", "month-first")
ENCODINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "utf-8": "utf-8",
        "utf-16": "utf-16",
        "utf-16-le": "utf-16-le",
        "utf-16-be": "utf-16-be",
        "windows-1250": "cp1250",
        "windows-1251": "cp1251",
        "windows-1252": "cp1252",
        "windows-1253": "cp1253",
        "windows-1254": "cp1254",
        "windows-1257": "cp1257",
        "iso-8859-1": "iso8859-1",
        "iso-8859-2": "iso8859-2",
        "iso-8859-15": "iso8859-15",
        "cp437": "cp437",
        "cp850": "cp850",
        "mac-roman": "mac-roman",
    }
)
"""The encodings that can be stated, and what Python calls them."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is stated of a file; None: to be detected."""

    separator: str | None = None
    """One of SEPARATORS."""
    encoding: str | None = None
    """One of ENCODINGS."""
    decimal: str | None = None
    """One of DECIMALS."""
    dates: str | None = None
    """One of DATE_ORDERS."""

    def over(self, other: "Dialect") -> "Dialect":
        """This one, and `other` where this one states nothing."""
        return replace(
            other, **{f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}
        )


_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "separator": tuple(SEPARATORS),
        "encoding": tuple(ENCODINGS),
        "decimal": DECIMALS,
        "dates": DATE_ORDERS,
    }
)

NOTHING_STATED: Final = Dialect()

CANONICAL: Final = Dialect("comma", "utf-8", "point")
"""How this product itself writes tables."""
CANONICAL_TOML: Final = "".join(
    ["[files]\n", *(f'{key} = "{value}"\n' for key, value in asdict(CANONICAL).items() if value)]
)
"""The same as a `dataset.toml`."""


@dataclass(frozen=True, slots=True)
class DatasetDialects:
    """What is stated of the files of a dataset."""

    files: Dialect = NOTHING_STATED
    tables: Mapping[str, Dialect] = field(default_factory=dict)

    def of(self, table: str) -> Dialect:
        """What is stated of the file of a table."""
        return self.tables.get(table, NOTHING_STATED).over(self.files)


def read_dialects(directory: Path, stated: Dialect = NOTHING_STATED) -> DatasetDialects:
    """What `stated` and the `dataset.toml` of the directory say. Raises DatasetError naming the key."""
    path = directory / DATASET_TOML
    if not path.is_file():
        return DatasetDialects(stated)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DatasetError(f"{DATASET_TOML}: can't be read: {error}") from error
    _require_known(document, ("files", "tables"), "")
    of_tables = _section(document, "tables", "")
    _require_known(of_tables, tuple(TABLES), "tables.")
    return DatasetDialects(
        stated.over(_dialect(_section(document, "files", ""), "files.")),
        {
            name: stated.over(_dialect(_section(of_tables, name, "tables."), f"tables.{name}."))
            for name in of_tables
        },
    )


def _section(document: Mapping[str, Any], name: str, above: str) -> Mapping[str, Any]:
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise DatasetError(f"{DATASET_TOML}: {above}{name} is no section")
    return section


def _require_known(section: Mapping[str, Any], known: tuple[str, ...], above: str) -> None:
    for key in section:
        if key not in known:
            raise DatasetError(f"{DATASET_TOML}: unknown key {above}{key}; known are {', '.join(known)}")


def _dialect(section: Mapping[str, Any], above: str) -> Dialect:
    _require_known(section, tuple(_ALLOWED), above)
    for key, value in section.items():
        if value not in _ALLOWED[key]:
            raise DatasetError(
                f"{DATASET_TOML}: {above}{key} is {value!r}; it is one of {', '.join(_ALLOWED[key])}"
            )
    return Dialect(**section)


@dataclass(frozen=True, slots=True)
class FoundDialect:
    """How a file was read, for the report."""

    file: str
    form: str
    """`csv`, `csv.gz`, `parquet` or `xlsx`."""
    separator: str | None = None
    encoding: str | None = None
    line_ends: str | None = None
    """`LF`, `CRLF` or `CR`."""
    decimal: str | None = None
    """None: no number of the file has a sign that could be the decimal sign."""
    dates: Mapping[str, str] = field(default_factory=dict)
    """The form of the dates of each column that has another than ISO 8601."""
    evidence: tuple[str, ...] = ()
    """By what it was told, where it was not stated."""

    @property
    def text(self) -> str:
        """One line for people; blank for comma-separated UTF-8 with decimal points and ISO dates, and for Parquet."""
        parts: list[str] = []
        if self.separator not in (None, "comma"):
            parts.append(f"separated by {self.separator}")
        if self.encoding not in (None, "utf-8"):
            parts.append(str(self.encoding))
        if self.line_ends == "CR":
            parts.append("lines end with CR")
        if self.decimal == "comma":
            parts.append("decimal comma")
        parts.extend(f"{column} is {form}" for column, form in self.dates.items())
        if not parts and not self.evidence:
            return ""
        because = "; ".join(self.evidence)
        if not parts:
            return f"{self.file}: {because}"
        return f"{self.file}: {', '.join(parts)}{f' ({because})' if because else ''}"

    def as_json(self) -> dict[str, object]:
        """JSON-able."""
        answer = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**answer, "dates": dict(self.dates), "evidence": list(self.evidence)}
