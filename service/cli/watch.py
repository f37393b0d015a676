"""`pricegrid availability --watch`: what is free, at once and whenever it changes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import pricegrid
from pricegrid.service.cli.client import answer, freshness_json, live_client
from pricegrid.service.cli.text import (
    UsageError,
    decimal_argument,
    decimal_or_none,
    decimal_text,
    item_text,
    uom_text,
)
from pricegrid.service.clock import instant_text


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of watching."""
    group = parser.add_argument_group("watching")
    group.add_argument(
        "--watch", action="store_true", help="go on, and print a line (with --json an object) at every change"
    )
    group.add_argument(
        "--for",
        metavar="S",
        dest="watch_s",
        type=float,
        help="end after S seconds (default: when interrupted)",
    )
    group.add_argument(
        "--threshold",
        metavar="QTY",
        type=decimal_argument,
        help="print only when what is available reaches QTY, falls below it, or turns known or unknown",
    )


def run_watch(args: argparse.Namespace, supply: pricegrid.SupplyPolicy) -> int:
    """Prints changes until the time is over, then 0; 1 when the server ends it."""
    for option, said in (
        ("--as-of", args.as_of),
        ("--snapshot-version", args.snapshot_version),
        ("--explain", args.explain),
    ):
        if said:
            raise UsageError(f"--watch tells what is free now: it goes without {option}")

    def ask() -> int:
        watched = [pricegrid.WatchedLine(line, args.threshold) for line in args.line]
        with (
            live_client(args) as client,
            client.watch_availability(
                watched,
                customer_id=args.customer,
                branches=args.branch,
                supply=supply,
                exclude_reservation=args.exclude_reservation,
                timeout_s=args.watch_s,
            ) as watch,
        ):
            for update in watch:
                for change in update.changes:
                    print(
                        _json(args.line, update, change) if args.json else _text(args.line, update, change),
                        flush=True,
                    )
        return 0

    return answer(ask)


def _json(
    lines: Sequence[pricegrid.Line], update: pricegrid.WatchUpdate, change: pricegrid.AvailabilityChange
) -> str:
    line, pair = lines[change.line_index], change.availability
    row = {
        "sku": item_text(line, change.named_items),
        "branch": pair.branch,
        "status": pair.status.value,
        "available": decimal_or_none(pair.available),
        "shortage": decimal_or_none(pair.shortage),
        **freshness_json(pair.freshness),
        "quantity": decimal_text(line.quantity),
        "uom": uom_text(line, change.named_items) or None,
        "as_of": instant_text(update.as_of),
        "snapshot_version": update.snapshot_version,
    }
    return json.dumps(row, ensure_ascii=False)


def _text(
    lines: Sequence[pricegrid.Line], update: pricegrid.WatchUpdate, change: pricegrid.AvailabilityChange
) -> str:
    line, pair = lines[change.line_index], change.availability
    freshness = pair.freshness
    states = ", ".join(
        f"{name} {source.state.value}"
        for name, source in (("erp", freshness.erp), ("wms", freshness.wms), ("transit", freshness.transit))
    )
    figures = (
        f"{decimal_or_none(pair.available)} available, {decimal_or_none(pair.shortage)} short"
        if pair.available is not None
        else pair.status.value
    )
    unit = uom_text(line, change.named_items)
    item = f"{item_text(line, change.named_items)} {unit}".rstrip()
    return f"{instant_text(update.as_of)}  {item} at {pair.branch}: {figures} ({states})"
