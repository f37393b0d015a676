"""Whether the arrays of a snapshot are sound, each side by itself and both together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import PREFIX, Positions
from pricegrid.atp.arrays.verify import verify_positions
from pricegrid.columnar.names import Names
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.verify import verify_prices

Arrays = Mapping[str, NDArray[Any]]


def verify_arrays(arrays: Arrays) -> None:
    """Raises KeyError, TypeError or ValueError, naming the array, unless kernels may read these arrays."""
    verify_prices(arrays)
    if any(name.startswith(PREFIX) for name in arrays):
        _verify_items(arrays)
        verify_positions(Positions(arrays), known=("sku",))
        _verify_units(arrays)


# The fast path takes an item's ordinal and unit factors on the price side for those on the other side.


def _verify_items(arrays: Arrays) -> None:
    for ours, theirs in (("sku_bytes", "atp_sku_text"), ("sku_offsets", "atp_sku_offsets")):
        if not np.array_equal(arrays[ours], arrays[theirs]):
            raise ValueError(f"{theirs}: not the same as {ours}")


def _verify_units(arrays: Arrays) -> None:
    names = Names(arrays["uom_bytes"], arrays["uom_offsets"]).ordinals()
    theirs = Names(arrays["atp_uom_text"], arrays["atp_uom_offsets"]).ordinals()
    ordinals = np.array([names.get(name, -2) for name in theirs] + [-1], dtype=np.int64)  # the last: of none
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
