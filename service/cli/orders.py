"""`pricegrid orders`: check a whole order against what its buyer expects, and show what was answered."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pricegrid.columnar.decimals import decimal_text, per_text
from pricegrid.service.cli.client import add_where_arguments, answer, live_client
from pricegrid.service.cli.text import UsageError, print_table

if TYPE_CHECKING:
    from pricegrid import v1


def add_orders_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `orders`."""
    commands = parser.add_subparsers(dest="orders_command", required=True, metavar="COMMAND")
    for name, text in (
        ("validate", "compare an order with prices and stock, and hold it if it says so"),
        ("show", "what was answered to an order, as it was kept"),
    ):
        command = commands.add_parser(
            name, help=text, description=f"{text.capitalize()}.", allow_abbrev=False
        )
        add_where_arguments(command)
        if name == "validate":
            command.add_argument(
                "order",
                type=Path,
                metavar="FILE",
                help="the order: a ValidateOrderRequest as JSON (docs/orders.md)",
            )
            continue
        command.add_argument("--customer", metavar="ID", required=True, help="whose order it is")
        which = command.add_mutually_exclusive_group(required=True)
        which.add_argument("--key", metavar="KEY", default="", help="the order with this idempotency key")
        which.add_argument(
            "--order", metavar="REF", default="", help="the newest order with this number of the buyer"
        )
        which.add_argument(
            "--call", metavar="ID", default="", help="the order answered to this correlation id"
        )


def run_orders(args: argparse.Namespace) -> int:
    """0 when the order is accepted, also with changes; 1 when it is held for a person or rejected."""
    return answer(lambda: _validate(args) if args.orders_command == "validate" else _show(args))


def _validate(args: argparse.Namespace) -> int:
    from google.protobuf.json_format import Parse, ParseError

    from pricegrid import v1

    try:
        request = Parse(args.order.read_text(encoding="utf-8"), v1.ValidateOrderRequest())
    except (OSError, UnicodeDecodeError, ParseError) as error:
        raise UsageError(f"{args.order}: {error}") from None
    with live_client(args) as client:
        found = client.validate_order(request, timeout_s=args.timeout)
    return _print(args, found)


def _show(args: argparse.Namespace) -> int:
    from pricegrid import v1

    with live_client(args) as client:
        kept = client.order_answer(
            args.customer,
            key=args.key,
            order_ref=args.order,
            correlation_id=args.call,
            timeout_s=args.timeout,
        )
    return _print(args, v1.ValidateOrderResponse.FromString(kept.answer))


def _print(args: argparse.Namespace, found: v1.ValidateOrderResponse) -> int:
    from pricegrid import v1

    if args.json:
        from google.protobuf.json_format import MessageToDict

        print(json.dumps(MessageToDict(found), ensure_ascii=False, indent=2))
    else:
        _print_order(found)
    return 0 if found.verdict <= v1.OrderSeverity.ORDER_SEVERITY_WARNING else 1


def _print_order(found: v1.ValidateOrderResponse) -> None:
    """A row for each line, then all that differs, then the order."""
    header = [
        "LINE",
        "VERDICT",
        "SKU",
        "UOM",
        "QUANTITY",
        "CONFIRMED",
        "BACKORDER",
        "OURS",
        "AGREED",
        "EXTENDED",
    ]
    rows = [
        (
            line.line_ref or str(at),
            _severity(line.verdict),
            line.sku or "-",
            line.uom or "-",
            *map(decimal_text, (line.quantity_micros, line.confirmed_micros, line.backordered_micros)),
            decimal_text(line.our_price_micros) + per_text(line.price_per)
            if line.HasField("our_price_micros")
            else "-",
            decimal_text(line.agreed_price_micros) + per_text(line.agreed_per)
            if line.HasField("agreed_price_micros")
            else "-",
            decimal_text(line.extended_micros),
        )
        for at, line in enumerate(found.lines, start=1)
    ]
    print_table(header, rows, right=range(4, 10))
    for at, line in enumerate(found.lines, start=1):
        for each in line.differences:
            print(f"line {line.line_ref or at}: {_difference(each)}")
    for each in found.differences:
        print(f"order: {_difference(each)}")
    held = f", held as {found.reservation_id}" if found.reservation_id else ""
    print(f"\n{_severity(found.verdict)}, total {decimal_text(found.total_micros)} {found.currency}{held}")


def _severity(number: v1.OrderSeverity) -> str:
    from pricegrid import v1

    return v1.OrderSeverity.Name(number).removeprefix("ORDER_SEVERITY_")


def _difference(each: v1.OrderDifference) -> str:
    from pricegrid import v1

    kind = v1.OrderDifferenceKind.Name(each.kind).removeprefix("ORDER_DIFFERENCE_KIND_")
    expected = f"expected {each.expected}, " if each.expected else ""
    return f"{_severity(each.severity)} {kind}: {expected}ours {each.ours or 'none'} ({each.rule})"
