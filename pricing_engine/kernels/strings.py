"""Text to ordinal by compiled open addressing: one probe table for each hashed name table.

A slot is 0 when free, else (high 32 bits of the hash) << 32 | ordinal + 1. The table has a power of two of slots, at
least twice the names, so that probing ends at a free slot; it ends anyhow when it has seen all of them.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.bits import word_of
from pricegrid.pricing_engine.kernels.exact import mul_low

_MULTIPLIER = np.int64(-7046029254386353131)  # 2^64 / golden ratio, as a signed integer
TAG = ~np.int64(0xFFFFFFFF)


@njit(cache=True, inline="always")
def _fold(state):  # type: ignore[no-untyped-def]
    return state ^ ((state >> 29) & np.int64(0x7FFFFFFFF))


@njit(cache=True, inline="always")
def name_key(text, start, length):  # type: ignore[no-untyped-def]
    """64 mixed bits of `length` bytes from `start`: multiply and fold, eight bytes a step."""
    state = mul_low(np.int64(length), _MULTIPLIER)
    done = np.int64(0)
    while done + 8 <= length:
        state = _fold(mul_low(state ^ word_of(text, start + done, 8), _MULTIPLIER))
        done += 8
    word = word_of(text, start + done, length - done)
    return _fold(mul_low(_fold(mul_low(state ^ word, _MULTIPLIER)), _MULTIPLIER))


@njit(cache=True)
def build_slots(text, offsets, slots):  # type: ignore[no-untyped-def]
    """Fill `slots` (int64, zeros, a power of two) from the names `text[offsets[i]:offsets[i + 1]]`."""
    mask = len(slots) - 1
    for ordinal in range(len(offsets) - 1):
        key = name_key(text, offsets[ordinal], offsets[ordinal + 1] - offsets[ordinal])
        place = key & mask
        while slots[place] != 0:
            place = (place + 1) & mask
        slots[place] = (key & TAG) | (ordinal + 1)


@njit(cache=True, inline="always")
def sku_word(text, start, length, i):  # type: ignore[no-untyped-def]
    """The word ITEM_SKU + i of a SKU of SKU_INLINE_MAX bytes at most."""
    word = word_of(text, start + 8 * i, min(8, max(0, length - 8 * i)))
    return word | np.int64(length) << 56 if i == 3 else word


@njit(cache=True)
def put_skus(text, offsets, items):  # type: ignore[no-untyped-def]
    """Write the SKUs of a name table into the rows of `items`, (n, 8) int64."""
    for item in range(len(offsets) - 1):
        start, length = offsets[item], offsets[item + 1] - offsets[item]
        if length > mx.SKU_INLINE_MAX:
            items[item, mx.ITEM_SKU + 3] = np.int64(mx.SKU_ELSEWHERE) << 56
            continue
        for i in range(4):
            items[item, mx.ITEM_SKU + i] = sku_word(text, start, length, i)


@njit(cache=True)
def find_name(text, offsets, slots, wanted, start, length):  # type: ignore[no-untyped-def]
    """Ordinal of `wanted[start:start + length]` in a name table, -1 if it is none."""
    return find_by_key(text, offsets, slots, wanted, start, length, name_key(wanted, start, length))


@njit(cache=True)
def likely_ordinal(slots, key):  # type: ignore[no-untyped-def]
    """The ordinal whose name has these high bits of a key, -1 for none: what to fetch before it is compared."""
    place = key & (len(slots) - 1)
    for _ in range(len(slots)):
        if slots[place] == 0:
            break
        if (slots[place] ^ key) & TAG == 0:
            return (slots[place] & np.int64(0xFFFFFFFF)) - 1
        place = (place + 1) & (len(slots) - 1)
    return np.int64(-1)


@njit(cache=True)
def find_by_key(text, offsets, slots, wanted, start, length, key):  # type: ignore[no-untyped-def]
    """As `find_name`, with the name's key."""
    mask = len(slots) - 1
    place = key & mask
    for _ in range(len(slots)):
        slot = slots[place]
        if slot == 0:
            break
        if (slot ^ key) & TAG == 0:
            ordinal = (slot & np.int64(0xFFFFFFFF)) - 1
            first = offsets[ordinal]
            if offsets[ordinal + 1] - first == length:
                same = True
                for i in range(length):
                    if text[first + i] != wanted[start + i]:
                        same = False
                        break
                if same:
                    return ordinal
        place = (place + 1) & mask
    return np.int64(-1)


@njit(cache=True, inline="always")
def _has_sku(m, item, wanted, start, length):  # type: ignore[no-untyped-def]
    other = np.int64(0)
    for i in range(4):
        other |= m.items[item, mx.ITEM_SKU + i] ^ sku_word(wanted, start, length, i)
    return other == 0


@njit(cache=True)
def find_item(m, wanted, start, length, key, likely):  # type: ignore[no-untyped-def]
    """The item whose SKU is `wanted[start:start + length]`, which has this key; -1 if it is none.

    `likely` is what `likely_ordinal` says of the key.
    """
    if likely < 0 or (length <= mx.SKU_INLINE_MAX and _has_sku(m, likely, wanted, start, length)):
        return likely
    if length > mx.SKU_INLINE_MAX:
        return find_by_key(m.sku_bytes, m.sku_offsets, m.sku_slots, wanted, start, length, key)
    mask = len(m.sku_slots) - 1
    place = key & mask
    for _ in range(len(m.sku_slots)):
        slot = m.sku_slots[place]
        if slot == 0:
            break
        if (slot ^ key) & TAG == 0:
            item = (slot & np.int64(0xFFFFFFFF)) - 1
            if _has_sku(m, item, wanted, start, length):
                return item
        place = (place + 1) & mask
    return np.int64(-1)


@njit(cache=True)
def find_sorted_name(text, offsets, wanted, start, length):  # type: ignore[no-untyped-def]
    """As `find_name` in a name table in byte order that has no probe table: for one name a request."""
    low, high = 0, len(offsets) - 1
    while low < high:
        middle = (low + high) >> 1
        first, size = offsets[middle], offsets[middle + 1] - offsets[middle]
        order = size - length
        for i in range(min(size, length)):
            if text[first + i] != wanted[start + i]:
                order = np.int64(text[first + i]) - np.int64(wanted[start + i])
                break
        if order == 0:
            return np.int64(middle)
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return np.int64(-1)


def slots_for(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The probe table of a name table."""
    names = len(offsets) - 1
    slots = np.zeros(1 << max(2, (2 * names).bit_length()), dtype=np.int64)
    build_slots(text, offsets, slots)
    return slots
