"""`pricegrid availability`: what is free at which branch, now and from day to day."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pricegrid
from pricegrid.service.cli.client import add_asking_arguments, answer, asking_client, freshness_json
from pricegrid.service.cli.supply import add_supply_arguments, supply_from
from pricegrid.service.cli.text import (
    UsageError,
    decimal_or_none,
    decimal_text,
    item_text,
    parse_line,
    print_candidates,
    print_json_list,
    print_table,
    uom_text,
)
from pricegrid.service.cli.watch import add_watch_arguments, run_watch
from pricegrid.service.clock import instant_text

_STEPS_SHOWN = 3


def add_availability_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `availability`."""
    add_asking_arguments(parser)
    parser.add_argument(
        "--branch",
        metavar="BRANCH",
        action="append",
        default=[],
        help="branch to look at; may be repeated (default: every branch)",
    )
    add_supply_arguments(parser, past_due=True)
    add_watch_arguments(parser)
    parser.add_argument(
        "line",
        nargs="+",
        type=parse_line,
        metavar="SKU[:QTY[:UOM]]",
        help="a line; QTY is 1 and UOM the base unit if not said",
    )


def run_availability(args: argparse.Namespace) -> int:
    """Prints availability; 0 when it is known for every line at every branch, 1 otherwise."""
    supply = supply_from(args)
    if (args.watch_s is not None or args.threshold is not None) and not args.watch:
        raise UsageError("--for and --threshold go with --watch")
    if args.watch:
        return run_watch(args, supply)

    def ask() -> int:
        with asking_client(args, small=(len(args.line), len(args.branch) or None)) as client:
            result = client.check_availability(
                args.line,
                customer_id=args.customer,
                branches=args.branch,
                as_of=args.as_of,
                supply=supply,
                projected=True,
                explain=args.explain,
                exclude_reservation=args.exclude_reservation,
                snapshot_version=args.snapshot_version,
                timeout_s=args.timeout,
            )
        if args.json:
            print_json_list(json_rows(args.line, result))
        else:
            print_availability(args.line, result)
        known = all(
            pair.status is pricegrid.AvailabilityStatus.OK for line in result.lines for pair in line.branches
        )
        return 0 if known else 1

    return answer(ask)


_LIMITS = {
    "UNIT": "but no whole unit",
    "ORDER_MULTIPLE": "but no whole order multiple",
    "MINIMUM_SHIPMENT": "but less than a shipment",
}


def json_rows(
    lines: Sequence[pricegrid.Line], result: pricegrid.AvailabilityResult
) -> Iterator[dict[str, object]]:
    """The rows of `availability --json`, per line and branch, in the order of docs/api.md, "The command"."""
    for line, found in zip(lines, result.lines, strict=True):
        for pair in found.branches:
            row: dict[str, object] = {
                "sku": item_text(line, found.named_items),
                "branch": pair.branch,
                "status": pair.status.value,
                "available": decimal_or_none(pair.available),
                "shortage": decimal_or_none(pair.shortage),
                "projected": [
                    {
                        "date": step.date.isoformat(),
                        "atp": decimal_text(step.atp),
                        "balance": decimal_text(step.balance),
                    }
                    for step in pair.projected
                ],
                **freshness_json(pair.freshness),
                "quantity": decimal_text(line.quantity),
                "uom": uom_text(line, found.named_items) or None,
                "dropped_receipts": pair.dropped_receipts,
                "limited_by": pair.limited_by and pair.limited_by.value,
                "as_of": instant_text(result.as_of),
                "snapshot_version": result.snapshot_version,
            }
            if pair.explanation is not None:
                row["explanation"] = pair.explanation
            yield row


def print_availability(lines: Sequence[pricegrid.Line], result: pricegrid.AvailabilityResult) -> None:
    """The table of `availability`, and what was added up if that was asked."""
    header = ["SKU", "QUANTITY", "UOM", "BRANCH", "AVAILABLE", "SHORTAGE", "STATUS", "ERP", "WMS", "TRANSIT"]
    rows = []
    for line, found in zip(lines, result.lines, strict=True):
        names = found.named_items
        asked = (item_text(line, names), decimal_text(line.quantity), uom_text(line, names) or "-")
        rows += [(*asked, pair.branch, *_cells(pair)) for pair in found.branches]
        if len(found.branches) > 1:
            figures = (decimal_or_none(found.available) or "?", decimal_or_none(found.shortage) or "?")
            rows.append((*asked, "all", *figures, found.status.value, "", "", "", ""))
    print_table([*header, "LATER"], rows, right=(1, 4, 5))
    age_s = int(result.snapshot_age.total_seconds())
    print(f"\nas of {instant_text(result.as_of)}, snapshot {result.snapshot_version}, {age_s} s old")
    print_candidates(lines, [found.named_items for found in result.lines])
    for found in result.lines:
        for pair in found.branches:
            if pair.explanation is not None:
                print_explanation(pair.explanation)


def _cells(pair: pricegrid.BranchAvailability) -> tuple[str, ...]:
    freshness = pair.freshness
    return (
        decimal_or_none(pair.available) or "?",
        decimal_or_none(pair.shortage) or "?",
        limit_text(pair.limited_by) or pair.status.value,
        *(age_text(source) for source in (freshness.erp, freshness.wms, freshness.transit)),
        _later(pair),
    )


def limit_text(limit: pricegrid.PromiseLimit | None) -> str:
    """What leaves nothing to promise; '' for nothing."""
    return f"OK, {_LIMITS[limit.name]}" if limit else ""


def age_text(source: pricegrid.SourceFreshness) -> str:
    """State and age of a source as hours:minutes."""
    if source.age is None:
        return source.state.value
    hours, rest = divmod(source.age, timedelta(hours=1))
    return f"{source.state.value} {hours}:{rest // timedelta(minutes=1):02}"


def _later(pair: pricegrid.BranchAvailability) -> str:
    """The next days on which more or less can be promised."""
    steps = pair.projected
    changes = [after for before, after in pairwise(steps) if before.atp != after.atp]
    shown = [f"{step.date} {decimal_text(step.atp)}" for step in changes[:_STEPS_SHOWN]]
    return ", ".join([*shown, "..."] if len(changes) > _STEPS_SHOWN else shown)


def print_explanation(explained: Mapping[str, Any]) -> None:
    """What was added up for one line at one branch."""
    print(f"\n{explained['sku']} at {explained['branch']}: {explained['status']}")
    for part in explained.get("components", []):
        sku = part["sku"] or "a component"
        if "why" in part:
            print(f"  {sku}: {part['why']}")
            continue
        figures = ("on_hand", "unavailable", "allocated", "safety_stock", "reserved")
        said = ", ".join(f"{name.replace('_', ' ')} {part[name]}" for name in figures)
        print(f"  {sku}, {part['needed']} needed for one: {said}")
        for receipt in part["receipts"]:
            name = " ".join(filter(None, (receipt["kind"], receipt["reference"])))
            usable = f", usable on {receipt['usable_on']}" if receipt["usable_on"] else ""
            print(
                f"    + {receipt['quantity']} {name}, due {receipt['expected_at']}{usable}: {receipt['why']}"
            )
        for demand in part["demands"]:
            name = f" of order {demand['order_ref']}" if demand["order_ref"] else ""
            print(f"    - {demand['counted']}{name}, due {demand['due']}, {demand['quantity']} ordered")
        print(f"    lowest balance {part['lowest_balance']} on {part['lowest_on']}")
