"""`pricegrid promise`: when, from where and how much of an order's lines can be shipped."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import pricegrid
from pricegrid.service.cli.availability import age_text, limit_text, print_explanation
from pricegrid.service.cli.client import add_asking_arguments, answer, asking_client, freshness_json
from pricegrid.service.cli.supply import add_supply_arguments, supply_from
from pricegrid.service.cli.text import (
    date_argument,
    decimal_argument,
    decimal_or_none,
    decimal_text,
    item_text,
    parse_line_with_quantity,
    print_candidates,
    print_json_list,
    print_table,
    uom_text,
)
from pricegrid.service.clock import instant_text


def add_promise_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `promise`."""
    add_asking_arguments(parser)
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--branch",
        metavar="BRANCH",
        action="append",
        default=[],
        help="branch that may ship, the preferred one first; may be repeated (default: every branch)",
    )
    origin.add_argument(
        "--ship-to", metavar="Z", default="", help="branch or ship zone to ship to; lanes say from where"
    )
    parser.add_argument("--on", metavar="DATE", type=date_argument, help="first day to pick (default: today)")
    parser.add_argument("--need-by", metavar="DATE", type=date_argument, help="latest arrival")
    parser.add_argument(
        "--ship-complete", action="store_true", help="all lines in full on one day, or nothing"
    )
    late = parser.add_mutually_exclusive_group()
    late.add_argument("--no-late", action="store_true", help="only each branch's first pick day")
    late.add_argument("--late-until", metavar="DATE", type=date_argument, help="latest pick day")
    parser.add_argument("--no-split", action="store_true", help="each line from one branch")
    parser.add_argument(
        "--minimum-shipment",
        metavar="Q",
        type=decimal_argument,
        default=0,
        help="least quantity of a shipment, in the line's unit",
    )
    parser.add_argument(
        "--allow-substitutes", action="store_true", help="what supersedes an item may come in its place"
    )
    add_supply_arguments(parser, past_due=False)
    parser.add_argument(
        "line",
        nargs="+",
        type=parse_line_with_quantity,
        metavar="SKU:QTY[:UOM]",
        help="a line; UOM is the base unit if not said",
    )


def run_promise(args: argparse.Namespace) -> int:
    """Prints promises; 0 when every line has an answer, be it that nothing can be promised, 1 otherwise."""
    supply = supply_from(args)
    policy = pricegrid.PromisePolicy(
        on=args.on,
        need_by=args.need_by,
        late_until=args.late_until,
        no_late=args.no_late,
        ship_complete=args.ship_complete,
        no_split=args.no_split,
        minimum_shipment=args.minimum_shipment,
        allow_substitutes=args.allow_substitutes,
    )

    # the reference tries ways of a minimum shipment one by one, and gives up long before the kernels do
    small = None if args.minimum_shipment else (len(args.line), len(args.branch) or None)

    def ask() -> int:
        with asking_client(args, small=small) as client:
            result = client.promise_order(
                args.line,
                customer_id=args.customer,
                branches=args.branch,
                ship_to=args.ship_to,
                as_of=args.as_of,
                supply=supply,
                policy=policy,
                explain=args.explain,
                exclude_reservation=args.exclude_reservation,
                snapshot_version=args.snapshot_version,
                timeout_s=args.timeout,
            )
        if args.json:
            print_json_list(json_rows(args.line, result))
        else:
            print_promise(args.line, result)
        return 0 if all(line.status is pricegrid.AvailabilityStatus.OK for line in result.lines) else 1

    return answer(ask)


def json_rows(
    lines: Sequence[pricegrid.Line], result: pricegrid.PromiseResult
) -> Iterator[dict[str, object]]:
    """The rows of `promise --json`, in the order of docs/api.md, "The command"."""
    for line, found in zip(lines, result.lines, strict=True):
        row: dict[str, object] = {
            "sku": item_text(line, found.named_items),
            "status": found.status.value,
            "requested": decimal_text(line.quantity),
            "promised": [
                {
                    "sku": part.sku,
                    "branch": part.branch,
                    "quantity": decimal_text(part.quantity),
                    "pick_date": part.pick_date.isoformat(),
                    "ship_date": part.ship_date.isoformat(),
                    "arrival_date": part.arrival_date.isoformat(),
                }
                for part in found.promised
            ],
            "shortage": decimal_or_none(found.shortage),
            "uom": uom_text(line, found.named_items) or None,
            **freshness_json(found.freshness),
            "dropped_receipts": found.dropped_receipts,
            "limited_by": found.limited_by and found.limited_by.value,
            "as_of": instant_text(result.as_of),
            "snapshot_version": result.snapshot_version,
        }
        if found.explanation is not None:
            row["explanation"] = found.explanation
        yield row


def print_promise(lines: Sequence[pricegrid.Line], result: pricegrid.PromiseResult) -> None:
    """The table of `promise`: a row for each shipment, one without dates for what is not promised."""
    header = ["SKU", "REQUESTED", "UOM", "STATUS", "PROMISED", "OF", "BRANCH", "PICK", "SHIP", "ARRIVE"]
    header += ["ERP", "WMS", "TRANSIT", "DROPPED"]
    rows = [
        (
            item_text(line, found.named_items),
            decimal_text(line.quantity),
            uom_text(line, found.named_items) or "-",
            limit_text(found.limited_by) or found.status.value,
            *cells,
            *_sources(found),
        )
        for line, found in zip(lines, result.lines, strict=True)
        for cells in _shipments(found)
    ]
    print_table(header, rows, right=(1, 4, 13))
    age_s = int(result.snapshot_age.total_seconds())
    print(f"\nas of {instant_text(result.as_of)}, snapshot {result.snapshot_version}, {age_s} s old")
    print_candidates(lines, [found.named_items for found in result.lines])
    for found in result.lines:
        explained: Any = (found.explanation or {}).get("branches", [])
        for pair in explained:
            print_explanation(pair)


def _sources(found: pricegrid.LinePromise) -> tuple[str, ...]:
    """How old the data of a line is, and how many receipts were too late to count."""
    sources = (found.freshness.erp, found.freshness.wms, found.freshness.transit)
    return (*(age_text(source) for source in sources), str(found.dropped_receipts))


def _shipments(found: pricegrid.LinePromise) -> Iterator[tuple[str, ...]]:
    for part in found.promised:
        days = (part.pick_date, part.ship_date, part.arrival_date)
        yield (decimal_text(part.quantity), part.sku, part.branch, *(day.isoformat() for day in days))
    if found.shortage or not found.promised:
        short = decimal_or_none(found.shortage)
        yield ("-", f"{short} short" if short else "", "", "", "", "")
