"""Whether the arrays of other names lead nowhere but to what they name; asked once, when a snapshot is opened."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricegrid.pricing_engine.arrays import other_names as on
from pricegrid.pricing_engine.arrays.verify import name_arrays, verify_names

Arrays = Mapping[str, NDArray[Any]]


def verify_other_names(arrays: Arrays) -> None:
    """Raises ValueError naming the array and what is wrong; KeyError or TypeError where one is missing or another."""
    if any(name.startswith("part_") for name in arrays):
        _verify_part_numbers(arrays)
    for name in on.MAPS:
        if any(each.startswith(f"{name}_") for each in arrays):
            _verify_map(arrays, name)


def _verify_part_numbers(arrays: Arrays) -> None:
    keys = _verified_names(arrays, "part", is_sorted=True)
    starts, rows = np.asarray(arrays["part_starts"]), np.asarray(arrays["part_rows"])
    if starts.dtype != np.int64 or starts.shape != (keys + 1,):
        raise ValueError("part_starts: not one for each part number, and one more")
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != on.PART_SIZE:
        raise ValueError("part_rows: not rows of part numbers")
    if starts[0] != 0 or starts[-1] != len(rows) or (np.diff(starts) < 1).any():
        raise ValueError("part_starts: does not lead to the rows of each part number")
    backward = np.flatnonzero(rows[:, on.PART_FROM] >= rows[:, on.PART_TO])
    if len(backward):
        raise ValueError(f"part_rows, row {backward[0]}: ends before it begins")
    for column, table, low in (
        (on.PART_ITEM, "sku", 0),
        (on.PART_UOM, "uom", -1),
        (on.PART_CUSTOMER, "customer", -1),
        (on.PART_CLASS, "price_class", -1),
    ):
        values, count = rows[:, column], len(arrays[f"{table}_offsets"]) - 1
        bad = np.flatnonzero((values < low) | (values >= count))
        if len(bad):
            raise ValueError(f"part_rows, row {bad[0]}: {values[bad[0]]} in column {column} is out of range")


def _verify_map(arrays: Arrays, name: str) -> None:
    keys = _verified_names(arrays, name, is_sorted=True)
    if _verified_names(arrays, f"{name}_value", is_sorted=False) != keys:
        raise ValueError(f"{name}_value_offsets: not one for each of {name}_offsets")
    if name != "unit_code":
        _verify_parts(arrays, name)


def _verify_parts(arrays: Arrays, name: str) -> None:
    """A value is what it is of, a separator, and a name."""
    parts = 3 if name == "ship_to" else 2
    text, offsets = name_arrays(arrays, f"{name}_value")
    separators = np.concatenate([[0], np.cumsum(text == 0)])
    counts = separators[offsets[1:]] - separators[offsets[:-1]]
    bad = np.flatnonzero(counts < parts - 1)
    if len(bad):
        raise ValueError(f"{name}_value_bytes, row {bad[0]}: not {parts} parts")


def _verified_names(arrays: Arrays, table: str, *, is_sorted: bool) -> int:
    text, offsets = name_arrays(arrays, table)
    verify_names(f"{table}_offsets", text, offsets, is_sorted=is_sorted)
    return len(offsets) - 1
