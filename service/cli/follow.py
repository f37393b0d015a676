"""`--follow`, `--pin`, `--canary` and `--read-only`: a server whose snapshots come from object storage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pricegrid.loaders.objects.urls import snapshot_version, storage_url
from pricegrid.service.cli.text import UsageError

if TYPE_CHECKING:
    from pricegrid.service.process.follower import FollowOptions


def add_follow_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of following."""
    parser.add_argument(
        "--follow",
        metavar="URL",
        type=storage_url,
        help="take the snapshots that `load --publish` or `snapshots push` has put there into the store: s3://, gs://, "
        "az://, file:// or https:// (docs/scale.md)",
    )
    parser.add_argument(
        "--pin", metavar="VERSION", type=snapshot_version, help="follow, but serve this snapshot and no other"
    )
    parser.add_argument(
        "--canary", action="store_true", help="follow canaries too (`snapshots push --canary`)"
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="have no live state: stock is that of the snapshot, reservations and events are refused",
    )


def follow_from(args: argparse.Namespace) -> FollowOptions | None:
    """What to follow, None for nothing. Raises UsageError."""
    if args.follow is None:
        if args.pin is not None or args.canary:
            raise UsageError("--pin and --canary say what of --follow is served, and none is given")
        return None
    if args.pin is not None and args.canary:
        raise UsageError("--pin names the snapshot, so there is no canary: give one of them")
    if args.snapshot_keys is None and args.follow.startswith("http://"):
        raise UsageError("--follow http://... is not encrypted: give --snapshot-keys, or https://")
    from pricegrid.service.process.follower import FollowOptions

    return FollowOptions(args.follow, args.pin or "", args.canary)


def check_read_only(args: argparse.Namespace) -> bool:
    """Whether there is to be no live state. Raises UsageError if other options need one."""
    if args.read_only and args.redis_url:
        raise UsageError("--read-only has no live state that --redis-url could share: give one of them")
    return bool(args.read_only)
