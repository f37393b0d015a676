"""`pricegrid edi`: files of X12 and EDIFACT."""

import argparse
import dataclasses
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pricegrid.edi.envelope.answering import acknowledge
from pricegrid.edi.envelope.checking import check
from pricegrid.edi.envelope.model import CheckedGroup, CheckedInterchange, problem_text
from pricegrid.edi.profile import Profile, ProfileError, check_parties, read_profile
from pricegrid.edi.syntax.model import TOLERATED, Dialect, Fault
from pricegrid.edi.syntax.reading import read
from pricegrid.edi.syntax.writing import WritingError
from pricegrid.edi.tables.importing import import_file
from pricegrid.edi.tables.names import DatasetFolderError
from pricegrid.service.cli.text import UsageError
from pricegrid.service.clock import now_us

FAULTS_SHOWN_MAX = 1_000
"""Faults outside interchanges that are shown of a file."""


def add_edi_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `edi`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    action = actions.add_parser("check", help="check syntax and envelopes, and acknowledge what was sent")
    action.add_argument("file", type=Path, metavar="FILE", help="a file of X12 or EDIFACT")
    action.add_argument(
        "--ack", type=Path, metavar="OUT", help="write the acknowledgement there: 997 and TA1, or CONTRL"
    )
    action.add_argument(
        "--profile",
        type=Path,
        metavar="TOML",
        help="the partner's profile: from whom, and for whom, it must be",
    )
    action.add_argument("--json", action="store_true", help="print JSON")
    action = actions.add_parser("import", help="turn a partner's documents into tables of a dataset")
    action.add_argument("file", type=Path, metavar="FILE", help="a file of X12 or EDIFACT")
    action.add_argument("--profile", type=Path, metavar="TOML", required=True, help="the partner's profile")
    action.add_argument(
        "--dataset", type=Path, metavar="DIR", required=True, help="the dataset whose tables are written"
    )
    action.add_argument(
        "--names",
        type=Path,
        metavar="DIR",
        help="the dataset whose items, units and part numbers count (default: that of --dataset)",
    )
    action.add_argument(
        "--rejects", type=Path, metavar="CSV", help="where rejected rows go (default: DIR.rejects.csv)"
    )
    action.add_argument("--json", action="store_true", help="print JSON")


def run_edi(args: argparse.Namespace) -> int:
    """Runs an action: 0 all is accepted, 1 something is rejected, 2 bad usage."""
    if not args.file.is_file():
        raise UsageError(f"{args.file} is no file")
    return {"check": check_file, "import": import_tables}[args.action](args)


def check_file(args: argparse.Namespace) -> int:
    """Runs `pricegrid edi check`."""
    now = datetime.fromtimestamp(now_us() // 1_000_000, UTC)
    faults: list[Fault] = []
    documents: list[dict[str, Any]] = []
    answers: list[bytes] = []
    is_right = True
    profile = None if args.profile is None else _profile(args.profile)
    with args.file.open("rb") as stream:
        for found in check(read(stream)):
            if isinstance(found, Fault):
                is_right = is_right and found.code in TOLERATED
                if len(faults) < FAULTS_SHOWN_MAX:
                    faults.append(found)
                continue
            if profile is not None:
                check_parties(found, profile)
            document = _document(found)
            is_right = is_right and all(each["accepted"] for each in _sets(document)) and document["accepted"]
            documents.append(document)
            if args.ack is not None:
                answers.append(_answer(found, now))
    if args.ack is not None:
        args.ack.write_bytes(b"".join(answers))
    if args.json:
        told = {"interchanges": documents, "faults": [str(fault) for fault in faults]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(documents, faults)
    return 0 if is_right else 1


def import_tables(args: argparse.Namespace) -> int:
    """Runs `pricegrid edi import`."""
    profile = _profile(args.profile)
    rejects: Path = args.rejects or args.dataset.with_name(f"{args.dataset.name}.rejects.csv")
    try:
        found = import_file(args.file, profile, args.dataset, rejects, args.names)
    except DatasetFolderError as error:
        raise UsageError(str(error)) from None
    if args.json:
        print(json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False))
    else:
        for complaint in found.complaints:
            print(f"rejected: {complaint}")
        skipped = f", {found.skipped:,} of other kinds skipped" if found.skipped else ""
        told = (
            f"{found.prices:,} prices{skipped}, {found.stock:,} figures of stock, {found.receipts:,} receipts"
        )
        print(f"{found.documents:,} documents: {told}")
        if found.rejected_rows:
            print(f"{found.rejected_rows:,} rows rejected, see {rejects}")
    return 1 if found.rejected or found.rejected_rows else 0


def _profile(path: Path) -> Profile:
    try:
        return read_profile(path)
    except ProfileError as error:
        raise UsageError(str(error)) from None


def _answer(found: CheckedInterchange, now: datetime) -> bytes:
    try:
        return acknowledge(found, now)
    except WritingError as error:
        print(f"pricegrid edi: no acknowledgement of {found.control}: {error}", file=sys.stderr)
        return b""


def _sets(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for group in document["groups"] for each in group["sets"]]


def _document(found: CheckedInterchange) -> dict[str, Any]:
    header, is_x12 = found.header.segment, found.header.dialect is Dialect.X12
    return {
        "control": found.control,
        "dialect": found.header.dialect.value,
        "version": header.get(12) if is_x12 else f"{header.get(1)}:{header.get(1, 2)}",
        "sender": _party(found, 6, 2),
        "receiver": _party(found, 8, 3),
        "accepted": not found.is_rejected,
        "problems": [problem_text(problem, found.header.dialect) for problem in found.problems],
        "groups": [_group(found, group) for group in found.groups],
        "faults": [str(fault) for fault in found.faults],
        "faults_left_out": found.faults_left_out,
    }


def _party(found: CheckedInterchange, of_x12: int, of_edifact: int) -> str:
    """An id with its qualifier before it."""
    header = found.header.segment
    if found.header.dialect is Dialect.X12:
        parts = (header.get(of_x12 - 1).strip(), header.get(of_x12).strip())
    else:
        parts = (header.get(of_edifact, 2).strip(), header.get(of_edifact).strip())
    return ":".join(filter(None, parts))


def _group(found: CheckedInterchange, group: CheckedGroup) -> dict[str, Any]:
    dialect = found.header.dialect
    return {
        "kind": group.kind,
        "control": group.control,
        "verdict": "R" if found.is_rejected else group.verdict,
        "problems": [problem_text(problem, dialect) for problem in group.problems],
        "sets": [
            {
                "kind": each.kind,
                "control": each.control,
                "segments": each.segments,
                "accepted": found.is_accepted(group, each),
                "problems": [problem_text(problem, dialect) for problem in each.problems],
                "faults": [str(fault) for fault in each.faults],
            }
            for each in group.sets
        ],
    }


def _show(documents: list[dict[str, Any]], faults: list[Fault]) -> None:
    for fault in faults:
        print(fault)
    for found in documents:
        verdict = "accepted" if found["accepted"] else "rejected"
        dialect = {"x12": "X12", "edifact": "EDIFACT"}[found["dialect"]]
        route = f"from {found['sender']} to {found['receiver']}"
        _line("", f"interchange {found['control']} {route}, {dialect} {found['version']}", verdict, found)
        for group in found["groups"]:
            accepted = sum(each["accepted"] for each in group["sets"])
            if group["kind"]:
                told = f"{group['verdict']}, {accepted:,} of {len(group['sets']):,} sets accepted"
                _line("  ", f"group {group['kind']} {group['control']}", told, group)
            for each in group["sets"]:
                told = "accepted" if each["accepted"] else "rejected"
                _line("    ", f"{each['kind']} {each['control']}", told, each)
                for fault in each["faults"]:
                    print(f"      {fault}")
        for fault in found["faults"]:
            print(f"  {fault}")
        if found["faults_left_out"]:
            print(f"  and {found['faults_left_out']:,} more faults")


def _line(indent: str, name: str, verdict: str, document: dict[str, Any]) -> None:
    why = f" ({'; '.join(document['problems'])})" if document["problems"] else ""
    print(f"{indent}{name}: {verdict}{why}")
