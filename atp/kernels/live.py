"""Compiled: reading and writing live positions (`atp.live.positions` describes the file).

A stable read (a seqlock with two rows): a reader finds the row that a pair's slot names, remembers its version, reads,
and compares the version again; if it has changed, or is odd, it reads the sibling row from the start. It takes no lock
and waits for nobody. A writer fills the row that is not in use and a block of the free lists, then turns the slot over:
readers see the state before or the one after. One write costs one probe, one block and the copy of what stays.
"""

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.atomic import fence, load_acquire, store_release
from pricegrid.atp.live.layout import (
    BLOCK,
    CHANGES,
    DEMANDS,
    DETAIL_BYTES,
    FREE,
    FREE_LISTS,
    HELD,
    NEXT_WORD,
    PAIRS,
    RECEIPTS,
    ROW_WORDS,
    VERSION,
    LiveArrays,
)
from pricegrid.columnar.jit import compiled, inlined


@inlined
def live_key(item: int, branch: int) -> int:
    """What a slot knows a pair by; never 0."""
    return int((np.int64(item) << 24 | np.int64(branch)) + 1)


@inlined
def slot_of(slots: NDArray[np.int64], key: int) -> int:
    """The slot of a key, or the free one where it belongs."""
    mask = len(slots) // 2 - 1
    hashed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64(hashed >> np.uint64(32)) & mask
    while True:
        found = load_acquire(slots, 2 * at)
        if found in (key, 0):
            return int(at)
        at = (at + 1) & mask


@compiled
def find_live(slots: NDArray[np.int64], item: int, branch: int) -> int:
    """The row that holds of a pair; -1: it is not live."""
    key = live_key(item, branch)
    at = slot_of(slots, key)
    if slots[2 * at] != key:
        return -1
    return int(load_acquire(slots, 2 * at + 1))


@compiled
def begin_row_read(rows: NDArray[np.int64], row: int) -> tuple[int, int]:
    """Begin a stable read: (row, version) of this row, or of its sibling while this one is being written."""
    while True:
        version = load_acquire(rows, row * ROW_WORDS + VERSION)
        if version & 1 == 0:
            return int(row), int(version)
        row = row ^ 1


@compiled
def is_row_stable(rows: NDArray[np.int64], row: int, version: int) -> bool:
    """Whether all that was read of the row since `version` was read is of one state."""
    fence()
    return bool(load_acquire(rows, row * ROW_WORDS + VERSION) == version)


@inlined
def _size_class(words: int) -> int:
    size = 0
    while (1 << size) < words:
        size += 1
    return size


@inlined
def _allocate_block(live: LiveArrays, words: int) -> int:
    """The first word of a block of at least so many words; -1: there is no room."""
    size = _size_class(words)
    head = live.live_head[FREE + size]
    if head > 0:
        live.live_head[FREE + size] = live.live_blocks[head]
        return int(head)
    start = max(np.int64(1), live.live_head[NEXT_WORD])  # word 0 ends the lists
    if size >= FREE_LISTS or start + (1 << size) > len(live.live_blocks):
        return -1
    live.live_head[NEXT_WORD] = start + (1 << size)
    return int(start)


@inlined
def _free_block(live: LiveArrays, block: int, words: int) -> None:
    size = _size_class(words)
    live.live_blocks[block] = live.live_head[FREE + size]
    live.live_head[FREE + size] = block


@inlined
def _block_words(live: LiveArrays, row: int) -> int:
    """Words of the block of a row; 0: it has none."""
    at = row * ROW_WORDS
    rows = live.live_rows
    return int(
        rows[at + RECEIPTS] * 3
        + rows[at + DEMANDS] * 2
        + rows[at + HELD] * 4
        + (rows[at + DETAIL_BYTES] + 7) // 8
    )


@inlined
def free_old_block(live: LiveArrays, row: int) -> None:
    """Free the block that a row about to be written had two states ago. Whoever still reads it will see that the
    version has changed. A block that the sibling shares stays."""
    old_words = _block_words(live, row)
    block = live.live_rows[row * ROW_WORDS + BLOCK]
    if old_words > 0 and block != live.live_rows[(row ^ 1) * ROW_WORDS + BLOCK]:
        _free_block(live, block, old_words)


@compiled
def put_pair(
    live: LiveArrays,
    item: int,
    branch: int,
    figures: NDArray[np.int64],
    block: NDArray[np.int64],
    receipts: int,
    demands: int,
    held: int,
    detail_bytes: int,
) -> bool:
    """Make this the state of a pair: (9,) figures and its block. False: there is no room, and nothing is changed."""
    key = live_key(item, branch)
    slot = slot_of(live.live_slots, key)
    is_new = live.live_slots[2 * slot] != key
    pairs = live.live_head[PAIRS]
    if is_new:
        row = 2 * pairs
        if (row + 2) * ROW_WORDS > len(live.live_rows):
            return False
    else:
        row = live.live_slots[2 * slot + 1] ^ 1
    at = row * ROW_WORDS
    start = np.int64(0)
    if len(block) > 0:
        start = np.int64(_allocate_block(live, len(block)))
        if start < 0:
            return False
    version = live.live_rows[at + VERSION]
    store_release(live.live_rows, at + VERSION, version | 1)
    fence()
    free_old_block(live, row)
    for k in range(len(block)):
        live.live_blocks[start + k] = block[k]
    for k in range(len(figures)):
        live.live_rows[at + k] = figures[k]
    live.live_rows[at + BLOCK] = start
    live.live_rows[at + RECEIPTS] = receipts
    live.live_rows[at + DEMANDS] = demands
    live.live_rows[at + HELD] = held
    live.live_rows[at + DETAIL_BYTES] = detail_bytes
    store_release(live.live_rows, at + VERSION, (version | 1) + 1)
    store_release(live.live_slots, 2 * slot + 1, row)
    if is_new:
        store_release(live.live_slots, 2 * slot, key)
        store_release(live.live_head, PAIRS, pairs + 1)
    store_release(live.live_head, CHANGES, live.live_head[CHANGES] + 1)
    return True


@inlined
def _held_start(live: LiveArrays, row: int) -> int:
    """The first word of the reservations in the block of a row."""
    at = row * ROW_WORDS
    rows = live.live_rows
    return int(rows[at + BLOCK] + rows[at + RECEIPTS] * 3 + rows[at + DEMANDS] * 2)


@compiled
def put_held(
    live: LiveArrays, item: int, branch: int, day: int, expires_us: int, quantity: int, number: int
) -> bool:
    """Hold this much of a live pair for a reservation, in place of what it held; 0 removes the entry.

    False: there is no room, or the pair is not live, and nothing is changed.
    """
    key = live_key(item, branch)
    slot = slot_of(live.live_slots, key)
    if live.live_slots[2 * slot] != key:
        return False
    current = live.live_slots[2 * slot + 1]
    row = current ^ 1
    at, old = row * ROW_WORDS, current * ROW_WORDS
    rows, blocks = live.live_rows, live.live_blocks
    first, helds = np.int64(_held_start(live, current)), rows[old + HELD]
    before = helds
    for k in range(helds):
        if blocks[first + 4 * k + 3] == number:
            before = k
            break
    gone = 1 if before < helds else 0
    index = 0
    while index < helds and (index == before or blocks[first + 4 * index] <= day):
        index += 1
    words = _block_words(live, current) + 4 * ((1 if quantity > 0 else 0) - gone)
    start = np.int64(0)
    if words > 0:
        start = np.int64(_allocate_block(live, words))
        if start < 0:
            return False
    version = rows[at + VERSION]
    store_release(rows, at + VERSION, version | 1)
    fence()
    free_old_block(live, row)
    end = start
    for k in range(rows[old + BLOCK], first):
        blocks[end] = blocks[k]
        end += 1
    for k in range(helds + 1):
        if k == index and quantity > 0:
            blocks[end], blocks[end + 1], blocks[end + 2], blocks[end + 3] = day, expires_us, quantity, number
            end += 4
        if k < helds and k != before:
            for word in range(4):
                blocks[end + word] = blocks[first + 4 * k + word]
            end += 4
    for k in range(first + 4 * helds, first + 4 * helds + (rows[old + DETAIL_BYTES] + 7) // 8):
        blocks[end] = blocks[k]
        end += 1
    for k in range(DETAIL_BYTES + 1):
        if k != VERSION:
            rows[at + k] = rows[old + k]
    rows[at + BLOCK] = start
    rows[at + HELD] = helds + (1 if quantity > 0 else 0) - gone
    store_release(rows, at + VERSION, (version | 1) + 1)
    store_release(live.live_slots, 2 * slot + 1, row)
    store_release(live.live_head, CHANGES, live.live_head[CHANGES] + 1)
    return True


@compiled
def put_figures(
    live: LiveArrays,
    items: NDArray[np.int64],
    branches: NDArray[np.int64],
    figures: NDArray[np.int64],
) -> int:
    """Replace the (n, 9) figures of some pairs and keep their lists; a new pair has none. How many were done: fewer
    than n when there is no room for the next."""
    for i in range(len(items)):
        key = live_key(items[i], branches[i])
        slot = slot_of(live.live_slots, key)
        is_new = live.live_slots[2 * slot] != key
        pairs = live.live_head[PAIRS]
        row = 2 * pairs if is_new else live.live_slots[2 * slot + 1] ^ 1
        if (row + 1) * ROW_WORDS > len(live.live_rows):
            return i
        at, current = row * ROW_WORDS, (row ^ 1) * ROW_WORDS
        version = live.live_rows[at + VERSION]
        store_release(live.live_rows, at + VERSION, version | 1)
        fence()
        free_old_block(live, row)
        for k in range(figures.shape[1]):
            live.live_rows[at + k] = figures[i, k]
        for k in range(BLOCK, DETAIL_BYTES + 1):
            live.live_rows[at + k] = 0 if is_new else live.live_rows[current + k]
        store_release(live.live_rows, at + VERSION, (version | 1) + 1)
        store_release(live.live_slots, 2 * slot + 1, row)
        if is_new:
            store_release(live.live_slots, 2 * slot, key)
            store_release(live.live_head, PAIRS, pairs + 1)
    store_release(live.live_head, CHANGES, live.live_head[CHANGES] + 1)
    return len(items)
