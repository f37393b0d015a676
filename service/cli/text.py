"""How the command reads lines and writes decimals, instants and tables."""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pricegrid
from pricegrid.columnar.decimals import per_text
from pricegrid.pricing_engine.rules.part_numbers import SCHEMES
from pricegrid.service.clock import parse_as_of
from pricegrid.service.limits import LIST_MAX

ANY_SCHEME = "any"
"""What stands for all schemes of part numbers."""
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_DECIMAL_TEXT_MAX = 64
_MICRO = Decimal("0.000001")
SECONDS_MAX = 86_400
"""What an option may say at most: a day."""
TABLE_COLUMNS_MIN = 60
"""What a table takes of a terminal that is narrower."""


class UsageError(Exception):
    """The command line, or a file it names, asks for something that makes no sense: exit code 2."""


def parse_decimal(text: str) -> Decimal:
    """A plain decimal number, without exponent or thousands separator; raises `ValueError`."""
    if len(text) > _DECIMAL_TEXT_MAX or not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:_DECIMAL_TEXT_MAX]!r} is not a decimal number")
    return Decimal(text)


def parse_line(text: str) -> pricegrid.Line:
    """A line `SKU[:QTY[:UOM]]`, or with a part number `SCHEME=CODE[:QTY[:UOM]]`; for argparse."""
    sku, _, rest = text.partition(":")
    quantity, _, uom = rest.partition(":")
    if not sku:
        raise argparse.ArgumentTypeError(f"{text!r}: no SKU; lines are SKU[:QTY[:UOM]]")
    number = parse_part_number(sku)
    try:
        amount = parse_decimal(quantity) if quantity else Decimal(1)
        return pricegrid.Line("" if number else sku, amount, uom, part_number=number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}; lines are SKU[:QTY[:UOM]]") from error


def parse_part_number(text: str) -> pricegrid.PartNumber | None:
    """A part number `SCHEME=CODE`, of any scheme `any=CODE`; None: it is a SKU."""
    scheme, is_number, code = text.partition("=")
    if not is_number or scheme not in {*SCHEMES, ANY_SCHEME}:
        return None
    return pricegrid.PartNumber(code, "" if scheme == ANY_SCHEME else scheme)


def item_text(line: pricegrid.Line | pricegrid.ReserveLine, named: Sequence[pricegrid.NamedItem] = ()) -> str:
    """The item of a line: its SKU, or that of its part number, or else the number."""
    if line.part_number is None:
        return line.sku
    return (
        named[0].sku
        if len(named) == 1
        else f"{line.part_number.scheme or ANY_SCHEME}={line.part_number.code}"
    )


def uom_text(line: pricegrid.Line | pricegrid.ReserveLine, named: Sequence[pricegrid.NamedItem] = ()) -> str:
    """The unit of a line, '' for the base unit: as it was asked, or of the pack that its part number names."""
    return line.uom or (named[0].uom if len(named) == 1 else "")


def candidates_text(named: Sequence[pricegrid.NamedItem]) -> str:
    """The items that a part number could mean, '' where it means one or none."""
    if len(named) < 2:
        return ""
    return "could be " + " or ".join(f"{each.sku}{':' if each.uom else ''}{each.uom}" for each in named)


def print_candidates(lines: Sequence[pricegrid.Line], named: Iterable[Sequence[pricegrid.NamedItem]]) -> None:
    """Says below a table which part numbers could mean several items."""
    for line, items in zip(lines, named, strict=True):
        if len(items) > 1:
            print(f"{item_text(line)} {candidates_text(items)}")


def parse_priced_line(text: str) -> pricegrid.Line:
    """A line `SKU[:QTY[:UOM[:DATE]]]`, of which the last is a date or an instant; for argparse."""
    line = parse_line(text)
    uom, _, as_of = line.uom.partition(":")
    try:
        return replace(line, uom=uom, as_of=parse_as_of(as_of)) if as_of else line
    except ValueError:
        return line  # a unit with a colon in its name


def parse_line_with_quantity(text: str) -> pricegrid.Line:
    """A line `SKU:QTY[:UOM]`; for argparse."""
    if not text.partition(":")[2].partition(":")[0]:
        raise argparse.ArgumentTypeError(f"{text!r}: no quantity; lines are SKU:QTY[:UOM]")
    return parse_line(text)


def date_argument(text: str) -> date:
    """A date YYYY-MM-DD; for argparse."""
    found = as_of_argument(text)
    if isinstance(found, datetime):
        raise argparse.ArgumentTypeError(f"{text!r} is not a date YYYY-MM-DD")
    return found


def decimal_argument(text: str) -> Decimal:
    """A decimal number of at most 6 decimals, not negative; for argparse."""
    try:
        value = parse_decimal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if value < 0 or value != value.quantize(_MICRO):
        raise argparse.ArgumentTypeError(f"{text!r} must be at least 0 with at most 6 decimals")
    return value


def days_argument(text: str) -> int:
    """A number of days; for argparse."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days")
    return int(text)


def limit_argument(text: str) -> int:
    """How many of a list at most; for argparse."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= LIST_MAX):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {LIST_MAX}")
    return int(text)


def seconds_argument(text: str) -> float:
    """A number of seconds, up to a day."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 to {SECONDS_MAX}")
    return found


def as_of_argument(text: str) -> date | datetime:
    """`--as-of`, for argparse."""
    try:
        return parse_as_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def read_lines(path: Path) -> list[pricegrid.Line]:
    """Lines of a CSV file with the header `sku,quantity,uom,as_of` (all but the first optional). Raises UsageError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            unknown = set(rows.fieldnames or ()) - {"sku", "quantity", "uom", "as_of"}
            if "sku" not in (rows.fieldnames or ()) or unknown:
                raise UsageError(f"{path}: the header must be sku,quantity,uom,as_of")
            return [_csv_line(path, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: {error}") from error


def _csv_line(path: Path, line_number: int, row: dict[str, str]) -> pricegrid.Line:
    sku, quantity = row["sku"], row.get("quantity") or "1"
    if not sku or None in row:
        raise UsageError(f"{path}, line {line_number}: {'too many fields' if sku else 'no SKU'}")
    try:
        as_of = parse_as_of(row["as_of"]) if row.get("as_of") else None
        number = parse_part_number(sku)
        uom = row.get("uom") or ""
        return pricegrid.Line("" if number else sku, parse_decimal(quantity), uom, as_of, number)
    except ValueError as error:
        raise UsageError(f"{path}, line {line_number}: {error}") from error


def decimal_text(value: Decimal | int, digits_min: int = 0) -> str:
    """A decimal in plain notation, without trailing zeros beyond `digits_min` digits after the point."""
    whole, _, fraction = format(Decimal(value), "f").partition(".")
    fraction = fraction.rstrip("0").ljust(digits_min, "0")
    return f"{whole}.{fraction}" if fraction else whole


def decimal_or_none(value: Decimal | None) -> str | None:
    """A decimal in plain notation; None stays None."""
    return None if value is None else decimal_text(value)


def unit_price_text(price: Decimal | None, currency: str, price_per: int = 1) -> str | None:
    """A unit price: trimmed, but with at least the digits of the currency's minor unit; of many `12.35 per 1000`."""
    return None if price is None else decimal_text(price, _minor_digits(currency)) + per_text(price_per)


def a_unit_text(price_per: int) -> str:
    """What a unit price is for: `a unit`, or `per 1000`."""
    return per_text(price_per).strip() or "a unit"


def extended_price_text(price: Decimal | None, currency: str) -> str | None:
    """An extended price: with the digits of the currency's minor unit, to which it is rounded already."""
    return None if price is None else decimal_text(price, _minor_digits(currency))


def _minor_digits(currency: str) -> int:
    from pricegrid.pricing_engine.model import currency_exponent

    return currency_exponent(currency)


def print_json_list(rows: Iterable[object]) -> None:
    """A JSON list with one row a line."""
    print("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """A table that fits the terminal; the columns numbered in `right` end flush.

    Where it is too wide, columns that say nothing of any row go first; then the last ones stand under their row, each
    value with its name. What goes to a file or another program has all columns, and a line a row.
    """
    table = [tuple(header), *(tuple(row) for row in rows)]
    flush_right = set(right)
    places = list(range(len(header)))
    if _width(table, places) > (room := _room()):
        places = [at for at in places if not at or any(row[at] not in {"", "-"} for row in table[1:])]
    beside = list(places)
    while len(beside) > 1 and _width(table, beside) > room:
        beside.pop()
    below = places[len(beside) :]
    widths = {at: max(len(row[at]) for row in table) for at in beside}
    for row in table:
        cells = (
            row[at].rjust(widths[at]) if at in flush_right else row[at].ljust(widths[at]) for at in beside
        )
        print("  ".join(cells).rstrip())
        said = [f"{header[at].lower()} {row[at]}" for at in below if row[at] not in {"", "-"}]
        if said and row is not table[0]:
            for line in _lines_of(said, room):
                print(line)


def _lines_of(said: Sequence[str], room: int) -> Iterator[str]:
    """What stands under a row: as many values a line as there is room for, none of them cut."""
    line = "   "
    for each in said:
        if line.strip() and len(line) + len(each) + 2 > room:
            yield f"{line},"
            line = "   "
        line += f", {each}" if line.strip() else f" {each}"
    yield line


def _width(table: Sequence[Sequence[str]], places: Sequence[int]) -> int:
    return sum(max(len(row[at]) for row in table) for at in places) + 2 * (len(places) - 1)


def _room() -> int:
    """How many columns a table may take."""
    if not sys.stdout.isatty():
        return sys.maxsize
    return max(TABLE_COLUMNS_MIN, shutil.get_terminal_size().columns)
