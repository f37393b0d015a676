"""Live positions: what events and reservations have made of some pairs since their snapshot, shared by processes.

One writer, any number of readers, no locks. A live pair owns two rows of 16 words; its slot in a hash table names the
one in use. The writer fills the other one, a block of receipts, demands and reservations with it, and only then turns
the slot over, so a writer that dies half-way has changed nothing. A row's version is odd while it is written: a reader
that sees it odd, or changed after reading, reads the sibling row. What a reader sees of a pair is always one whole
state. Blocks that are not in use any more are used again; a reader of such a row sees that its version has changed.

All arrays are one-dimensional int64, little-endian, in one file. Quantities are micros of the base unit.
"""

import mmap
import os
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels import live as live_kernel
from pricegrid.atp.live.layout import (
    BEAT,
    BLOCK,
    BOOT,
    DEMAND_WORDS,
    DEMANDS,
    DETAIL_BYTES,
    HEAD_WORDS,
    HELD,
    HELD_WORDS,
    LINK_LOST,
    MAGIC,
    PAIRS,
    RECEIPT_WORDS,
    RECEIPTS,
    RETIRED,
    ROW_WORDS,
    SNAPSHOT,
    VERSION,
    LiveArrays,
)

_MAGIC: Final = 0x32_56_49_4C_44_47_52_50  # "PRGDLIV2"
_SLOT_PAIRS: Final = 2
"""Slots of the hash table a pair has room for: it is never more than half full."""


class LiveFullError(Exception):
    """There is no room for another pair or block: a larger file is needed."""


class LiveFileError(Exception):
    """The file can't be used as live positions; the text names it."""


class PairImage(NamedTuple):
    """Everything about one pair as the kernels want it."""

    figures: tuple[int, ...]
    """The nine words of a row before VERSION: as in `pair_record`, then the instant of transit data."""
    receipts: list[tuple[int, int, int]]
    """(local day, quantity, confidence), ascending by day."""
    demands: list[tuple[int, int]]
    """(local day, net quantity), ascending by day."""
    held: list[tuple[int, int, int, int]]
    """(first local day, expires_us, quantity, reservation number), ascending by day."""
    detail: bytes = b""
    """The rows behind the figures, for explanations (`atp.arrays.pair_rows`)."""


class LiveView(NamedTuple):
    """One state of a live pair, as it was read."""

    figures: tuple[int, ...]
    held: list[tuple[int, int, int, int]]
    """As in `PairImage`."""
    detail: bytes


def _shape(pairs: int, words: int) -> tuple[int, int, int, int]:
    slots = 2
    while slots < _SLOT_PAIRS * pairs:
        slots *= 2
    return HEAD_WORDS, 2 * slots, 2 * pairs * ROW_WORDS, words


def _split(memory: NDArray[np.int64], shape: tuple[int, int, int, int]) -> LiveArrays:
    ends = np.cumsum(shape)
    head, slots, rows, blocks = (
        memory[end - size : end] for end, size in zip(ends.tolist(), shape, strict=True)
    )
    return LiveArrays(head, slots, rows, blocks, np.zeros(1, dtype=np.int64))


class LiveWriter:
    """The one writer. `arrays` may be plain memory (one process) or a mapped file (`create`).

    Rooms are counted in pairs and in words of blocks. Raises LiveFullError when one is full: nothing is changed then.
    """

    def __init__(self, arrays: LiveArrays) -> None:
        self.arrays = arrays

    @classmethod
    def in_memory(cls, pairs: int = 1_024, words: int = 1 << 16) -> "LiveWriter":
        """For one process."""
        shape = _shape(pairs, words)
        return cls(_split(np.zeros(sum(shape), dtype=np.int64), shape))

    @classmethod
    def create(cls, path: Path, pairs: int, words: int, *, snapshot: int = 0, boot: int = 0) -> "LiveWriter":
        """In a new file, its room taken on disk at once; `snapshot` and `boot` as in `atp.live.layout`.

        Raises OSError (a full disk) and leaves no file then.
        """
        shape = _shape(pairs, words)
        size = sum(shape) * 8
        try:
            with path.open("x+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
                memory = np.frombuffer(mmap.mmap(file.fileno(), size), dtype=np.int64)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        arrays = _split(memory, shape)
        arrays.live_head[SNAPSHOT], arrays.live_head[BOOT] = snapshot, boot
        arrays.live_head[-4:] = shape
        arrays.live_head[MAGIC] = _MAGIC
        return cls(arrays)

    def put(self, item: int, branch: int, image: PairImage) -> None:
        """Replace what is known of a pair (item and branch are ordinals of the snapshot)."""
        words = [word for part in (image.receipts, image.demands, image.held) for row in part for word in row]
        padded = image.detail + bytes(-len(image.detail) % 8)
        block = np.concatenate([np.array(words, dtype=np.int64), np.frombuffer(padded, dtype=np.int64)])
        done = live_kernel.put_pair(
            self.arrays,
            item,
            branch,
            np.array(image.figures, dtype=np.int64),
            block,
            len(image.receipts),
            len(image.demands),
            len(image.held),
            len(image.detail),
        )
        if not done:
            raise LiveFullError("live positions are full")

    def put_held(
        self, item: int, branch: int, *, day: int, expires_us: int, quantity_micros: int, number: int
    ) -> None:
        """What one reservation holds of a live pair from now on; 0 is nothing. Raises LiveFullError."""
        if not live_kernel.put_held(self.arrays, item, branch, day, expires_us, quantity_micros, number):
            raise LiveFullError("live positions are full")

    def put_figures(self, pairs: list[tuple[int, int]], figures: list[tuple[int, ...]]) -> None:
        """Replace the nine figures of many (item, branch) pairs and keep their lists; a new pair has none.

        Raises LiveFullError: some of them may be done then.
        """
        ordinals = np.array(pairs, dtype=np.int64)
        items, branches = np.ascontiguousarray(ordinals[:, 0]), np.ascontiguousarray(ordinals[:, 1])
        done = live_kernel.put_figures(self.arrays, items, branches, np.array(figures, dtype=np.int64))
        if done < len(pairs):
            raise LiveFullError("live positions are full")

    def set_link_lost(self, since_us: int) -> None:
        """Since when the shared side can't be followed; 0: it can. Readers call everything stale meanwhile."""
        self.arrays.live_head[LINK_LOST] = since_us

    def beat(self, now_us: int) -> None:
        """Say that the writer is at work, on the clock that all processes of the host share."""
        self.arrays.live_head[BEAT] = now_us

    def readable(self) -> LiveArrays:
        """The same memory as readers in this process see it."""
        views = [array.view() for array in self.arrays]
        for view in views:
            view.flags.writeable = False
        return LiveArrays(*views)


def retire(path: Path) -> None:
    """Mark a file of live positions as replaced, for processes that still map it. Raises OSError."""
    with path.open("r+b") as file:
        file.seek(8 * RETIRED)
        file.write((1).to_bytes(8, "little"))


def is_shown(arrays: LiveArrays, now_us: int, silence_us: int) -> bool:
    """Whether this is not retired, and its writer was at work less than so long ago."""
    head = arrays.live_head
    return not head[RETIRED] and abs(now_us - int(head[BEAT])) < silence_us


def open_live(path: Path, doubt: NDArray[np.int64] | None = None) -> LiveArrays:
    """Map a file that a writer made, to read. `doubt`, (1,) int64, is the word of the reader behind `live_doubt`;
    without one, all that is read here counts as STALE.

    Raises LiveFileError when the file is none.
    """
    try:
        with path.open("rb") as file:
            memory = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.int64)
    except (OSError, ValueError) as error:
        raise LiveFileError(f"live positions {path} can't be mapped: {error}") from error
    if len(memory) < HEAD_WORDS or memory[MAGIC] != _MAGIC:
        raise LiveFileError(f"{path} holds no live positions")
    shape = tuple(int(size) for size in memory[HEAD_WORDS - 4 : HEAD_WORDS])
    if sum(shape) != len(memory):
        raise LiveFileError(f"{path} has another size than it says")
    word = (np.ones(1, dtype=np.int64) if doubt is None else doubt).view()
    word.flags.writeable = False
    return _split(memory, (shape[0], shape[1], shape[2], shape[3]))._replace(live_doubt=word)


def look(arrays: LiveArrays, item: int, branch: int) -> LiveView | None:
    """One whole state of a pair; None: nothing has changed it since the snapshot."""
    if int(arrays.live_head[PAIRS]) == 0:
        return None
    row = int(live_kernel.find_live(arrays.live_slots, item, branch))
    while row >= 0:
        row, version = live_kernel.begin_row_read(arrays.live_rows, row)
        words = arrays.live_rows[row * ROW_WORDS : (row + 1) * ROW_WORDS].copy()
        skip = int(words[RECEIPTS]) * RECEIPT_WORDS + int(words[DEMANDS]) * DEMAND_WORDS
        first = int(words[BLOCK]) + skip
        last = first + int(words[HELD]) * HELD_WORDS
        held = arrays.live_blocks[first:last].copy()
        start = last * 8
        detail = arrays.live_blocks.view(np.uint8)[start : start + int(words[DETAIL_BYTES])].tobytes()
        if live_kernel.is_row_stable(arrays.live_rows, row, version):
            entries = held.reshape(-1, HELD_WORDS).tolist()
            return LiveView(tuple(words[:VERSION].tolist()), [(a, b, c, d) for a, b, c, d in entries], detail)
    return None
