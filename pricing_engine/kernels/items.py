"""Compiled: the item of a SKU, its levels and its units.

The first four words of an item's row are its SKU, if it has SKU_INLINE_MAX bytes at most. A SKU is hashed; the probe
table leads to the one item whose hash has the same high bits, and four words are compared: a slot and a row, two cache
lines, and no text is read. A longer SKU is compared with the name table. `price` fetches slot and row beforehand.
"""

import numpy as np

from pricegrid.columnar.bits import word_of
from pricegrid.columnar.exact import INT64_MAX, divide, times
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.names import TAG, find_by_key
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import (
    STATE_BASE_QUANTITY,
    STATE_DENOMINATOR,
    STATE_ITEM,
    STATE_NUMERATOR,
    STATE_QUANTITY,
    STATE_UOM,
)
from pricegrid.pricing_engine.model import GROUP_DEPTH_MAX


@inlined
def sku_word(text, start, length, i):  # type: ignore[no-untyped-def]
    """The word ITEM_SKU + i of a SKU of SKU_INLINE_MAX bytes at most."""
    word = word_of(text, start + 8 * i, min(8, max(0, length - 8 * i)))
    return word | np.int64(length) << 56 if i == 3 else word


@compiled
def put_skus(text, offsets, items):  # type: ignore[no-untyped-def]
    """Write the SKUs of a name table into the rows of `items`, (n, 8) int64."""
    for item in range(len(offsets) - 1):
        start, length = offsets[item], offsets[item + 1] - offsets[item]
        if length > mx.SKU_INLINE_MAX:
            items[item, mx.ITEM_SKU + 3] = np.int64(mx.SKU_ELSEWHERE) << 56
            continue
        for i in range(4):
            items[item, mx.ITEM_SKU + i] = sku_word(text, start, length, i)


@inlined
def _has_sku(m, item, wanted, start, length):  # type: ignore[no-untyped-def]
    other = np.int64(0)
    for i in range(4):
        other |= m.items[item, mx.ITEM_SKU + i] ^ sku_word(wanted, start, length, i)
    return other == 0


@compiled
def find_item(m, wanted, start, length, key, likely):  # type: ignore[no-untyped-def]
    """The item whose SKU is `wanted[start:start + length]`, which has this key; -1 if it is none.

    `likely` is `likely_ordinal` of the key.
    """
    if likely < 0 or (length <= mx.SKU_INLINE_MAX and _has_sku(m, likely, wanted, start, length)):
        return likely
    if length > mx.SKU_INLINE_MAX:
        return find_by_key(m.sku_bytes, m.sku_offsets, m.sku_slots, wanted, start, length, key)
    mask = len(m.sku_slots) - 1
    slot = key & mask
    for _ in range(len(m.sku_slots)):
        value = m.sku_slots[slot]
        if value == 0:
            break
        if (value ^ key) & TAG == 0:
            item = (value & np.int64(0xFFFFFFFF)) - 1
            if _has_sku(m, item, wanted, start, length):
                return item
        slot = (slot + 1) & mask
    return np.int64(-1)


@compiled
def item_levels(m, item, keys):  # type: ignore[no-untyped-def]
    """Fill `keys` with the item, its product groups upward and every item; how many (P4)."""
    keys[0] = item
    levels = 1
    group = mx.item_group(m.items[item, mx.ITEM_NAMES])
    while group >= 0 and levels <= GROUP_DEPTH_MAX:
        keys[levels] = len(m.items) + group
        levels += 1
        group = m.group_parents[group]
    keys[levels] = len(m.items) + len(m.group_parents)
    return levels + 1


@compiled
def find_unit(m, item, uom):  # type: ignore[no-untyped-def]
    """(numerator, denominator): base units in one of a unit, -1 being the base unit; (0, 0): there is no such (P5)."""
    if uom == -1 or uom == mx.item_base_uom(m.items[item, mx.ITEM_NAMES]):
        return np.int64(1), np.int64(1)
    units = m.items[item, mx.ITEM_UNITS]
    for row in range(mx.run_start(units), mx.run_end(units)):
        if m.uoms[row, mx.UOM_NAME] == uom:
            return m.uoms[row, mx.UOM_NUMERATOR], m.uoms[row, mx.UOM_DENOMINATOR]
    return np.int64(0), np.int64(0)


@compiled
def unit_factor(m, state, uom):  # type: ignore[no-untyped-def]
    """Write the asked unit and its factor to the state (P5), -1 being the base unit; False: there is no such unit."""
    numerator, denominator = find_unit(m, state[STATE_ITEM], uom)
    if denominator == 0:
        return False
    state[STATE_UOM] = mx.item_base_uom(m.items[state[STATE_ITEM], mx.ITEM_NAMES]) if uom == -1 else uom
    state[STATE_NUMERATOR], state[STATE_DENOMINATOR] = numerator, denominator
    state[STATE_BASE_QUANTITY] = state[STATE_QUANTITY]
    if numerator != 1 or denominator != 1:
        _, high, low = times(np.int64(0), state[STATE_QUANTITY], numerator)
        whole_high, whole, _ = divide(high, low, denominator)
        state[STATE_BASE_QUANTITY] = INT64_MAX if whole_high != 0 or whole < 0 else whole
    return True
