"""What a single row must satisfy beyond the form of its columns (docs/dataset.md, docs/pricing.md), table by table."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import polars as pl

from pricegrid.loaders.read.columns import TEXT, Rule, limits, quoted, said, wrong
from pricegrid.loaders.tables import Table
from pricegrid.pricing_engine.model import COST, MICROS
from pricegrid.pricing_engine.rules.part_numbers import GTIN_DIGITS, GTIN_DIGITS_MIN

SURCHARGES: Final = ("surcharge_pct", "surcharge_amount")
"""The methods of entries in books of layers with mode `add` (P16)."""
_HUNDRED: Final = 100 * MICROS
_ENDING_MAX: Final = 10**12 * MICROS  # the power of ten above it is an int64 in micros


@cache
def row_rules(table: Table, present: tuple[str, ...]) -> tuple[Rule, ...]:
    """All rules of one row, in the order in which they are told; `present` are the columns that aren't wholly blank."""
    rules: list[Rule] = []
    for column in table.columns:
        text = pl.col(TEXT + column.name)
        if column.name not in present:
            if column.required:
                rules.append(Rule(column.name, pl.lit(value=True), said("required and blank")))
            continue
        if column.required:
            rules.append(Rule(column.name, text.is_null(), said("required and blank")))
        rules.append(Rule(column.name, text.is_not_null() & pl.col(column.out).is_null(), wrong(column)))
        rules.extend(limits(column))
    names = {column.name for column in table.columns}
    if {"valid_from", "valid_to"} <= names and {"valid_from", "valid_to"} & set(present):
        rules.append(_window(present))
    if table.name == "price_entries":
        rules.extend(_entry_rules(present))
    if "price_ending" in present:
        rules.extend(_endings())
    if table.name in _TABLE_RULES:
        rules.extend(_TABLE_RULES[table.name]())
    if "deleted" in names:
        rules.extend(_deletion_rules())
    return tuple(rules)


@cache
def first_broken(table: Table, present: tuple[str, ...]) -> pl.Expr:
    """1 + the index of the first of `row_rules` that a row breaks, 0 for none. Kept, like the rules."""
    rules = row_rules(table, present)
    number: pl.Expr = pl.lit(0, pl.UInt8)
    for index in range(len(rules), 0, -1):
        number = pl.when(rules[index - 1].broken).then(pl.lit(index, pl.UInt8)).otherwise(number)
    return number


def _window(present: tuple[str, ...]) -> Rule:
    shown = (
        quoted(TEXT + "valid_to", "is before valid_from")
        if "valid_to" in present
        else said("before valid_from")
    )
    return Rule("valid_to", pl.col("valid_to_us") <= pl.col("valid_from_us"), shown)


def _items() -> list[Rule]:
    itself = pl.col("superseded_by") == pl.col("sku")
    return [Rule("superseded_by", itself, quoted("superseded_by", "supersedes itself"))]


def _books() -> list[Rule]:
    words = "is the basis of costs and can't name a price book"
    both = (pl.col("break_mode") == "graduated") & (pl.col("break_on") == "amount")
    return [
        Rule("book_id", pl.col("book_id") == COST, quoted("book_id", words)),
        Rule(
            "break_group",
            pl.col("break_group").is_not_null() & (pl.col("break_on") == "amount"),
            said("break_group and break_on amount: a break that is an amount is of its line alone"),
        ),
        Rule("break_mode", both, said("graduated and break_on amount: a slice has no amount of its own")),
    ]


def _endings() -> list[Rule]:
    increment, ending = pl.col("rounding_increment_micros"), pl.col("price_ending_micros")
    too_long = "is not below rounding_increment: within each increment there is one price with that ending"
    return [
        Rule(
            "price_ending", (increment > 1) & (ending >= increment), quoted(TEXT + "price_ending", too_long)
        ),
        Rule("price_ending", ending > _ENDING_MAX, quoted(TEXT + "price_ending", "is too large")),
    ]


def _agreements() -> list[Rule]:
    parties = _count("customer_id", "price_class") + pl.col("everyone").cast(pl.Int64)
    return [
        Rule(
            "customer_id",
            parties == 0,
            said("neither customer_id nor price_class nor everyone=true is given"),
        ),
        Rule(
            "customer_id",
            parties > 1,
            said("more than one of customer_id, price_class and everyone=true is given"),
        ),
    ]


def _entitlements() -> list[Rule]:
    return [_exactly_one("customer_id", "price_class"), _at_most_one("sku", "product_group")]


def _lanes() -> list[Rule]:
    return [_exactly_one("to_branch", "ship_zone")]


def _calendars() -> list[Rule]:
    return [_exactly_one("date", "weekday")]


def _uoms() -> list[Rule]:
    return [_ratio("numerator")]


def _rates() -> list[Rule]:
    same = pl.col("from_currency") == pl.col("to_currency")
    return [Rule("to_currency", same, quoted("to_currency", "is also from_currency")), _ratio("rate")]


def _ratio(column: str) -> Rule:
    """What `with_ratios` could not hold."""
    words = "is out of range: as a fraction in lowest terms it needs more than 63 bits"
    return Rule(column, pl.col("numerator").is_null(), quoted(TEXT + column, words))


def _part_numbers() -> list[Rule]:
    scopes = ("customer_id", "price_class", "maker")
    words = "more than one of customer_id, price_class and maker is given"
    is_gtin = pl.col("code").str.contains(rf"^[0-9]{{{GTIN_DIGITS_MIN},{GTIN_DIGITS}}}$")
    not_one = f"is no GTIN: {GTIN_DIGITS_MIN} to {GTIN_DIGITS} digits"
    return [
        Rule("customer_id", _count(*scopes) > 1, said(words)),
        Rule("code", (pl.col("scheme") == "gtin") & ~is_gtin, quoted("code", not_one)),
    ]


def _ship_tos() -> list[Rule]:
    return [_exactly_one("zone", "branch")]


def _party_codes() -> list[Rule]:
    words = "exactly one of customer_id, ship_to and branch must be given"
    return [Rule("customer_id", _count("customer_id", "ship_to", "branch") != 1, said(words))]


def _entry_rules(present: tuple[str, ...]) -> list[Rule]:
    """Decision by method: which values it takes, and which of them price at zero."""
    method, value, zero_ok = pl.col("method"), pl.col("value_micros"), pl.col("explicit_zero")
    shown = TEXT + "value"

    def rule(broken: pl.Expr, words: str) -> Rule:
        return Rule("value", broken, quoted(shown, words))

    zero_at = {"net": 0, "multiplier": 0, "discount_pct": _HUNDRED, "markup_pct": -_HUNDRED}
    is_zero = pl.any_horizontal((method == name) & (value == at) for name, at in zero_at.items())
    needs_basis = method.is_in(["discount_pct", "multiplier", "amount_off"]) & pl.col("basis").is_null()
    on_top = method.is_in(list(SURCHARGES))
    rules = [_at_most_one("sku", "product_group")]
    if "value" in present:
        rules += [
            rule(method.is_in(["net", "multiplier", "amount_off"]) & (value < 0), "is negative"),
            rule(on_top & (value < 0), "is negative: what is taken off is an amount_off or a discount_pct"),
            rule((method == "discount_pct") & (value > _HUNDRED), "per cent discount is more than 100"),
            rule((method == "markup_pct") & (value < -_HUNDRED), "per cent markup is less than -100"),
            rule((method == "margin_pct") & (value >= _HUNDRED), "per cent margin is not below 100"),
            rule(is_zero & ~zero_ok, "gives a price of zero without explicit_zero"),
        ]
    rules.append(Rule("basis", needs_basis, pl.format("{} needs a basis book", method)))
    if "basis" in present:
        words = "is given: a surcharge is on the price that answers, whichever that is"
        rules.append(Rule("basis", on_top & pl.col("basis").is_not_null(), quoted("basis", words)))
    return rules


def _deletion_rules() -> list[Rule]:
    """A delta row that is no deletion needs method and value."""
    return [
        Rule(name, ~pl.col("deleted") & pl.col(out).is_null(), said("required and blank"))
        for name, out in (("method", "method"), ("value", "value_micros"))
    ]


def _count(*names: str) -> pl.Expr:
    return pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int64) for name in names)


def _exactly_one(first: str, second: str) -> Rule:
    words = f"exactly one of {first} and {second} must be given"
    return Rule(first, _count(first, second) != 1, said(words))


def _at_most_one(first: str, second: str) -> Rule:
    words = f"is given with {second}: give one or neither"
    return Rule(first, _count(first, second) == 2, quoted(first, words))


_TABLE_RULES: Final[Mapping[str, Callable[[], list[Rule]]]] = {
    "items": _items,
    "price_books": _books,
    "agreements": _agreements,
    "entitlements": _entitlements,
    "lanes": _lanes,
    "calendars": _calendars,
    "uoms": _uoms,
    "exchange_rates": _rates,
    "part_numbers": _part_numbers,
    "ship_tos": _ship_tos,
    "party_codes": _party_codes,
}
