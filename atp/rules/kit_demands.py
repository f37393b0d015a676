"""Demands of a kit are demands of its components, needs rounded up (A6, A10)."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from pricegrid.atp.arrays.pair_rows import PairRows
from pricegrid.atp.rules.events import Event
from pricegrid.atp.rules.order_lines import by_order, demand_rows, grouped, listed_demands


def with_kit_demands(
    rows: PairRows, kit: str, need: Fraction, after_us: int, events: Sequence[Event]
) -> PairRows:
    """The rows of a component of which a base unit of the kit needs so much, with what events made of the kit's orders
    since its load at `after_us`. Events count in their order, each in units of the component, rounded up."""
    counted = [event for event in events if event.effective_us > after_us]
    if not counted:
        return rows
    scaled = [replace(e, quantity_micros=math.ceil(e.quantity_micros * need)) for e in counted]
    orders = by_order(scaled)
    loaded = grouped(row for row in rows.demands if row.kit == kit)
    kept = [row for row in rows.demands if row.kit != kit or (row.order_ref or "") not in orders]
    for order_ref, events_of in orders.items():
        kept += [
            replace(row, kit=kit) for row in demand_rows(order_ref, loaded.get(order_ref, ()), events_of)
        ]
    as_of_us = max(rows.transit_as_of_us, *(event.effective_us for event in counted))
    return replace(rows, demands=listed_demands(kept), transit_as_of_us=as_of_us)
