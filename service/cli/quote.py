"""`pricegrid quote` and `pricegrid explain`: over gRPC (`--address`) or from the store itself (`--store`)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pricegrid
from pricegrid.service.cli.client import add_asking_arguments, answer, asking_client, freshness_json
from pricegrid.service.cli.policy import add_policy_arguments, policy_from
from pricegrid.service.cli.text import (
    UsageError,
    candidates_text,
    decimal_or_none,
    decimal_text,
    extended_price_text,
    item_text,
    parse_priced_line,
    print_json_list,
    print_table,
    read_lines,
    unit_price_text,
    uom_text,
)
from pricegrid.service.cli.waterfall import print_waterfall
from pricegrid.service.clock import instant_text


def add_quote_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `quote`."""
    _add_question_arguments(parser)
    parser.add_argument(
        "--lines", metavar="FILE", type=Path, help="CSV file of more lines: sku,quantity,uom,as_of"
    )
    parser.add_argument(
        "line",
        nargs="*",
        type=parse_priced_line,
        metavar="SKU[:QTY[:UOM[:DATE]]]",
        help="a line; QTY is 1, UOM the base unit and DATE (or an instant) --as-of if not said",
    )


def add_explain_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    _add_question_arguments(parser)
    parser.add_argument(
        "line", type=parse_priced_line, metavar="SKU[:QTY[:UOM[:DATE]]]", help="the line to explain"
    )


def run_quote(args: argparse.Namespace) -> int:
    """Prints prices; 0 when every line has one, 1 otherwise."""
    lines = list(args.line)
    if args.lines is not None:
        lines += read_lines(args.lines)
    if not lines:
        raise UsageError("no lines: give SKU[:QTY[:UOM[:DATE]]] or --lines FILE")
    return answer(lambda: _quote(args, lines))


def _quote(args: argparse.Namespace, lines: Sequence[pricegrid.Line]) -> int:
    small = len(lines), max(1, len(args.branch))
    with asking_client(args, policy_from, small=small) as client:
        result = client.quote_lines(
            args.customer, lines, branches=args.branch, timeout_s=args.timeout, **_question(args)
        )
    if args.json:
        print_json_list(json_rows(lines, result))
    else:
        print_quote(lines, result)
    return 0 if all(line.price.status is pricegrid.LineStatus.OK for line in result.lines) else 1


def run_explain(args: argparse.Namespace) -> int:
    """Prints why a price is what it is; 0 when there is one, 1 otherwise."""
    return answer(lambda: _explain(args))


def _explain(args: argparse.Namespace) -> int:
    with asking_client(args, policy_from, small=(1, 1)) as client:
        found = client.explain_price(
            args.customer,
            args.line,
            branch=args.branch[0] if args.branch else None,
            timeout_s=args.timeout,
            **_question(args),
        )
    if args.json:
        print(json.dumps(found.document, ensure_ascii=False, indent=2))
    else:
        print_waterfall(args.line, found)
    return 0 if found.line.status is pricegrid.LineStatus.OK else 1


def json_rows(lines: Sequence[pricegrid.Line], result: pricegrid.QuoteResult) -> Iterator[dict[str, object]]:
    """The rows of `quote --json`, in the order of docs/api.md, "The command"."""
    for line, quoted in zip(lines, result.lines, strict=True):
        price, free = quoted.price, quoted.availability
        yield {
            "sku": item_text(line, price.named_items),
            "quantity": decimal_text(line.quantity),
            "uom": uom_text(line, price.named_items) or None,
            "status": price.status.value,
            "unit_price": unit_price_text(price.unit_price, result.currency),
            "currency": result.currency,
            "extended_price": extended_price_text(price.extended_price, result.currency),
            "book_id": price.book_id or None,
            "entry_id": price.entry_id or None,
            "layer": price.layer or None,
            "source": price.source and price.source.value,
            "valid_until": price.valid_until and instant_text(price.valid_until),
            "snapshot_version": result.snapshot_version,
            "available": free and decimal_or_none(free.available),
            "shortage": free and decimal_or_none(free.shortage),
            "promise_date": free and free.promise_date and free.promise_date.isoformat(),
            **freshness_json(free.freshness if free else None),
            "availability_status": free and free.status.value,
            "limited_by": free and free.limited_by and free.limited_by.value,
            "exception": price.exception and price.exception.value,
            "minimum_quantity": decimal_or_none(price.minimum_quantity),
            "floor_lifted": price.floor_lifted,
            "converted": price.converted,
            "price_age_s": None if price.source_age is None else price.source_age // timedelta(seconds=1),
            "as_of": instant_text(result.as_of) if line.as_of is None else as_of_text(line.as_of),
            "price_per": None if price.unit_price is None else price.price_per,
            "counted_lines": list(price.counted_lines),
        }


def print_quote(lines: Sequence[pricegrid.Line], result: pricegrid.QuoteResult) -> None:
    """The table of `quote`; availability only where there is something to say."""
    header = ["SKU", "QUANTITY", "UOM", "UNIT PRICE", "EXTENDED", "CUR", "STATUS"]
    header += ["AVAILABLE", "PROMISE", "LAYER", "BOOK", "VALID UNTIL", "NOTES"]
    rows = [
        (
            item_text(line, quoted.price.named_items),
            decimal_text(line.quantity),
            uom_text(line, quoted.price.named_items) or "-",
            unit_price_text(quoted.price.unit_price, result.currency, quoted.price.price_per) or "-",
            extended_price_text(quoted.price.extended_price, result.currency) or "-",
            result.currency,
            quoted.price.status.value,
            *available_cells(quoted),
            quoted.price.layer or "-",
            quoted.price.book_id or "-",
            instant_text(quoted.price.valid_until) if quoted.price.valid_until else "-",
            _notes(line, quoted),
        )
        for line, quoted in zip(lines, result.lines, strict=True)
    ]
    print_table(header, rows, right=(1, 3, 4, 7))
    age_s = int(result.snapshot_age.total_seconds())
    print(f"\nas of {instant_text(result.as_of)}, snapshot {result.snapshot_version}, {age_s} s old")


def as_of_text(as_of: date | datetime) -> str:
    """The date or instant of a line, as it is asked for."""
    return instant_text(as_of) if isinstance(as_of, datetime) else as_of.isoformat()


def available_cells(quoted: pricegrid.QuoteLine) -> tuple[str, str]:
    """What is available and the promise date, `-` where there is nothing to say, `?` where nobody knows."""
    free = quoted.availability
    if free is None:
        return "-", "-"
    promise = free.promise_date.isoformat() if free.promise_date else "-"
    return decimal_or_none(free.available) or "?", promise


def _notes(line: pricegrid.Line, quoted: pricegrid.QuoteLine) -> str:
    price, free = quoted.price, quoted.availability
    notes = [] if line.as_of is None else [f"price as of {as_of_text(line.as_of)}"]
    if price.minimum_quantity is not None:
        notes.append(f"from {decimal_text(price.minimum_quantity)} on")
    if price.counted_lines:
        notes.append(f"counted with lines {', '.join(str(at + 1) for at in price.counted_lines)}")
    if price.floor_lifted:
        notes.append("lifted to the floor")
    if price.converted:
        notes.append("converted")
    if free and free.limited_by:
        notes.append(f"no whole {free.limited_by.value.lower().replace('_', ' ')}")
    if price.source_age is not None:
        notes.append(f"from the ERP, {price.source_age // timedelta(seconds=1)} s old")
    if price.exception:
        notes.append(f"unconfirmed: {price.exception.value}")
    if free is not None and free.available is None:
        notes.append(free.status.value)
    elif free is not None and free.freshness.erp.state is not pricegrid.FreshnessState.FRESH:
        notes.append(f"stock {free.freshness.erp.state.value}")
    if candidates := candidates_text(price.named_items):
        notes.append(candidates)
    return ", ".join(notes)


def _add_question_arguments(parser: argparse.ArgumentParser) -> None:
    add_asking_arguments(parser)
    parser.add_argument(
        "--customer",
        metavar="ID",
        default="",
        help="whose prices (default: what everyone gets; needs --currency)",
    )
    parser.add_argument("--currency", metavar="CUR", help="currency to answer in (default: the customer's)")
    parser.add_argument(
        "--branch",
        metavar="BRANCH",
        action="append",
        default=[],
        help="delivering branch; may be repeated: the first counts for prices and costs, stock is the sum of all "
        "(default: the customer's)",
    )
    add_policy_arguments(parser)
    parser.add_argument(
        "--erp-config",
        metavar="FILE",
        type=Path,
        help="with --store: ask this ERP for exceptions (docs/erp.md)",
    )


def _question(args: argparse.Namespace) -> dict[str, Any]:
    return {"currency": args.currency, "as_of": args.as_of, "snapshot_version": args.snapshot_version}
