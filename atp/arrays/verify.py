"""Whether positions hold what the availability kernels take for granted; checked once, when a snapshot is opened.

`Positions` itself checks the offsets and lengths, this every other array: after `verify_positions` no bytes lead a
kernel, an explanation or a reference outside of an array, or round in a circle. Docs: docs/snapshot-format.md, "What is
verified".
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import (
    COLUMNS,
    ITEM_IS_KIT,
    ITEM_MULTIPLE,
    KINDS,
    PREFIX,
    Positions,
)
from pricegrid.atp.kernels import verify as kernel
from pricegrid.atp.model import MICROS, NO_INSTANT, Source
from pricegrid.atp.rules.events import Measure
from pricegrid.columnar.names import Names, name_order_fault

DAYS_MAX: Final = 1 << 20
INT64_MAX: Final = 2**63 - 1


class Check(NamedTuple):
    """What a column holds: values in [low, high], or of a name or row that is counted elsewhere [low, how many), in so
    many rows as `rows` has (None: `Positions` has looked)."""

    low: int = 0
    high: int | str = INT64_MAX
    rows: str | None = None
    is_instant: bool = False
    """NO_INSTANT is allowed too."""


def _instants(rows: str | None = None, *, blank: bool = False) -> Check:
    return Check(kernel.FIRST_INSTANT_US, kernel.LAST_INSTANT_US, rows, blank)


_LOOP: Final = Check(-(2**63))
"""Looked at row by row."""

CHECKS: Final[Mapping[str, Check]] = {
    "item_base_uom": Check(-1, "uom", "sku"),
    "item_multiple": Check(rows="sku"),
    "item_superseded_by": Check(-1, "sku", "sku"),
    "uom_start": _LOOP,
    "uom_name": Check(0, "uom"),
    "uom_numerator": Check(1),
    "uom_denominator": Check(1),
    "branch_zone": Check(0, "zone", "branch"),
    "branch_cutoff_s": Check(-1, 86_399, "branch"),
    "branch_inbound_days": Check(0, DAYS_MAX, "branch"),
    "branch_outbound_days": Check(0, DAYS_MAX, "branch"),
    "branch_calendar": Check(-1, "calendar", "branch"),
    "calendar_weekdays": Check(0, 1),
    "calendar_start": _LOOP,
    "calendar_day": _LOOP,
    "calendar_working": Check(0, 1),
    "lane_start": _LOOP,
    "lane_from": Check(0, "branch"),
    "lane_transit_days": Check(0, DAYS_MAX),
    "feed_as_of": _instants(blank=True),
    "feed_complete": Check(0, 1),
    "feed_stale_us": Check(),
    "feed_owner": Check(0, len(Source) - 1, "branch"),
    "feed_decrease_shipped": Check(0, 1, "branch"),
    "item_record": _LOOP,
    "pair_start": _LOOP,
    "pair_branch": Check(0, "branch"),
    "pair_record": _LOOP,
    "pair_blocks": _LOOP,
    "receipt_start": _LOOP,
    "receipt_quantity": Check(),
    "receipt_confidence": Check(0, MICROS),
    "receipt_at": _instants(),
    "receipt_kind": Check(0, len(KINDS) - 1),
    "receipt_reference": Check(-1, "reference"),
    "receipt_line": Check(-1, "reference"),
    "receipt_supersedes": Check(-1, "reference"),
    "demand_start": _LOOP,
    "demand_quantity": Check(),
    "demand_at": _instants(),
    "demand_order": Check(-1, "order"),
    "demand_line": Check(-1, "order"),
    "demand_kit": Check(-1, "sku"),
    "allocation_start": _LOOP,
    "allocation_quantity": Check(),
    "allocation_as_of": _instants(),
    "allocation_order": Check(-1, "order"),
    "allocation_line": Check(-1, "order"),
    "allocation_shipped": Check(),
    "kit_start": _LOOP,
    "kit_component": Check(0, "sku"),
    "kit_numerator": Check(1),
    "kit_denominator": Check(),
}
"""Of every column of `positions.COLUMNS`."""
RISING: Final = {
    "uom_start": "uom_name",
    "pair_start": "pair_branch",
    "kit_start": "kit_component",
    "calendar_start": "calendar_day",
}
"""Offsets, and the column whose values ascend from one to the next."""
_UNOWNED: Final = frozenset({"pair_blocks", "calendar_weekdays"})
"""Columns that are named as those that offsets lead to, and are none."""


def verify_positions(positions: Positions, *, known: Collection[str] = ()) -> None:
    """Raises ValueError naming the array and what is wrong; `known` are name tables that were checked elsewhere."""
    arrays = {name: _read_only(array) for name, array in positions.arrays.items()}
    tables = {
        "sku": positions.skus,
        "uom": positions.uoms,
        "branch": positions.branches,
        "destination": positions.destinations,
        "order": positions.orders,
        "reference": positions.references,
    }
    for table, names in tables.items():
        if table not in known:
            _verify_names(f"{table}_offsets", names)
    counts = {table: len(names) for table, names in tables.items()}
    counts |= {"zone": len(positions.zones), "calendar": len(arrays["calendar_weekdays"])}
    _verify_zones(positions)
    for column in COLUMNS:
        if column in CHECKS:
            _verify_column(column, arrays[column], counts)
    for starts in (column for column in COLUMNS if column.endswith("_start")):
        for column in COLUMNS:
            if column.startswith(starts.removesuffix("start")) and column not in {starts, *_UNOWNED}:
                _expect(column, len(arrays[column]) == arrays[starts][-1], f"does not fit {PREFIX}{starts}")
    for starts, column in RISING.items():
        owner = kernel.rising_fault(arrays[starts], arrays[column])
        _expect(column, owner == kernel.SOUND, f"not in order at {starts} {owner}")
    _verify_items(arrays)
    _verify_pairs(arrays)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array as the loops are compiled for."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _expect(array: str, holds: object, fault: str) -> None:
    if not holds:
        raise ValueError(f"{PREFIX}{array}: {fault}")


def _verify_names(array: str, names: Names) -> None:
    row = name_order_fault(_read_only(names.text), _read_only(names.offsets))
    _expect(array, row == kernel.SOUND, f"not in byte order at {row}")
    if len(names.text) and int(names.text.max()) >= 0x80:  # else it is ASCII
        for each in names.all():
            try:
                each.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"{PREFIX}{array}: {each!r} is not UTF-8") from error


def _verify_zones(positions: Positions) -> None:
    _expect(
        "zone_offsets", positions.zones == sorted(set(positions.zones), key=str.encode), "not in byte order"
    )
    for zone in positions.zones:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{PREFIX}zone_text: {zone!r} is no time zone") from error


def _verify_column(column: str, array: NDArray[Any], counts: Mapping[str, int]) -> None:
    check = CHECKS[column]
    if column == "calendar_weekdays":
        _expect(column, array.shape[1] == 7, "must have seven columns")
    if column == "feed_owner":
        _expect(column, array.shape[1] == len(Measure), "must have a column for each measure")
    if check.rows is not None:
        _expect(column, len(array) == counts[check.rows], f"not one for each {check.rows}")
    if check == _LOOP or not array.size:
        return
    high = counts[check.high] - 1 if isinstance(check.high, str) else check.high
    values = array.view(np.uint8) if array.dtype == np.bool_ else array
    if check.is_instant:
        values = values[values != NO_INSTANT]
    outside = values.size and (int(values.min()) < check.low or int(values.max()) > high)
    _expect(column, not outside, f"holds what is not in [{check.low}, {high}]")


def _verify_items(arrays: Mapping[str, NDArray[Any]]) -> None:
    is_kit = np.diff(arrays["kit_start"]) > 0
    record = arrays["item_record"]
    _expect(
        "item_record", np.array_equal(record[:, ITEM_IS_KIT], is_kit), "does not say which items are kits"
    )
    _expect(
        "item_record",
        np.array_equal(record[:, ITEM_MULTIPLE], arrays["item_multiple"]),
        "has other multiples",
    )
    _expect("kit_component", not is_kit[arrays["kit_component"]].any(), "is a kit itself")


def _verify_pairs(arrays: Mapping[str, NDArray[Any]]) -> None:
    record, blocks = arrays["pair_record"], arrays["pair_blocks"]
    row = kernel.record_fault(record)
    _expect("pair_record", row == kernel.SOUND, f"row {row} has a figure out of range")
    lists = kernel.Lists(**{name: arrays[name] for name in kernel.Lists._fields})
    row = kernel.block_fault(record, blocks, lists)
    _expect("pair_blocks", row == kernel.SOUND, f"does not fit the receipts and demands of pair {row}")
