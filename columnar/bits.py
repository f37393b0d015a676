"""64-bit words: which bits are set, and eight bytes of a text at a time."""

from typing import Any

import numpy as np

from pricegrid.columnar.jit import inlined, intrinsic, types
from pricegrid.columnar.tables import load_word


@intrinsic
def _count_ones(typing_context: Any, word: Any) -> Any:  # noqa: ARG001 - numba passes the typing context
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.ctpop(args[0])

    return types.int64(types.int64), codegen


# numba passes the typing context itself: to a type checker this takes the word
count_ones: Any = _count_ones
"""How many bits of the word are set."""


@inlined
def lowest_one(word):  # type: ignore[no-untyped-def]
    """The number of the lowest bit that is set; 64 for none."""
    return count_ones((word & -word) - 1)


@inlined
def word_of(text, start, length):  # type: ignore[no-untyped-def]
    """`length` bytes (0 to 8) of a u8 table or array from `start`, the first the lowest, zeros above them."""
    if start + 8 <= len(text):
        word = load_word(text, start)
        return word if length == 8 else word & ~(np.int64(-1) << (8 * length))
    word = np.int64(0)
    for i in range(length):
        word |= np.int64(text[start + i]) << (8 * i)
    return word
