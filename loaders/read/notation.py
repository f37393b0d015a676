"""Numbers and dates in the notation of a file: decimal points or commas, thousands separators, order of day and month.

A number that has one reading shows the notation of its file: `12.50` and `1,234.5` a decimal point, `12,50` and
`1.234,5` a decimal comma. `1.234` and `1,234` have two readings: they are read as the rest of the file, or the
operator, says, and rejected with both readings if nothing does. A file that shows both notations is read with decimal
points, and its ambiguous and its comma numbers are rejected. Blanks and apostrophes between groups of three digits
separate thousands in every notation.

`29.03.2026` is day first, `2026/03/29` and `20260329` year first. Of `29/03/2026` and `03-29-2026` each column is
judged as a whole: one date with a first number above 12 says day first, a second number above 12 month first.

Nothing here computes with a value: digits stay text, so that no number passes through binary float.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import polars as pl

from pricegrid.loaders.read.dialect import Dialect
from pricegrid.loaders.read.raw import RawTable
from pricegrid.loaders.tables import Column, Kind, Table

_NUMBERS: Final = frozenset({Kind.DECIMAL, Kind.RATE, Kind.INTEGER})
_DATES: Final = frozenset({Kind.VALID_FROM, Kind.VALID_TO, Kind.INSTANT, Kind.DATE})
_BLANKS: Final = " \t"
_HEAD_ROWS: Final = 1_000

_GROUP_SIGNS: Final = " '’\u00a0\u202f\u2009"
_ODD: Final = r"[^0-9.+-]|\..*\."
"""More than digits, a sign and one point."""
_QUIET_GROUPS: Final = rf"^[+-]?[0-9]{{1,3}}(?:[{_GROUP_SIGNS}][0-9]{{3}})+(?:[.,][0-9]*)?$"


def _grouped(sign: str) -> str:
    return rf"^[+-]?[1-9][0-9]{{0,2}}(?:{sign}[0-9]{{3}})+"


def _ambiguous(sign: str) -> str:
    """One group of three digits behind the sign: thousands, or decimals."""
    return rf"^[+-]?[1-9][0-9]{{0,2}}{sign}[0-9]{{3}}$"


_PLAIN: Final = {"point": r"^[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)$", "comma": r"^[+-]?(?:[0-9]+,[0-9]*|,[0-9]+)$"}
_SIGN: Final = {"point": r"\.", "comma": ","}
_GROUPING: Final = {"point": ",", "comma": r"\."}
"""By the decimal sign: what separates thousands then."""
_THOUSANDS: Final = "thousands separators"
_OPPOSITE: Final = {"point": "comma", "comma": "point"}


@dataclass(slots=True)
class Notation:
    """What was found out about the numbers and dates of a file."""

    decimal: str | None = None
    dates: dict[str, str] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    restated: dict[str, pl.Series] = field(default_factory=dict)
    """Columns whose text differs in canonical notation."""
    ambiguous: list[pl.DataFrame] = field(default_factory=list)
    """`row`, `column`, `reason`."""
    warnings: list[str] = field(default_factory=list)


def notation_of(raw: RawTable, table: Table, stated: Dialect) -> Notation:
    """Looks at the text columns of a table that hold numbers or dates."""
    found = Notation(stated.decimal)
    texts = [c for c in table.columns if raw.frame.schema.get(c.name) == pl.String]
    _numbers(found, raw, [c for c in texts if c.kind in _NUMBERS], stated.decimal)
    for column in texts:
        if column.kind in _DATES:
            _date_column(found, raw.frame[column.name], stated.dates)
    return found


# -- numbers ----------------------------------------------------------------------------------------------------------


def _numbers(found: Notation, raw: RawTable, columns: list[Column], stated: str | None) -> None:
    if not columns or not raw.frame.height:
        return
    texts = raw.frame.select(_text_cells(raw, c.name) for c in columns)
    if not texts.select(pl.any_horizontal(pl.all().str.contains(_ODD).any())).item():
        if stated == "point" or _needs_no_notation(found, texts, columns, stated):
            return
    else:
        texts = texts.with_columns(pl.all().str.strip_chars(_BLANKS))
    deciding = [c.name for c in columns if c.kind is not Kind.INTEGER]
    decimal = stated or _decided(found, raw, texts.select(deciding))
    found.decimal = decimal if decimal in _OPPOSITE else None
    for column in columns:
        _restate_number(found, raw, column, texts[column.name], decimal)


def _text_cells(raw: RawTable, name: str) -> pl.Expr:
    """The column without the cells of a workbook that are numbers already."""
    mask = raw.typed.get(name)
    return pl.col(name) if mask is None else pl.when(~mask).then(pl.col(name)).alias(name)


def _needs_no_notation(
    found: Notation, texts: pl.DataFrame, columns: list[Column], stated: str | None
) -> bool:
    """Whether numbers of digits and points alone all have one reading, or their file shows decimal points."""
    if stated is not None:
        return False
    deciding = texts.select(c.name for c in columns if c.kind is not Kind.INTEGER)
    head = deciding.head(_HEAD_ROWS)
    for rows in (head, deciding):
        if rows.width and rows.select(pl.any_horizontal(_shows(pl.all(), "point").any())).item():
            found.decimal = "point"
            return True
    return not texts.select(pl.any_horizontal(pl.all().str.contains(".", literal=True).any())).item()


def _shows(text: pl.Expr, decimal: str) -> pl.Expr:
    """Whether a number can only be written with this decimal sign."""
    sign, grouping = _SIGN[decimal], _GROUPING[decimal]
    plain = text.str.contains(_PLAIN[decimal]) & ~text.str.contains(_ambiguous(sign))
    both = text.str.contains(_grouped(grouping) + rf"{sign}[0-9]*$")
    many = text.str.contains(rf"^[+-]?[1-9][0-9]{{0,2}}(?:{grouping}[0-9]{{3}}){{2,}}$")
    quiet = text.str.contains(_QUIET_GROUPS) & text.str.contains(sign)
    return plain | both | many | quiet


def _decided(found: Notation, raw: RawTable, texts: pl.DataFrame) -> str:
    """`point`, `comma`, `both` or `none`, by the numbers of the file."""
    examples = {decimal: _first(raw, texts, decimal) for decimal in _OPPOSITE}
    shown = [decimal for decimal, example in examples.items() if example]
    if len(shown) == 2:
        found.warnings.append(
            f"{raw.file}: has decimal points ({examples['point']}) and decimal commas ({examples['comma']}): numbers "
            "with commas, and those with two readings, are rejected; mend them, or say --decimal point or "
            "--decimal comma"
        )
        return "both"
    if not shown:
        return "none"
    if shown == ["comma"]:
        found.evidence.append(str(examples["comma"]))
    return shown[0]


def _first(raw: RawTable, texts: pl.DataFrame, decimal: str) -> str | None:
    places: list[tuple[int, str]] = []
    for name in texts.columns:
        at = texts.select(_shows(pl.col(name), decimal).fill_null(value=False).arg_true().head(1)).to_series()
        if len(at):
            places.append((int(at[0]), name))
    if not places:
        return None
    row, name = min(places)
    line = raw.line_of(pl.Series([row], dtype=pl.UInt32))[0]
    return f'line {line}: {name} "{texts[name][row]}"'


def _restate_number(found: Notation, raw: RawTable, column: Column, text: pl.Series, decimal: str) -> None:
    """Writes the column with decimal points and without thousands separators, where it has one reading."""
    name = column.name
    frame = text.to_frame("t")
    cell = pl.col("t")
    quiet = pl.when(cell.str.contains(_QUIET_GROUPS)).then(cell.str.replace_all(rf"[{_GROUP_SIGNS}]", ""))
    bare = pl.coalesce(quiet, cell)
    if decimal in _OPPOSITE:
        sign, grouping = _SIGN[decimal], _GROUPING[decimal]
        is_grouped = cell.str.contains(_grouped(grouping) + rf"(?:{sign}[0-9]*)?$")
        bare = pl.when(is_grouped).then(cell.str.replace_all(grouping, "")).otherwise(bare)
        if decimal == "comma":
            is_number = bare.str.contains(r"^[+-]?[0-9]*,?[0-9]*$")
            bare = pl.when(is_number).then(bare.str.replace(",", ".", literal=True)).otherwise(bare)
            contrary = cell.str.contains(_PLAIN["point"]) & ~is_grouped
            words = "has a decimal point, and the decimal sign of its file is a comma: write it with a comma"
            _note_cells(found, column, frame, contrary, pl.format('"{}" ' + words, cell))
    elif column.kind is not Kind.INTEGER:
        two = cell.str.contains(_ambiguous(r"\."))
        reason = pl.format(
            '"{}" has two readings: say --decimal point or --decimal comma (either {} or {})',
            cell,
            cell,
            cell.str.replace(".", "", literal=True),
        )
        _note_cells(found, column, frame, two, reason)
    restated = frame.select(bare.alias(name)).to_series()
    _note_thousands(found, name, text, restated)
    if not restated.equals(raw.frame[name], null_equal=True):
        mask = raw.typed.get(name)
        found.restated[name] = restated if mask is None else restated.zip_with(~mask, raw.frame[name])


def _note_thousands(found: Notation, name: str, text: pl.Series, restated: pl.Series) -> None:
    """Says that thousands separators were read, once a file, with the first."""
    if any(words.startswith(_THOUSANDS) for words in found.evidence):
        return
    grouped = (text.str.len_chars() > restated.str.len_chars()).arg_true()
    if len(grouped):
        row = int(grouped[0])
        found.evidence.append(f'{_THOUSANDS}: {name} "{text[row]}" is {restated[row]}')


def _note_cells(found: Notation, column: Column, frame: pl.DataFrame, bad: pl.Expr, reason: pl.Expr) -> None:
    rows = frame.with_row_index("row").filter(bad.fill_null(value=False)).rechunk()
    if rows.height:
        found.ambiguous.append(
            rows.select("row", pl.lit(column.name).alias("column"), reason.alias("reason"))
        )


# -- dates ------------------------------------------------------------------------------------------------------------

_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[Tt ].*)?", re.ASCII)
_YEAR_FIRST: Final = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII)
_COMPACT: Final = re.compile(r"((?:19|20|21)\d\d)(\d\d)(\d\d)", re.ASCII)
_DOTTED: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_EITHER: Final = re.compile(r"(\d{1,2})([/-])(\d{1,2})\2(\d{4})", re.ASCII)


def _date_column(found: Notation, column: pl.Series, stated: str | None) -> None:
    """Writes the dates of a column as ISO 8601, where they have one reading."""
    if column.str.contains("^[0-9]{4}-").all():
        return
    values = [value for value in column.unique(maintain_order=True).to_list() if value]
    stripped = {value: value.strip(_BLANKS) for value in values}
    order = stated or _order(stripped.values())
    restated = {}
    forms: dict[str, None] = {}
    for value, text in stripped.items():
        iso, form = _iso(text, order)
        if iso is not None and iso != value:
            restated[value] = iso
            if form:
                forms[form] = None
    if not restated:
        return
    found.restated[column.name] = column.replace(restated)
    if forms:
        found.dates[column.name] = " and ".join(forms)
        example = next(value for value, iso in restated.items() if iso != stripped[value])
        found.evidence.append(f'{column.name} "{example}" is {restated[example]}')


def _order(texts: Iterable[str]) -> str | None:
    """What the dates of a column say of the order of day and month, if they agree."""
    shown: set[str] = set()
    for text in texts:
        match = _EITHER.fullmatch(text)
        if match and int(match[1]) > 12:
            shown.add("day-first")
        elif match and int(match[3]) > 12:
            shown.add("month-first")
    return shown.pop() if len(shown) == 1 else None


def _iso(text: str, order: str | None) -> tuple[str | None, str]:
    """A date as ISO 8601 and the form it has; None where it is none, or has two readings."""
    if _ISO.fullmatch(text):
        return text, ""
    if match := _DOTTED.fullmatch(text):
        return _checked(match[3], match[2], match[1]), "dd.mm.yyyy"
    if match := _YEAR_FIRST.fullmatch(text):
        return _checked(match[1], match[2], match[3]), "yyyy/mm/dd"
    if match := _COMPACT.fullmatch(text):
        return _checked(match[1], match[2], match[3]), "yyyymmdd"
    match = _EITHER.fullmatch(text)
    if match is None:
        return None, ""
    sign, year = match[2], match[4]
    day_first, month_first = _checked(year, match[3], match[1]), _checked(year, match[1], match[3])
    if order == "day-first" or (order is None and (month_first is None or day_first == month_first)):
        return day_first, f"dd{sign}mm{sign}yyyy"
    if order == "month-first" or (order is None and day_first is None):
        return month_first, f"mm{sign}dd{sign}yyyy"
    return None, ""


def _checked(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
