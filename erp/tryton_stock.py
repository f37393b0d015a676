"""Tryton's stock: on-hand quantities, and the open moves that change them (A1's receipts, demands and allocations).

A move counts on the same day as in Tryton's own forecast: an assigned (reserved) move today, another on its planned
day, one without a day never. Tryton's forecast ignores a planned day in the past; in a dataset rule A3 re-dates it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from pricegrid.erp.protocol import ErpAnswerError, Refusal
from pricegrid.erp.tryton_rpc import TrytonRpc, encode_date, records

MOVES: Final = "stock.move"
ROWS_MAX: Final = 500
"""Items per call that reads quantities; Tryton is slow with longer lists."""


@dataclass(frozen=True, slots=True)
class OpenMove:
    """A move that is not done, into a warehouse, out of one, or between two."""

    record: int
    product: int
    quantity: Decimal
    """In the item's default unit, more than 0."""
    day: date
    assigned: bool
    source: int | None
    """The warehouse it leaves; None: it comes from outside."""
    target: int | None
    """The warehouse it enters; None: it goes outside."""


async def quantities(
    rpc: TrytonRpc, ids: Sequence[int], warehouse: int, day: date, deadline_s: float
) -> dict[int, Decimal]:
    """The quantities in a warehouse at the end of a day after all done moves, by product id."""
    context = {
        "locations": [warehouse],
        "with_childs": True,
        "stock_date_end": encode_date(day),
        "company": rpc.company,
    }
    found: dict[int, Decimal] = {}
    for start in range(0, len(ids), ROWS_MAX):
        rows = await rpc.model(
            deadline_s,
            "product.product",
            "read",
            list(ids[start : start + ROWS_MAX]),
            ["code", "quantity"],
            context=context,
        )
        found |= {row["id"]: decimal_of(row.get("quantity")) for row in records(rows)}
    return found


async def warehouse_of(rpc: TrytonRpc, deadline_s: float) -> Mapping[int, int]:
    """The warehouse of each location that is inside one."""
    rows = {row["id"]: row for row in await rpc.rows(deadline_s, "stock.location", [], ["type", "parent"])}
    found = {}
    for location in rows:
        above: int | None = location
        while above is not None and rows[above]["type"] != "warehouse":
            above = rows[above]["parent"]
        if above is not None:
            found[location] = above
    return found


async def open_moves(
    rpc: TrytonRpc, today: date, days: int, deadline_s: float, *, products: Sequence[int] | None = None
) -> list[OpenMove]:
    """The open moves into or out of a warehouse up to `days` after today."""
    warehouses = await warehouse_of(rpc, deadline_s)
    domain: list[object] = [
        ["state", "in", ["draft", "assigned"]],
        ["company", "=", rpc.company],
        [
            "OR",
            ["planned_date", "<=", encode_date(today + timedelta(days=days))],
            ["effective_date", "<=", encode_date(today + timedelta(days=days))],
            ["state", "=", "assigned"],
        ],
    ]
    if products is not None:
        domain.append(["product", "in", list(products)])
    fields = [
        "product",
        "internal_quantity",
        "planned_date",
        "effective_date",
        "state",
        "from_location",
        "to_location",
    ]
    moves = []
    for row in await rpc.rows(deadline_s, MOVES, domain, fields):
        source, target = warehouses.get(row["from_location"]), warehouses.get(row["to_location"])
        assigned = row["state"] == "assigned"
        day = row["effective_date"] or (today if assigned else row["planned_date"])
        if source == target or day is None:
            continue
        quantity = decimal_of(row["internal_quantity"])
        if quantity > 0:
            moves.append(OpenMove(row["id"], row["product"], quantity, day, assigned, source, target))
    return moves


def lowest_balance(on_hand: Decimal, moves: Iterable[OpenMove], warehouse: int, today: date) -> Decimal:
    """The lowest balance at the end of any day from today on (A2)."""
    changes: dict[date, Decimal] = {}
    for move in moves:
        change = move.quantity * ((move.target == warehouse) - (move.source == warehouse))
        if change and move.day >= today:
            changes[move.day] = changes.get(move.day, Decimal(0)) + change
    balance = on_hand + changes.pop(today, Decimal(0))
    lowest = balance
    for day in sorted(changes):
        balance += changes[day]
        lowest = min(lowest, balance)
    return lowest


def decimal_of(value: object) -> Decimal:
    """A quantity, which Tryton encodes as a JSON number; raises ErpAnswerError."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise ErpAnswerError(Refusal.SCHEMA, f"{value!r} is not a quantity")
