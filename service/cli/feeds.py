"""`pricegrid events gaps|restarts|reset|resets`: feeds that need a look, and how they begin their numbers anew."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Sequence
from datetime import datetime

import pricegrid
from pricegrid.service.cli.client import add_where_arguments, answer, live_client
from pricegrid.service.cli.text import UsageError, limit_argument, print_json_list, print_table
from pricegrid.service.clock import instant_text, parse_as_of
from pricegrid.service.limits import LIST_DEFAULT

SOURCES = ("erp", "wms", "transit")
"""As `pricegrid.InventorySource` has them."""
_RUNS_SHOWN = 5


def add_feeds_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The subcommands."""
    for name, text in (
        ("gaps", "streams of events that miss some, with their numbers"),
        ("restarts", "streams whose source seems to have begun its numbers anew without a reset"),
        ("resets", "what was reset, when, and who asked for it"),
    ):
        listing = commands.add_parser(
            name, help=text, description=f"{text.capitalize()}.", allow_abbrev=False
        )
        add_where_arguments(listing)
        listing.add_argument(
            "--limit",
            metavar="N",
            type=limit_argument,
            default=LIST_DEFAULT,
            help="how many at most (default %(default)s)",
        )
    reset = commands.add_parser(
        "reset",
        help="let a source begin its numbers anew",
        description="Lets a source begin its numbers anew: its events that took effect at an instant or later count "
        "by new numbers, after all before.",
        allow_abbrev=False,
    )
    reset.add_argument("--source", required=True, choices=SOURCES, help="whose numbers")
    reset.add_argument("--sku", default="", metavar="SKU", help="of this item alone")
    reset.add_argument("--branch", default="", metavar="BRANCH", help="at this branch alone")
    reset.add_argument("--all", action="store_true", help="of every item at every branch")
    reset.add_argument("--from", dest="begins", metavar="INSTANT", type=_instant, help="default: now")
    reset.add_argument("--actor", default="", metavar="NAME", help="who asks (default: the user)")
    add_where_arguments(reset)


def run_feeds(args: argparse.Namespace) -> int:
    """0 when there is nothing to look after, or the reset was carried out; 1 otherwise."""
    if args.events_command == "reset" and bool(args.sku or args.branch) == args.all:
        raise UsageError("name an item or a branch, or say --all")

    def ask() -> int:
        with live_client(args) as client:
            match args.events_command:
                case "reset":
                    done = client.reset_streams(
                        pricegrid.InventorySource(args.source.upper()),
                        actor=args.actor or getpass.getuser(),
                        sku=args.sku,
                        branch=args.branch,
                        every=args.all,
                        begins=args.begins,
                        timeout_s=args.timeout,
                    )
                    return _print_resets(args, [done])
                case "resets":
                    return _print_resets(args, client.resets(limit=args.limit, timeout_s=args.timeout))
                case name:
                    is_restarts = name == "restarts"
                    found = client.feed_issues(restarts=is_restarts, limit=args.limit, timeout_s=args.timeout)
                    return _print_issues(args, found, is_restarts=is_restarts)

    return answer(ask)


def _print_issues(
    args: argparse.Namespace, issues: Sequence[pricegrid.FeedIssue], *, is_restarts: bool
) -> int:
    if args.json:
        print_json_list([_issue_json(issue) for issue in issues])
    elif not issues:
        print("no restarts" if is_restarts else "no gaps")
    elif is_restarts:
        rows = [
            (
                *_stream(issue),
                str(issue.restarts),
                str(issue.restart_sequence),
                instant_text(issue.restart_effective) if issue.restart_effective else "",
            )
            for issue in issues
        ]
        print_table(["SOURCE", "SKU", "BRANCH", "EVENTS", "LAST SEQUENCE", "TOOK EFFECT"], rows, right=(3, 4))
    else:
        rows_of_gaps = [(*_stream(issue), _runs(issue)) for issue in issues]
        print_table(["SOURCE", "SKU", "BRANCH", "MISSING"], rows_of_gaps)
    return 1 if issues else 0


def _stream(issue: pricegrid.FeedIssue) -> tuple[str, str, str]:
    return issue.source.value.lower(), issue.sku, issue.branch


def _runs(issue: pricegrid.FeedIssue) -> str:
    shown = [
        str(first) if first == last else f"{first}-{last}" for first, last in issue.missing[:_RUNS_SHOWN]
    ]
    more = len(issue.missing) - len(shown)
    return ", ".join(shown) + (f" and {more} runs more" if more else "")


def _issue_json(issue: pricegrid.FeedIssue) -> dict[str, object]:
    source, sku, branch = _stream(issue)
    return {
        "source": source,
        "sku": sku,
        "branch": branch,
        "missing": [list(run) for run in issue.missing],
        "restarts": issue.restarts,
        "restart_sequence": issue.restart_sequence,
        "restart_effective_time": instant_text(issue.restart_effective) if issue.restart_effective else None,
    }


def _print_resets(args: argparse.Namespace, resets: Sequence[pricegrid.StreamReset]) -> int:
    if args.json:
        print_json_list(
            [
                {
                    "reset_id": each.reset_id,
                    "at": instant_text(each.at),
                    "actor": each.actor,
                    "source": each.source.value.lower(),
                    "sku": each.sku,
                    "branch": each.branch,
                    "effective_time": instant_text(each.effective),
                    "streams": each.streams,
                }
                for each in resets
            ]
        )
    elif not resets:
        print("no resets")
    else:
        rows = [
            (
                instant_text(each.at),
                each.actor,
                each.source.value.lower(),
                each.sku or "all",
                each.branch or "all",
                instant_text(each.effective),
                str(each.streams),
            )
            for each in resets
        ]
        print_table(["AT", "ACTOR", "SOURCE", "SKU", "BRANCH", "FROM", "STREAMS"], rows, right=(6,))
    return 0


def _instant(text: str) -> datetime:
    try:
        found = parse_as_of(text)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not isinstance(found, datetime):
        raise argparse.ArgumentTypeError(
            f"{text!r} is a date; an instant such as 2026-03-02T06:00:00Z is needed"
        )
    return found
