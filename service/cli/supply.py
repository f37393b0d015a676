"""The options that say which supply counts, shared by `availability` and `promise`."""

import argparse

from pricegrid import SupplyPolicy
from pricegrid.atp.model import PolicyError
from pricegrid.atp.model import SupplyPolicy as CheckedPolicy
from pricegrid.requests import quantity_micros
from pricegrid.service.cli.text import UsageError, days_argument, decimal_argument


def add_supply_arguments(parser: argparse.ArgumentParser, *, past_due: bool) -> None:
    """Adds the options; those about late receipts with `past_due`."""
    parser.add_argument(
        "--customer", metavar="ID", default="", help="who asks: what they may not buy is not there"
    )
    parser.add_argument(
        "--min-confidence",
        metavar="C",
        type=decimal_argument,
        default=0,
        help="leave out receipts of less confidence, 0 to 1 (default 0)",
    )
    parser.add_argument(
        "--horizon-days", metavar="N", type=days_argument, help="days to look at, 1 to 730 (default 90)"
    )
    if past_due:
        parser.add_argument(
            "--past-due-offset-days",
            metavar="N",
            type=days_argument,
            help="a late receipt counts N days from now (default 1)",
        )
        parser.add_argument(
            "--past-due-max-days",
            metavar="N",
            type=days_argument,
            help="a receipt more than N days late is dropped (default 30)",
        )
    parser.add_argument(
        "--exclude-reservation", metavar="ID", default="", help="a reservation of one's own, not to count"
    )
    parser.add_argument("--explain", action="store_true", help="say what was added up")


def supply_from(args: argparse.Namespace) -> SupplyPolicy:
    """The policy that the options say; raises `UsageError` for one that makes no sense."""
    days = {
        name: value
        for name in ("horizon_days", "past_due_offset_days", "past_due_max_days")
        if (value := getattr(args, name, None)) is not None
    }
    try:
        CheckedPolicy(min_confidence_micros=quantity_micros(args.min_confidence), **days)
    except PolicyError as error:
        raise UsageError(str(error)) from error
    return SupplyPolicy(min_confidence=args.min_confidence, **days)
