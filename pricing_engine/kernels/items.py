"""Compiled: the item of a SKU.

The first four words of an item's row are its SKU, if it has SKU_INLINE_MAX bytes at most. A SKU is hashed; the probe
table leads to the one item whose hash has the same high bits, and four words are compared: a slot and a row, two cache
lines, and no text is read. A longer SKU is compared with the name table. `price` fetches slot and row beforehand.
"""

import numpy as np

from pricegrid.columnar.bits import word_of
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.names import TAG, find_by_key
from pricegrid.pricing_engine.arrays import matrix as mx


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
