"""`pricegrid quote` and `pricegrid explain`: prices over gRPC (`--address`) or from the store itself (`--store`)."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loaders.errors import SnapshotError
from pricegrid import Client, Line, LinePrice, LineStatus, PricegridError, PriceResult
from pricing_engine.model import ExceptionPolicy
from service.cli_policy import add_policy_arguments, policy_from
from service.cli_text import (
    UsageError,
    as_of_argument,
    decimal_text,
    extended_price_text,
    parse_line,
    print_json_list,
    print_table,
    read_lines,
    unit_price_text,
)
from service.cli_waterfall import print_waterfall
from service.instants import instant_text

TIMEOUT_S = 30.0


def add_quote_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `quote`."""
    _add_question_arguments(parser)
    parser.add_argument("--lines", metavar="FILE", type=Path, help="CSV file of more lines: sku,quantity,uom")
    parser.add_argument(
        "line",
        nargs="*",
        type=parse_line,
        metavar="SKU[:QTY[:UOM]]",
        help="a line; QTY is 1 and UOM the base unit if not said",
    )


def add_explain_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    _add_question_arguments(parser)
    parser.add_argument("line", type=parse_line, metavar="SKU[:QTY[:UOM]]", help="the line to explain")


def run_quote(args: argparse.Namespace) -> int:
    """Prints prices; 0 when every line has one, 1 otherwise."""
    lines = list(args.line)
    if args.lines is not None:
        lines += read_lines(args.lines)
    if not lines:
        raise UsageError("no lines: give SKU[:QTY[:UOM]] or --lines FILE")
    try:
        with _client(args) as client:
            result = client.price_lines(args.customer, lines, timeout_s=args.timeout, **_question(args))
    except PricegridError as error:
        return _refused(error)
    except (SnapshotError, OSError) as error:
        return _fail(str(error))
    if args.json:
        print_json_list(json_rows(lines, result))
    else:
        print_quote(lines, result)
    return 0 if all(line.status is LineStatus.OK for line in result.lines) else 1


def run_explain(args: argparse.Namespace) -> int:
    """Prints why a price is what it is; 0 when there is one, 1 otherwise."""
    try:
        with _client(args) as client:
            found = client.explain_price(args.customer, args.line, timeout_s=args.timeout, **_question(args))
    except PricegridError as error:
        return _refused(error)
    except (SnapshotError, OSError) as error:
        return _fail(str(error))
    if args.json:
        print(json.dumps(found.document, ensure_ascii=False, indent=2))
    else:
        print_waterfall(args.line, found)
    return 0 if found.line.status is LineStatus.OK else 1


def json_rows(lines: Sequence[Line], result: PriceResult) -> Iterator[dict[str, object]]:
    """The rows of `quote --json`, in the order of design section 9."""
    for line, price in zip(lines, result.lines, strict=True):
        yield {
            "sku": line.sku,
            "quantity": decimal_text(line.quantity),
            "uom": line.uom or None,
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
            "available": None,
            "shortage": None,
            "promise_date": None,
            "freshness": None,
            "exception": price.exception and price.exception.value,
            "minimum_quantity": None
            if price.minimum_quantity is None
            else decimal_text(price.minimum_quantity),
            "floor_lifted": price.floor_lifted,
            "converted": price.converted,
            "as_of": instant_text(result.as_of),
        }


def print_quote(lines: Sequence[Line], result: PriceResult) -> None:
    """The table of `quote`."""
    header = [
        "SKU",
        "QUANTITY",
        "UOM",
        "UNIT PRICE",
        "EXTENDED",
        "CUR",
        "STATUS",
        "LAYER",
        "BOOK",
        "VALID UNTIL",
        "NOTES",
    ]
    rows = [
        (
            line.sku,
            decimal_text(line.quantity),
            line.uom or "-",
            unit_price_text(price.unit_price, result.currency) or "-",
            extended_price_text(price.extended_price, result.currency) or "-",
            result.currency,
            price.status.value,
            price.layer or "-",
            price.book_id or "-",
            instant_text(price.valid_until) if price.valid_until else "-",
            _notes(price),
        )
        for line, price in zip(lines, result.lines, strict=True)
    ]
    print_table(header, rows, right=(1, 3, 4))
    age_s = int(result.snapshot_age.total_seconds())
    print(f"\nas of {instant_text(result.as_of)}, snapshot {result.snapshot_version}, {age_s} s old")


def _notes(price: LinePrice) -> str:
    notes = []
    if price.minimum_quantity is not None:
        notes.append(f"from {decimal_text(price.minimum_quantity)} on")
    if price.floor_lifted:
        notes.append("lifted to the floor")
    if price.converted:
        notes.append("converted")
    if price.exception:
        notes.append(f"unconfirmed: {price.exception.value}")
    return ", ".join(notes)


def _add_question_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", metavar="HOST:PORT", help="ask the server there")
    where.add_argument("--store", metavar="DIR", type=Path, help="answer from this store, without a server")
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
        help="delivering branch, the first of several counts for costs (default: the customer's)",
    )
    parser.add_argument(
        "--as-of", metavar="T", type=as_of_argument, help="date YYYY-MM-DD or RFC 3339 instant (default: now)"
    )
    parser.add_argument(
        "--snapshot-version", metavar="V", help="answer from this snapshot (default: the active one)"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=TIMEOUT_S, help="seconds to wait for the server"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_policy_arguments(parser)


def _question(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "currency": args.currency,
        "branch": args.branch[0] if args.branch else None,
        "as_of": args.as_of,
        "snapshot_version": args.snapshot_version,
    }


@contextlib.contextmanager
def _client(args: argparse.Namespace) -> Iterator[Client]:
    policy = policy_from(args)
    if args.address is not None:
        if policy != ExceptionPolicy():
            raise UsageError(
                "which lines are exceptions is the server's to say: those options go with --store"
            )
        with Client(args.address) as client:
            yield client
        return
    from service.inprocess import store_client

    with store_client(args.store, policy) as client:
        yield client


def _refused(error: PricegridError) -> int:
    tail = f" (correlation id {error.correlation_id})" if error.correlation_id else ""
    return _fail(f"{error.reason}: {error}{tail}")


def _fail(message: str) -> int:
    print(f"pricegrid: {message}", file=sys.stderr)
    return 1
