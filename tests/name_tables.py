"""A matrix that holds nothing but names: all that is read of it when answers are written."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pricing_engine.matrix import DTYPES, TABLES, Matrix


class NameArrays(NamedTuple):
    """Name tables as plain arrays, and cells that say how many entries the full load has."""

    currency_bytes: np.ndarray
    currency_offsets: np.ndarray
    book_bytes: np.ndarray
    book_offsets: np.ndarray
    layer_bytes: np.ndarray
    layer_offsets: np.ndarray
    entry_id_bytes: np.ndarray
    entry_id_offsets: np.ndarray
    delta_entry_id_bytes: np.ndarray
    delta_entry_id_offsets: np.ndarray
    cell_value: np.ndarray
    cell_entry: np.ndarray


def name_arrays(names: Mapping[str, Sequence[str]], *, full_load: int) -> NameArrays:
    """Tables of these names, beside a full load of so many entries."""
    fields: dict[str, np.ndarray] = {}
    for table, texts in names.items():
        encoded = [text.encode() for text in texts]
        fields[f"{table}_bytes"] = np.array(bytearray(b"".join(encoded)), np.uint8)
        fields[f"{table}_offsets"] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    fields["cell_value"] = np.zeros(min(1, full_load), np.int64)
    fields["cell_entry"] = np.full(min(1, full_load), full_load - 1, np.int64)
    return NameArrays(**fields)


def matrix_with(names: NameArrays) -> Matrix:
    """A `Matrix` with nothing else in it."""
    empty = {
        name: np.zeros((0, 1) if name in TABLES else 0, DTYPES.get(name, np.int64)) for name in Matrix._fields
    }
    return Matrix(**{**empty, **names._asdict()})
