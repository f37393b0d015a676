"""`pricegrid flags`: which customers, items and books are flagged; every line they touch is an exception (P13)."""

import argparse
import json
import sys
from pathlib import Path

from pricegrid.erp.operator_flags import KINDS, Flag, OperatorFlags
from pricegrid.service.cli.text import UsageError, print_json_list, print_table
from pricegrid.service.clock import instant_of_us, instant_text, now_us


def add_flags_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `flags`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in (
        ("list", "list what is flagged"),
        ("set", "flag a customer, an item or a book, of running servers too"),
        ("clear", "take a flag away"),
    ):
        action = actions.add_parser(name, help=summary)
        action.add_argument(
            "--store", metavar="DIR", type=Path, required=True, help="the store that is served"
        )
        action.add_argument("--json", action="store_true", help="print JSON")
        if name != "list":
            add_flag_arguments(action, is_new=name == "set")


def add_flag_arguments(action: argparse.ArgumentParser, *, is_new: bool) -> None:
    """What is flagged, and for a new flag why."""
    action.add_argument("kind", choices=KINDS)
    action.add_argument("name", metavar="NAME", help="customer id, SKU or book id")
    if is_new:
        action.add_argument("--reason", default="", help="why, for those who list flags")


def run_flags(args: argparse.Namespace) -> int:
    """Runs an action: 0 done, 1 there was no such flag, or it is not possible."""
    if not args.store.is_dir():
        raise UsageError(f"{args.store} is no directory")
    try:
        return {"list": list_flags, "set": set_flag, "clear": clear_flag}[args.action](args)
    except OSError as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def list_flags(args: argparse.Namespace) -> int:
    """Prints all flags."""
    rows = [
        (
            flag.kind,
            flag.name,
            instant_text(instant_of_us(flag.since_us)),
            flag.snapshot_version or "-",
            flag.reason,
        )
        for flag in OperatorFlags(args.store).read().flags
    ]
    if args.json:
        names = ("kind", "name", "since", "snapshot_version", "reason")
        print_json_list(dict(zip(names, row, strict=True)) for row in rows)
    else:
        print_table(("KIND", "NAME", "SINCE", "ONLY SNAPSHOT", "REASON"), rows)
    return 0


def set_flag(args: argparse.Namespace) -> int:
    """Sets a flag."""
    name = args.name.strip()
    OperatorFlags(args.store).flag(Flag(args.kind, name, now_us(), args.reason))
    _say(args, {"flagged": name}, f"{args.kind} {name} is flagged")
    return 0


def clear_flag(args: argparse.Namespace) -> int:
    """Takes a flag away; 1 where there was none."""
    name = args.name.strip()
    there = OperatorFlags(args.store).unflag(args.kind, name)
    _say(
        args,
        {"unflagged": name if there else None},
        f"{args.kind} {name} {'is' if there else 'was'} not flagged",
    )
    return 0 if there else 1


def _say(args: argparse.Namespace, document: dict[str, object], words: str) -> None:
    print(json.dumps(document, ensure_ascii=False) if args.json else words)
