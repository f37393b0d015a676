"""Cuts a file into chunks by what is in it, so that an array with rows put in shares the chunks before and behind them.

A chunk ends where a hash of the last few words is a certain value, between `CHUNK_MIN` and `CHUNK_MAX` bytes behind the
last end (content-defined chunking, as of LBFS). Words are the elements of the array, since rows are put in whole: a
hash of bytes would take eight times as long and find the same. The hash is a sum of products, over whole blocks by
numpy. A file of `CHUNK_MIN` bytes or fewer is one chunk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CHUNK_MIN: Final = 1 << 16
CHUNK_AVERAGE: Final = 1 << 18
CHUNK_MAX: Final = 1 << 20
_BLOCK_WORDS: Final = 1 << 20
"""Of which hashes are computed at a time."""
_WINDOW_BYTES: Final = 16
_WORDS_MIN: Final = 4
"""A hash covers at least so many words."""
_TARGET: Final = 1
"""Not 0, which is the hash of every run of zeros."""
_FACTOR: Final = 0x9E3779B97F4A7C15
_WORD_WIDTHS: Final = frozenset({1, 2, 4, 8})


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of bytes of a file, stored as an object."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CutFile:
    """A file by its content."""

    sha256: str
    chunks: tuple[Chunk, ...]
    """In their order; of one chunk the hash is that of the file."""


def cut_file(path: Path) -> CutFile:
    """Reads a file, hashes it and cuts it into chunks. Raises OSError."""
    size = path.stat().st_size
    if size == 0:
        digest = hashlib.sha256().hexdigest()
        return CutFile(digest, (Chunk(0, digest),))
    content: NDArray[np.uint8] = np.memmap(path, np.uint8, mode="r")
    whole, chunks, begin = hashlib.sha256(), [], 0
    for end in ends(content, *_words_of(path)):
        chunk = content[begin:end].data
        whole.update(chunk)
        chunks.append(Chunk(end - begin, hashlib.sha256(chunk).hexdigest()))
        begin = end
    return CutFile(whole.hexdigest(), tuple(chunks))


def ends(content: NDArray[np.uint8], first: int = 0, width: int = 8) -> list[int]:
    """Where chunks of a file end; words of `width` bytes begin at `first`."""
    size = len(content)
    if size <= CHUNK_MIN:
        return [size]
    candidates = first + _candidates(content[first:], width)
    found, begin = [], 0
    while size - begin > CHUNK_MIN:
        place = int(np.searchsorted(candidates, begin + CHUNK_MIN))
        end = int(candidates[place]) if place < len(candidates) else size
        begin = min(end, begin + CHUNK_MAX, size)
        found.append(begin)
    if begin < size:
        found.append(size)
    return found


def _candidates(content: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    words: NDArray[Any] = content[: len(content) // width * width].view(f"<u{width}")
    window = max(_WORDS_MIN, _WINDOW_BYTES // width)
    factors = [np.uint64(pow(_FACTOR, power, 1 << 64)) for power in range(1, window + 1)]
    shift = np.uint64(64 - (CHUNK_AVERAGE // width).bit_length() + 1)
    found = [np.empty(0, np.int64)]
    for begin in range(0, len(words), _BLOCK_WORDS):
        lead = min(begin, window - 1)
        block = words[begin - lead : begin + _BLOCK_WORDS].astype(np.uint64)
        mixed = block * factors[0]
        for back, factor in enumerate(factors[1:], start=1):
            mixed[back:] += block[:-back] * factor
        found.append((np.flatnonzero(mixed[lead:] >> shift == _TARGET) + begin + 1) * width)
    return np.concatenate(found)


def _words_of(path: Path) -> tuple[int, int]:
    """Where the words of a file begin, and how wide they are."""
    if path.suffix != ".npy":
        return 0, 8
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    width = array.dtype.itemsize
    return path.stat().st_size - array.nbytes, width if width in _WORD_WIDTHS else 1
