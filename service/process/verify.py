"""Verifies the arrays of a snapshot: prices, positions, that both agree, and what others call them.

The fast path looks an item and a unit up on the price side alone and takes what it finds as the index and the factor on
the availability side: so items must be the same in the same order (in a stored snapshot they are one table), and their
units, of which each side has a table, the same with the same factors. Branches are the exception: each side has its
own, and they are looked up by name on either side.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import PREFIX, Positions
from pricegrid.atp.arrays.verify import verify_positions
from pricegrid.columnar.names import Names
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.verify import verify_prices
from pricegrid.pricing_engine.arrays.verify_other_names import verify_other_names

Arrays = Mapping[str, NDArray[Any]]
BRANCHES_MAX: Final = 1 << 24
ITEMS_MAX: Final = 1 << 31
"""What numbers of live pairs have bits for (`atp.kernels.live.live_key`), and 32-bit ordinals."""


def verify_arrays(arrays: Arrays) -> None:
    """Raises KeyError, TypeError or ValueError, naming the array, if kernels can't safely read the arrays."""
    verify_prices(arrays)
    verify_other_names(arrays)
    if any(name.startswith(PREFIX) for name in arrays):
        _verify_items(arrays)
        verify_positions(Positions(arrays), known=("sku",))
        _verify_units(arrays)
        _verify_counts(arrays)


def _verify_items(arrays: Arrays) -> None:
    for ours, theirs in (("sku_bytes", "atp_sku_text"), ("sku_offsets", "atp_sku_offsets")):
        if not np.array_equal(arrays[ours], arrays[theirs]):
            raise ValueError(f"{theirs}: not the same as {ours}")


def _verify_units(arrays: Arrays) -> None:
    names = Names(arrays["uom_bytes"], arrays["uom_offsets"]).ordinals()
    theirs = Names(arrays["atp_uom_text"], arrays["atp_uom_offsets"]).ordinals()
    ordinals = np.array(
        [names.get(name, -2) for name in theirs] + [-1], dtype=np.int64
    )  # the last one: no unit
    items, uoms = arrays["items"], arrays["uoms"]
    if not np.array_equal(mx.item_base_uom(items[:, mx.ITEM_NAMES]), ordinals[arrays["atp_item_base_uom"]]):
        raise ValueError("atp_item_base_uom: not the base units of items")
    if not np.array_equal(mx.run_end(items[:, mx.ITEM_UNITS]), arrays["atp_uom_start"][1:]):
        raise ValueError("atp_uom_start: not the units of items")
    for column, array in (
        (uoms[:, mx.UOM_NAME], ordinals[arrays["atp_uom_name"]]),
        (uoms[:, mx.UOM_NUMERATOR], arrays["atp_uom_numerator"]),
        (uoms[:, mx.UOM_DENOMINATOR], arrays["atp_uom_denominator"]),
    ):
        if not np.array_equal(column, array):
            raise ValueError("atp_uom_name, atp_uom_numerator, atp_uom_denominator: not those of uoms")


def _verify_counts(arrays: Arrays) -> None:
    for array, most in (("atp_sku_offsets", ITEMS_MAX), ("atp_branch_offsets", BRANCHES_MAX)):
        count = len(arrays[array]) - 1
        if count > most:
            raise ValueError(f"{array}: {count} names, at most {most}")
