"""The tables of a dataset, declared: columns, kinds, defaults, limits and keys (docs/dataset.md).

A column's kind says how its text is read and how it is called once read:

| kind | text | becomes |
|---|---|---|
| NAME, TEXT, ZONE | any; a NAME of at most 128 bytes, of a unit 32 | the text, without outer blanks; blank is null |
| WORD | one of `words` | the text |
| CURRENCY | three upper-case letters | the text |
| DECIMAL | `-12.5`, at most 6 decimal places | `NAME_micros`, int64 |
| RATE | `0.45359237`, at most 12 decimal places | `NAME_e12`, Int128 in 10^-12 |
| INTEGER | `-3` | int64 |
| BOOLEAN | true/false, yes/no, 1/0 | bool |
| VALID_FROM, VALID_TO | a date or an RFC 3339 instant | `NAME_us`, int64 (never null: ALWAYS_US, NEVER_US) |
| INSTANT | an RFC 3339 instant, or a date: its first instant | `NAME_us`, int64 |
| DATE | `2026-03-29` | Polars Date |
| WEEKDAY | monday..sunday, mon..sun, 1 (Monday) to 7 | int64, 1 to 7 |
| CLOCK | `14:30` or `14:30:00` | `NAME_s`, int64 seconds after midnight |
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from pricegrid.pricing_engine.model import (
    CUSTOMER_DEPTH_MAX,
    GROUP_DEPTH_MAX,
    MICROS,
    PRICE_PER_MAX,
    PRIORITY_FIRST,
    PRIORITY_LAST,
    Method,
)
from pricegrid.pricing_engine.rules.part_numbers import SCHEMES

CUSTOMER_LEVELS_MAX: Final = CUSTOMER_DEPTH_MAX + 1
"""Customers on the path from a customer up to its root, both included."""

GROUP_LEVELS_MAX: Final = GROUP_DEPTH_MAX
"""Product groups on the path from a group up to its root, both included."""

DEFAULT_LAYER: Final = "default"
STALE_AFTER_MIN: Final = 1440
RATE_DIGITS: Final = 12
"""Decimal places of an exchange rate or a unit's factor."""


NAME_BYTES_MAX: Final = 128
"""UTF-8 bytes of a name: no request of the service may ask for a longer one (`service.limits`)."""

UOM_BYTES_MAX: Final = 32
"""UTF-8 bytes of the name of a unit of measure."""


class Kind(Enum):
    """How the text of a column is read."""

    NAME = auto()
    TEXT = auto()
    ZONE = auto()
    WORD = auto()
    CURRENCY = auto()
    DECIMAL = auto()
    RATE = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    VALID_FROM = auto()
    VALID_TO = auto()
    INSTANT = auto()
    DATE = auto()
    WEEKDAY = auto()
    CLOCK = auto()


_SUFFIXES = {
    Kind.DECIMAL: "_micros",
    Kind.RATE: "_e12",
    Kind.VALID_FROM: "_us",
    Kind.VALID_TO: "_us",
    Kind.INSTANT: "_us",
    Kind.CLOCK: "_s",
}

Default = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `default`, `low` and `high` are in the unit of the value once read (micros for DECIMAL)."""

    name: str
    kind: Kind = Kind.NAME
    required: bool = False
    default: Default = None
    low: int | None = None
    """Smallest allowed value, inclusive."""
    high: int | None = None
    """Largest allowed value, inclusive."""
    words: tuple[str, ...] = ()
    bytes_max: int | None = None
    """Most UTF-8 bytes of a text."""

    @property
    def out(self) -> str:
        """The name of the column once read."""
        return self.name + _SUFFIXES.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class Table:
    """One table; rows with equal `key` must agree in everything but `free`. An empty key: the whole row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """Names of columns once read."""
    free: tuple[str, ...] = ()
    """Columns that may differ between repetitions of a row; the lowest one is kept."""

    def column(self, name: str) -> Column:
        """The column as it is called in the files; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def _name(name: str, *, required: bool = False) -> Column:
    bytes_max = UOM_BYTES_MAX if name in {"uom", "base_uom"} else NAME_BYTES_MAX
    return Column(name, Kind.NAME, required, bytes_max=bytes_max)


def _word(name: str, words: str, *, required: bool = False, default: Default = None) -> Column:
    return Column(name, Kind.WORD, required, default, words=tuple(words.split()))


def _decimal(name: str, *, required: bool = False, default: Default = None, low: int | None = 0) -> Column:
    return Column(name, Kind.DECIMAL, required, default, low)


def _days(name: str) -> Column:
    return Column(name, Kind.INTEGER, default=0, low=0, high=3660)


_VALID = (Column("valid_from", Kind.VALID_FROM), Column("valid_to", Kind.VALID_TO))
_CURRENCY = Column("currency", Kind.CURRENCY, required=True)
_AS_OF = Column("as_of", Kind.INSTANT, required=True)
_SKU = _name("sku", required=True)
_BRANCH = _name("branch", required=True)

METHODS: Final = " ".join(method.name.lower() for method in Method)
_PRICE_TABLES = (
    Table(
        "product_groups",
        (_name("product_group", required=True), _name("parent"), _name("break_group")),
        ("product_group",),
    ),
    Table(
        "items",
        (
            _SKU,
            _name("base_uom", required=True),
            Column("description", Kind.TEXT),
            _name("product_group"),
            _decimal("order_multiple", low=1),
            _word("price_source", "matrix erp", default="matrix"),
            _name("superseded_by"),
            _name("break_group"),
        ),
        ("sku",),
    ),
    Table(
        "uoms",
        (
            _SKU,
            _name("uom", required=True),
            Column("numerator", Kind.RATE, required=True, low=1),
            Column("denominator", Kind.RATE, default=10**RATE_DIGITS, low=1),
        ),
        ("sku", "uom"),
    ),
    Table(
        "customers",
        (
            _name("customer_id", required=True),
            _CURRENCY,
            _name("parent_id"),
            _name("price_class"),
            _name("branch"),
            Column("name", Kind.TEXT),
        ),
        ("customer_id",),
    ),
    Table(
        "customer_classes",
        (
            _name("customer_id", required=True),
            _name("price_class", required=True),
            Column("priority", Kind.INTEGER, low=PRIORITY_FIRST + 1, high=PRIORITY_LAST - 1),
        ),
        ("customer_id", "price_class"),
    ),
    Table(
        "layers",
        (
            _name("layer", required=True),
            Column("rank", Kind.INTEGER, required=True),
            _word("mode", "first lowest highest newest add", default="first"),
            _word("ladder", "owner merge", default="owner"),
        ),
        ("layer",),
    ),
    Table(
        "price_books",
        (
            _name("book_id", required=True),
            _name("layer", required=True),
            _CURRENCY,
            *_VALID,
            _word("below_minimum", "fall_through no_price first_break", default="fall_through"),
            _decimal("rounding_increment", default=1, low=1),
            _word("rounding_mode", "half_up half_even half_down up down", default="half_up"),
            Column("floor_margin_pct", Kind.DECIMAL, low=0, high=100 * MICROS - 1),
            _word("windows", "each_break replace", default="each_break"),
            _decimal("price_ending"),
            _word("break_mode", "volume graduated", default="volume"),
            _word("break_on", "quantity amount", default="quantity"),
            _name("break_group"),
            Column("name", Kind.TEXT),
        ),
        ("book_id",),
    ),
    Table(
        "agreements",
        (
            _name("book_id", required=True),
            _name("customer_id"),
            _name("price_class"),
            Column("everyone", Kind.BOOLEAN, default=False),
            Column("priority", Kind.INTEGER, high=PRIORITY_LAST - 1),
            *_VALID,
            Column("inherit", Kind.BOOLEAN, default=True),
        ),
        ("book_id", "customer_id", "price_class", "everyone", "valid_from_us", "valid_to_us"),
    ),
    Table(
        "price_entries",
        (
            _name("book_id", required=True),
            _name("sku"),
            _name("product_group"),
            _name("price_class"),
            _name("branch"),
            _name("uom"),
            _decimal("min_quantity", default=0),
            _word("method", METHODS, required=True),
            _decimal("value", required=True, low=None),
            Column("price_per", Kind.INTEGER, low=1, high=PRICE_PER_MAX),
            _name("basis"),
            *_VALID,
            Column("explicit_zero", Kind.BOOLEAN, default=False),
            _name("entry_id"),
        ),
        (
            "book_id",
            "sku",
            "product_group",
            "price_class",
            "branch",
            "uom",
            "min_quantity_micros",
            "valid_from_us",
            "valid_to_us",
        ),
        ("entry_id",),
    ),
    Table(
        "costs",
        (
            _SKU,
            _decimal("cost", required=True),
            _CURRENCY,
            _name("branch"),
            Column("valid_from", Kind.VALID_FROM),
        ),
        ("sku", "branch", "valid_from_us"),
    ),
    Table(
        "exchange_rates",
        (
            Column("from_currency", Kind.CURRENCY, required=True),
            Column("to_currency", Kind.CURRENCY, required=True),
            Column("rate", Kind.RATE, required=True, low=1),
            Column("valid_from", Kind.VALID_FROM, required=True),
        ),
        ("from_currency", "to_currency", "valid_from_us"),
    ),
    Table(
        "entitlements",
        (
            _name("customer_id"),
            _name("price_class"),
            _name("sku"),
            _name("product_group"),
            Column("allowed", Kind.BOOLEAN, required=True),
        ),
        ("customer_id", "price_class", "sku", "product_group"),
    ),
)

_SUPPLY_TABLES = (
    Table(
        "branches",
        (
            _BRANCH,
            Column("time_zone", Kind.ZONE),
            Column("cutoff", Kind.CLOCK),
            _days("inbound_handling_days"),
            _days("outbound_handling_days"),
            _name("calendar"),
        ),
        ("branch",),
    ),
    Table(
        "lanes",
        (
            _name("from_branch", required=True),
            _name("to_branch"),
            _name("ship_zone"),
            Column("transit_days", Kind.INTEGER, required=True, low=0, high=3660),
            Column("rank", Kind.INTEGER),
        ),
        ("from_branch", "to_branch", "ship_zone"),
    ),
    Table(
        "stock",
        (
            _SKU,
            _BRANCH,
            _decimal("on_hand", required=True, low=None),
            _AS_OF,
            _decimal("unavailable", default=0),
        ),
        ("sku", "branch", "as_of_us"),
    ),
    Table(
        "allocations",
        (
            _SKU,
            _BRANCH,
            _decimal("allocated", required=True),
            _AS_OF,
            _name("order_ref"),
            _name("order_line"),
            _decimal("shipped", default=0),
        ),
    ),
    Table(
        "receipts",
        (
            _SKU,
            _BRANCH,
            _decimal("quantity", required=True),
            Column("expected_at", Kind.INSTANT, required=True),
            _word("kind", "purchase transfer asn", default="purchase"),
            Column("confidence", Kind.DECIMAL, default=MICROS, low=0, high=MICROS),
            _name("reference"),
            _name("line"),
            _name("supersedes"),
        ),
    ),
    Table(
        "demands",
        (
            _SKU,
            _BRANCH,
            _decimal("quantity", required=True),
            Column("due_at", Kind.INSTANT, required=True),
            _name("order_ref"),
            _name("order_line"),
        ),
    ),
    Table("safety_stock", (_SKU, _BRANCH, _decimal("quantity", required=True)), ("sku", "branch")),
    Table(
        "calendars",
        (
            _name("calendar", required=True),
            Column("date", Kind.DATE),
            Column("weekday", Kind.WEEKDAY),
            Column("working", Kind.BOOLEAN, required=True),
        ),
        ("calendar", "date", "weekday"),
    ),
    Table(
        "feeds",
        (
            _BRANCH,
            _word("source", "erp wms transit", required=True),
            _word("measure", "on_hand unavailable allocated receipt demand"),
            _AS_OF,
            Column("complete", Kind.BOOLEAN, default=False),
            Column("stale_after_min", Kind.INTEGER, default=STALE_AFTER_MIN, low=1),
            _word("decrease_means", "shipped cancelled", default="cancelled"),
        ),
        ("branch", "source", "measure"),
    ),
    Table(
        "kits",
        (
            _name("kit_sku", required=True),
            _name("component_sku", required=True),
            _decimal("quantity", required=True, low=1),
        ),
        ("kit_sku", "component_sku"),
    ),
)

_OTHER_NAMES_TABLES = (
    Table(
        "part_numbers",
        (
            _word("scheme", " ".join(SCHEMES), required=True),
            _name("code", required=True),
            _SKU,
            _name("uom"),
            _name("customer_id"),
            _name("price_class"),
            _name("maker"),
            *_VALID,
            Column("any_case", Kind.BOOLEAN, default=False),
        ),
    ),
    Table(
        "unit_codes",
        (
            _name("system", required=True),
            _name("code", required=True),
            _name("uom", required=True),
            _name("sku"),
        ),
        ("system", "code", "sku"),
    ),
    Table(
        "ship_tos",
        (
            _name("customer_id", required=True),
            _name("ship_to", required=True),
            _name("zone"),
            _name("branch"),
            Column("name", Kind.TEXT),
        ),
        ("customer_id", "ship_to"),
    ),
    Table(
        "party_codes",
        (
            _name("scheme", required=True),
            _name("code", required=True),
            _name("customer_id"),
            _name("ship_to"),
            _name("branch"),
        ),
        ("scheme", "code"),
    ),
)

TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {table.name: table for table in (*_PRICE_TABLES, *_SUPPLY_TABLES, *_OTHER_NAMES_TABLES)}
)
"""Every table by name, in an order in which a table's references come before it."""


def _delta_entries() -> Table:
    """`price_entries` with `deleted`; a deletion needs only the key of the entry it ends."""
    entries = TABLES["price_entries"]
    optional = {"method", "value"}
    columns = tuple(replace(c, required=c.required and c.name not in optional) for c in entries.columns)
    deleted = Column("deleted", Kind.BOOLEAN, default=False)
    return Table("price_entries", (*columns, deleted), entries.key, entries.free)


DELTA_ENTRIES: Final = _delta_entries()
"""The only table of a delta dataset."""
