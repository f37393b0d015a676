"""`pricegrid snapshots`: what a store holds, what changed, going back, making room, and object storage."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TextIO

from pricegrid.columnar.instants import us_of
from pricegrid.loaders.arguments import ROWS_SHOWN
from pricegrid.loaders.arguments import add_snapshots_arguments as add_snapshots_arguments  # noqa: PLC0414 -- as before
from pricegrid.loaders.errors import LoadError
from pricegrid.loaders.gates.diff import diff, diff_text
from pricegrid.loaders.gates.limits import DEFAULT_LIMITS
from pricegrid.loaders.gates.running import Tools, open_side
from pricegrid.loaders.publish import default_functions, utc_now
from pricegrid.loaders.store.signing import read_trusted_keys
from pricegrid.loaders.store.snapshot import (
    activate,
    current_version,
    list_snapshots,
    loader_lock,
    open_snapshot,
    prune,
)

_CURRENT = "current"


def snapshots_list(store: Path) -> list[dict[str, object]]:
    """The snapshots of a store, oldest first, JSON-able."""
    return [asdict(info) for info in list_snapshots(store)]


def snapshots_activate(store: Path, version: str, snapshot_keys: Path | None = None) -> dict[str, object]:
    """Verifies every byte of a snapshot, and its signature if keys are given, then serves it. Raises SnapshotError and
    OSError, and changes nothing, if it isn't sound."""
    open_snapshot(store, version, keys=None if snapshot_keys is None else read_trusted_keys(snapshot_keys))
    activate(store, version)
    return {"active": version}


def snapshots_diff(
    store: Path, old: str, new: str, tools: Tools, as_of_us: int, rows_max: int = ROWS_SHOWN
) -> dict[str, object]:
    """What changed between two snapshots (`current` is the active one): see `loaders.gates.diff`."""
    names = [current_version(store) if name == _CURRENT else name for name in (old, new)]
    before, after = (open_side(store, name) for name in names)
    return diff(before, after, tools, DEFAULT_LIMITS, as_of_us, rows_max)


def snapshots_prune(store: Path, keep: int) -> dict[str, object]:
    """Removes all but the newest `keep` snapshots and the active one."""
    with loader_lock(store):
        return {"removed": prune(store, keep), "active": current_version(store)}


def run_snapshots(
    args: argparse.Namespace,
    tools: Tools | None = None,
    *,
    clock: Callable[[], datetime] = utc_now,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Runs `pricegrid snapshots`: 0 done, 1 not possible."""
    out, err = out or sys.stdout, err or sys.stderr
    try:
        if args.action == "list":
            answer: object = snapshots_list(args.store)
        elif args.action == "diff":
            tools = default_functions().tools if tools is None else tools
            as_of_us = us_of(clock())
            answer = snapshots_diff(args.store, args.old, args.new, tools, as_of_us, args.rows)
        elif args.action in {"push", "pull"}:
            from pricegrid.loaders.objects.commands import snapshots_pull, snapshots_push

            answer = snapshots_push(args) if args.action == "push" else snapshots_pull(args)
        elif args.action == "prune":
            answer = snapshots_prune(args.store, args.keep)
        else:
            answer = snapshots_activate(args.store, args.version, args.snapshot_keys)
    except (LoadError, OSError) as error:
        print(f"pricegrid snapshots: {error}", file=err)
        return 1
    print(json.dumps(answer, indent=2) if args.json else _text(answer), file=out)
    return 0


def _text(answer: object) -> str:
    if isinstance(answer, list):
        lines = [
            f"{'*' if row['active'] else ' '} {row['version']}  {row['size_bytes']:>15,} bytes"
            + (f", {row['shared_bytes']:,} of them shared with others" if row["shared_bytes"] else "")
            for row in answer
        ]
        return "\n".join(lines) or "no snapshots"
    if not isinstance(answer, dict):
        raise TypeError(f"no text for {answer!r}")
    if "sent_bytes" in answer or "fetched_bytes" in answer:
        from pricegrid.loaders.objects.commands import pulled_text, pushed_text

        return pushed_text(answer) if "sent_bytes" in answer else pulled_text(answer)
    if "removed" in answer and "active" in answer:
        removed = [f"removed {version}" for version in answer["removed"]] or ["nothing to remove"]
        return "\n".join([*removed, f"active: {answer['active']}"])
    if "active" in answer:
        return f"active: {answer['active']}"
    return "\n".join([f"{answer['old']} -> {answer['new']}:", *diff_text(answer)])
