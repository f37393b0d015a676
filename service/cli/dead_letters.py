"""`pricegrid dead-letters`: what could not be applied, and what becomes of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pricegrid
from pricegrid.service.cli.client import add_where_arguments, answer, live_client
from pricegrid.service.cli.text import UsageError, limit_argument, print_json_list, print_table
from pricegrid.service.clock import instant_text
from pricegrid.service.limits import LIST_DEFAULT, LIST_MAX


def add_dead_letters_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `dead-letters`."""
    commands = parser.add_subparsers(dest="dead_letters_command", required=True, metavar="COMMAND")
    for name, text in (
        ("list", "the oldest first, each with its reason"),
        ("show", "one of them, with all that was said"),
        ("replay", "try them again: those that can be applied now are gone"),
        ("drop", "forget them"),
    ):
        command = commands.add_parser(
            name, help=text, description=f"{text.capitalize()}.", allow_abbrev=False
        )
        if name == "show":
            command.add_argument("id", metavar="ID", help="a dead letter")
        elif name != "list":
            command.add_argument("ids", metavar="ID", nargs="*", help="a dead letter")
            command.add_argument("--all", action="store_true", help=f"all of them, up to {LIST_MAX:,}")
        add_where_arguments(command)
        if name != "show":
            command.add_argument(
                "--origin", metavar="ORIGIN", default="", help="only those from `events` or `erp`"
            )
        if name == "replay":
            command.add_argument(
                "--erp-config",
                metavar="FILE",
                type=Path,
                help="with --store: how to reach the ERP whose refused answers are asked for again",
            )
        if name == "list":
            command.add_argument(
                "--limit",
                metavar="N",
                type=limit_argument,
                default=LIST_DEFAULT,
                help="how many at most (default %(default)s)",
            )


def run_dead_letters(args: argparse.Namespace) -> int:
    """0 when it was done for all of them, 1 otherwise."""
    if args.dead_letters_command in {"replay", "drop"} and bool(args.ids) == args.all:
        raise UsageError("name dead letters, or say --all")

    def ask() -> int:
        with live_client(args) as client:
            match args.dead_letters_command:
                case "list":
                    found = client.dead_letters(origin=args.origin, limit=args.limit, timeout_s=args.timeout)
                    return _print(args, found, 0)
                case "show":
                    return _show(args, client.dead_letter(args.id, timeout_s=args.timeout))
                case "replay":
                    return _replay(args, client, _ids(args, client))
                case _:
                    return _drop(args, client, _ids(args, client))

    return answer(ask)


def letter_json(letter: pricegrid.DeadLetter) -> dict[str, object]:
    """A dead letter as `--json` prints it."""
    return {
        "dead_letter_id": letter.dead_letter_id,
        "received": instant_text(letter.received),
        "origin": letter.origin,
        "reason": letter.reason,
        "detail": letter.detail,
        "replays": letter.replays,
        "count": letter.count,
        "last_received": instant_text(letter.last_received),
        "payload": letter.payload,
    }


def _ids(args: argparse.Namespace, client: pricegrid.Client) -> list[str]:
    if not args.all:
        return list(args.ids)
    found = client.dead_letters(origin=args.origin, limit=LIST_MAX, timeout_s=args.timeout)
    return [letter.dead_letter_id for letter in found]


def _replay(args: argparse.Namespace, client: pricegrid.Client, ids: list[str]) -> int:
    left = client.replay_dead_letters(ids, timeout_s=args.timeout) if ids else ()
    if not args.json:
        print(f"{len(set(ids)) - len(left):,} replayed, {len(left):,} still can't be applied")
    return _print(args, left, 1 if left else 0) if left or args.json else 0


def _drop(args: argparse.Namespace, client: pricegrid.Client, ids: list[str]) -> int:
    dropped = client.drop_dead_letters(ids, timeout_s=args.timeout) if ids else 0
    if args.json:
        print_json_list([{"dropped": dropped}])
    else:
        print(f"{dropped:,} dropped")
    return 0 if dropped == len(set(ids)) else 1


def _print(args: argparse.Namespace, letters: Sequence[pricegrid.DeadLetter], code: int) -> int:
    if args.json:
        print_json_list([letter_json(letter) for letter in letters])
    elif letters:
        rows = [
            (
                letter.dead_letter_id,
                instant_text(letter.received),
                letter.origin,
                letter.reason,
                str(letter.count),
                str(letter.replays),
                letter.detail,
            )
            for letter in letters
        ]
        print_table(["ID", "RECEIVED", "ORIGIN", "REASON", "COUNT", "REPLAYS", "DETAIL"], rows, right=(4, 5))
    else:
        print("no dead letters")
    return code


def _show(args: argparse.Namespace, letter: pricegrid.DeadLetter) -> int:
    if args.json:
        print_json_list([letter_json(letter)])
        return 0
    print(f"{letter.dead_letter_id}, from {letter.origin}, {instant_text(letter.received)}")
    print(f"{letter.reason}: {letter.detail}")
    print(json.dumps(letter.payload, ensure_ascii=False, indent=2))
    return 0
