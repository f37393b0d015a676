"""Why an availability is what it is: the figures, receipts and demands behind it, and the day that decides."""

from collections.abc import Mapping
from fractions import Fraction

from pricegrid.atp.model import NO_INSTANT, Source
from pricegrid.atp.rules.promising import OrderLine
from pricegrid.atp.rules.receipts import net_receipts
from pricegrid.atp.rules.reference import (
    Moment,
    PairDays,
    allocations_of,
    check_pair,
    live_reservations,
    pair_days,
    usable_day,
)
from pricegrid.atp.rules.rows import Receipt, Rows
from pricegrid.columnar.decimals import decimal_text
from pricegrid.columnar.instants import day_date, instant_us_text


def explain_pair(
    rows: Rows, line: OrderLine, branch: str, moment: Moment, hidden: Mapping[str, bool]
) -> dict[str, object]:
    """The availability of one line at one branch with everything that was added up for it.

    Quantities of the line are in its asked unit, those of `components` in their base units; decimals and instants
    are strings.
    """
    answer = check_pair(rows, line.sku, line.quantity_micros, line.uom, branch, moment, hidden)
    explained: dict[str, object] = {
        "sku": line.sku,
        "branch": branch,
        "status": answer.status.name,
        "requested": decimal_text(line.quantity_micros),
        "available": None if answer.available_micros is None else decimal_text(answer.available_micros),
        "atp": None if answer.atp_micros is None else decimal_text(answer.atp_micros),
        "shortage": None if answer.shortage_micros is None else decimal_text(answer.shortage_micros),
        "freshness": {
            source.name.lower(): {
                "state": answer.freshness[source].name,
                "as_of": _instant(answer.source_as_of_us[source]),
            }
            for source in Source
        },
    }
    is_shown = line.sku in rows.items and line.sku not in hidden and branch in rows.branches
    if is_shown:
        explained["components"] = [
            _component(rows, sku, need, branch, moment) for sku, need in rows.components(line.sku).items()
        ]
    return explained


def _component(rows: Rows, sku: str, need: Fraction, branch: str, moment: Moment) -> dict[str, object]:
    days = pair_days(rows, sku, branch, moment)
    if days is None:
        return {
            "sku": sku,
            "needed": str(need),
            "why": "on-hand is unknown: no stock row and no complete ERP extract",
        }
    stock = rows.stock.get((sku, branch))
    low = min(range(len(days.balance_micros)), key=lambda day: days.balance_micros[day])
    return {
        "sku": sku,
        "needed": str(need),
        "on_hand": decimal_text(stock.on_hand_micros if stock else 0),
        "unavailable": decimal_text(stock.unavailable_micros if stock else 0),
        "allocated": decimal_text(sum(each.allocated_micros for each in allocations_of(rows, sku, branch))),
        "safety_stock": decimal_text(rows.safety_stock.get((sku, branch), 0)),
        "reserved": decimal_text(
            sum(r.quantity_micros for r in live_reservations(rows, (sku, branch), moment))
        ),
        "receipts": _receipts(rows, sku, branch, moment, days),
        "demands": [
            {
                "order_ref": demand.order_ref,
                "order_line": demand.order_line,
                "due": str(day_date(day)),
                "quantity": decimal_text(demand.quantity_micros),
                "counted": decimal_text(net),
            }
            for day, net, demand in days.net_demands
        ],
        "lowest_balance": decimal_text(days.balance_micros[low]),
        "lowest_on": str(day_date(days.first_day + low)),
    }


def _receipts(rows: Rows, sku: str, branch: str, moment: Moment, days: PairDays) -> list[dict[str, object]]:
    end = days.first_day + moment.supply.horizon_days
    result = []
    receipts = rows.receipts.get((sku, branch), [])
    for receipt, net in zip(receipts, net_receipts(receipts), strict=True):
        usable = usable_day(rows, branch, receipt, days.first_day, moment.supply)
        if receipt in days.doubtful:
            why = "left out: confidence is below the asked minimum"
        elif receipt in days.dropped:
            why = "left out: too many days late"
        elif usable is None or usable >= end:
            why = "left out: past the horizon"
        else:
            why = "counted"
        result.append(_receipt(receipt, net, usable if why == "counted" else None, why))
    return result


def _receipt(receipt: Receipt, net: int, usable: int | None, why: str) -> dict[str, object]:
    return {
        "reference": receipt.reference,
        "line": receipt.line,
        "supersedes": receipt.supersedes,
        "kind": receipt.kind,
        "quantity": decimal_text(receipt.quantity_micros),
        "counted": decimal_text(net),
        "confidence": decimal_text(receipt.confidence_micros),
        "expected_at": _instant(receipt.expected_at_us),
        "usable_on": None if usable is None else str(day_date(usable)),
        "why": why,
    }


def _instant(instant_us: int) -> str | None:
    if instant_us == NO_INSTANT:
        return None
    return instant_us_text(instant_us)
