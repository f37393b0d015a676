"""Binary search for kernels: the first value, or the first row of a table, that is not below a wanted one.

Both work on arrays and on tables, on any part [low, high) that ascends, and halve it until one place is left: about
log2(high - low) reads. The place itself may hold another value, or be `high`: callers compare.
"""

from pricegrid.columnar.jit import inlined


@inlined
def first_at_least(values, wanted, low, high):  # type: ignore[no-untyped-def]
    """The first index in [low, high) whose value is not below `wanted`; `high` if there is none."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def first_row_at_least(rows, column, wanted, low, high):  # type: ignore[no-untyped-def]
    """The same by one column of the rows [low, high), which ascend by it."""
    while low < high:
        middle = (low + high) >> 1
        if rows[middle, column] < wanted:
            low = middle + 1
        else:
            high = middle
    return low
