"""The options that say which lines are exceptions (P13), shared by `serve` and `quote --store`."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from pricegrid.service.cli.text import days_argument, parse_decimal

if TYPE_CHECKING:
    from pricegrid.pricing_engine.model import ExceptionPolicy

_DAY_US = 86_400_000_000
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group("exceptions (lines that the ERP should confirm)")
    group.add_argument(
        "--exception-above",
        metavar="AMOUNT:CUR",
        type=_threshold,
        action="append",
        default=[],
        help="extended prices above this amount of a currency, such as 5000:EUR; may be repeated",
    )
    group.add_argument(
        "--exception-grace-days",
        metavar="N",
        type=days_argument,
        default=0,
        help="prices of a customer one of whose agreements ended less than N days ago (default 0: never)",
    )
    group.add_argument(
        "--flag-customer",
        metavar="ID",
        action="append",
        default=[],
        help="every line of a customer; may be repeated",
    )
    group.add_argument(
        "--flag-sku",
        metavar="SKU",
        action="append",
        default=[],
        help="every line of an item; may be repeated",
    )


def policy_from(args: argparse.Namespace) -> ExceptionPolicy:
    """The policy that the options say."""
    from pricegrid.pricing_engine.model import ExceptionPolicy

    return ExceptionPolicy(
        extended_price_above_micros=dict(args.exception_above),
        grace_us=args.exception_grace_days * _DAY_US,
        flagged_customers=frozenset(args.flag_customer),
        flagged_skus=frozenset(args.flag_sku),
    )


def _threshold(text: str) -> tuple[str, int]:
    from pricegrid.requests import quantity_micros

    amount, _, currency = text.partition(":")
    if not _CURRENCY.fullmatch(currency):
        raise argparse.ArgumentTypeError(f"{text!r} is not AMOUNT:CUR, such as 5000:EUR")
    try:
        value = parse_decimal(amount)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    micros = quantity_micros(value)  # the same scale as a quantity's
    if micros < 0 or (micros == 0 and value != 0):
        raise argparse.ArgumentTypeError(f"{text!r}: the amount must be at least 0 with at most 6 decimals")
    return currency, micros
