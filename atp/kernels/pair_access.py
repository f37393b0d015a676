"""Compiled: where the kernels find what is known of a pair (item, branch): in the snapshot's arrays, or live.

`find_pair` asks the table of live pairs first, one probe, if there are any. An item with a pair in every branch is
indexed; of any other the branches are searched, log2(pairs of the item) reads. What is read of a live pair between
`begin_read` and `is_read_stable` is of one state of the pair only if the second is true.
"""

from typing import NamedTuple

from pricegrid.atp.arrays.positions import (
    BLOCK_SHIFT,
    DEMANDS_SHIFT,
    FLAGS,
    ITEM_PAIRS,
    ITEM_PAIRS_END,
    Tables,
)
from pricegrid.atp.kernels.live import begin_row_read, find_live, is_row_stable
from pricegrid.atp.live.layout import BLOCK, DEMANDS, HELD, LIVE, PAIRS, RECEIPTS, ROW_WORDS
from pricegrid.columnar.jit import inlined


@inlined
def find_pair(tables: Tables, item: int, branch: int) -> int:
    """The pair's number; LIVE + row of a live one; -1: nothing is known of the pair.

    What is read of a live pair counts only if `is_read_stable` afterwards.
    """
    if tables.live_head[PAIRS] > 0:
        row = find_live(tables.live_slots, item, branch)
        if row >= 0:
            return LIVE + row
    first, end = tables.item_record[item, ITEM_PAIRS], tables.item_record[item, ITEM_PAIRS_END]
    if end - first == len(tables.feed_as_of):  # it has a pair in every branch
        return int(first + branch) if branch >= 0 else -1
    # not `first_at_least`, which always goes on to the end: this ends where the branch is found
    while first < end:
        middle = (first + end) >> 1
        value = tables.pair_branch[middle]
        if value == branch:
            return int(middle)
        if value < branch:
            first = middle + 1
        else:
            end = middle
    return -1


@inlined
def begin_read(tables: Tables, pair: int) -> tuple[int, int]:
    """Begin a stable read: (pair, version), of a live pair the row that is not being written."""
    if pair < LIVE:
        return pair, 0
    row, version = begin_row_read(tables.live_rows, pair - LIVE)
    return LIVE + row, version


@inlined
def is_read_stable(tables: Tables, pair: int, version: int) -> bool:
    """Whether all that was read of the pair since `begin_read` is of one state; if not, read again."""
    return pair < LIVE or is_row_stable(tables.live_rows, pair - LIVE, version)


@inlined
def figure(tables: Tables, pair: int, column: int) -> int:
    """A word of a pair's record."""
    if pair >= LIVE:
        return int(tables.live_rows[(pair - LIVE) * ROW_WORDS + column])
    return int(tables.pair_record[pair, column])


class Lists(NamedTuple):
    """Where a pair's receipts, demands and reservations are."""

    is_live: bool
    """In `live_blocks`, else in `pair_blocks`."""
    block: int
    """The first word of the first receipt."""
    receipt: int
    receipts: int
    demand: int
    demands: int
    held: int
    helds: int


@inlined
def lists_of(tables: Tables, pair: int) -> tuple[bool, Lists]:
    """(whether they are where they can be, the lists). Ends are exclusive."""
    if pair < LIVE:
        block = tables.pair_record[pair, FLAGS] >> BLOCK_SHIFT
        if block == 0:
            return True, Lists(False, 0, 0, 0, 0, 0, 0, 0)
        counts = tables.pair_blocks[block - 1]
        receipts = counts & ((1 << DEMANDS_SHIFT) - 1)
        return True, Lists(False, block, 0, receipts, 0, counts >> DEMANDS_SHIFT, 0, 0)
    at = (pair - LIVE) * ROW_WORDS
    block = tables.live_rows[at + BLOCK]
    receipts, demands = tables.live_rows[at + RECEIPTS], tables.live_rows[at + DEMANDS]
    held = tables.live_rows[at + HELD]
    first_demand = block + 3 * receipts
    first_held = first_demand + 2 * demands
    fits = min(block, receipts, demands, held) >= 0 and first_held + 4 * held <= len(tables.live_blocks)
    return fits, Lists(True, block, 0, receipts, 0, demands, 0, held)


@inlined
def receipt_of(tables: Tables, lists: Lists, k: int) -> tuple[int, int, int]:
    """(local day, quantity, confidence)."""
    at = lists.block + 3 * k
    if not lists.is_live:
        return tables.pair_blocks[at], tables.pair_blocks[at + 1], tables.pair_blocks[at + 2]
    return tables.live_blocks[at], tables.live_blocks[at + 1], tables.live_blocks[at + 2]


@inlined
def demand_of(tables: Tables, lists: Lists, k: int) -> tuple[int, int]:
    """(local day, net quantity)."""
    at = lists.block + 3 * lists.receipts + 2 * k
    if not lists.is_live:
        return tables.pair_blocks[at], tables.pair_blocks[at + 1]
    return tables.live_blocks[at], tables.live_blocks[at + 1]


@inlined
def held_of(tables: Tables, lists: Lists, k: int) -> tuple[int, int, int, int]:
    """(first local day, expires_us, quantity, reservation number)."""
    at = lists.block + 3 * lists.receipts + 2 * lists.demands + 4 * k
    blocks = tables.live_blocks
    return blocks[at], blocks[at + 1], blocks[at + 2], blocks[at + 3]
