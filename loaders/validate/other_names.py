"""Checks across tables of what others call items, units, customers and places (P15), after those of the tables that
they name."""

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from pricegrid.loaders.read.columns import ROW, quoted
from pricegrid.loaders.validate.causes import NAME_SEPARATOR
from pricegrid.loaders.validate.state import Validation
from pricegrid.pricing_engine.rules.part_numbers import GTIN_DIGITS

_UNIT_PAIR: Final = ("sku", "uom")


def _part_numbers(state: Validation) -> None:
    """A wrong check digit of a GTIN is a warning: one in eight of those in real files has one."""
    _check(state, "part_numbers", "sku", "items", "SKU")
    _check(state, "part_numbers", "customer_id", "customers", "customer")
    _check_units(state, "part_numbers")
    classes = state.frames["part_numbers"]["price_class"].drop_nulls().unique()
    named = [state.frames[table]["price_class"] for table in ("customers", "customer_classes")]
    known = pl.concat(named).drop_nulls().unique()
    odd = classes.filter(~classes.is_in(known.implode()))
    state.warn_values("part_numbers", odd.to_list(), "price classes that no customer is in")
    _warn_check_digits(state)


def _unit_codes(state: Validation) -> None:
    _check(state, "unit_codes", "sku", "items", "SKU")
    _check_units(state, "unit_codes")


def _ship_tos(state: Validation) -> None:
    _check(state, "ship_tos", "customer_id", "customers", "customer")
    _check(state, "ship_tos", "branch", "branches", "branch")
    zones = state.frames["ship_tos"]["zone"].drop_nulls().unique()
    known = state.frames["lanes"]["ship_zone"].drop_nulls().unique()
    unknown = zones.filter(~zones.is_in(known.implode()))
    state.warn_values("ship_tos", unknown.to_list(), "zones that no lane leads to")


def _party_codes(state: Validation) -> None:
    _check(state, "party_codes", "customer_id", "customers", "customer")
    _check(state, "party_codes", "ship_to", "ship_tos", "ship-to")
    _check(state, "party_codes", "branch", "branches", "branch")


def _check(state: Validation, table: str, column: str, of: str, noun: str) -> None:
    """Rejects rows that name something unknown."""
    name = "customer_id" if of == "customers" else column
    frame, known = state.frames[table], state.frames[of][name]
    unknown = frame.select(~pl.col(column).is_in(known.implode())).to_series()
    reason = quoted(column, f"is an unknown {noun}")
    state.reject(table, unknown, column, reason, (of, pl.col(column)))


def _check_units(state: Validation, table: str) -> None:
    """Rejects rows whose unit their item does not have; without an item, a unit that no item has."""
    frame, items, uoms = state.frames[table], state.frames["items"], state.frames["uoms"]
    units = pl.concat([items.select("sku", uom="base_uom"), uoms.select("sku", "uom")])
    named = frame.filter(pl.col("uom").is_not_null()).select(ROW, *_UNIT_PAIR)
    of_items = named.filter(pl.col("sku").is_not_null()).join(units, on=_UNIT_PAIR, how="anti")
    of_any = named.filter(pl.col("sku").is_null() & ~pl.col("uom").is_in(units["uom"].unique().implode()))
    unknown = pl.concat([of_items[ROW], of_any[ROW]])
    if len(unknown):
        reason = (
            pl.when(pl.col("sku").is_not_null())
            .then(pl.format('"{}" is an unknown unit of item "{}"', "uom", "sku"))
            .otherwise(quoted("uom", "is a unit that no item has"))
        )
        unit = pl.concat_str("sku", "uom", separator=NAME_SEPARATOR)
        state.reject(table, frame[ROW].is_in(unknown.implode()), "uom", reason, ("uoms", unit))


def _warn_check_digits(state: Validation) -> None:
    gtins = state.frames["part_numbers"].filter(pl.col("scheme") == "gtin")
    digits = pl.col("code").str.zfill(GTIN_DIGITS)
    weighted = [digits.str.slice(at, 1).cast(pl.Int64) * (3, 1)[at % 2] for at in range(GTIN_DIGITS)]
    wrong = gtins.filter(pl.sum_horizontal(weighted) % 10 != 0)[ROW]
    if len(wrong):
        state.warn_rows("part_numbers", wrong, "GTINs have a wrong check digit and are taken as they are")


_CHECKS: Final[Mapping[str, Callable[[Validation], None]]] = {
    "part_numbers": _part_numbers,
    "unit_codes": _unit_codes,
    "ship_tos": _ship_tos,
    "party_codes": _party_codes,
}


def check_other_names(state: Validation) -> None:
    """Runs the checks of every such table that the dataset has."""
    for table, check in _CHECKS.items():
        if state.given(table) and state.frames[table].height:
            check(state)
