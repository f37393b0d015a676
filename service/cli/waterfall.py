"""The readable form of an explanation: what was considered, and how the price came about, step by step."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import pricegrid
from pricegrid.columnar.decimals import per_text
from pricegrid.service.cli.text import (
    a_unit_text,
    decimal_text,
    extended_price_text,
    item_text,
    print_table,
    unit_price_text,
    uom_text,
)
from pricegrid.service.clock import instant_text

_BOOKS_SHOWN = 4


def print_waterfall(line: pricegrid.Line, found: pricegrid.Explanation) -> None:
    """Prints an explanation."""
    document = found.document
    names = found.line.named_items
    uom = f" {uom_text(line, names)}" if uom_text(line, names) else ""
    print(f"{item_text(line, names)}, {decimal_text(line.quantity)}{uom}, as of {instant_text(found.as_of)}")
    asked = _mapping(document.get("question"))
    who = [f"{key} {asked[key]}" for key in ("customer_id", "branch") if asked.get(key)]
    print(", ".join([*who, f"snapshot {found.snapshot_version}"]))
    print("\nconsidered")
    for layer in _mappings(document.get("layers")):
        _print_layer(_text(layer.get("layer")), _mappings(layer.get("candidates")))
    steps = _mappings(document.get("steps"))
    if steps:
        print("\nsteps")
        keys = ("value", "price", "currency", "detail")
        rows = [
            (f"  {_text(step.get('step'))}", *(exact_text(_text(step.get(key))) for key in keys))
            for step in steps
        ]
        print_table(("  STEP", "BY", "PRICE", "CUR", "DETAIL"), rows, right=(1, 2))
    print()
    _print_answer(found)


def _print_layer(name: str, candidates: Sequence[Mapping[str, object]]) -> None:
    verdicts = {(_text(candidate.get("outcome")), _text(candidate.get("reason"))) for candidate in candidates}
    if len(candidates) > 1 and len(verdicts) == 1 and "answers" not in {outcome for outcome, _ in verdicts}:
        ((outcome, reason),) = verdicts
        books = [_text(candidate.get("book_id")) for candidate in candidates]
        more = f" and {len(books) - _BOOKS_SHOWN} more" if len(books) > _BOOKS_SHOWN else ""
        text = f"layer {name}: {outcome}, {reason}: {', '.join(books[:_BOOKS_SHOWN])}{more}"
        print(textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="     "))
        return
    print(f"  layer {name}")
    for candidate in candidates:
        _print_candidate(candidate)


def _print_candidate(candidate: Mapping[str, object]) -> None:
    mark = "*" if candidate.get("outcome") == "answers" else " "
    book, entry = _text(candidate.get("book_id")), _text(candidate.get("entry_id"))
    what = [f"{book}/{entry}" if entry else book]
    if candidate.get("method"):
        what.append(f"{candidate['method']} {_text(candidate.get('value'))}")
        what.append(f"from {_text(candidate.get('break'))} {_text(candidate.get('uom'))}".rstrip())
        what.append(
            " ".join(
                _text(candidate.get(key)) for key in ("level", "product_group", "price_class", "branch")
            ).strip()
        )
        what.append(f"gives {_text(candidate.get('price'))}{_per(candidate)}")
    outcome, reason = _text(candidate.get("outcome")), _text(candidate.get("reason"))
    why = "" if reason in {"", outcome} else f", {reason}"
    print(f"   {mark} {', '.join(what)}: {outcome}{why}")


def _print_answer(found: pricegrid.Explanation) -> None:
    line = found.line
    if line.unit_price is None:
        minimum = (
            f", from {decimal_text(line.minimum_quantity)} on" if line.minimum_quantity is not None else ""
        )
        print(f"{line.status.value}{minimum}")
    else:
        unit = unit_price_text(line.unit_price, found.currency)
        extended = extended_price_text(line.extended_price, found.currency)
        each = a_unit_text(line.price_per)
        print(f"{line.status.value}  {unit} {found.currency} {each}, {extended} {found.currency} in all")
        print(
            f"layer {line.layer}, book {line.book_id}" + (f", entry {line.entry_id}" if line.entry_id else "")
        )
    if line.exception:
        print(f"unconfirmed exception: {line.exception.value}")
    if line.valid_until:
        print(f"valid until {instant_text(line.valid_until)}")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [_mapping(item) for item in value] if isinstance(value, list) else []


def _per(candidate: Mapping[str, object]) -> str:
    price_per = candidate.get("price_per")
    return per_text(price_per) if isinstance(price_per, int) else ""


def _text(value: object) -> str:
    return "" if value is None else str(value)


def exact_text(text: str) -> str:
    """A fraction `a/b` as a decimal where one of at most 12 digits is exact; anything else as it is."""
    numerator, slash, denominator = text.partition("/")
    if not slash or not numerator.removeprefix("-").isdecimal() or not denominator.isdecimal():
        return text
    scaled = Fraction(text) * 10**12
    return decimal_text(Decimal(scaled.numerator).scaleb(-12)) if scaled.denominator == 1 else text
