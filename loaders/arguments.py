"""The options of `pricegrid load` and `pricegrid snapshots`; apart from what they run, which takes longer to import."""

import argparse
from decimal import Decimal, InvalidOperation
from pathlib import Path

from pricegrid.loaders.gates.limits import DEFAULT_LIMITS, SAMPLE_MOVE_PCT
from pricegrid.loaders.objects.urls import snapshot_version, storage_url
from pricegrid.loaders.read.arguments import add_dialect_arguments
from pricegrid.loaders.tables import TABLES

ROWS_SHOWN = 1_000
_URL_HELP = (
    "s3://BUCKET/PATH, gs://BUCKET/PATH, az://ACCOUNT/CONTAINER/PATH, file:///PATH, or https:// to pull"
)


def _percent(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _add_gate_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is refused (the running snapshot stays)")
    limits = DEFAULT_LIMITS
    group.add_argument(
        "--max-reject-pct",
        type=_percent,
        metavar="PCT",
        default=limits.max_reject_pct,
        help="refuse if a table rejects more of its rows (default %(default)s)",
    )
    group.add_argument(
        "--max-vanished-pct",
        type=_percent,
        metavar="PCT",
        default=limits.max_vanished_pct,
        help="refuse if more rows of a table of the running snapshot are gone (default %(default)s)",
    )
    group.add_argument(
        "--max-change-pct",
        type=_percent,
        metavar="PCT",
        help="refuse if the value of an entry moved by more (default: no limit), and count a sampled price that did "
        f"(default {SAMPLE_MOVE_PCT})",
    )
    group.add_argument(
        "--max-sample-pct",
        type=_percent,
        metavar="PCT",
        default=limits.max_sample_pct,
        help="refuse if more sampled answers are lost, in another currency, from another book, moved too far or of "
        "unknown availability (default %(default)s)",
    )
    group.add_argument(
        "--allow-absent",
        action="append",
        choices=tuple(TABLES),
        metavar="TABLE",
        default=[],
        help="this table may be missing, though the running snapshot has it; may be repeated",
    )
    group.add_argument("--force", action="store_true", help="publish whatever the gates say")


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `pricegrid load`."""
    parser.add_argument(
        "dataset", type=Path, metavar="DATASET", help="directory of NAME.csv, .csv.gz, .parquet or .xlsx"
    )
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="snapshot store")
    parser.add_argument(
        "--time-zone", default="UTC", metavar="ZONE", help="zone of business dates (default UTC)"
    )
    add_dialect_arguments(parser)
    _add_gate_arguments(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="do all but publish: the report, the gates, and what would change",
    )
    parser.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="remove older snapshots than the N newest, never the active one",
    )
    parser.add_argument(
        "--sign-key",
        type=Path,
        metavar="FILE",
        help="sign the snapshot with this private key (`pricegrid token keys` makes one)",
    )
    parser.add_argument(
        "--publish",
        type=storage_url,
        metavar="URL",
        help="push the snapshot to this object storage too, for servers that follow it (docs/scale.md)",
    )
    parser.add_argument("--delta", action="store_true", help="DATASET holds changed price_entries only")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    group = parser.add_argument_group("from an ERP (docs/erp.md)")
    group.add_argument(
        "--from",
        dest="source",
        choices=("tryton", "http_json"),
        help="read the tables from an ERP first; DATASET is where they are written",
    )
    group.add_argument("--erp-config", type=Path, metavar="FILE", help="how to reach the ERP")
    group.add_argument(
        "--mastering", type=Path, metavar="FILE", help="which ERP owns which tables; others' are left out"
    )


def _add_push_arguments(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    there = actions.add_parser(
        "push", help="have the servers that follow an object storage serve this snapshot"
    )
    there.add_argument("url", metavar="URL", type=storage_url, help=_URL_HELP)
    there.add_argument(
        "--version", type=snapshot_version, metavar="VERSION", help="another one than the active snapshot"
    )
    there.add_argument("--canary", action="store_true", help="only those that serve with --canary")
    there.add_argument("--back", action="store_true", help="though it is older than the one that they serve")
    there.add_argument(
        "--sign-key",
        type=Path,
        metavar="FILE",
        help="sign that it is to be served; `load` signed it with the same key",
    )
    return there


def _add_pull_arguments(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    here = actions.add_parser("pull", help="fetch and activate the snapshot that an object storage has")
    here.add_argument("url", metavar="URL", type=storage_url, help=_URL_HELP)
    here.add_argument(
        "--version", type=snapshot_version, metavar="VERSION", help="another one than the storage says"
    )
    here.add_argument("--canary", action="store_true", help="a canary too, if that is the newest")
    here.add_argument(
        "--snapshot-keys", type=Path, metavar="FILE", help="only what one of these keys has signed (JWKS)"
    )
    here.add_argument(
        "--accept-older",
        action="store_true",
        help="though this store has seen a newer one there, or another storage in its place",
    )
    here.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="remove older snapshots than the N newest, never the active one",
    )
    return here


def add_snapshots_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `pricegrid snapshots`."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="list|diff|activate|prune|push|pull"
    )
    listing = actions.add_parser("list", help="snapshots of the store, oldest first")
    difference = actions.add_parser("diff", help="what changed from OLD to NEW, and what customers will see")
    difference.add_argument("old", metavar="OLD", help="a version, or current")
    difference.add_argument("new", metavar="NEW", help="a version, or current")
    difference.add_argument(
        "--rows", type=int, default=ROWS_SHOWN, help=f"rows to show (default {ROWS_SHOWN})"
    )
    back = actions.add_parser("activate", help="serve this snapshot from now on")
    back.add_argument("version", metavar="VERSION")
    back.add_argument(
        "--snapshot-keys", type=Path, metavar="FILE", help="only if one of these keys has signed it (JWKS)"
    )
    room = actions.add_parser("prune", help="remove old snapshots, never the active one")
    room.add_argument("--keep", type=_count, required=True, metavar="N", help="how many of the newest stay")
    there, here = _add_push_arguments(actions), _add_pull_arguments(actions)
    for action in (listing, difference, back, room, there, here):
        action.add_argument("--store", type=Path, required=True, metavar="DIR", help="snapshot store")
        action.add_argument("--json", action="store_true", help="print JSON")
