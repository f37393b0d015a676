"""Demands told for a kit: demands of its components, needs rounded up (A6, A10)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from operator import attrgetter

from atp.events import Event, Kind
from atp.pair_rows import PairRows
from atp.rows import Demand
from atp.streams import by_line, dated


def with_kit_demands(
    rows: PairRows, kit: str, need: Fraction, after_us: int, events: Sequence[Event]
) -> PairRows:
    """The rows of a component of which a base unit of the kit needs so much, with what events say of the kit's orders
    since its load at `after_us`. A set of any line of an order takes the place of the loaded rows of that kit."""
    counted = [event for event in events if event.effective_us > after_us]
    if not counted:
        return rows
    orders = by_line(counted)
    kept = [row for row in rows.demands if row.kit != kit or (row.order_ref or "") not in orders]
    for order_ref, lines in orders.items():
        before = [
            (row.due_at_us, row.quantity_micros)
            for row in rows.demands
            if row.kit == kit and (row.order_ref or "") == order_ref
        ]
        if any(event.kind is Kind.SET for each in lines.values() for event in each):
            found = [(row.at_us, math.ceil(row.micros * need)) for row in dated([], lines, counted)]
        else:  # loaded rows are in units of the component; a part of one is never taken off
            scaled = {
                line: [replace(e, quantity_micros=math.ceil(e.quantity_micros * need)) for e in each]
                for line, each in lines.items()
            }
            order = [event for each in scaled.values() for event in each]
            order.sort(key=lambda event: event.sequence)
            found = [(row.at_us, row.micros) for row in dated(before, scaled, order)]
        kept += [Demand(micros, at_us, order_ref or None, kit) for at_us, micros in found]
    as_of_us = max(rows.transit_as_of_us, *(event.effective_us for event in counted))
    return replace(rows, demands=tuple(sorted(kept, key=attrgetter("due_at_us"))), transit_as_of_us=as_of_us)
