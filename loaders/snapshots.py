"""`pricegrid snapshots list|diff|activate`: what a store holds, what changed, and going back."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from loaders.errors import LoadError
from loaders.gates import Decode, compare, decode_running
from loaders.snapshot import activate, current_version, list_snapshots, open_snapshot

ROWS_SHOWN = 1_000
_CURRENT = "current"


def snapshots_list(store: Path) -> list[dict[str, object]]:
    """The snapshots of a store, oldest first, JSON-able."""
    return [asdict(info) for info in list_snapshots(store)]


def snapshots_activate(store: Path, version: str) -> dict[str, object]:
    """Verifies every byte of a snapshot, then serves it. Raises SnapshotError and changes nothing if it isn't sound."""
    open_snapshot(store, version)
    activate(store, version)
    return {"active": version}


def snapshots_diff(
    store: Path, old: str, new: str, decode: Decode = decode_running, rows_max: int = ROWS_SHOWN
) -> dict[str, object]:
    """What changed between two snapshots (`current` is the active one): counts, counts by book, and the first rows."""
    names = [current_version(store) if name == _CURRENT else name for name in (old, new)]
    one, other = (decode(open_snapshot(store, name).arrays) for name in names)
    return {"old": names[0], "new": names[1], **compare(one, other, rows_max)}


def add_snapshots_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `pricegrid snapshots`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|diff|activate")
    listing = actions.add_parser("list", help="snapshots of the store, oldest first")
    diff = actions.add_parser("diff", help="what changed from OLD to NEW")
    diff.add_argument("old", metavar="OLD", help="a version, or current")
    diff.add_argument("new", metavar="NEW", help="a version, or current")
    diff.add_argument("--rows", type=int, default=ROWS_SHOWN, help=f"rows to show (default {ROWS_SHOWN})")
    back = actions.add_parser("activate", help="serve this snapshot from now on")
    back.add_argument("version", metavar="VERSION")
    for action in (listing, diff, back):
        action.add_argument("--store", type=Path, required=True, metavar="DIR", help="snapshot store")
        action.add_argument("--json", action="store_true", help="print JSON")


def run_snapshots(
    args: argparse.Namespace,
    decode: Decode = decode_running,
    *,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Runs `pricegrid snapshots`: 0 done, 1 not possible."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        if args.action == "list":
            answer: object = snapshots_list(args.store)
        elif args.action == "diff":
            answer = snapshots_diff(args.store, args.old, args.new, decode, args.rows)
        else:
            answer = snapshots_activate(args.store, args.version)
    except LoadError as error:
        print(f"pricegrid snapshots: {error}", file=err)
        return 1
    print(json.dumps(answer, indent=2) if args.json else _text(answer), file=out)
    return 0


def _text(answer: object) -> str:
    if isinstance(answer, list):
        lines = [
            f"{'*' if row['active'] else ' '} {row['version']}  {row['size_bytes']:>15,} bytes"
            for row in answer
        ]
        return "\n".join(lines) or "no snapshots"
    if not isinstance(answer, dict):
        raise TypeError(f"no text for {answer!r}")
    if "active" in answer:
        return f"active: {answer['active']}"
    lines = [f"{answer['old']} -> {answer['new']}: {answer['added']} added, {answer['removed']} removed, "]
    lines[0] += f"{answer['changed']} changed"
    for row in answer["rows"]:
        old, new = (f"{side['method']} {side['value']}" if side else "-" for side in (row["old"], row["new"]))
        target = row["sku"] or row["product_group"] or "every item"
        lines.append(
            f"{row['change']:<8} {row['book_id']} {target} from {row['min_quantity']}: {old} -> {new}"
        )
    return "\n".join(lines)
