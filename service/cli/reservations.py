"""`pricegrid reserve`, `confirm`, `release`, `extend`, `reservation` and `reservations`: stock held for customers."""

from __future__ import annotations

import argparse
import re
import uuid
from collections.abc import Sequence
from datetime import timedelta

import pricegrid
from pricegrid.service.cli.client import add_where_arguments, answer, live_client
from pricegrid.service.cli.text import (
    date_argument,
    decimal_or_none,
    decimal_text,
    item_text,
    limit_argument,
    parse_decimal,
    parse_line_with_quantity,
    print_json_list,
    print_table,
    uom_text,
)
from pricegrid.service.clock import instant_text
from pricegrid.service.limits import LIST_DEFAULT

_DURATION = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_reserve_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reserve`."""
    add_where_arguments(parser)
    _add_customer_argument(parser)
    parser.add_argument("--branch", metavar="BRANCH", required=True, help="where it is held")
    parser.add_argument(
        "--key",
        metavar="KEY",
        default="",
        help="names this reservation: the same again is the same reservation (default: a new one)",
    )
    _add_ttl_argument(parser)
    parser.add_argument(
        "--from",
        metavar="DATE",
        dest="from_date",
        type=date_argument,
        help="the first day on which it holds (default: at once)",
    )
    parser.add_argument("--order", metavar="REF", default="", help="the order it is for, if that is known")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--replace",
        metavar="RESERVATION",
        default="",
        help="give this one back in the same step, if the new one is held",
    )
    other.add_argument(
        "--exclude-reservation",
        metavar="RESERVATION",
        default="",
        help="this one must not stand in the way: it is given back if both can't be held",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--allow-partial", action="store_true", help="hold what there is of a line")
    how.add_argument("--all-or-nothing", action="store_true", help="hold every line in full, or none")
    parser.add_argument(
        "line", nargs="+", type=parse_line_with_quantity, metavar="SKU:QTY[:UOM]", help="a line"
    )


def run_reserve(args: argparse.Namespace) -> int:
    """Reserves; 0 when something of every line is held, 1 otherwise."""
    lines: list[pricegrid.Line] = args.line
    key = args.key or uuid.uuid4().hex

    def ask() -> int:
        with live_client(args) as client:
            result = client.reserve(
                [
                    pricegrid.ReserveLine(
                        line.sku,
                        line.quantity,
                        args.branch,
                        line.uom,
                        args.from_date,
                        part_number=line.part_number,
                    )
                    for line in lines
                ],
                key=key,
                customer_id=args.customer,
                ttl=args.ttl,
                allow_partial=args.allow_partial,
                all_or_nothing=args.all_or_nothing,
                order_ref=args.order,
                exclude_reservation=args.exclude_reservation,
                replace_reservation=args.replace,
                timeout_s=args.timeout,
            )
        _print(args, [result.reservation])
        return 0 if all(line.held for line in result.reservation.lines) else 1

    return answer(ask)


def add_confirm_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `confirm`."""
    add_where_arguments(parser)
    _add_customer_argument(parser)
    parser.add_argument("--order", metavar="REF", required=True, help="the order it is for")
    parser.add_argument(
        "--order-line",
        metavar="LINE",
        action="append",
        default=[],
        help="a line of that order, once for each line reserved, in their order",
    )
    parser.add_argument("reservation", metavar="RESERVATION", help="what `reserve` gave")


def run_confirm(args: argparse.Namespace) -> int:
    """Confirms; 0 when it is."""

    def ask() -> int:
        with live_client(args) as client:
            confirmed = client.confirm_reservation(
                args.reservation,
                args.order,
                customer_id=args.customer,
                order_lines=args.order_line,
                timeout_s=args.timeout,
            )
        _print(args, [confirmed])
        return 0

    return answer(ask)


def add_release_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `release`."""
    add_where_arguments(parser)
    _add_customer_argument(parser)
    parser.add_argument(
        "--line",
        metavar="N:QTY",
        type=_part,
        action="append",
        default=[],
        help="only so much of the N-th line, from 1; may be repeated (default: all)",
    )
    parser.add_argument("reservation", metavar="RESERVATION", help="what `reserve` gave")


def run_release(args: argparse.Namespace) -> int:
    """Releases; 0 when it is."""

    def ask() -> int:
        with live_client(args) as client:
            released = client.release_reservation(
                args.reservation, customer_id=args.customer, parts=args.line, timeout_s=args.timeout
            )
        _print(args, [released])
        return 0

    return answer(ask)


def add_extend_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `extend`."""
    add_where_arguments(parser)
    _add_customer_argument(parser)
    _add_ttl_argument(parser)
    parser.add_argument("reservation", metavar="RESERVATION", help="what `reserve` gave")


def run_extend(args: argparse.Namespace) -> int:
    """Extends; 0 when it is held so long."""

    def ask() -> int:
        with live_client(args) as client:
            extended = client.extend_reservation(
                args.reservation, customer_id=args.customer, ttl=args.ttl, timeout_s=args.timeout
            )
        _print(args, [extended])
        return 0

    return answer(ask)


def add_reservation_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reservation`."""
    add_where_arguments(parser)
    _add_customer_argument(parser)
    parser.add_argument("reservation", metavar="RESERVATION", help="what `reserve` gave")


def run_reservation(args: argparse.Namespace) -> int:
    """Shows one; 0 when there is one of that name."""

    def ask() -> int:
        with live_client(args) as client:
            found = client.reservation(args.reservation, customer_id=args.customer, timeout_s=args.timeout)
        _print(args, [found])
        return 0

    return answer(ask)


def add_reservations_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `reservations`."""
    add_where_arguments(parser)
    parser.add_argument("--customer", metavar="ID", default="", help="only those of this customer")
    parser.add_argument(
        "--unreported",
        metavar="MIN",
        type=_minutes,
        help="only confirmed ones that the warehouse has not wholly taken over after MIN minutes",
    )
    parser.add_argument(
        "--limit", metavar="N", type=limit_argument, default=LIST_DEFAULT, help="how many at most"
    )


def run_reservations(args: argparse.Namespace) -> int:
    """Lists reservations; 0."""

    def ask() -> int:
        with live_client(args) as client:
            found = client.reservations(
                customer_id=args.customer,
                unreported_for=args.unreported,
                limit=args.limit,
                timeout_s=args.timeout,
            )
        _print(args, found)
        return 0

    return answer(ask)


def reservation_json(held: pricegrid.Reservation) -> dict[str, object]:
    """A reservation as `--json` prints it."""
    return {
        "reservation_id": held.reservation_id or None,
        "status": None if held.status is None else held.status.value,
        "customer": held.customer_id or None,
        "order_ref": held.order_ref or None,
        "key": held.key,
        "created_at": instant_text(held.created),
        "expires_at": instant_text(held.expires) if held.confirmed is None else None,
        "confirmed_at": instant_text(held.confirmed) if held.confirmed else None,
        "lines": [_line_json(line) for line in held.lines],
    }


def _line_json(held: pricegrid.ReservedLine) -> dict[str, object]:
    line = held.line
    return {
        "sku": item_text(line, held.named_items),
        "branch": line.branch,
        "quantity": decimal_text(line.quantity),
        "uom": uom_text(line, held.named_items) or None,
        "from_date": line.from_date.isoformat() if line.from_date else None,
        "order_line": line.order_line or None,
        "status": held.status.value,
        "held": decimal_text(held.held),
        "granted": decimal_text(held.granted),
        "shortage": decimal_or_none(held.shortage),
        "parts": [
            {
                "sku": part.sku,
                "quantity": decimal_text(part.quantity),
                "cleared": decimal_text(part.cleared),
            }
            for part in held.parts
        ],
    }


def _print(args: argparse.Namespace, found: Sequence[pricegrid.Reservation]) -> None:
    if args.json:
        print_json_list([reservation_json(held) for held in found])
        return
    if not found:
        print("no reservations")
        return
    header = ["RESERVATION", "STATUS", "CUSTOMER", "ORDER", "UNTIL", "SKU", "BRANCH", "UOM", "FROM"]
    rows = [
        (
            held.reservation_id or "nothing held",
            held.status.value if held.status else "-",
            held.customer_id or "-",
            held.order_ref or "-",
            "-" if held.confirmed or not held.reservation_id else instant_text(held.expires),
            item_text(line.line, line.named_items),
            line.line.branch,
            uom_text(line.line, line.named_items) or "-",
            str(line.line.from_date or "-"),
            line.status.value,
            decimal_text(line.held),
            decimal_or_none(line.shortage) or "?",
            ", ".join(f"{decimal_text(part.cleared)} of {part.sku}" for part in line.parts if part.cleared),
        )
        for held in found
        for line in held.lines
    ]
    print_table([*header, "LINE", "HELD", "SHORTAGE", "CLEARED"], rows, right=(10, 11))


def _add_ttl_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ttl",
        metavar="T",
        type=_duration,
        default=timedelta(minutes=15),
        help="how long it is held, such as 90s, 15m, 2h or 3d (default 15m)",
    )


def _add_customer_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--customer", metavar="ID", default="", help="whose reservation it is")


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 15m, 2h or 3d")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from error


def _minutes(text: str) -> timedelta:
    if not (text.isascii() and text.isdecimal() and len(text) <= 7):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes")
    return timedelta(minutes=int(text))


def _part(text: str) -> pricegrid.Release:
    number, _, quantity = text.partition(":")
    if not (number.isascii() and number.isdecimal() and len(number) <= 4 and int(number)):
        raise argparse.ArgumentTypeError(f"{text!r}: lines are N:QTY, N from 1")
    try:
        return pricegrid.Release(int(number) - 1, parse_decimal(quantity))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}; lines are N:QTY") from error
