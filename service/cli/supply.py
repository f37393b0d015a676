"""The options that say which supply counts, shared by `availability` and `promise`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from decimal import Decimal

import pricegrid
from pricegrid.service.cli.text import days_argument, decimal_argument

HORIZON_DAYS, OFFSET_DAYS, LATE_DAYS = (1, 730), (1, 730), (0, 36_500)
"""From and to: as `atp.model.SupplyPolicy` has them, which needs NumPy."""


def add_supply_arguments(parser: argparse.ArgumentParser, *, past_due: bool) -> None:
    """Adds the options; those about late receipts with `past_due`."""
    parser.add_argument(
        "--customer", metavar="ID", default="", help="who asks: what they may not buy is not there"
    )
    parser.add_argument(
        "--min-confidence",
        metavar="C",
        type=_confidence,
        default=0,
        help="leave out receipts of less confidence, 0 to 1 (default 0)",
    )
    parser.add_argument(
        "--horizon-days",
        metavar="N",
        type=_days(*HORIZON_DAYS),
        help="days to look at, 1 to 730 (default 90)",
    )
    if past_due:
        parser.add_argument(
            "--past-due-offset-days",
            metavar="N",
            type=_days(*OFFSET_DAYS),
            help="a late receipt counts N days from now (default 1)",
        )
        parser.add_argument(
            "--past-due-max-days",
            metavar="N",
            type=_days(*LATE_DAYS),
            help="a receipt more than N days late is dropped (default 30)",
        )
    parser.add_argument(
        "--exclude-reservation", metavar="ID", default="", help="a reservation of one's own, not to count"
    )
    parser.add_argument("--explain", action="store_true", help="say what was added up")


def supply_from(args: argparse.Namespace) -> pricegrid.SupplyPolicy:
    """The policy that the options say."""
    days = {
        name: value
        for name in ("horizon_days", "past_due_offset_days", "past_due_max_days")
        if (value := getattr(args, name, None)) is not None
    }
    return pricegrid.SupplyPolicy(min_confidence=args.min_confidence, **days)


def _days(low: int, high: int) -> Callable[[str], int]:
    def days(text: str) -> int:
        found = days_argument(text)
        if not low <= found <= high:
            raise argparse.ArgumentTypeError(f"{text} days: it must be {low} to {high}")
        return found

    return days


def _confidence(text: str) -> Decimal:
    found = decimal_argument(text)
    if found > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a confidence, 0 to 1")
    return found
