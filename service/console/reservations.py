"""The page of reservations: what is held, for whom, until when."""

from datetime import timedelta

from pricegrid import Reservation, ReservedLine
from pricegrid.service.cli.text import decimal_or_none, decimal_text
from pricegrid.service.console.asked import Asked, FormError
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import ask, badge, field, link, moment, section, table

PATH = "/reservations"
_SHOWN = 200
_DIGITS_MAX = 7


def form(asked: Asked) -> Element:
    """Asks for reservations."""
    return ask(
        PATH,
        field("Customer", "customer", asked.text("customer"), hint="empty: all of them"),
        field(
            "Not reported for",
            "unreported",
            asked.text("unreported"),
            hint="minutes since they were confirmed",
        ),
        field("At most", "limit", asked.text("limit"), hint=f"empty: {_SHOWN}"),
        button="List reservations",
    )


def answer(asked: Asked) -> Node:
    """A row for each line that is held."""
    found = asked.client.reservations(
        customer_id=asked.text("customer"),
        unreported_for=_unreported(asked),
        limit=asked.count("limit", "At most", _SHOWN),
    )
    if not found:
        return tag("p", "No reservations.", class_="lead")
    rows = [_row(held, line) for held in found for line in held.lines]
    header = (
        *("Reservation", "Status", "Customer", "Order", "Until", "Item", "Branch", "Unit", "From"),
        *("Asked", "Held", "Shortage", "Cleared"),
    )
    return section(
        f"Reservations: {len(found):,}", table("A row for each line", header, rows, right=(9, 10, 11))
    )


def _unreported(asked: Asked) -> timedelta | None:
    said = asked.text("unreported")
    if not said:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) <= _DIGITS_MAX):
        raise FormError("unreported", f"Not reported for: {said[:20]!r} is not a number of minutes")
    return timedelta(minutes=int(said))


def _row(held: Reservation, line: ReservedLine) -> tuple[Node, ...]:
    wanted = line.line
    return (
        held.reservation_id,
        badge(held.status.value if held.status else "-"),
        held.customer_id,
        held.order_ref,
        "confirmed" if held.confirmed else moment(held.expires),
        link(wanted.sku, "/availability", {"sku": wanted.sku, "branch": wanted.branch}),
        wanted.branch,
        wanted.uom,
        wanted.from_date.isoformat() if wanted.from_date else "",
        decimal_text(wanted.quantity),
        decimal_text(line.held),
        decimal_or_none(line.shortage) or "?",
        ", ".join(f"{decimal_text(part.cleared)} of {part.sku}" for part in line.parts if part.cleared),
    )
