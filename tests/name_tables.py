"""A matrix that holds nothing but names: all that is read of it when answers are written."""

from collections.abc import Mapping, Sequence

import numpy as np

from pricegrid.pricing_engine.arrays.matrix import DTYPES, TABLES, Matrix


def matrix_with(names: Mapping[str, Sequence[str]], *, full_load: int) -> Matrix:
    """A `Matrix` with tables of these names, beside a full load of so many entries, and nothing else.

    Its type is the product's own: kernels compiled for a type of the tests break the cache for who has no
    tests."""
    fields: dict[str, np.ndarray] = {}
    for table, texts in names.items():
        encoded = [text.encode() for text in texts]
        fields[f"{table}_bytes"] = np.array(bytearray(b"".join(encoded)), np.uint8)
        fields[f"{table}_offsets"] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    fields["cell_value"] = np.zeros(min(1, full_load), np.int64)
    fields["cell_entry"] = np.full(min(1, full_load), full_load - 1, np.int64)
    empty = {
        name: np.zeros((0, 1) if name in TABLES else 0, DTYPES.get(name, np.int64)) for name in Matrix._fields
    }
    return Matrix(**{**empty, **fields})
