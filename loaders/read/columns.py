"""Reads the text of a table's columns, all rows at once, exactly (docs/pricing.md, "Numbers and time").

Each kind of column has an expression that reads it (null where it can't) and one that says what is wrong; the
second one only ever sees the rows that failed. No value passes through binary float.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from zoneinfo import available_timezones

import polars as pl

from pricegrid.loaders.read.instants import ZONE_MARK, InstantReader
from pricegrid.loaders.tables import RATE_DIGITS, Column, Kind, Table
from pricegrid.pricing_engine.model import ALWAYS_US, INT64_MAX, MICROS, NEVER_US

_DATED: Final = frozenset({Kind.VALID_FROM, Kind.VALID_TO, Kind.INSTANT})
_NAMED: Final = frozenset({Kind.NAME, Kind.TEXT, Kind.ZONE, Kind.CURRENCY, Kind.WORD})
_DIGITS: Final = {Kind.DECIMAL: 6, Kind.RATE: RATE_DIGITS}
"""Decimal places that are kept."""
_BITS: Final = {Kind.DECIMAL: 64, Kind.RATE: 126}

_PLAIN_DECIMAL: Final = {
    digits: rf"^[+-]?([0-9]+(\.[0-9]{{0,{digits}}}0*)?|\.[0-9]{{1,{digits}}}0*)$"
    for digits in _DIGITS.values()
}
_ANY_DECIMAL: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$"
_GROUPED_DECIMAL: Final = r"^[+-]?[0-9]{1,3}([,.'  ][0-9]{3})*[,.][0-9]*$|^[+-]?[0-9]{1,3}([,.'  ][0-9]{3})+$"
_TWO_READINGS: Final = r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$"
_EITHER_ORDER: Final = r"^(0?[1-9]|1[0-2])[/-](0?[1-9]|1[0-2])[/-]([0-9]{4})$"
_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}"
_LOCAL_TIME: Final = rf"^({_DAY})[Tt ]+[0-9]{{1,2}}:[0-9]{{2}}(:[0-9.]+)?$"
_SHORT_YEAR: Final = r"^[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2}$"
_SERIAL_DAY: Final = r"^[0-9]{5}(\.[0-9]+)?$"
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_BLANKS: Final = " \t"
_LOOK_ROWS: Final = 1 << 16

ROW: Final = "_row"
"""Row index in the raw table, carried until the end of validation."""

TEXT: Final = "~"
"""Prefix of a column's text beside its value."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row for which `broken` is true is rejected, for `column`, with `reason` (an expression that gives text)."""

    column: str
    broken: pl.Expr
    reason: pl.Expr


def quoted(name: str, words: str) -> pl.Expr:
    """`"VALUE" words`, the usual form of a reason."""
    return pl.format('"{}" ' + words.replace("{", "{{").replace("}", "}}"), pl.col(name).cast(pl.String))


def decimal_text(value: pl.Expr, digits: int) -> pl.Expr:
    """An integer in 10^-digits as a decimal without trailing zeros."""
    whole = value.cast(pl.Int128)
    size = whole.abs()
    step = pl.lit(10**digits, pl.Int128)
    fraction = (size % step).cast(pl.String).str.zfill(digits).str.strip_chars_end("0")
    sign = pl.when(whole < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    point = pl.when(fraction == "").then(pl.lit("")).otherwise(pl.lit("."))
    return pl.concat_str(sign, (size // step).cast(pl.String), point, fraction)


def said(words: str) -> pl.Expr:
    """A reason without a value."""
    return pl.lit(words, pl.String)


def padded(raw: pl.DataFrame, columns: Sequence[Column]) -> frozenset[str]:
    """The columns in which a text may begin or end with a blank. Looking costs less than stripping, so it pays on
    large frames, where hardly any column has one; on small frames every column counts."""
    if raw.height < _LOOK_ROWS:
        return frozenset(column.name for column in columns)
    blanks = raw.select(
        pl.any_horizontal(
            test.any()
            for blank in _BLANKS
            for test in (text.str.starts_with(blank), text.str.ends_with(blank))
        ).alias(name)
        for name, text in ((c.name, pl.col(c.name)) for c in columns)
        if raw.schema[name] == pl.String
    )
    if not blanks.width:
        return frozenset()
    return frozenset(name for name, found in blanks.row(0, named=True).items() if found)


def clean(column: Column, dtype: pl.DataType, *, strip: bool) -> pl.Expr:
    """The column as text without outer blanks (blank is null), or as its native type where that is read directly;
    named with the prefix TEXT."""
    value = pl.col(column.name)
    native_number = dtype.is_integer() or dtype.is_decimal()
    native_instant = isinstance(dtype, pl.Date | pl.Datetime)
    if column.kind in (Kind.DECIMAL, Kind.RATE, Kind.INTEGER) and native_number:
        return value.alias(TEXT + column.name)
    if column.kind in _DATED and native_instant:
        if isinstance(dtype, pl.Datetime):
            value = value.cast(pl.Datetime("us", dtype.time_zone))
        return value.alias(TEXT + column.name)
    text = value if dtype == pl.String else value.cast(pl.String, strict=False)
    text = text.str.strip_chars(_BLANKS) if strip else text
    return pl.when(text != "").then(text).alias(TEXT + column.name)


@cache
def _zone_names() -> list[str]:
    return sorted(available_timezones())


def parsed(column: Column, dtype: pl.DataType) -> pl.Expr:
    """Reads the cleaned column of type `dtype`; null where it is null or can't be read. Dates are read by `dated`."""
    text = pl.col(TEXT + column.name)
    match column.kind:
        case Kind.NAME | Kind.TEXT:
            value = text
        case Kind.ZONE:
            value = pl.when(text.is_in(_zone_names())).then(text)
        case Kind.CURRENCY:
            value = pl.when(text.str.contains(r"^[A-Z]{3}$")).then(text)
        case Kind.WORD:
            value = text.cast(pl.Enum(column.words), strict=False).cast(pl.String)
        case Kind.BOOLEAN:
            value = text.str.to_lowercase().replace_strict(_BOOLEANS, default=None, return_dtype=pl.Boolean)
        case Kind.DECIMAL | Kind.RATE:
            value = _scaled(text, dtype, _DIGITS[column.kind], out_type(column))
        case Kind.INTEGER:
            value = _integer(text, dtype)
        case Kind.DATE:
            value = pl.when(text.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")).then(
                text.str.to_date("%Y-%m-%d", strict=False)
            )
        case Kind.WEEKDAY:
            value = _weekday(text)
        case Kind.CLOCK:
            value = _clock(text)
        case _:
            raise AssertionError(f"{column.kind} is read by `dated`")
    return value


def _scaled(text: pl.Expr, dtype: pl.DataType, digits: int, out: pl.DataType) -> pl.Expr:
    """Decimal text, integers or decimals times 10^digits as the type `out`; null when finer than that or beyond it."""
    if dtype == pl.String:
        exact = text.cast(pl.Decimal(38, digits), strict=False).to_physical().cast(out, strict=False)
        return pl.when(text.str.contains(_PLAIN_DECIMAL[digits])).then(exact)
    if isinstance(dtype, pl.Decimal):
        physical = text.to_physical().cast(pl.Int128)
        if dtype.scale > digits:
            step = pl.lit(10 ** (dtype.scale - digits), pl.Int128)
            return pl.when(physical % step == 0).then((physical // step).cast(out, strict=False))
        small = pl.when(physical.abs() <= INT64_MAX).then(physical)
        return (small * pl.lit(10 ** (digits - dtype.scale), pl.Int128)).cast(out, strict=False)
    return (text.cast(pl.Int128) * pl.lit(10**digits, pl.Int128)).cast(out, strict=False)


def _integer(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return pl.when(text.str.contains(r"^[+-]?[0-9]+$")).then(text.cast(pl.Int64, strict=False))
    if isinstance(dtype, pl.Decimal):
        micros = _scaled(text, dtype, 6, pl.Int64())
        return pl.when(micros % MICROS == 0).then(micros // MICROS)
    return text.cast(pl.Int64, strict=False)


def _weekday(text: pl.Expr) -> pl.Expr:
    days: dict[str, int] = {}
    for number, name in enumerate(_WEEKDAYS, start=1):
        days |= {name: number, name[:3]: number, str(number): number}
    return text.str.to_lowercase().replace_strict(days, default=None, return_dtype=pl.Int64)


def _clock(text: pl.Expr) -> pl.Expr:
    form = r"^([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?$"
    hours, minutes, seconds = (text.str.extract(form, group).cast(pl.Int64) for group in (1, 2, 3))
    return hours * 3600 + minutes * 60 + seconds.fill_null(0)


def wrong(column: Column) -> pl.Expr:
    """Why the cleaned value of a column could not be read."""
    name = TEXT + column.name
    text = pl.col(name).cast(pl.String)
    match column.kind:
        case Kind.DECIMAL | Kind.RATE:
            digits = _DIGITS[column.kind]
            grouped = 'has a thousands separator or a decimal comma: write it like "1234.50"'
            return (
                pl.when(text.str.contains(_PLAIN_DECIMAL[digits]))
                .then(quoted(name, f"is out of range: beyond {_BITS[column.kind]} bits of 10^-{digits}"))
                .when(text.str.contains(_ANY_DECIMAL))
                .then(quoted(name, f"is finer than 10^-{digits} or out of range"))
                .when(text.str.contains(_TWO_READINGS))
                .then(_two_readings(text))
                .when(text.str.contains(_GROUPED_DECIMAL))
                .then(quoted(name, grouped))
                .otherwise(quoted(name, "is not a number"))
            )
        case Kind.INTEGER:
            return quoted(name, "is not a whole number")
        case Kind.WORD:
            return quoted(name, f"is not one of {', '.join(column.words)}")
        case Kind.CURRENCY:
            return quoted(name, "is not a currency: three upper-case letters")
        case Kind.BOOLEAN:
            return quoted(name, "is neither true nor false")
        case Kind.DATE:
            return _wrong_date(name, "is not a date like 2026-03-29")
        case Kind.ZONE:
            return quoted(name, "is not a known time zone")
        case Kind.WEEKDAY:
            return quoted(name, "is not a weekday")
        case Kind.CLOCK:
            return quoted(name, "is not a time of day like 14:30")
        case _:
            words = "is neither a date like 2026-03-29 nor an instant like 2026-03-29T08:00:00Z"
            return _wrong_date(name, words)


def _two_readings(text: pl.Expr) -> pl.Expr:
    words = '"{}" has two readings: say --decimal point or --decimal comma (either {} or {})'
    return pl.format(
        words,
        text,
        text.str.replace(",", ".", literal=True),
        text.str.replace(",", "", literal=True),
    )


def _wrong_date(name: str, otherwise: str) -> pl.Expr:
    """Why a date can't be read; the fix where its form says what it is."""
    text = pl.col(name).cast(pl.String)
    first, second, year = (text.str.extract(_EITHER_ORDER, at).str.zfill(2) for at in (1, 2, 3))
    both = pl.format(
        '"{}" has two readings: say --dates day-first or --dates month-first (either {}-{}-{} or {}-{}-{})',
        *(text, year, second, first, year, first, second),
    )
    zone = "is a time without a zone: write it like 2026-03-29T14:30:00+02:00, or the date alone"
    return (
        pl.when(text.str.contains(_EITHER_ORDER))
        .then(both)
        .when(text.str.contains(_LOCAL_TIME))
        .then(quoted(name, zone))
        .when(text.str.contains(_SHORT_YEAR))
        .then(quoted(name, "has a year of two digits: write it like 2026-03-29"))
        .when(text.str.contains(_SERIAL_DAY))
        .then(quoted(name, "is a number, perhaps a spreadsheet's count of days: format the column as a date"))
        .otherwise(quoted(name, otherwise))
    )


def limits(column: Column) -> list[Rule]:
    """The rules for `low`, `high` and `bytes_max` of a column."""
    rules: list[Rule] = []
    name, value = TEXT + column.name, pl.col(column.out)
    scale = 10 ** _DIGITS.get(column.kind, 0)
    if column.low is not None:
        words = "is negative" if column.low == 0 else "is not above zero"
        rules.append(Rule(column.name, value < column.low, quoted(name, words)))
    if column.high is not None:
        open_end = scale > 1 and column.high % scale != 0
        words = (
            f"is not below {column.high // scale + 1}" if open_end else f"is more than {column.high // scale}"
        )
        rules.append(Rule(column.name, value > column.high, quoted(name, words)))
    if column.bytes_max is not None:
        longer = said(f"is longer than {column.bytes_max} bytes")
        rules.append(Rule(column.name, value.str.len_bytes() > column.bytes_max, longer))
    return rules


def is_dated(column: Column) -> bool:
    """Whether the column holds instants, which need the zone and are read by `dated`."""
    return column.kind in _DATED


def dated(
    frame: pl.DataFrame, columns: list[Column], reader: InstantReader, zone_of_branch: pl.DataFrame | None
) -> list[pl.Expr]:
    """Expressions that read the date columns of a cleaned frame, from a table of its distinct values.

    With `zone_of_branch` (branch, time_zone) a date without a clock in an INSTANT column means that day at the branch
    of its row (A5: buckets are branch-local days)."""
    keys = {c.name: _date_key(c, frame, zone_of_branch) for c in columns}
    if not keys:
        return []
    distinct = frame.select(key.drop_nulls().unique().implode().alias(name) for name, key in keys.items())
    expressions: list[pl.Expr] = []
    for column in columns:
        values = distinct[column.name].item()
        default = {Kind.VALID_FROM: ALWAYS_US, Kind.VALID_TO: NEVER_US}.get(column.kind)
        if len(values) == 0:
            expressions.append(pl.lit(default, pl.Int64).alias(column.out))
            continue
        read = pl.Series(reader.read(column.kind, values.to_list()), dtype=pl.Int64)
        value = keys[column.name].replace_strict(values, read, default=None, return_dtype=pl.Int64)
        blank = pl.col(TEXT + column.name).is_null()
        expressions.append(
            (value if default is None else pl.when(blank).then(default).otherwise(value)).alias(column.out)
        )
    return expressions


def _date_key(column: Column, frame: pl.DataFrame, zone_of_branch: pl.DataFrame | None) -> pl.Expr:
    text = pl.col(TEXT + column.name)
    native = frame.schema[TEXT + column.name] != pl.String
    if column.kind is not Kind.INSTANT or zone_of_branch is None or zone_of_branch.is_empty():
        return text
    branch = pl.col(TEXT + "branch")
    zone = branch.replace_strict(
        zone_of_branch["branch"], zone_of_branch["time_zone"], default="", return_dtype=pl.String
    )
    if native:
        if frame.schema[TEXT + column.name] != pl.Date:
            return text
        return pl.format("{}" + ZONE_MARK + "{}", text.dt.to_string("%Y-%m-%d"), zone)
    dated_text = pl.format("{}" + ZONE_MARK + "{}", text, zone)
    return pl.when(text.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")).then(dated_text).otherwise(text)


def ends_in_last_second(work: pl.DataFrame) -> pl.Expr:
    """Whether `valid_to` of a cleaned frame is an instant in the last second of a day, which leaves that second out."""
    name = TEXT + "valid_to"
    value, dtype = pl.col(name), work.schema[name]
    if isinstance(dtype, pl.Datetime):
        return (value.dt.hour() == 23) & (value.dt.minute() == 59) & (value.dt.second() == 59)
    if dtype == pl.String:
        return value.str.contains(r"^[0-9-]{10}[Tt ]23:59:59")
    return pl.lit(value=False)


@cache
def table_expressions(
    table: Table, present: tuple[tuple[str, pl.DataType], ...], default_zone: str
) -> tuple[pl.Expr, ...]:
    """`parsed` and defaults for every column of a table but the date columns; `present` are the cleaned columns with
    their types. Kept, because building expressions costs more than running them on a small table."""
    types = dict(present)
    expressions: list[pl.Expr] = []
    for column in table.columns:
        if is_dated(column):
            continue
        default = default_zone if column.kind is Kind.ZONE else column.default
        value: pl.Expr = pl.lit(default, out_type(column))
        if column.name in types:
            read = parsed(column, types[column.name])
            blank = pl.col(TEXT + column.name).is_null()
            value = read if default is None else pl.when(blank).then(value).otherwise(read)
        expressions.append(value.alias(column.out))
    return tuple(expressions)


def out_type(column: Column) -> pl.DataType:
    """The Polars type of a column once read."""
    if column.kind in _NAMED:
        return pl.String()
    if column.kind is Kind.BOOLEAN:
        return pl.Boolean()
    if column.kind is Kind.DATE:
        return pl.Date()
    return pl.Int128() if column.kind is Kind.RATE else pl.Int64()
