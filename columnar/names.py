"""Name tables: text to ordinal and back.

A name table is two arrays, `text` (u8) and `offsets` (int64, n + 1): the name of ordinal i is
`text[offsets[i]:offsets[i + 1]]`. Tables in byte order are searched by bisection, log2(n) comparisons of names. Tables
that are asked for every line have a third array, `slots` (int64): open addressing, a power of two of slots, at least
twice as many as there are names, so that a search ends at a free slot after about one step; it ends anyhow when it has
seen all of them. A slot is 0 when free, else (high 32 bits of the hash) << 32 | ordinal + 1, so the name itself is only
compared when 32 bits agree. Names are compared in full: two with one hash are never mixed up.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.bits import word_of
from pricegrid.columnar.exact import mul_low
from pricegrid.columnar.jit import compiled, inlined

TAG = ~np.int64(0xFFFFFFFF)
IN_ORDER = -1
"""What `name_order_fault` says of a table without a fault."""
_MULTIPLIER = np.int64(-7046029254386353131)  # 2^64 / golden ratio, as a signed integer


@dataclass(frozen=True, slots=True)
class Names:
    """A name table; ordinals beyond it are errors of the caller. `find` and `find_all` want it in byte order."""

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, ordinal: int) -> str:
        return self.name(ordinal).decode()

    def name(self, ordinal: int) -> bytes:
        """The name of an ordinal; b'' for -1."""
        if ordinal < 0:
            return b""
        return self.text[self.offsets[ordinal] : self.offsets[ordinal + 1]].tobytes()

    def all(self) -> list[bytes]:
        """Every name in order."""
        return [self.name(ordinal) for ordinal in range(len(self))]

    def ordinals(self) -> dict[str, int]:
        """Every name with its ordinal: for small tables that are asked often."""
        return {self[ordinal]: ordinal for ordinal in range(len(self))}

    def find(self, name: str) -> int:
        """The ordinal of a name, -1 if it is none."""
        wanted = name.encode()
        found = bisect.bisect_left(range(len(self)), wanted, key=self.name)
        return found if found < len(self) and self.name(found) == wanted else -1

    def find_all(self, names: Sequence[bytes]) -> NDArray[np.int32]:
        """The ordinal of each name, -1 where it is none; (names,) int32."""
        found = np.full(len(names), -1, dtype=np.int32)
        if len(self) and names:
            ends = np.fromiter(map(len, names), dtype=np.int64, count=len(names)).cumsum()
            wanted = np.frombuffer(b"".join(names) or b"\0", dtype=np.uint8)
            find_sorted_names(self.text, self.offsets, wanted, ends, found)
        return found


def text_and_offsets(names: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The two arrays of a name table of these names, in the order given."""
    offsets = np.zeros(len(names) + 1, dtype=np.int64)
    np.cumsum([len(name) for name in names], out=offsets[1:])
    return np.frombuffer(b"".join(names), dtype=np.uint8), offsets


def slots_for(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The probe table of a name table."""
    names = len(offsets) - 1
    slots = np.zeros(1 << max(2, (2 * names).bit_length()), dtype=np.int64)
    build_slots(text, offsets, slots)
    return slots


# -- by hash --------------------------------------------------------------------------------------------------------


@inlined
def _fold(state):  # type: ignore[no-untyped-def]
    return state ^ ((state >> 29) & np.int64(0x7FFFFFFFF))


@inlined
def name_key(text, start, length):  # type: ignore[no-untyped-def]
    """64 mixed bits of `length` bytes from `start`: multiply and fold, eight bytes a step."""
    state = mul_low(np.int64(length), _MULTIPLIER)
    done = np.int64(0)
    while done + 8 <= length:
        state = _fold(mul_low(state ^ word_of(text, start + done, 8), _MULTIPLIER))
        done += 8
    word = word_of(text, start + done, length - done)
    return _fold(mul_low(_fold(mul_low(state ^ word, _MULTIPLIER)), _MULTIPLIER))


@compiled
def build_slots(text, offsets, slots):  # type: ignore[no-untyped-def]
    """Fill `slots` (int64, zeros, a power of two) from the names of a table."""
    mask = len(slots) - 1
    for ordinal in range(len(offsets) - 1):
        key = name_key(text, offsets[ordinal], offsets[ordinal + 1] - offsets[ordinal])
        slot = key & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = (key & TAG) | (ordinal + 1)


@compiled
def likely_ordinal(slots, key):  # type: ignore[no-untyped-def]
    """The ordinal whose name has these high bits of a key, -1 for none: what to fetch before it is compared."""
    slot = key & (len(slots) - 1)
    for _ in range(len(slots)):
        if slots[slot] == 0:
            break
        if (slots[slot] ^ key) & TAG == 0:
            return (slots[slot] & np.int64(0xFFFFFFFF)) - 1
        slot = (slot + 1) & (len(slots) - 1)
    return np.int64(-1)


@inlined
def same_bytes(text, at, wanted, start, length):  # type: ignore[no-untyped-def]
    """Whether `length` bytes of two texts are the same."""
    for i in range(length):  # noqa: SIM110 - numba compiles no generators
        if text[at + i] != wanted[start + i]:
            return False
    return True


@compiled
def find_name(text, offsets, slots, wanted, start, length):  # type: ignore[no-untyped-def]
    """Ordinal of `wanted[start:start + length]` in a name table, -1 if it is none."""
    return find_by_key(text, offsets, slots, wanted, start, length, name_key(wanted, start, length))


@compiled
def find_by_key(text, offsets, slots, wanted, start, length, key):  # type: ignore[no-untyped-def]
    """As `find_name`, with the name's key."""
    mask = len(slots) - 1
    slot = key & mask
    for _ in range(len(slots)):
        value = slots[slot]
        if value == 0:
            break
        if (value ^ key) & TAG == 0:
            ordinal = (value & np.int64(0xFFFFFFFF)) - 1
            first = offsets[ordinal]
            if offsets[ordinal + 1] - first == length and same_bytes(text, first, wanted, start, length):
                return ordinal
        slot = (slot + 1) & mask
    return np.int64(-1)


# -- by byte order --------------------------------------------------------------------------------------------------


@inlined
def compare_names(text, first, size, wanted, start, length):  # type: ignore[no-untyped-def]
    """The byte order of `text[first:first + size]` and `wanted[start:start + length]`: negative, 0 or positive."""
    for i in range(min(size, length)):
        if text[first + i] != wanted[start + i]:
            return np.int64(text[first + i]) - np.int64(wanted[start + i])
    return np.int64(size - length)


@compiled
def find_sorted_name(text, offsets, wanted, start, length):  # type: ignore[no-untyped-def]
    """As `find_name` in a name table in byte order that has no probe table: for one name a request."""
    low, high = 0, len(offsets) - 1
    while low < high:
        middle = (low + high) >> 1
        first = offsets[middle]
        order = compare_names(text, first, offsets[middle + 1] - first, wanted, start, length)
        if order == 0:
            return np.int64(middle)
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return np.int64(-1)


@compiled
def find_sorted_names(text, offsets, wanted, ends, found):  # type: ignore[no-untyped-def]
    """The same for each name `wanted[ends[i - 1]:ends[i]]`; writes the ordinals to `found`."""
    start = 0
    for i in range(len(ends)):
        found[i] = find_sorted_name(text, offsets, wanted, start, ends[i] - start)
        start = ends[i]


@compiled
def name_order_fault(text, offsets):  # type: ignore[no-untyped-def]
    """The first name that does not come after the one before it in byte order; IN_ORDER if each does."""
    for name in range(1, len(offsets) - 1):
        before, start, end = offsets[name - 1], offsets[name], offsets[name + 1]
        if compare_names(text, before, start - before, text, start, end - start) >= 0:
            return name
    return IN_ORDER
