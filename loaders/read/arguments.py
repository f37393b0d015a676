"""The options that say how files are written, the same for every command that reads a dataset."""

import argparse

from pricegrid.loaders.read.dialect import DATE_ORDERS, DECIMALS, ENCODINGS, SEPARATORS, Dialect


def add_dialect_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    group = parser.add_argument_group("how the files are written (else found out, or said by dataset.toml)")
    group.add_argument(
        "--separator", choices=tuple(SEPARATORS), help="what separates the fields of a CSV file"
    )
    group.add_argument(
        "--encoding", choices=tuple(ENCODINGS), metavar="NAME", help=f"one of {', '.join(ENCODINGS)}"
    )
    group.add_argument("--decimal", choices=DECIMALS, help="the decimal sign: what 1.234 means")
    group.add_argument("--dates", choices=DATE_ORDERS, help="what 01/02/2026 means")


def stated_dialect(args: argparse.Namespace) -> Dialect:
    """What the options say."""
    return Dialect(args.separator, args.encoding, args.decimal, args.dates)
